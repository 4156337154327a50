import math

import pytest
import torch

from mmts.errors import InputError
from mmts.losses import info_nce
from mmts.losses.cyclip import CyCLIP
from tests import reference
from tests.losses.test_info_nce import taus, unit

Matrix = list[list[float]]


def terms(vision: Matrix, text: Matrix) -> tuple[float, float]:
    """The in-modal and the cross-modal sum over all pairs, both divided by N."""
    n = len(vision)
    vv, tt = reference.similarities(vision, vision), reference.similarities(text, text)
    vt = reference.similarities(vision, text)
    inmodal = crossmodal = 0.0
    for j in range(n):
        for k in range(n):
            inmodal += (vv[j][k] - tt[j][k]) ** 2 / n
            crossmodal += (vt[j][k] - vt[k][j]) ** 2 / n
    return inmodal, crossmodal


def test_by_hand() -> None:
    eye = torch.eye(2, dtype=torch.float64)
    plain = info_nce(eye, eye, 1.0).item()
    assert CyCLIP(1, 1)(eye, eye, 1.0).item() == pytest.approx(plain)
    # v are orthogonal, both t are e1: in-modal off-diagonal gap 1 twice, over N
    same = eye[[0, 0]]
    assert CyCLIP(1, 0)(eye, same, 1.0).item() - info_nce(eye, same, 1.0).item() == pytest.approx(1)
    # vt = [[1, 1], [0, 0]]: cross-modal gap 1 twice, over N
    assert CyCLIP(0, 1)(eye, same, 1.0).item() - info_nce(eye, same, 1.0).item() == pytest.approx(1)


@pytest.mark.parametrize("n", [1, 2, 7])
def test_is_the_double_loop(n: int) -> None:
    v, t, tau = unit(n, seed=1), unit(n, seed=2), taus(n)
    mask = torch.rand(n, n, generator=torch.Generator().manual_seed(n)) < 0.3
    inmodal, crossmodal = terms(v.tolist(), t.tolist())
    plain = reference.info_nce(v.tolist(), t.tolist(), tau.tolist(), mask.tolist())
    found = CyCLIP()(v, t, tau, positives=mask)
    wanted = plain + 0.25 * inmodal + 0.25 * crossmodal
    assert found.item() == pytest.approx(wanted, rel=1e-12, abs=1e-12)
    found = CyCLIP(inmodal=0.5, crossmodal=2.0)(v, t, tau, positives=mask)
    wanted = plain + 0.5 * inmodal + 2 * crossmodal
    assert found.item() == pytest.approx(wanted, rel=1e-12, abs=1e-12)


def test_without_both_terms_it_is_info_nce() -> None:
    v, t, tau = unit(6, seed=1), unit(6, seed=2), (taus(6), taus(6, seed=1))
    assert torch.equal(CyCLIP(0, 0)(v, t, tau), info_nce(v, t, tau))


def test_gradients() -> None:
    inputs = [unit(4, seed=1), unit(4, seed=2), taus(4), taus(4, seed=1)]
    inputs = [x.requires_grad_() for x in inputs]
    assert torch.autograd.gradcheck(lambda v, t, a, b: CyCLIP(0.5, 2)(v, t, (a, b)), inputs)


def test_single_precision_near_the_optimum() -> None:
    v = unit(64, d=32, seed=1)
    t = torch.nn.functional.normalize(v + 1e-3 * unit(64, d=32, seed=2), dim=1)
    loss = CyCLIP(1e6, 1e6)  # so that InfoNCE and its rounding do not count
    # the terms are about 1e-5; the sums that D x D products would subtract are about 3
    found, wanted = loss(v.float(), t.float(), 1.0), loss(v, t, 1.0)
    assert wanted < 20 and found.item() == pytest.approx(wanted.item(), rel=2e-3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda v, t: CyCLIP(inmodal=-1), "inmodal is -1; it must be a finite number >= 0"),
        (lambda v, t: CyCLIP(crossmodal=math.inf), "crossmodal is inf"),
        (lambda v, t: CyCLIP()(v, t[:3], 0.1), r"both must be \[N, D\]"),
        (lambda v, t: CyCLIP()(v, t, -0.1), "tau is -0.1"),
    ],
)
def test_wrong_input(make: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make(unit(4, seed=1), unit(4, seed=2))  # type: ignore[operator]
