import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ruamel.yaml import YAML
from torch import nn

from mmts.errors import InputError
from mmts.settings.towers import Towers
from mmts.settings.training import Head, Stream, Train
from mmts.towers.tokens import train_tokenizer
from mmts.training import fingerprint
from mmts.training.fingerprint import (
    CODE,
    LEFT_OUT,
    code_hash,
    difference,
    digest_of,
    facts,
    first_difference,
    input_files,
)
from tests.training.test_loop import FROZEN, HEAD, TRAINABLE, settings

CHANGED: dict[str, Any] = {
    "epochs": 7, "batch_size": 9, "learning_rate": 0.02, "min_learning_rate": 1e-4,
    "warmup_from": 1e-5, "warmup_steps": 3, "weight_decay": 0.2, "clip_grad_norm": 1.0,
    "head": Head(dim=9), "positive_relevancy": 0.1, "augment": True, "log_every": 3,
    "validate_every": 2, "precision": "bf16", "compile": True, "channels_last": True,
    "micro_batch_size": 4, "ema_decay": 0.9, "stream": Stream(url="x"), "threads": 2,
}  # fmt: skip
"""Another value of each setting that counts."""


def made(
    train: Train | None = None, towers: Towers = FROZEN, files: dict[str, Path] | None = None,
    model: nn.Module | None = None, **more: Any,
) -> dict[str, Any]:  # fmt: skip
    given = {"seed": 0, "device": "cpu", "world_size": 1, **more}
    return facts({"towers": towers, "train": train or settings()}, {"model": model, "f": max},
                 files or {}, **given)  # fmt: skip


def test_each_setting_of_train_counts_or_is_left_out() -> None:
    out = {name.removeprefix("train.") for name in LEFT_OUT}
    assert set(Train.model_fields) <= set(CHANGED) | out and not set(CHANGED) & out
    for name, value in CHANGED.items():
        found = first_difference(made(), made(settings(**{name: value})))
        assert found is not None and f"{found}.".startswith(f"train.{name}.")
    for name, value in {"workers": 3, "device": "auto"}.items():
        assert made(settings(**{name: value})) == made()


def test_workers_count_where_shards_are_streamed() -> None:
    """Each reads its own; from where, does not matter: the manifest has their SHA-256."""
    one, other = (settings(stream=Stream(url=url), workers=2) for url in ("x", "y"))
    assert made(one) == made(other) != made(settings(stream=Stream(url="x"), workers=3))


def test_the_rest_counts(tmp_path: Path) -> None:
    torch.manual_seed(0)
    models = [nn.Linear(2, 2), nn.Linear(2, 2)]
    table = tmp_path / "shift.parquet"
    table.write_bytes(b"one")
    before = made(model=models[0], files={"shift": table})
    assert before["seed"] == 0 and before["towers.vision.name"] == "small_cnn"
    table.write_bytes(b"two")
    for key, other in {
        "towers.vision.weights": made(towers=TRAINABLE),
        "seed": made(seed=1),
        "device": made(device="cuda"),
        "world_size": made(world_size=2),
        "start.model": made(model=models[1]),
        "data.shift": made(model=models[0], files={"shift": table}),
    }.items():
        base = before if "data" in key else made(model=models[0] if "model" in key else None)
        assert first_difference(base, other) == key and digest_of(base) != digest_of(other)
    assert "start.f" not in before


def test_code_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert all(len(made()[f"code.{name}"]) == 64 for name in fingerprint.CODE)
    (tmp_path / "losses").mkdir()
    files = [tmp_path / "losses" / name for name in ("a.py", "b.py", "b.txt")]
    for file in files:
        file.write_text("x = 1\n")
    seen = [code_hash(tmp_path / "losses"), code_hash(files[0])]
    files[2].write_text("no code")
    assert code_hash(tmp_path / "losses") == seen[0]
    files[1].write_text("x = 2\n")
    assert code_hash(tmp_path / "losses") != seen[0] and code_hash(files[0]) == seen[1]
    files[1].rename(tmp_path / "losses/c.py")
    assert code_hash(tmp_path / "losses") not in seen


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


def test_what_the_stage_reads(tmp_path: Path) -> None:
    names = ["shards/d/manifest.json", "shift/d/m/shift.parquet", "embed/d/ids.parquet",
             "embed/d/vision.npy", "embed/d/caption_text.npy", "embed/d/text.npy"]  # fmt: skip
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        np.save(tmp_path / name, np.zeros(3))
        (tmp_path / f"{name}.npy").unlink(missing_ok=True) if name.endswith("npy") else (
            tmp_path / f"{name}.npy"
        ).rename(tmp_path / name)
    assert list(input_files(tmp_path, "d", "m", TRAINABLE)) == names[:2]
    assert sorted(input_files(tmp_path, "d", "m", FROZEN)) == sorted(names)
    for more in ("shift/d/m/clusters.parquet", "embed/d/text_features.npy"):
        (tmp_path / more).write_bytes(b"")
        assert more in input_files(tmp_path, "d", "m", FROZEN)
    (tmp_path / names[1]).unlink()
    with pytest.raises(InputError, match=r"shift\.parquet is not there; run `dvc repro`"):
        input_files(tmp_path, "d", "m", FROZEN)


def test_the_pieces_of_a_tokenizer_count() -> None:
    """Two of one size too."""
    found = []
    for texts in (["ab ab"], ["cd cd"]):
        tokenizer = train_tokenizer(texts)
        given = {"seed": 0, "device": "cpu", "world_size": 1}
        found.append(facts({}, {"tokenizer": tokenizer}, {}, **given))  # type: ignore[arg-type]
    assert first_difference(*found) == "start.tokenizer"


def test_a_head_or_none() -> None:
    assert made(settings(head=None))["train.head"] is None
    assert made(settings(head=HEAD))["train.head.dim"] == 8


def test_the_code_that_counts_is_what_dvc_tracks() -> None:
    stage = YAML(typ="safe").load(Path(__file__).parents[2] / "dvc.yaml")["stages"]["train"]
    tracked = {dep.removeprefix("mmts/") for dep in stage["deps"] if dep.startswith("mmts/")}
    assert set(CODE) == tracked
