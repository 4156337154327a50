"""A trained model on disk: model.safetensors, model.json, and tokenizer.json where it has one.

model.json has what it takes to build the model without the weights that its towers started from
(`shapes`: the sizes and constants of video and CLIP towers), and which those were (`loaded`).

state.safetensors beside it has the state of the objective and of the modulator.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tokenizers import Tokenizer
from torch import Tensor, nn

from mmts.errors import InputError, in_short
from mmts.files import artifact, read_json, write_json
from mmts.settings.towers import Towers
from mmts.settings.training import Head
from mmts.towers.pretrained import check_layers
from mmts.towers.tokens import read_tokenizer
from mmts.towers.two_tower import TwoTower
from mmts.weights import save_tensors

if TYPE_CHECKING:
    from mmts.losses import Objective

REMEDY = "run `dvc repro`"


def save_model(
    folder: Path, model: TwoTower, towers: Towers, head: Head | None, dims: dict[str, int],
    tokenizer: Tokenizer | None,
) -> None:  # fmt: skip
    """Write the weights and everything needed to build the model again.

    A picture model with random or frozen towers has neither shapes nor loaded weights.
    """
    save_tensors(folder / "model.safetensors", model.state_dict())
    facts = {"towers": towers.model_dump(), "head": head and head.model_dump(), "dims": dims}
    facts |= {k: v for k, v in (("shapes", model.shapes), ("loaded", model.loaded)) if v}
    write_json(folder / "model.json", facts)
    if tokenizer is not None:
        tokenizer.save(str(folder / "tokenizer.json"))


def load_model(folder: Path) -> tuple[TwoTower, Towers, Tokenizer | None]:
    """The model in `folder`, its towers' settings and its tokenizer.

    Raises:
        InputError: a file is missing, damaged, or of another model.
    """
    from safetensors.torch import load_file

    facts = read_json(folder / "model.json", REMEDY)
    path = artifact(folder / "model.safetensors", REMEDY)
    check_layers(facts, str(folder / "model.json"), REMEDY)
    try:
        towers = Towers.model_validate(facts["towers"])
        head = None if facts["head"] is None else Head.model_validate(facts["head"])
        model = TwoTower(towers, head, facts["dims"], facts.get("shapes", {}))
        model.load_state_dict(load_file(path))
    except Exception as error:  # facts of another kind may raise anything
        if isinstance(error, OSError):
            raise
        raise InputError(
            f"{path} and model.json do not fit ({in_short(error)}); {REMEDY}"
        ) from None
    tokenizer = None if towers.text.frozen else read_tokenizer(folder / "tokenizer.json")
    return model, towers, tokenizer


def save_state(folder: Path, objective: Objective, modulator: nn.Module) -> None:
    """Write parameters and buffers of both into state.safetensors, as `objective.*` and so on."""
    save_tensors(
        folder / "state.safetensors",
        {
            f"{name}.{key}": value
            for name, part in (("objective", objective), ("modulator", modulator))
            for key, value in _state(part).items()
        },
    )


def load_state(folder: Path, objective: Objective, modulator: nn.Module) -> None:
    """Put what `save_state` wrote back into an objective and a modulator of the same settings.

    Raises:
        InputError: the file is missing, damaged, or of another objective or modulator.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = artifact(folder / "state.safetensors", REMEDY)
    try:
        state = load_file(path)
        for name, part in (("objective", objective), ("modulator", modulator)):
            own = {k.removeprefix(f"{name}."): state.pop(k) for k in list(state)
                   if k.startswith(f"{name}.")}  # fmt: skip
            if isinstance(part, nn.Module):
                part.load_state_dict(own)
            elif own:
                raise KeyError(f"{name} has no state, the file has {min(own)}")
    except (KeyError, RuntimeError, SafetensorError) as error:
        raise InputError(f"{path} does not fit ({in_short(error)}); {REMEDY}") from None


def _state(part: object) -> dict[str, Tensor]:
    return part.state_dict() if isinstance(part, nn.Module) else {}
