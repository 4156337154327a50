"""What `benchmarks.gpu` checks before it measures: the same numbers on the device as elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from benchmarks.report import Row, bar
from benchmarks.step import omni
from mmts.kinds.term import TERMS
from mmts.losses import Objective, info_nce, max_margin
from mmts.losses.arctanh import arctanh_info_nce
from mmts.losses.cyclip import CyCLIP
from mmts.losses.siglip import SigLIP
from mmts.losses.sogclr import SogCLR
from mmts.modulators.scheduled import ScheduledShift
from mmts.settings.towers import Towers
from mmts.settings.training import Head, Train
from mmts.towers.beats import Beats
from mmts.towers.model import Model
from mmts.towers.two_tower import TwoTower
from mmts.training.batch import Batch
from mmts.training.distributed import World
from mmts.training.step import Stepper
from mmts.training.tau_and_loss import TauAndLoss

ROWS, DIM = 1100, 64  # several blocks of the losses, the last one short
PAIRS, TOKENS, VOCABULARY = 32, 12, 100
OBJECTIVES: dict[str, Callable[[], Objective]] = {
    "info_nce": lambda: info_nce,
    "max_margin": lambda: max_margin,
    "arctanh": lambda: arctanh_info_nce,
    "siglip": SigLIP,
    "cyclip": CyCLIP,
    "sogclr": lambda: SogCLR(ROWS),
}
SHAPE = {"width": 64, "layers": 2, "heads": 2, "dim": 32}
TOWERS = Towers.model_validate({
    "vision": {"name": "clip_vision", "weights": "random", "frozen": False, "image_size": 64,
               "shape": {**SHAPE, "patch_size": 16}},
    "text": {"name": "clip_text", "weights": "random", "frozen": False,
             "shape": {**SHAPE, "context": TOKENS}},
})  # fmt: skip


def checks(device: torch.device, compiled: bool) -> list[Row]:
    """All of them, a row each; `compiled`: with torch.compile's too, which takes a minute."""
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        return _checks(device, compiled)


def _checks(device: torch.device, compiled: bool) -> list[Row]:
    found = [bar(what, value, "<=", bound) for what, value, bound in _losses(device)]
    exact, omni = _step(device, _two_towers), _step(device, _omni)
    others: list[tuple[str, dict[str, Any], float, float]] = [
        ("a step in 4 parts, against the whole", {"micro_batch_size": PAIRS // 4}, 1e-5, 1e-4),
        ("a step in bf16, against fp32", {"precision": "bf16"}, 0.02, 0.1),
    ]
    if compiled:
        others.insert(1, ("a compiled step, against eager", {"compile": True}, 1e-5, 1e-3))
    for what, settings, loss_bound, slope_bound in others:
        loss, slopes = _step(device, _two_towers, **settings)
        found += [
            bar(f"{what}: loss", _off([loss], [exact[0]]), "<=", loss_bound),
            bar(f"{what}: gradients", _off(slopes, exact[1]), "<=", slope_bound),
        ]
    for what, (loss, slopes), bound in (
        ("omni-modal with matching, against the CPU", _step(torch.device("cpu"), _omni), 1e-3),
        ("omni-modal with matching in bf16", _step(device, _omni, precision="bf16"), 0.2),
    ):
        found += [
            bar(f"{what}: loss", _off([loss], [omni[0]]), "<=", bound),
            bar(f"{what}: gradients", _off(slopes, omni[1]), "<=", bound),
        ]
    return found


def _losses(device: torch.device) -> Iterator[tuple[str, float, float]]:
    """Values and gradients of all objectives in float32 against float64 on the CPU."""
    for name, objective in OBJECTIVES.items():
        wanted = _differentiated(objective(), torch.device("cpu"), torch.float64)
        found = _differentiated(objective(), device, torch.float32)
        yield f"{name} against the CPU in float64: loss", _off(found[:1], wanted[:1]), 1e-4
        yield f"{name} against the CPU in float64: gradients", _off(found[1:], wanted[1:]), 1e-4


def _differentiated(objective: Objective, device: torch.device, dtype: torch.dtype) -> list[Tensor]:
    """The loss, and its gradients by vision and text, all on the CPU."""
    make = torch.Generator().manual_seed(0)
    vision, text = (
        nn.functional.normalize(torch.randn(ROWS, DIM, generator=make, dtype=torch.float64), dim=1)
        for _ in range(2)
    )
    tau = 0.05 + 0.1 * torch.rand(ROWS, generator=make, dtype=torch.float64)
    text = nn.functional.normalize(vision + text, dim=1)
    v, t = (rows.to(device, dtype).requires_grad_() for rows in (vision, text))
    if isinstance(objective, nn.Module):
        objective.to(device, dtype)
    loss = objective(v, t, tau.to(device, dtype), index=torch.arange(ROWS, device=device))
    return [x.detach().cpu() for x in (loss, *torch.autograd.grad(loss, (v, t)))]


Streams = dict[str, Tensor]


def _two_towers() -> tuple[Model, Streams]:
    """CLIP's towers, and pictures."""
    streams = {"image": torch.randint(256, (PAIRS, 3, 64, 64), dtype=torch.uint8)}
    return TwoTower(TOWERS, Head(dim=32), {"vocabulary": VOCABULARY}), streams


def _omni() -> tuple[Model, Streams]:
    """The omni-modal model, and frames, sound and subtitles."""
    streams = {
        "frames": torch.randint(0, 256, (PAIRS, 4, 3, 32, 32), dtype=torch.uint8),
        "audio": torch.randn(PAIRS, 1, 1024, 64),
        "subtitle": torch.randint(1, VOCABULARY, (PAIRS, TOKENS)),
    }
    return omni(VOCABULARY, matching=True), streams


def _step(
    device: torch.device, made: Callable[[], tuple[Model, Streams]], **settings: Any
) -> tuple[Tensor, list[Tensor]]:
    """Loss and gradients of one training step of small transformers."""
    torch.manual_seed(0)
    model, streams = made()
    model = model.to(device).train()
    for part in model.modules():
        if isinstance(part, Beats):
            part.layer_drop = 0.0  # drawn on the device
    batch = Batch(
        streams, torch.randint(1, VOCABULARY, (PAIRS, TOKENS)),
        torch.arange(PAIRS) % 2, torch.arange(PAIRS),
    ).to(device)  # fmt: skip
    shifts = pd.DataFrame({"cluster_id": [0, 1], "shift": [0.1, 0.2]})
    term = TERMS.validated({"kind": "matching", "tau": 0.1})
    losses = TauAndLoss(
        info_nce, ScheduledShift(shifts, alpha=0.04, period=10), World(0, 1, device, None),
        terms={"matching": (1.0, term.build(model))} if model.matches else {},
        precision=settings.get("precision", "fp32"),
    )  # fmt: skip
    train = Train(epochs=1, batch_size=PAIRS, learning_rate=1e-4, weight_decay=0.0,
                  **settings)  # fmt: skip
    stepper = Stepper(model, losses, train)
    _, terms = losses(0, batch, stepper.encode(batch))
    stepper.optimise(terms["loss"], 0, 0.0)
    slopes = [p.grad for p in model.parameters()]
    return terms["loss"].detach().cpu(), [g.cpu() for g in slopes if g is not None]


def _off(found: Sequence[Tensor], wanted: Sequence[Tensor]) -> float:
    """Length of the difference of all numbers over that of the right ones."""
    one, other = (torch.cat([x.flatten().double() for x in of]) for of in (found, wanted))
    return float((one - other).norm() / other.norm())
