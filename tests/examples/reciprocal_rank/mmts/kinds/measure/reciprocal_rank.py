"""Mean reciprocal rank: 1 where the right answer is first, 1/2 where it is second, and so on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from mmts.kinds.measure import Column, Columns, MeasureKind, Told, Total

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mmts.metrics.scores import Both, Scores
    from mmts.search import Search


class Kind(MeasureKind):
    """The mean over queries of one over the rank of the best right answer."""

    kind: Literal["reciprocal_rank"]

    name = "MRR"
    first = "MRR/avg"
    columns = {"reciprocal_rank": Column("number", 0, 1)}
    totals = {"MRR/avg": Total(("MRR",), 0.5)}
    validated = {"MRR": "MRR/avg"}
    drawn = ("MRR",)
    by_item = True

    by_part = (("MRR", "MRR/avg"),)
    headline = {"MRR": "MRR/avg", "MRR_t2v": "MRR/t2v", "MRR_v2t": "MRR/v2t"}
    scale = "MRR, the mean reciprocal rank, is in percent."
    ties = "Ties count against: a wrong answer with the right one's score ranks before it."
    axis = "MRR (percent)"
    told = Told(
        "95 % interval of the MRR{where} over test items",
        (("MRR/avg/low", 100), ("MRR/avg/high", 100)),
        "{0:.1f} to {1:.1f}",
    )

    @property
    def overall(self) -> Columns:
        """Both ways, and their mean."""
        return (("mean reciprocal rank", tuple((d, f"MRR/{d}") for d in ("t2v", "v2t", "avg"))),)

    def values(self, search: Search, scores: Scores) -> dict[str, Both]:
        """One over the rank."""
        from mmts.metrics.recall import ranks_of
        from mmts.metrics.scores import Both

        ranks = ranks_of(scores, search.owner)
        return {"reciprocal_rank": Both(1 / ranks.t2v, 1 / ranks.v2t)}

    def numbers(self, queries: Mapping[str, Any]) -> dict[str, NDArray[np.float64]]:
        """Themselves."""
        import numpy as np

        return {"MRR": np.asarray(queries["reciprocal_rank"])}

    def answered(self, query: Mapping[str, Any]) -> str:
        """The number."""
        return f"reciprocal rank {query['reciprocal_rank']:.2f}"
