"""Models that cannot be built are found by `check`, before anything runs."""

from __future__ import annotations

from typing import Any

import pytest

from mmts.errors import InputError
from mmts.settings.towers import Towers
from mmts.settings.training import Head
from mmts.towers.ahead import try_model
from tests.conftest import Project

SHAPE = {"patch_size": 8, "width": 32, "layers": 1, "heads": 2, "dim": 16}
CLIPS = {
    "name": "video_vit", "weights": "random", "frozen": False, "image_size": 16, "clip_length": 2,
    "shape": SHAPE,
}  # fmt: skip
WORD_SHAPE = {"context": 8, "width": 32, "layers": 1, "heads": 2, "dim": 16}
WORDS = {"name": "clip_text", "weights": "random", "frozen": False, "shape": WORD_SHAPE}
SENTENCES = {"name": "sentence", "weights": "m", "frozen": True}


def towers(vision: dict[str, Any], text: dict[str, Any], **more: Any) -> Towers:
    return Towers.model_validate({"vision": vision, "text": text, **more})


def test_models_that_can_be_built() -> None:
    try_model(towers(CLIPS, WORDS), None)
    try_model(towers(CLIPS, WORDS, frozen_parts=["text.*"]), Head(dim=4))
    try_model(towers(CLIPS, SENTENCES), Head(dim=4))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vision": {**CLIPS, "shape": None, "weights": "nowhere/at/all"}}, "no such folder"),
        ({"text": {**WORDS, "tokenizer": "./none"}}, r"\./none: no such folder"),
        ({"frozen_parts": ["visoin.*"]}, "matches no parameter; near it: vision"),
        ({"frozen_parts": ["*"]}, "nothing of the model is trained"),
        ({"text": {**WORDS, "shape": {**WORD_SHAPE, "dim": 8}}}, "have 16 numbers"),
    ],
)
def test_models_that_cannot(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        try_model(Towers.model_validate({"vision": CLIPS, "text": WORDS, **changes}), None)


def test_check_tries_the_models_of_the_grid(project: Project) -> None:
    nowhere = {**CLIPS, "shape": None, "weights": "data/weights/none"}
    project.set(datasets__tiny__towers__vision=nowhere)
    ran = project.run("check")
    assert ran.code == 1 and ran.err.startswith("error: data/weights/none: no such folder; give")
