"""Towers from a folder that `mmts.towers.convert` wrote."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from mmts.errors import InputError, in_short
from mmts.files import artifact, read_json
from mmts.kinds.vision import VISION_TOWERS
from mmts.towers.clip_text import ClipText, ClipTextConfig
from mmts.towers.divided import DividedViT
from mmts.towers.positions import resize_position, resize_temporal
from mmts.towers.tower import Shape, Tower
from mmts.towers.video_vit import VideoViT, VideoViTConfig
from mmts.weights import fingerprint, load_state, model_files, revision

if TYPE_CHECKING:
    from mmts.kinds.vision._parts import Attending

WEIGHTS, FACTS = "towers.safetensors", "towers.json"
TOWERS = {"joint": VideoViT, "divided": DividedViT}
COLOURS = ("mean", "std")  # JSON has lists
CONVERT = "run `python -m mmts.towers.convert` first"


class Converted(NamedTuple):
    """Both towers with their weights, and what `towers.json` says."""

    vision: VideoViT
    text: ClipText
    facts: dict[str, Any]


def read_facts(folder: Path) -> dict[str, Any]:
    """What `towers.json` says.

    Raises:
        InputError: the folder holds no converted checkpoint.
    """
    facts = read_json(folder / FACTS, CONVERT)
    parts = ("attention", "vision", "text")
    if isinstance(facts, dict) and "attention" not in facts and "spelling" in facts:
        raise InputError(
            f"{folder} is of {facts.get('family')}, which has no tower of that kind; name eva_clip "
            "or bert in towers, or a folder of AVION, LaViLa or CLIP"
        )
    if not isinstance(facts, dict) or not all(part in facts for part in parts):
        raise InputError(f"{folder / FACTS} lacks one of {', '.join(parts)}; {CONVERT}")
    if facts["attention"] not in TOWERS:
        raise InputError(
            f"{folder / FACTS}: attention is {facts['attention']!r}; it must be joint or divided"
        )
    return facts


class ConvertedPart(NamedTuple):
    """One part of a converted checkpoint: its tensors, without the part's name, and its facts."""

    state: dict[str, torch.Tensor]
    facts: dict[str, Any]
    fingerprint: str
    revision: str | None

    def mark(self, tower: Tower) -> None:
        """Note in a tower what it starts from."""
        tower.loaded, tower.revision = self.fingerprint, self.revision

    def fill(self, tower: Tower) -> None:
        """Put the tensors into a tower on the meta device, and note it."""
        try:
            _fill(tower, self.state, "")
        except (KeyError, RuntimeError) as error:
            told = in_short(error)
            raise InputError(f"the converted weights do not fit ({told}); {CONVERT}") from None
        self.mark(tower)


def read_part(spec: str, part: str, families: tuple[str, ...]) -> ConvertedPart:
    """Return a part of a converted checkpoint.

    Args:
        spec: the folder, or a hub id of one.
        part: vision, text, audio or omni.
        families: of checkpoints that have what is wanted.

    Raises:
        InputError: there is no such folder, or it has no such part.
    """
    folder = converted_folder(spec)
    facts = read_json(folder / FACTS, CONVERT)
    family = facts.get("family") if isinstance(facts, dict) else None
    if family not in families or not isinstance(facts.get(part), dict):
        raise InputError(
            f"{spec} has no {part} part of {' or '.join(families)} (it is of {family}); name a "
            "folder that `python -m mmts.towers.convert` wrote of such a checkpoint"
        )
    state = load_state(artifact(folder / WEIGHTS, CONVERT), f"{part}.")
    own = {name.removeprefix(f"{part}."): value for name, value in state.items()}
    return ConvertedPart(own, facts[part], fingerprint(own), revision(folder))


def video_config(values: dict[str, Any]) -> VideoViTConfig:
    """A configuration as JSON has it -> as it is."""
    values = {k: tuple(v) if k in COLOURS else v for k, v in values.items()}
    return VideoViTConfig(**values)


def empty_towers(facts: dict[str, Any]) -> tuple[VideoViT, ClipText]:
    """Both towers on the meta device: names and shapes, no memory, no random numbers."""
    with torch.device("meta"):
        tower = TOWERS[facts["attention"]](video_config(facts["vision"]))
        return tower, ClipText(ClipTextConfig(**facts["text"]))


def load_vision(folder: Path, **changes: Any) -> VideoViT:
    """The vision tower; `changes` of VideoViTConfig, such as `frames=8, drop_path=0.1`.

    Position embeddings are fitted to another `image_size` or `frames`. Text weights are not read.

    Raises:
        InputError: the folder holds no converted checkpoint, or a key does not exist.
    """
    facts = read_facts(folder)
    state = load_state(artifact(folder / WEIGHTS, CONVERT), "vision.")
    try:
        with torch.device("meta"):
            tower = TOWERS[facts["attention"]](video_config({**facts["vision"], **changes}))
        tower.loaded = fingerprint(state)
        config = tower.config
        state["vision.position"] = resize_position(state["vision.position"], config.grid)
        state["vision.temporal"] = resize_temporal(state["vision.temporal"], config.frames)
        _fill(tower, state, "vision.")
        tower.set_colours()
    except (KeyError, TypeError, RuntimeError) as error:
        raise _other_kind(folder, error) from None
    return tower


def load_text(folder: Path, **changes: Any) -> ClipText:
    """The text tower; `changes` of ClipTextConfig. Vision weights are not read.

    Raises:
        InputError: the folder holds no converted checkpoint, or a key does not exist.
    """
    facts = read_facts(folder)
    state = load_state(artifact(folder / WEIGHTS, CONVERT), "text.")
    try:
        with torch.device("meta"):
            tower = ClipText(ClipTextConfig(**{**facts["text"], **changes}))
        tower.loaded = fingerprint(state)
        _fill(tower, state, "text.")
    except (KeyError, TypeError, RuntimeError) as error:
        raise _other_kind(folder, error) from None
    return tower


def load_towers(folder: Path, **vision: Any) -> Converted:
    """Both towers; `vision` as in `load_vision`, its `gradient_checkpointing` for both.

    Raises:
        InputError: the folder holds no converted checkpoint, or a key does not exist.
    """
    text = {k: v for k, v in vision.items() if k == "gradient_checkpointing"}
    return Converted(load_vision(folder, **vision), load_text(folder, **text), read_facts(folder))


def _fill(tower: Tower, state: dict[str, torch.Tensor], side: str) -> None:
    """Put tensors called `side` + a parameter's name into a tower on the meta device."""
    own = {
        name.removeprefix(side): value.to(torch.float32, copy=True)  # off the mapped file
        for name, value in state.items()
    }
    tower.load_state_dict(own, assign=True)


def _other_kind(folder: Path, error: Exception) -> InputError:
    return InputError(f"{folder} holds no converted towers of that kind ({in_short(error)})")


def video_transformer(settings: Attending, sizes: Shape | None, shape: Shape | None) -> Tower:
    """Return a tower of joint or divided attention.

    Args:
        settings: `towers.vision`.
        sizes: of random weights; None for those that the settings name.
        shape: of a tower that was trained before, whose weights follow.

    Raises:
        InputError: there are no such weights, or they are of the other attention.
    """
    kind = TOWERS[settings.attention]
    if shape is not None:
        return kind(video_config(shape))
    if sizes is not None:
        return kind(VideoViTConfig(**sizes, **settings.numbers))
    folder = converted_folder(settings.weights)
    attention = read_facts(folder)["attention"]
    if attention != settings.attention:
        kinds = {name: VISION_TOWERS.load(name) for name in VISION_TOWERS.kinds}
        right = [n for n, k in kinds.items() if getattr(k, "attention", None) == attention]
        raise InputError(
            f"towers.vision.name is {settings.name} but {settings.weights} has {attention} "
            f"attention; set it to {' or '.join(right)}"
        )
    tower = load_vision(folder, **settings.numbers)
    tower.revision = revision(folder)
    return tower


def converted_folder(spec: str) -> Path:
    """The folder that mmts.towers.convert wrote; a hub id's is downloaded.

    Raises:
        InputError: there is none, or the hub cannot be reached.
    """
    return model_files(
        spec,
        (FACTS, WEIGHTS),
        "give the folder that `python -m mmts.towers.convert CHECKPOINT FOLDER` wrote",
    )
