"""Objectives and modulators that learn or hold a state, in the loop and on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mmts.errors import InputError
from mmts.losses import info_nce, max_margin
from mmts.losses.siglip import SigLIP
from mmts.losses.sogclr import SogCLR
from mmts.modulators.individual import IndividualTau
from mmts.modulators.learnable import LearnableTau
from mmts.modulators.scheduled import ScheduledShift
from mmts.modulators.tempnet import TempNet
from mmts.training.saved import load_state, save_state
from tests import reference
from tests.training.test_loop import SHIFTS, curves, feature_pairs, run


def learned(name: str) -> tuple[Any, Any]:
    """An objective and a modulator with a state."""
    torch.manual_seed(7)
    if name == "siglip":
        return SigLIP(bias=-3.0), LearnableTau(0.1)
    if name == "isogclr":
        bounds = {"tau_min": 0.02, "tau_max": 0.5}
        starts = (torch.full((24,), 0.1), torch.full((32,), 0.1))
        return SogCLR(24, gamma=0.5, rho=1.0, captions=32), IndividualTau(starts, **bounds)
    net = TempNet(8, tau_min=0.02, tau_max=0.3, prototypes=4, learning_rate=0.01)
    return SogCLR(24, rho=1.0, captions=32), net


@pytest.mark.parametrize("name", ["siglip", "isogclr", "tempnet"])
def test_what_learns_learns_with_the_model(tmp_path: Path, name: str) -> None:
    objective, modulator = learned(name)
    before = [{k: v.clone() for k, v in m.state_dict().items()} for m in (objective, modulator)]
    objective.eval()
    trained, _ = run(tmp_path, objective=objective, modulator=modulator, epochs=20)
    assert trained.metrics["val/t2v/R@1"] > 0.5
    for module, old in zip((objective, modulator), before, strict=True):
        same = [k for k, v in module.state_dict().items() if torch.equal(v, old[k])]
        assert same == [], name
    rows = curves(tmp_path)
    low, mean, high = (
        np.array([float(r[f"tau_{x}"]) for r in rows]) for x in ("min", "mean", "max")
    )
    assert (low <= mean + 1e-6).all() and (mean <= high + 1e-6).all() and np.ptp(mean) > 1e-4
    assert (low < high).any() == (name != "siglip")


class Still(torch.nn.Module):
    """A tau of 0.1 whose four weights have a gradient of one each."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.full((2, 2), 5.0))

    def forward(self, *_: Any) -> Tensor:
        value = self.weight.sum()
        return 0.1 + value - value.detach()


def test_what_learns_does_not_decay_and_has_the_same_rate(tmp_path: Path) -> None:
    def objective(v: Tensor, t: Tensor, tau: Tensor, **_: Any) -> Tensor:
        return info_nce(v, t, 0.1) + tau

    still = Still()
    run(tmp_path, objective=objective, modulator=still, epochs=1, weight_decay=10.0)
    # Adam's step is the learning rate where the gradient is constant
    rates = [reference.cosine_rate(step, 3, 0.01, 0, 0) for step in range(3)]
    assert still.weight.flatten().tolist() == pytest.approx([5 - sum(rates)] * 4, abs=1e-5)


def test_tempnet_has_a_rate_of_its_own(tmp_path: Path) -> None:
    net = TempNet(
        8, tau_min=0.02, tau_max=0.3, prototypes=4, learning_rate=1e-3, decay=0.5, epoch_steps=3
    )
    assert [net.rate(step) for step in (0, 2, 3, 8)] == [1e-3, 1e-3, 5e-4, 2.5e-4]
    start = net.vision.transform.bias.clone()
    rates: list[list[float]] = []
    step = torch.optim.AdamW.step

    def noting(optimizer: torch.optim.AdamW) -> None:
        rates.append([group["lr"] for group in optimizer.param_groups])
        step(optimizer)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim.AdamW, "step", noting)
        objective = SogCLR(24, rho=1.0, captions=32)
        run(tmp_path, objective=objective, modulator=net, epochs=3, weight_decay=10.0)
    heads = [reference.cosine_rate(step, 9, 0.01, 0, 0) for step in range(9)]
    assert [found[:-1] for found in rates] == [pytest.approx([rate] * 2) for rate in heads]
    assert [found[-1] for found in rates] == [net.rate(step) for step in range(9)]
    assert 0 < (net.vision.transform.bias - start).abs().max() < 3 * (1e-3 + 5e-4 + 2.5e-4)


def test_prototypes_are_features_of_the_first_batch(tmp_path: Path) -> None:
    """Of the other modality, and set once: the second step does not set them again."""
    net = TempNet(8, tau_min=0.02, tau_max=0.3, prototypes=10, learning_rate=1e-9)
    random = net.vision.prototypes.detach().clone()
    seen: list[tuple[Tensor, Tensor]] = []

    def objective(v: Tensor, t: Tensor, tau: Any, **_: Any) -> Tensor:
        seen.append((v.detach(), t.detach()))
        return info_nce(v, t, tau)

    run(tmp_path, objective=objective, modulator=net, epochs=1)
    assert len(seen) == 3
    torch.testing.assert_close(net.vision.prototypes[:8], seen[0][1], rtol=0, atol=1e-6)
    torch.testing.assert_close(net.text.prototypes[:8], seen[0][0], rtol=0, atol=1e-6)
    torch.testing.assert_close(net.vision.prototypes[8:], random[8:])  # a batch has 8 pairs


def test_the_norm_is_that_of_all_that_learns(tmp_path: Path) -> None:
    def objective(v: Tensor, t: Tensor, tau: Tensor, **_: Any) -> Tensor:
        return 1e-3 * info_nce(v, t, 0.1) + 50 * tau

    run(tmp_path, objective=objective, modulator=Still(), epochs=1, clip_grad_norm=1e-6)
    norms = [float(row["grad_norm"]) for row in curves(tmp_path)]
    assert norms == pytest.approx([100] * 3, rel=1e-3)  # sqrt(4 x 50^2), before clipping


def test_a_pair_of_taus_is_logged_whole(tmp_path: Path) -> None:
    def pair(step: int, batch: Any, vision: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
        return torch.full((len(vision),), 0.1), torch.full((len(vision),), 0.3)

    modulator = torch.nn.Module()
    modulator.forward = pair  # type: ignore[method-assign]
    run(tmp_path, modulator=modulator, epochs=1)
    for row in curves(tmp_path):
        found = [float(row[f"tau_{x}"]) for x in ("min", "mean", "max")]
        assert found == pytest.approx([0.1, 0.2, 0.3])


def test_relevant_pairs_reach_the_objective(tmp_path: Path) -> None:
    pairs = feature_pairs()
    pairs.classes = pairs.cluster_id[:, None]
    seen = []

    def spy(v: Tensor, t: Tensor, tau: Tensor, *, index: Any, positives: Tensor) -> Tensor:
        kind = index[0] > 19  # as `Samples` makes the clusters
        seen.append(torch.equal(positives, kind[:, None] == kind[None]))
        return max_margin(v, t, tau, positives=positives)

    run(tmp_path, objective=spy, pairs=pairs, epochs=2)
    assert seen == [True] * 6


def named(objective: Any, modulator: Any) -> dict[str, Any]:
    return {"objective": objective, "modulator": modulator}


@pytest.mark.parametrize("name", ["siglip", "isogclr", "tempnet", "plain"])
def test_the_state_comes_back(tmp_path: Path, name: str) -> None:
    def fresh() -> tuple[Any, Any]:
        if name == "plain":
            return info_nce, ScheduledShift(SHIFTS, alpha=0.1, period=6)
        return learned(name)

    objective, modulator = fresh()
    run(tmp_path / "run", objective=objective, modulator=modulator, epochs=2)
    save_state(tmp_path, named(objective, modulator))
    again = fresh()
    load_state(tmp_path, named(*again))
    for old, new in zip((objective, modulator), again, strict=True):
        if isinstance(old, torch.nn.Module):
            state = new.state_dict()
            assert state.keys() == old.state_dict().keys()
            assert all(torch.equal(v, state[k]) for k, v in old.state_dict().items())


def test_a_state_of_something_else(tmp_path: Path) -> None:
    objective, modulator = learned("siglip")
    with pytest.raises(InputError, match=r"state\.safetensors is not there; run `dvc repro`"):
        load_state(tmp_path, named(objective, modulator))
    save_state(tmp_path, named(objective, modulator))
    scheduled = ScheduledShift(SHIFTS, alpha=0.1, period=6)
    for others in ((info_nce, modulator), (objective, scheduled), (SogCLR(3), modulator)):
        with pytest.raises(InputError, match=r"state\.safetensors does not fit .*dvc repro"):
            load_state(tmp_path, named(*others))
    (tmp_path / "state.safetensors").write_bytes(b"garbage" * 40)
    with pytest.raises(InputError, match="does not fit"):
        load_state(tmp_path, named(objective, modulator))
