import math

import pytest
import torch

from mmts.errors import InputError
from mmts.losses.siglip import SigLIP
from tests import reference
from tests.losses.test_info_nce import taus, unit

Matrix = list[list[float]]


def by_loop(
    vision: Matrix,
    text: Matrix,
    v2t: list[float],
    t2v: list[float],
    bias: float,
    positives: list[list[bool]],
) -> float:
    """Every pair once with the tau of its row, once with that of its column, each counted half."""
    s = reference.similarities(vision, text)
    total = 0.0
    for i in range(len(s)):
        for j in range(len(s)):
            if i != j and positives[i][j]:
                continue
            for tau in (v2t[i], t2v[j]):
                z = 1 if i == j else -1
                total -= math.log(1 / (1 + math.exp(-z * (s[i][j] / tau + bias)))) / 2
    return total / len(s)


def test_by_hand() -> None:
    eye = torch.eye(2, dtype=torch.float64)
    # the pairs have the logit 1, the others 0: -log sigmoid(1) and -log sigmoid(-0), twice each
    wanted = math.log(1 + math.exp(-1)) + math.log(2)
    assert SigLIP(bias=0)(eye, eye, 1.0).item() == pytest.approx(wanted)
    # a bias of -3 and tau 0.5: logits -1 and -3
    wanted = math.log(1 + math.exp(1)) + math.log(1 + math.exp(-3))
    assert SigLIP(bias=-3)(eye, eye, 0.5).item() == pytest.approx(wanted)


@pytest.mark.parametrize("n", [1, 2, 7])
def test_is_the_double_loop(n: int) -> None:
    v, t, v2t, t2v = unit(n, seed=1), unit(n, seed=2), 5 * taus(n), 5 * taus(n, seed=1)
    mask = torch.rand(n, n, generator=torch.Generator().manual_seed(n)) < 0.3
    nothing = torch.zeros_like(mask)
    for positives in (mask, nothing):
        wanted = by_loop(v.tolist(), t.tolist(), v2t.tolist(), t2v.tolist(), -2, positives.tolist())
        found = SigLIP(bias=-2)(v, t, (v2t, t2v), positives=positives)
        assert found.item() == pytest.approx(wanted, rel=1e-12)
    assert SigLIP()(v, t, v2t).item() == SigLIP()(v, t, v2t, positives=nothing).item()


def test_one_temperature_is_the_papers_loss() -> None:
    v, t = unit(5, seed=1), unit(5, seed=2)
    s = reference.similarities(v.tolist(), t.tolist())
    wanted = 0.0
    for i in range(5):
        for j in range(5):
            z = 1 if i == j else -1
            wanted += math.log(1 + math.exp(-z * (10 * s[i][j] - 10))) / 5
    assert SigLIP()(v, t, 0.1).item() == pytest.approx(wanted, rel=1e-12)


def test_swapping_vision_and_text_swaps_the_temperatures() -> None:
    v, t, v2t, t2v = unit(5, seed=1), unit(5, seed=2), taus(5), taus(5, seed=1)
    loss = SigLIP()
    torch.testing.assert_close(loss(v, t, (v2t, t2v)), loss(t, v, (t2v, v2t)))
    assert not torch.isclose(loss(v, t, (v2t, t2v)), loss(v, t, (t2v, v2t)))


def test_gradients() -> None:
    loss = SigLIP(bias=-1).double()
    mask = torch.zeros(4, 4, dtype=torch.bool)
    mask[0, 2] = True
    inputs = [unit(4, seed=1), unit(4, seed=2), 3 * taus(4), 3 * taus(4, seed=1)]
    inputs = [x.requires_grad_() for x in inputs]

    def run(v, t, v2t, t2v, bias, positives=None):  # type: ignore[no-untyped-def]
        given = {"positives": positives}
        return torch.func.functional_call(loss, {"bias": bias}, (v, t, (v2t, t2v)), given)

    assert torch.autograd.gradcheck(run, (*inputs, loss.bias))
    assert torch.autograd.gradcheck(lambda *x: run(*x, positives=mask), (*inputs, loss.bias))


def test_the_bias_is_learned_and_saved() -> None:
    loss = SigLIP()
    assert [name for name, _ in loss.named_parameters()] == ["bias"] == list(loss.state_dict())
    assert loss.bias.item() == -10
    loss(unit(4, seed=1), unit(4, seed=2), 0.1).backward()
    assert loss.bias.grad is not None and loss.bias.grad < 0  # the pairs pull it up


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda v, t: SigLIP(math.nan), "bias is nan; it must be finite"),
        (lambda v, t: SigLIP()(v, t[:3], 0.1), r"both must be \[N, D\]"),
        (lambda v, t: SigLIP()(v, 2 * t, 0.1), "text row 0 has norm 2"),
        (lambda v, t: SigLIP()(v, t, 0), "tau is 0; it must be finite and > 0"),
        (lambda v, t: SigLIP()(v, t, (0.1, torch.tensor([1.0, 1, -1, 1]))), r"\[2\] is -1"),
        (lambda v, t: SigLIP()(v, t, 1, positives=torch.ones(4, 3) > 0), r"of shape \(4, 3\)"),
    ],
)
def test_wrong_input(make: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make(unit(4, seed=1), unit(4, seed=2))  # type: ignore[operator]
