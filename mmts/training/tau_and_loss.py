"""Where Eq. 8 meets Eq. 3 and 10: the tau of each row, and the loss that takes it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from mmts.errors import InputError
from mmts.losses import Objective, Tau
from mmts.losses.ranks import Ranks, gather_with_gradient
from mmts.towers.model import EncodedPairs
from mmts.training.batch import Batch
from mmts.training.device import autocast
from mmts.training.distributed import World
from mmts.training.relevancy import relevant_pairs

TOTAL = "loss"
"""Name of the sum in a mapping of terms."""


class LossInput(NamedTuple):
    """What a loss term sees: the batch of all ranks, encoded, with its tau.

    batch: with the streams of its own rank. positives: [N, N] pairs that are no negatives.
    ranks: which of the rows are this rank's own. generator: on the CPU, of random numbers that
    follow from the seed and the step, so that all ranks draw the same. autocast: what the model
    runs in, for a term that calls it.
    """

    batch: Batch
    encoded: EncodedPairs
    tau: Tau
    positives: Tensor | None
    ranks: Ranks
    generator: torch.Generator
    autocast: Callable[[], AbstractContextManager[Any]] = nullcontext


class Term(Protocol):
    """A loss term beside the objective; one that is a module is trained with the model."""

    def __call__(self, given: LossInput, /) -> Tensor:
        """Return the scalar to minimise."""
        ...


class TauAndLoss:
    """tau and loss terms of the global batch, from this rank's rows.

    Gradients are those of the global loss times the number of ranks, as `DistributedDataParallel`
    averages them (see mmts.losses.ranks). An objective that works row by row, with a tau that does,
    computes each row on its own rank; others see the whole batch on every rank, so that all keep
    the same state. So do further terms.
    """

    def __init__(
        self, objective: Objective, modulator: nn.Module, world: World, threshold: float = 0.1,
        seed: int = 0, *, by_row: bool = False, name: str = "objective",
        terms: Mapping[str, tuple[float, Term]] | None = None, precision: str = "fp32",
    ) -> None:  # fmt: skip
        """
        Args:
            objective: (vision, text, tau, index=, positives=) -> loss.
            modulator: (step, batch, vision, text) -> tau.
            world: the ranks.
            threshold: see `relevant_pairs`.
            seed: of random numbers of the modulator and of terms, the same on all ranks.
            by_row: whether objective and modulator work row by row.
            name: of the objective, among several terms.
            terms: further ones by name, with their weights.
            precision: of the model, where a term calls it.
        """
        self.objective, self.modulator, self.name = objective, modulator, name
        self.terms = dict(terms or {})
        self.world, self.threshold, self.seed = world, threshold, seed
        self.by_row = by_row and not self.terms
        self._autocast = partial(autocast, precision, world.device)
        self._random = any(isinstance(m, nn.Dropout) and m.p > 0 for m in modulator.modules())

    @property
    def parts(self) -> dict[str, object]:
        """What may have a state, by name."""
        terms = {f"term-{name}": term for name, (_, term) in self.terms.items()}
        return {"objective": self.objective, "modulator": self.modulator, **terms}

    @property
    def modules(self) -> list[nn.Module]:
        """Those of them that are trained beside the model."""
        return [part for part in self.parts.values() if isinstance(part, nn.Module)]

    def __call__(
        self, step: int, batch: Batch, encoded: EncodedPairs
    ) -> tuple[Tau, dict[str, Tensor]]:
        """Return tau of this rank's rows or of all, and the loss terms; TOTAL is their sum.

        Where there is but one term, it is the sum.

        Args:
            step: counted from 0.
            batch: this rank's rows.
            encoded: the same, in float32.

        Raises:
            InputError: the objective refuses its input.
        """
        if self._astray(encoded):
            return self._no_numbers(step, batch, encoded)
        group = self.world.group
        alone = self.by_row and not batch.classes.shape[1]
        if group is not None and not alone:
            batch, encoded = self._of_all_ranks(batch, encoded)
        vision, text = encoded.vision, encoded.text
        with self._same_random_numbers(step):
            tau = self.modulator(step, batch, vision, text)  # Eq. 8
        positives = relevant_pairs(batch.classes, self.threshold)
        more = {"group": group} if group is not None and alone else {}
        try:
            loss = self.objective(  # Eq. 3 or 10
                vision, text, tau, index=batch.ids, positives=positives, **more
            )
        except InputError as error:  # the rows are normalised: they were fine before
            if not step:
                raise
            raise InputError(
                f"training went astray at step {step} ({error}); lower train.learning_rate"
            ) from None
        if not self.terms:
            return tau, {TOTAL: checked(self.name, loss)}
        given = LossInput(
            batch, encoded, tau, positives, self._ranks(len(vision)), self._generator(step),
            self._autocast,
        )  # fmt: skip
        found = {self.name: checked(self.name, loss)}
        found |= {name: checked(name, term(given)) for name, (_, term) in self.terms.items()}
        total = loss
        for name, (weight, _) in self.terms.items():
            total = total + weight * found[name]
        return tau, {**found, TOTAL: total}

    def _of_all_ranks(self, batch: Batch, encoded: EncodedPairs) -> tuple[Batch, EncodedPairs]:
        gathered, group = self.world.gathered, self.world.group
        batch = batch._replace(
            cluster_id=gathered(batch.cluster_id),
            index=gathered(batch.index),
            classes=gathered(batch.classes),
            caption=gathered(batch.caption),
            text=gathered(batch.text) if self.terms else batch.text,
        )
        rows = (None if part is None else gather_with_gradient(part, group) for part in encoded)
        return batch, EncodedPairs(*rows)  # type: ignore[arg-type]

    def _ranks(self, rows: int) -> Ranks:
        """This rank's place among `rows` rows of all."""
        world = self.world
        return Ranks(world.group, world.size, world.rank * (rows // world.size))

    def _generator(self, step: int) -> torch.Generator:
        number = np.random.SeedSequence([self.seed, step]).generate_state(1, np.uint64)[0]
        return torch.Generator().manual_seed(int(number))

    @contextmanager
    def _same_random_numbers(self, step: int) -> Iterator[None]:
        """For a modulator with dropout: those of the step, whatever the rank."""
        if not self._random:
            yield
            return
        cuda = self.world.device.type == "cuda"
        with torch.random.fork_rng([self.world.device] if cuda else []):
            torch.manual_seed(self.seed * 1_000_003 + step)
            yield

    def _astray(self, encoded: EncodedPairs) -> bool:
        """Whether a rank's features, or what is learned beside the model, are no numbers any more.

        On a CPU the losses would refuse them, on that rank alone; on a GPU nothing waits for a
        number, and they make the loss NaN by themselves. Numbers too large have norm 0 here.
        """
        if self.world.device.type != "cpu":
            return False
        rows = (encoded.vision, encoded.text)
        norms = torch.cat([side.detach().norm(dim=1) for side in rows])
        fine = bool(((norms - 1).abs() < 0.5).all()) and all(
            bool(p.isfinite().all())
            for module in self.modules
            for p in module.parameters()
            if p.requires_grad
        )
        return bool(self.world.highest(int(not fine)))

    def _no_numbers(
        self, step: int, batch: Batch, encoded: EncodedPairs
    ) -> tuple[Tau, dict[str, Tensor]]:
        """The tau, and NaN for the terms, without a gradient: no step is to follow it."""
        vision, text = encoded.vision, encoded.text
        with torch.no_grad():
            tau = self.modulator(step, batch, vision.nan_to_num(), text.nan_to_num())
        loss = vision.new_tensor(math.nan)
        return tau, dict.fromkeys([*([self.name, *self.terms] if self.terms else []), TOTAL], loss)


def checked(name: str, loss: Tensor) -> Tensor:
    """Return a loss; InputError unless it is a scalar tensor that has a gradient, if any has."""
    what = ""
    if not isinstance(loss, Tensor):
        what = f"a {type(loss).__name__}"
    elif loss.ndim:
        what = f"a tensor of shape {list(loss.shape)}"
    elif torch.is_grad_enabled() and not loss.requires_grad:
        what = "a tensor without a gradient"
    if what:
        raise InputError(f"the loss {name} is {what}; it must be a scalar tensor with a gradient")
    return loss
