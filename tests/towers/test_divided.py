import math

import pytest
import torch
from torch.nn import functional as F

from mmts.errors import InputError
from mmts.towers.divided import DividedBlock, DividedViT, GroupedAttention
from mmts.towers.video_vit import VideoViT, VideoViTConfig
from tests.towers.test_video_vit import TINY, randomise, video


def config(**changes: object) -> VideoViTConfig:
    return VideoViTConfig(**{**TINY, "frames": 3, **changes})  # type: ignore[arg-type]


def tower(**changes: object) -> DividedViT:
    torch.manual_seed(0)
    made = DividedViT(config(**changes))
    randomise(made)
    return made


def slow_attention(
    made: GroupedAttention, x: torch.Tensor, frames: int, time: bool
) -> torch.Tensor:
    """For one video, token by token: who sees whom is written out."""
    length, width = x.shape
    places, size = (length - 1) // frames, width // made.heads
    q, k, v = (x @ made.qkv.weight.T + made.qkv.bias).split(width, dim=1)
    out = torch.zeros_like(x)
    for token in range(length):
        if token == 0:
            seen = list(range(length))
        else:
            frame, place = divmod(token - 1, places)
            own = (
                [(f, place) for f in range(frames)] if time else [(frame, p) for p in range(places)]
            )
            seen = [0, *(1 + f * places + p for f, p in own)]
        for head in range(made.heads):
            at = slice(head * size, (head + 1) * size)
            weight = (k[seen, at] @ q[token, at] / math.sqrt(size)).softmax(dim=0)
            out[token, at] = weight @ v[seen, at]
    return out @ made.out.weight.T + made.out.bias


@pytest.mark.parametrize("over_time", [True, False])
def test_attention_is_the_slow_one(over_time: bool) -> None:
    torch.manual_seed(0)
    made = GroupedAttention(24, 3)
    x = torch.randn(2, 1 + 4 * 5, 24)
    with torch.inference_mode():
        wanted = torch.stack([slow_attention(made, one, 4, over_time) for one in x])
        torch.testing.assert_close(made(x, 4, over_time), wanted, atol=1e-5, rtol=1e-5)
        assert not torch.allclose(made(x, 4, not over_time), wanted, atol=1e-3)


def test_block_is_the_slow_one() -> None:
    torch.manual_seed(0)
    block = DividedBlock(config(), 0.0)
    randomise(block)
    x = torch.randn(1, 1 + 3 * 16, 48)
    with torch.inference_mode():
        timed = x[0] + slow_attention(block.time, block.norm_time(x[0]), 3, True)
        middle = x[0] + slow_attention(block.attn, block.norm1(timed), 3, False)
        hidden = F.gelu(block.mlp.fc1(block.norm2(middle)))
        wanted = middle + block.mlp.fc2(hidden)
        torch.testing.assert_close(block(x)[0], wanted, atol=1e-4, rtol=1e-4)


def test_at_the_start_one_frame_is_the_joint_tower() -> None:
    torch.manual_seed(0)
    joint, divided = (
        VideoViT(config(frames=1, norm_eps=1e-5)),
        DividedViT(config(frames=1, norm_eps=1e-5)),
    )
    missing = divided.load_state_dict(joint.state_dict(), strict=False)
    assert missing.unexpected_keys == [] and all("time" in k for k in missing.missing_keys)
    with torch.inference_mode():
        one = video(frames=1)
        torch.testing.assert_close(divided(one), joint(one), atol=1e-5, rtol=1e-5)


def test_attention_over_time_learns_from_the_start() -> None:
    torch.manual_seed(0)
    made = DividedViT(config())
    assert made.blocks[0].time.qkv.weight.abs().sum() == 0  # type: ignore[union-attr]
    made(video()).square().mean().backward()
    value = made.blocks[0].time.qkv.weight.grad[96:]  # type: ignore[union-attr, index]
    assert value.abs().sum() > 0


def test_frames_meet() -> None:
    made = tower().eval()
    with torch.inference_mode():
        assert (made(video()) - made(video().flip(1))).abs().max() > 0.05


@pytest.mark.parametrize("rate", [0.0, 0.4])
def test_gradient_checkpointing_changes_nothing(rate: float) -> None:
    found = []
    for recompute in (False, True):
        made = tower(gradient_checkpointing=recompute, drop_path=rate).train()
        torch.manual_seed(7)
        made(video(4)).square().mean().backward()
        found.append([p.grad for p in made.parameters()])
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in made.parameters())
    torch.testing.assert_close(found[0], found[1], atol=0, rtol=0)


def test_autocast() -> None:
    made = tower()
    with torch.autocast("cpu", torch.bfloat16):
        low = made(video())
    assert F.cosine_similarity(low.float(), made(video())).min() > 0.99


def test_drop_path_rises() -> None:
    rates = [b.drop_path.rate for b in tower(drop_path=0.4).blocks]  # type: ignore[union-attr]
    assert rates == pytest.approx([0, 0.2, 0.4])
    with pytest.raises(InputError, match="divided attention needs all patches"):
        tower(patch_dropout=0.5)
