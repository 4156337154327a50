import math
import time

import pytest
import torch
from torch.nn import functional as F
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from mmts.errors import InputError
from mmts.towers.blocks import DropPath
from mmts.towers.key_maps import rename
from mmts.towers.video_vit import AVION_MEAN, CLIP_MEAN, CLIP_STD, VideoViT, VideoViTConfig

TINY = {"image_size": 32, "patch_size": 8, "width": 48, "layers": 3, "heads": 4, "dim": 20}


def tower(seed: int = 0, **changes: object) -> VideoViT:
    """A tiny tower whose parameters are all random, the temporal embedding too."""
    torch.manual_seed(seed)
    made = VideoViT(VideoViTConfig(**{**TINY, "frames": 3, **changes}))  # type: ignore[arg-type]
    randomise(made)
    return made


def randomise(model: torch.nn.Module) -> None:
    """All parameters random; gains of layer norms around 1, so that the input counts."""
    for name, parameter in model.named_parameters():
        gain = "norm" in name and name.endswith("weight")
        torch.nn.init.normal_(parameter, mean=float(gain), std=0.2)


def clip(act: str = "quick_gelu", **changes: object) -> CLIPVisionModelWithProjection:
    """transformers' CLIP vision model of the same size with random weights."""
    torch.manual_seed(1)
    config = CLIPVisionConfig(
        hidden_size=48,
        intermediate_size=192,
        num_hidden_layers=3,
        num_attention_heads=4,
        image_size=32,
        patch_size=8,
        projection_dim=20,
        hidden_act=act,
        **changes,
    )
    model = CLIPVisionModelWithProjection(config).eval()
    randomise(model)
    return model


def take_clip(made: VideoViT, model: torch.nn.Module) -> None:
    state, unknown = rename("transformers", dict(model.state_dict()))
    assert [name for name in unknown if "position_ids" not in name] == []
    state["vision.temporal"] = torch.zeros_like(made.temporal)
    made.load_state_dict({k.removeprefix("vision."): v for k, v in state.items()})


def video(count: int = 2, frames: int = 3, size: int = 32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    shape = (count, frames, 3, size, size)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize(("quick", "act"), [(True, "quick_gelu"), (False, "gelu")])
@pytest.mark.parametrize("eps", [1e-5, 1e-6])
def test_one_frame_is_clip(quick: bool, act: str, eps: float) -> None:
    model = clip(act, layer_norm_eps=eps)
    made = tower(frames=1, quick_gelu=quick, norm_eps=eps).eval()
    take_clip(made, model)
    pixels = torch.randn(5, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        wanted = model(pixel_values=pixels).image_embeds
        assert wanted.std() > 0.1
        torch.testing.assert_close(made(pixels), wanted, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(made(pixels.unsqueeze(1)), wanted, atol=1e-5, rtol=1e-5)
        made.temporal += torch.randn(48, generator=torch.Generator().manual_seed(5))
        assert (made(pixels) - wanted).abs().max() > 0.01


def slow(made: VideoViT, clip_of_frames: torch.Tensor) -> torch.Tensor:
    """The tower for one video, token by token and head by head."""
    config, state = made.config, made.state_dict()
    width, heads, p = config.width, config.heads, config.patch_size
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (config.mean, config.std))
    rows = [state["cls"] + state["position"][0]]
    for t, frame in enumerate((clip_of_frames.float() - mean) / std):
        for i in range(config.grid):
            for j in range(config.grid):
                patch = frame[:, i * p : (i + 1) * p, j * p : (j + 1) * p].flatten()
                value = state["patches.weight"].flatten(1) @ patch
                place = state["position"][1 + i * config.grid + j]
                rows.append(value + place + state["temporal"][t])

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
        return F.layer_norm(x, (width,), weight, bias, config.norm_eps)

    def linear(x: torch.Tensor, name: str) -> torch.Tensor:
        return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    x = norm(torch.stack(rows), "norm_pre")
    for layer in range(config.layers):
        at, size = f"blocks.{layer}", width // heads
        q, k, v = linear(norm(x, f"{at}.norm1"), f"{at}.attn.qkv").split(width, dim=1)
        parts = []
        for head in range(heads):
            own = slice(head * size, (head + 1) * size)
            weight = (q[:, own] @ k[:, own].T / math.sqrt(size)).softmax(dim=1)
            parts.append(weight @ v[:, own])
        x = x + linear(torch.cat(parts, dim=1), f"{at}.attn.out")
        hidden = linear(norm(x, f"{at}.norm2"), f"{at}.mlp.fc1")
        hidden = 0.5 * hidden * (1 + torch.erf(hidden / math.sqrt(2)))
        x = x + linear(hidden, f"{at}.mlp.fc2")
    return norm(x[0], "norm_post") @ state["projection.weight"].T


def test_joint_attention_is_the_slow_one() -> None:
    made = tower(mean=AVION_MEAN).eval()
    with torch.inference_mode():
        wanted = torch.stack([slow(made, one) for one in video()])
        torch.testing.assert_close(made(video()), wanted, atol=1e-4, rtol=1e-4)
    assert made.dim == 20 and wanted.shape == (2, 20)


def test_order_of_frames_matters_only_by_the_temporal_embedding() -> None:
    made = tower().eval()
    with torch.inference_mode():
        assert (made(video()) - made(video().flip(1))).abs().max() > 0.05
        made.temporal.zero_()
        torch.testing.assert_close(made(video()), made(video().flip(1)), atol=1e-4, rtol=1e-4)


def test_pixels() -> None:
    made = tower().eval()
    mean, std = torch.tensor(CLIP_MEAN).view(3, 1, 1), torch.tensor(CLIP_STD).view(3, 1, 1)
    with torch.inference_mode():
        torch.testing.assert_close(made(video()), made((video() - mean) / std))
    # CLIP publishes them on the scale 0 to 1
    for ours, theirs in zip(CLIP_MEAN, (0.48145466, 0.4578275, 0.40821073), strict=True):
        assert ours / 255 == pytest.approx(theirs, abs=1e-8)
    for ours, theirs in zip(CLIP_STD, (0.26862954, 0.26130258, 0.27577711), strict=True):
        assert ours / 255 == pytest.approx(theirs, abs=1e-8)
    assert "mean" not in made.state_dict()


def test_forward_and_backward_are_quick() -> None:
    made = tower().train()
    made(video()).sum().backward()
    start = time.process_time()
    made(video()).square().sum().backward()
    assert time.process_time() - start < 1
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in made.parameters())


@pytest.mark.parametrize("rates", [{}, {"drop_path": 0.4, "patch_dropout": 0.3}])
def test_gradient_checkpointing_changes_nothing(rates: dict[str, float]) -> None:
    found = []
    for recompute in (False, True):
        made = tower(gradient_checkpointing=recompute, **rates).train()
        torch.manual_seed(7)
        loss = made(video(4)).square().mean()
        loss.backward()
        found.append((loss, [p.grad for p in made.parameters()]))
    torch.testing.assert_close(found[0], found[1], atol=0, rtol=0)


def test_checkpointing_keeps_less() -> None:
    kept = {}
    for recompute in (False, True):
        made, sizes = tower(gradient_checkpointing=recompute), []

        def pack(x: torch.Tensor, sizes: list[int] = sizes) -> torch.Tensor:
            sizes.append(x.numel())
            return x

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
            made(video())
        kept[recompute] = sum(sizes)
    assert kept[True] < kept[False] / 2


def test_autocast() -> None:
    made = tower().train()
    with torch.autocast("cpu", torch.bfloat16):
        low = made(video())
        low.float().square().mean().backward()
    assert low.dtype == torch.bfloat16 and low.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in made.parameters())
    full = made(video())
    assert F.cosine_similarity(low.float(), full).min() > 0.99


def test_state_goes_round() -> None:
    first, second = tower(seed=0).eval(), tower(seed=1).eval()
    with torch.inference_mode():
        assert not torch.allclose(first(video()), second(video()))
        second.load_state_dict(first.state_dict())
        assert torch.equal(first(video()), second(video()))


def test_drop_path() -> None:
    drop, x = DropPath(0.25), torch.ones(4000, 2, 3)
    torch.manual_seed(0)
    rows = drop(x)[:, 0, 0]
    assert sorted(set(rows.tolist())) == pytest.approx([0, 4 / 3])
    assert rows.mean().item() == pytest.approx(1, abs=0.05)
    assert torch.equal(drop.eval()(x), x)


def test_patch_dropout() -> None:
    made = tower(patch_dropout=0.5).train()
    tokens = made.embed(video())
    torch.manual_seed(0)
    kept = made.drop_patches(tokens)
    assert kept.shape[1] == 1 + tokens.shape[1] // 2
    assert torch.equal(kept[:, 0], tokens[:, 0])
    for row, all_ in zip(kept[:, 1:], tokens[:, 1:], strict=True):
        same = (row.unsqueeze(1) == all_.unsqueeze(0)).all(dim=2)
        assert (same.sum(dim=1) == 1).all() and (same.sum(dim=0) <= 1).all()
    assert torch.equal(made.eval().drop_patches(tokens), tokens)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"image_size": 30}, "image_size 30 is no multiple of patch_size 8"),
        ({"heads": 5}, "width 48 is no multiple of heads 5"),
        ({"frames": 0}, "frames is 0; it must be at least 1"),
        ({"drop_path": 1.0}, r"drop_path is 1\.0; it must be in \[0, 1\)"),
    ],
)
def test_shapes_that_cannot_be(changes: dict[str, object], problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        tower(**changes)


def test_videos_of_another_shape() -> None:
    made = tower()
    for wrong in (video(frames=2), video(size=40), video()[0, 0], video()[:, :, :1]):
        with pytest.raises(InputError, match=r"it must be \[N, 3, 3, 32, 32\]"):
            made(wrong)


def test_defaults_are_avions() -> None:
    with torch.device("meta"):
        made = VideoViT(VideoViTConfig())
    # ViT-B/16 of CLIP without its text side has 86,192,640 parameters
    assert sum(p.numel() for p in made.parameters()) == 86_192_640 + 16 * 768
