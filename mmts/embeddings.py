"""Reading what the stage `embed` wrote."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmts.columns import Kind, check_columns
from mmts.errors import InputError, first_line
from mmts.files import artifact, read_parquet
from mmts.vector_cache import Vectors

IDS: dict[str, Kind] = {"caption_id": "text", "sample_id": "text"}
"""Columns of ids.parquet, a row a caption."""


class Embeddings(NamedTuple):
    """What `embed` wrote for one dataset.

    text: [U, D], a row a distinct caption. caption_text: [captions], its row.
    vision: [media items, Dv] in order of first appearance in the captions table, or None.
    text_features: [U, Dt] of the frozen text tower.
    """

    text: Vectors
    caption_text: NDArray[np.int64]
    vision: Vectors | None
    text_features: Vectors | None


def distinct(captions: pd.Series) -> tuple[list[str], NDArray[np.int64]]:
    """Distinct captions in order of first appearance, and for each row which one it has."""
    rows, texts = pd.factorize(captions)
    return [str(text) for text in texts], rows.astype(np.int64)


def read_embeddings(folder: Path) -> Embeddings:
    """The arrays of `data/embed/<dataset>`, memory-mapped."""
    vision = _array(folder, "vision.npy") if (folder / "vision.npy").exists() else None
    own = folder / "text_features.npy"
    tower = _array(folder, own.name) if own.exists() else None
    text, rows = read_texts(folder)
    return Embeddings(text, rows, vision, tower)


def read_texts(folder: Path) -> tuple[Vectors, NDArray[np.int64]]:
    """`text` and `caption_text` of `Embeddings` alone."""
    rows: NDArray[np.int64] = _array(folder, "caption_text.npy").astype(np.int64)
    text = _array(folder, "text.npy")
    if len(rows) and not 0 <= rows.min() <= rows.max() < len(text):
        raise InputError(
            f"{folder / 'caption_text.npy'} names rows that text.npy does not have; run "
            "`dvc repro -sf embed`"
        )
    return text, rows


def check_embedded(
    captions: pd.DataFrame, folder: Path, rows: NDArray[np.int64], vision: Vectors | None = None
) -> None:
    """InputError where what `folder` has is not of these captions and their media, in their order.

    Args:
        captions: the captions table.
        folder: data/embed/<dataset>.
        rows, vision: what was read from it, see `Embeddings`.
    """
    remedy = "run `dvc repro`"
    path = folder / "ids.parquet"
    ids = check_columns(read_parquet(path, remedy), IDS, path, remedy)
    counts = {"ids.parquet": len(ids), "caption_text.npy": len(rows)}
    for name, count in counts.items():
        if count != len(captions):
            raise InputError(
                f"{folder / name} has {count:,} rows, but there are {len(captions):,} captions; "
                f"{remedy}"
            )
    for name in IDS:
        other = ids[name].to_numpy() != captions[name].to_numpy()
        if other.any():
            row = int(other.argmax())
            raise InputError(
                f"{path} row {row} has the {name} {ids[name].iloc[row]}, but the captions table "
                f"has {captions[name].iloc[row]}; {remedy}"
            )
    media = captions["sample_id"].nunique()
    if vision is not None and len(vision) != media:
        raise InputError(
            f"{folder / 'vision.npy'} has {len(vision):,} rows, but there are {media:,} media "
            f"items; {remedy}"
        )


def _array(folder: Path, name: str) -> NDArray[np.float32]:
    path = artifact(folder / name, "run `dvc repro`")
    try:
        found: NDArray[np.float32] = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # a damaged file may raise anything
        if isinstance(error, OSError) and error.errno:
            raise  # the disk's or the rights' fault
        problem = first_line(error)
        raise InputError(f"{path} is damaged ({problem}); run `dvc repro -sf embed`") from None
    kind, of = (np.integer, 1) if name == "caption_text.npy" else (np.float32, 2)
    if not np.issubdtype(found.dtype, kind) or found.ndim != of:
        raise InputError(
            f"{path} holds {found.dtype} of shape {found.shape}; run `dvc repro -sf embed`"
        )
    return found
