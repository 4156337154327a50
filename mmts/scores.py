"""Similarity matrices that others have computed: files -> [V, T] in the order of the test set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmts.errors import InputError
from mmts.files import require

HOW = "numpy.savez(path, sim_mat=scores, vis_ids=clip ids, txt_ids=sentence ids)"


def read_scores(path: Path, video_ids: Sequence[str], text_ids: Sequence[str]) -> NDArray[Any]:
    """Scores of each video with each sentence, [V, T].

    Args:
        path: `.npy`, a matrix in the order of the ids; or `.npz` with `sim_mat`, `vis_ids` and
            `txt_ids` in any order, which is the challenge's submission without its pickle.
        video_ids, text_ids: of the test set, in its order.

    Raises:
        InputError: another kind of file, a matrix of another shape, ids that are missing, unknown
            or there twice.
    """
    require(path, "give a file of scores")
    shape = (len(video_ids), len(text_ids))
    try:
        if path.suffix == ".npy":
            return _of_shape(np.load(path, allow_pickle=False, mmap_mode="r"), shape, path)
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as file:
                return _in_order(file, video_ids, text_ids, path)
    except EOFError:
        raise InputError(f"{path} is empty or cut short; save it by {HOW}") from None
    except (ValueError, OSError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{path} cannot be read without unpickling ({error}); save it by {HOW}"
        ) from None
    raise InputError(f"{path} is neither .npy nor .npz (a pickle may run code); save it by {HOW}")


def _of_shape(scores: NDArray[Any], shape: tuple[int, int], path: Path) -> NDArray[Any]:
    if scores.shape != shape:
        turned = "; transpose it" if scores.shape == shape[::-1] else ""
        raise InputError(
            f"{path} has shape {scores.shape}; the test set needs {shape}, a row a clip and a "
            f"column a sentence{turned}"
        )
    return scores


def _in_order(
    file: Mapping[str, NDArray[Any]], video_ids: Sequence[str], text_ids: Sequence[str], path: Path
) -> NDArray[Any]:
    for key in ("sim_mat", "vis_ids", "txt_ids"):
        if key not in file:
            raise InputError(f"{path} has no {key}, only {', '.join(file)}; save it by {HOW}")
    rows = _places(file["vis_ids"], video_ids, f"{path}: vis_ids")
    columns = _places(file["txt_ids"], text_ids, f"{path}: txt_ids")
    scores = _of_shape(file["sim_mat"], (len(rows), len(columns)), path)
    return scores[rows[:, None], columns]


def _places(given: NDArray[Any], wanted: Sequence[str], where: str) -> NDArray[np.int64]:
    """Where each wanted id stands among the given ones."""
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
