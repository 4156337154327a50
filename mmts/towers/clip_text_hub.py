"""CLIP's text tower from a model of transformers: its weights under our names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from mmts.errors import InputError
from mmts.towers.clip_text import ClipText, ClipTextConfig
from mmts.towers.key_maps import rename
from mmts.towers.pretrained import CLIP_TEXT, check_type, load_model


def read_config(spec: str, folder: Path) -> ClipTextConfig:
    """The size of the text side of the CLIP model in `folder`.

    Raises:
        InputError: it holds no CLIP model, or one that ClipText cannot be.
    """
    from transformers import CLIPTextConfig

    check_type(CLIP_TEXT, spec, folder)
    found: Any = CLIPTextConfig.from_pretrained(folder)
    if found.intermediate_size != 4 * found.hidden_size or found.hidden_act not in (
        "quick_gelu",
        "gelu",
    ):
        raise InputError(
            f"{spec} has a CLIP text model with intermediate_size {found.intermediate_size} and "
            f"hidden_act {found.hidden_act}; clip_text needs {4 * found.hidden_size} and gelu or "
            "quick_gelu"
        )
    return ClipTextConfig(
        context=found.max_position_embeddings,
        vocabulary=found.vocab_size,
        width=found.hidden_size,
        layers=found.num_hidden_layers,
        heads=found.num_attention_heads,
        dim=found.projection_dim,
        quick_gelu=found.hidden_act == "quick_gelu",
        norm_eps=found.layer_norm_eps,
    )


def load_text_model(spec: str, **changes: Any) -> ClipText:
    """The text tower of a CLIP model in a local folder or of a hub id.

    Its numbers are those of CLIPTextModelWithProjection wherever texts end with the highest id,
    which `given_tokenizer` checks.

    Args:
        spec: the folder or hub id.
        changes: of ClipTextConfig.

    Raises:
        InputError: there is none, or it lacks weights.
    """
    found = load_model(CLIP_TEXT, spec)
    config = read_config(spec, found.folder)
    state, _ = rename("transformers", found.model.state_dict())
    with torch.device("meta"):
        tower = ClipText(ClipTextConfig(**{**vars(config), **changes}))
    tower.load_state_dict({k.removeprefix("text."): v for k, v in state.items()}, assign=True)
    found.mark(tower)
    return tower
