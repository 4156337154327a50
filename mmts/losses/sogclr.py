"""The global contrastive objective (SogCLR: Yuan et al. 2022, arXiv 2202.12387)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from mmts.errors import InputError
from mmts.losses._check import Tau, both_directions, check_pairs
from mmts.losses._index import Index, both_indices
from mmts.losses._similarity import other_positives, similarities


class SogCLR(nn.Module):
    """SogCLR's stochastic estimate of the global contrastive objective (arXiv 2202.12387).

    Both directions, as in the image-text experiments of iSogCLR (Qiu et al. 2023, 2305.11965).
    With the anchor's tau_i, h_ij = s_ij - s_ii and g_i = mean over j != i of exp(h_ij / tau_i),
    every sample and direction has a moving average `u_i <- (1 - gamma) u_i + gamma g_i`, which
    starts at its first g_i. The value is the mean of `tau_i log u_i + rho tau_i`. The gradients
    are the estimator's: w_ij = exp(h_ij / tau_i) / ((N - 1) u_i) counts as constant in
    `sum_j w_ij h_ij`, and that of tau_i is `log u_i + rho - sum_j w_ij h_ij / tau_i`.

    The papers divide by u_i itself. The authors' code divides by at least `floor * exp(b_i)`,
    where b_i is the largest of 0 and of all h_ij / tau_i that the sample has had in training; so
    does this class. A sample whose negatives are all far below their highest mark then has weights
    that add up to less than 1, and hardly a gradient. With tau = 0.01 and the default floor these
    are the samples whose negatives have fallen by more than 0.32 below it. A floor of 0 is the
    papers' rule.

    With `IndividualTau` this is iSogCLR, with `TempNet` it is TempNet. The state is log u and b, of
    each media item for v2t and of each caption for t2v. Every training step with gradients moves
    it; otherwise u is what a visit would make it, and is not kept.
    It belongs to one process: over ranks, pass features, tau and index through
    `mmts.losses.ranks.gather_with_gradient`, so that all ranks keep the same state. It moves twice
    where activation checkpointing calls the objective twice. The gradients are an estimator's, so
    that the gradient of a gradient means nothing.
    """

    log_u_v2t: Tensor
    log_u_t2v: Tensor
    seen_v2t: Tensor
    seen_t2v: Tensor
    top_v2t: Tensor
    top_t2v: Tensor

    def __init__(
        self,
        samples: int,
        gamma: float = 0.9,
        rho: float = 0.0,
        *,
        captions: int | None = None,
        floor: float = 1e-14,
    ) -> None:
        """
        Args:
            samples: number of media items in the training split.
            gamma: weight of the batch in the moving average, in (0, 1].
            rho: radius of the robust objective (iSogCLR, TempNet); a higher one lowers tau.
            captions: number of captions in the training split; None where each item has one.
            floor: lowest u, as a share of exp(b); 0 for none.
        """
        super().__init__()
        if samples < 1:
            raise InputError(f"samples is {samples}; it must be the number of training pairs, >= 1")
        if not 0 < gamma <= 1:
            raise InputError(f"gamma is {gamma}; it must be in (0, 1]")
        if not (math.isfinite(rho) and rho >= 0):
            raise InputError(f"rho is {rho}; it must be a finite number >= 0")
        if not 0 <= floor < 1:
            raise InputError(f"floor is {floor}; it must be in [0, 1)")
        self.samples, self.gamma, self.rho, self.floor = samples, gamma, rho, floor
        self.captions = samples if captions is None else captions
        if self.captions < 1:
            raise InputError(f"captions is {captions}; it must be the number of captions, >= 1")
        for direction, count in (("v2t", self.samples), ("t2v", self.captions)):
            self.register_buffer(f"log_u_{direction}", torch.zeros(count))
            self.register_buffer(f"seen_{direction}", torch.zeros(count, dtype=torch.bool))
            self.register_buffer(f"top_{direction}", torch.zeros(count))

    def forward(
        self,
        vision: Tensor,
        text: Tensor,
        tau: Tau,
        *,
        index: Index | None = None,
        positives: Tensor | None = None,
    ) -> Tensor:
        """The objective's value on a batch, with the estimator's gradients.

        Args:
            vision, text: [N, D] unit rows; row i of one belongs to row i of the other.
            tau: temperature, a number, [N], or a pair (v2t, t2v) of these.
            index: [N] different sample ids in 0..samples-1, or a pair of these: of the media
                items, and of the captions in 0..captions-1; needed here.
            positives: [N, N] bool, vision by text; pairs off the diagonal that are true are left
                out of g. An anchor without a negative adds 0 and keeps its state.

        Returns:
            A scalar in the type that the similarities are summed in (float32 at least).

        Raises:
            InputError: shapes that do not fit, rows that are not unit, a tau that is not > 0, an
                index that is missing, out of range or repeated (the last two on the CPU only).
        """
        check_pairs(vision, text)
        v2t, t2v = both_directions(tau, vision, "tau", "> 0")
        items, captions = both_indices(index, len(vision), self.samples, self.captions)
        counted = ~torch.eye(len(vision), dtype=torch.bool, device=vision.device)
        ignored = other_positives(positives, vision)
        if ignored is not None:
            counted = counted & ~ignored
        scores = similarities(vision, text)
        total = self._one_way(scores, counted, v2t, items, "v2t")
        total = total + self._one_way(scores.T, counted.T, t2v, captions, "t2v")
        return total / (2 * len(vision))

    def _one_way(
        self, scores: Tensor, counted: Tensor, tau: Tensor, ids: Tensor, direction: str
    ) -> Tensor:
        """Sum over the anchors, which are the rows of scores; moves their rows of the state."""
        log_u, seen, top = (
            self.get_buffer(f"{name}_{direction}") for name in ("log_u", "seen", "top")
        )
        gap = scores - scores.diagonal().unsqueeze(1)
        moves = self.training and torch.is_grad_enabled()
        with torch.no_grad():
            negatives = counted.sum(1)
            some, log_count = negatives > 0, negatives.clamp(min=1).to(scores.dtype).log()
            logits = (gap / tau.unsqueeze(1)).masked_fill(~counted, -torch.inf)
            log_g = logits.logsumexp(1) - log_count
            kept = math.log(1 - self.gamma) if self.gamma < 1 else -math.inf
            moved = torch.logaddexp(log_u[ids] + kept, log_g + math.log(self.gamma))
            now = torch.where(seen[ids], moved, log_g).masked_fill(~some, 0)
            mark = torch.maximum(top[ids].to(logits.dtype), logits.amax(1))
            if moves:
                log_u[ids] = torch.where(some, now.to(log_u.dtype), log_u[ids])
                seen[ids] |= some
                top[ids] = mark.to(top.dtype)
            if self.floor:
                now = torch.maximum(now, mark + math.log(self.floor))
            weights = (logits - (now + log_count).unsqueeze(1)).exp()  # 0 where not counted
            slope = now + self.rho - (weights * gap).sum(1) / tau
            value = tau * (now + self.rho)
        surrogate = (weights * gap).sum(1) + tau * slope  # its gradients are the estimator's
        surrogate = value + (surrogate - surrogate.detach())
        return surrogate.masked_fill(~some, 0).sum()
