"""Scores of queries and answers, whatever they come from, some queries at a time.

A text query (t2v) has a score with each media item, a media item (v2t) with each caption. Mostly
both are one number: the product of two features, or an entry of a matrix. After re-ranking they are
not, since each direction has candidates of its own.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mmts.errors import InputError

Array = NDArray[Any]
Ints = NDArray[np.int64]
BLOCK = 1024  # queries whose scores are in memory at a time


class Both(NamedTuple):
    """Something of each query: t2v of the captions, v2t of the media items."""

    t2v: Array
    v2t: Array


class Scores:
    """Base of all kinds of scores.

    Attributes:
        items: V, media items.
        captions: T.
    """

    items: int
    captions: int

    def t2v(self, rows: slice) -> Array:
        """[n, V]: the scores of some captions with all media items."""
        raise NotImplementedError

    def v2t(self, rows: slice) -> Array:
        """[n, T]: the scores of some media items with all captions."""
        raise NotImplementedError

    def held(self) -> Scores:
        """Return the same scores from memory, for who asks for small blocks many times."""
        return self


class ProductScores(Scores):
    """Dot products of features, formed block by block."""

    def __init__(self, vision: Any, text: Any) -> None:
        """
        Args:
            vision: [V, D], NumPy or torch.
            text: [T, D].

        Raises:
            InputError: shapes that do not fit, no rows, NaN or infinity.
        """
        v, t = as_numpy(vision), as_numpy(text)
        if v.ndim != 2 or t.ndim != 2 or v.shape[1] != t.shape[1]:
            raise InputError(
                f"vision is {v.shape} and text {t.shape}; they must be [V, D] and [T, D]"
            )
        if not len(v) or not len(t):
            raise InputError(f"vision has {len(v)} rows and text {len(t)}; both need at least one")
        for name, array in (("vision", v), ("text", t)):
            bad = ~np.isfinite(array).all(axis=1)
            if bad.any():
                raise InputError(
                    f"{name} row {int(bad.argmax())} holds NaN or infinity; no rank is possible"
                )
        self.vision, self.text = v, t
        self.items, self.captions = len(v), len(t)

    def t2v(self, rows: slice) -> Array:
        """See `Scores`."""
        found: Array = self.text[rows] @ self.vision.T
        return found

    def v2t(self, rows: slice) -> Array:
        """See `Scores`."""
        found: Array = self.vision[rows] @ self.text.T
        return found

    def held(self) -> MatrixScores:
        """Return the whole product, V x T numbers."""
        return MatrixScores(self.vision @ self.text.T)


class MatrixScores(Scores):
    """A matrix, such as somebody else's; `mmts.score_files` reads one from a file."""

    def __init__(self, matrix: Any) -> None:
        """
        Args:
            matrix: [V, T], NumPy or torch; NumPy may map it from a file.

        Raises:
            InputError: it is no such matrix, or holds NaN or infinity.
        """
        found = as_numpy(matrix)
        if found.ndim != 2 or not found.size:
            raise InputError(
                f"similarity is {found.shape}; it must be [V, T], a row a media item and a column "
                "a caption, at least one of each"
            )
        if found.dtype.kind not in "fiub":
            raise InputError(f"similarity is {found.dtype}; it must hold real numbers")
        self.matrix = found
        self.items, self.captions = found.shape
        for start in range(0, self.items, BLOCK):
            bad = ~np.isfinite(found[start : start + BLOCK])
            if bad.any():
                row, column = (int(n) for n in np.argwhere(bad)[0])
                raise InputError(
                    f"similarity[{start + row}, {column}] is {found[start + row, column]}; "
                    "every score must be a finite number"
                )

    def t2v(self, rows: slice) -> Array:
        """See `Scores`."""
        return self.matrix.T[rows]

    def v2t(self, rows: slice) -> Array:
        """See `Scores`."""
        return self.matrix[rows]


class RerankedScores(Scores):
    """New scores of each query's candidates; all other answers stay behind them, in their order.

    Example:
        >>> first = MatrixScores(np.array([[0.9, 0.5], [0.8, 0.7]]))
        >>> chosen = candidates(first, 1)
        >>> RerankedScores(first, chosen, Both(np.ones((2, 1)), np.ones((2, 1)))).t2v(slice(0, 2))
        array([[ 1. , -0.1],
               [-0.2,  1. ]])
    """

    def __init__(self, first: Scores, chosen: Both, new: Both) -> None:
        """
        Args:
            first: the scores before.
            chosen: t2v [T, k] are media items, v2t [V, k] captions.
            new: their scores, of the same shapes.

        Raises:
            InputError: a new score that is not finite, or of another shape.
        """
        for direction, of, scores in zip(Both._fields, chosen, new, strict=True):
            if of.shape != scores.shape:
                raise InputError(
                    f"re-ranking gave {scores.shape} scores for {of.shape} candidates of "
                    f"{direction}; give one a candidate"
                )
            if not np.isfinite(scores).all():
                query = int((~np.isfinite(scores).all(axis=1)).argmax())
                raise InputError(
                    f"re-ranking gave {direction} query {query} a score that is not finite; every "
                    "score must be a finite number"
                )
        self.first, self.chosen, self.new = first, chosen, new
        self.items, self.captions = first.items, first.captions

    def t2v(self, rows: slice) -> Array:
        """See `Scores`."""
        return _behind(self.first.t2v(rows), self.chosen.t2v[rows], self.new.t2v[rows])

    def v2t(self, rows: slice) -> Array:
        """See `Scores`."""
        return _behind(self.first.v2t(rows), self.chosen.v2t[rows], self.new.v2t[rows])

    def held(self) -> RerankedScores:
        """Return the same with the first scores in memory."""
        return RerankedScores(self.first.held(), self.chosen, self.new)


def _behind(first: Array, chosen: Ints, new: Array) -> Array:
    """[n, answers] float64: the new scores, and below the lowest of them the first ones."""
    old, new = first.astype(np.float64), new.astype(np.float64)
    lowest = new.min(axis=1, keepdims=True)
    unit = np.maximum(1.0, np.abs(lowest) * 2.0**-20)  # beside a large score, 1 would be nothing
    found: Array = lowest - unit * (1 + old.max(axis=1, keepdims=True) - old)
    np.put_along_axis(found, chosen, new, axis=1)
    return found


def candidates(scores: Scores, k: int) -> Both:
    """Return the k best answers to every query, or all where there are fewer, the best first.

    Which answers are right is not known here: of equal ones, the first in order is taken.

    Returns:
        t2v: [T, k] media items, v2t: [V, k] captions.
    """
    return Both(
        _best(scores.t2v, scores.captions, min(k, scores.items)),
        _best(scores.v2t, scores.items, min(k, scores.captions)),
    )


def _best(block: Any, queries: int, k: int) -> Ints:
    found = np.empty((queries, k), dtype=np.int64)
    for start in range(0, queries, BLOCK):
        scores = block(slice(start, start + BLOCK))
        order = np.argsort(-scores.astype(np.float64), axis=1, kind="stable")
        found[start : start + BLOCK] = order[:, :k]
    return found


def top_k(scores: Array, gains: Array, k: int) -> Ints:
    """Rows of the k best answers to one query, the best first.

    Args:
        scores: [A].
        gains: [A], how right each answer is; of equal scores the least right comes first, as in the
            ranks.
    """
    return np.lexsort((gains, -scores))[:k].astype(np.int64)


def as_numpy(values: Any) -> Array:
    """A NumPy view or copy of an array, a tensor or a sequence."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        values = values.float() if values.is_floating_point() and values.itemsize < 4 else values
        return np.asarray(values.numpy())
    return np.asarray(values)
