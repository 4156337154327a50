"""What `benchmarks.reading` times: the same pictures as tensors, read in several ways."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
import torch
from PIL import Image
from torch import Tensor
from webdataset import WebDataset

from benchmarks.packing import ours as pack
from benchmarks.pictures import items
from benchmarks.reading import ALONE, CROP, HOT, OURS, PILLOW, SAME, THEIRS
from mmts.shards import ShardReader
from mmts.training.pairs import Pairs

Call = Callable[[], Tensor]


def calls(folder: Path, size: int, pictures: int, batch: int) -> dict[str, Call]:
    """All that is timed, by what it is; each gives the last batch."""
    pack(folder / "shards", items(folder / "files", size, pictures))
    reader = ShardReader(folder / "shards", "train")
    pairs = Pairs(reader, vision_rows=None, encode_text=_no_text, image_size=size)
    tail = pictures % batch or batch  # the last batch is compared, so it keeps its order
    order = np.arange(pictures)
    np.random.default_rng(0).shuffle(order[:-tail])
    mine = [order[s : s + batch].tolist() for s in range(0, pictures, batch)]
    urls = sorted(map(str, (folder / "shards").glob("*.tar")))
    files = [reader.image_bytes(n) for n in range(pictures)]

    def ours() -> Tensor:
        return last(pairs.streams(numbers)["image"] for numbers in mine)

    def crops() -> Tensor:
        return last(pairs.streams(numbers, numbers)["image"] for numbers in mine)

    def stock(*decoders: Any) -> Call:
        def read() -> Tensor:
            samples = WebDataset(urls, shardshuffle=False).decode(*decoders).to_tuple("jpg", "json")
            return last(batches((picture for picture, _ in samples), batch))

        return read

    def alone() -> Tensor:
        return last(decoded(files[s : s + batch], size) for s in range(0, pictures, batch))

    def pillow() -> Tensor:
        return last(batches(map(_pillow, files), batch))

    def hot() -> Tensor:
        place = np.empty((size, size, 3), np.uint8)
        for data in files:
            simplejpeg.decode_jpeg(data, "RGB", buffer=place)
        return tensor([place])

    return {
        OURS: ours,
        THEIRS: stock("rgb8"),
        SAME: stock(_by_simplejpeg, "rgb8"),
        ALONE: alone,
        HOT: hot,
        PILLOW: pillow,
        CROP: crops,
    }


def batches(pictures: Iterable[Any], size: int) -> Iterable[Tensor]:
    """Tensors [size, 3, S, S] of so many pictures each."""
    held: list[Any] = []
    for picture in pictures:
        held.append(picture)
        if len(held) == size:
            yield tensor(held)
            held = []
    if held:
        yield tensor(held)


def decoded(files: Sequence[bytes], size: int) -> Tensor:
    """[N, 3, S, S] of JPEGs that have this size."""
    found = np.empty((len(files), size, size, 3), np.uint8)
    for data, place in zip(files, found, strict=True):
        simplejpeg.decode_jpeg(data, "RGB", buffer=place)
    return torch.from_numpy(found).movedim(-1, -3)


def tensor(pictures: Sequence[Any]) -> Tensor:
    """[N, 3, S, S] of arrays [S, S, 3]."""
    return torch.from_numpy(np.stack(pictures)).movedim(-1, -3)


def last(tensors: Iterable[Tensor]) -> Tensor:
    """The last one."""
    found = torch.empty(0)
    for found in tensors:  # noqa: B007 - the last is what is returned
        pass
    return found


def _no_text(captions: Sequence[str], _: Sequence[str]) -> Tensor:
    return torch.zeros(len(captions), 1)


def _by_simplejpeg(key: str, data: bytes) -> Any:
    return simplejpeg.decode_jpeg(data, "RGB") if key.endswith(".jpg") else None


def _pillow(data: bytes) -> Any:
    import io

    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def check(found: dict[str, Call]) -> None:
    """An AssertionError where not all readers give the same last batch."""
    theirs = found[THEIRS]()
    assert found[CROP]().shape == theirs.shape
    for form in (OURS, SAME, ALONE, PILLOW):
        assert torch.equal(found[form](), theirs), f"{form} gives other pictures"
    assert torch.equal(found[HOT]()[0], theirs[-1])
