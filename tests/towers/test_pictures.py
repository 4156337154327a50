import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import ResNetForImageClassification, ResNetModel, ViTModel

from mmts.errors import InputError
from mmts.kinds.vision import VISION_TOWERS, VisionTower
from mmts.towers.clip_frames import ClipFrames
from mmts.towers.pictures import RESNETS, ResNet, ViT
from mmts.towers.positions import resize_position
from mmts.towers.pretrained import IMAGENET_MEAN, IMAGENET_STD
from mmts.weights import fingerprint
from tests.making_towers import vision_tower, write_clip, write_hub_cache
from tests.making_transformers import PIXELS, write_distilbert, write_resnet, write_vit


def settings(name: str, weights: Path | str = "random", **changes: Any) -> VisionTower:
    tree = {"name": name, "weights": str(weights), "frozen": False, "image_size": 32}
    return VISION_TOWERS.validated({**tree, **changes})


def pictures(size: int = 32, count: int = 4) -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    shape = (count, 3, size, size)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def normalised(pixels: torch.Tensor) -> torch.Tensor:
    mean, std = (torch.tensor(PIXELS[key]).view(3, 1, 1) for key in ("image_mean", "image_std"))
    return (pixels / 255 - mean) / std


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("folders")
    return {
        "resnet": write_resnet(root / "resnet"),
        "vit": write_vit(root / "vit"),
        "clip_vision": write_clip(root / "clip"),
    }


def test_resnet_is_the_mean_of_the_last_map(folders: dict[str, Path]) -> None:
    tower = vision_tower(settings("resnet", folders["resnet"])).eval()
    model = ResNetForImageClassification.from_pretrained(folders["resnet"]).eval()
    assert isinstance(tower, ResNet) and tower.dim == 24 and tower.revision is None
    assert tower.loaded == fingerprint(model.resnet.state_dict())
    with torch.inference_mode():
        for size in (32, 45):
            wanted = model.resnet(pixel_values=normalised(pictures(size)))
            found = tower(pictures(size))
            torch.testing.assert_close(found, wanted.pooler_output.flatten(1), rtol=1e-5, atol=1e-5)
            torch.testing.assert_close(found, wanted.last_hidden_state.mean(dim=(2, 3)))


def test_vit_is_the_class_token(folders: dict[str, Path]) -> None:
    tower = vision_tower(settings("vit", folders["vit"])).eval()
    model = ViTModel.from_pretrained(folders["vit"], add_pooling_layer=False).eval()
    assert isinstance(tower, ViT) and tower.dim == 16
    assert tower.loaded == fingerprint(model.state_dict())
    with torch.inference_mode():
        wanted = model(pixel_values=normalised(pictures())).last_hidden_state[:, 0]
        torch.testing.assert_close(tower(pictures()), wanted, rtol=1e-5, atol=1e-5)
    for wrong in (pictures(40), pictures()[0]):
        with pytest.raises(InputError, match=r"vit: .* must be \[N, 3, 32, 32\]: resize to that"):
            tower(wrong)


def test_clip_on_a_picture(folders: dict[str, Path]) -> None:
    tower = vision_tower(settings("clip_vision", folders["clip_vision"])).eval()
    assert isinstance(tower, ClipFrames) and tower.dim == 8
    with torch.inference_mode():
        frames = ClipFrames.load(str(folders["clip_vision"])).eval()(pictures().unsqueeze(1))
        assert torch.equal(tower(pictures()), frames)
    with pytest.raises(InputError, match=r"image_size is 48 but the pictures of .* have 32 pixels"):
        vision_tower(settings("clip_vision", folders["clip_vision"], image_size=48))


def test_positions_of_vit_are_fitted(folders: dict[str, Path]) -> None:
    plain = vision_tower(settings("vit", folders["vit"]))
    tower = vision_tower(settings("vit", folders["vit"], image_size=48)).eval()
    name = "model.embeddings.position_embeddings"
    wanted = resize_position(plain.state_dict()[name][0], 6)
    assert torch.equal(tower.state_dict()[name][0], wanted) and tower.loaded == plain.loaded
    others = {k: v for k, v in plain.state_dict().items() if k != name}
    assert all(torch.equal(tower.state_dict()[k], v) for k, v in others.items())
    with torch.inference_mode():
        assert tower(pictures(48)).shape == (4, 16)
    with pytest.raises(InputError, match=r"image_size 50 is no multiple of the ViT's patches, .*8"):
        vision_tower(settings("vit", folders["vit"], image_size=50))


def test_colours_without_an_image_processor(tmp_path: Path) -> None:
    folder = write_resnet(tmp_path, processor=False)
    tower = ResNet.load(str(folder))
    torch.testing.assert_close(tower.mean.flatten(), torch.tensor(IMAGENET_MEAN))
    torch.testing.assert_close(tower.std.flatten(), torch.tensor(IMAGENET_STD))
    (folder / "preprocessor_config.json").write_text(json.dumps({**PIXELS, "do_normalize": False}))
    tower = ResNet.load(str(folder))
    torch.testing.assert_close(tower.normalise(pictures()), pictures() / 255)
    assert torch.equal(tower.normalise(pictures() / 7), pictures() / 7)


def test_random_weights() -> None:
    torch.manual_seed(0)
    shape = {"patch_size": 8, "width": 16, "layers": 2, "heads": 2}
    for name, more, dim in (
        ("vit", {"shape": shape}, 16), ("clip_vision", {"shape": {**shape, "dim": 6}}, 6),
        ("resnet", {"depth": 18}, 512),
    ):  # fmt: skip
        tower = vision_tower(settings(name, **more))
        assert tower.loaded is None and tower.dim == dim
        assert tower(pictures()).shape == (4, dim)


@pytest.mark.parametrize(
    ("name", "more", "millions", "dim"),
    [("resnet", {}, 23.508032, 2048), ("resnet", {"depth": 101}, 42.50016, 2048),
     ("vit", {"image_size": 224}, 85.798656, 768),
     ("clip_vision", {"image_size": 224}, 86.192640, 512)],
)  # fmt: skip
def test_random_weights_have_the_published_sizes(
    name: str, more: dict[str, Any], millions: float, dim: int
) -> None:
    with torch.device("meta"):
        tower = vision_tower(settings(name, **more))
    assert sum(p.numel() for p in tower.parameters()) == round(1e6 * millions)
    assert tower.dim == dim


@pytest.mark.parametrize("kind", sorted(RESNETS))
def test_depth_counts_the_layers(kind: int) -> None:
    basic, _, depths = RESNETS[kind]
    assert sum(depths) * (2 if basic == "basic" else 3) + 2 == kind


@pytest.mark.parametrize("name", ["resnet", "vit", "clip_vision"])
def test_a_shape_builds_the_same_tower_without_weights(folders: dict[str, Path], name: str) -> None:
    size = 48 if name == "vit" else 32
    made = vision_tower(settings(name, folders[name], image_size=size))
    shape = json.loads(json.dumps(made.shape))
    again = vision_tower(settings(name, "/gone", image_size=size), shape)
    assert type(again) is type(made) and again.loaded is None
    again.load_state_dict(made.state_dict())
    with torch.inference_mode():
        assert torch.equal(again.eval()(pictures(size)), made.eval()(pictures(size)))


def test_from_the_hub(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    for name, folder in folders.items():
        write_hub_cache(tmp_path / "hub", f"org/{name}", folder)
        found = vision_tower(settings(name, f"org/{name}")).eval()
        wanted = vision_tower(settings(name, folder)).eval()
        assert found.revision == "0" * 39 + "1" and found.loaded == wanted.loaded
        with torch.inference_mode():
            assert torch.equal(found(pictures()), wanted(pictures()))
        with pytest.raises(InputError, match=r"^nobody/x cannot be loaded \(.*; give a .* local"):
            vision_tower(settings(name, "nobody/x"))
    plain = ResNetModel.from_pretrained(folders["resnet"])
    torch.save(plain.state_dict(), tmp_path / "pytorch_model.bin")
    (tmp_path / "config.json").write_bytes((folders["resnet"] / "config.json").read_bytes())
    pickled = vision_tower(settings("resnet", tmp_path))
    assert pickled.loaded == vision_tower(settings("resnet", folders["resnet"])).loaded


def test_models_that_are_none(folders: dict[str, Path], tmp_path: Path) -> None:
    def refused(name: str, spec: Path | str) -> str:
        with pytest.raises(InputError) as caught:
            vision_tower(settings(name, spec))
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert refused("resnet", folders["vit"]) == (
        f"{folders['vit']} holds no ResNet model (its model_type is vit); give a ResNet model's "
        "local folder, with config.json and model.safetensors"
    )
    assert "(its model_type is distilbert)" in refused("vit", write_distilbert(tmp_path / "bert"))
    assert "(its model_type is resnet)" in refused("clip_vision", folders["resnet"])
    assert "no such folder" in refused("resnet", tmp_path / "none")
    assert "has no config.json" in refused("resnet", tmp_path)
    assert "no package of that import name" in refused("resnet", "package:no_such_package")
    assert "holds 0 models (config.json)" in refused("resnet", "package:json")
    whole = ResNetForImageClassification.from_pretrained(folders["resnet"])
    state = whole.state_dict()
    gone = {k: v for k, v in state.items() if "stages.1" not in k}
    whole.save_pretrained(tmp_path / "part", state_dict=gone)
    assert re_lacks(refused("resnet", tmp_path / "part"))
    weights = tmp_path / "part/model.safetensors"
    for data in (weights.read_bytes()[:-100], b"garbage" * 50, b""):
        weights.write_bytes(data)
        assert "holds no ResNet model (" in refused("resnet", tmp_path / "part")
    weights.unlink()
    assert "has no weights (model.safetensors or pytorch_model.bin)" in refused(
        "resnet", tmp_path / "part"
    )
    config = json.loads((folders["resnet"] / "config.json").read_text())
    (tmp_path / "part/config.json").write_text(json.dumps({**config, "hidden_sizes": [8, 16]}))
    weights.write_bytes((folders["resnet"] / "model.safetensors").read_bytes())
    assert "holds no ResNet model (" in refused("resnet", tmp_path / "part")


def re_lacks(message: str) -> bool:
    return " of a ResNet model's weights (encoder.stages.1." in message and " lacks " in message


@pytest.mark.parametrize("name", ["resnet", "vit", "clip_vision"])
def test_gradient_checkpointing_changes_nothing(folders: dict[str, Path], name: str) -> None:
    found, buffers = [], []
    for recompute in (False, True):
        made = settings(name, folders[name], gradient_checkpointing=recompute)
        tower = vision_tower(made).train()
        tower(pictures()).square().mean().backward()
        found.append([p.grad for p in tower.parameters()])
        buffers.append([b.clone() for b in tower.buffers()])
    torch.testing.assert_close(found[0], found[1])
    assert all(torch.equal(a, b) for a, b in zip(*buffers, strict=True))


def test_gradient_checkpointing_keeps_less(folders: dict[str, Path]) -> None:
    sizes = []
    for name, side in (("resnet", 32), ("vit", 32), ("vit", 48)):  # the last one is fitted
        for recompute in (False, True):
            more = {"gradient_checkpointing": recompute, "image_size": side}
            tower, kept = vision_tower(settings(name, folders[name], **more)).train(), []
            with torch.autograd.graph.saved_tensors_hooks(
                lambda x, kept=kept: kept.append(x.numel()) or x, lambda x: x
            ):
                tower(pictures(side))
            sizes.append(sum(kept))
    assert all(less < 0.7 * more for more, less in zip(sizes[::2], sizes[1::2], strict=True))


@pytest.mark.parametrize("name", ["resnet", "vit", "clip_vision"])
def test_channels_last_and_compiled(folders: dict[str, Path], name: str) -> None:
    tower = vision_tower(settings(name, folders[name])).eval()
    with torch.inference_mode():
        wanted = tower(pictures())
    tower = tower.to(memory_format=torch.channels_last)
    with torch.inference_mode():
        found = tower(pictures().to(memory_format=torch.channels_last))
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    whole = torch.compile(tower, fullgraph=True, backend="eager")
    torch.testing.assert_close(whole(pictures()).detach(), wanted, rtol=1e-5, atol=1e-5)


def test_a_compiled_resnet_recomputes_too(folders: dict[str, Path]) -> None:
    found = []
    for recompute in (False, True):
        made = settings("resnet", folders["resnet"], gradient_checkpointing=recompute)
        tower = vision_tower(made).train()
        run = torch.compile(tower, backend="aot_eager") if recompute else tower
        run(pictures()).square().mean().backward()
        found.append([p.grad for p in tower.parameters()] + list(tower.buffers()))
    torch.testing.assert_close(found[0], found[1])


def test_loading_is_silent(folders: dict[str, Path]) -> None:
    code = f"from mmts.towers.pictures import ResNet; ResNet.load({str(folders['resnet'])!r})"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (ran.stdout, ran.stderr) == ("", "")


@pytest.mark.parametrize(
    "odd", [{"depths": [1, 100_000]}, {"num_hidden_layers": 10**9}, {"vision": {"n_layers": 1e9}}]
)
def test_a_configuration_of_too_many_layers(tmp_path: Path, odd: dict[str, Any]) -> None:
    folder = write_resnet(tmp_path / "resnet")
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | odd))
    with pytest.raises(InputError, match=r"of \S+ has [\d,.]+ layers, 1,024 at most; "):
        ResNet.load(str(folder))
