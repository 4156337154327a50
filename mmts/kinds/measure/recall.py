"""Recall@k in both directions, and rsum (section 4.2 of the paper)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, field_validator

from mmts.kinds.measure import Column, Columns, MeasureKind, Told, Total
from mmts.settings.base import Positive

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from mmts.metrics.scores import Both, Scores
    from mmts.search import Search

SUM = (1, 5, 10)
"""What rsum is the sum of, whatever is shown."""


class Kind(MeasureKind):
    """The share of queries with a right answer among the first k, `mmts.metrics.recall`."""

    kind: Literal["recall"]
    ks: Annotated[tuple[Positive, ...], Field(strict=False, min_length=1)] = SUM
    """The cut-offs that tables show, such as [1, 5, 10, 50]. rsum is the sum of R@1, R@5 and R@10
    both ways, whatever is shown."""

    name = "rsum"
    first = "rsum"
    columns = {"rank": Column("whole", 1, float("inf"))}
    totals = {"rsum": Total(tuple(f"R@{k}" for k in SUM), 100.0)}
    points = ("rsum",)
    validated = {"t2v_R@1": "t2v/R@1", "v2t_R@1": "v2t/R@1", "rsum": "rsum"}
    drawn = ("rsum",)
    not_validated = {"ks"}
    by_item = True
    default = True

    by_part = (("rsum", "rsum"), ("t2v R@1", "t2v/R@1"), ("v2t R@1", "v2t/R@1"))
    headline = {
        "rsum": "rsum", "t2v_R1": "t2v/R@1", "v2t_R1": "v2t/R@1", "tail_rsum": "tail/rsum"
    }  # fmt: skip
    scale = "Recalls are in percent; rsum is the sum of the six recalls, 0 to 600."
    ties = "Ties count against: a wrong answer with the right one's score ranks before it."
    axis = "rsum (0 to 600)"
    told = Told(
        "Median rank of the right answer{where}, text to vision and vision to text, and the "
        "95 % interval of rsum over test items",
        (("t2v/median_rank", 1), ("v2t/median_rank", 1), ("rsum/low", 1), ("rsum/high", 1)),
        "{0:.3g} and {1:.3g}, {2:.0f} to {3:.0f}",
    )

    @field_validator("ks")
    @classmethod
    def _rising(cls, ks: tuple[int, ...]) -> tuple[int, ...]:
        if list(ks) != sorted(set(ks)):
            raise ValueError(f"it is {list(ks)}; write rising numbers, each once")
        return ks

    @property
    def overall(self) -> Columns:
        """R@k both ways, and rsum."""
        return (
            ("text to vision", tuple((f"R@{k}", f"t2v/R@{k}") for k in self.ks)),
            ("vision to text", tuple((f"R@{k}", f"v2t/R@{k}") for k in self.ks)),
            ("all six", (("rsum", "rsum"),)),
        )

    def values(self, search: Search, scores: Scores) -> dict[str, Both]:
        """The rank of the best right answer."""
        from mmts.metrics.recall import ranks_of
        from mmts.metrics.scores import Both

        return {"rank": Both(*ranks_of(scores, search.owner))}

    def numbers(self, queries: Mapping[str, Any]) -> dict[str, NDArray[np.float64]]:
        """Hits."""
        import numpy as np

        rank = np.asarray(queries["rank"])
        return {f"R@{k}": (rank <= k).astype(np.float64) for k in sorted({*SUM, *self.ks})}

    def key(self, metric: str, direction: str) -> str:
        """`t2v/R@1`."""
        return f"{direction}/{metric}"

    def counts(self, queries: pd.DataFrame, direction: str) -> dict[str, float]:
        """The median rank, and the number of queries."""
        median = float(queries["rank"].median())
        return {f"{direction}/median_rank": median, f"{direction}/queries": len(queries)}

    def answered(self, query: Mapping[str, Any]) -> str:
        """The rank."""
        rank = int(query["rank"])
        return "right answer ranked first" if rank == 1 else f"first right answer at rank {rank:,}"

    def summary(self, metrics: Mapping[str, float]) -> str:
        """`t2v R@1 40.2, v2t R@1 51.0, rsum 411.3`."""
        shown = {"t2v R@1": "t2v/R@1", "v2t R@1": "v2t/R@1", "rsum": "rsum"}
        return ", ".join(f"{name} {self.percent(metrics, key)}" for name, key in shown.items())
