"""Models of video and CLIP towers: saved, and loaded without the weights that they started from."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from mmts.errors import InputError
from mmts.settings.towers import Towers
from mmts.settings.training import Head
from mmts.towers.tokens import cut_to, encode, given_tokenizer, train_tokenizer
from mmts.towers.two_tower import TwoTower
from mmts.training.saved import load_model, save_model
from tests.making_towers import text_tokenizer, write_clip, write_converted, write_tokenizer
from tests.making_transformers import write_distilbert, write_resnet, write_vit

TEXTS = ["a red ball", "one green cone", "a", "a white box " * 20]
VISION = {"weights": "random", "frozen": False, "image_size": 32, "clip_length": 4}
SHAPE = {"patch_size": 8, "width": 16, "layers": 2, "heads": 2, "dim": 24}
TEXT = {"name": "clip_text", "weights": "random", "frozen": False}
TEXT_SHAPE = {"context": 9, "width": 16, "layers": 2, "heads": 2, "dim": 24}


def clips(size: int = 32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.randint(0, 256, (2, 4, 3, size, size), dtype=torch.uint8, generator=generator)


def settings(kind: str, root: Path) -> dict[str, Any]:
    """`towers` of that kind; all that they are loaded from stands in `root`."""
    if kind in ("avion", "lavila"):
        name = {"avion": "video_vit", "lavila": "divided_vit"}[kind]
        folder = str(write_converted(root / kind, kind))
        tokenizer = str(write_tokenizer(root / "words"))
        vision = VISION | {"name": name, "weights": folder, "image_size": 48, "drop_path": 0.2}
        return {"vision": vision, "text": TEXT | {"weights": folder, "tokenizer": tokenizer}}
    if kind in ("resnet", "vit"):
        write = write_resnet if kind == "resnet" else write_vit
        vision = VISION | {"name": kind, "weights": str(write(root / kind))}
        del vision["clip_length"]
        bert = write_distilbert(root / "bert", vocab_size=300)
        text = {"name": "distilbert", "weights": str(bert), "frozen": False, "pooling": "mean"}
        return {"vision": vision | {"image_size": 48}, "text": text}
    if kind == "clip_frames":
        vision = VISION | {"name": kind, "weights": str(write_clip(root / "clip"))}
        return {"vision": vision, "text": TEXT | {"shape": {**TEXT_SHAPE, "dim": 8}}}
    return {"vision": VISION | {"name": kind, "shape": SHAPE}, "text": TEXT | {"shape": TEXT_SHAPE}}


KINDS = ("avion", "lavila", "clip_frames", "video_vit", "divided_vit", "resnet", "vit")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("head", [None, Head(dim=5)])
def test_there_and_back_without_the_weights(kind: str, head: Head | None, tmp_path: Path) -> None:
    root = tmp_path / "root"
    towers = Towers.model_validate(settings(kind, root))
    tokenizer = text_tokenizer(towers.text, lambda: TEXTS)
    cut_to(tokenizer, 9)
    torch.manual_seed(0)
    dims = {"vocabulary": tokenizer.get_vocab_size()}
    if head is None and kind in ("resnet", "vit"):
        head = Head(dim=7)  # their features have two lengths
    model = TwoTower(towers, head, dims)
    pixels, ids = clips(towers.vision.image_size), encode(tokenizer, TEXTS)
    pixels = pixels if towers.vision.video else pixels[:, 0]
    assert ids.shape == (4, 9)
    step = torch.optim.AdamW(model.parameters(), lr=0.01)
    main = model.main
    sum(rows.sum() for rows in model.train()({main: pixels[:1]}, ids[:1])[:2]).backward()  # type: ignore[union-attr]
    step.step()
    model.eval()
    save_model(tmp_path, model, towers, head, dims, tokenizer)
    facts = json.loads((tmp_path / "model.json").read_text())
    assert set(facts["shapes"]) == {"vision", "text"}
    wanted = {"avion": {"vision", "text"}, "lavila": {"vision", "text"}, "clip_frames": {"vision"},
              "resnet": {"vision", "text"}, "vit": {"vision", "text"}}  # fmt: skip
    assert set(facts.get("loaded", {})) == wanted.get(kind, set())
    for side, loaded in facts.get("loaded", {}).items():
        assert loaded["weights"] == getattr(towers, side).weights
        assert len(loaded["fingerprint"]) == 64
    if root.exists():
        shutil.rmtree(root)
    read, of, words, streams, _ = load_model(tmp_path)
    assert streams == {} and "streams" not in facts
    assert of == towers and words is not None
    assert torch.equal(encode(words, TEXTS), ids)
    with torch.inference_mode():
        given = {main: pixels}, ids
        for found, expected in zip(read.eval()(*given)[:2], model(*given)[:2], strict=True):
            assert torch.equal(found, expected)


def test_what_follows_from_the_checkpoint_is_kept(tmp_path: Path) -> None:
    towers = Towers.model_validate(settings("lavila", tmp_path / "root"))
    model = TwoTower(towers, None, {"vocabulary": 30})
    save_model(tmp_path, model, towers, None, {"vocabulary": 30}, given_tokenizer(
        str(tmp_path / "root/words")))  # fmt: skip
    facts = json.loads((tmp_path / "model.json").read_text())["shapes"]
    assert facts["vision"]["mean"] == [108.3272985, 116.7460125, 104.09373615]
    assert facts["vision"]["quick_gelu"] and facts["vision"]["norm_eps"] == 1e-6
    assert facts["vision"]["image_size"] == 48 and facts["vision"]["drop_path"] == 0.2
    assert facts["text"]["context"] == 9 and facts["text"]["vocabulary"] == 30


def test_a_head_that_was_saved_before_it_could_lack_its_norm(tmp_path: Path) -> None:
    towers = Towers.model_validate(settings("video_vit", tmp_path))
    tokenizer = train_tokenizer(TEXTS, end_of_text=True)
    dims, path = {"vocabulary": tokenizer.get_vocab_size()}, tmp_path / "model.json"
    for norm in (True, False):
        model = TwoTower(towers, Head(dim=5, norm=norm), dims)
        save_model(tmp_path, model, towers, Head(dim=5, norm=norm), dims, tokenizer)
        facts = json.loads(path.read_text())
        assert facts["head"].pop("norm") == norm
        if norm:
            path.write_text(json.dumps(facts))
        read = load_model(tmp_path)[0]
        assert read.vision_head.state_dict().keys() == model.vision_head.state_dict().keys()


def test_shapes_that_are_damaged(tmp_path: Path) -> None:
    towers = Towers.model_validate(settings("video_vit", tmp_path))
    tokenizer = train_tokenizer(TEXTS, end_of_text=True)
    dims = {"vocabulary": tokenizer.get_vocab_size()}
    model = TwoTower(towers, None, dims)
    save_model(tmp_path, model, towers, None, dims, tokenizer)
    path = tmp_path / "model.json"
    good = json.loads(path.read_text())
    bad: list[Any] = [[], {**good["shapes"], "vision": {"depth": 1}}]
    bad += [{**good["shapes"], "vision": {**good["shapes"]["vision"], "width": 15}}]
    for shapes in bad:
        path.write_text(json.dumps({**good, "shapes": shapes}))
        with pytest.raises(InputError, match=r"model\.json do not fit \(.*\); run") as caught:
            load_model(tmp_path)
        assert "\n" not in str(caught.value)
    for many in ({"text": {"layers": 5_000}}, {"vision": {"config": {"n_layers": 10**9}}}):
        path.write_text(json.dumps({**good, "shapes": many}))
        with pytest.raises(InputError, match=r"model\.json has [\d,]+ layers, 1,024 at most; run"):
            load_model(tmp_path)
