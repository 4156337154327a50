"""One optimisation step: forward, backward, AdamW."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from mmts.errors import InputError
from mmts.settings.training import Train
from mmts.towers.model import EncodedPairs, Model
from mmts.training.batch import Batch
from mmts.training.device import autocast
from mmts.training.groups import parameter_groups
from mmts.training.tau_and_loss import TauAndLoss

RandomState = list[Tensor]


class Stepper:
    """Encodes this rank's rows of each global batch, and moves the model by the gradient of a loss.

    Attributes:
        optimizer: AdamW over the model, the objective, the modulator and further loss terms.
        scaler: of fp16 gradients; does nothing in other precisions.
    """

    def __init__(self, model: Model, losses: TauAndLoss, settings: Train) -> None:
        """
        Args:
            model: on its device.
            losses: what is trained beside it, and the ranks.
            settings: `train`.

        Raises:
            InputError: fp16 without CUDA, or with temperatures that are moved by raw gradients; a
                pattern of `learning_rates` without parameters.
        """
        self.model, self.settings, self.world = model, settings, losses.world
        beside = losses.modules
        for module in beside:
            module.to(self.world.device).train()
        self.others = [p for module in beside for p in module.parameters() if p.requires_grad]
        inside = {id(parameter) for parameter in model.parameters()}
        if any(id(parameter) in inside for parameter in self.others):
            raise InputError(
                "a loss term has the model as a part, so that its weights would be trained twice; "
                "keep the model in a function, not in an attribute of a module"
            )
        named = parameter_groups(model, settings.weight_decay, dict(settings.learning_rates))
        groups: list[dict[str, Any]] = [
            {"params": group.parameters, "weight_decay": group.weight_decay} for group in named
        ]
        self.shares = {
            number: group.rate / settings.learning_rate
            for number, group in enumerate(named)
            if group.rate is not None
        }
        self.rates: dict[int, Callable[[int], float]] = {}
        for module in beside:
            own = [p for p in module.parameters() if p.requires_grad]
            rate: Callable[[int], float] | None = getattr(module, "rate", None)
            if own and rate is not None:
                self.rates[len(groups)] = rate
            if own:
                groups.append({"params": own, "weight_decay": 0.0})
        self.optimizer = torch.optim.AdamW(
            groups, betas=settings.betas, eps=settings.eps, fused=True
        )
        kind = self.world.device.type
        if settings.precision == "fp16" and kind != "cuda":
            raise InputError("train.precision is fp16, which needs CUDA; set it to fp32 or bf16")
        if settings.precision == "fp16" and not getattr(losses.modulator, "fp16", True):
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
        self._cached: _Cached | None = None

    def encode(self, batch: Batch) -> EncodedPairs:
        """Return the rows of both sides, float32.

        With `micro_batch_size`, they are leaves, and `optimise` carries their gradient on.
        """
        rows, micro = len(batch.index), self.settings.micro_batch_size
        if micro is None or micro >= rows:
            return self._forward(self.network, batch)
        self._cached = self._without_activations(batch, micro)
        return self._cached.encoded

    def optimise(self, loss: Tensor, step: int, rate: float) -> Tensor:
        """Take a step against the gradient of a loss of what was encoded last; return its norm.

        Args:
            loss: a scalar; without a gradient, as where features are no numbers, nothing moves.
            step: counted from 0, for modules with a learning rate of their own (TempNet).
            rate: learning rate of the others; those with one in `learning_rates` have its share.
        """
        if not loss.requires_grad:
            self._cached = None
            return loss.new_tensor(math.nan)
        for number, group in enumerate(self.optimizer.param_groups):
            own = self.rates.get(number)
            group["lr"] = rate * self.shares.get(number, 1.0) if own is None else own(step)
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        if self._cached is not None:
            self._carry_on(self._cached)
            self._cached = None
        self.world.mean([p.grad for p in self.others if p.grad is not None])
        self.scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(
            [*self.model.parameters(), *self.others], self.settings.clip_grad_norm or math.inf
        )
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return norm

    def _forward(self, network: nn.Module, batch: Batch) -> EncodedPairs:
        streams = dict(batch.streams)
        if self.settings.channels_last:
            for name, stream in streams.items():
                if stream.ndim == 4:
                    streams[name] = stream.contiguous(memory_format=torch.channels_last)
        with autocast(self.settings.precision, batch.text.device):
            found: EncodedPairs = network(streams, batch.text)
        return found

    # --- the gradient of a whole batch with the activations of a part (arXiv 2101.06983) --------

    def _without_activations(self, batch: Batch, micro: int) -> _Cached:
        """Encode all parts without activations; remember the random numbers of each."""
        device = self.world.device
        parts = [batch.part(slice(a, a + micro)) for a in range(0, len(batch.index), micro)]
        states, found = [], []
        with torch.no_grad(), _still_statistics(self.model):
            for part in parts:
                states.append(_random_state(device))
                found.append(self._forward(self.model, part))
        vision, text, contexts = zip(*found, strict=True)
        if contexts[0] is not None:
            raise InputError(
                "train.micro_batch_size is set, but the model gives a context of each media item, "
                "whose gradient does not go in parts; set it to null"
            )
        rows = (torch.cat(side).requires_grad_() for side in (vision, text))
        return _Cached(parts, states, EncodedPairs(*rows))

    def _carry_on(self, cached: _Cached) -> None:
        """Encode each part again, with the same random numbers, and carry its gradient on.

        Batch norm sees parts, once.
        """
        device, (vision, text, _) = self.world.device, cached.encoded
        assert vision.grad is not None and text.grad is not None
        end, start = _random_state(device), 0
        for number, (part, state) in enumerate(zip(cached.parts, cached.states, strict=True)):
            rows = slice(start, start := start + len(part.text))
            _set_random_state(state, device)
            with self._no_sync() if number < len(cached.parts) - 1 else nullcontext():
                encoded = self._forward(self.network, part)
                sides = ((encoded.vision, vision.grad[rows]), (encoded.text, text.grad[rows]))
                trained = [(found, slope) for found, slope in sides if found.requires_grad]
                torch.autograd.backward([f for f, _ in trained], [g for _, g in trained])
        _set_random_state(end, device)

    def _no_sync(self) -> AbstractContextManager[None]:
        if isinstance(self.network, DistributedDataParallel):
            return self.network.no_sync()
        return nullcontext()


class _Cached(NamedTuple):
    """A batch that was encoded without activations: its parts, and the random state of each."""

    parts: list[Batch]
    states: list[RandomState]
    encoded: EncodedPairs


def _random_state(device: torch.device) -> RandomState:
    states = [torch.get_rng_state()]
    if device.type == "cuda":
        states.append(torch.cuda.get_rng_state(device))
    return states


def _set_random_state(states: RandomState, device: torch.device) -> None:
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
