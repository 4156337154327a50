import math

import pytest
import torch
from torch import Tensor

from mmts.errors import InputError
from mmts.losses.sogclr import SogCLR
from mmts.modulators.tempnet import TempNet
from mmts.training.batch import Batch
from tests.losses.test_info_nce import unit
from tests.modulators.test_scheduled import batch

BOUNDS = {"tau_min": 0.01, "tau_max": 0.1}


def make(dim: int = 5, prototypes: int = 7, dropout: float = 0.0) -> TempNet:
    torch.manual_seed(0)
    return TempNet(dim, prototypes=prototypes, dropout=dropout, **BOUNDS)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def by_loop(state: dict[str, Tensor], side: str, row: list[float]) -> float:
    """tau of one row of features, written out."""
    weight, bias, prototypes, log_phi, a, b = (
        state[f"{side}.{name}"].double().tolist()
        for name in ("transform.weight", "transform.bias", "prototypes", "log_phi", "a", "b")
    )
    hidden = [
        sigmoid(sum(w * x for w, x in zip(line, row, strict=True)) + c)
        for line, c in zip(weight, bias, strict=True)
    ]
    products = []
    for prototype in prototypes:
        norm = math.sqrt(sum(x * x for x in prototype))
        products.append(sum(h * x / norm for h, x in zip(hidden, prototype, strict=True)))
    phi, top = math.exp(log_phi), max(products)
    powers = [math.exp((p - top) / phi) for p in products]
    z = b
    for m, p in enumerate(products):
        z += a[m] * (powers[m] / sum(powers) - 1 / len(products)) * sigmoid(p)
    return (0.1 - 0.01) * sigmoid(z) + 0.01


def call(net: TempNet, vision: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
    nothing: Batch = batch(*[0] * len(vision))
    found = net(0, nothing, vision, text)
    assert isinstance(found, tuple) and all(tau.dtype == torch.float32 for tau in found)
    return found


@pytest.mark.parametrize("learned", [False, True])
def test_is_the_formula_written_out(learned: bool) -> None:
    net = make()
    if learned:  # away from a = 1, b = 0, phi = 0.01
        with torch.no_grad():
            for side in (net.vision, net.text):
                side.a.normal_()
                side.b.fill_(-0.3)
                side.log_phi.fill_(math.log(0.2))
    v, t = unit(4, seed=1), unit(4, seed=2)
    for side, rows, found in zip(("vision", "text"), (v, t), call(net, v, t), strict=True):
        wanted = [by_loop(net.state_dict(), side, row) for row in rows.tolist()]
        assert found.tolist() == pytest.approx(wanted, rel=1e-5)
        assert all(0.01 < tau < 0.1 for tau in wanted) and len(set(wanted)) == 4


def test_starts_as_in_the_paper() -> None:
    side = make().vision
    assert side.log_phi.item() == pytest.approx(math.log(0.01))
    assert side.a.tolist() == [1.0] * 7 and side.b.item() == 0
    assert side.prototypes.shape == (7, 5) and side.transform.weight.shape == (5, 5)
    assert TempNet(3, **BOUNDS).vision.prototypes.shape == (256, 3)


@pytest.mark.parametrize("rows", [4, 7, 9])
def test_prototypes_start_as_features_of_the_other_modality(rows: int) -> None:
    net, v, t = make(), unit(rows, seed=1), unit(rows, seed=2)
    random = {side: getattr(net, side).prototypes.detach().clone() for side in ("vision", "text")}
    net.eval()
    call(net, v, t)
    net.train()
    with torch.no_grad():
        call(net, v, t)
    assert torch.equal(net.vision.prototypes, random["vision"])  # looked at, not trained
    for seed in (1, 5):  # the second batch does not set them again
        call(net, unit(rows, seed=seed), unit(rows, seed=seed + 1))
    for side, other in (("vision", t), ("text", v)):
        found, count = getattr(net, side).prototypes, min(rows, 7)
        torch.testing.assert_close(found[:count], other[:count].float())
        assert torch.equal(found[count:], random[side][count:])


def test_gradient_stays_in_its_own_parameters() -> None:
    net, v, t = make(), unit(4, seed=1).requires_grad_(), unit(4, seed=2).requires_grad_()
    sum(tau.sum() for tau in call(net, v, t)).backward()  # type: ignore[union-attr]
    assert v.grad is None and t.grad is None
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_dropout_in_training_only() -> None:
    net, v, t = make(dim=32, dropout=0.5), unit(4, 32, seed=1), unit(4, 32, seed=2)
    assert not torch.equal(call(net, v, t)[0], call(net, v, t)[0])
    net.eval()
    assert torch.equal(call(net, v, t)[0], call(net, v, t)[0])


def test_half_precision_features_and_autocast() -> None:
    net, v, t = make(), unit(4, seed=1).bfloat16(), unit(4, seed=2).bfloat16()
    wanted = call(net, v.float(), t.float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = call(net, v, t)
    assert torch.equal(found[0], wanted[0]) and torch.equal(found[1], wanted[1])


def test_with_sogclr_it_learns_the_temperature_of_the_robust_objective() -> None:
    net, v, t, ids = make(), unit(6, seed=1), unit(6, seed=2), torch.arange(6)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.05)
    means = {}
    for rho in (0.0, 50.0):  # rho tau: a large rho wants a low tau
        net.load_state_dict(make().state_dict())
        for _ in range(20):
            tau = call(net, v, t)
            optimizer.zero_grad()
            SogCLR(samples=6, rho=rho)(v, t, tau, index=ids).backward()
            optimizer.step()
        means[rho] = tau[0].mean().item()
    assert means[50.0] < call(make(), v, t)[0].mean().item() < means[0.0]


def test_saved_and_loaded_it_is_the_same() -> None:
    one, v, t = make(), unit(4, seed=1), unit(4, seed=2)
    torch.manual_seed(1)
    two = TempNet(5, prototypes=7, dropout=0.0, **BOUNDS)
    assert not torch.equal(call(one, v, t)[0], call(two, v, t)[0])
    call(one, v, t)
    two.load_state_dict(one.state_dict())
    call(two, t, v)  # what was loaded stays
    assert torch.equal(call(one, v, t)[1], call(two, v, t)[1])


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"tau_min": 0.0}, "tau_min 0.0, tau_max 0.1; 0 < tau_min < tau_max must hold"),
        ({"tau_max": 0.01}, "tau_min 0.01, tau_max 0.01;"),
        ({"dropout": 1.0}, r"dropout is 1.0; it must be in \[0, 1\)"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0; it must be a finite number > 0"),
        ({"decay": 0.0}, r"decay is 0.0; it must be in \(0, 1\]"),
        ({"epoch_steps": 0}, "epoch_steps is 0; it must be a number of steps >= 1"),
        ({"prototypes": 0}, "dim is 5 and prototypes 0; both must be >= 1"),
    ],
)
def test_numbers_are_checked_at_once(numbers: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        TempNet(5, **{**BOUNDS, **numbers})  # type: ignore[arg-type]


def test_features_of_another_width() -> None:
    with pytest.raises(InputError, match=r"text is \(4, 6\); TempNet takes \[N, 5\]"):
        call(make(), unit(4), unit(4, 6))
