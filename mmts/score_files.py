"""Files that `stages.evaluate mir` and `recall` are given: scores of others, and a clustering."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
from numpy.typing import NDArray

from mmts.clusters import read_clusters
from mmts.errors import InputError, first_line
from mmts.files import require
from mmts.metrics.longtail import parts_of_clusters
from mmts.shards import cluster_sizes

HOW = (
    "numpy.savez(path, sim_mat=scores, vis_ids=numpy.array(clip_ids, dtype=str), "
    "txt_ids=numpy.array(sentence_ids, dtype=str))"
)
NUMBER, NAME = 16, 4096
"""Bytes that a score, and an id, takes at most."""


def read_scores(
    path: Path, video_ids: Sequence[str], text_ids: Sequence[str],
    words: tuple[str, str] = ("clip", "sentence"),
) -> NDArray[Any]:  # fmt: skip
    """Scores of each video with each sentence, [V, T].

    Args:
        path: `.npy`, a matrix in the order of the ids; or `.npz` with `sim_mat`, `vis_ids` and
            `txt_ids` in any order, which is the challenge's submission without its pickle.
        video_ids, text_ids: of the test set, in its order.
        words: what errors call one of each.

    Raises:
        InputError: another kind of file or a damaged one, a matrix of another shape, a score that
            is not finite, ids that are missing, unknown or there twice.
    """
    scores = _read(require(path, "give a file of scores"), video_ids, text_ids, words)
    if scores.dtype.kind not in "fiu":
        raise InputError(f"{path} holds values of type {scores.dtype}; scores must be numbers")
    if scores.dtype.kind == "f" and not np.isfinite(scores).all():
        row, column = np.argwhere(~np.isfinite(scores))[0]
        raise InputError(
            f"{path}: the score of {words[0]} {video_ids[row]} and {words[1]} {text_ids[column]} "
            f"is {scores[row, column]}; every score must be a finite number"
        )
    return scores


def _read(
    path: Path, video_ids: Sequence[str], text_ids: Sequence[str], words: tuple[str, str]
) -> NDArray[Any]:
    shape = (len(video_ids), len(text_ids))
    try:
        if path.suffix == ".npy":
            return _of_shape(np.load(path, allow_pickle=False, mmap_mode="r"), shape, path, words)
        if path.suffix == ".npz":
            _check_size(path, NUMBER * shape[0] * shape[1] + NAME * (sum(shape) + 256))
            with np.load(path, allow_pickle=False) as file:
                return _in_order(file, video_ids, text_ids, path, words)
    except InputError:
        raise
    except (ValueError, OSError) as error:
        if isinstance(error, OSError) and error.filename:
            raise  # the disk's or the rights' fault
        raise InputError(
            f"{path} cannot be read without unpickling ({first_line(error)}); save it by {HOW}"
        ) from None
    except Exception:  # a damaged file may raise anything
        raise InputError(f"{path} is empty, cut short or damaged; save it by {HOW}") from None
    raise InputError(f"{path} is neither .npy nor .npz (a pickle may run code); save it by {HOW}")


def _check_size(path: Path, most: int) -> None:
    """InputError where the members of an archive are larger than what is to be read."""
    with ZipFile(path) as file:
        size = sum(member.file_size for member in file.infolist())
    if size > most:
        raise InputError(
            f"{path} would unpack to {size:,} bytes; scores of this test set take {most:,} at most"
        )


def _of_shape(
    scores: NDArray[Any], shape: tuple[int, int], path: Path, words: tuple[str, str]
) -> NDArray[Any]:
    if scores.shape != shape:
        turned = "; transpose it" if scores.shape == shape[::-1] else ""
        raise InputError(
            f"{path} has shape {scores.shape}; the test set needs {shape}, a row a {words[0]} and "
            f"a column a {words[1]}{turned}"
        )
    return scores


def _in_order(
    file: Mapping[str, NDArray[Any]],
    video_ids: Sequence[str],
    text_ids: Sequence[str],
    path: Path,
    words: tuple[str, str],
) -> NDArray[Any]:
    for key in ("sim_mat", "vis_ids", "txt_ids"):
        if key not in file:
            raise InputError(f"{path} has no {key}, only {', '.join(file)}; save it by {HOW}")
        try:
            value = file[key]
        except ValueError as error:
            if "Object arrays" not in str(error):
                raise
            raise InputError(
                f"{path}: {key} holds Python objects, which only unpickling can read; save it by "
                f"{HOW}"
            ) from None
        if not isinstance(value, np.ndarray):
            raise InputError(f"{path}: {key} is no array; save it by {HOW}")
    rows = _places(file["vis_ids"], video_ids, f"{path}: vis_ids")
    columns = _places(file["txt_ids"], text_ids, f"{path}: txt_ids")
    scores = _of_shape(file["sim_mat"], (len(rows), len(columns)), path, words)
    return scores[rows[:, None], columns]


def _places(given: NDArray[Any], wanted: Sequence[str], where: str) -> NDArray[np.int64]:
    """Where each wanted id stands among the given ones."""
    if given.dtype.kind == "S":  # bytes, as HDF5 and C have them
        try:
            given = np.char.decode(given, "utf-8")
        except UnicodeDecodeError:
            raise InputError(f"{where} holds bytes that are not UTF-8; save it by {HOW}") from None
    names = [str(name) for name in given.ravel()]
    place = {name: i for i, name in enumerate(names)}
    if len(place) < len(names):
        twice = next(name for i, name in enumerate(names) if place[name] != i)
        raise InputError(f"{where} has {twice} twice; each id must stand once")
    missing = [name for name in wanted if name not in place]
    if missing:
        count = f"{len(missing):,} of the test set's {len(wanted):,} ids"
        raise InputError(f"{where} lacks {count}, the first {missing[0]}; score every one")
    if len(names) > len(wanted):
        extra = next(iter(place.keys() - set(wanted)))
        raise InputError(f"{where} has {extra}, which is not in the test set; leave it out")
    return np.array([place[name] for name in wanted], dtype=np.int64)


def clusters_of_captions(path: Path, caption_ids: Sequence[str]) -> tuple[list[int], list[str]]:
    """The cluster of each caption by a clustering's table, and its part: head, medium or tail.

    Args:
        path: `data/cluster/<dataset>/<clustering>.parquet`.
        caption_ids: ids as the captions table has them.

    Raises:
        InputError: another kind of file, or a caption that is not in it.
    """
    table = read_clusters(path, "give a table of the cluster stage")
    cluster_of = dict(zip(table["caption_id"], table["cluster_id"].tolist(), strict=True))
    missing = [name for name in caption_ids if name not in cluster_of]
    if missing:
        raise InputError(
            f"{path} lacks {len(missing):,} of {len(caption_ids):,} captions, the first "
            f"{missing[0]}; give a clustering of the whole test set"
        )
    parts = parts_of_clusters(cluster_sizes(table))
    found = [cluster_of[name] for name in caption_ids]
    return found, [parts[cluster] for cluster in found]
