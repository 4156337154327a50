"""What the tensors of VAST, EVA-CLIP and BEATs are called, and what they are called here.

Facts about VAST (github.com/TXH-mercury/VAST), EVA01-CLIP-g (github.com/baaivision/EVA; also as
timm and open_clip name it) and BEATs (github.com/microsoft/unilm). Each pair is their name of a
tensor or of a module and ours, # a number, so that one list serves both ways.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Literal

from mmts.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

Family = Literal["vast", "eva_clip", "beats"]
Pairs = tuple[tuple[str, str], ...]

EVA: Pairs = (
    ("visual.cls_token", "vision.model.embeddings.cls_token"),
    ("visual.pos_embed", "vision.model.embeddings.position_embeddings"),
    ("visual.patch_embed.proj", "vision.model.embeddings.patch_embeddings.projection"),
    ("visual.blocks.#.norm1", "vision.model.layers.#.layernorm_before"),
    ("visual.blocks.#.norm2", "vision.model.layers.#.layernorm_after"),
    ("visual.blocks.#.attn.qkv.weight", "vision.model.layers.#.attention.qkv.weight"),
    ("visual.blocks.#.attn.q_bias", "vision.model.layers.#.attention.q_proj.bias"),
    ("visual.blocks.#.attn.v_bias", "vision.model.layers.#.attention.v_proj.bias"),
    ("visual.blocks.#.attn.proj", "vision.model.layers.#.attention.o_proj"),
    ("visual.blocks.#.mlp", "vision.model.layers.#.mlp"),
    ("visual.norm", "vision.model.layernorm"),
)
BEATS: Pairs = (
    ("patch_embedding", "audio.patches"),
    ("layer_norm", "audio.patch_norm"),
    ("post_extract_proj", "audio.widen"),
    ("encoder.pos_conv.0.weight_g", "audio.positions.parametrizations.weight.original0"),
    ("encoder.pos_conv.0.weight_v", "audio.positions.parametrizations.weight.original1"),
    ("encoder.pos_conv.0.bias", "audio.positions.bias"),
    ("encoder.layer_norm", "audio.norm"),
    ("encoder.layers.#.self_attn.q_proj", "audio.layers.#.query"),
    ("encoder.layers.#.self_attn.k_proj", "audio.layers.#.key"),
    ("encoder.layers.#.self_attn.v_proj", "audio.layers.#.value"),
    ("encoder.layers.#.self_attn.out_proj", "audio.layers.#.out"),
    ("encoder.layers.#.self_attn.grep_linear", "audio.layers.#.gate"),
    ("encoder.layers.#.self_attn.grep_a", "audio.layers.#.gate_scale"),
    ("encoder.layers.#.self_attn.relative_attention_bias", "audio.layers.#.distances"),
    ("encoder.layers.#.self_attn_layer_norm", "audio.layers.#.attention_norm"),
    ("encoder.layers.#.fc1", "audio.layers.#.fc1"),
    ("encoder.layers.#.fc2", "audio.layers.#.fc2"),
    ("encoder.layers.#.final_layer_norm", "audio.layers.#.norm"),
)
HEADS = {"v": ".linear", "a": ".linear", "s": ".linear", "va": "", "vs": "", "vas": ""}
"""Over which streams VAST has a head, and what its name ends with."""
STREAMS = ("vision", "audio", "subtitle")


def _below(prefix: str, pairs: Pairs) -> Pairs:
    return tuple((f"{prefix}{theirs}", ours) for theirs, ours in pairs)


PAIRS: dict[Family, Pairs] = {
    "vast": (
        *_below("vision_encoder.", EVA),
        *_below("audio_encoder.", BEATS),
        ("multimodal_encoder.bert", "text.model"),
        ("contra_temp", "contra_temp"),
        ("contra_head_t.linear", "omni.text_head"),
        *((f"contra_head_{name}{end}", f"omni.media_head.{name}") for name, end in HEADS.items()),
        ("itm_head.linear1", "omni.matching.head.0"),
        ("itm_head.layernorm", "omni.matching.head.2"),
        ("itm_head.linear2", "omni.matching.head.3"),
        *((f"hidden_trans_{n}_multimodal", f"omni.matching.projections.{n}") for n in STREAMS),
        *((f"{name}_type_embeddings", f"omni.matching.types.{name}") for name in STREAMS),
        *((f"{name}_frame_embedding", f"omni.matching.places.{name}") for name in STREAMS[:2]),
    ),
    "eva_clip": EVA,
    "beats": BEATS,
}
LEFT_OUT: dict[str, tuple[str, ...]] = {
    "vast": (
        "multimodal_encoder.bert.embeddings.position_ids", "multimodal_encoder.cls.*",
        "vision_encoder.text.*", "vision_encoder.logit_scale", "vision_encoder.visual.head.*",
    ),
    "eva_clip": ("text.*", "logit_scale", "visual.head.*"),
    "beats": ("predictor.*",),
}  # fmt: skip
"""Glob patterns of tensors that retrieval does not use: CLIP's text tower and projection, what
masked words are predicted with, a classifier of sounds."""
OLDER = (
    ("video", "vision"),
    ("evaclip_model.", "vision_encoder."),
    ("clip_model.", "vision_encoder."),
    ("vision_perceiver.vision_frame_embedding", "vision_frame_embedding"),
)
"""What earlier checkpoints of VAST call things, and later ones."""
EVA_PREFIXES = ("visual.trunk.", "visual.", "")
"""Of the vision tower in files of open_clip, of EVA-CLIP, and of timm."""
EVA02 = re.compile(r"visual\.(.*\.)?(rope|inner_attn_ln|ffn_ln|w[123]|fc1_[gx]|mlp\.norm|q_proj)\.")
"""Modules that the vision towers of EVA02-CLIP have; EVA01's has none of them."""
BEHIND = 1792
"""The width of EVA02-CLIP-E, which normalises behind its blocks: its names are those of EVA01."""


def refuse_eva02(family: str, state: Mapping[str, Tensor], source: object) -> None:
    """InputError where the vision tower is that of EVA02-CLIP; names are the newest."""
    if family not in ("vast", "eva_clip"):
        return
    wide = any(n.endswith("visual.cls_token") and v.shape[-1] == BEHIND for n, v in state.items())
    if wide or any(EVA02.search(name) for name in state):
        raise InputError(
            f"{source} has the vision tower of EVA02-CLIP, which is built otherwise; take the file "
            "of EVA01-CLIP-g, or a checkpoint of VAST that has it"
        )


def spelling(family: str, names: Iterable[str]) -> str:
    """Return what the names of an EVA-CLIP file's vision tower begin with; else nothing."""
    if family != "eva_clip":
        return ""
    names = list(names)
    return next(p for p in EVA_PREFIXES if any(n.startswith(f"{p}blocks.0.") for n in names))


def newest(family: str, state: Mapping[str, Tensor], source: object) -> dict[str, Tensor]:
    """Return tensors under the names of the family's newest files.

    Raises:
        InputError: two names have become one.
    """
    prefix = spelling(family, state)
    found: dict[str, Tensor] = {}
    for name, value in state.items():
        new = name
        if family == "vast":
            for old, later in OLDER:
                new = new.replace(old, later)
        elif family == "eva_clip" and name.startswith(prefix):
            new = f"visual.{name.removeprefix(prefix)}"
        if new in found:
            raise InputError(f"{source} has {new} twice, once under an older name; keep one")
        found[new] = value
    return found


def renamed(name: str, pairs: Pairs) -> str | None:
    """Return a tensor's other name; None where it has no pair.

    Args:
        name: of a tensor.
        pairs: names as `name` is one, and others.
    """
    for mine, other in pairs:
        found = re.match(re.escape(mine).replace(r"\#", r"(\d+)") + r"(?=\.|$)", name)
        if found:
            number = found[1] if "#" in mine else ""
            return other.replace("#", number) + name[found.end() :]
    return None


def to_ours(family: Family, state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Return tensors in float32 under our names and in our shapes, and names without a pair.

    Raises:
        InputError: layers of BEATs have different position biases, or a tensor cannot be split.
    """
    found: dict[str, Tensor] = {}
    unknown = []
    for name, value in state.items():
        target = renamed(name, PAIRS[family])
        if target is None:
            unknown.append(name)
        elif target.endswith(".qkv.weight"):
            found |= _thirds(name, target, value.float())
        elif target.endswith(".distances.weight"):
            _share(name, found, value.float())
        elif target.endswith(".gate_scale"):
            found[target] = value.float().reshape(-1, 1)
        else:
            found[target] = value.float()
    return found, unknown


def _thirds(name: str, target: str, value: Tensor) -> dict[str, Tensor]:
    """Weights of query, key and value, and the key's bias, which EVA-CLIP does not have."""
    if value.ndim != 2 or len(value) % 3:
        raise InputError(f"{name} is {list(value.shape)}; it must be [3 x width, width]")
    parts = dict(zip("qkv", value.chunk(3), strict=True))
    found = {target.replace("qkv", f"{part}_proj"): own for part, own in parts.items()}
    return found | {target.replace("qkv.weight", "k_proj.bias"): value.new_zeros(len(value) // 3)}


def _share(name: str, found: dict[str, Tensor], value: Tensor) -> None:
    """All layers of BEATs have the position bias of the first."""
    shared = found.setdefault("audio.distances.weight", value)
    if not shared.equal(value):
        raise InputError(
            f"{name} differs from that of another layer; BEATs has one for all: get it again"
        )


def to_theirs(family: Family, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors under the names of the family's newest files, from ours."""
    pairs = tuple((ours, theirs) for theirs, ours in PAIRS[family])
    state = dict(state)
    for name in list(state):
        if name.endswith("k_proj.bias"):
            del state[name]
        elif name.endswith("q_proj.weight"):
            state[name.replace("q_proj", "qkv")] = _joined(state, name)
        elif name.endswith(".gate_scale"):
            state[name] = state[name].reshape(1, -1, 1, 1)
        elif name == "audio.distances.weight":
            shared = state.pop(name)
            layers = {n.split(".")[2] for n in state if n.startswith("audio.layers.")}
            state |= {f"audio.layers.{layer}.distances.weight": shared for layer in layers}
    named = {renamed(name, pairs): value for name, value in state.items()}
    return {name: value for name, value in named.items() if name is not None}


def _joined(state: dict[str, Tensor], name: str) -> Tensor:
    import torch

    return torch.cat([state.pop(name.replace("q_proj", f"{part}_proj")) for part in "qkv"])
