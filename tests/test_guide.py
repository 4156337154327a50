"""The code of docs/losses.md runs as it stands."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.functional import normalize

import mmts.losses
import mmts.schedule
import mmts.shift
from mmts.modulators import individual, learnable, scheduled, tempnet

PAGE = (Path(__file__).parent.parent / "docs/losses.md").read_text(encoding="utf-8")
LOOP, *SNIPPETS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def run(code: str, **names: object) -> dict[str, object]:
    exec(compile(code, "docs/losses.md", "exec"), names)
    return names


@pytest.fixture
def one_rank(tmp_path: Path) -> Iterator[None]:
    """A process group of this process alone, as the default group."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def test_the_loop_runs_and_learns() -> None:
    assert len([line for line in LOOP.splitlines() if line]) <= 30
    losses = run(LOOP)["losses"]
    assert isinstance(losses, list) and len(losses) == 100
    assert losses[-1] < 0.2 * losses[0]


def test_the_other_snippets_run(one_rank: None) -> None:
    make = torch.Generator().manual_seed(0)
    v, t = (normalize(torch.randn(4, 8, generator=make), dim=1) for _ in range(2))
    v.requires_grad_()
    names = {
        "v": v, "t": t, "tau": torch.full((4,), 0.1), "step": 3, "total_steps": 50,
        "shift": torch.tensor([0.05, 0.1]), "cluster_id": torch.tensor([0, 1, 1, 0]),
        "images": v.detach(), "captions": t, "sample_ids": torch.tensor([7, 1, 900, 3]),
        "args": SimpleNamespace(rank=0, world_size=1),
        "model_out": {"image_features": v, "text_features": t, "logit_scale": torch.tensor(14.0)},
    }  # fmt: skip
    assert len(SNIPPETS) == 4
    for code in SNIPPETS:
        found = run(code, **names)
        loss = found.get("losses", {"contrastive_loss": found["loss"]})["contrastive_loss"]  # type: ignore[attr-defined]
        assert isinstance(loss, Tensor) and loss.ndim == 0 and torch.isfinite(loss)


def test_the_arguments_that_the_tables_name_exist() -> None:
    homes = (mmts.losses, mmts.schedule, mmts.shift, individual, learnable, scheduled, tempnet)
    calls = re.findall(r"^\|.*?`(\w+)\(([^)`]+)\)`", PAGE, re.MULTILINE)
    calls += re.findall(r"`(LearnableTau|IndividualTau|TempNet)\(([^)`]+)\)`", PAGE)
    assert len(calls) >= 9
    for name, listed in calls:
        call = next(getattr(home, name) for home in homes if hasattr(home, name))
        known = inspect.signature(call).parameters
        for argument in listed.split(", "):
            assert argument.partition("=")[0] in known, (name, argument)
