"""What `benchmarks.gpu` measures: models trained on pictures from shards, and the loader alone."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch

from benchmarks.packing import ours as pack
from benchmarks.pictures import CLUSTERS, WORDS, distinct_items
from benchmarks.report import Row, bar
from mmts.losses import info_nce
from mmts.modulators.scheduled import ScheduledShift
from mmts.settings.towers import Towers
from mmts.settings.training import Augment, Head, Train
from mmts.shards import ShardReader
from mmts.towers.tokens import encode
from mmts.towers.two_tower import TwoTower
from mmts.training.batches import Plan, load_batches
from mmts.training.loop import train
from mmts.training.pairs import Pairs


class Case(NamedTuple):
    """A model with the bars that it is held against: samples a second, MFU and data wait."""

    name: str
    towers: Towers
    head: Head | None
    vocabulary: int
    channels_last: bool
    samples: float
    mfu: float | None = None
    wait: float | None = None


class Sizes(NamedTuple):
    """How much is trained."""

    pictures: int
    batch: int
    epochs: int
    workers: int


def cases(tiny: bool) -> tuple[Case, Case]:
    """CLIP ViT-B/16 and ResNet-50 with DistilBERT at 224 px; `tiny`: small ones at 32 px."""
    side = 32 if tiny else 224
    new = {"weights": "random", "frozen": False}
    small = {"width": 32, "layers": 1, "heads": 2} if tiny else {}
    patch = {"patch_size": 8} if tiny else {}
    clip = Towers.model_validate({
        "vision": {"name": "clip_vision", "image_size": side, "shape": {**small, **patch}, **new},
        "text": {"name": "clip_text", "shape": small, **new},
    })  # fmt: skip
    resnet = Towers.model_validate({
        "vision": {"name": "resnet", "image_size": side, "depth": 18 if tiny else 50, **new},
        "text": {"name": "distilbert", "pooling": "mean", "max_tokens": 30, **new,
                 "shape": {"context": 512, **small} if tiny else None},
    })  # fmt: skip
    return (
        Case("CLIP ViT-B/16", clip, None, 49_408, False, 2270, 0.35, 0.02),
        Case("ResNet-50 with DistilBERT", resnet, Head(dim=256), 30_522, True, 4000),
    )


def packed(folder: Path, size: int, sizes: Sizes) -> ShardReader:
    """Different made-up photographs of `size` a side in shards.

    One caption is as long as a text can be, so that all are padded to what CLIP's own are.
    """
    items = distinct_items(folder / "files", size, sizes.pictures, sizes.workers)
    items[0] = items[0]._replace(captions=[" ".join(WORDS * 20)])
    pack(folder / "shards", items)
    return ShardReader(folder / "shards", "train")


def pairs_of(case: Case, reader: ShardReader) -> Pairs:
    """What the model of a case takes."""
    captions = [caption for sample in reader.samples for caption in sample["captions"]]
    tokenizer = case.towers.text.make_tokenizer(lambda: captions)
    return Pairs(
        reader, vision_rows=None, encode_text=lambda texts, _: encode(tokenizer, texts),
        image_size=case.towers.vision.image_size,
    )  # fmt: skip


def trained(case: Case, pairs: Pairs, sizes: Sizes, device: str, compiled: bool) -> Row:
    """Train in bf16; the batch is halved until its activations fit the device."""
    try:
        return _trained(case, pairs, sizes, device, compiled)
    except torch.cuda.OutOfMemoryError:
        half = sizes._replace(batch=sizes.batch // 2)
    torch.cuda.empty_cache()
    print(f"{case.name}: {sizes.batch} pairs do not fit the GPU; {half.batch} now")
    return trained(case, pairs, half, device, compiled)


def _trained(case: Case, pairs: Pairs, sizes: Sizes, device: str, compiled: bool) -> Row:
    torch.manual_seed(0)
    torch.compiler.reset()
    model = TwoTower(case.towers, case.head, {"vocabulary": case.vocabulary})
    shift = [0.02 + 0.03 * n / (CLUSTERS - 1) for n in range(CLUSTERS)]
    shifts = pd.DataFrame({"cluster_id": range(CLUSTERS), "shift": shift})
    settings = Train.model_validate({
        "epochs": sizes.epochs, "batch_size": sizes.batch, "learning_rate": 1e-5,
        "weight_decay": 0.02, "head": case.head, "precision": "bf16", "compile": compiled,
        "channels_last": case.channels_last, "workers": sizes.workers, "device": device,
    })  # fmt: skip
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    modulator = ScheduledShift(shifts, alpha=0.02, period=20.0)
    speed = train(model, info_nce, modulator, pairs, None, settings, 0, None).speed
    assert speed is not None
    peak = torch.cuda.max_memory_allocated() if device == "cuda" else None
    return {"what": case.name, "compiled": compiled, "batch": sizes.batch, "peak_bytes": peak,
            **speed._asdict()}  # fmt: skip


AUGMENTED = {
    "loader alone": None,
    "loader alone, crops": Augment(),
    "loader alone, crops and RandAugment": Augment(ops=1, magnitude=21),  # as datasets.cc3m has it
}
"""What the loader alone does to pictures, by what its row is called."""


def loaded(name: str, pairs: Pairs, sizes: Sizes, device: str) -> Row:
    """Batches onto the device without a model; the clock starts with the first one."""
    pairs.augment = AUGMENTED[name]
    picks = Plan(pairs.first, sizes.batch, 0).batches(0)
    batches = load_batches(pairs, picks, sizes.batch, sizes.workers, torch.device(device))
    next(batches)
    started = time.perf_counter()
    rows = sum(len(batch.index) for batch in batches)
    if device == "cuda":
        torch.cuda.synchronize()
    rate = rows / (time.perf_counter() - started)
    return {"what": name, "batch": sizes.batch, "samples_per_second": rate}


def bars(case: Case, found: list[Row]) -> list[Row]:
    """The bars of a case, against the faster of its runs."""
    best: dict[str, Any] = max(found, key=lambda row: float(row["samples_per_second"]))
    name = f"{case.name}, {'compiled' if best['compiled'] else 'eager'}"
    out = [bar(f"{name}: samples a second", best["samples_per_second"], ">=", case.samples)]
    if case.mfu is not None:
        out.append(bar(f"{name}: MFU", best["mfu"], ">=", case.mfu))
    if case.wait is not None:
        out.append(bar(f"{name}: share of waiting for data", best["data_wait"], "<=", case.wait))
    return out
