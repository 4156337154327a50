"""What of a method's settings goes together. (What `auto` makes of them: tests/test_config.py.)"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import pytest
from pydantic import TypeAdapter, ValidationError

from mmts import registry
from mmts.errors import InputError
from mmts.kinds.modulator import MODULATORS
from mmts.kinds.objective import OBJECTIVES, quantity
from mmts.kinds.schedule import SCHEDULES, ScheduleKind
from mmts.kinds.shift import SHIFTS
from mmts.kinds.term import COLUMNS, Terms
from mmts.method import Method
from mmts.settings.base import Settings
from mmts.training import log

PLAIN: dict[str, Any] = {
    "objective": "info_nce", "alpha": 0.0, "shift_min": 0.08, "shift_max": 0.08,
    "shift": "linear", "clustering": "default",
}  # fmt: skip
TEMPNET = {"kind": "tempnet", "tau_min": 0.02, "tau_max": 0.04}
COSINE = {"schedule": "cosine"}
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
    assert siglip.modulator.model_dump() == {
        "kind": "learnable", "scale_max": 100.0, "parameter": "log",
    }  # fmt: skip


def test_the_numbers_of_a_record() -> None:
    found = made(
        objective={"kind": "sogclr", "rho": 2.0}, schedule="cosine", alpha=0.08,
        clustering={"shift": "a", "relevancy": ["b"]},
    ).numbers()  # fmt: skip
    assert (found["objective"], found["modulator"]) == ("sogclr", "scheduled")
    assert found["objective_numbers"] == {"gamma": 0.9, "rho": 2.0, "floor": 1e-14}
    assert found["modulator_numbers"] == {} and found["alpha"] == 0.08
    assert found["clustering"] == {"shift": "a", "relevancy": ["b"]}
    assert found["schedule"] == {"kind": "cosine", "oscillations": 5.0, "update_every": "step"}
    assert found["shift"] == {"kind": "linear"} and made(shift=None).numbers()["shift"] is None
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
        {**SOGCLR, "modulator": TEMPNET},
        {**SOGCLR, "schedule": "cosine", "alpha": 0.02},
        {"schedule": {"kind": "cosine", "oscillations": 2.0}},  # an alpha of 0
        {"shift": None},
        {"clustering": {"shift": "a", "relevancy": ["a"]}, "relevancy_threshold": 0.5},
        {"objective": "max_margin", "schedule": "cosine", "alpha": 0.16},
    ],
)
def test_what_goes_together(changes: dict[str, Any]) -> None:
    made(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shift_min": 0.09}, "shift_min 0.09 is above shift_max 0.08"),
        ({"alpha": 0.1}, "alpha is 0.1, but the method has no schedule: add one, such as `sched"),
        ({"shift": None, "shift_min": 0.07}, "differ, but the method has no shift: add one, such"),
        ({**COSINE, "alpha": 0.16}, "a temperature must stay above 0"),
        ({**COSINE, "objective": "max_margin", "alpha": 0.1601}, "a margin must not fall below 0"),
        (
            {**COSINE, "modulator": "learnable", "alpha": 0.01},
            "alpha is 0.01, but the modulator learnable",
        ),
        ({"modulator": "learnable", "shift_min": 0.07}, "0.07 and shift_max 0.08 differ"),
        ({"modulator": {"kind": "learnable", "scale_max": 10}}, "below 1/scale_max = 0.1: raise"),
        ({"modulator": "learnable", "objective": "max_margin"}, "max_margin takes a margin"),
        ({"modulator": "individual"}, "by the gradient of sogclr, but the objective is info_nce"),
        ({"modulator": TEMPNET, "objective": "cyclip"}, "but the objective is cyclip"),
        (
            {**SOGCLR, **COSINE, "modulator": "individual", "alpha": 0.01},
            "individual has no schedule",
        ),
        ({**SOGCLR, "modulator": "individual", "shift_max": 1.1}, "outside its tau_min..tau_max"),
        ({**SOGCLR, "modulator": "individual", "shift_min": 0.004}, "0.005..1.0: widen"),
        ({**SOGCLR, **COSINE, "modulator": TEMPNET, "alpha": 0.01}, "tempnet has no schedule"),
        (
            {**SOGCLR, "modulator": {**TEMPNET, "tau_min": 0.04}},
            "tau_min 0.04 is not below tau_max 0.04",
        ),
    ],
)
def test_what_does_not_go_together(changes: dict[str, Any], message: str) -> None:
    found = refusal(**changes)
    assert re.search(re.escape(message), found), found
    assert "\n" not in found


class Wide(ScheduleKind):
    """A schedule that leaves its range late in a period."""

    kind: Literal["wide"] = "wide"
    label = "wide"

    def value(self, step: float, *, alpha: float, period: float) -> float:
        return alpha * (step / period % 1.0 - 0.45)


def test_a_schedule_that_leaves_its_range_is_refused_in_the_plan() -> None:
    for oscillations in (1.0, 5.0, 250.0, 251.5):
        wide = Wide(oscillations=oscillations)
        wide.check(0.0, 100)
        message = refusal(schedule=wide, alpha=0.04)
        assert re.fullmatch(
            r"the schedule wide has the value 0\.02\d* at step [\d.]+ of 10000, but alpha is "
            r"0\.04: mend its `value`, which must stay in \[-alpha/2, alpha/2\]",
            message,
        ), message


def test_registries() -> None:
    assert OBJECTIVES.kinds == [
        "arctanh", "cyclip", "info_nce", "max_margin", "siglip", "sogclr",
    ]  # fmt: skip
    assert MODULATORS.kinds == ["individual", "learnable", "scheduled", "tempnet"]
    assert SCHEDULES.kinds == ["cosine"] and SHIFTS.kinds == ["linear", "log", "rank"]
    for kinds in (OBJECTIVES, MODULATORS, SCHEDULES, SHIFTS):
        for kind in kinds.kinds:
            found = kinds.load(kind)
            assert found is kinds.load(kind) and found.__module__ == kinds.module(kind)
            assert get_args(found.model_fields["kind"].annotation) == (kind,)
        with pytest.raises(KeyError):
            kinds.load("none")
        for odd in ("__init__", "_x", "", "../sources", "info_nce.py"):
            with pytest.raises(ValueError, match="there are: "):
                kinds.validated(odd)
    assert SCHEDULES.optional(None) is None
    given = OBJECTIVES.validated("info_nce")
    assert OBJECTIVES.validated(given) is given
    assert given == OBJECTIVES.validated({"kind": "info_nce"})


KIND = """
from __future__ import annotations
from typing import Literal
from mmts.settings.base import Settings

class Kind(Settings):
    kind: Literal[{!r}]
"""


def test_a_registry_of_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new kind is a new file."""
    monkeypatch.setattr(registry, "__file__", str(tmp_path / "mmts/registry.py"))
    folder = tmp_path / "some/things"
    folder.mkdir(parents=True)
    things = registry.Registry("thing", "some.things", Settings)
    texts = {"_common": "", "square": KIND.format("square"), "__init__": "", "circle": "",
             "line": KIND.format("lien")}  # fmt: skip
    for name, text in texts.items():
        (folder / f"{name}.py").write_text(text)
    assert things.kinds == ["circle", "line", "square"]
    assert things.module("circle") == "some.things.circle"
    monkeypatch.syspath_prepend(tmp_path)
    assert things.load("square").__name__ == "Kind"
    with pytest.raises(KeyError):
        things.load("_common")
    with pytest.raises(InputError, match=r"circle\.py has no class Kind\(Settings\); write one"):
        things.load("circle")
    with pytest.raises(InputError, match=r"line\.py: kind of its Kind is Literal\['lien'\]; write"):
        things.load("line")
    with pytest.raises(ValueError, match=r"is 'circel'; did you mean circle\? there are: c"):
        things.validated({"kind": "circel"})
    with pytest.raises(ValueError, match="it is null; write a name, or a mapping with `kind`"):
        things.validated(None)


class Labelled(Settings):
    """A base class with a fact that each kind must have, and one with a default."""

    kind: str
    label: ClassVar[str]
    odd: ClassVar[bool] = False


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "its Kind has no label; write `label = ...` into it"),
        ("label: str = 'x'", "label is a fact, which has no type; write `label = ...`, without"),
    ],
)
def test_a_kind_without_a_label_is_refused_when_it_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, message: str
) -> None:
    """So in the stage `plan`, and not by the report after the training."""
    monkeypatch.setattr(registry, "__file__", str(tmp_path / "mmts/registry.py"))
    monkeypatch.syspath_prepend(tmp_path)
    package = f"labelled{len(line)}.things"
    folder = tmp_path / package.replace(".", "/")
    folder.mkdir(parents=True)
    text = KIND.format("plain").replace(
        "mmts.settings.base import Settings", f"{__name__} import *"
    )
    text = text.replace("(Settings)", "(Labelled)")
    (folder / "plain.py").write_text(f"{text}    {line}\n")
    (folder / "named.py").write_text(f"{text.replace('plain', 'named')}    label = 'x'\n")
    things = registry.Registry("thing", package, Labelled)
    assert things.load("named").label == "x" and not things.load("named").odd
    with pytest.raises(InputError, match=rf"plain\.py: {re.escape(message)}"):
        things.load("plain")


@pytest.mark.parametrize("name", ["loss", "tau_mean", "seed", "info_nce", "siglip", "val_mine"])
def test_a_loss_term_with_the_name_of_another_column(name: str) -> None:
    with pytest.raises(ValidationError, match=f"a loss term is called {name}, as a column of the"):
        TypeAdapter(Terms).validate_python({name: 0.5})


def test_names_that_no_loss_term_has() -> None:
    """Those of the log and of results/curves.csv are known."""
    assert set(log.COLUMNS) - {c for c in log.COLUMNS if c.startswith("val_")} <= set(COLUMNS)
