"""The slow, obvious versions that formulas are checked against: plain Python, double loops.

`tests/straightforward.py` has both losses as they are usually written with tensors.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

Matrix = Sequence[Sequence[float]]


def tau_base(step: float, alpha: float, period: float) -> float:
    """Eq. 7."""
    return (alpha / 2.0) * math.cos(2.0 * math.pi * (step / period))


def cluster_shift(size: float, sizes: Sequence[float], low: float, high: float) -> float:
    """Eq. 6: where `size` lies between the smallest and the largest of `sizes`."""
    share = (size - min(sizes)) / (max(sizes) - min(sizes))
    return low + share * (high - low)


def similarities(vision: Matrix, text: Matrix) -> list[list[float]]:
    """Dot products of all pairs."""
    return [[sum(a * b for a, b in zip(v, t, strict=True)) for t in text] for v in vision]


def info_nce(
    vision: Matrix,
    text: Matrix,
    tau: Sequence[float],
    positives: Sequence[Sequence[bool]] | None,
    tau_t2v: Sequence[float] | None = None,
) -> float:
    """Eq. 10-12: -log of the softmax share of the pair, both ways, tau of the anchor.

    `tau` is for v2t, and for t2v as well where that has none of its own.
    """
    s = similarities(vision, text)
    n = len(s)
    losses = []
    for i in range(n):
        for direction, of_anchor in (("v2t", tau), ("t2v", tau_t2v or tau)):
            total = 0.0
            for j in range(n):
                v, t = (i, j) if direction == "v2t" else (j, i)
                if positives is not None and v != t and positives[v][t]:
                    continue
                total += math.exp((s[v][t] - s[i][i]) / of_anchor[i])
            losses.append(math.log(total))
    return sum(losses) / len(losses)


def max_margin(
    vision: Matrix,
    text: Matrix,
    margin: Sequence[float],
    positives: Sequence[Sequence[bool]] | None,
    margin_t2v: Sequence[float] | None = None,
) -> float:
    """Eq. 3: mean hinge over the ordered pairs of different rows, both ways.

    `margin` is for v2t, and for t2v as well where that has none of its own.
    """
    s = similarities(vision, text)
    n = len(s)
    hinges = []
    for i in range(n):
        for j in range(n):
            if i == j:
                continue
            if positives is None or not positives[i][j]:
                hinges.append(max(0.0, s[i][j] - s[i][i] + margin[i]))
            if positives is None or not positives[j][i]:
                hinges.append(max(0.0, s[j][i] - s[i][i] + (margin_t2v or margin)[i]))
    return sum(hinges) / len(hinges) if hinges else 0.0


def ranks(vision: Matrix, text: Matrix, owner: Sequence[int]) -> tuple[list[int], list[int]]:
    """Rank of the best right answer, each tied wrong answer before it."""
    s = similarities(vision, text)
    t2v = []
    for j, own in enumerate(owner):
        wrong = [s[i][j] for i in range(len(vision)) if i != own]
        t2v.append(1 + sum(score >= s[own][j] for score in wrong))
    v2t = []
    for i in range(len(vision)):
        best = max(s[i][j] for j, own in enumerate(owner) if own == i)
        wrong = [s[i][j] for j, own in enumerate(owner) if own != i]
        v2t.append(1 + sum(score >= best for score in wrong))
    return t2v, v2t


def recall(
    vision: Matrix, text: Matrix, owner: Sequence[int], ks: Sequence[int]
) -> dict[str, float]:
    """Share of queries with a right answer among the first k."""
    found = dict(zip(("t2v", "v2t"), ranks(vision, text, owner), strict=True))
    return {
        f"{direction}/R@{k}": sum(rank <= k for rank in each) / len(each)
        for direction, each in found.items()
        for k in ks
    }


def parts(sizes: dict[int, int]) -> dict[int, str]:
    """Head, medium, tail: lay all training rows in a line, largest cluster first; cut at thirds."""
    line = [c for c in sorted(sizes, key=lambda c: (-sizes[c], c)) for _ in range(sizes[c])]
    found = dict.fromkeys(sizes, "tail")
    for place in range(len(line) - 1, -1, -1):  # so that a cluster's first row decides
        found[line[place]] = ("head", "medium", "tail")[3 * place // len(line)]
    return found


def resampled_share(
    weights: Sequence[float], item: Sequence[int], hits: Sequence[bool]
) -> float | None:
    """Hits over queries where query q counts as often as its item was drawn."""
    queries = found = 0.0
    for q, i in enumerate(item):
        queries += weights[i]
        found += weights[i] * hits[q]
    return found / queries if queries else None


def cosine_rate(step: int, total: int, top: float, bottom: float, warmup: int) -> float:
    """Linear to `top` in `warmup` steps, then half a cosine down to `bottom`."""
    if step < warmup:
        return top * (step + 1) / warmup
    angle = math.pi * (step - warmup) / (total - warmup)
    return bottom + (top - bottom) * (math.cos(angle) + 1) / 2


def resized_crop(
    width: int,
    height: int,
    share: tuple[float, float],
    uniform: Callable[[float, float], float],
    whole: Callable[[int], int],
) -> tuple[int, int, int, int]:
    """Return left, top, width and height of torchvision's RandomResizedCrop, aspects 3/4 to 4/3.

    `uniform(a, b)` draws a number between both, `whole(n)` one of 0 to n.
    """
    for _ in range(10):
        area = uniform(share[0], share[1]) * width * height
        aspect = math.exp(uniform(math.log(3 / 4), math.log(4 / 3)))
        w = round(math.sqrt(area * aspect))
        h = round(math.sqrt(area / aspect))
        if w < 1 or h < 1 or w > width or h > height:
            continue
        return whole(width - w), whole(height - h), w, h
    if width / height < 3 / 4:  # too tall: all of the width
        w, h = width, round(width / (3 / 4))
    elif width / height > 4 / 3:  # too wide: all of the height
        w, h = round(height * (4 / 3)), height
    else:
        w, h = width, height
    return (width - w) // 2, (height - h) // 2, w, h
