"""Measurements -> ratios, the bars that they are held against, and plain tables."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.candidates import EACH, FLOOR, OURS, PRODUCTS, STRAIGHTFORWARD, Case

Row = dict[str, Any]
FULL_BYTES = {"max_margin": 26 * 4, "info_nce": 16}
"""Bytes for each of the N^2 pairs that the bars of memory are set against: about what the
straightforward forms hold at the peak."""

MEANT_FOR = {
    "cpu": "N = 4096, D = 256, float32 on one thread",
    "cuda": "N = 65536, D = 512, bfloat16",
}


def rows(
    took: Mapping[Case, Sequence[float]], extra: Mapping[Case, int | None], n: int, d: int
) -> list[Row]:
    """One row a case: median seconds, peak bytes, and how it compares.

    `against_straightforward` is how many times faster than the straightforward form with the same
    kind of tau; `against_floor` is the time over that of the fastest products of this loss.
    """
    middle = {case: statistics.median(seconds) for case, seconds in took.items()}
    found = []
    for case, seconds in middle.items():
        usual = middle.get(Case(case.loss, STRAIGHTFORWARD, case.tau))
        floor = min(middle[c] for c in middle if (c.loss, c.form) == (case.loss, FLOOR))
        blockwise = case.form in (OURS, FLOOR)
        operations = PRODUCTS[case.loss] * 2 * n * n * d
        found.append({
            **case._asdict(), "seconds": seconds, "rounds": list(took[case]),
            "against_straightforward": usual / seconds if usual else None,
            "against_floor": seconds / floor, "extra_bytes": extra.get(case),
            "tflops": operations / seconds / 1e12 if blockwise else None,
        })  # fmt: skip
    return found


def bars(found: Sequence[Row], disagreement: Mapping[str, float], n: int, device: str) -> list[Row]:
    """One row a bar that the losses are held against: what, value, bar, whether it is met."""
    ours = {r["loss"]: r for r in found if (r["form"], r["tau"]) == (OURS, EACH)}
    out = []
    for loss, times, share in (("max_margin", 12, 1 / 50), ("info_nce", 1.6, 1 / 10)):
        row, size = ours[loss], ours[loss]["extra_bytes"]
        if device == "cpu":
            usual, whole = row["against_straightforward"], n * n * FULL_BYTES[loss]
            out += [
                bar(f"{loss}: times faster than the straightforward form", usual, ">=", times),
                bar(f"{loss}: time over that of the products", row["against_floor"], "<=", 1.5),
                bar(f"{loss}: extra memory over {FULL_BYTES[loss]} N^2 bytes",
                    None if size is None else size / whole, "<=", share),
            ]  # fmt: skip
        else:
            rate = 1 / row["against_floor"]
            out += [
                bar(f"{loss}: extra memory in GB", size / 1e9, "<=", 2),
                bar(f"{loss}: share of the products' TFLOP/s", rate, ">=", 0.5),
            ]
        out.append(bar(f"{loss}: float64 disagreement", disagreement[loss], "<=", 1e-12))
    return out


def bar(what: str, value: float | None, sign: str, bound: float) -> Row:
    """A row of the second table; a value that was not measured meets nothing."""
    met = value is not None and (value >= bound if sign == ">=" else value <= bound)
    return {"what": what, "value": value, "bar": f"{sign} {bound:g}", "met": met}


def measured_table(found: Sequence[Row]) -> str:
    """The first table, a line a case."""
    head = ("loss", "form", "tau", "ms", "faster", "over floor", "extra MB", "TFLOP/s")
    lines = [
        (r["loss"], r["form"], r["tau"], f"{1e3 * r['seconds']:.1f}",
         number(r["against_straightforward"], ".2f"), number(r["against_floor"], ".2f"),
         number(r["extra_bytes"] and r["extra_bytes"] / 1e6, ".1f"), number(r["tflops"], ".3f"))
        for r in found
    ]  # fmt: skip
    return columns(head, lines, left=3)


def bar_table(found: Sequence[Row]) -> str:
    """The second table, a line a bar."""
    lines = [
        (r["what"], number(r["value"], ".3g"), r["bar"], "yes" if r["met"] else "NO") for r in found
    ]
    return columns(("what", "measured", "bar", "met"), lines, left=1)


def number(value: float | None, form: str) -> str:
    """The number, or a dash where there is none."""
    return "-" if value is None else format(value, form)


def columns(head: Sequence[str], lines: Sequence[Sequence[str]], left: int) -> str:
    """Text in columns, the first `left` of them to the left."""
    table = [head, *lines]
    widths = [max(len(line[i]) for line in table) for i in range(len(head))]
    return "\n".join(
        "  ".join(
            text.ljust(width) if i < left else text.rjust(width)
            for i, (text, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in table
    )
