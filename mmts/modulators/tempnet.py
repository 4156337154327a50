"""Temperatures from a small network (TempNet: Qiu et al. 2024, arXiv 2404.04575)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmts.errors import InputError

if TYPE_CHECKING:
    from mmts.training.batch import Batch

PHI = 0.01
"""Where the temperature of the softmax over the prototypes starts."""


class TempNet(nn.Module):
    """A temperature from the features of each sample (TempNet, Qiu et al. 2024, arXiv 2404.04575).

    Two networks, one for vision and one for text anchors. They read detached features, so their
    gradient stays in their own parameters, which belong into the optimiser, at the learning rate
    `rate(step)`.

    As in the authors' code, the prototypes of either network are features of the other modality:
    the first batch of a training sets them, as many as it has rows, unless weights were loaded. The
    rest start random.
    """

    def __init__(
        self,
        dim: int,
        *,
        tau_min: float,
        tau_max: float,
        prototypes: int = 256,
        dropout: float = 0.5,
        learning_rate: float = 3e-5,
        decay: float = 0.9,
        epoch_steps: int = 1,
    ) -> None:
        """
        Args:
            dim: D, the dimensions of the features.
            tau_min, tau_max: bounds of every temperature.
            prototypes: M, rows that the features are compared with.
            dropout: share of the transformed features that a training step drops.
            learning_rate: in the first epoch.
            decay: what each epoch multiplies it by, in (0, 1].
            epoch_steps: steps of an epoch.
        """
        super().__init__()
        if not 0 < tau_min < tau_max < math.inf:
            raise InputError(
                f"tau_min {tau_min}, tau_max {tau_max}; 0 < tau_min < tau_max must hold"
            )
        if dim < 1 or prototypes < 1:
            raise InputError(f"dim is {dim} and prototypes {prototypes}; both must be >= 1")
        if not 0 <= dropout < 1:
            raise InputError(f"dropout is {dropout}; it must be in [0, 1)")
        if not 0 < learning_rate < math.inf:
            raise InputError(f"learning_rate is {learning_rate}; it must be a finite number > 0")
        if not 0 < decay <= 1:
            raise InputError(f"decay is {decay}; it must be in (0, 1]")
        if epoch_steps < 1:
            raise InputError(f"epoch_steps is {epoch_steps}; it must be a number of steps >= 1")
        self.dim, self.tau_min, self.tau_max = dim, tau_min, tau_max
        self.learning_rate, self.decay, self.epoch_steps = learning_rate, decay, epoch_steps
        self.vision = _Network(dim, prototypes, dropout)
        self.text = _Network(dim, prototypes, dropout)
        self._fresh = True
        self.register_load_state_dict_post_hook(_known)  # type: ignore[no-untyped-call]

    def rate(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        return float(self.learning_rate * self.decay ** (step // self.epoch_steps))

    def forward(
        self, step: int, batch: Batch, vision: Tensor, text: Tensor
    ) -> tuple[Tensor, Tensor]:
        """tau of the vision anchors (v2t) and of the text anchors (t2v), each [N] float32.

        Raises:
            InputError: the features do not have `dim` columns.
        """
        for name, rows in (("vision", vision), ("text", text)):
            if rows.ndim != 2 or rows.shape[1] != self.dim:
                raise InputError(f"{name} is {tuple(rows.shape)}; TempNet takes [N, {self.dim}]")
        if self._fresh and self.training and torch.is_grad_enabled():
            self._fresh = False
            self.vision.take(text)
            self.text.take(vision)
        return self._tau(self.vision, vision), self._tau(self.text, text)

    def _tau(self, network: _Network, rows: Tensor) -> Tensor:
        with torch.autocast(rows.device.type, enabled=False):
            share = torch.sigmoid(network(rows.detach().to(network.a.dtype)))
            return (self.tau_max - self.tau_min) * share + self.tau_min


def _known(module: TempNet, _: object) -> None:
    """Keep prototypes that were loaded."""
    module._fresh = False


class _Network(nn.Module):
    """z = sum_m a_m (softmax(p / phi)_m - 1/M) sigmoid(p_m) + b, p the products with prototypes."""

    def __init__(self, dim: int, prototypes: int, dropout: float) -> None:
        super().__init__()
        self.transform = nn.Linear(dim, dim)
        self.dropout = nn.Dropout(dropout)
        self.prototypes = nn.Parameter(torch.randn(prototypes, dim))
        self.log_phi = nn.Parameter(torch.tensor(math.log(PHI)))
        self.a = nn.Parameter(torch.ones(prototypes))
        self.b = nn.Parameter(torch.zeros(()))

    @torch.no_grad()
    def take(self, rows: Tensor) -> None:
        """Make features the first prototypes."""
        count = min(len(rows), len(self.prototypes))
        self.prototypes[:count] = rows[:count].to(self.prototypes.dtype)

    def forward(self, rows: Tensor) -> Tensor:
        """z of each row: [N, D] -> [N]."""
        hidden = self.dropout(torch.sigmoid(self.transform(rows)))
        products = hidden @ F.normalize(self.prototypes, dim=1).T
        weights = torch.softmax(products / self.log_phi.exp(), dim=1)
        terms: Tensor = (weights - 1 / len(self.prototypes)) * products.sigmoid()
        return terms @ self.a + self.b
