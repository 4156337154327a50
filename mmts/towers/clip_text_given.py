"""CLIP's text tower with weights: of a converted checkpoint, or of a model of transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmts.errors import InputError
from mmts.towers.clip_text import ClipTextConfig
from mmts.towers.clip_text_hub import load_text_model, read_config
from mmts.towers.converted import FACTS, converted_folder, load_text, read_facts
from mmts.towers.tower import Tower
from mmts.weights import first_file, revision


def given_config(spec: str, **own: Any) -> ClipTextConfig:
    """Return the size of a tower.

    Args:
        spec: a folder that `mmts.towers.convert` wrote or one of transformers, or a hub id.
        own: numbers of ClipTextConfig in place of those of the folder.

    Raises:
        InputError: there is none.
    """
    found = _file(spec)
    if found.name == FACTS:
        facts = read_facts(found.parent)["text"]
    else:
        facts = vars(read_config(spec, found.parent))
    try:
        return ClipTextConfig(**{**facts, **own})
    except TypeError as error:
        raise InputError(f"{spec}: {FACTS} has an odd text tower ({error})") from None


def load_given(spec: str, config: ClipTextConfig) -> Tower:
    """Return the tower with its weights; arguments and errors as of `given_config`."""
    recompute = config.gradient_checkpointing
    if _file(spec).name != FACTS:
        return load_text_model(spec, gradient_checkpointing=recompute)
    folder = converted_folder(spec)
    tower = load_text(folder, gradient_checkpointing=recompute)
    tower.revision = revision(folder)
    return tower


def _file(spec: str) -> Path:
    """The file that says what a text tower is: of a converted folder, or of transformers."""
    return first_file(
        spec,
        (FACTS, "config.json"),
        "give a CLIP model's folder or hub id, or the folder that `python -m mmts.towers.convert "
        "CHECKPOINT FOLDER` wrote",
    )
