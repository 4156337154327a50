"""What the tensors of published CLIP-like models are called, and what they are called here.

Those of VAST, EVA-CLIP and BEATs are in `mmts.towers.vast_names`.

Facts about AVION (github.com/zhaoyue-zephyrus/AVION, with and without flash attention), LaViLa
(github.com/facebookresearch/LaViLa, TimeSformer with CLIP's text tower), OpenAI's CLIP, and CLIP in
transformers.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Literal

from mmts.errors import InputError
from mmts.towers import vast_names

if TYPE_CHECKING:
    from torch import Tensor

Clip = Literal["avion", "lavila", "openai", "transformers"]
Family = Clip | vast_names.Family
Rules = tuple[tuple[str, str], ...]

# A tensor that only this family has, but for those before it.
SIGNS: tuple[tuple[str, Family], ...] = (
    ("multimodal_encoder.bert.embeddings.word_embeddings.weight", "vast"),
    ("post_extract_proj.weight", "beats"),
    *(
        (f"{prefix}blocks.0.attn.{name}", "eva_clip")
        for prefix in vast_names.EVA_PREFIXES
        for name in ("q_bias", "q_proj.weight")
    ),
    ("visual.patch_embed.proj.weight", "lavila"),
    ("textual.token_embedding.weight", "avion"),
    ("visual.class_embedding", "openai"),
    ("vision_model.embeddings.class_embedding", "transformers"),
)
END = r"(weight|bias)"
CLIP_BLOCK: Rules = (
    (rf"attn\.in_proj_{END}", r"attn.qkv.\2"),
    (rf"attn\.Wqkv\.{END}", r"attn.qkv.\2"),
    (rf"attn\.out_proj\.{END}", r"attn.out.\2"),
    (rf"ln_([12])\.{END}", r"norm\2.\3"),
    (rf"mlp\.(?:c_fc|fc1)\.{END}", r"mlp.fc1.\2"),
    (rf"mlp\.(?:c_proj|fc2)\.{END}", r"mlp.fc2.\2"),
)
DIVIDED_BLOCK: Rules = (
    (rf"norm([12])\.{END}", r"norm\2.\3"),
    (rf"norm3\.{END}", r"norm_time.\2"),
    (rf"attn\.qkv\.{END}", r"attn.qkv.\2"),
    (rf"attn\.proj\.{END}", r"attn.out.\2"),
    (rf"timeattn\.qkv\.{END}", r"time.qkv.\2"),
    (rf"timeattn\.proj\.{END}", r"time.out.\2"),
    (rf"mlp\.(fc[12])\.{END}", r"mlp.\2.\3"),
)
TRANSFORMERS_BLOCK: Rules = (
    (rf"self_attn\.qkv\.{END}", r"attn.qkv.\2"),
    (rf"self_attn\.out_proj\.{END}", r"attn.out.\2"),
    (rf"layer_norm([12])\.{END}", r"norm\2.\3"),
    (rf"mlp\.(fc[12])\.{END}", r"mlp.\2.\3"),
)


def _blocks(source: str, target: str, rules: Rules) -> Rules:
    return tuple(
        (rf"{source}\.(\d+)\.{pattern}", rf"{target}.blocks.\1.{replacement}")
        for pattern, replacement in rules
    )


def _clip_vision(projection: str) -> Rules:
    return (
        (r"visual\.class_embedding", "vision.cls"),
        (r"visual\.positional_embedding", "vision.position"),
        (r"visual\.temporal_embedding", "vision.temporal"),
        (r"visual\.conv1\.weight", "vision.patches.weight"),
        (rf"visual\.ln_(pre|post)\.{END}", r"vision.norm_\1.\2"),
        (projection, "vision.projection.weight"),
        *_blocks(r"visual\.transformer\.resblocks", "vision", CLIP_BLOCK),
    )


def _clip_text(prefix: str) -> Rules:
    return (
        (rf"{prefix}token_embedding\.weight", "text.tokens.weight"),
        (rf"{prefix}positional_embedding", "text.position"),
        (rf"{prefix}ln_final\.{END}", r"text.norm_post.\1"),
        (rf"(?:{prefix})?text_projection", "text.projection.weight"),
        *_blocks(rf"{prefix}transformer\.resblocks", "text", CLIP_BLOCK),
    )


SCALE: Rules = ((r"logit_scale", "logit_scale"),)
RULES: dict[Clip, Rules] = {
    "avion": (
        *_clip_vision(r"(?:visual\.)?image_projection"),
        *_clip_text(r"textual\."),
        *SCALE,
    ),
    "openai": (*_clip_vision(r"visual\.proj"), *_clip_text(""), *SCALE),
    "lavila": (
        (r"visual\.cls_token", "vision.cls"),
        (r"visual\.pos_embed", "vision.position"),
        (r"visual\.temporal_embed", "vision.temporal"),
        (r"visual\.patch_embed\.proj\.weight", "vision.patches.weight"),
        (rf"visual\.ln_pre\.{END}", r"vision.norm_pre.\1"),
        (rf"visual\.norm\.{END}", r"vision.norm_post.\1"),
        (r"image_projection", "vision.projection.weight"),
        *_blocks(r"visual\.blocks", "vision", DIVIDED_BLOCK),
        *_clip_text(""),
        *SCALE,
    ),
    "transformers": (
        (r"vision_model\.embeddings\.class_embedding", "vision.cls"),
        (r"vision_model\.embeddings\.patch_embedding\.weight", "vision.patches.weight"),
        (r"vision_model\.embeddings\.position_embedding\.weight", "vision.position"),
        (rf"vision_model\.pre_layrnorm\.{END}", r"vision.norm_pre.\1"),
        (rf"vision_model\.post_layernorm\.{END}", r"vision.norm_post.\1"),
        (r"visual_projection\.weight", "vision.projection.weight"),
        *_blocks(r"vision_model\.encoder\.layers", "vision", TRANSFORMERS_BLOCK),
        (r"text_model\.embeddings\.token_embedding\.weight", "text.tokens.weight"),
        (r"text_model\.embeddings\.position_embedding\.weight", "text.position"),
        (rf"text_model\.final_layer_norm\.{END}", r"text.norm_post.\1"),
        (r"text_projection\.weight", "text.projection.weight"),
        *_blocks(r"text_model\.encoder\.layers", "text", TRANSFORMERS_BLOCK),
        *SCALE,
    ),
}
# Sizes and indices that these files store as tensors; nothing is lost without them.
WITHOUT_MEANING = (
    "input_resolution",
    "context_length",
    "vocab_size",
    "text_model.embeddings.position_ids",
    "vision_model.embeddings.position_ids",
)


def family_of(names: dict[str, Tensor]) -> Family:
    """Which family a checkpoint belongs to, by the names of its tensors.

    Raises:
        InputError: none that is known.
    """
    for sign, family in SIGNS:
        if sign in names:
            return family
    raise InputError(
        f"the checkpoint is of no known family (AVION, LaViLa's TimeSformer with CLIP's text "
        f"tower, CLIP, VAST, EVA-CLIP, BEATs); its {len(names)} tensors begin with "
        f"{', '.join(sorted(names)[:4])}"
    )


def rename(family: Family, state: dict[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Tensors under our names and in our shapes, and the names that have no rule."""
    if family == "vast" or family == "eva_clip" or family == "beats":
        return vast_names.to_ours(family, state)
    if family == "transformers":
        state = _joined(state)
    found: dict[str, Tensor] = {}
    unknown = []
    for name, tensor in state.items():
        for pattern, replacement in RULES[family]:
            match = re.fullmatch(pattern, name)
            if match:
                target = match.expand(replacement)
                found[target] = _shaped(target, tensor, transpose=family != "transformers")
                break
        else:
            unknown.append(name)
    return found, unknown


def _joined(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """transformers keeps query, key and value apart; they become `qkv`."""
    import torch

    joined = dict(state)
    for name in state:
        if ".self_attn.q_proj." in name:
            parts = [name.replace("q_proj", part) for part in ("q_proj", "k_proj", "v_proj")]
            if all(part in joined for part in parts):
                new = torch.cat([joined.pop(part) for part in parts])
                joined[name.replace("q_proj", "qkv")] = new
    return joined


def _shaped(target: str, tensor: Tensor, transpose: bool) -> Tensor:
    if target.endswith("projection.weight") and transpose:
        tensor = tensor.T  # a matrix that multiplies from the right
    elif target == "vision.patches.weight" and tensor.ndim == 2:
        side = math.isqrt(tensor.shape[1] // 3)  # AVION's fast first layer: linear over pixels
        tensor = tensor.reshape(len(tensor), 3, side, -1)
    elif target == "vision.cls":
        tensor = tensor.flatten()
    elif target in ("vision.position", "vision.temporal") and tensor.ndim == 3:
        tensor = tensor[0]
    return tensor.clone().contiguous()
