"""Checkpoints of VAST, EVA-CLIP and BEATs: sizes from tensors, and their own form again."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mmts.errors import InputError, in_short
from mmts.towers import vast_names
from mmts.towers.model_config import Given

if TYPE_CHECKING:
    from torch import Tensor, nn

    from mmts.towers.vast_names import Family

State = dict[str, "Tensor"]
GIANT, GIANT_HEADS = 1408, 16
"""Width and attention heads of EVA01-CLIP-g."""
BERT_HEAD = 64
"""Width of a head of every published BERT."""
MEL_BINS = 64
"""Of VAST, where nothing beside its checkpoint tells another number."""
HPS = "log/hps.json"
BUILT: dict[str, Any] = {
    "layer_norm_first": False, "deep_norm": True, "gru_rel_pos": True, "activation_fn": "gelu",
    "relative_position_embedding": True, "num_buckets": 320, "max_distance": 800,
    "input_patch_size": 16, "conv_bias": False,
}  # fmt: skip
"""Settings of BEATs that change the features, with the value that the tower here has."""


class Described(NamedTuple):
    """Facts of a checkpoint's parts, for towers.json, and the shape that each tensor must have."""

    facts: dict[str, Any]
    wanted: dict[str, list[int]]


class Beside(NamedTuple):
    """What is known of a checkpoint beside its tensors: its file, its other entries, options."""

    source: Path
    entries: dict[str, Any]
    given: Given


def describe(family: Family, state: State, beside: Beside) -> Described:
    """Return the facts of a checkpoint of VAST, EVA-CLIP or BEATs, whose names are ours already.

    Raises:
        InputError: a size cannot be told or is odd, or the settings are of another model.
    """
    _refuse_options(family, beside.given)
    try:
        if family == "eva_clip":
            found = _vision(state, beside)
        elif family == "beats":
            found = _with_cfg(_audio(state), beside)
        else:
            found = _vast(state, beside)
    except InputError:
        raise
    except KeyError as error:
        name = error.args[0]
        raise InputError(f"{beside.source} ({family}) lacks {name} (our name for it)") from None
    except (ValueError, LookupError, RuntimeError, TypeError, ArithmeticError) as error:
        told = in_short(error)
        raise InputError(
            f"{beside.source} ({family}): a tensor has an odd shape ({told})"
        ) from None
    return found


def written(family: str, kept: State, whole: State) -> dict[str, str]:
    """Return what it takes, beside the tensors, to write the same file again.

    Args:
        family: what it is of.
        kept: its tensors that are converted, in the file's types.
        whole: all of them under the file's names.
    """
    found = {str(value.dtype).removeprefix("torch.") for value in kept.values()}
    dtype = found.pop() if len(found) == 1 else "float32"
    return {"dtype": dtype, "spelling": vast_names.spelling(family, whole)}


def summary(facts: dict[str, Any]) -> list[str]:
    """Return lines that say what was found."""
    by = facts.get("told_by", {})
    parts = []
    for name in ("vision", "text"):
        if name in facts:
            config = facts[name]["config"]
            parts.append(
                f"{name}: {config['num_hidden_layers']} layers, {config['hidden_size']} wide, "
                f"{config['num_attention_heads']} heads (by {by[f'{name}.heads']})"
            )
    if "audio" in facts:
        shape = facts["audio"]["shape"]
        parts.append(
            f"audio: {shape['layers']} layers, {shape['width']} wide, {shape['heads']} heads"
        )
    if "omni" in facts:
        omni = facts["omni"]
        parts.append(
            f"omni: {omni['dim']} dimensions, {omni['frames']} frames, {omni['audio_frames']} of "
            f"sound, {omni['mel_bins']} mel bins (by {by['omni.mel_bins']}), temperature "
            f"{omni['contra_temp']:.4g}"
        )
    return [f"{facts['family']}, {facts['dtype']}", *parts]


def _refuse_options(family: Family, given: Given) -> None:
    known = {"vast": ("vision_heads", "text_heads"), "eva_clip": ("vision_heads",), "beats": ()}
    for name, value in given._asdict().items():
        if value is not None and name not in known[family]:
            option = name.replace("_", "-")
            raise InputError(
                f"--{option} says nothing about a checkpoint of {family}; leave it out"
            )


def _heads(part: str, width: int, of: tuple[int, str] | None, beside: Beside) -> tuple[int, str]:
    """Return the attention heads of a part, and who says so: an option before what is `of` it."""
    option = beside.given._asdict()[f"{part}_heads"]
    if option is not None:
        return option, "the option"
    if of is None:
        raise InputError(
            f"{beside.source} does not tell the attention heads of its {part} side, which is "
            f"{width} wide; add --{part}-heads N"
        )
    return of


def _vision(state: State, beside: Beside) -> Described:
    import math

    from mmts.settings.shapes import EvaShape
    from mmts.towers.eva_clip import EvaClip
    from mmts.towers.pretrained import config_of

    at = "vision.model.embeddings"
    width, _, patch, _ = state[f"{at}.patch_embeddings.projection.weight"].shape
    known = (GIANT_HEADS, "the code of EVA01-CLIP-g") if width == GIANT else None
    heads, by = _heads("vision", width, known, beside)
    grid = math.isqrt(state[f"{at}.position_embeddings"].shape[1] - 1)
    shape = EvaShape(
        patch_size=patch, width=width, layers=_layers(state, "vision.model.layers."), heads=heads,
        mlp=len(state["vision.model.layers.0.mlp.fc1.weight"]),
    )  # fmt: skip
    with _nowhere():
        tower = EvaClip.random(grid * patch, shape)
    facts = {"vision": {"config": config_of(tower.model)}, "told_by": {"vision.heads": by}}
    return Described(facts, _shapes("vision", tower))


def _text(state: State, beside: Beside) -> Described:
    from mmts.settings.shapes import BertShape
    from mmts.towers.bert import Bert
    from mmts.towers.pretrained import config_of

    vocabulary, width = state["text.model.embeddings.word_embeddings.weight"].shape
    known = None if width % BERT_HEAD else (width // BERT_HEAD, "BERT's code")
    heads, by = _heads("text", width, known, beside)
    shape = BertShape(
        context=len(state["text.model.embeddings.position_embeddings.weight"]), width=width,
        layers=_layers(state, "text.model.encoder.layer."), heads=heads,
        mlp=len(state["text.model.encoder.layer.0.intermediate.dense.weight"]),
    )  # fmt: skip
    with _nowhere():
        tower = Bert.random(vocabulary, shape, True)
    facts = {"text": {"config": config_of(tower.model)}, "told_by": {"text.heads": by}}
    return Described(facts, _shapes("text", tower))


def _audio(state: State) -> Described:
    from mmts.settings.shapes import BeatsShape
    from mmts.towers.beats import Beats

    width, channels = state["audio.widen.weight"].shape
    _, inside, kernel = state["audio.positions.parametrizations.weight.original1"].shape
    shape = BeatsShape(
        channels=channels, width=width, kernel=kernel, groups=width // inside,
        layers=_layers(state, "audio.layers."), heads=state["audio.distances.weight"].shape[1],
        mlp=len(state["audio.layers.0.fc1.weight"]),
    )  # fmt: skip
    with _nowhere():
        tower = Beats(shape)
    return Described({"audio": {"shape": tower.shape}}, _shapes("audio", tower))


def _vast(state: State, beside: Beside) -> Described:
    """All three encoders, the heads, and what matching needs."""
    parts = (_vision(state, beside), _text(state, beside), _audio(state))
    temperature = float(state.pop("contra_temp"))
    if not 0 < temperature < float("inf"):
        raise InputError(
            f"{beside.source} (vast): contra_temp is {temperature}; it must be above 0 and finite"
        )
    wide = {side: len(state[f"{name}.weight"]) for side, name in (
        ("vision", "vision.model.layernorm"), ("audio", "audio.norm"),
        ("subtitle", "text.model.embeddings.LayerNorm"),
    )}  # fmt: skip
    dim, text = state["omni.text_head.weight"].shape
    places = {n: state[f"omni.matching.places.{n}"].shape[1] for n in ("vision", "audio")}
    bins, by = _mel_bins(beside.source)
    facts = {name: value for part in parts for name, value in part.facts.items()}
    told = {name: who for part in parts for name, who in part.facts.get("told_by", {}).items()}
    facts["omni"] = {
        "dim": dim, "frames": places["vision"], "audio_frames": places["audio"],
        "contra_temp": temperature, "mel_bins": bins,
    }  # fmt: skip
    wanted = {name: shape for part in parts for name, shape in part.wanted.items()}
    wanted |= _heads_of(wide, text, dim, places)
    return Described(facts | {"told_by": told | {"omni.mel_bins": by}}, wanted)


def _heads_of(
    wide: dict[str, int], text: int, dim: int, places: dict[str, int]
) -> dict[str, list[int]]:
    """Return the shapes of the heads and of what matching needs; `wide` as in `Matching`."""
    from mmts.towers.omni import Matching

    with _nowhere():
        matching = Matching(wide, text, places)
    wanted = _shapes("omni.matching", matching) | {"omni.text_head.weight": [dim, text]}
    for name in vast_names.HEADS:
        inside = sum(width for stream, width in wide.items() if stream[0] in name)
        wanted[f"omni.media_head.{name}.weight"] = [dim, inside]
        if len(name) > 1:
            wanted[f"omni.media_head.{name}.bias"] = [dim]
    return wanted


def _mel_bins(source: Path) -> tuple[int, str]:
    """Return the mel bins of VAST's filterbank, and who says so."""
    from mmts.files import read_json

    path = source.parent.parent / HPS
    if not path.is_file():
        return MEL_BINS, "VAST's default"
    found = read_json(path, "get the checkpoint again", ours=False)
    model = found.get("model_cfg") if isinstance(found, dict) else None
    bins = model.get("audio_melbins", MEL_BINS) if isinstance(model, dict) else MEL_BINS
    if type(bins) is not int or not 0 < bins <= 1024:
        raise InputError(f"{path}: model_cfg.audio_melbins is {bins!r}; it must be 1 to 1024")
    return bins, HPS


def _with_cfg(found: Described, beside: Beside) -> Described:
    """Add the settings that are in BEATs' own file, if they are those of a model that is known."""
    cfg = beside.entries.get("cfg", {})
    try:
        cfg = json.loads(json.dumps(cfg, allow_nan=False))
        wanted = {**BUILT, "encoder_attention_heads": found.facts["audio"]["shape"]["heads"]}
        odd = {name: cfg[name] for name in wanted if name in cfg and cfg[name] != wanted[name]}
    except (TypeError, ValueError):
        raise InputError(
            f"{beside.source} (beats): its cfg is no mapping of plain values; get it again"
        ) from None
    if odd:
        name = min(odd)
        raise InputError(
            f"{beside.source} (beats) has {name} {odd[name]!r} in its cfg; the tower here has "
            f"{wanted[name]!r}"
        )
    found.facts["audio"]["cfg"] = cfg
    return found


def _layers(state: State, prefix: str) -> int:
    return len({n.removeprefix(prefix).split(".")[0] for n in state if n.startswith(prefix)})


def _shapes(part: str, module: nn.Module) -> dict[str, list[int]]:
    return {f"{part}.{name}": list(value.shape) for name, value in module.state_dict().items()}


def _nowhere() -> Any:
    """Modules that are made inside have names and shapes, but no memory."""
    import torch

    return torch.device("meta")


def write_back(folder: Path, output: Path) -> None:
    """Write a converted checkpoint of VAST, EVA-CLIP or BEATs in its own form.

    What `convert` left out is not there. All tensors have one type: that of the file that was
    converted, or float32 where it had several.

    Args:
        folder: what `mmts.towers.convert` wrote.
        output: the file; .safetensors, or anything else for one of torch.save.

    Raises:
        InputError: the folder holds no such checkpoint, or the file exists or cannot be of that
            kind.
    """
    import torch

    from mmts.files import artifact, output_file, read_json
    from mmts.towers.converted import FACTS, WEIGHTS
    from mmts.weights import load_state, save_tensors

    remedy = "name a folder that `python -m mmts.towers.convert` wrote"
    facts = read_json(folder / FACTS, remedy)
    family = facts.get("family") if isinstance(facts, dict) else None
    if family not in vast_names.PAIRS:
        raise InputError(f"{folder} is of {family}; --back writes {_or(vast_names.PAIRS)}")
    if output.exists():
        raise InputError(f"{output} exists; name a file that does not")
    plain = output.suffix == ".safetensors"
    if family == "beats" and plain:
        raise InputError(f"{output}: a checkpoint of BEATs has settings too; name a .pt file")
    state = load_state(artifact(folder / WEIGHTS, remedy))
    if family == "vast":
        state["contra_temp"] = torch.tensor(facts["omni"]["contra_temp"])
    kind = getattr(torch, facts["dtype"])
    found = {
        f"{facts['spelling']}{name.removeprefix('visual.')}": value.to(kind)
        for name, value in vast_names.to_theirs(family, state).items()
    }
    whole: Any = {"cfg": facts["audio"]["cfg"], "model": found} if family == "beats" else found
    with output_file(output) as work:
        if plain:
            save_tensors(work, found)
        else:
            torch.save(whole, work)


def _or(names: Iterable[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} or {last}"
