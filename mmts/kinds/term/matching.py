"""Matching of pairs, true and wrong, as in VAST (arXiv 2305.18500)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from mmts.errors import InputError
from mmts.kinds import Above0, Above0To1
from mmts.kinds.term import TermKind

if TYPE_CHECKING:
    from torch import Tensor

    from mmts.losses.matching import Negatives
    from mmts.method import Method
    from mmts.towers.model import Model
    from mmts.training.tau_and_loss import LossInput, Term


class Kind(TermKind):
    """Cross-entropy of `Model.match` over each pair, its clip with a wrong caption, and reversed.

    Wrong ones are drawn from the batch of all processes by `softmax(similarity / tau) + floor`.
    """

    kind: Literal["matching"]
    label = "matching"
    uses_match = True
    weight: Above0 = 0.1
    floor: Above0To1 = 1e-4
    """What the least similar wrong one gets in the draw."""
    tau: Above0 | None = None
    """Of the draw: a number, such as 0.07; null for the method's own, that of the anchor."""

    def check(self, method: Method) -> None:
        """Raise ValueError if the method has no temperature, and this none of its own."""
        if self.tau is None and method.quantity != "temperature":
            raise ValueError(
                f"terms.matching.tau is null, for the temperature of the method, but the objective "
                f"{method.objective.kind} takes a {method.quantity}: set it to a number, such as "
                "0.07"
            )

    def build(self, model: Model) -> Term:
        """Return the function; a rank matches the pairs of its own rows."""

        def term(given: LossInput) -> Tensor:
            import torch

            from mmts.losses.matching import matching_loss

            captions, clips = self.drawn(given)
            tokens, context = given.batch.text, given.encoded.context
            if context is None:
                raise InputError(
                    f"terms.matching is set, but {type(model).__name__} gives no context of a "
                    "media item to match; set model to one that does, or leave out the term"
                )
            own = slice(given.ranks.first, given.ranks.first + len(captions.column))
            both = torch.stack([tokens[own], tokens[captions.column]], dim=1)
            with given.autocast():
                of_captions = model.match(context[own], both)
                of_clips = model.match(context[clips.column], tokens[own])
            logits = torch.cat([of_captions, of_clips[:, None]], dim=1)
            true = torch.ones_like(clips.there)
            counted = torch.stack([true, captions.there, clips.there], dim=1)
            return matching_loss(logits, counted, given.ranks.group)

        return term

    def drawn(self, given: LossInput) -> tuple[Negatives, Negatives]:
        """Return a wrong caption of each clip of this rank, and a wrong clip of each caption.

        No pair of the same item or the same text is wrong, and none of `positives`.
        """
        import torch

        from mmts.losses._check import both_directions
        from mmts.losses._similarity import similarities
        from mmts.losses.matching import hard_negatives

        vision, text = given.encoded.vision.detach(), given.encoded.text.detach()
        tokens, index = given.batch.text, given.batch.index
        rows = len(vision) // given.ranks.size
        own = slice(given.ranks.first, given.ranks.first + rows)
        same = (tokens[own, None] == tokens).all(2) | (index[own, None] == index)
        taus = both_directions(given.tau if self.tau is None else self.tau, vision, "tau", "> 0")
        chances = torch.rand(2, len(vision), generator=given.generator)[:, own]
        positives = given.positives
        more = (None, None) if positives is None else (positives[own], positives.T[own])
        sides = ((vision, text), (text, vision))
        captions, clips = (
            hard_negatives(
                similarities(anchors[own], others), tau[own], self.floor,
                same if also is None else same | also, chance.to(vision.device),
            )
            for (anchors, others), tau, also, chance in zip(sides, taus, more, chances, strict=True)
        )  # fmt: skip
        return captions, clips
