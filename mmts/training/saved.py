"""A trained model on disk: model.safetensors, model.json, and tokenizer.json where it has one.

model.json has what it takes to build the model without the weights that its towers started from
(`shapes`: the sizes and constants of video and CLIP towers), and which those were (`loaded`).

state.safetensors beside it has the state of the objective, the modulator and further loss terms.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tokenizers import Tokenizer
from torch import Tensor, nn

from mmts.errors import InputError, in_short
from mmts.files import artifact, read_json, write_json
from mmts.kinds.model import MODELS, ModelKind, Parts, two_towers
from mmts.kinds.stream import STREAMS, StreamKind
from mmts.settings.towers import Towers
from mmts.settings.training import Head
from mmts.towers.model import Model
from mmts.towers.pretrained import check_layers
from mmts.towers.tokens import read_tokenizer
from mmts.weights import save_tensors

REMEDY = "run `dvc repro`"


def save_model(
    folder: Path, model: Model, towers: Towers, head: Head | None, dims: dict[str, int],
    tokenizer: Tokenizer | None, streams: Mapping[str, StreamKind] | None = None,
    kind: ModelKind | None = None,
) -> None:  # fmt: skip
    """Write the weights and everything needed to build the model again.

    A picture model with random or frozen towers has neither shapes nor loaded weights. Without
    `kind` it is one of two towers.
    """
    save_tensors(folder / "model.safetensors", model.state_dict())
    facts: dict[str, Any] = {
        "model": (kind or two_towers()).model_dump(mode="json"),
        "towers": towers.model_dump(),
        "head": head and head.model_dump(),
        "dims": dims,
        "matching": model.matches,
    }
    beside = {name: stream.model_dump() for name, stream in (streams or {}).items()}
    more = (("streams", beside), ("shapes", model.shapes), ("loaded", model.loaded))
    facts |= {name: value for name, value in more if value}
    write_json(folder / "model.json", facts)
    if tokenizer is not None:
        tokenizer.save(str(folder / "tokenizer.json"))


class LoadedModel(NamedTuple):
    """A trained model, its settings, and its tokenizer where it has one."""

    model: Model
    towers: Towers
    tokenizer: Tokenizer | None
    streams: dict[str, StreamKind]
    kind: ModelKind


def load_model(folder: Path) -> LoadedModel:
    """Return the model in `folder`.

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
        streams = {name: STREAMS.validated(of) for name, of in facts.get("streams", {}).items()}
        kind = MODELS.validated(facts["model"])
        model = kind.build(
            Parts(towers, head, facts["dims"], streams, facts["matching"], facts.get("shapes", {}))
        )
        model.load_state_dict(load_file(path))
    except Exception as error:  # facts of another kind may raise anything
        if isinstance(error, OSError):
            raise
        raise InputError(
            f"{path} and model.json do not fit ({in_short(error)}); {REMEDY}"
        ) from None
    tokenizer = None if towers.text.frozen else read_tokenizer(folder / "tokenizer.json")
    return LoadedModel(model, towers, tokenizer, streams, kind)


def save_state(folder: Path, parts: Mapping[str, object]) -> None:
    """Write parameters and buffers of parts by name into state.safetensors, as `objective.*`."""
    save_tensors(
        folder / "state.safetensors",
        {
            f"{name}.{key}": value
            for name, part in parts.items()
            for key, value in _state(part).items()
        },
    )


def load_state(folder: Path, parts: Mapping[str, object]) -> None:
    """Put what `save_state` wrote back into parts of the same settings.

    Raises:
        InputError: the file is missing, damaged, or of other parts.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = artifact(folder / "state.safetensors", REMEDY)
    try:
        state = load_file(path)
        for name, part in parts.items():
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
