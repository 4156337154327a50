"""Re-ranking by the model's own matching, as VAST refines its retrieval."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from mmts.errors import InputError
from mmts.kinds.rerank import RerankKind

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mmts.metrics.scores import ProductScores
    from mmts.search import Search

ITEMS, CAPTIONS = 8, 256
"""Media items whose contexts are in memory at once, and captions that are matched at once."""


class Kind(RerankKind):
    """The probability that a caption describes a media item, by `Model.match`.

    The contexts of a few items are in memory at a time, and the keys and values of an item are
    computed once for its captions.
    """

    kind: Literal["matching"]
    label = "the probability of a match"
    uses_match = True

    def score(
        self, model: Any, search: Search, first: ProductScores,
        items: NDArray[np.int64], captions: NDArray[np.int64],
    ) -> NDArray[Any]:  # fmt: skip
        """Return the probability of each pair, [n]."""
        import numpy as np
        import torch
        from tqdm import tqdm

        if not model.matches:
            raise InputError(
                "evaluate.rerank is matching, but the model was trained without a loss term that "
                "matches; add `terms: {matching: 0.1}` to the method, or set evaluate.rerank to "
                "null"
            )
        device = next(model.parameters()).device
        found = np.empty(len(items), np.float64)
        wanted, starts = np.unique(items, return_index=True)
        ends = [*starts[1:], len(items)]
        bar = tqdm(total=len(wanted), desc="rerank", unit="item", mininterval=0.5)
        with bar:
            for at in range(0, len(wanted), ITEMS):
                some = search.pairs.streams(search.items[wanted[at : at + ITEMS]].tolist())
                streams = {name: of.to(device) for name, of in some.items()}
                contexts = model.encode_vision(streams).context
                for n, context in enumerate(contexts, at):
                    for start in range(starts[n], ends[n], CAPTIONS):
                        rows = slice(start, min(start + CAPTIONS, ends[n]))
                        tokens = search.pairs.text[search.captions[captions[rows]]].to(device)
                        logits = model.match(context[None], tokens[None])[0]
                        found[rows] = torch.softmax(logits.double(), -1)[:, 1].cpu().numpy()
                bar.update(len(contexts))
        return found
