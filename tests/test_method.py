"""What of a method's settings goes together, and what `auto` makes of them."""

from __future__ import annotations

import re
from typing import Any

import pytest
from pydantic import ValidationError

from mmts.kinds import quantity
from mmts.method import Method
from mmts.schedule import auto_range

PLAIN: dict[str, Any] = {
    "objective": "info_nce", "tau_default": 0.08, "alpha": 0.0, "shift_min": 0.08,
    "shift_max": 0.08, "shift_mapping": "linear", "clustering": "default",
}  # fmt: skip
SOGCLR = {"objective": "sogclr", "shift_min": 0.02, "shift_max": 0.04}


def made(**changes: Any) -> Method:
    return Method.model_validate({**PLAIN, **changes})


def refusal(**changes: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        made(**changes)
    (error,) = caught.value.errors()
    assert error["type"] == "value_error", error
    return str(error["ctx"]["error"])


def test_a_name_is_short_for_its_kind() -> None:
    assert made() == made(objective={"kind": "info_nce"}, modulator="scheduled")
    assert made(clustering="a") == made(clustering={"shift": "a"})
    siglip = made(objective={"kind": "siglip", "bias": -5.0}, modulator={"kind": "learnable"})
    assert siglip.objective.model_dump() == {"kind": "siglip", "bias": -5.0}
    assert siglip.modulator.model_dump() == {"kind": "learnable", "scale_max": 100.0}


def test_auto_is_the_automatic_range() -> None:
    method = made(alpha="auto", shift_min="auto", shift_max="auto")
    assert (method.alpha, method.shift_min, method.shift_max) == auto_range(0.08)
    assert method.auto == "auto: alpha 0.08, shift_min 0.06, shift_max 0.1 (tau_default 0.08)"
    alone = made(alpha="auto")
    assert (alone.alpha, alone.shift_min) == (0.08, 0.08)
    assert alone.auto == "auto: alpha 0.08 (tau_default 0.08)" and made().auto == ""


def test_the_numbers_of_a_record() -> None:
    found = made(
        objective={"kind": "sogclr", "rho": 2.0}, alpha="auto",
        clustering={"shift": "a", "relevancy": ["b"]},
    ).numbers()  # fmt: skip
    assert (found["objective"], found["modulator"]) == ("sogclr", "scheduled")
    assert found["objective_numbers"] == {"gamma": 0.9, "rho": 2.0, "floor": 1e-14}
    assert found["modulator_numbers"] == {} and found["alpha"] == 0.08
    assert found["clustering"] == {"shift": "a", "relevancy": ["b"]}
    assert set(PLAIN) < set(found)


def test_only_max_margin_takes_a_margin() -> None:
    kinds = ("info_nce", "max_margin", "siglip", "cyclip", "sogclr", "arctanh")
    assert [k for k in kinds if quantity(k) == "margin"] == ["max_margin"]
    assert [made(objective=k).quantity for k in kinds] == [quantity(k) for k in kinds]


@pytest.mark.parametrize(
    "changes",
    [
        {"modulator": "learnable"},
        {"modulator": {"kind": "learnable", "scale_max": 12.5}},  # starts at the clamp
        {"objective": "siglip", "modulator": "learnable"},
        {**SOGCLR, "modulator": "individual"},
        {**SOGCLR, "modulator": {"kind": "individual", "tau_min": 0.02, "tau_max": 0.04}},
        {**SOGCLR, "modulator": "tempnet"},
        {**SOGCLR, "alpha": 0.02},
        {"clustering": {"shift": "a", "relevancy": ["a"]}, "relevancy_threshold": 0.5},
        {"objective": "max_margin", "alpha": 0.16},
    ],
)
def test_what_goes_together(changes: dict[str, Any]) -> None:
    made(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shift_min": 0.09}, "shift_min 0.09 is above shift_max 0.08"),
        ({"alpha": 0.16}, "a temperature must stay above 0"),
        ({"objective": "max_margin", "alpha": 0.1601}, "a margin must not fall below 0"),
        ({"modulator": "learnable", "alpha": 0.01}, "alpha is 0.01, but the modulator learnable"),
        ({"modulator": "learnable", "shift_min": 0.07}, "0.07 and shift_max 0.08 differ"),
        ({"modulator": {"kind": "learnable", "scale_max": 10}}, "below 1/scale_max = 0.1: raise"),
        ({"modulator": "learnable", "objective": "max_margin"}, "max_margin takes a margin"),
        ({"modulator": "individual"}, "by the gradient of sogclr, but the objective is info_nce"),
        ({"modulator": "tempnet", "objective": "cyclip"}, "but the objective is cyclip"),
        ({**SOGCLR, "modulator": "individual", "alpha": 0.01}, "individual has no schedule"),
        ({**SOGCLR, "modulator": "individual", "shift_max": 1.1}, "outside its tau_min..tau_max"),
        ({**SOGCLR, "modulator": "individual", "shift_min": 0.004}, "0.005..1.0: widen"),
        ({**SOGCLR, "modulator": "tempnet", "alpha": 0.01}, "tempnet has no schedule"),
        ({**SOGCLR, "modulator": "tempnet", "shift_min": 0.04}, "are both 0.04, but the modulator"),
        ({"relevancy_threshold": 0.2}, "relevancy_threshold needs a clustering"),
    ],
)
def test_what_does_not_go_together(changes: dict[str, Any], message: str) -> None:
    found = refusal(**changes)
    assert re.search(re.escape(message), found), found
    assert "\n" not in found
