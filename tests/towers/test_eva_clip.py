"""EVA-CLIP's tower against its blocks written out, and against the ViT of transformers."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import ViTConfig, ViTModel

from mmts.settings import shapes
from mmts.towers.eva_clip import EvaClip
from mmts.towers.video_vit import CLIP_MEAN, CLIP_STD
from tests.towers.omni import tiny


def made(**settings: float) -> EvaClip:
    """A tower with random weights, of which none is 0 or 1 but the biases of keys."""
    torch.manual_seed(0)
    tower = EvaClip.random(32, tiny(shapes.Eva), **settings)
    with torch.no_grad():
        for name, parameter in tower.named_parameters():
            if "k_proj.bias" not in name:
                parameter.normal_(0, 0.2)
    return tower


def written_out(state: dict[str, Tensor], pixels: Tensor, heads: int) -> Tensor:
    """EVA01's forward pass with fused projections, as its own code has it: k has no bias."""
    x = F.conv2d(pixels, state["embeddings.patch_embeddings.projection.weight"],
                 state["embeddings.patch_embeddings.projection.bias"], stride=16)  # fmt: skip
    x = x.flatten(2).transpose(1, 2)
    cls = state["embeddings.cls_token"].expand(len(x), -1, -1)
    x = torch.cat([cls, x], dim=1) + state["embeddings.position_embeddings"]
    width = x.shape[-1]

    def norm(of: Tensor, name: str) -> Tensor:
        return F.layer_norm(of, (width,), state[f"{name}.weight"], state[f"{name}.bias"], 1e-6)

    for n in range(2):
        at = f"layers.{n}."
        parts = [state[f"{at}attention.{part}_proj.weight"] for part in "qkv"]
        q_bias, v_bias = (state[f"{at}attention.{part}_proj.bias"] for part in "qv")
        fused = torch.cat([q_bias, torch.zeros_like(q_bias), v_bias])
        qkv = F.linear(norm(x, f"{at}layernorm_before"), torch.cat(parts), fused)
        q, k, v = qkv.reshape(len(x), -1, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
        seen = ((q * (width // heads) ** -0.5) @ k.transpose(-2, -1)).softmax(-1) @ v
        x = x + F.linear(
            seen.transpose(1, 2).flatten(2),
            state[f"{at}attention.o_proj.weight"], state[f"{at}attention.o_proj.bias"],
        )  # fmt: skip
        inner = F.linear(norm(x, f"{at}layernorm_after"), state[f"{at}mlp.fc1.weight"],
                         state[f"{at}mlp.fc1.bias"])  # fmt: skip
        x = x + F.linear(F.gelu(inner), state[f"{at}mlp.fc2.weight"], state[f"{at}mlp.fc2.bias"])
    return norm(x, "layernorm")


def test_tokens_are_those_of_the_blocks_written_out() -> None:
    tower = made().eval()
    video = torch.randint(0, 256, (2, 3, 3, 32, 32), dtype=torch.uint8)
    mean, std = (torch.tensor(of).view(3, 1, 1) for of in (CLIP_MEAN, CLIP_STD))
    with torch.no_grad():
        found = tower.tokens(video)
        pixels = (video.flatten(0, 1) - mean) / std
        wanted = written_out(tower.model.state_dict(), pixels, heads=4)
        pooled = tower(video)
    assert found.shape == (2, 3, 5, 32)
    torch.testing.assert_close(found.flatten(0, 1), wanted, atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(pooled, found[:, :, 0].mean(1))


def test_it_is_the_vit_of_transformers() -> None:
    tower = made().eval()
    config = ViTConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
        patch_size=16, image_size=32, layer_norm_eps=1e-6, qkv_bias=True,
    )  # fmt: skip
    vit = ViTModel(config, add_pooling_layer=False).eval()
    vit.load_state_dict(tower.model.state_dict())
    pixels = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        wanted = vit(pixel_values=pixels).last_hidden_state
        assert torch.equal(tower.tokens(pixels.unsqueeze(1))[:, 0], wanted)


def test_stochastic_depth_rises_and_drops_whole_branches() -> None:
    tower = made(drop_path=0.5)
    assert [layer.dropout.rate for layer in tower.model.layers] == [0.0, 0.5]
    video = torch.randn(400, 1, 3, 32, 32)
    kinds = {"attention": 0, "mlp": 0}
    rows: dict[str, Tensor] = {}
    layer = tower.model.layers[1]
    for name in kinds:
        getattr(layer, name).register_forward_hook(
            lambda *of, name=name: rows.__setitem__(
                name, of[2][0] if name == "attention" else of[2]
            )
        )
    dropped = []
    layer.dropout.register_forward_hook(lambda *of: dropped.append(of[2]))
    with torch.no_grad():
        tower.train().tokens(video)
    for branch, out in zip((rows["attention"], rows["mlp"]), dropped, strict=True):
        gone = (out == 0).flatten(1).all(1)
        assert 150 < int(gone.sum()) < 250
        torch.testing.assert_close(out[~gone], 2 * branch[~gone])


def test_the_bias_of_keys_is_not_trained() -> None:
    tower = made()
    tower(torch.randn(2, 1, 3, 32, 32)).sum().backward()
    still = {name for name, p in tower.named_parameters() if p.grad is None}
    assert still == {f"model.layers.{n}.attention.k_proj.bias" for n in range(2)}


@pytest.mark.parametrize("again", [False, True])
def test_activations_computed_again_give_the_same_gradient(again: bool) -> None:
    torch.manual_seed(1)
    tower = made(gradient_checkpointing=again, drop_path=0.3).train()
    video = torch.randn(4, 2, 3, 32, 32)
    torch.manual_seed(2)
    tower(video).square().sum().backward()
    torch.manual_seed(1)
    other = made(drop_path=0.3).train()
    torch.manual_seed(2)
    other(video).square().sum().backward()
    for mine, theirs in zip(tower.parameters(), other.parameters(), strict=True):
        if mine.requires_grad:
            torch.testing.assert_close(mine.grad, theirs.grad)
