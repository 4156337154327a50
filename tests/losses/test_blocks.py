"""What info_nce and max_margin share: gradients formed block by block, and their properties."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from mmts.errors import InputError
from mmts.losses import InfoNCE, MaxMargin, info_nce, max_margin
from mmts.losses._formed import Wanted, blocks, rows_of_a_block
from tests import reference, straightforward
from tests.losses.test_info_nce import taus, unit

LOSSES = [info_nce, max_margin]
BLOCKS = [None, 1, 3, 100]
Loss = Callable[..., Tensor]
DENSE: dict[Loss, Loss] = {
    info_nce: straightforward.info_nce,
    max_margin: straightforward.max_margin,
}
both = pytest.mark.parametrize("loss", LOSSES, ids=["info_nce", "max_margin"])
any_block = pytest.mark.parametrize("rows", BLOCKS)


def gradients(loss: Tensor, *inputs: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(loss, inputs))


def assert_same(found: list[Tensor], wanted: list[Tensor], tolerance: float = 1e-12) -> None:
    for a, b in zip(found, wanted, strict=True):
        assert a.shape == b.shape and a.dtype == b.dtype
        assert (a - b).abs().max() <= tolerance * b.abs().max(), (a - b).abs().max()


@both
@any_block
@pytest.mark.parametrize("n", [2, 7, 300])
def test_values_and_gradients_are_those_of_the_dense_form(
    loss: Loss, rows: int | None, n: int
) -> None:
    v, t, tau = (x.requires_grad_() for x in (unit(n, seed=1), unit(n, seed=2), taus(n)))
    found, wanted = loss(v, t, tau, block_rows=rows), DENSE[loss](v, t, tau)
    assert found.item() == pytest.approx(wanted.item(), rel=1e-12)
    assert_same(gradients(3 * found, v, t, tau), gradients(3 * wanted, v, t, tau))


@both
@any_block
def test_gradients_by_finite_differences(loss: Loss, rows: int | None) -> None:
    v, t, tau, other = unit(5, seed=1), unit(5, seed=2), taus(5), taus(5, seed=1)
    mask = torch.zeros(5, 5, dtype=torch.bool)
    mask[0, 2] = mask[3, 1] = mask[4, 4] = mask[4, 0] = True
    inputs = [x.requires_grad_() for x in (v, t, tau, other)]
    for positives in (None, mask):

        def run(
            a: Tensor, b: Tensor, c: Tensor, d: Tensor, use: Tensor | None = positives
        ) -> Tensor:
            return loss(a, b, (c, d), positives=use, block_rows=rows)

        # steps of 1e-6 off the unit sphere are well within the tolerance of the check
        assert torch.autograd.gradcheck(run, inputs)


@both
@any_block
def test_other_positives_in_blocks(loss: Loss, rows: int | None) -> None:
    n = 9
    v, t, tau = unit(n, seed=1).requires_grad_(), unit(n, seed=2).requires_grad_(), taus(n)
    mask = torch.rand(n, n, generator=torch.Generator().manual_seed(0)) < 0.4
    found, whole = (loss(v, t, tau, positives=mask, block_rows=r) for r in (rows, n))
    assert found.item() == pytest.approx(whole.item(), rel=1e-12)
    assert_same(gradients(found, v, t), gradients(whole, v, t))
    everything = loss(v, t, tau, positives=torch.ones(n, n) > 0, block_rows=rows)
    assert everything.item() == pytest.approx(0, abs=1e-12)
    assert all(g.abs().max() < 1e-12 for g in gradients(everything, v, t))


@both
@any_block
def test_a_learnable_number_gets_a_gradient(loss: Loss, rows: int | None) -> None:
    v, t = unit(8, seed=1), unit(8, seed=2)
    tau = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    found, wanted = loss(v, t, tau, block_rows=rows), DENSE[loss](v, t, tau.expand(8))
    assert_same(gradients(found, tau), gradients(wanted, tau))


@both
@any_block
def test_a_pair_of_taus_is_v2t_and_t2v(loss: Loss, rows: int | None) -> None:
    v, t, v2t, t2v = unit(6, seed=1), unit(6, seed=2), taus(6), taus(6, seed=1)
    mask = torch.rand(6, 6, generator=torch.Generator().manual_seed(0)) < 0.3
    slow = {info_nce: reference.info_nce, max_margin: reference.max_margin}[loss]
    for positives in (None, mask):
        allowed = None if positives is None else positives.tolist()
        found = loss(v, t, (v2t, t2v), positives=positives, block_rows=rows)
        wanted = slow(v.tolist(), t.tolist(), v2t.tolist(), allowed, t2v.tolist())
        assert found.item() == pytest.approx(wanted, rel=1e-11)
        other = slow(v.tolist(), t.tolist(), t2v.tolist(), allowed, v2t.tolist())
        assert abs(other - wanted) > 1e-3 * wanted


@both
@any_block
def test_only_what_requires_a_gradient_gets_one(loss: Loss, rows: int | None) -> None:
    v, t, tau = unit(5, seed=1), unit(5, seed=2), taus(5)
    value = loss(v, t, tau, block_rows=rows)
    assert not value.requires_grad
    with torch.no_grad():
        assert not loss(v.requires_grad_(), t, tau, block_rows=rows).requires_grad
    loss(v, t, tau, block_rows=rows).backward()
    assert v.grad is not None and v.grad.abs().max() > 0 and t.grad is None
    torch.testing.assert_close(loss(v, t, tau, block_rows=rows).detach(), value)


@both
@any_block
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_summed_in_single(
    loss: Loss, rows: int | None, dtype: torch.dtype
) -> None:
    v, t, tau = unit(40, seed=1).to(dtype), unit(40, seed=2).to(dtype), taus(40).float()
    half, whole = [v.requires_grad_(), t.requires_grad_()], [v.float(), t.float()]
    found, wanted = loss(*half, tau, block_rows=rows), loss(*whole, tau, block_rows=rows)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(wanted.item(), rel=1e-6)
    for a, b in zip(gradients(found, *half), gradients(wanted, *whole), strict=True):
        assert a.dtype == dtype and torch.equal(a, b.to(dtype))


@both
@any_block
def test_autocast_changes_nothing(loss: Loss, rows: int | None) -> None:
    v, t = unit(8, dtype=torch.float32).requires_grad_(), unit(8, seed=1, dtype=torch.float32)
    plain = loss(v, t, 0.1, block_rows=rows)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = loss(v, t, 0.1, block_rows=rows)
    assert cast.dtype == torch.float32 and torch.equal(cast, plain)
    assert_same(gradients(cast, v), gradients(plain, v))


@both
@any_block
def test_low_temperature_in_single_precision(loss: Loss, rows: int | None) -> None:
    v, t = unit(64, dtype=torch.float32), unit(64, seed=1, dtype=torch.float32)
    v[1], t[2], v[3] = v[0], t[0], -t[3]  # duplicates, and a pair as wrong as can be
    inputs = [v.requires_grad_(), t.requires_grad_()]
    found = loss(*inputs, 0.01, block_rows=rows)
    wide = [x.detach().double().requires_grad_() for x in inputs]
    wanted = loss(*wide, 0.01, block_rows=rows)
    assert found.item() == pytest.approx(wanted.item(), rel=1e-5)
    for a, b in zip(gradients(found, *inputs), gradients(wanted, *wide), strict=True):
        assert torch.isfinite(a).all()
        assert (a - b).abs().max() < 1e-4 * b.abs().max()


@pytest.mark.parametrize("noise", [1.2, 0.9])
def test_well_fitted_pairs_in_single_precision(noise: float) -> None:
    """Where all shares are near 1, gradients are differences that rounding must not fill."""
    first, other = unit(300, 64, seed=1), unit(300, 64, seed=2)
    second = F.normalize(first + noise * other, dim=1)
    single = [x.float().requires_grad_() for x in (first, second, torch.full((300,), 0.01))]
    wide = [x.detach().double().requires_grad_() for x in single]
    wanted = gradients(straightforward.info_nce(*wide), *wide)
    for rows in (None, 77):
        for a, b in zip(
            gradients(info_nce(*single, block_rows=rows), *single), wanted, strict=True
        ):
            assert (a - b).norm() < 1e-4 * b.norm()


@both
def test_a_gradient_of_the_gradient_is_refused(loss: Loss) -> None:
    v, t = unit(5, seed=1).requires_grad_(), unit(5, seed=2)
    value = loss(v, t, 0.1, block_rows=2)
    with pytest.raises(RuntimeError, match="drop create_graph=True"):
        torch.autograd.grad(value, v, create_graph=True)


def test_without_gradients_none_is_wanted() -> None:
    v, tau = unit(5, seed=1), taus(5)
    assert Wanted.by(v, v, tau, tau) == (False, False)
    assert Wanted.by(v, v.clone().requires_grad_(), tau, tau) == (True, False)
    tau.requires_grad_()
    assert Wanted.by(v, v, tau.detach(), tau) == (False, True)
    with torch.no_grad():
        assert Wanted.by(v, v, tau, tau) == (False, False)


@both
@any_block
def test_one_pair_and_equal_rows_are_finite(loss: Loss, rows: int | None) -> None:
    for n in (1, 4):
        v = unit(1).repeat(n, 1).requires_grad_()
        tau = torch.full((n,), 0.03, dtype=torch.float64, requires_grad=True)
        value = loss(v, v, tau, block_rows=rows)
        for gradient in gradients(value, v, tau):
            assert torch.isfinite(gradient).all() and gradient.shape[0] == n
            if n == 1:
                assert gradient.abs().max() < 1e-10


@settings(max_examples=30, deadline=None)
@given(st.permutations(range(7)), st.integers(0, 1000), st.sampled_from(BLOCKS))
def test_properties(order: list[int], seed: int, rows: int | None) -> None:
    v, t, tau = unit(7, seed=seed), unit(7, seed=seed + 1), taus(7, seed)
    for loss in LOSSES:
        whole = loss(v, t, tau, block_rows=rows)
        torch.testing.assert_close(loss(v[order], t[order], tau[order], block_rows=rows), whole)
        torch.testing.assert_close(loss(t, v, tau, block_rows=rows), whole)
        same = torch.full_like(tau, 0.07)
        number = loss(v, t, 0.07, block_rows=rows)
        torch.testing.assert_close(loss(v, t, same, block_rows=rows), number)


@settings(max_examples=30, deadline=None)
@given(st.floats(0.992, 1.008), st.integers(0, 1000), st.sampled_from(BLOCKS))
def test_scaling_tau_and_similarities_together(c: float, seed: int, rows: int | None) -> None:
    # rows of norm c are still taken for unit rows
    v, t, tau = unit(7, seed=seed), unit(7, seed=seed + 1), taus(7, seed)
    same = info_nce(c * v, t, c * tau, block_rows=rows)
    torch.testing.assert_close(same, info_nce(v, t, tau, block_rows=rows))
    scaled = max_margin(c * v, t, c * tau, block_rows=rows)
    torch.testing.assert_close(scaled, c * max_margin(v, t, tau, block_rows=rows))


@both
def test_no_matrix_of_the_batch_squared_is_made(loss: Loss) -> None:
    n, rows, largest = 600, 50, 0

    class Sizes(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            nonlocal largest
            out = func(*args, **(kwargs or {}))
            for x in out if isinstance(out, (tuple, list)) else [out]:
                if isinstance(x, Tensor):
                    largest = max(largest, x.numel())
            return out

    v, t, tau = (x.requires_grad_() for x in (unit(n, seed=1), unit(n, seed=2), taus(n)))
    with Sizes():
        loss(v, t, tau, block_rows=rows).backward()
    assert n * rows <= largest < n * n / 10


def test_blocks_cover_all_rows() -> None:
    assert list(blocks(7, 3)) == [(0, 3), (3, 6), (6, 7)]
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    assert rows_of_a_block(None, 100, 100, cpu) == 100
    assert rows_of_a_block(None, 4096, 4096, cpu) == 256
    assert rows_of_a_block(None, 65536, 65536, cuda) == 1024
    assert rows_of_a_block(5, 3, 3, cpu) == 3
    with pytest.raises(InputError, match="block_rows is 0; it must be at least 1, or None"):
        info_nce(unit(4), unit(4), 0.1, block_rows=0)


def test_modules_are_the_functions() -> None:
    v, t, tau = unit(6, seed=1), unit(6, seed=2), taus(6)
    mask = torch.rand(6, 6, generator=torch.Generator().manual_seed(0)) < 0.3
    for module, loss in ((InfoNCE(block_rows=2), info_nce), (MaxMargin(block_rows=2), max_margin)):
        found = module(v, t, tau, index=torch.arange(6), positives=mask)
        torch.testing.assert_close(found, loss(v, t, tau, positives=mask))
        assert not module.state_dict()


@both
def test_wrong_pairs_of_tau(loss: Loss) -> None:
    v, t = unit(4, seed=1), unit(4, seed=2)
    with pytest.raises(InputError, match=r"\(t2v\)\[1\] is -1"):
        loss(v, t, (0.1, torch.tensor([0.1, -1, 0.1, 0.1])))
    with pytest.raises(InputError, match="is a tuple of 3; it must be a pair"):
        loss(v, t, (0.1, 0.1, 0.1))
    with pytest.raises(InputError, match="is a list; it must be a number, a tensor of 4, or a"):
        loss(v, t, [0.1, 0.1, 0.1, 0.1])
    with pytest.raises(InputError, match=r"vision is torch\.float64 and text torch\.float32"):
        loss(v, t.float(), 0.1)
    with pytest.raises(InputError, match="of one floating type"):
        loss(torch.eye(4).long(), torch.eye(4).long(), 0.1)


@both
@pytest.mark.parametrize("n", [8, 300])
def test_under_compile_without_a_graph_break(loss: Loss, n: int) -> None:
    def step(v: Tensor, t: Tensor, tau: Tensor) -> Tensor:
        return 2 * loss(F.normalize(v, dim=1), t, tau)

    torch._dynamo.reset()
    compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
    v, t, tau = (x.requires_grad_() for x in (unit(n, seed=1), unit(n, seed=2), taus(n)))
    found, wanted = compiled(v, t, tau), step(v, t, tau)
    torch.testing.assert_close(found, wanted)
    assert_same(gradients(found, v, t, tau), gradients(wanted, v, t, tau))
    one = torch.tensor(0.2, dtype=torch.float64, requires_grad=True)
    assert_same(gradients(compiled(v, t, one), one), gradients(step(v, t, one), one))
    with torch.no_grad():
        torch.testing.assert_close(compiled(v, t, tau), wanted.detach())


@both
def test_a_float_that_changes_makes_no_new_graphs(loss: Loss) -> None:
    graphs = 0

    def counting(graph: torch.fx.GraphModule, _: object) -> torch.fx.GraphModule:
        nonlocal graphs
        graphs += 1
        return graph

    torch._dynamo.reset()
    step = torch.compile(lambda v, t, tau: loss(v, t, tau), fullgraph=True, backend=counting)
    v, t = unit(8, seed=1), unit(8, seed=2)
    for i in range(12):
        tau = 0.1 + i / 100
        torch.testing.assert_close(step(v, t, tau), loss(v, t, tau))
    assert graphs <= 2


@both
def test_what_half_precision_on_a_gpu_runs(loss: Loss, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shapes and types only: the products of half rows into float32 exist on CUDA alone."""
    import sys

    from mmts.losses import _formed
    from mmts.losses.ranks import Ranks

    monkeypatch.setattr(_formed, "summable", lambda rows: rows)
    v, tau = torch.empty(64, 8, dtype=torch.bfloat16, device="meta"), torch.empty(64, device="meta")
    form = sys.modules[loss.__module__]._form
    for rows in (None, 10):
        formed = form(v, v, tau, tau, None, _formed.Wanted(True, True), rows, Ranks(None, 1, 0))
        assert [tuple(x.shape) for x in formed] == [(), (64, 8), (64, 8), (64,), (64,)]
        assert {x.dtype for x in formed} == {torch.float32}
