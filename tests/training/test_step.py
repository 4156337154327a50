"""Micro batches with random numbers and batch norm, precisions, averages of weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mmts.errors import InputError
from mmts.losses import info_nce
from mmts.modulators.scheduled import ScheduledShift
from mmts.towers.model import Encoded, Model, Streams
from mmts.towers.two_tower import TwoTower
from mmts.training.batch import Batch
from mmts.training.distributed import World
from mmts.training.loop import train
from mmts.training.step import Stepper
from mmts.training.tau_and_loss import TauAndLoss
from tests.training.test_loop import (
    FROZEN,
    HEAD,
    SHIFTS,
    TRAINABLE,
    picture_pairs,
    run,
    settings,
)

ALONE = World(0, 1, torch.device("cpu"), None)


class Noisy(Model):
    """Dropout and batch norm on both sides."""

    def __init__(self) -> None:
        super().__init__()
        self.sides = nn.ModuleList(
            nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Dropout(0.4)) for _ in range(2)
        )

    def encode_vision(self, streams: Streams) -> Encoded:
        return Encoded(nn.functional.normalize(self.sides[0](streams["features"]) + 1, dim=-1))

    def encode_text(self, tokens: Tensor) -> Tensor:
        return nn.functional.normalize(self.sides[1](tokens) - 1, dim=-1)


def batch(rows: int = 12) -> Batch:
    make = torch.Generator().manual_seed(1)
    vision, text = (torch.randn(rows, 6, generator=make) for _ in range(2))
    return Batch({"features": vision}, text, torch.arange(rows) % 2, torch.arange(rows),
                 torch.empty(rows, 0, dtype=torch.int64))  # fmt: skip


def take(model: Model, given: Batch, objective: Any = info_nce, **more: Any) -> None:
    """A step that leaves the weights as they are."""
    losses = TauAndLoss(objective, ScheduledShift(SHIFTS, alpha=0.0, period=6), ALONE)
    stepper = Stepper(model, losses, settings(weight_decay=0.0, **more))
    _, terms = losses(0, given, stepper.encode(given))
    assert list(terms) == ["loss"]
    stepper.optimise(terms["loss"], 0, 0.0)


def test_micro_batches_repeat_their_random_numbers() -> None:
    """The second pass drops what the first has dropped: the gradient is that of one big graph."""
    torch.manual_seed(0)
    model, whole = Noisy().train(), Noisy().train()
    whole.load_state_dict(model.state_dict())
    given = batch()
    torch.manual_seed(5)
    take(model, given, micro_batch_size=4)
    after = torch.get_rng_state()
    torch.manual_seed(5)
    pieces = [given.part(slice(a, a + 4)) for a in (0, 4, 8)]
    parts = [whole(piece.streams, piece.text)[:2] for piece in pieces]
    vision, text = (torch.cat(side) for side in zip(*parts, strict=True))
    tau = torch.tensor([0.2, 0.1])[given.cluster_id]
    info_nce(vision, text, tau).backward()
    assert torch.equal(torch.get_rng_state(), after)
    for (name, mine), theirs in zip(model.named_parameters(), whole.parameters(), strict=True):
        assert mine.grad is not None and theirs.grad is not None, name
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-4, atol=1e-6)
    for (name, mine), theirs in zip(model.named_buffers(), whole.buffers(), strict=True):
        if "tracked" not in name:  # running statistics moved once a part
            torch.testing.assert_close(mine, theirs)


def test_micro_batches_of_a_model_with_one_side_to_train() -> None:
    model = Noisy().train()
    model.sides[0].requires_grad_(False)
    take(model, batch(), micro_batch_size=4)
    assert all(p.grad is None for p in model.sides[0].parameters())
    assert all(p.grad is not None for p in model.sides[1].parameters())


def test_bf16_towers_and_a_loss_in_single_precision() -> None:
    seen: list[Tensor] = []

    def spy(v: Tensor, t: Tensor, tau: Tensor, **more: Any) -> Tensor:
        seen.extend((v, t))
        return info_nce(v, t, tau, **more)

    torch.manual_seed(0)
    model = TwoTower(FROZEN, HEAD, {"vision": 6, "text": 6})
    with torch.no_grad():
        wanted = model(batch().streams, batch().text)[:2]
    take(model, batch(), spy, precision="bf16")
    for found, right in zip(seen, wanted, strict=True):
        assert found.dtype == torch.float32
        torch.testing.assert_close(found.norm(dim=1), torch.ones(12))
        assert 1e-5 < (found - right).abs().max() < 0.02  # rounded, not exact
    with pytest.raises(InputError, match="fp16, which needs CUDA"):
        take(model, batch(), precision="fp16")


def test_the_moving_average_is_kept(tmp_path: Path) -> None:
    last = run(tmp_path / "last", epochs=2)[0].model.state_dict()
    found, model = run(tmp_path / "average", epochs=2, ema_decay=0.75)
    kept = found.model.state_dict()
    name = "vision_head.2.weight"
    assert torch.equal(model.state_dict()[name], last[name])  # what is trained is the same
    assert not torch.equal(kept[name], last[name])
    weights = [model_after(tmp_path / str(n), n)[name] for n in range(1, 7)]
    average = weights[0]  # the first step's weights, then a quarter of each next step's
    for value in weights[1:]:
        average = 0.75 * average + 0.25 * value
    torch.testing.assert_close(kept[name], average)


def model_after(folder: Path, steps: int) -> dict[str, Tensor]:
    """The weights after so many of the six steps above."""
    states: list[dict[str, Tensor]] = []

    class Recorder(ScheduledShift):
        def forward(self, step: int, batch: Batch, vision: Tensor, text: Tensor) -> Tensor:
            states.append({})
            return super().forward(step, batch, vision, text)

    original = Stepper.optimise

    def recording(self: Stepper, loss: Tensor, step: int, rate: float) -> Tensor:
        found = original(self, loss, step, rate)
        if step == steps - 1:
            states[-1].update({k: v.clone() for k, v in self.model.state_dict().items()})
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Stepper, "optimise", recording)
        run(folder, epochs=2, modulator=Recorder(SHIFTS, alpha=0.1, period=6))
    return next(state for state in states if state)


def test_compiled_towers_give_the_same(tmp_path: Path) -> None:
    plain = run(tmp_path / "plain", epochs=1)[1].state_dict()
    compiled = run(tmp_path / "compiled", epochs=1, compile=True)[1].state_dict()
    assert list(plain) == list(compiled)
    for key, value in plain.items():
        torch.testing.assert_close(compiled[key], value, rtol=1e-4, atol=1e-5)


def test_averaged_weights_are_channels_last_too(tmp_path: Path) -> None:
    pairs, tokenizer = picture_pairs(tmp_path / "pictures")
    chosen = settings(epochs=1, channels_last=True, ema_decay=0.5)
    model = TwoTower(TRAINABLE, chosen.head, {"vocabulary": tokenizer.get_vocab_size()})
    modulator = ScheduledShift(SHIFTS, alpha=0.0, period=6)
    kept = train(model, info_nce, modulator, pairs, None, chosen, 0, None).model
    assert kept is not model
    for network in (model, kept):
        weights = [p for p in network.parameters() if p.ndim == 4]
        assert weights and all(p.is_contiguous(memory_format=torch.channels_last) for p in weights)
