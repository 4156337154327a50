import math

import pytest
import torch

from mmts.errors import InputError
from mmts.losses.arctanh import arctanh_info_nce
from tests import reference
from tests.losses.test_info_nce import taus, unit

Matrix = list[list[float]]


def by_loop(
    vision: Matrix, text: Matrix, v2t: list[float], t2v: list[float], positives: list[list[bool]]
) -> float:
    """Eq. 10-12 with log((1 + s) / (1 - s)) for s."""
    s = reference.similarities(vision, text)
    n = len(s)
    losses = []
    for i in range(n):
        for way, tau in ((0, v2t[i]), (1, t2v[i])):
            total = 0.0
            for j in range(n):
                a, b = (i, j) if way == 0 else (j, i)
                if a != b and positives[a][b]:
                    continue
                total += ((1 + s[a][b]) / (1 - s[a][b])) ** (1 / tau)
            losses.append(math.log(total) - math.log((1 + s[i][i]) / (1 - s[i][i])) / tau)
    return sum(losses) / len(losses)


def test_by_hand() -> None:
    # at 60 degrees s = 0.5 and (1 + s) / (1 - s) = 3; at 90 degrees it is 1
    v = torch.eye(2, dtype=torch.float64)
    half, high = 0.5, math.sqrt(3) / 2
    t = torch.tensor([[half, high], [-high, half]], dtype=torch.float64)
    other = [(1 + high) / (1 - high), (1 - high) / (1 + high)]
    wanted = sum(math.log(1 + x / 3) for x in other) / 2
    assert arctanh_info_nce(v, t).item() == pytest.approx(wanted)


@pytest.mark.parametrize("n", [1, 2, 7])
def test_is_the_double_loop(n: int) -> None:
    v, t, v2t, t2v = unit(n, seed=1), unit(n, seed=2), 0.2 + taus(n), 0.2 + taus(n, seed=1)
    mask = torch.rand(n, n, generator=torch.Generator().manual_seed(n)) < 0.3
    wanted = by_loop(v.tolist(), t.tolist(), v2t.tolist(), t2v.tolist(), mask.tolist())
    found = arctanh_info_nce(v, t, (v2t, t2v), positives=mask)
    assert found.item() == pytest.approx(wanted, rel=1e-11, abs=1e-12)
    nothing, ones = torch.zeros(n, n, dtype=torch.bool).tolist(), [1.0] * n
    wanted = by_loop(v.tolist(), t.tolist(), ones, ones, nothing)
    assert arctanh_info_nce(v, t).item() == pytest.approx(wanted, rel=1e-11, abs=1e-12)


def test_gradients() -> None:
    inputs = [unit(4, seed=1), unit(4, seed=2), 0.3 + taus(4), 0.3 + taus(4, seed=1)]
    inputs = [x.requires_grad_() for x in inputs]
    mask = torch.zeros(4, 4, dtype=torch.bool)
    mask[0, 2] = mask[3, 1] = True
    for positives in (None, mask):
        assert torch.autograd.gradcheck(
            lambda v, t, a, b, use=positives: arctanh_info_nce(v, t, (a, b), positives=use), inputs
        )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_equal_and_opposite_rows_are_finite(dtype: torch.dtype) -> None:
    v = torch.cat([unit(1), -unit(1)]).to(dtype).requires_grad_()
    for t in (v, v.flip(0)):
        loss = arctanh_info_nce(v, t)
        (gradient,) = torch.autograd.grad(loss, v)
        assert torch.isfinite(loss) and torch.isfinite(gradient).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda v, t: arctanh_info_nce(v, t[:3]), r"both must be \[N, D\]"),
        (lambda v, t: arctanh_info_nce(2 * v, t), "vision row 0 has norm 2"),
        (lambda v, t: arctanh_info_nce(v, t, 0), "tau is 0; it must be finite and > 0"),
        (lambda v, t: arctanh_info_nce(v, t, positives=v > 0), "positives is torch.bool of shape"),
    ],
)
def test_wrong_input(make: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make(unit(4, seed=1), unit(4, seed=2))  # type: ignore[operator]
