"""BEATs against a WavLM encoder of transformers with its differences folded in."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import WavLMConfig
from transformers.models.wavlm.modeling_wavlm import WavLMEncoder

from mmts.errors import InputError
from mmts.settings import shapes
from mmts.towers.beats import Beats
from tests.towers.omni import tiny


def made(**settings: float) -> Beats:
    """A tower with random weights, of which none is 0 or 1."""
    torch.manual_seed(0)
    tower = Beats(tiny(shapes.Beats), **settings)
    with torch.no_grad():
        for name, parameter in tower.named_parameters():
            about_1 = "norm.weight" in name or "gate_scale" in name
            parameter.normal_(1.0 if about_1 else 0.0, 0.3)
    return tower


def folded(tower: Beats) -> WavLMEncoder:
    """A WavLM encoder of the same function: with x / alpha in place of alpha x, eps / alpha^2."""
    shape = tower.sizes
    alpha = (2 * shape.layers) ** 0.25
    encoder = WavLMEncoder(WavLMConfig(
        hidden_size=shape.width, num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads, intermediate_size=shape.mlp, hidden_act="gelu",
        num_conv_pos_embeddings=shape.kernel, num_conv_pos_embedding_groups=shape.groups,
        layerdrop=0.0, hidden_dropout=0.0, attention_dropout=0.0, activation_dropout=0.0,
        layer_norm_eps=1e-5, num_buckets=320, max_bucket_distance=800,
    )).eval()  # fmt: skip
    own = tower.state_dict()
    state: dict[str, Tensor] = {
        "pos_conv_embed.conv.bias": own["positions.bias"],
        "layer_norm.weight": own["norm.weight"], "layer_norm.bias": own["norm.bias"],
        "layers.0.attention.rel_attn_embed.weight": own["distances.weight"],
    }  # fmt: skip
    for n in (0, 1):
        name = f"conv.parametrizations.weight.original{n}"
        state[f"pos_conv_embed.{name}"] = own[f"positions.parametrizations.weight.original{n}"]
    names = {
        "query": "attention.q_proj", "key": "attention.k_proj", "value": "attention.v_proj",
        "out": "attention.out_proj", "gate": "attention.gru_rel_pos_linear",
        "attention_norm": "layer_norm", "fc1": "feed_forward.intermediate_dense",
        "fc2": "feed_forward.output_dense", "norm": "final_layer_norm",
    }  # fmt: skip
    for n, layer in enumerate(encoder.layers):
        for mine, theirs in names.items():
            for part in ("weight", "bias"):
                value = own[f"layers.{n}.{mine}.{part}"]
                by = alpha if mine in ("out", "fc2") else 1.0
                state[f"layers.{n}.{theirs}.{part}"] = value / by
        state[f"layers.{n}.attention.gru_rel_pos_const"] = own[f"layers.{n}.gate_scale"][
            None, ..., None
        ]
        layer.layer_norm.eps = layer.final_layer_norm.eps = 1e-5 / alpha**2
        _gate_by_queries(layer.attention)
    encoder.load_state_dict(state)
    return encoder


def _gate_by_queries(attention: Any) -> None:
    """Let the gate see the projected queries; only the gate's linear map gets another input."""
    queries: list[Tensor] = []
    before = attention.forward

    def forward(hidden: Tensor, *of: Any, **more: Any) -> Any:
        queries[:] = [attention.q_proj(hidden).unflatten(-1, (attention.num_heads, -1))]
        return before(hidden, *of, **more)

    attention.forward = forward
    attention.gru_rel_pos_linear.register_forward_pre_hook(lambda *_: (queries[0].transpose(1, 2),))


def test_the_transformer_is_wavlm_folded() -> None:
    tower = made().eval()
    slices = torch.randn(2, 1, 1024, 32)
    with torch.no_grad():
        found = tower.tokens(slices)
        patches = tower.patches(slices).flatten(2).transpose(1, 2)
        wanted = folded(tower)(tower.widen(tower.patch_norm(patches))).last_hidden_state
    assert found.shape == (2, 1, 128, 32)
    assert float(wanted.abs().max()) > 1
    assert float((found[:, 0] - wanted).abs().max()) < 1e-5


def test_tokens_are_patches_time_major() -> None:
    tower = made().eval()
    slices = torch.zeros(1, 2, 48, 32)
    slices[0, 1, 16:32, 16:32] = torch.randn(16, 16)  # second of three in time, second of two mels
    with torch.no_grad():
        patches = tower.patches(slices.flatten(0, 1).unsqueeze(1)).flatten(2).transpose(1, 2)
        assert tower.tokens(slices).shape == (1, 2, 6, 32)
    assert [bool(row.any()) for row in patches[1]] == [False, False, False, True, False, False]


def test_each_layer_makes_the_gradient_smaller() -> None:
    slices = torch.randn(2, 1, 32, 32)
    found = {}
    for decay in (1.0, 0.6):
        tower = made(gradient_decay=decay)
        tower(slices).square().sum().backward()
        found[decay] = {name: p.grad for name, p in tower.named_parameters()}
    for name, power in (
        ("layers.1.fc1.weight", 0),
        ("layers.0.fc1.weight", 1),
        ("widen.weight", 2),
    ):
        torch.testing.assert_close(found[0.6][name], 0.6**power * found[1.0][name])


def test_a_layer_left_out_still_has_a_gradient_of_zero() -> None:
    tower = made(layer_drop=1 - 1e-9).train()
    slices = torch.randn(2, 1, 32, 32)
    tower(slices).square().sum().backward()
    assert all(p.grad is not None for p in tower.parameters())
    assert not any(p.grad.any() for p in tower.layers.parameters())
    tower.eval()
    kept = made().eval()
    with torch.no_grad():
        assert torch.equal(tower(slices), kept(slices))


def test_slices_of_other_sizes_are_refused() -> None:
    with pytest.raises(
        InputError, match=r"beats: the input is \[1, 1, 1000, 64\]; .*multiples of 16"
    ):
        made().tokens(torch.zeros(1, 1, 1000, 64))
