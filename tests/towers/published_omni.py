"""Small checkpoints as the authors of VAST, EVA-CLIP and BEATs call and shape their tensors.

The maps of names are the tests' own: they are applied to our models, the other way round.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mmts.towers.omni import ORDER, Omni
from tests.towers.omni import omni

State = dict[str, Tensor]
DIM, WIDTH = 16, 32
TEMPERATURE = 0.0537
EVA = (
    (r"^embeddings\.position_embeddings", "pos_embed"),
    (r"^embeddings\.patch_embeddings\.projection", "patch_embed.proj"),
    (r"^embeddings\.cls_token", "cls_token"),
    (r"^layers\.", "blocks."),
    (r"layernorm_before", "norm1"),
    (r"layernorm_after", "norm2"),
    (r"^layernorm", "norm"),
    (r"attention\.o_proj", "attn.proj"),
    (r"attention\.([qv])_proj\.bias", r"attn.\1_bias"),
)
BEATS = (
    (r"^patches", "patch_embedding"),
    (r"^patch_norm", "layer_norm"),
    (r"^widen", "post_extract_proj"),
    (r"^positions\.bias", "encoder.pos_conv.0.bias"),
    (r"^positions\..*original0", "encoder.pos_conv.0.weight_g"),
    (r"^positions\..*original1", "encoder.pos_conv.0.weight_v"),
    (r"^norm", "encoder.layer_norm"),
    (r"^(layers\.\d+)\.(q|k|v)(?:uery|ey|alue)\.", r"encoder.\1.self_attn.\2_proj."),
    (r"^(layers\.\d+)\.out\.", r"encoder.\1.self_attn.out_proj."),
    (r"^(layers\.\d+)\.gate\.", r"encoder.\1.self_attn.grep_linear."),
    (r"^(layers\.\d+)\.gate_scale", r"encoder.\1.self_attn.grep_a"),
    (r"^(layers\.\d+)\.attention_norm", r"encoder.\1.self_attn_layer_norm"),
    (r"^(layers\.\d+)\.norm", r"encoder.\1.final_layer_norm"),
    (r"^layers\.", "encoder.layers."),
)
MATCHING = (
    (r"^projections\.(\w+)\.", r"hidden_trans_\1_multimodal."),
    (r"^types\.(\w+)", r"\1_type_embeddings"),
    (r"^places\.(\w+)", r"\1_frame_embedding"),
    (r"^head\.0\.", "itm_head.linear1."),
    (r"^head\.2\.", "itm_head.layernorm."),
    (r"^head\.3\.", "itm_head.linear2."),
)


def below(prefix: str, state: Mapping[str, Tensor]) -> State:
    """Those whose names begin with it, without it."""
    return {n.removeprefix(prefix): v for n, v in state.items() if n.startswith(prefix)}


def renamed(state: State, rules: tuple[tuple[str, str], ...]) -> State:
    found = {}
    for name, value in state.items():
        for pattern, replacement in rules:
            new = re.sub(pattern, replacement, name)
            if new != name:
                name = new
                if rules is not EVA:
                    break
        found[name] = value
    return found


def source(seed: int = 0) -> Omni:
    """A model of all streams, of whose weights none is 0 or 1 but the biases of keys."""
    torch.manual_seed(seed)
    model = omni()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "k_proj.bias" not in name:
                parameter.normal_(float("norm" in name.lower() and "weight" in name), 0.2)
    return model.eval()


def heads(seed: int = 1) -> State:
    """VAST's head over each set of streams."""
    draw = torch.Generator().manual_seed(seed)
    found = {}
    for name in ("v", "a", "s", "va", "vs", "vas"):
        end = ".linear" if len(name) == 1 else ""
        shape = (DIM, WIDTH * len(name))
        found[f"contra_head_{name}{end}.weight"] = torch.randn(shape, generator=draw)
        if len(name) > 1:
            found[f"contra_head_{name}.bias"] = torch.randn(DIM, generator=draw)
    return found


def eva_clip(model: Omni) -> State:
    """EVA-CLIP's vision tower as timm names it, without a prefix."""
    state = below("vision.model.", model.state_dict())
    for name in [name for name in state if name.endswith("q_proj.weight")]:
        parts = [state.pop(name.replace("q_proj", part)) for part in ("q_proj", "k_proj", "v_proj")]
        state[name.replace("attention.q_proj", "attn.qkv")] = torch.cat(parts)
        assert not state.pop(name.replace("q_proj.weight", "k_proj.bias")).any()
    return renamed(state, EVA)


def beats(model: Omni) -> State:
    """BEATs; each layer has the position bias of the first."""
    state = below("audio.", model.state_dict())
    shared = state.pop("distances.weight")
    state = renamed(state, BEATS)
    for n in (0, 1):
        state[f"encoder.layers.{n}.self_attn.relative_attention_bias.weight"] = shared
        name = f"encoder.layers.{n}.self_attn.grep_a"
        state[name] = state[name].reshape(1, 4, 1, 1)
    return state


def vast(model: Omni) -> State:
    """The flat dict of VAST, what retrieval does not use too."""
    own = model.state_dict()
    return {
        **{f"vision_encoder.visual.{name}": value for name, value in eva_clip(model).items()},
        **{f"audio_encoder.{name}": value for name, value in beats(model).items()},
        **{f"multimodal_encoder.bert.{n}": v for n, v in below("text.model.", own).items()},
        **renamed(below("matching.", own), MATCHING),
        **heads(),
        "contra_head_t.linear.weight": own["text_head.weight"],
        "contra_temp": torch.tensor(TEMPERATURE),
    }


UNUSED: dict[str, tuple[int, ...]] = {
    "vision_encoder.text.token_embedding.weight": (9, 8),
    "vision_encoder.logit_scale": (),
    "vision_encoder.visual.head.weight": (8, WIDTH),
    "multimodal_encoder.cls.predictions.bias": (50,),
    "multimodal_encoder.bert.embeddings.position_ids": (1, 128),
}
CFG: dict[str, Any] = {
    "encoder_layers": 2, "encoder_embed_dim": WIDTH, "encoder_attention_heads": 4,
    "layer_norm_first": False, "deep_norm": True, "activation_fn": "gelu", "conv_bias": False,
    "input_patch_size": 16, "num_buckets": 320, "max_distance": 800, "gru_rel_pos": True,
    "relative_position_embedding": True, "layer_wise_gradient_decay_ratio": 0.6,
    "finetuned_model": False, "dropout": 0.0,
}  # fmt: skip


def unused() -> State:
    """Tensors of VAST's file that nobody needs."""
    return {name: torch.ones(shape) for name, shape in UNUSED.items()}


def head_of(streams: tuple[str, ...]) -> State:
    """What our model of these streams calls VAST's head over them; {} where it has none."""
    name = "".join(stream[0] for stream in ORDER if stream in streams)
    found = {n: v for n, v in heads().items() if n.split(".")[0] == f"contra_head_{name}"}
    return {f"media_head.{n.split('.')[-1]}": value for n, value in found.items()}
