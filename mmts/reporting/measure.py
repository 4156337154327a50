"""What the models of a dataset are measured by: which numbers the report shows, in which words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmts.metrics.recall import KS

Columns = tuple[tuple[str, tuple[tuple[str, str], ...]], ...]
"""Groups of columns of a table: a title, and of each column its label and its key."""


@dataclass(frozen=True)
class Measure:
    """Recalls, or multi-instance retrieval. Keys are those of metrics.json."""

    name: str
    graded: bool
    """Whether answers have a relevancy between right and wrong."""
    key: str
    """The number that ranks the methods; `name` is what it is called."""
    overall: Columns
    by_part: tuple[tuple[str, str], ...]
    """Title and key of the numbers that the tables by groups of queries show."""
    headline: Mapping[str, str]
    """The numbers of results/metrics, by their names there."""
    curves: tuple[tuple[str, str], ...]
    """Name and column in curves.csv of what is measured on the validation split."""

    of_query: Callable[[pd.DataFrame], NDArray[Any]]
    """Numbers of each query, [queries, columns]: the key's value is `factor` x their sum over
    columns and both directions of the mean over queries."""
    factor: float
    unit: Callable[[pd.DataFrame], NDArray[Any]]
    """The name of what each query is drawn with in the bootstrap."""

    units: str
    scale: str
    ties: str
    axis: str
    ranks: str
    """Start of the line that tells `told` of each method."""
    told: tuple[tuple[str, float], ...]
    """Keys of the further numbers that the notes tell, each with a factor."""
    telling: str
    """How the numbers of `told` are written."""
    example: Callable[[Mapping[str, Any]], str]
    """How well a query of queries.parquet was answered, in words."""

    @property
    def needed(self) -> set[str]:
        """The keys that every source has."""
        overall = (key for _, columns in self.overall for _, key in columns)
        return {self.key, *overall, *(key for key, _ in self.told)}


def _hits(queries: pd.DataFrame) -> NDArray[Any]:
    return np.stack([queries["rank"].to_numpy() <= k for k in KS], axis=1)


def _precision(queries: pd.DataFrame) -> NDArray[Any]:
    return queries["AP"].to_numpy(dtype=np.float64)[:, None]


def _item(queries: pd.DataFrame) -> NDArray[Any]:
    return queries["sample_id"].to_numpy(dtype=str)


def _query(queries: pd.DataFrame) -> NDArray[Any]:
    return (queries["direction"] + " " + queries["query_id"]).to_numpy(dtype=str)


def _first_right(query: Mapping[str, Any]) -> str:
    rank = int(query["rank"])
    return "right answer ranked first" if rank == 1 else f"first right answer at rank {rank:,}"


def _graded(query: Mapping[str, Any]) -> str:
    return f"average precision {100 * query['AP']:.1f}, nDCG {100 * query['nDCG']:.1f}"


RECALL = Measure(
    name="rsum",
    graded=False,
    key="rsum",
    overall=(
        ("text to vision", tuple((f"R@{k}", f"t2v/R@{k}") for k in KS)),
        ("vision to text", tuple((f"R@{k}", f"v2t/R@{k}") for k in KS)),
        ("all six", (("rsum", "rsum"),)),
    ),
    by_part=(("rsum", "rsum"), ("t2v R@1", "t2v/R@1"), ("v2t R@1", "v2t/R@1")),
    headline={"rsum": "rsum", "t2v_R1": "t2v/R@1", "v2t_R1": "v2t/R@1", "tail_rsum": "tail/rsum"},
    curves=(("rsum", "val_rsum"),),
    of_query=_hits,
    factor=1.0,
    unit=_item,
    units="test items (all queries of an item move together)",
    scale="Recalls are in percent; rsum is the sum of the six recalls, 0 to 600.",
    ties="Ties count against: a wrong answer with the right one's score ranks before it.",
    axis="rsum (0 to 600)",
    ranks=(
        "Median rank of the right answer{where}, text to vision and vision to text, and the "
        "95 % interval of rsum over test items"
    ),
    told=(("t2v/median_rank", 1), ("v2t/median_rank", 1), ("rsum/low", 1), ("rsum/high", 1)),
    telling="{0:.3g} and {1:.3g}, {2:.0f} to {3:.0f}",
    example=_first_right,
)

MULTI_INSTANCE = Measure(
    name="mAP avg",
    graded=True,
    key="mAP/avg",
    overall=tuple(
        (metric, tuple((d, f"{metric}/{d}") for d in ("v2t", "t2v", "avg")))
        for metric in ("mAP", "nDCG")
    ),
    by_part=(("mAP avg", "mAP/avg"), ("nDCG avg", "nDCG/avg")),
    headline={
        "mAP": "mAP/avg",
        "mAP_v2t": "mAP/v2t",
        "mAP_t2v": "mAP/t2v",
        "nDCG": "nDCG/avg",
        "tail_mAP": "tail/mAP/avg",
    },
    curves=(("mAP", "val_mAP"), ("nDCG", "val_nDCG")),
    of_query=_precision,
    factor=0.5,
    unit=_query,
    units="queries",
    scale=(
        "mAP and nDCG are those of multi-instance retrieval, in percent: they count the graded "
        "relevancy of every answer, from 0 to 1, and only 1 is right. avg is the mean of both "
        "directions, over all queries of each."
    ),
    ties="Ties count against: of answers with one score the least relevant ranks first.",
    axis="mAP avg (percent)",
    ranks="95 % intervals over queries{where} of mAP avg and of nDCG avg",
    told=tuple((f"{m}/avg/{end}", 100) for m in ("mAP", "nDCG") for end in ("low", "high")),
    telling="{0:.1f} to {1:.1f} and {2:.1f} to {3:.1f}",
    example=_graded,
)


def measure_of(metrics: Mapping[str, float]) -> Measure:
    """What a source was measured by, from its part of metrics.json."""
    return MULTI_INSTANCE if MULTI_INSTANCE.key in metrics else RECALL
