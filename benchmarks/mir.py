"""`python -m benchmarks.mir`: relevancy, mAP and nDCG at the size of the EK-100 test split.

In one process, one round after the other, each with every candidate once; medians of the CPU time
of one thread. Relevancy stands against the double loop over a share of the videos, scaled to all;
the metrics against the usual form, float64 and whole matrices in memory.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stages.cli import run

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mmts.metrics.relevancy import Classes

VIDEOS, TEXTS, KEYS = 9668, 3842, 1979
SHARE = 16  # the double loop runs over one video in so many
RELEVANCY, LOOP = "relevancy", "double loop, scaled"
BOTH, EACH, USUAL = "per_query (both metrics)", "mAP, then nDCG", "usual mAP, then nDCG"
BARS = ((RELEVANCY, LOOP, 100), (BOTH, USUAL, 6))


class Dtype(StrEnum):
    """Types of scores."""

    float32 = "float32"
    float64 = "float64"


def main(
    annotations: Annotated[
        Path | None, typer.Option(help="Folder with the two official test files; else made up.")
    ] = None,
    dtype: Annotated[Dtype, typer.Option(help="Type of the scores.")] = Dtype.float32,
    signal: Annotated[float, typer.Option(min=0, help="Relevancy in the scores; noise 0.2.")] = 0.3,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds after the one that warms up.")] = 5,
    json: Annotated[Path, typer.Option(help="Where the figures go.")] = Path(
        "benchmarks/results/mir.json"
    ),
) -> None:
    """Time relevancy, mAP and nDCG, measure their memory, compare them with the definition."""
    import numpy as np
    import torch

    from benchmarks.measure import interleaved, peak_extra
    from benchmarks.report import bar, bar_table, columns, number
    from mmts.files import write_json
    from mmts.metrics import mir

    torch.set_num_threads(1)
    videos, texts = official(annotations) if annotations else made_up()
    gains = mir.relevancy(videos, texts)
    noise = np.random.default_rng(0).standard_normal(gains.shape)
    scores = (signal * gains + 0.2 * noise).astype(str(dtype))
    facts = {
        "videos": len(videos), "texts": len(texts), "ones": int((gains == 1).sum()),
        "keys": len({(verb, frozenset(nouns)) for verb, nouns in [*videos, *texts]}),
        "above_0": float((gains > 0).mean()),
    }  # fmt: skip
    calls = candidates(videos, texts, scores, gains)
    took = interleaved(calls, rounds, "cpu")
    took[LOOP] = [seconds * len(videos) / len(videos[::SHARE]) for seconds in took[LOOP]]
    extra = {name: peak_extra(calls[name], "cpu") for name in (BOTH, EACH, USUAL)}
    middle = {name: statistics.median(seconds) for name, seconds in took.items()}
    rows: list[dict[str, Any]] = [
        {
            "what": name,
            "seconds": middle[name],
            "rounds": took[name],
            "extra_bytes": extra.get(name),
        }
        for name in calls
    ]
    mine, theirs = extra[BOTH], extra[USUAL]
    bars = [bar(f"{ours}: times faster", middle[usual] / middle[ours], ">=", times)
            for ours, usual, times in BARS]  # fmt: skip
    bars += [
        bar(f"{BOTH}: extra memory over the usual",
            mine / theirs if mine is not None and theirs else None, "<=", 0.1),
        bar("disagreement with the definition", disagreement(scores, gains), "<=", 1e-6),
    ]  # fmt: skip
    print(", ".join(f"{name} {value:.6g}" for name, value in facts.items()))
    print(f"{dtype} scores, CPU, 1 thread, numpy {np.__version__}, {rounds} rounds\n")
    lines = [
        (row["what"], f"{row['seconds']:.3f}",
         number(row["extra_bytes"] and row["extra_bytes"] / 1e6, ".1f"))
        for row in rows
    ]  # fmt: skip
    print(columns(("what", "CPU s", "extra MB"), lines, left=1) + "\n")
    print(bar_table(bars))
    json.parent.mkdir(parents=True, exist_ok=True)
    write_json(json, {
        **facts, "annotations": "official" if annotations else "made up", "dtype": str(dtype),
        "signal": signal, "numpy": np.__version__, "rows": rows, "bars": bars,
    })  # fmt: skip


def candidates(
    videos: Classes, texts: Classes, scores: NDArray[Any], gains: NDArray[np.float64]
) -> dict[str, Callable[[], object]]:
    """All that is timed, by what it is."""
    from mmts.metrics import mir
    from tests.metrics import mir_reference as reference

    return {
        RELEVANCY: lambda: mir.relevancy(videos, texts),
        LOOP: lambda: reference.relevancy(videos[::SHARE], texts),
        BOTH: lambda: mir.per_query(scores, gains),
        EACH: lambda: (mir.mean_average_precision(scores, gains), mir.ndcg(scores, gains)),
        USUAL: lambda: (reference.usual_map(scores, gains), reference.usual_ndcg(scores, gains)),
    }


def disagreement(scores: NDArray[Any], gains: NDArray[np.float64], queries: int = 40) -> float:
    """Largest difference of a query's value from the plain loop, over some queries both ways."""
    from mmts.metrics import mir
    from tests.metrics import mir_reference as reference

    found, worst = mir.per_query(scores, gains), 0.0
    for values, metric in zip(found, (reference.average_precision, reference.ndcg), strict=True):
        for way, s, r in ((values.v2t, scores, gains), (values.t2v, scores.T, gains.T)):
            for row in range(0, len(s), max(1, len(s) // queries)):
                wanted = metric(s[row].tolist(), r[row].tolist())
                worst = max(worst, abs(float(way[row]) - wanted))
    return worst


def official(folder: Path) -> tuple[Classes, Classes]:
    """Classes of the test clips, and of the sentences by the clip that they were taken from."""
    import ast

    import pandas as pd

    clips = pd.read_csv(folder / "EPIC_100_retrieval_test.csv", keep_default_na=False)
    sentences = pd.read_csv(folder / "EPIC_100_retrieval_test_sentence.csv", keep_default_na=False)
    nouns = clips["all_noun_classes"].map(ast.literal_eval)
    videos = [(int(verb), tuple(n)) for verb, n in zip(clips["verb_class"], nouns, strict=True)]
    of_clip = dict(zip(clips["narration_id"], videos, strict=True))
    return videos, [of_clip[clip] for clip in sentences["narration_id"]]


def made_up() -> tuple[Classes, Classes]:
    """As many rows and distinct keys as the official files have, long-tailed, seeded."""
    import numpy as np

    rng = np.random.default_rng(0)
    verb_share, noun_share, key_share = (1 / (np.arange(n) + 3.0) for n in (97, 300, KEYS))
    keys: dict[tuple[int, tuple[int, ...]], None] = {}
    while len(keys) < KEYS:
        verb = int(rng.choice(97, p=verb_share / verb_share.sum()))
        count = int(rng.choice([1, 2, 3], p=[0.5, 0.35, 0.15]))
        nouns = rng.choice(300, size=count, replace=False, p=noun_share / noun_share.sum())
        keys[verb, tuple(sorted(int(n) for n in nouns))] = None
    distinct = list(keys)

    def rows(count: int) -> list[tuple[int, tuple[int, ...]]]:
        more = rng.choice(KEYS, count - KEYS, p=key_share / key_share.sum())
        return [distinct[i] for i in rng.permutation([*range(KEYS), *more])]

    return rows(VIDEOS), rows(TEXTS)


if __name__ == "__main__":
    run(main)
