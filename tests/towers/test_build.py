import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import CLIPVisionModelWithProjection

from mmts.errors import InputError
from mmts.kinds.text import TEXT_TOWERS, TextTower
from mmts.kinds.vision import VISION_TOWERS, VisionTower
from mmts.towers import converted
from mmts.towers.clip_frames import ClipFrames
from mmts.towers.clip_text import ClipText
from mmts.towers.converted import load_towers
from mmts.towers.divided import DividedViT
from mmts.towers.positions import resize_position, resize_temporal
from mmts.towers.video_vit import AVION_MEAN, CLIP_MEAN, VideoViT
from mmts.weights import fingerprint
from tests.making_towers import (
    text_tower,
    vision_tower,
    write_clip,
    write_converted,
    write_hub_cache,
)

SHAPE = {"patch_size": 8, "width": 16, "layers": 2, "heads": 2, "dim": 6}
IDS = torch.tensor([[28, 3, 5, 29, 0], [28, 4, 29, 0, 0]])


def vision(name: str, weights: Path | str = "random", **changes: Any) -> VisionTower:
    tree = {"name": name, "weights": str(weights), "frozen": False, "image_size": 32}
    return VISION_TOWERS.validated({**tree, "clip_length": 4, **changes})


def text(weights: Path | str = "random", **changes: Any) -> TextTower:
    tree = {"name": "clip_text", "weights": str(weights), "frozen": False}
    if weights != "random":
        tree["tokenizer"] = "somewhere"
    return TEXT_TOWERS.validated({**tree, **changes})


def clips(frames: int = 4, size: int = 32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    shape = (2, frames, 3, size, size)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("folders")
    made = {family: write_converted(root / family, family) for family in ("avion", "lavila")}
    return {**made, "clip": write_clip(root / "clip")}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


@pytest.mark.parametrize(("name", "kind"), [("video_vit", VideoViT), ("divided_vit", DividedViT)])
def test_random_weights(name: str, kind: type[VideoViT]) -> None:
    torch.manual_seed(0)
    more: dict[str, Any] = {"drop_path": 0.25, "gradient_checkpointing": True}
    if name == "video_vit":
        more["patch_dropout"] = 0.5
    tower = vision_tower(vision(name, shape=SHAPE, **more))
    assert type(tower) is kind and tower.loaded is None and tower.dim == 6
    config = tower.config
    assert (config.image_size, config.frames, config.width, config.layers) == (32, 4, 16, 2)
    assert config.gradient_checkpointing and config.drop_path == 0.25
    assert config.patch_dropout == more.get("patch_dropout", 0.0) and config.mean == CLIP_MEAN
    assert tower(clips()).shape == (2, 6)


def test_random_weights_have_the_shape_of_vit_b16() -> None:
    with torch.device("meta"):
        tower = vision_tower(vision("video_vit", image_size=224, clip_length=16))
        words = text_tower(text(), 49408)
    assert sum(p.numel() for p in tower.parameters()) == 86_204_928
    assert sum(p.numel() for p in words.parameters()) == 63_428_096


@pytest.mark.parametrize(("name", "family"), [("video_vit", "avion"), ("divided_vit", "lavila")])
def test_from_a_converted_folder(
    folders: dict[str, Path], name: str, family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, seen = folders[family], []

    def spy(path: Path, prefix: str) -> dict[str, torch.Tensor]:
        seen.append(prefix)
        return {k: v for k, v in load_file(path).items() if k.startswith(prefix)}

    monkeypatch.setattr(converted, "load_state", spy)
    tower = vision_tower(vision(name, folder)).eval()
    assert isinstance(tower, VideoViT) and seen == ["vision."]
    wanted, words, _ = load_towers(folder)
    with torch.inference_mode():
        assert torch.equal(tower(clips()), wanted.eval()(clips()))
        read = text_tower(text(folder), 30).eval()
        assert torch.equal(read(IDS), words.eval()(IDS))
    assert seen[-1] == "text." and tower.config.mean == AVION_MEAN
    assert tower.config.quick_gelu == (family == "lavila") and tower.config.norm_eps == 1e-6
    stored = load_file(folder / "towers.safetensors")
    for made, side in ((tower, "vision."), (read, "text.")):
        own = {k: v for k, v in stored.items() if k.startswith(side)}
        assert made.loaded == fingerprint(own)


def test_positions_are_fitted_and_settings_kept(folders: dict[str, Path]) -> None:
    more = {"drop_path": 0.1, "patch_dropout": 0.3, "gradient_checkpointing": True}
    tower = vision_tower(
        vision("video_vit", folders["avion"], image_size=48, clip_length=6, **more)
    )
    stored = load_file(folders["avion"] / "towers.safetensors")
    assert isinstance(tower, VideoViT)
    assert torch.equal(tower.position, resize_position(stored["vision.position"], 6))
    assert torch.equal(tower.temporal, resize_temporal(stored["vision.temporal"], 6))
    assert {key: getattr(tower.config, key) for key in more} == more
    assert tower.eval()(clips(6, 48)).shape == (2, 24)
    words = text_tower(text(folders["avion"], gradient_checkpointing=True), 30)
    assert isinstance(words, ClipText) and words.config.gradient_checkpointing
    with pytest.raises(InputError, match="image_size 50 is no multiple of patch_size 8"):
        vision_tower(vision("video_vit", folders["avion"], image_size=50))


@pytest.mark.parametrize(("name", "family"), [("divided_vit", "avion"), ("video_vit", "lavila")])
def test_the_other_attention(folders: dict[str, Path], name: str, family: str) -> None:
    kind, right = {"avion": ("joint", "video_vit"), "lavila": ("divided", "divided_vit")}[family]
    with pytest.raises(InputError) as caught:
        vision_tower(vision(name, folders[family]))
    assert str(caught.value) == (
        f"towers.vision.name is {name} but {folders[family]} has {kind} attention; set it to "
        f"{right}"
    )


def test_clip_on_frames(folders: dict[str, Path]) -> None:
    tower = vision_tower(vision("clip_frames", folders["clip"])).eval()
    model = CLIPVisionModelWithProjection.from_pretrained(folders["clip"]).eval()
    assert isinstance(tower, ClipFrames) and tower.loaded == fingerprint(model.state_dict())
    with torch.inference_mode():
        assert torch.equal(tower(clips()), ClipFrames(model)(clips()))
    with pytest.raises(InputError) as caught:
        vision_tower(vision("clip_frames", folders["clip"], image_size=224))
    assert str(caught.value) == (
        f"towers.vision.image_size is 224 but the frames of {folders['clip']} have 32 pixels a "
        "side; set it to that"
    )


def test_weights_from_the_hub(folders: dict[str, Path], hub: Path) -> None:
    write_hub_cache(hub, "org/avion", folders["avion"])
    write_hub_cache(hub, "org/clip", folders["clip"])
    for name, spec, folder in (
        ("video_vit", "org/avion", folders["avion"]), ("clip_frames", "org/clip", folders["clip"])
    ):  # fmt: skip
        found, wanted = (vision_tower(vision(name, where)) for where in (spec, folder))
        assert found.loaded == wanted.loaded
        with torch.inference_mode():
            assert torch.equal(found.eval()(clips()), wanted.eval()(clips()))
    words = text_tower(text("org/avion"), 30)
    assert words.loaded == text_tower(text(folders["avion"]), 30).loaded


def test_a_hub_that_cannot_be_reached_or_lacks_files(folders: dict[str, Path], hub: Path) -> None:
    remedy = "give the folder that `python -m mmts.towers.convert CHECKPOINT FOLDER` wrote"
    for make in (lambda spec: vision_tower(vision("video_vit", spec)),
                 lambda spec: text_tower(text(spec), 30)):  # fmt: skip
        with pytest.raises(InputError) as caught:
            make("nobody/none")
        message = str(caught.value)
        assert message.startswith("nobody/none cannot be loaded (") and "\n" not in message
        assert message.endswith(remedy.removeprefix("give "))
    with pytest.raises(InputError, match=r"none cannot be loaded \(.*; give a CLIP model's loc"):
        vision_tower(vision("clip_frames", "nobody/none"))
    write_hub_cache(hub, "org/clip", folders["clip"])
    with pytest.raises(InputError, match=r"org/clip has no towers\.json; give the folder that"):
        vision_tower(vision("video_vit", "org/clip"))


def test_folders_without_towers(folders: dict[str, Path], tmp_path: Path) -> None:
    for spec, problem in (
        (folders["clip"], r"has no towers\.json; give the folder"),
        (tmp_path / "none", "no such folder; give the folder"),
        ("~/none", "no such folder"),
        ("./none", "no such folder"),
    ):
        with pytest.raises(InputError, match=problem):
            vision_tower(vision("video_vit", spec))
    good = json.loads((folders["avion"] / "towers.json").read_text())
    save_file({}, tmp_path / "towers.safetensors")
    for facts, problem in (
        ({**good, "attention": "sparse"}, "attention is 'sparse'; it must be joint or divided"),
        ({"text": {}}, "lacks one of attention, vision, text"),
        ([], "lacks one of attention"),
        ({**good, "vision": {"depth": 3}}, "holds no converted towers of that kind"),
        (good, "holds no converted towers of that kind"),
    ):
        (tmp_path / "towers.json").write_text(json.dumps(facts))
        with pytest.raises(InputError, match=problem) as caught:
            vision_tower(vision("video_vit", tmp_path))
        assert "\n" not in str(caught.value)
    (tmp_path / "towers.json").write_text(json.dumps({**good, "text": {"depth": 3}}))
    with pytest.raises(InputError, match=r"towers\.json has an odd text tower"):
        text_tower(text(tmp_path), 30)


def test_a_text_tower_with_too_few_ids(folders: dict[str, Path]) -> None:
    with pytest.raises(InputError) as caught:
        text_tower(text(folders["avion"]), 31)
    assert str(caught.value) == (
        f"towers.text.tokenizer somewhere has 31 ids but the text tower of {folders['avion']} has "
        "30; name the one that it was trained with"
    )


def test_a_random_text_tower() -> None:
    torch.manual_seed(0)
    shape = {"context": 9, "width": 16, "layers": 2, "heads": 2, "dim": 6}
    tower = text_tower(text(shape=shape), 40)
    assert isinstance(tower, ClipText) and tower.loaded is None
    assert (tower.config.context, tower.config.vocabulary, tower.dim) == (9, 40, 6)
    assert tower(IDS).shape == (2, 6)


@pytest.mark.parametrize("name", ["video_vit", "divided_vit", "clip_frames", "clip_text"])
def test_a_shape_builds_the_same_tower_without_weights(folders: dict[str, Path], name: str) -> None:
    where = {"divided_vit": "lavila", "clip_frames": "clip"}.get(name, "avion")
    gone: Any
    if name == "clip_text":
        made, gone = text_tower(text(folders[where]), 30), text("/gone")
        inputs = IDS
    else:
        made, gone = vision_tower(vision(name, folders[where])), vision(name, "/gone")
        inputs = clips()
    shape = json.loads(json.dumps(made.shape))
    again = text_tower(gone, 30, shape) if name == "clip_text" else vision_tower(gone, shape)
    assert type(again) is type(made) and again.loaded is None
    again.load_state_dict(made.state_dict())
    with torch.inference_mode():
        assert torch.equal(again.eval()(inputs), made.eval()(inputs))
