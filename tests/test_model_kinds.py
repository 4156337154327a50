"""What a dataset's model needs of its towers and streams, told before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mmts.errors import InputError
from mmts.kinds.model import Parts
from tests.test_config import cell, dataset, refusal, told

OMNI = {
    "model": {"kind": "omni", "weights": "random"},
    "streams": {
        "audio": {"kind": "audio"},
        "subtitle": {"kind": "text", "column": "subtitle"},
    },
    "towers": {
        "vision": {
            "name": "eva_clip", "weights": "random", "frozen": False, "image_size": 32,
            "clip_length": 2, "shape": "tiny",
        },
        "text": {"name": "bert", "weights": "random", "frozen": False, "shape": "tiny"},
    },
    "train": {"epochs": 1, "batch_size": 8},
}  # fmt: skip


def changes(**more: Any) -> dict[str, Any]:
    """The dataset with an omni-modal model, changed."""
    whole = {**OMNI, **more}
    return {f"datasets.tiny.{key}": value for key, value in whole.items()}


def test_the_model_of_a_dataset(tmp_path: Path) -> None:
    assert dataset(tmp_path, {}).model.kind == "two_tower"
    found = dataset(tmp_path, changes())
    assert found.model.streams == ("vision", "audio", "subtitle") and found.model.dim == 512
    vision = found.towers.vision
    assert [vision.frames_of(split) for split in ("train", "val", "test")] == [2, 2, 2]
    longer = {**OMNI["towers"], "vision": {**OMNI["towers"]["vision"], "test_clip_length": 4}}
    vision = dataset(tmp_path, changes(towers=longer)).towers.vision
    assert [vision.frames_of(split) for split in ("train", "val", "test")] == [2, 4, 4]


@pytest.mark.parametrize(
    ("more", "line"),
    [
        (
            {"streams": {"audio": OMNI["streams"]["audio"]}},
            "datasets.tiny: model.streams names subtitle, but the dataset has no such stream; add "
            "`subtitle: {kind: text, …}` to its streams, or leave it out of model.streams",
        ),
        (
            {"streams": {**OMNI["streams"], "audio": OMNI["streams"]["subtitle"]}},
            "datasets.tiny: model.streams names audio, but the dataset has one of kind text; add "
            "`audio: {kind: audio, …}` to its streams, or leave it out of model.streams",
        ),
        (
            {"model": {**OMNI["model"], "streams": ["audio", "audio"]}},
            "datasets.tiny: model.streams ['audio', 'audio'] names one twice; name each once",
        ),
        (
            {"model": "two_tower"},
            "datasets.tiny: streams names audio, of kind audio, which model two_tower cannot read; "
            "set model to omni, or leave it out",
        ),
        (
            {"streams": {**OMNI["streams"], "audio": {"kind": "audio", "mel_bins": 72}}},
            "datasets.tiny: streams.audio.mel_bins is 72; the model cuts the filterbank into "
            "patches of 16: set it to 64 or 128, or another multiple",
        ),
        (
            {"model": {"kind": "omni", "weights": "w", "audio": {"shape": "tiny"}}},
            "datasets.tiny: model.audio.shape is set but its weights are w; it belongs to "
            "`weights: random`: leave it out",
        ),
        (
            {"train": {**OMNI["train"], "head": {"dim": 8}}},
            "datasets.tiny: train.head is set but model is omni, which has one of its own; leave "
            "out train.head",
        ),
    ],
    ids=["stream", "kind", "twice", "two-tower", "bins", "shape", "head"],
)
def test_mistakes_are_one_line(tmp_path: Path, more: dict[str, Any], line: str) -> None:
    assert refusal(tmp_path, changes(**more)) == line


def test_towers_that_it_cannot_take(tmp_path: Path) -> None:
    frames = {"name": "clip_frames", "weights": "x", "frozen": False, "image_size": 32,
              "clip_length": 2}  # fmt: skip
    assert refusal(tmp_path, changes(towers={**OMNI["towers"], "vision": frames})) == (
        "datasets.tiny: model is omni but towers.vision.name is clip_frames, which gives no "
        "features of each patch; set it to eva_clip"
    )
    words = {"name": "small_transformer", "weights": "random", "frozen": False}
    assert refusal(tmp_path, changes(towers={**OMNI["towers"], "text": words})) == (
        "datasets.tiny: model is omni but towers.text is frozen, or cannot attend to media items; "
        "set it to `name: bert` with `frozen: false`"
    )


def test_longer_subtitles_than_the_text_tower_takes(tmp_path: Path) -> None:
    words = {"kind": "text", "column": "subtitle", "max_tokens": 200}
    found = dataset(tmp_path, changes(streams={**OMNI["streams"], "subtitle": words}))
    parts = Parts(found.towers, None, {"vocabulary": 50}, found.streams)
    small = found.model.model_copy(update={"streams": ("subtitle",)})
    with pytest.raises(InputError) as caught:
        small.build(parts)
    assert str(caught.value) == (
        "streams.subtitle.max_tokens is 200, but towers.text takes 128 tokens; lower it"
    )


def test_re_ranking_by_matching_needs_a_model_and_a_term(tmp_path: Path) -> None:
    rerank = {"datasets.tiny.evaluate": {"rerank": "matching"}}
    assert refusal(tmp_path, rerank) == (
        "datasets.tiny: evaluate.rerank is matching but model is two_tower, which cannot match "
        "texts with media items; set model to another, or evaluate.rerank to null"
    )
    assert told(tmp_path, changes() | rerank) == [
        f"datasets.tiny.evaluate.rerank is matching, but methods.{name} has no loss term that "
        "trains the model to match; add `terms: {matching: 0.1}`, or leave out rerank"
        for name in ("base", "mmts")
    ]
    terms = {f"methods.{name}.terms": {"matching": {"tau": 0.07}} for name in ("base", "mmts")}
    assert cell(tmp_path, changes() | rerank | terms).terms["matching"].weight == 0.1
