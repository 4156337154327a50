"""Hard negatives and the loss of matching, by hand and by frequency."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.stats import chisquare
from torch import Tensor
from torch.nn import functional as F

from mmts.losses.matching import hard_negatives, matching_loss

OWN = torch.eye(4, dtype=torch.bool)


def draws(similarity: Tensor, tau: Tensor | float, floor: float, never: Tensor) -> Tensor:
    """[20000, n], each row drawn so often, with a fixed seed."""
    make = torch.Generator().manual_seed(0)
    times = 20_000
    repeated = hard_negatives(
        similarity.repeat(times, 1), tau.repeat(times) if isinstance(tau, Tensor) else tau, floor,
        never.repeat(times, 1), torch.rand(times * len(similarity), generator=make),
    )  # fmt: skip
    assert bool(repeated.there.all())
    return repeated.column.view(times, -1)


def test_by_hand() -> None:
    """The shares of row 0 but for itself: 2/8, 1/8 and 4/8, which end at 2/7, 3/7 and 1."""
    similarity = torch.tensor([[1.0, 2.0, 1.0, 4.0]]).log()
    for chance, column in ((0.0, 1), (0.28, 1), (0.29, 2), (0.42, 2), (0.43, 3), (0.999, 3)):
        found = hard_negatives(similarity, 1.0, 1e-9, OWN[:1], torch.tensor([chance]))
        assert found.column.tolist() == [column] and found.there.tolist() == [True]
    # with tau 1/2 the shares are 4, 1 and 16 of 22
    found = hard_negatives(similarity, 0.5, 1e-9, OWN[:1], torch.tensor([3.9 / 21]))
    assert found.column.tolist() == [1]


def test_frequencies_are_the_probabilities() -> None:
    similarity = torch.randn(4, 4, generator=torch.Generator().manual_seed(2)) / 3
    tau, never = torch.tensor([0.1, 0.2, 0.5, 1.0]), OWN.clone()
    never[3, 0] = True
    found = draws(similarity, tau, 0.05, never)
    for row in range(4):
        share = [math.exp(float(similarity[row, j]) / float(tau[row])) for j in range(4)]
        share = [x / sum(share) + 0.05 for x in share]
        counts = torch.bincount(found[:, row], minlength=4)
        drawn = [j for j in range(4) if not bool(never[row, j])]
        assert int(counts[drawn].sum()) == len(found), "never the own pair, or another true one"
        total = sum(share[j] for j in drawn)
        wanted = [len(found) * share[j] / total for j in drawn]
        assert chisquare(counts[drawn].tolist(), wanted).pvalue > 0.01


def test_the_ends_of_the_chances_draw_no_true_pair() -> None:
    """Where nearly all is the own pair's, which has nothing here."""
    similarity = torch.eye(4)
    for chance in (0.0, 1 - 2**-24):
        found = hard_negatives(similarity, 0.01, 1e-4, OWN, torch.full((4,), chance))
        assert not bool((found.column == torch.arange(4)).any())
    nobody = hard_negatives(similarity, 0.1, 1e-4, torch.ones_like(OWN), torch.rand(4))
    assert nobody.there.tolist() == [False] * 4
    assert bool((nobody.column < 4).all())


def test_the_loss_is_the_mean_of_the_pairs_that_there_are() -> None:
    logits = torch.randn(5, 3, 2, generator=torch.Generator().manual_seed(1), requires_grad=True)
    labels = torch.tensor([1, 0, 0] * 5)
    everything = torch.ones(5, 3, dtype=torch.bool)
    whole = F.cross_entropy(logits.flatten(0, 1), labels)
    torch.testing.assert_close(matching_loss(logits, everything), whole)
    some = everything.clone()
    some[2, 1] = some[4, 2] = False
    kept = some.flatten()
    wanted = F.cross_entropy(logits.flatten(0, 1)[kept], labels[kept])
    torch.testing.assert_close(matching_loss(logits, some), wanted)
    half = matching_loss(logits.bfloat16(), everything)
    assert half.dtype == torch.float32 and half.item() == pytest.approx(whole.item(), rel=0.01)
