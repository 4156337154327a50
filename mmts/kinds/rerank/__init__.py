"""Re-ranking: what gives the best answers to each query another score."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import PlainValidator, model_validator

from mmts.errors import KindFault, kind_file
from mmts.registry import Registry
from mmts.settings.base import Positive, Settings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mmts.kinds.model import ModelKind
    from mmts.metrics.scores import Both, ProductScores
    from mmts.search import Search


class RerankKind(Settings):
    """Base of the settings of a re-ranking.

    The best `candidates` answers to each query get scores of their own, all others stay behind them
    in the order that they had. A right answer that is no candidate is lost. Neither `score` nor
    `rescore` may look at what is right.
    """

    kind: str
    candidates: Positive = 50
    """Best answers to each query that get a new score; all, where there are fewer."""
    label: ClassVar[str]
    """What it ranks by, as the page says it after "by"."""
    uses_match: ClassVar[bool] = False
    """Whether it calls `Model.match`."""

    @model_validator(mode="after")
    def _complete(self) -> RerankKind:
        if type(self).score is RerankKind.score and type(self).rescore is RerankKind.rescore:
            file = kind_file(type(self).__module__)
            raise KindFault(f"{file}: its Kind has neither score nor rescore; write score")
        return self

    def check(self, model: ModelKind) -> None:
        """Raise ValueError if a model lacks what this asks of it."""
        if self.uses_match and not model.matches:
            raise ValueError(
                f"evaluate.rerank is {self.kind} but model is {model.kind}, which cannot match "
                "texts with media items; set model to another, or evaluate.rerank to null"
            )

    def score(
        self, model: Any, search: Search, first: ProductScores,
        items: NDArray[np.int64], captions: NDArray[np.int64],
    ) -> NDArray[Any]:  # fmt: skip
        """Return the new score of each pair of a media item and a caption, [n].

        The pairs are the candidates of both directions, each pair once, in the order of the items:
        what takes much memory for an item is needed for a while, and for no other item by then.

        Args:
            model: in evaluation mode, on its device.
            search: `search.pairs.streams(search.items[items])` has what the model encodes,
                `search.pairs.text[search.captions[captions]]` the tokens or features.
            first: the scores before; it has the features `vision` [V, D] and `text` [T, D].
            items: [n], places in `search.items`, rising.
            captions: [n], places in `search.captions`.
        """
        raise NotImplementedError

    def rescore(self, model: Any, search: Search, first: ProductScores, chosen: Both) -> Both:
        """Return the new scores of all candidates, by `score`.

        A re-ranking whose scores of a pair differ by direction overrides it.

        Args:
            model, search, first: see `score`.
            chosen: t2v [T, k] are places in `search.items`, v2t [V, k] in `search.captions`, the
                best first.
        """
        import numpy as np

        from mmts.errors import InputError
        from mmts.metrics.scores import Both

        texts, items = (np.arange(len(of))[:, None] for of in chosen)
        wanted = (chosen.t2v * first.captions + texts, items * first.captions + chosen.v2t)
        flat = np.concatenate([of.ravel() for of in wanted])
        pairs, places = np.unique(flat, return_inverse=True)
        found = np.asarray(
            self.score(model, search, first, pairs // first.captions, pairs % first.captions)
        )
        if found.shape != pairs.shape:
            raise InputError(
                f"evaluate.rerank {self.kind} gave {found.shape} scores for {pairs.shape} pairs; "
                "its `score` must give one a pair"
            )
        at = chosen.t2v.size
        new = found[places.reshape(-1)]
        return Both(new[:at].reshape(chosen.t2v.shape), new[at:].reshape(chosen.v2t.shape))


RERANKS = Registry("re-ranking", "mmts.kinds.rerank", RerankKind)
Rerank = Annotated[Any, RERANKS, PlainValidator(RERANKS.optional)]
