"""What AdamW moves, in groups: with and without weight decay, and with rates of their own."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import NamedTuple

from torch import nn

from mmts.errors import InputError
from mmts.towers.freezing import near

POSITIONS = ("position", "position_embedding", "position_embeddings")
"""Names of position embeddings here and in transformers; AVION's optimiser lets them not decay."""


class Group(NamedTuple):
    """Parameters of one weight decay; rate: of their own, None for `train.learning_rate`."""

    parameters: list[nn.Parameter]
    weight_decay: float
    rate: float | None = None


def parameter_groups(
    model: nn.Module, weight_decay: float, rates: Mapping[str, float] | None = None
) -> list[Group]:
    """Return what is trained: matrices decay; biases, norms, other vectors and positions do not.

    What is frozen is in no group. A temporal embedding decays, as in AVION (arXiv 2309.16669).

    Args:
        model: whose parameters they are.
        weight_decay: of matrices.
        rates: learning rates by patterns of names, as in `train.learning_rates`; of the patterns
            that match a name, the first counts.

    Raises:
        InputError: a pattern has no parameter; the nearest names are given.
    """
    rates = rates or {}
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    of: dict[str, str | None] = {
        name: next((pattern for pattern in rates if fnmatchcase(name, pattern)), None)
        for name in trained
    }
    for number, pattern in enumerate(rates):
        if pattern not in of.values():
            raise InputError(_no_parameter(pattern, list(rates)[:number], trained))
    groups: list[Group] = []
    for part in (None, *rates):
        named = {name: p for name, p in trained.items() if of[name] == part}
        still = {name for name, p in named.items() if p.ndim <= 1 or _is_position(name)}
        rate = None if part is None else rates[part]
        found = (
            Group([p for name, p in named.items() if name not in still], weight_decay, rate),
            Group([named[name] for name in named if name in still], 0.0, rate),
        )
        groups += [group for group in found if group.parameters or part is None]
    return groups


def _is_position(name: str) -> bool:
    return any(part in POSITIONS for part in name.split("."))


def _no_parameter(pattern: str, before: list[str], names: Mapping[str, nn.Parameter]) -> str:
    """Why a pattern of `train.learning_rates` has none."""
    taken = next((name for name in names if fnmatchcase(name, pattern)), None)
    if taken is None:
        return (
            f"train.learning_rates: {pattern!r} matches no parameter that is trained; "
            f"{near(pattern, names)}"
        )
    earlier = next(other for other in before if fnmatchcase(taken, other))
    return (
        f"train.learning_rates: all that {pattern!r} matches has the rate of a pattern before it, "
        f"such as {earlier!r}; move {pattern!r} in front, or leave it out"
    )
