"""Losses over the batch of all ranks against one process with the whole batch."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from mmts.errors import InputError
from mmts.losses import InfoNCE, info_nce, max_margin
from mmts.losses.clip_loss import ClipLoss
from mmts.losses.cyclip import CyCLIP
from mmts.losses.ranks import Ranks, add_with_gradient, gather_with_gradient
from tests import patience
from tests.ranks import run_ranks

N = 12
LOSSES: dict[str, Callable[..., Tensor]] = {
    "info_nce": info_nce,
    "max_margin": max_margin,
    "smoothed": partial(info_nce, label_smoothing=0.1),
    "anchors_only": partial(info_nce, label_smoothing=0.1, anchors_only=True),
}


class Model(nn.Module):
    """Two linear towers and a learnable factor of tau, in double precision."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.vision, self.text = nn.Linear(7, 5).double(), nn.Linear(6, 5).double()
        self.log_factor = nn.Parameter(torch.zeros((), dtype=torch.float64))

    def forward(self, x: Tensor, y: Tensor, tau: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        v, t = F.normalize(self.vision(x), dim=1), F.normalize(self.text(y), dim=1)
        return v, t, tau * self.log_factor.exp()


def batch() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    make = torch.Generator().manual_seed(1)
    x = torch.randn(N, 7, generator=make, dtype=torch.float64)
    y = torch.randn(N, 6, generator=make, dtype=torch.float64)
    tau = 0.05 + 0.3 * torch.rand(N, generator=make, dtype=torch.float64)
    return x, y, tau, torch.rand(N, N, generator=make) < 0.15


def alone(run: Callable[[Model], Tensor]) -> tuple[float, list[Tensor]]:
    """Loss and gradients in a single process."""
    model = Model()
    loss = run(model)
    loss.backward()
    return loss.item(), [p.grad for p in model.parameters() if p.grad is not None]


def error(found: nn.Module, wanted: list[Tensor]) -> float:
    """Largest difference of a parameter's gradient, relative to its largest entry."""
    pairs = zip(found.parameters(), wanted, strict=True)
    return max(((p.grad - w).abs().max() / w.abs().max()).item() for p, w in pairs)  # type: ignore[operator]


def rank_main(rank: int, ranks: int, folder: str) -> None:
    """What each rank runs: its checks of those below, whose reports go to files."""
    torch.set_num_threads(1)
    address = f"file://{folder}/meet"
    wait = timedelta(seconds=patience.seconds(60))
    dist.init_process_group("gloo", init_method=address, rank=rank, world_size=ranks, timeout=wait)
    for check in CHECKS[ranks]:
        report = "\n".join(check(rank, ranks)) or "fine"
        (Path(folder) / f"{check.__name__}-{rank}.txt").write_text(report, encoding="utf-8")
    dist.destroy_process_group()


def same_gradients(rank: int, ranks: int) -> list[str]:
    x, y, tau, mask = batch()
    n = N // ranks
    mine = slice(rank * n, rank * n + n)
    wrong = []
    for name, loss in LOSSES.items():
        for positives in (None, mask):
            for rows in (None, 2):
                value, wanted = alone(lambda m: loss(*m(x, y, tau), positives=positives))  # noqa: B023
                model = DistributedDataParallel(Model())
                own = None if positives is None else positives[mine]
                found = loss(
                    *model(x[mine], y[mine], tau[mine]), positives=own,
                    group=dist.group.WORLD, block_rows=rows,
                )  # fmt: skip
                found.backward()
                off = max(abs(found.item() - value) / value, error(model, wanted))
                if not off < 1e-6 or len(wanted) != 5:
                    wrong.append(f"{name} {positives is not None} {rows}: off by {off}")
    return wrong


def compiled(rank: int, ranks: int) -> list[str]:
    """The losses leave torch.compile's graph for the ranks to communicate."""
    x, y, tau, _ = batch()
    n = N // ranks
    mine = slice(rank * n, rank * n + n)
    wrong = []
    for name, loss in LOSSES.items():
        value, wanted = alone(lambda m: loss(*m(x, y, tau)))  # noqa: B023
        model = DistributedDataParallel(Model())
        step = torch.compile(lambda *args: loss(*model(*args), group=dist.group.WORLD),  # noqa: B023
                             backend="aot_eager")  # fmt: skip
        found = step(x[mine], y[mine], tau[mine])
        found.backward()
        off = max(abs(found.item() - value) / value, error(model, wanted))
        if not off < 1e-6:
            wrong.append(f"{name}: off by {off}")
    return wrong


def gathered(rank: int, ranks: int) -> list[str]:
    x, y, tau, _ = batch()
    n = N // ranks
    mine = slice(rank * n, rank * n + n)
    objective = CyCLIP()
    value, wanted = alone(lambda m: objective(*m(x, y, tau)))
    model = DistributedDataParallel(Model())
    outputs = model(x[mine], y[mine], tau[mine])
    found = objective(*(gather_with_gradient(o, dist.group.WORLD) for o in outputs))
    found.backward()
    off = max(abs(found.item() - value) / value, error(model, wanted))
    return [] if off < 1e-6 else [f"off by {off}"]


def adapter_and_module(rank: int, ranks: int) -> list[str]:
    x, y, tau, _ = batch()
    n = N // ranks
    mine = slice(rank * n, rank * n + n)
    v, t, _ = Model()(x, y, tau)
    clip = ClipLoss(rank=rank, world_size=ranks, local_loss=True, gather_with_grad=True)
    clip.tau = tau[mine]
    module = InfoNCE(group=dist.group.WORLD)
    values = [clip(v[mine], t[mine], 100.0), module(v[mine], t[mine], tau[mine])]
    wanted = info_nce(v, t, tau).item()
    wrong = [f"{x.item()} is not {wanted}" for x in values if abs(x.item() - wanted) > 1e-12]
    for arguments in ({"rank": 1 - rank, "world_size": ranks}, {"world_size": 7}):
        try:
            ClipLoss(**arguments)
            wrong.append(f"no error for {arguments}")
        except InputError as problem:
            if "the default process group says" not in str(problem):
                wrong.append(str(problem))
    return wrong


def refusals(rank: int, ranks: int) -> list[str]:
    """Uneven ranks, a mask of the wrong shape, and a group that leaves this rank out."""
    x, y, tau, mask = batch()
    with torch.no_grad():
        v, t, _ = Model()(x, y, tau)
    first, world = dist.new_group([0]), dist.group.WORLD
    n = 4 + rank
    told = {}

    def attempt(key: str, **arguments: object) -> None:
        rows, of_rows = arguments.pop("rows", 4), arguments.pop("tau", 0.1)
        try:
            info_nce(v[:rows], t[:rows], of_rows, **arguments)  # type: ignore[arg-type,misc]
        except InputError as problem:
            told[key] = str(problem)

    attempt("uneven", rows=n, group=world)
    attempt("wants", tau=(tau[:4].requires_grad_() if rank else tau[:4]), group=world)
    try:
        gather_with_gradient(torch.tensor(1.0), world)
    except InputError as problem:
        told["number"] = str(problem)
    attempt("mask", positives=mask[:4, :4], group=world)
    if rank == 1:
        attempt("outsider", group=first)
    wanted = {
        "uneven": f"rank {rank} brings torch.float64 rows of shape ({n}, 5), rank {1 - rank}",
        "mask": "it must be bool (4, 8)",
        "wants": f"rank {rank} and rank {1 - rank} want gradients of different inputs",
        "number": "rows is a single number",
    } | ({"outsider": "not a member of `group`"} if rank == 1 else {})
    return [f"{k}: {told.get(k)}" for k, part in wanted.items() if part not in told.get(k, "")]


CHECKS: dict[int, tuple[Callable[[int, int], list[str]], ...]] = {
    2: (same_gradients, compiled, adapter_and_module, refusals),
    3: (same_gradients, gathered),
}


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the reports: so many processes are started once for all their checks."""
    folder = tmp_path_factory.mktemp("reports")
    for ranks in CHECKS:
        (folder / str(ranks)).mkdir()
        run_ranks(rank_main, (ranks, str(folder / str(ranks))), ranks)
    return folder


@pytest.mark.parametrize(
    ("ranks", "check"), [(ranks, c.__name__) for ranks, checks in CHECKS.items() for c in checks]
)
def test_ranks(reports: Path, ranks: int, check: str) -> None:
    found = [(reports / f"{ranks}/{check}-{rank}.txt").read_text() for rank in range(ranks)]
    assert found == ["fine"] * ranks


def test_without_a_group_there_is_one_rank() -> None:
    rows = torch.eye(3)
    ranks = Ranks.of(None, rows)
    assert ranks == (None, 1, 0) and gather_with_gradient(rows, None) is rows
    assert add_with_gradient(rows, None) is rows
    for method in (ranks.gather, ranks.add, ranks.largest, ranks.own):
        assert method(rows) is rows
