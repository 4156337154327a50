"""One optimisation step: forward, the global loss, backward, AdamW."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from mmts.errors import InputError
from mmts.losses import Tau
from mmts.settings.training import Train
from mmts.towers.two_tower import TwoTower, parameter_groups
from mmts.training.batch import Batch
from mmts.training.distributed import GlobalLoss

PRECISIONS = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Stepped(NamedTuple):
    """What a step leaves to be logged, on the device."""

    loss: Tensor
    tau: Tau
    norm: Tensor


class Stepper:
    """Trains a model step by step, on this rank's rows of each global batch.

    Attributes:
        optimizer: AdamW over the model, the objective and the modulator.
        scaler: of fp16 gradients; does nothing in other precisions.
    """

    def __init__(self, model: TwoTower, loss: GlobalLoss, settings: Train) -> None:
        """
        Args:
            model: on its device.
            loss: objective, modulator and ranks.
            settings: `train`.

        Raises:
            InputError: fp16 without CUDA, or with temperatures that are moved by raw gradients.
        """
        self.model, self.loss, self.settings, self.world = model, loss, settings, loss.world
        beside = [m for m in (loss.objective, loss.modulator) if isinstance(m, nn.Module)]
        for module in beside:
            module.to(self.world.device).train()
        self.others = [p for module in beside for p in module.parameters() if p.requires_grad]
        groups = parameter_groups(model, settings.weight_decay)
        self.rates: dict[int, Callable[[int], float]] = {}
        for module in beside:
            own = [p for p in module.parameters() if p.requires_grad]
            rate: Callable[[int], float] | None = getattr(module, "rate", None)
            if own and rate is not None:
                self.rates[len(groups)] = rate
            if own:
                groups.append({"params": own, "weight_decay": 0.0})
        self.optimizer = torch.optim.AdamW(groups, fused=True)
        kind = self.world.device.type
        if settings.precision == "fp16" and kind != "cuda":
            raise InputError("train.precision is fp16, which needs CUDA; set it to fp32 or bf16")
        if settings.precision == "fp16" and not getattr(loss.modulator, "fp16", True):
            raise InputError(
                "train.precision is fp16, whose scaled gradients would move temperatures that are "
                "learned for each sample wrongly; set it to bf16 or fp32"
            )
        self.scaler = torch.amp.GradScaler(kind, enabled=settings.precision == "fp16")
        if settings.channels_last:
            model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if settings.compile:
            model.compile()
        self.network: nn.Module = model
        if self.world.group is not None:
            devices = [self.world.device] if kind == "cuda" else None
            self.network = DistributedDataParallel(
                model, device_ids=devices, process_group=self.world.group,
                gradient_as_bucket_view=True,
            )  # fmt: skip

    def __call__(self, step: int, batch: Batch, rate: float) -> Stepped:
        """Take a step at a learning rate; TempNet has one of its own.

        Raises:
            InputError: features that are no numbers any more.
        """
        for number, group in enumerate(self.optimizer.param_groups):
            group["lr"] = self.rates[number](step) if number in self.rates else rate
        self.optimizer.zero_grad(set_to_none=True)
        rows, micro = len(batch.index), self.settings.micro_batch_size
        if micro is None or micro >= rows:
            vision, text = self._features(self.network, batch)
            loss, tau = self._loss(step, batch, vision, text)
            self._backward(loss)
        else:
            loss, tau = self._in_parts(step, batch, micro)
        self.world.mean([p.grad for p in self.others if p.grad is not None])
        self.scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(
            [*self.model.parameters(), *self.others], self.settings.clip_grad_norm or math.inf
        )
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return Stepped(loss.detach(), tau, norm)

    def _features(self, network: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        vision, text = batch.vision, batch.text
        if self.settings.channels_last and vision.ndim == 4:
            vision = vision.contiguous(memory_format=torch.channels_last)
        kind = PRECISIONS.get(self.settings.precision)
        with torch.autocast(vision.device.type, kind, enabled=kind is not None):
            found: tuple[Tensor, Tensor] = network(vision, text)
        return found

    def _loss(self, step: int, batch: Batch, vision: Tensor, text: Tensor) -> tuple[Tensor, Tau]:
        if self._astray(vision, text):
            with torch.no_grad():
                tau = self.loss.modulator(step, batch, vision.nan_to_num(), text.nan_to_num())
            return (vision.sum() + text.sum()) * math.nan, tau
        try:
            return self.loss(step, batch, vision, text)
        except InputError as error:  # the rows are normalised: they were fine before
            raise InputError(
                f"training went astray at step {step} ({error}); lower train.learning_rate"
            ) from None

    def _astray(self, vision: Tensor, text: Tensor) -> bool:
        """Whether a rank's features, or what is learned beside the model, are no numbers any more.

        On a CPU the losses would refuse them, on that rank alone; on a GPU nothing waits for a
        number, and they make the loss NaN by themselves. Numbers too large have norm 0 here.
        """
        if self.world.device.type != "cpu":
            return False
        norms = torch.cat([vision.detach().norm(dim=1), text.detach().norm(dim=1)])
        fine = bool(((norms - 1).abs() < 0.5).all()) and all(
            bool(p.isfinite().all()) for p in self.others
        )
        return bool(self.world.highest(int(not fine)))

    def _backward(self, loss: Tensor) -> None:
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]

    def _in_parts(self, step: int, batch: Batch, micro: int) -> tuple[Tensor, Tau]:
        """The gradient of the whole batch with the activations of a part (arXiv 2101.06983).

        Features of all parts without activations; the loss and its gradient by the features; then
        each part again, with the same random numbers, to carry that gradient on. Batch norm sees
        parts, once.
        """
        device = self.world.device
        parts = [slice(a, a + micro) for a in range(0, len(batch.index), micro)]
        states, found = [], []
        with torch.no_grad(), _still_statistics(self.model):
            for part in parts:
                states.append(_random_state(device))
                found.append(self._features(self.model, _rows(batch, part)))
        vision, text = (torch.cat(side).requires_grad_() for side in zip(*found, strict=True))
        loss, tau = self._loss(step, batch, vision, text)
        self._backward(loss)
        assert vision.grad is not None and text.grad is not None
        end = _random_state(device)
        for number, (part, state) in enumerate(zip(parts, states, strict=True)):
            _set_random_state(state, device)
            with self._no_sync() if number < len(parts) - 1 else nullcontext():
                features = self._features(self.network, _rows(batch, part))
                sides = zip(features, (vision.grad[part], text.grad[part]), strict=True)
                trained = [(rows, slope) for rows, slope in sides if rows.requires_grad]
                torch.autograd.backward([f for f, _ in trained], [g for _, g in trained])
        _set_random_state(end, device)
        return loss, tau

    def _no_sync(self) -> AbstractContextManager[None]:
        if isinstance(self.network, DistributedDataParallel):
            return self.network.no_sync()
        return nullcontext()


def _rows(batch: Batch, part: slice) -> Batch:
    return batch._replace(vision=batch.vision[part], text=batch.text[part])


def _random_state(device: torch.device) -> list[Tensor]:
    states = [torch.get_rng_state()]
    if device.type == "cuda":
        states.append(torch.cuda.get_rng_state(device))
    return states


def _set_random_state(states: list[Tensor], device: torch.device) -> None:
    torch.set_rng_state(states[0])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states[1], device)


@contextmanager
def _still_statistics(model: nn.Module) -> Iterator[None]:
    """Running statistics of batch norm stay as they are."""
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    before = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, before, strict=True):
            norm.momentum = momentum
