import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from mmts.errors import InputError
from mmts.settings.towers import Towers
from mmts.settings.training import Head
from mmts.towers.clip_text import ClipText
from mmts.towers.two_tower import TwoTower, projection
from mmts.towers.video_vit import VideoViT
from mmts.training.groups import parameter_groups
from tests.making_towers import write_converted


def towers(vision_frozen: bool, text_frozen: bool) -> Towers:
    text: dict[str, Any] = {"name": "sentence", "weights": "m", "frozen": True}
    if not text_frozen:
        text = {"name": "small_transformer", "weights": "random", "frozen": False}
    weights = "x" if vision_frozen else "random"
    vision = {"name": "small_cnn", "weights": weights, "frozen": vision_frozen, "image_size": 32}
    return Towers.model_validate({"vision": vision, "text": text})


@pytest.mark.parametrize("hidden", [None, 24])
def test_frozen_sides_take_features(hidden: int | None) -> None:
    torch.manual_seed(0)
    model = TwoTower(towers(True, True), Head(dim=8, hidden=hidden), {"vision": 5, "text": 6})
    v, t, context = model({"features": torch.randn(4, 5)}, torch.randn(4, 6))
    assert context is None
    assert v.shape == t.shape == (4, 8)
    for rows in (v, t):
        torch.testing.assert_close(rows.norm(dim=1), torch.ones(4))


def test_trainable_sides_take_pictures_and_tokens() -> None:
    torch.manual_seed(0)
    model = TwoTower(towers(False, False), Head(dim=8), {"vocabulary": 30})
    pictures = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    v, t, _ = model({"image": pictures}, torch.randint(1, 30, (4, 7)))
    assert v.shape == t.shape == (4, 8)
    (v - t).square().sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_the_head_normalises_its_input() -> None:
    torch.manual_seed(0)
    head = projection(6, Head(dim=4))
    x = torch.randn(3, 6)
    torch.testing.assert_close(head(x), head(100 * x + 7), atol=1e-3, rtol=1e-3)


def test_a_head_without_a_norm_is_a_linear_map() -> None:
    torch.manual_seed(0)
    head = projection(6, Head(dim=4, norm=False))
    x, y = torch.randn(3, 6), torch.randn(3, 6)
    torch.testing.assert_close(head(x) - head(y), head(x - y) - head(torch.zeros(6)))
    assert [(name, p.shape) for name, p in head.named_parameters()] == [
        ("1.weight", (4, 6)), ("1.bias", (4,)),
    ]  # fmt: skip


def test_dropout_is_of_training_alone() -> None:
    torch.manual_seed(0)
    x = torch.randn(3, 6)
    for hidden in (None, 32):
        head = projection(6, Head(dim=4, hidden=hidden, dropout=0.5))
        assert not torch.equal(head(x), head(x))
        head.eval()
        assert torch.equal(head(x), head(x))


VIDEO = {
    "vision": {
        "name": "divided_vit", "weights": "random", "frozen": False, "image_size": 16,
        "clip_length": 2,
        "shape": {"patch_size": 8, "width": 8, "layers": 2, "heads": 2, "dim": 6},
    },
    "text": {
        "name": "clip_text", "weights": "random", "frozen": False,
        "shape": {"context": 9, "width": 8, "layers": 2, "heads": 2, "dim": 6},
    },
}  # fmt: skip


def video_model(*frozen_parts: str, head: Head | None = None) -> TwoTower:
    torch.manual_seed(0)
    tree = {**VIDEO, "frozen_parts": list(frozen_parts)}
    return TwoTower(Towers.model_validate(tree), head, {"vocabulary": 30})


def test_a_video_model_needs_no_head() -> None:
    model = video_model()
    clips = torch.randint(0, 256, (3, 2, 3, 16, 16), dtype=torch.uint8)
    v, t, _ = model({"frames": clips}, torch.tensor([[3, 29, 0], [4, 5, 29], [29, 0, 0]]))
    assert v.shape == t.shape == (3, 6) and model.dim == 6 and model.loaded == {}
    names = {name.split(".")[0] for name, _ in model.named_parameters()}
    assert names == {"vision", "text"}
    torch.testing.assert_close(t.norm(dim=1), torch.ones(3))


def test_frozen_parts() -> None:
    model = video_model("text.*", "vision.blocks.0.*", "vision.position")
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trained and all(name.startswith("vision.") for name in trained)
    assert "vision.blocks.1.mlp.fc1.weight" in trained and "vision.position" not in trained
    assert not any(name.startswith("vision.blocks.0.") for name in trained)
    found = [p for group in parameter_groups(model, 0.1) for p in group.parameters]
    assert len(found) == len(trained) and all(p.requires_grad for p in found)
    with pytest.raises(InputError) as caught:
        video_model("text.*", "vison.*")
    message = str(caught.value)
    assert message.startswith("towers.frozen_parts: 'vison.*' matches no parameter; near it: visi")
    assert "\n" not in message


def test_a_model_of_which_nothing_is_trained() -> None:
    with pytest.raises(InputError, match=r"^nothing of the model is trained: .*frozen_parts"):
        video_model("*")
    with pytest.raises(InputError, match=r"^nothing of the model is trained: without train\.head"):
        TwoTower(towers(True, True), None, {"vision": 6, "text": 6})
    model = TwoTower(towers(True, False), None, {"vision": 192, "vocabulary": 9})
    assert model.dim == 192


def test_features_of_two_lengths_without_a_head() -> None:
    with pytest.raises(InputError, match=r"train\.head is null but the vision features have 7 num"):
        TwoTower(towers(True, False), None, {"vision": 7, "vocabulary": 9})


def test_what_was_loaded(tmp_path: Path) -> None:
    folder = write_converted(tmp_path / "x")
    tree = json.loads(json.dumps(VIDEO))
    tree["vision"] |= {"name": "video_vit", "weights": str(folder), "shape": None}
    tree["text"]["shape"]["dim"] = 24
    model = TwoTower(Towers.model_validate(tree), None, {"vocabulary": 30})
    assert isinstance(model.vision, VideoViT) and isinstance(model.text, ClipText)
    mark = model.vision.loaded
    assert mark and model.loaded == {"vision": {"weights": str(folder), "fingerprint": mark}}
    assert set(model.shapes) == {"vision", "text"}
    tree["vision"]["weights"] = "/gone"
    again = TwoTower(Towers.model_validate(tree), None, {"vocabulary": 30}, model.shapes)
    assert again.loaded == {} and again.shapes == model.shapes
    assert TwoTower(towers(True, False), None, {"vision": 192, "vocabulary": 9}).shapes == {}


def test_frozen_batch_norms_stay_as_they_are() -> None:
    trained = towers(False, False)
    some = trained.model_copy(update={"frozen_parts": ("vision.*",)})
    model = TwoTower(some, Head(dim=4), {"vocabulary": 9}).train()
    norms = {n: m for n, m in model.named_modules() if isinstance(m, nn.BatchNorm2d)}
    before = {n: m.running_mean.clone() for n, m in norms.items()}
    assert len(norms) > 1 and model.training and not any(m.training for m in norms.values())
    pixels = torch.randint(256, (4, 3, 32, 32), dtype=torch.uint8)
    model({"image": pixels}, torch.ones(4, 3, dtype=torch.long))
    assert all(torch.equal(m.running_mean, before[n]) for n, m in norms.items())
    free = TwoTower(trained, Head(dim=4), {"vocabulary": 9}).train()
    assert all(m.training for m in free.modules())
