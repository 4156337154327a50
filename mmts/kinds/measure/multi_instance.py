"""Multi-instance mAP and nDCG (EPIC-KITCHENS-100, arXiv 2006.13256)."""

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
    """mAP and nDCG over the graded relevancy of all answers, `mmts.metrics.mir`.

    All clips are searched for and among; of the captions, those that are sentences. The classes of
    a clip are those of its first caption.
    """

    kind: Literal["multi_instance"]

    name = "mAP avg"
    first = "mAP/avg"
    columns = {"AP": Column("number", 0, 1), "nDCG": Column("number", 0, 1)}
    totals = {"mAP/avg": Total(("mAP",), 0.5), "nDCG/avg": Total(("nDCG",), 0.5)}
    validated = {"mAP": "mAP/avg", "nDCG": "nDCG/avg"}
    drawn = ("mAP", "nDCG")
    graded = True
    default = True
    held = True

    by_part = (("mAP avg", "mAP/avg"), ("nDCG avg", "nDCG/avg"))
    headline = {
        "mAP": "mAP/avg", "mAP_v2t": "mAP/v2t", "mAP_t2v": "mAP/t2v", "nDCG": "nDCG/avg",
        "tail_mAP": "tail/mAP/avg",
    }  # fmt: skip
    scale = (
        "mAP and nDCG are those of multi-instance retrieval, in percent: they count the graded "
        "relevancy of every answer, from 0 to 1, and only 1 is right. avg is the mean of both "
        "directions, over all queries of each."
    )
    ties = "Ties count against: of answers with one score the least relevant ranks first."
    axis = "mAP avg (percent)"
    told = Told(
        "95 % intervals over queries{where} of mAP avg and of nDCG avg",
        tuple((f"{m}/avg/{end}", 100) for m in ("mAP", "nDCG") for end in ("low", "high")),
        "{0:.1f} to {1:.1f} and {2:.1f} to {3:.1f}",
    )

    @property
    def overall(self) -> Columns:
        """Both metrics, both ways and on average."""
        return tuple(
            (metric, tuple((d, f"{metric}/{d}") for d in ("v2t", "t2v", "avg")))
            for metric in ("mAP", "nDCG")
        )

    def values(self, search: Search, scores: Scores) -> dict[str, Both]:
        """Average precision and nDCG."""
        from mmts.metrics.mir import Ids, query_values
        from mmts.metrics.relevancy import relevancy
        from mmts.metrics.scores import Both

        pairs = search.pairs
        ids = Ids(
            [pairs.sample_ids[i] for i in search.items.tolist()],
            [pairs.caption_ids[c] for c in search.captions.tolist()],
        )
        found = query_values(scores, relevancy(*_classes(search)), ids)
        return {
            "AP": Both(found.average_precision.t2v, found.average_precision.v2t),
            "nDCG": Both(found.ndcg.t2v, found.ndcg.v2t),
        }

    def numbers(self, queries: Mapping[str, Any]) -> dict[str, NDArray[np.float64]]:
        """Themselves."""
        import numpy as np

        columns = {"mAP": "AP", "nDCG": "nDCG"}
        return {m: np.asarray(queries[c], dtype=np.float64) for m, c in columns.items()}

    def captions(self, search: Search) -> NDArray[np.bool_]:
        """The sentences."""
        return search.pairs.searched()[search.captions]

    def gains(self, search: Search, direction: str, query: int) -> NDArray[Any]:
        """The relevancy."""
        from mmts.metrics.relevancy import relevancy

        clips, sentences = _classes(search)
        if direction == "v2t":
            return relevancy([clips[query]], sentences).ravel()
        return relevancy(clips, [sentences[query]]).ravel()

    def answered(self, query: Mapping[str, Any]) -> str:
        """Both numbers."""
        return f"average precision {100 * query['AP']:.1f}, nDCG {100 * query['nDCG']:.1f}"

    def summary(self, metrics: Mapping[str, float]) -> str:
        """`mAP 53.9 (v2t 58.8, t2v 49.0), nDCG 67.3`."""
        keys = ("mAP/avg", "mAP/v2t", "mAP/t2v", "nDCG/avg")
        shown = (self.percent(metrics, key) for key in keys)
        return "mAP {} (v2t {}, t2v {}), nDCG {}".format(*shown)


def _classes(search: Search) -> tuple[list[Any], list[Any]]:
    """Verb class and noun classes of the clips, and of the sentences."""
    of = search.pairs.classes_of
    assert of is not None
    return [of[c] for c in search.pairs.first[search.items]], [of[c] for c in search.captions]
