"""Whether a method's loss can be computed, known before its training rather than in it."""

from __future__ import annotations

import warnings
from types import SimpleNamespace
from typing import Any, cast

import pandas as pd
import torch
from torch import nn

from mmts.errors import InputError, blamed, kind_file
from mmts.losses._check import both_directions
from mmts.losses.ranks import Ranks
from mmts.method import STEPS, Method
from mmts.settings.base import Settings
from mmts.towers.model import EncodedPairs, Model
from mmts.training.batch import NO_CAPTIONS, Batch
from mmts.training.build import build_modulator, build_objective
from mmts.training.pairs import Pairs
from mmts.training.relevancy import relevant_pairs
from mmts.training.tau_and_loss import LossInput, checked

PAIRS, DIM = 8, 4


class _NotTriedError(Exception):
    """A term asks for what only a model has."""


def _asked(*_: Any, **__: Any) -> Any:
    raise _NotTriedError


class _OfModel:
    """In place of a model, and of what only one can give."""

    dim = DIM
    __getattr__ = __getitem__ = __iter__ = __len__ = __call__ = _asked
    __torch_function__ = staticmethod(_asked)


def try_method(method: Method) -> None:
    """Build modulator, objective and terms of a method, and compute their loss of made-up pairs.

    Terms that ask for more of a model than its rows are not tried.

    Raises:
        InputError: one of them cannot be built or called, or gives no scalar with a gradient. It
            names the file of that kind.
    """
    with torch.random.fork_rng([]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the training gives them too
        torch.manual_seed(0)
        try:
            _try(method, 1)
        except InputError:  # it may need pairs that have more captions than items
            try:
                _try(method, 2)
            except InputError:
                pass
            else:
                return
            raise


def _try(method: Method, captions: int) -> None:
    """Try pairs of items that have so many captions each."""
    vision, text = (
        nn.functional.normalize(torch.randn(PAIRS, DIM), dim=1).requires_grad_() for _ in range(2)
    )
    first = torch.arange(PAIRS + 1) * captions
    cluster_id = torch.arange(PAIRS * captions) // captions % 2
    pairs = SimpleNamespace(cluster_id=cluster_id, first=first)
    drawn, of_model = cluster_id[first[:-1]], cast(Any, _OfModel())
    batch = Batch(
        of_model, of_model, drawn, torch.arange(PAIRS),
        drawn[:, None].repeat(1, len(method.clustering.relevancy)),
        first[:-1] if captions > 1 else NO_CAPTIONS,
    )  # fmt: skip
    shifts = pd.DataFrame({"cluster_id": [0, 1], "shift": [method.shift_min, method.shift_max]})
    with blamed(_file(method.modulator)):
        modulator = build_modulator(
            method, shifts, cast(Pairs, pairs), total_steps=STEPS, epochs=10, dim=DIM
        )
        if not isinstance(modulator, nn.Module):
            raise InputError(f"its `build` gives a {type(modulator).__name__}, and no nn.Module")
        tau = modulator(0, batch, vision, text)
        both_directions(
            tau, vision, method.quantity, "> 0" if method.quantity == "temperature" else ">= 0"
        )
    positives = relevant_pairs(batch.classes, method.relevancy_threshold)
    with blamed(_file(method.objective)):
        objective = build_objective(method, PAIRS, PAIRS * captions)
        loss = objective(vision, text, tau, index=batch.ids, positives=positives)
        checked(method.objective.kind, loss).backward(retain_graph=True)  # type: ignore[no-untyped-call]
    ranks, generator = Ranks(None, 1, 0), torch.Generator()
    encoded = EncodedPairs(vision, text, of_model)
    given = LossInput(batch, encoded, tau, positives, ranks, generator)
    for name, term in method.terms.items():
        with blamed(_file(term)):
            try:
                loss = term.build(cast(Model, of_model))(given)
                checked(name, loss).backward(retain_graph=True)  # type: ignore[no-untyped-call]
            except _NotTriedError:
                continue


def _file(kind: Settings) -> str:
    return kind_file(type(kind).__module__)
