"""Re-rank by the words that a caption shares with the other captions of a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from mmts.kinds.rerank import RerankKind

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mmts.metrics.scores import ProductScores
    from mmts.search import Search


class Kind(RerankKind):
    """Shared words over all words of both, the query's own caption left out; then the similarity.

    It needs pictures with several captions.
    """

    kind: Literal["shared_words"]
    weight: float = 0.1
    """Of the similarity, beside the share of words."""
    label = "words shared with a picture's other captions"

    def score(
        self, model: Any, search: Search, first: ProductScores,
        items: NDArray[np.int64], captions: NDArray[np.int64],
    ) -> NDArray[Any]:  # fmt: skip
        """[n]."""
        import numpy as np

        words = [set(search.pairs.captions[c].split()) for c in search.captions]
        own = [np.flatnonzero(search.owner == item) for item in range(len(search.items))]

        def share(item: int, caption: int) -> float:
            others = set().union(*(words[c] for c in own[item] if c != caption))
            return len(others & words[caption]) / len(others | words[caption])

        shared = [share(i, c) for i, c in zip(items.tolist(), captions.tolist(), strict=True)]
        similarity = (first.vision[items] * first.text[captions]).sum(axis=1)
        return np.array(shared) + self.weight * similarity
