"""A cell's key changes with all that decides its result, and with nothing else."""

from __future__ import annotations

import re
from typing import Any

import pytest

from mmts.errors import InputError
from mmts.kinds.schedule import SCHEDULES
from mmts.method import Method
from mmts.settings.training import Train
from tests.conftest import Project
from tests.examples.adding import module_of
from tests.study.conftest import planned, write_study

CHANGES = {"alpha": 0.05, "shifts": [0.1, 0.2]}
DECIDING: list[dict[str, Any]] = [
    {"datasets__tiny__train__learning_rate": 0.002},
    {"datasets__tiny__train__head__dim": 8},
    {"datasets__tiny__train__ema_decay": 0.9},
    {"datasets__tiny__clusterings__default__k": 5},
    {"datasets__tiny__captions__sources__pairs__split": {"train": 0.6, "val": 0.2, "test": 0.2}},
    {"datasets__tiny__embed__model": "package:other"},
    {"datasets__tiny__towers__vision__image_size": 64},
    {"methods__mmts__schedule": {"kind": "cosine", "oscillations": 4}},
    {"methods__mmts__shift": "log"},
    {"methods__mmts__objective": "info_nce"},
]
FREE: list[dict[str, Any]] = [
    {"datasets__tiny__train__workers": 2},
    {"datasets__tiny__train__log_every": 7},
    {"datasets__tiny__train__validate_every": 1},
    {"datasets__tiny__train__device": "cpu"},
    {"datasets__tiny__train__launcher": ["torchrun"]},
    {"datasets__tiny__train__checkpoint": {"every_steps": 3}},
    {"datasets__tiny__embed__batch_size": 4},
    {"datasets__tiny__pack__shard_size": 5},
    {"datasets__tiny__pack__image_size": 16},  # of no use to a frozen tower
    {"datasets__tiny__evaluate__bootstrap": 200},
    {"datasets__tiny__margin__fixed": 0.3},  # shifts and alpha are numbers
    {"datasets__tiny__margin__alpha": 0.01},  # changed in the study
    {"datasets__tiny__temperature__alpha": 0.01},  # of another method
]


def key(changes: dict[str, Any] = CHANGES, seed: int = 3) -> str:
    base = planned().base
    return base.key(base.cell("mmts", changes, seed, "f", "p"))


def test_keys(study: Project) -> None:
    first = key()
    assert key() == first and len(first) == 16
    keys = [
        first, key(seed=4), key({**CHANGES, "alpha": 0.06}), key({**CHANGES, "train.epochs": 3}),
        key({**CHANGES, "clustering.seed": 1}), key({**CHANGES, "control": "reversed"}),
        key({**CHANGES, "imbalance": 1}), key({**CHANGES, "imbalance": 2}),
    ]  # fmt: skip
    write_study(tail__steps=7)
    assert key() == first
    keys.append(key({**CHANGES, "imbalance": 2}))
    write_study()
    for changes in DECIDING:
        study.set(**changes)
        keys.append(key())
    assert len(set(keys)) == len(keys)
    for changes in FREE:
        study.set(**changes)
        assert key() == first, changes


def test_a_new_setting_leaves_the_keys_where_it_has_its_default(study: Project) -> None:
    class NewTrain(Train):
        new: int = 3

    class NewMethod(Method):
        new: int | None = None

    base = planned().base
    cell = base.cell("mmts", CHANGES, 3, "f", "p")

    def with_new(**given: int) -> str:
        new = {
            "train": NewTrain(**cell.train.model_dump(exclude_unset=True), **given),
            "method": NewMethod(**cell.method.model_dump(exclude_unset=True), **given),
        }
        return base.key(cell.model_copy(update=new))

    assert with_new() == key() and with_new(new=3) != key()


def test_a_trained_tower_sees_the_packed_pictures(study: Project) -> None:
    tower = {"name": "small_cnn", "weights": "random", "frozen": False, "image_size": 32}
    keys = []
    for size in (None, 16):
        study.set(datasets__tiny__towers__vision=tower, datasets__tiny__pack__image_size=size)
        keys.append(key())
        assert planned().base.unsound("mmts", {"clustering.features": "vision"}, "f", "p")
        assert not planned().base.unsound("mmts", {"clustering.features": "lsa"}, "f", "p")
    assert keys[0] != keys[1]


@pytest.mark.parametrize(
    ("name", "changes", "unsound"),
    [
        ("base", {"centre": 0.1, "alpha": 0.2}, True),
        ("base", {"centre": 0.1, "alpha": 0.19}, False),
        ("base", {"alpha": 0.14}, True),  # around the 0.07 of params.yaml
        ("mmts", {"centre": 0.1, "alpha": 0.2}, False),  # a margin of 0
        ("mmts", {"centre": 0.1, "alpha": 0.21}, True),
        ("mmts", {"centre": 0.1, "alpha": "0.3"}, False),  # an error, but not this one
        ("mmts", {"clustering.features": "vision"}, False),  # of a frozen tower
    ],
)
def test_what_there_cannot_be(
    study: Project, name: str, changes: dict[str, Any], unsound: bool
) -> None:
    assert planned().base.unsound(name, changes, "f", "p") == unsound


def test_changes_of_the_schedule_and_the_shift_are_named_as_they_were(study: Project) -> None:
    base = planned().base

    def cell(**changes: Any) -> Any:
        return base.cell("mmts", {**CHANGES, **changes}, 3, "f", "p")

    plain, moved = cell(), cell(oscillations=2.0, update_every="epoch", shift_mapping="log")
    assert moved.method.schedule.model_dump() == {
        "kind": "cosine", "oscillations": 2.0, "update_every": "epoch",
    }  # fmt: skip
    assert moved.method.shift.kind == "log"
    facts = moved.facts()["method"]
    assert (facts["oscillations"], facts["update_every"], facts["shift_mapping"]) == (
        2.0, "epoch", "log",
    )  # fmt: skip
    assert "schedule" not in facts and "shift" not in facts
    without = planned().base.cell("base", {}, 3, "f", "p")
    assert without.method.schedule is None and without.method.shift is None
    names = ("oscillations", "update_every", "shift_mapping")
    assert all(without.facts()["method"][n] == plain.facts()["method"][n] for n in names)
    assert without.facts(defaults=False)["method"]["shift_mapping"] == "linear"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"oscillations": 2}, "f: p.oscillations is not a setting; there are: "),
        ({"alpha": 0.01}, "alpha is 0.01, but the method has no schedule: add one, such as "),
        ({"spread": 0.1, "centre": 0.07}, "differ, but the method has no shift: add one, such as "),
    ],
)
def test_a_method_without_a_schedule_or_a_shift(
    study: Project, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        planned().base.cell("base", changes, 3, "f", "p")


def test_another_kind_of_schedule_has_another_key(
    study: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the example, which the registry here does not have."""
    triangle, known = module_of("triangle").Kind, SCHEDULES.validated
    monkeypatch.setattr(
        SCHEDULES, "validated",
        lambda v: triangle(kind="triangle") if v == "triangle" else known(v),
    )  # fmt: skip
    found = planned().base.cell("mmts", {**CHANGES, "schedule": "triangle"}, 3, "f", "p")
    moves = {"kind": "triangle", "oscillations": 5.0, "update_every": "step"}
    assert found.facts()["method"]["schedule"] == moves
    assert planned().base.key(found) != key()
