"""Small made-up inputs that several tests share: pictures, tables, settings, a sentence encoder."""

from __future__ import annotations

import copy
import io
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

COLOURS = ("red", "green", "blue", "white")
SHAPES = ("ball", "box", "cone")


def picture(
    number: int, size: tuple[int, int] = (40, 32), mode: str = "RGB", coded: str = "PNG"
) -> bytes:
    """A picture of coloured noise, the same for the same number."""
    rng = np.random.default_rng(number)
    bands = {"RGB": 3, "RGBA": 4, "L": 1}[mode]
    pixels = rng.integers(0, 256, (size[1], size[0], bands), dtype=np.uint8)
    image = Image.fromarray(pixels.squeeze(-1) if bands == 1 else pixels, mode)
    buffer = io.BytesIO()
    image.save(buffer, coded)
    return buffer.getvalue()


def png(
    width: int, height: int, bits: int, colour: int, pixels: bytes, *chunks: tuple[bytes, bytes]
) -> bytes:
    """A PNG of raw rows; `colour`: 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGBA."""
    stride = len(pixels) // height
    rows = b"".join(b"\0" + pixels[stride * y : stride * (y + 1)] for y in range(height))
    head = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    parts = ((b"IHDR", head), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )


def tiff(width: int, bits: tuple[int, ...], photometric: int, row: bytes, **more: int) -> bytes:
    """A TIFF of one raw row; `more`: sample_format, extra_samples, and big=1 for big-endian."""
    order = ">" if more.get("big") else "<"
    bands = len(bits)
    tags: list[tuple[int, str, list[int]]] = [
        (256, "I", [width]), (257, "I", [1]), (258, "H", list(bits)), (259, "H", [1]),
        (262, "H", [photometric]), (273, "I", [0]), (277, "H", [bands]), (278, "I", [1]),
        (279, "I", [len(row)]),
    ]  # fmt: skip
    if "extra_samples" in more:
        tags.append((338, "H", [more["extra_samples"]]))
    if "sample_format" in more:
        tags.append((339, "H", bands * [more["sample_format"]]))
    behind = 8 + 2 + 12 * len(tags) + 4
    long = b"".join(struct.pack(f"{order}{bands}H", *v) for _, _, v in tags if len(v) > 2)
    tags[5] = (273, "I", [behind + len(long)])
    table, at = struct.pack(f"{order}H", len(tags)), behind
    for tag, kind, values in tags:
        raw = struct.pack(f"{order}{len(values)}{kind}", *values).ljust(4, b"\0")
        if len(raw) > 4:
            raw, at = struct.pack(f"{order}I", at), at + len(raw)
        table += struct.pack(f"{order}HHI", tag, {"H": 3, "I": 4}[kind], len(values)) + raw
    head = b"MM\0*" if order == ">" else b"II*\0"
    return head + struct.pack(f"{order}I", 8) + table + bytes(4) + long + row


def write_picture(path: Path, number: int, **made: Any) -> Path:
    """Write `picture(number)` in the format that the file's ending names."""
    coded = {".jpg": "JPEG", ".png": "PNG", ".webp": "WEBP", ".bmp": "BMP"}[path.suffix]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(picture(number, coded=coded, **made))
    return path


def take_in_hand(path: Path) -> Path:
    """The same file, of a folder that no longer has a seal: a test may change it."""
    (path.parent / "SHA256SUMS").unlink(missing_ok=True)
    return path


def tiny_pairs(images: int = 32) -> list[dict[str, str]]:
    """Rows of a table: every third image has two captions; `kind` is a long-tailed class."""
    rows = []
    for i in range(images):
        colour, shape = COLOURS[i % 4], SHAPES[0 if i % 2 else (i // 2) % 3]
        name = f"images/{i:03d}.{'png' if i % 2 else 'jpg'}"
        rows.append({"image": name, "caption": f"a {colour} {shape} {i}", "kind": shape})
        if i % 3 == 0:
            rows.append({"image": name, "caption": f"one {colour} {shape}", "kind": shape})
    return rows


def write_table(path: Path, rows: list[dict[str, str]]) -> Path:
    """A CSV of the rows."""
    import csv

    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_raw(raw: Path, images: int = 32) -> None:
    """Pictures and pairs.csv of the tiny dataset."""
    rows = tiny_pairs(images)
    write_table(raw / "pairs.csv", rows)
    for number, name in enumerate(dict.fromkeys(row["image"] for row in rows)):
        write_picture(raw / name, number)


PARAMS: dict[str, Any] = {
    "grid": {"datasets": ["tiny"], "methods": ["base", "mmts"], "seeds": [0]},
    "methods": {
        "base": {"objective": "info_nce"},
        "mmts": {
            "objective": "max_margin", "schedule": "cosine", "shift": "linear",
            "clustering": "kinds",
        },
    },
    "datasets": {
        "tiny": {
            "captions": {
                "sources": {
                    "pairs": {
                        "kind": "table",
                        "path": "pairs.csv",
                        "class_columns": ["kind"],
                        # 16, 8 and 8 of 32 images
                        "split": {"train": 0.5, "val": 0.25, "test": 0.25, "seed": 56},
                    }
                },
                "max_bad_share": 0.0,
            },
            "temperature": {"fixed": 0.07, "alpha": 0.06, "shift_min": 0.05, "shift_max": 0.09},
            "margin": {"fixed": 0.2, "alpha": 0.1, "shift_min": 0.1, "shift_max": 0.3},
            "embed": {"model": "MODEL", "batch_size": 8},
            "towers": {
                "vision": {
                    "name": "small_cnn", "weights": "CNN", "frozen": True, "image_size": 32,
                },
                "text": {"name": "sentence", "weights": "MODEL", "frozen": True},
            },
            "clusterings": {
                "default": {"kind": "kmeans", "k": 4},
                "kinds": {"kind": "column", "column": "kind"},
            },
            "pack": {"shard_size": 10},
            "train": {
                "epochs": 2, "batch_size": 8, "learning_rate": 1e-3, "weight_decay": 0.1,
                "head": {"dim": 16, "hidden": None, "dropout": 0.0}, "log_every": 1,
            },
            "evaluate": {"bootstrap": 100, "examples": 2},
        }
    },
    "report": {},
}  # fmt: skip


def changed(tree: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """A copy of the settings with `{"a.b": value}` set; `...` as a value removes the key."""
    tree = copy.deepcopy(tree)
    for key, value in changes.items():
        node, (*path, last) = tree, key.split(".")
        for part in path:
            node = node.setdefault(part, {})
        if value is ...:
            del node[last]
        else:
            node[last] = copy.deepcopy(value)
    return tree


def write_params(path: Path, tree: dict[str, Any], changes: dict[str, Any] | None = None) -> Path:
    """params.yaml; JSON is YAML."""
    path.write_text(json.dumps(changed(tree, changes or {}), indent=1), encoding="utf-8")
    return path


def write_plan(root: Path) -> None:
    """data/plan of the params.yaml in a folder, without a look at what it names."""
    from mmts import config
    from mmts.plan import Plan

    params = root / "params.yaml"
    plan = Plan(config.load(params), params, root / "data/cache/plan")
    plan.write(root / "data/plan")


def write_sentence_model(folder: Path, pooling: str = "mean") -> Path:
    """A sentence-transformers model from scratch: a small BERT with made-up word pieces."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import BertConfig, BertModel, BertTokenizerFast

    words = ["a", "one", "the", "of", "and", *COLOURS, *SHAPES]
    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)] + [str(d) for d in range(10)]
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]
    vocabulary += [x for x in letters if x not in vocabulary] + [f"##{x}" for x in letters]
    bert = folder / "bert"
    bert.mkdir(parents=True)
    (bert / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary), hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=64, max_position_embeddings=64,
    )  # fmt: skip
    BertModel(config).save_pretrained(bert)
    BertTokenizerFast(str(bert / "vocab.txt")).save_pretrained(bert)
    encoder = Transformer(str(bert), max_seq_length=32)
    model = SentenceTransformer(modules=[encoder, Pooling(32, pooling_mode=pooling)], device="cpu")
    model.save(str(folder / "model"), create_model_card=False)
    return folder / "model"
