"""Label smoothing and anchors alone, against torch's own cross-entropy."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from mmts.errors import InputError
from mmts.losses import InfoNCE, info_nce
from tests.losses.test_info_nce import taus, unit


def mask(n: int) -> Tensor:
    return torch.rand(n, n, generator=torch.Generator().manual_seed(5)) < 0.2


def dense(
    v: Tensor, t: Tensor, v2t: Tensor, t2v: Tensor, positives: Tensor | None, smoothing: float,
    *, anchors_only: bool = False,
) -> Tensor:  # fmt: skip
    """Torch's cross-entropy, a row at a time: without the columns of other positives."""
    losses = []
    for anchors, others, tau, ignored in (
        (v, t, v2t, positives), (t, v, t2v, None if positives is None else positives.T),
    ):  # fmt: skip
        others = others.detach() if anchors_only else others
        for i, anchor in enumerate(anchors):
            left = [
                j for j in range(len(v)) if j == i or ignored is None or not bool(ignored[i, j])
            ]
            target = torch.tensor(left.index(i))
            logits = others[left] @ anchor / tau[i]
            losses.append(F.cross_entropy(logits, target, label_smoothing=smoothing))
    return torch.stack(losses).mean()


def gradients(loss: Tensor, inputs: list[Tensor]) -> list[Tensor]:
    return list(torch.autograd.grad(loss, inputs))


@pytest.mark.parametrize("anchors_only", [False, True])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("rows", [None, 3])
def test_is_the_cross_entropy_of_torch(anchors_only: bool, masked: bool, rows: int | None) -> None:
    v, t, v2t, t2v = unit(9, seed=1), unit(9, seed=2), taus(9, 3), taus(9, 4)
    inputs = [x.requires_grad_() for x in (v, t, v2t, t2v)]
    positives = mask(9) if masked else None
    wanted = dense(v, t, v2t, t2v, positives, 0.1, anchors_only=anchors_only)
    found = info_nce(
        v, t, (v2t, t2v), positives=positives, block_rows=rows, label_smoothing=0.1,
        anchors_only=anchors_only,
    )  # fmt: skip
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(gradients(found, inputs), gradients(wanted, inputs))


def test_many_rows_go_by_blocks() -> None:
    v, t, tau, positives = unit(700, seed=1), unit(700, seed=2), taus(700), mask(700)
    inputs = [x.requires_grad_() for x in (v, t, tau)]
    ignored = positives & ~torch.eye(700, dtype=torch.bool)
    wanted = torch.zeros((), dtype=torch.float64)
    for similarities, left_out in ((v @ t.T, ignored), (t @ v.T, ignored.T)):
        logits = similarities.masked_fill(left_out, -1e30) / tau[:, None]
        share = logits.log_softmax(1).masked_fill(left_out, 0)
        mean = share.sum(1) / (~left_out).sum(1)
        wanted = wanted - (0.7 * share.diagonal() + 0.3 * mean).mean() / 2
    found = info_nce(v, t, tau, positives=positives, label_smoothing=0.3)
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(gradients(found, inputs), gradients(wanted, inputs))


def test_anchors_only_has_the_value_and_half_the_paths() -> None:
    v, t, tau = unit(6, seed=1), unit(6, seed=2), taus(6)
    inputs = [x.requires_grad_() for x in (v, t)]
    found = info_nce(v, t, tau, anchors_only=True)
    torch.testing.assert_close(found, info_nce(v, t, tau))
    v2t = info_nce(v, t.detach(), tau, anchors_only=True)
    t2v = info_nce(v.detach(), t, tau, anchors_only=True)
    wanted = [*gradients(v2t, [v]), *gradients(t2v, [t])]
    torch.testing.assert_close(gradients(found, inputs), wanted)


def test_by_hand() -> None:
    """Pairs at 1, all others at 0: each anchor lies (1 - 1/3) / tau above its mean."""
    eye = torch.eye(3, dtype=torch.float64)
    gap = 2 / 3 / 0.5
    plain = info_nce(eye, eye, 0.5)
    assert torch.allclose(info_nce(eye, eye, 0.5, label_smoothing=0.1), plain + 0.1 * gap)
    module = InfoNCE(label_smoothing=0.1, anchors_only=True)
    assert torch.allclose(module(eye, eye, 0.5), plain + 0.1 * gap)
    assert torch.equal(InfoNCE()(eye, eye, 0.5), plain)


def test_half_precision_is_summed_in_single() -> None:
    v, t = unit(8, seed=1).bfloat16(), unit(8, seed=2).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = info_nce(v, t, 0.1, positives=mask(8), label_smoothing=0.1)
    wanted = info_nce(v.double(), t.double(), 0.1, positives=mask(8), label_smoothing=0.1)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), wanted, rtol=1e-6, atol=0)


@pytest.mark.parametrize("anchors_only", [False, True])
def test_under_compile_without_a_graph_break(anchors_only: bool) -> None:
    def step(v: Tensor, t: Tensor, tau: Tensor) -> Tensor:
        return info_nce(v, t, tau, positives=positives, label_smoothing=0.1,
                        anchors_only=anchors_only)  # fmt: skip

    torch._dynamo.reset()
    positives = mask(6)
    inputs = [x.requires_grad_() for x in (unit(6, seed=1), unit(6, seed=2), taus(6))]
    found = torch.compile(step, fullgraph=True, backend="aot_eager")(*inputs)
    wanted = step(*inputs)
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(gradients(found, inputs), gradients(wanted, inputs))


@pytest.mark.parametrize("smoothing", [-0.1, 1.0, float("nan")])
def test_wrong_smoothing(smoothing: float) -> None:
    message = f"label_smoothing is {smoothing}; it must be at least 0 and below 1, such as 0.1"
    with pytest.raises(InputError, match=message):
        info_nce(unit(3), unit(3), 0.1, label_smoothing=smoothing)
