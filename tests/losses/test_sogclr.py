import math

import pytest
import torch
from torch import Tensor

from mmts.errors import InputError
from mmts.losses.sogclr import SogCLR
from tests import reference
from tests.losses.test_info_nce import taus, unit

Matrix = list[list[float]]
State = dict[tuple[str, int], tuple[float, float]]


def by_loop(
    vision: Matrix,
    text: Matrix,
    tau: dict[str, list[float]],
    index: dict[str, list[int]],
    positives: list[list[bool]],
    state: State,
    gamma: float,
    rho: float,
    floor: float,
) -> tuple[float, Matrix, dict[str, list[float]]]:
    """The value, its gradient by s_ij, and that by tau; moves u and b in `state`."""
    s = reference.similarities(vision, text)
    n = len(s)
    value, by_s = 0.0, [[0.0] * n for _ in range(n)]
    by_tau = {"v2t": [0.0] * n, "t2v": [0.0] * n}
    for way in ("v2t", "t2v"):
        for i in range(n):
            cells = [(i, j) if way == "v2t" else (j, i) for j in range(n) if j != i]
            cells = [(a, b) for a, b in cells if not positives[a][b]]
            if not cells:
                continue
            one = tau[way][i]
            g = sum(math.exp((s[a][b] - s[i][i]) / one) for a, b in cells) / len(cells)
            u, b = state.get((way, index[way][i]), (g, 0.0))
            u = (1 - gamma) * u + gamma * g
            b = max(b, *((s[x][y] - s[i][i]) / one for x, y in cells))
            state[way, index[way][i]] = (u, b)
            u = max(u, floor * math.exp(b))
            value += (one * math.log(u) + rho * one) / (2 * n)
            slope = math.log(u) + rho
            for a, b in cells:
                h = s[a][b] - s[i][i]
                weight = math.exp(h / one) / (len(cells) * u)
                by_s[a][b] += weight / (2 * n)
                by_s[i][i] -= weight / (2 * n)
                slope -= weight * h / one
            by_tau[way][i] = slope / (2 * n)
    return value, by_s, by_tau


def leaves(n: int, seed: int = 0) -> list[Tensor]:
    """vision, text and both temperatures."""
    found = [unit(n, seed=seed + 1), unit(n, seed=seed + 2), taus(n, seed), taus(n, seed + 1)]
    return [x.requires_grad_() for x in found]


def own_loss(v: Tensor, t: Tensor, tau: Tensor) -> Tensor:
    """Mean of tau_i log mean_j exp(h_ij / tau_i) over samples and directions, by autograd."""
    total, s = torch.zeros((), dtype=torch.float64), v @ t.T
    for scores in (s, s.T):
        for i in range(len(s)):
            gaps = torch.stack([scores[i, j] - scores[i, i] for j in range(len(s)) if j != i])
            total = total + tau[i] * (gaps / tau[i]).exp().mean().log()
    return total / (2 * len(s))


def test_by_hand() -> None:
    eye = torch.eye(2, dtype=torch.float64)
    ids = torch.tensor([1, 0])
    loss = SogCLR(samples=2, gamma=0.25, rho=3.0)
    # every h is -1: log u = -1 / tau, so that the value is tau * (-1 / tau) + 3 tau
    assert loss(eye, eye, 0.5, index=ids).item() == pytest.approx(-1 + 1.5)
    assert loss.log_u_v2t.tolist() == [-2, -2] and loss.seen_v2t.tolist() == [True, True]
    # now every h is 1: u = 0.75 exp(-2) + 0.25 exp(2)
    wanted = math.log(0.75 * math.exp(-2) + 0.25 * math.exp(2))
    found = loss(eye, eye.flip(0), 0.5, index=ids)
    assert found.item() == pytest.approx(0.5 * wanted + 1.5)


@pytest.mark.parametrize(
    ("gamma", "rho", "floor"), [(0.9, 0.0, 0.0), (0.3, 6.0, 0.2), (1.0, 0.5, 1e-14)]
)
@pytest.mark.parametrize("some_left_out", [False, True])
def test_value_gradients_and_state_over_four_visits(
    gamma: float, rho: float, floor: float, some_left_out: bool
) -> None:
    loss = SogCLR(samples=9, gamma=gamma, rho=rho, captions=20, floor=floor).double()
    state: State = {}
    for step in range(4):
        generator = torch.Generator().manual_seed(step)
        items = torch.randperm(9, generator=generator)[:6]
        captions = 2 * items + (torch.rand(6, generator=generator) < 0.5)
        index = {"v2t": items.tolist(), "t2v": captions.tolist()}
        mask = torch.rand(6, 6, generator=generator) < (0.5 if some_left_out else 0)
        if some_left_out:
            mask[step] = True  # a v2t anchor without a negative
        v, t, v2t, t2v = leaves(6, seed=step)
        found = loss(v, t, (v2t, t2v), index=(items, captions), positives=mask)
        tau = {"v2t": v2t.tolist(), "t2v": t2v.tolist()}
        value, by_s, by_tau = by_loop(
            v.tolist(), t.tolist(), tau, index, mask.tolist(), state, gamma, rho, floor
        )
        assert found.item() == pytest.approx(value, rel=1e-9)
        by_v, by_t, by_v2t, by_t2v = torch.autograd.grad(found, (v, t, v2t, t2v))
        slopes = torch.tensor(by_s, dtype=torch.float64)
        torch.testing.assert_close(by_v, slopes @ t.detach(), rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(by_t, slopes.T @ v.detach(), rtol=1e-9, atol=1e-12)
        assert by_v2t.tolist() == pytest.approx(by_tau["v2t"], rel=1e-9, abs=1e-12)
        assert by_t2v.tolist() == pytest.approx(by_tau["t2v"], rel=1e-9, abs=1e-12)
        for way in ("v2t", "t2v"):
            seen = sorted(sample for name, sample in state if name == way)
            log_u = loss.get_buffer(f"log_u_{way}")
            assert loss.get_buffer(f"seen_{way}").nonzero().flatten().tolist() == seen
            wanted = [math.log(state[way, sample][0]) for sample in seen]
            assert log_u[seen].tolist() == pytest.approx(wanted, rel=1e-9)
            top = loss.get_buffer(f"top_{way}")[seen].tolist()
            assert top == pytest.approx([state[way, sample][1] for sample in seen])


def test_captions_of_one_picture_have_a_state_each() -> None:
    """With two captions, visited in turn, u of a caption is that of its own visits alone."""
    loss, index = SogCLR(samples=4, gamma=0.5, captions=8), torch.arange(4)
    alone = [SogCLR(samples=4, gamma=0.5) for _ in range(2)]
    for visit in range(6):
        v, t = unit(4, seed=visit), unit(4, seed=visit + 10)
        loss(v, t, 0.2, index=(index, 2 * index + visit % 2))
        alone[visit % 2](v, t, 0.2, index=index)
    torch.testing.assert_close(loss.log_u_t2v[0::2], alone[0].log_u_t2v)
    torch.testing.assert_close(loss.log_u_t2v[1::2], alone[1].log_u_t2v)
    assert not torch.allclose(loss.log_u_v2t, alone[0].log_u_v2t)  # it has had all six


class Released:
    """The rule of the authors' code at one temperature: exponentials kept below exp(0) by b."""

    def __init__(self, items: int, captions: int, gamma: float) -> None:
        self.gamma = gamma
        self.state = {
            "v2t": torch.zeros(2, items).double(),
            "t2v": torch.zeros(2, captions).double(),
        }

    def __call__(
        self, v: Tensor, t: Tensor, tau: float, index: tuple[Tensor, Tensor], first: bool
    ) -> Tensor:
        total, s = torch.zeros((), dtype=torch.float64), v @ t.T
        for (way, ids), scores in zip(
            zip(("v2t", "t2v"), index, strict=True), (s, s.T), strict=True
        ):
            gap = scores - scores.diagonal()[:, None]
            logits, (old, top) = (gap / tau).detach(), self.state[way][:, ids]
            b = torch.maximum(top, logits.amax(1))
            powers = (logits - b[:, None]).exp().fill_diagonal_(0)
            mean = powers.sum(1) / (len(s) - 1)
            if not first:
                mean = (1 - self.gamma) * old * (top - b).exp() + self.gamma * mean
            self.state[way][:, ids] = torch.stack([mean, b])
            weights = powers / mean.clamp(min=1e-14)[:, None] / (len(s) - 1)
            total = total + (weights * gap).sum(1).mean()
        return total


def test_gradients_are_those_of_the_authors_code_at_a_low_temperature() -> None:
    """Most samples sink to the floor; without it the direction of the gradient is another."""
    n, captions, start = 40, 120, torch.Generator().manual_seed(0)
    wide = torch.randn(n, 16, generator=start, dtype=torch.float64)
    rows = torch.nn.functional.normalize(wide, dim=1)
    released = Released(n, captions, gamma=0.8)
    kept, papers = (SogCLR(n, 0.8, captions=captions, floor=f) for f in (1e-14, 0.0))
    cosines, floored = [], []
    for visit in range(12):
        noise = torch.randn(n, 16, generator=start, dtype=torch.float64)
        v = torch.nn.functional.normalize(wide + noise / (1 + visit), dim=1).requires_grad_()
        ids = (torch.arange(n), 3 * torch.arange(n) + visit % 3)
        wanted = released(v, rows, 0.01, ids, first=visit < 3)
        # on its first visit each caption starts anew; pictures too, as their first epoch is this
        if visit < 3:
            for loss in (kept, papers):
                loss.seen_v2t.zero_()
        slopes = [
            torch.autograd.grad(x, v)[0].flatten()
            for x in (wanted, kept(v, rows, 0.01, index=ids), papers(v, rows, 0.01, index=ids))
        ]
        cosines.append([torch.cosine_similarity(slopes[0], s, dim=0).item() for s in slopes[1:]])
        floored.append((released.state["v2t"][0] < 1e-14).double().mean().item())
    mine, without = zip(*cosines, strict=True)
    assert min(mine) > 0.99999 and floored[-1] > 0.5
    assert without[-1] < 0.9


def test_gamma_1_has_the_gradient_of_its_own_loss() -> None:
    v, t, tau, _ = leaves(5)
    loss = SogCLR(samples=5, gamma=1.0)
    loss(unit(5, seed=8), unit(5, seed=9), 0.2, index=torch.arange(5))  # forgotten at once
    found, wanted = loss(v, t, tau, index=torch.arange(5)), own_loss(v, t, tau)
    torch.testing.assert_close(found, wanted)
    for mine, true in zip(
        torch.autograd.grad(found, (v, t, tau)),
        torch.autograd.grad(wanted, (v, t, tau)),
        strict=True,
    ):
        torch.testing.assert_close(mine, true)


def test_gamma_1_and_one_tau_is_info_nce_without_the_pair_in_the_sum() -> None:
    v, t, _, _ = leaves(5)
    s = v @ t.T / 0.2
    rest = s.masked_fill(torch.eye(5, dtype=torch.bool), -torch.inf)
    decoupled = (rest.logsumexp(0) + rest.logsumexp(1) - 2 * s.diagonal()).mean() / 2
    found = SogCLR(samples=5, gamma=1.0)(v, t, 0.2, index=torch.arange(5))
    assert found.item() == pytest.approx(0.2 * (decoupled.item() - math.log(4)))
    for mine, true in zip(
        torch.autograd.grad(found, (v, t)), torch.autograd.grad(decoupled, (v, t)), strict=True
    ):
        torch.testing.assert_close(mine, 0.2 * true)


def test_one_temperature_is_the_same_for_all() -> None:
    v, t, index = unit(6, seed=1), unit(6, seed=2), torch.arange(6)
    each = torch.full((6,), 0.07, dtype=torch.float64)
    assert torch.equal(
        SogCLR(6)(v, t, 0.07, index=index), SogCLR(6)(v, t, (each, 0.07), index=index)
    )


def test_state_moves_in_training_steps_only() -> None:
    loss, index = SogCLR(samples=6, gamma=0.5), torch.arange(6)
    v, t = unit(6, seed=1), unit(6, seed=2)
    loss(v, t, 0.1, index=index)
    before = {name: x.clone() for name, x in loss.state_dict().items()}
    loss.eval()
    looked = loss(t, v, 0.1, index=index)
    loss.train()
    with torch.no_grad():
        assert torch.equal(loss(t, v, 0.1, index=index), looked)
    for name, x in loss.state_dict().items():
        assert torch.equal(x, before[name])
    assert torch.equal(loss(t, v, 0.1, index=index), looked)  # what a visit gives
    assert not torch.equal(loss.log_u_v2t, before["log_u_v2t"])


def test_saved_and_loaded_it_goes_on() -> None:
    one, two = SogCLR(samples=6), SogCLR(samples=6)
    v, t, index = unit(4, seed=1), unit(4, seed=2), torch.tensor([4, 0, 5, 2])
    one(v, t, 0.1, index=index)
    two.load_state_dict(one.state_dict())
    assert torch.equal(one(t, v, 0.1, index=index), two(t, v, 0.1, index=index))
    fresh = SogCLR(samples=6)(t, v, 0.1, index=index)
    assert not torch.isclose(one(t, v, 0.1, index=index), fresh)


def test_one_pair_gives_0_and_leaves_the_state() -> None:
    loss, v = SogCLR(samples=3, rho=1.0), unit(1).requires_grad_()
    tau = torch.full((1,), 0.1, dtype=torch.float64, requires_grad=True)
    found = loss(v, unit(1, seed=1), tau, index=torch.tensor([2]))
    found.backward()
    assert found.item() == 0 and not loss.seen_v2t.any() and not loss.seen_t2v.any()
    assert v.grad is not None and v.grad.abs().max() == 0
    assert tau.grad is not None and tau.grad.item() == 0


def test_low_temperatures_do_not_overflow() -> None:
    # h is up to 2: exp(2 / 0.01) is no float32; u moves from exp(-200) to exp(200) and back
    eye = torch.eye(4, 8)
    pairs = [(eye, eye), (eye, -eye), (eye, eye)]
    loss, ids = SogCLR(samples=4, gamma=0.1, floor=0.0), torch.arange(4)
    values = []
    for v, t in pairs:
        v = v.clone().requires_grad_()
        values.append(loss(v, t, 0.01, index=ids))
        (gradient,) = torch.autograd.grad(values[-1], v)
        assert values[-1].dtype == torch.float32 and torch.isfinite(gradient).all()
    first, second = -1.0, 1 + 0.01 * math.log(0.1)
    third = second + 0.01 * math.log(0.9)
    found = [x.item() for x in values]
    assert found == pytest.approx([first, second, third], abs=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda v, t: SogCLR(0), "samples is 0; "),
        (lambda v, t: SogCLR(4, gamma=0), r"gamma is 0; it must be in \(0, 1\]"),
        (lambda v, t: SogCLR(4, gamma=1.5), r"gamma is 1.5; it must be in \(0, 1\]"),
        (lambda v, t: SogCLR(4, rho=math.nan), "rho is nan; it must be a finite number >= 0"),
        (lambda v, t: SogCLR(4, captions=0), "captions is 0; "),
        (lambda v, t: SogCLR(4, floor=1.0), r"floor is 1.0; it must be in \[0, 1\)"),
        (
            lambda v, t: SogCLR(4, captions=5)(v, t, 0.1, index=torch.arange(4)),
            "index is one tensor, but there is a state for 4 media items and 5 captions: pass a",
        ),
        (
            lambda v, t: SogCLR(4)(v, t, 0.1, index=(torch.arange(4), torch.arange(1, 5))),
            r"index of the captions\[3\] is 4; it must be in 0..3: set `captions` to their number",
        ),
        (lambda v, t: SogCLR(4)(v, t, 0.1), "index is None; .* pass the sample ids of the batch"),
        (lambda v, t: SogCLR(3)(v, t, 0.1, index=torch.arange(4)), r"index\[3\] is 3; .* 0..2"),
        (lambda v, t: SogCLR(4)(v, 2 * t, 0.1, index=torch.arange(4)), "text row 0 has norm 2"),
        (lambda v, t: SogCLR(4)(v, t, 0, index=torch.arange(4)), "tau is 0; it must be finite"),
        (
            lambda v, t: SogCLR(4)(v, t, 1, index=torch.arange(4), positives=torch.ones(4, 4)),
            "positives is torch.float32",
        ),
    ],
)
def test_wrong_input(make: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make(unit(4, seed=1), unit(4, seed=2))  # type: ignore[operator]
