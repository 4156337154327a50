"""Small made-up CLIP models, checkpoints and tokenizers that several tests share."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import CLIPConfig, CLIPModel

from mmts.kinds.text import TextTower
from mmts.kinds.vision import VisionTower
from mmts.towers.convert import convert
from mmts.towers.tower import Shape, Tower
from tests.making import COLOURS, SHAPES
from tests.towers.test_convert import checkpoint, published, towers

START, END = "<|startoftext|>", "<|endoftext|>"
WORDS = ("!", "a", "one", *COLOURS, *SHAPES, "<unk>")


def vision_tower(settings: VisionTower, shape: Shape | None = None) -> Tower:
    found: Tower = settings.build(shape)
    return found


def text_tower(settings: TextTower, vocabulary: int, shape: Shape | None = None) -> Tower:
    found: Tower = settings.build(vocabulary, shape)
    return found


def text_tokenizer(settings: TextTower, captions: Callable[[], Iterable[str]]) -> Tokenizer:
    found: Tokenizer = settings.make_tokenizer(captions)
    return found


def write_converted(folder: Path, family: str = "avion") -> Path:
    """A converted checkpoint: 4 frames of 32 px, texts of 9 tokens and 30 ids, 24 features."""
    source = folder.with_suffix(".pt")
    source.parent.mkdir(parents=True, exist_ok=True)
    torch.save(checkpoint(published(family, towers(family))), source)
    convert(source, folder)
    source.unlink()
    return folder


def write_tokenizer(folder: Path, last: str = END, fill: int = 30) -> Path:
    """A word tokenizer with CLIP's start and end of text; `fill` ids, the highest is `last`."""
    ends = [START, END] if last == END else [START, END, last]
    names = [*WORDS, *(f"<{n}>" for n in range(fill - len(WORDS) - len(ends))), *ends]
    ids = {name: number for number, name in enumerate(names)}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens([START, END])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}", special_tokens=[(START, ids[START]), (END, ids[END])]
    )
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def write_clip(folder: Path, half: bool = False) -> Path:
    """transformers' CLIP for 32 px, 8 features."""
    torch.manual_seed(0)
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2}
    small |= {"num_attention_heads": 2, "projection_dim": 8}
    config = CLIPConfig(
        vision_config={**small, "image_size": 32, "patch_size": 8, "layer_norm_eps": 1e-3},
        text_config={**small, "vocab_size": 20},
        projection_dim=8,
    )
    model = CLIPModel(config)
    (model.half() if half else model).save_pretrained(folder)
    return folder


def write_hub_cache(cache: Path, name: str, folder: Path) -> None:
    """Lay a folder into a hub cache as if it had been downloaded under the id `name`."""
    revision = "0" * 39 + "1"
    place = cache / f"models--{name.replace('/', '--')}"
    shutil.copytree(folder, place / "snapshots" / revision)
    (place / "refs").mkdir()
    (place / "refs/main").write_text(revision, encoding="utf-8")
