"""timm and open_clip by stand-ins with the same calls: the real packages need torchvision."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from mmts.errors import InputError
from mmts.kinds.text import TEXT_TOWERS, TextTower
from mmts.kinds.vision import VISION_TOWERS, VisionTower
from mmts.towers.extras import OpenClipText
from mmts.towers.tokens import encode
from mmts.towers.video_vit import CLIP_MEAN
from mmts.weights import fingerprint
from tests.making_towers import text_tokenizer, text_tower, vision_tower, write_tokenizer

CALLS: list[dict[str, Any]] = []


class Net(nn.Module):
    """What timm gives for num_classes=0: pooled features, of pictures of `size` if it is set."""

    def __init__(self, size: int | None = None, map_of_features: bool = False) -> None:
        super().__init__()
        self.conv, self.size, self.map = nn.Conv2d(3, 5, 3), size, map_of_features
        self.recompute = False
        self.pretrained_cfg: dict[str, Any] = {
            "url": "", "hf_hub_id": "timm/net", "mean": (0.5, 0.4, 0.3), "std": (0.2, 0.1, 0.4)
        }  # fmt: skip

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        assert self.size is None, "gradient checkpointing not supported"
        self.recompute = enable

    def forward(self, x: Tensor) -> Tensor:
        assert self.size in (None, x.shape[-1]), "Input height doesn't match model"
        x = self.conv(x)
        return x if self.map else x.mean(dim=(2, 3))


def timm() -> ModuleType:
    def create_model(
        model_name: str, pretrained: bool = False, checkpoint_path: str = "", **kwargs: Any
    ) -> nn.Module:
        CALLS.append({"name": model_name, "pretrained": pretrained, **kwargs})
        torch.manual_seed(int(pretrained))
        if model_name == "unknown":
            raise RuntimeError("Unknown model (unknown)")
        net = Net(32 if model_name == "fixed" else None, model_name == "map")
        if model_name == "bare":
            net.pretrained_cfg = {"url": "", "hf_hub_id": None}
        return net

    module = ModuleType("timm")
    module.create_model = create_model  # type: ignore[attr-defined]
    return module


class Clip(nn.Module):
    """open_clip's CLIP: it needs texts of all places, and pools at the highest id."""

    def __init__(self, size: int, pooling: str) -> None:
        super().__init__()
        self.visual = Net(size)
        self.visual.preprocess_cfg = {"mean": (0.1, 0.2, 0.3), "std": (0.5, 0.5, 0.5)}
        self.visual.set_grad_checkpointing = lambda enable=True: None
        self.context_length, self.vocab_size, self.text_pool_type = 9, 30, pooling
        self.token_embedding = nn.Embedding(30, 6)
        self.positional_embedding = nn.Parameter(torch.randn(9, 6))
        self.logit_scale = nn.Parameter(torch.ones(()))
        self.logit_bias = None

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        self.visual.set_grad_checkpointing(enable)

    def encode_text(self, text: Tensor, normalize: bool = False) -> Tensor:
        x = self.token_embedding(text) + self.positional_embedding
        return x[torch.arange(len(x)), text.argmax(dim=-1)]


def open_clip() -> ModuleType:
    def create_model(
        model_name: str, pretrained: str | None = None, precision: str = "fp32",
        device: str = "cpu", jit: bool = False, force_quick_gelu: bool = False,
        force_image_size: int | None = None, **model_kwargs: Any,
    ) -> nn.Module:  # fmt: skip
        CALLS.append({"name": model_name, "pretrained": pretrained, "size": force_image_size})
        if pretrained == "unknown":
            raise RuntimeError("Pretrained weights (unknown) not found for model ViT-T.")
        torch.manual_seed(1 if pretrained else 0)
        return Clip(force_image_size or 16, "last" if model_name == "last" else "argmax")

    def get_model_config(model_name: str) -> dict[str, Any] | None:
        text = {"context_length": 9, "vocab_size": 30, "width": 6}
        return None if model_name == "unknown" else {"embed_dim": 6, "text_cfg": text}

    module = ModuleType("open_clip")
    module.create_model = create_model  # type: ignore[attr-defined]
    module.get_model_config = get_model_config  # type: ignore[attr-defined]
    return module


@pytest.fixture(autouse=True)
def packages(monkeypatch: pytest.MonkeyPatch) -> None:
    CALLS.clear()
    monkeypatch.setitem(sys.modules, "timm", timm())
    monkeypatch.setitem(sys.modules, "open_clip", open_clip())


def vision(name: str, model: str, weights: str = "random", **changes: Any) -> VisionTower:
    tree = {"name": name, "model": model, "weights": weights, "frozen": False, "image_size": 24}
    return VISION_TOWERS.validated({**tree, **changes})


def pictures() -> Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.randint(0, 256, (3, 3, 24, 24), dtype=torch.uint8, generator=generator)


def test_timm(tmp_path: Path) -> None:
    tower = vision_tower(vision("timm", "net.in1k", "pretrained", gradient_checkpointing=True))
    assert CALLS == [{"name": "net.in1k", "pretrained": True, "num_classes": 0}]
    assert tower.dim == 5 and tower.model.recompute and tower.model.training
    assert tower.loaded == fingerprint(tower.model.state_dict())
    mean, std = (torch.tensor(tower.model.pretrained_cfg[k]).view(3, 1, 1) for k in ("mean", "std"))
    with torch.no_grad():
        wanted = tower.model((pictures() / 255 - mean) / std)
        torch.testing.assert_close(tower(pictures()), wanted)
    new = vision_tower(vision("timm", "net"))
    assert new.loaded is None and not CALLS[-1]["pretrained"]
    state = {**tower.model.state_dict(), "fc.weight": torch.ones(2)}
    save_file(state, tmp_path / "net.safetensors")
    read = vision_tower(vision("timm", "net", str(tmp_path / "net.safetensors")))
    assert read.loaded == tower.loaded and not CALLS[-1]["pretrained"]
    shape = json.loads(json.dumps(tower.shape))
    again = vision_tower(vision("timm", "net.in1k", "pretrained"), shape)
    assert not CALLS[-1]["pretrained"] and again.loaded is None
    again.load_state_dict(tower.state_dict())
    with torch.inference_mode():
        assert torch.equal(again(pictures()), tower(pictures()))


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        (vision("timm", "unknown"), r"^timm has no such model: unknown, .*\(Unknown model"),
        (vision("timm", "bare", "pretrained"), "^timm has no weights of bare; name random or a fi"),
        (vision("timm", "fixed"), r"image_size is 24, which towers\.vision\.model does not take"),
        (vision("timm", "map"), r"^towers\.vision\.model does not pool its features; name another"),
        (vision("timm", "net", "no/file"), r"weights is no/file; for timm it must be pret"),
        (vision("timm", "fixed", image_size=32, gradient_checkpointing=True),
         "gradient_checkpointing is true but the model has none; set it to false"),
        (vision("open_clip", "ViT-T", "unknown"), r"^open_clip has no such model: ViT-T, .*\(Pr"),
    ],
)  # fmt: skip
def test_models_that_do_not_do(settings: VisionTower, problem: str) -> None:
    with pytest.raises(InputError, match=problem) as caught:
        vision_tower(settings)
    assert "\n" not in str(caught.value)


def test_weights_of_another_model(tmp_path: Path) -> None:
    save_file({"conv.weight": torch.ones(2)}, tmp_path / "x.safetensors")
    with pytest.raises(InputError, match=r"x\.safetensors holds other weights than the model's"):
        vision_tower(vision("timm", "net", str(tmp_path / "x.safetensors")))


@pytest.mark.parametrize("name", ["timm", "open_clip"])
def test_a_package_that_is_missing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputError) as caught:
        vision_tower(vision(name, "net"))
    message = str(caught.value)
    assert message.startswith(f"the package {name} cannot be imported (") and "\n" not in message
    assert f"run `pip install '.[{name}]'` in the checkout, beside a torchvision" in message


def test_the_vision_side_of_open_clip() -> None:
    tower = vision_tower(vision("open_clip", "ViT-T", "laion", gradient_checkpointing=True))
    assert CALLS == [{"name": "ViT-T", "pretrained": "laion", "size": 24}] and tower.dim == 5
    torch.testing.assert_close(tower.mean.flatten(), torch.tensor([25.5, 51.0, 76.5]))
    assert tower.loaded == fingerprint(tower.model.state_dict())
    assert vision_tower(vision("open_clip", "ViT-T")).loaded is None
    again = vision_tower(vision("open_clip", "ViT-T", "laion"), tower.shape)
    assert CALLS[-1]["pretrained"] is None and again.loaded is None
    again.load_state_dict(tower.state_dict())
    with torch.inference_mode():
        assert torch.equal(again(pictures()), tower(pictures()))


def test_colours_that_open_clip_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    init = Clip.__init__

    def bare(self: Clip, *arguments: Any) -> None:
        init(self, *arguments)
        self.visual.preprocess_cfg = None

    monkeypatch.setattr(Clip, "__init__", bare)
    tower = vision_tower(vision("open_clip", "ViT-T"))
    torch.testing.assert_close(tower.mean.flatten(), torch.tensor(CLIP_MEAN))


def text(words: Path, model: str = "ViT-T", weights: str = "laion", **changes: Any) -> TextTower:
    tree = {"name": "open_clip", "model": model, "weights": weights, "frozen": False,
            "tokenizer": str(words)}  # fmt: skip
    return TEXT_TOWERS.validated({**tree, **changes})


def test_the_text_side_of_open_clip(tmp_path: Path) -> None:
    words = write_tokenizer(tmp_path / "words")
    tokenizer = text_tokenizer(text(words), list)
    ids = encode(tokenizer, ["a red ball", "one"])
    tower = text_tower(text(words, gradient_checkpointing=True), 30)
    assert isinstance(tower, OpenClipText) and tower.dim == 6 and tower.loaded
    assert {n for n, _ in tower.named_parameters()} == {
        "model.token_embedding.weight", "model.positional_embedding"
    }  # fmt: skip
    end = tower.model.token_embedding.weight[29] + tower.model.positional_embedding[[4, 2]]
    torch.testing.assert_close(tower(ids), end)
    assert text_tower(text(words, weights="random"), 30).loaded is None
    again = text_tower(text(words), 30, tower.shape)
    assert CALLS[-1]["pretrained"] is None
    again.load_state_dict(tower.state_dict())
    assert torch.equal(again(ids), tower(ids))
    with pytest.raises(InputError, match=r"has 40 ids but the text tower of laion has 30; name"):
        text_tokenizer(text(write_tokenizer(tmp_path / "more", fill=40)), list)
    with pytest.raises(InputError, match=r"^open_clip has no model unknown; see open_clip\.list"):
        text_tokenizer(text(words, "unknown"), list)
    with pytest.raises(InputError, match=r"^towers\.text\.model pools its features by last; open"):
        text_tower(text(words, "last"), 30)
