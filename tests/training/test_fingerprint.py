"""What a checkpoint may be resumed with: all that decides the result, as facts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mmts.plan import split
from mmts.settings.base import NO_RESULT
from mmts.settings.towers import Towers
from mmts.settings.training import Augment, Head, Stream, Train
from mmts.training.fingerprint import difference, digest_of, facts, first_difference
from tests import making
from tests.training.test_loop import FROZEN, HEAD, TRAINABLE, settings

CHANGED: dict[str, Any] = {
    "epochs": 7, "batch_size": 9, "learning_rate": 0.02, "min_learning_rate": 1e-4,
    "warmup_from": 1e-5, "warmup_steps": 3, "weight_decay": 0.2, "clip_grad_norm": 1.0,
    "head": Head(dim=9), "positive_relevancy": 0.1, "augment": Augment(), "log_every": 3,
    "validate_every": 2, "precision": "bf16", "compile": True, "channels_last": True,
    "micro_batch_size": 4, "ema_decay": 0.9, "stream": Stream(url="x"), "threads": 2,
    "device": "auto", "learning_rates": {"vision.*": 0.1}, "schedule": "linear",
    "betas": (0.9, 0.98), "eps": 1e-6,
}  # fmt: skip
"""Another value of each setting that counts."""
FREE_OF = {"workers": 3, "launcher": ("torchrun",), "checkpoint": {"every_steps": 3}}
"""And of each that does not."""


def made(
    train: Train | None = None, towers: Towers = FROZEN, seeds: tuple[int, ...] = (0, 1),
    code: str = "c", **more: Any,
) -> dict[str, Any]:  # fmt: skip
    """The facts of a plan with these settings."""
    given = {"seed": 0, "device": "cpu", "world_size": 1, "inputs": {}, **more}
    kinds, weights = given.pop("kinds", {"k": "1"}), given.pop("weights", {"w": "1"})
    found = {
        "towers": towers.model_dump(mode="json"), "train": split(train or settings())[0],
        "seeds": list(seeds),
    }  # fmt: skip
    plan = {"settings": found, "weights": weights, "kinds": kinds}
    return facts(plan, code, **given)


def test_each_setting_of_train_counts_or_is_left_out() -> None:
    assert Train.model_fields.keys() == CHANGED.keys() | FREE_OF.keys()
    free = {name for name, field in Train.model_fields.items() if NO_RESULT in field.metadata}
    assert free == FREE_OF.keys()
    for name, value in CHANGED.items():
        found = first_difference(made(), made(settings(**{name: value})))
        assert found is not None and f"{found}.".startswith(f"settings.train.{name}.")
    for name, value in FREE_OF.items():
        assert made(settings(**{name: value})) == made()
    rates = {"vision.*": 0.1, "*": 0.2}
    turned = dict(reversed(rates.items()))  # the first that matches counts
    one, other = (made(settings(learning_rates=of)) for of in (rates, turned))
    assert first_difference(one, other) == "settings.train.learning_rates"


def test_workers_count_where_shards_are_streamed(tmp_path: Path) -> None:
    """Each reads its own; from where, does not matter: the manifest has their SHA-256."""
    train = "datasets.tiny.train"

    def planned(url: str, workers: int) -> Any:
        changes = {
            f"{train}.stream": {"url": url}, f"{train}.workers": workers,
            "datasets.tiny.towers.vision": {
                "name": "small_cnn", "weights": "random", "frozen": False, "image_size": 32,
            },
        }  # fmt: skip
        making.write_params(tmp_path / "params.yaml", making.PARAMS, changes)
        making.write_plan(tmp_path)
        return json.loads((tmp_path / "data/plan/tiny/base/train.json").read_text())

    first = planned("x", 2)
    assert planned("y", 2) == first != planned("x", 3)
    assert first["settings"]["train"]["workers"] == 2


def test_the_rest_counts() -> None:
    before = made(inputs={"data/shift": "1"})
    assert before["seed"] == 0 and before["settings.towers.vision.name"] == "small_cnn"
    for key, other in {
        "settings.towers.vision.weights": made(towers=TRAINABLE, inputs={"data/shift": "1"}),
        "weights.w": made(weights={"w": "2"}, inputs={"data/shift": "1"}),
        "kinds.k": made(kinds={"k": "2"}, inputs={"data/shift": "1"}),
        "seed": made(seed=1, inputs={"data/shift": "1"}),
        "device": made(device="cuda", inputs={"data/shift": "1"}),
        "world_size": made(world_size=2, inputs={"data/shift": "1"}),
        "data.data/shift": made(inputs={"data/shift": "2"}),
        "code": made(code="d", inputs={"data/shift": "1"}),
    }.items():
        assert first_difference(before, other) == key and digest_of(before) != digest_of(other)


def test_the_other_seeds_do_not_count() -> None:
    assert made(seeds=(0,)) == made(seeds=(0, 1, 2))


def test_facts_survive_json_and_the_order_of_keys() -> None:
    found = made()
    again = json.loads(json.dumps(found))
    assert difference(found, again) is None
    assert digest_of(dict(reversed(again.items()))) == digest_of(found)
    assert len(digest_of(found)) == 16


def test_differences_are_told_short() -> None:
    assert difference({"a": 1, "b": "x" * 99}, {"a": 1, "b": "y" * 99}) == (
        f'b is "{"x" * 12}… here and "{"y" * 12}… there'
    )
    assert difference({"a": None}, {"a": [1], "c": 2}) == "a is null here and [1] there"
    assert difference({"a": 1}, {"a": 1, "c": 2}) == "c is nothing here and 2 there"
    assert difference({"a": 1}, {"a": 1.0}) == "a is 1 here and 1.0 there"


def test_a_head_or_none() -> None:
    assert made(settings(head=None))["settings.train.head"] is None
    assert made(settings(head=HEAD))["settings.train.head.dim"] == 8
