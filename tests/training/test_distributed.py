"""The loop on two ranks, and in micro batches, against one process with the whole batch."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from mmts.errors import InputError
from mmts.kinds.term import TERMS
from mmts.losses import info_nce, max_margin
from mmts.losses.cyclip import CyCLIP
from mmts.losses.siglip import SigLIP
from mmts.losses.sogclr import SogCLR
from mmts.modulators.individual import IndividualTau
from mmts.modulators.learnable import LearnableTau
from mmts.modulators.scheduled import ScheduledShift
from mmts.modulators.tempnet import TempNet
from mmts.settings.training import Train
from mmts.towers.model import Model
from mmts.towers.two_tower import TwoTower
from mmts.training import joining
from mmts.training.distributed import World
from mmts.training.joining import joined, launched
from mmts.training.log import RunLog
from mmts.training.loop import train
from mmts.training.pairs import Pairs
from mmts.training.processes import Elsewhere
from mmts.training.signals import GracefulStop
from mmts.training.tau_and_loss import LossInput
from tests.ranks import run_ranks
from tests.towers.omni import batch, omni
from tests.training.test_loop import FROZEN, SHIFTS, feature_pairs, settings


def treatment(name: str) -> tuple[Any, nn.Module]:
    scheduled = ScheduledShift(SHIFTS, alpha=0.1, period=6)
    if name == "isogclr":
        bounds = {"tau_min": 0.02, "tau_max": 0.5}
        starts = (torch.full((24,), 0.1), torch.full((32,), 0.1))
        return SogCLR(24, gamma=0.5, rho=1.0, captions=32), IndividualTau(starts, **bounds)
    found: dict[str, tuple[Any, nn.Module]] = {
        "info_nce": (info_nce, scheduled),
        "max_margin": (max_margin, scheduled),
        "relevant": (max_margin, scheduled),
        "clip": (info_nce, LearnableTau(0.1)),
        "siglip": (SigLIP(bias=-3.0), LearnableTau(0.1)),
        "cyclip": (CyCLIP(), LearnableTau(0.1)),
        "term": (info_nce, scheduled),
        "omni": (partial(info_nce, label_smoothing=0.1), scheduled),
        "sogclr": (SogCLR(24, gamma=0.5, captions=32), scheduled),
        "tempnet": (
            SogCLR(24, rho=1.0, captions=32),
            TempNet(8, tau_min=0.02, tau_max=0.3, prototypes=16, dropout=0.5, learning_rate=0.01),
        ),
    }
    return found[name]


NAMES = (
    "info_nce", "max_margin", "relevant", "clip", "siglip", "cyclip", "term", "sogclr", "isogclr",
    "tempnet", "omni",
)  # fmt: skip
BY_ROW = ("info_nce", "max_margin", "relevant", "clip", "term", "omni")


class Uniformity(nn.Module):
    """A term of the whole batch, with a weight of its own to learn."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.0))

    def forward(self, seen: LossInput) -> Tensor:
        assert seen.positives is None
        assert len(seen.batch.index) == len(seen.batch.text) == 12
        squared = torch.pdist(seen.encoded.text).square()
        return (-2 * squared).logsumexp(0) * self.scale.square()


class OmniPairs(Pairs):
    """The same pairs with frames, sound, subtitles and captions at random."""

    @classmethod
    def of(cls, pairs: Pairs) -> OmniPairs:
        found = cls.__new__(cls)
        found.__dict__ = pairs.__dict__
        whole, _ = batch(len(pairs))
        found.whole = whole
        found.text = torch.randint(  # type: ignore[assignment]
            1, 50, (len(pairs.captions), 7), generator=torch.Generator().manual_seed(5)
        )
        return found

    def streams(self, items: Any, seeds: Any = None) -> dict[str, Tensor]:
        return {name: of[items] for name, of in self.whole.items()}

    def _pictures(self, items: Any, seeds: Any) -> dict[str, Tensor]:
        return self.streams(items)


def model_of(name: str, chosen: Train) -> Model:
    """Two towers on features, or the omni-modal model."""
    if name == "omni":
        return omni()
    return TwoTower(FROZEN, chosen.head, {"vision": 12, "text": 10})


def terms_of(name: str, model: Model, term: Uniformity) -> dict[str, Any]:
    """The terms beside the objective."""
    if name == "omni":
        matching = TERMS.validated({"kind": "matching"})
        return {"matching": (1.0, matching.build(model))}
    return {"uniform": (0.3, term)} if name == "term" else {}


def pairs_of(name: str) -> Pairs:
    pairs = OmniPairs.of(feature_pairs()) if name == "omni" else feature_pairs()
    if name == "relevant":
        pairs.classes = torch.arange(len(pairs.captions)).unsqueeze(1) % 5
    return pairs


def trained(
    name: str, folder: Path, world: World | None = None, broken: bool = False, **more: Any
) -> dict[str, Any]:
    """Weights, the states beside the model, and the curves of a short training."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(3)
    objective, modulator = treatment(name)
    chosen = settings(epochs=3, batch_size=12, **more)
    model = model_of(name, chosen)
    pairs = pairs_of(name)
    if broken:
        whole, steps = model.encode_text, iter(range(99))
        model.encode_text = lambda tokens: whole(tokens) * (1 if next(steps) < 2 else torch.nan)  # type: ignore[method-assign]
    log = None
    if world is None or world.first:
        log = RunLog(folder)
        log.__enter__()
    term = Uniformity()
    found = train(
        model, objective, modulator, pairs, pairs, chosen, 0, log, 0.1, world,
        by_row=name in BY_ROW, name=name, terms=terms_of(name, model, term),
    )  # fmt: skip
    if name == "term":
        modulator = nn.ModuleList([modulator, term])
    if log is not None:
        log.__exit__(None, None, None)
    state = {f"model.{k}": v.clone() for k, v in found.model.state_dict().items()}
    for kind, part in (("objective", objective), ("modulator", modulator)):
        if isinstance(part, nn.Module):
            state |= {f"{kind}.{k}": v.clone() for k, v in part.state_dict().items()}
    return {"state": state, "metrics": found.metrics}


def rank_main(rank: int, folder: str, ports: list[int]) -> None:
    torch.set_num_threads(1)
    os.environ |= {
        "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(ports[0]),
    }  # fmt: skip
    with joined(torch.device("cpu")) as world:
        assert (world.rank, world.size) == (rank, 2)
        assert world.highest(10 * rank) == 10
        for name in NAMES:
            found = trained(name, Path(folder) / f"two-{name}", world)
            torch.save(found, Path(folder) / f"{name}-{rank}.pt")
        found = trained("info_nce", Path(folder) / "two-parts", world, micro_batch_size=4)
        torch.save(found, Path(folder) / f"parts-{rank}.pt")
        try:
            trained("info_nce", Path(folder) / "odd", world._replace(size=5))
        except InputError as error:
            (Path(folder) / "odd.txt").write_text(str(error))
        try:
            trained("omni", Path(folder) / "nan", world, broken=rank == 1, log_every=4)
        except InputError as error:
            (Path(folder) / f"nan-{rank}.txt").write_text(str(error))
        in_turn(rank, world, Path(folder) / "turn")
    joining.LINGER = 0.0
    # rank 0 is heard at once where it tells; where it does not, rank 1 waits in vain
    for port, who, joining.HEARING in zip(ports[1:], ((0, 1), (1,)), (20.0, 2.0), strict=True):
        told = leaving(rank, port, who)
        assert told == ("InputError" if rank == min(who) else "Elsewhere"), (rank, who, told)


def in_turn(rank: int, world: World, first: Path) -> None:
    """What rank 0 does before the others, and what fails in all where it fails in one."""
    assert world.from_first(lambda: {"made by": rank}) == {"made by": 0}
    with world.first_then_others():
        assert first.exists() == (rank == 1)
        first.touch()
    for failing in (0, 1):
        with pytest.raises((InputError, Elsewhere)) as caught, world.first_then_others():
            assert rank <= failing, "an error of the first leaves nothing to the others"
            if rank == failing:
                raise InputError("odd")
        assert (caught.type is InputError) == (rank == failing)
    with pytest.raises(InputError if rank == 0 else Elsewhere):
        world.from_first(refuse)


def refuse() -> None:
    raise InputError("odd")


def leaving(rank: int, port: int, who: tuple[int, ...]) -> str:
    """How a rank leaves where those in `who` have one problem."""
    os.environ["MASTER_PORT"] = str(port)
    try:
        with joined(torch.device("cpu")) as world:
            if rank in who:
                raise InputError("the same in all")
            world.wait()  # for a rank that does not come
    except BaseException as error:
        return type(error).__name__
    return ""


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import socket

    folder = tmp_path_factory.mktemp("ranks")
    with ExitStack() as stack:
        free = [stack.enter_context(socket.socket()) for _ in range(3)]
        for one in free:
            one.bind(("127.0.0.1", 0))
        ports = [one.getsockname()[1] for one in free]
    run_ranks(rank_main, (str(folder), ports), 2)
    return folder


@pytest.mark.parametrize("name", [*NAMES, "parts"])
def test_two_ranks_train_as_one_process(two_ranks: Path, tmp_path: Path, name: str) -> None:
    alone = trained("info_nce" if name == "parts" else name, tmp_path)
    ranks = [torch.load(two_ranks / f"{name}-{rank}.pt") for rank in (0, 1)]
    for key, value in alone["state"].items():
        if key.endswith(".key.bias"):  # softmax does not see it: AdamW follows rounding errors
            continue
        for found in ranks:
            torch.testing.assert_close(found["state"][key], value, rtol=1e-5, atol=1e-5)
    assert ranks[0]["metrics"] == pytest.approx(alone["metrics"], abs=1e-5)
    assert ranks[1]["metrics"] == {}
    one = pd.read_csv(tmp_path / "curves.csv")
    two = pd.read_csv(two_ranks / f"two-{name}" / "curves.csv")
    np.testing.assert_allclose(two, one, rtol=1e-5, atol=1e-5, equal_nan=True)


def test_features_that_are_no_numbers_on_one_rank_stop_both(two_ranks: Path) -> None:
    told = [(two_ranks / f"nan-{rank}.txt").read_text() for rank in (0, 1)]
    assert told[0] == told[1]
    assert "not finite at step 2 (tau 0.075 to 0.175; samples " in told[0]
    assert "and 7 more" in told[0]


def test_a_batch_that_the_ranks_cannot_share(two_ranks: Path) -> None:
    assert (two_ranks / "odd.txt").read_text() == (
        "train.batch_size 12 is no multiple of the 5 processes; change one of them"
    )


@pytest.mark.parametrize(("rank", "waits"), [("0", 0), ("1", 1)])
def test_before_joining_rank_0_tells(
    monkeypatch: pytest.MonkeyPatch, rank: str, waits: int
) -> None:
    slept: list[float] = []
    monkeypatch.setattr("mmts.training.joining.time.sleep", slept.append)
    monkeypatch.setenv("RANK", rank)
    with pytest.raises(InputError, match="odd"), joining.alike():
        raise InputError("odd")
    assert slept == [joining.HEARING] * waits


@pytest.mark.parametrize(
    ("rank", "error", "before", "tells"),
    [
        (0, InputError("x"), None, True),
        (1, InputError("x"), joining.TOLD, False),
        (1, InputError("x"), joining.SILENT, True),
        (0, Elsewhere(1), None, False),
        (0, RuntimeError("connection closed by peer"), joining.TOLD, False),
        (0, RuntimeError("a mistake"), None, True),
    ],
)  # fmt: skip
def test_one_rank_tells(
    monkeypatch: pytest.MonkeyPatch,
    rank: int,
    error: BaseException,
    before: str | None,
    tells: bool,
) -> None:
    monkeypatch.setattr(joining, "HEARING", 0.1)
    store = dist.HashStore()
    if before is not None:
        store.add(before, 1)
    assert joining.tells(error, rank, store) is tells
    assert store.check([joining.SILENT]) == (
        isinstance(error, Elsewhere) or before == joining.SILENT
    )
    if tells:
        assert not joining.tells(InputError("the same"), 2, store)


@pytest.mark.parametrize("better", [InputError("x"), RuntimeError("CUDA out of memory")])
@pytest.mark.parametrize("rank", [0, 1])
def test_the_rank_that_failed_tells_and_not_the_one_that_it_left(
    monkeypatch: pytest.MonkeyPatch, better: Exception, rank: int
) -> None:
    monkeypatch.setattr(joining, "HEARING", 0.2)
    store, left = dist.HashStore(), RuntimeError("[gloo/transport] connection closed by peer")
    with ThreadPoolExecutor(2) as pool:
        other = pool.submit(joining.tells, left, 1 - rank, store)
        assert pool.submit(joining.tells, better, rank, store).result()
        assert not other.result()


def test_who_does_not_tell_leaves_when_the_launcher_ends_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(joining, "LINGER", 600.0)
    monkeypatch.setattr(GracefulStop, "noted", True)
    joining._linger()
    monkeypatch.setattr(GracefulStop, "noted", False)
    monkeypatch.setattr(joining, "LINGER", 0.1)
    begun = time.monotonic()
    joining._linger()
    assert time.monotonic() - begun >= 0.1


def test_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not launched()
    with joined(torch.device("cpu")) as world:
        assert world == World(0, 1, torch.device("cpu"), None) and world.highest(3) == 3
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "1")
    with joined(torch.device("cpu")) as world:
        assert launched() and world.size == 1


@pytest.mark.parametrize("name", ["info_nce", "max_margin", "siglip", "isogclr"])
@pytest.mark.parametrize("micro", [1, 5])
def test_micro_batches_have_the_gradient_of_the_whole(
    tmp_path: Path, name: str, micro: int
) -> None:
    whole = trained(name, tmp_path / "whole")["state"]
    parts = trained(name, tmp_path / "parts", micro_batch_size=micro)["state"]
    for key, value in whole.items():
        torch.testing.assert_close(parts[key], value, rtol=1e-5, atol=1e-5)
