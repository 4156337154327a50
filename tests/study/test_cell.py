"""A cell's key changes with all that decides its result, and with nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from mmts.method import Method
from mmts.settings.training import Train
from tests.conftest import Project
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
