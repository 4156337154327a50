"""The validation split, looked at in training; whole splits through the model."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from mmts.errors import InputError
from mmts.kinds.measure import MeasureKind, default_measure
from mmts.kinds.measure._checked import check_values
from mmts.metrics.scores import ProductScores
from mmts.search import Search
from mmts.towers.model import Model
from mmts.towers.threads import of_encoding, threads
from mmts.training.batch import sent
from mmts.training.batches import vision_batches
from mmts.training.loading import deaths_told
from mmts.training.pairs import Pairs

REHEARSED = 256
"""Captions that are measured before the training."""


def validate(
    model: Model, pairs: Pairs, device: torch.device, batch_size: int, workers: int
) -> dict[str, float]:
    """Numbers of the validation split by its measure, keys under `val/`."""
    vision, text = encode_split(model, pairs, device, batch_size, workers)
    measure, search = measure_of(pairs), _searched(pairs)
    first = search.scores(vision, text)
    values = measure.measured(search, first.held() if measure.held else first)
    return {f"val/{key}": value for key, value in measure.means(values).items()}


def rehearse(pairs: Pairs) -> None:
    """Measure features drawn at random, before a training that the measure could not validate.

    Raises:
        InputError: what the measure gives is wrong.
    """
    measure, rng = measure_of(pairs), np.random.default_rng(0)
    captions = _searched(pairs).captions[:REHEARSED]
    if not len(captions):
        return
    some = Search(pairs, np.unique(pairs.owner[captions]), captions)
    drawn = [rng.standard_normal((len(n), 8), np.float32) for n in (some.items, some.captions)]
    first = ProductScores(*(of / np.linalg.norm(of, axis=1, keepdims=True) for of in drawn))
    try:
        found = measure.values(some, first.held() if measure.held else first)
    except InputError:  # of this part alone, such as a query whose right answers are outside of it
        return
    measure.means(check_values(measure, found, some))


def _searched(pairs: Pairs) -> Search:
    """All items, and those captions that the measure takes."""
    every = Search(pairs, np.arange(len(pairs)), np.arange(len(pairs.captions)))
    return Search(pairs, every.items, every.captions[measure_of(pairs).captions(every)])


def measure_of(pairs: Pairs) -> MeasureKind:
    """Return what a split is measured by: what it was given, or what its captions allow."""
    return pairs.measure or default_measure(pairs.classes_of is not None)


def logged(metrics: dict[str, float], measure: MeasureKind) -> dict[str, float]:
    """What the log keeps of the validation metrics, by the names of its columns."""
    keys = {f"val_{name}": f"val/{key}" for name, key in measure.validated.items()}
    return {column: metrics[key] for column, key in keys.items() if key in metrics}


@deaths_told()
def encode_split(
    model: Model, pairs: Pairs, device: torch.device, batch_size: int, workers: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Unit rows of all media items, and of all captions, on the CPU.

    `workers` processes decode pictures or clips; with 0 this one does.

    Raises:
        InputError: one of them was killed.
    """
    model.eval()
    with threads(of_encoding(model, "vision"), device), torch.inference_mode():
        streams = vision_batches(pairs, batch_size, workers, device)
        found = [model.encode_vision(sent(batch, device)).rows.float().cpu() for batch in streams]
    with threads(of_encoding(model, "text"), device), torch.inference_mode():
        texts = (pairs.text[s : s + batch_size] for s in range(0, len(pairs.text), batch_size))
        said = [model.encode_text(batch.to(device)).float().cpu() for batch in texts]
    return torch.cat(found), torch.cat(said)


@deaths_told()
def encode_features(
    model: Model, pairs: Pairs, device: torch.device, batch_size: int, workers: int = 0
) -> NDArray[np.float32]:
    """Features of all media items to cluster by, `Model.features`; arguments of `encode_split`."""
    model.eval()
    with threads(of_encoding(model, "vision"), device), torch.inference_mode():
        streams = vision_batches(pairs, batch_size, workers, device)
        found = [model.features(sent(batch, device)).float().cpu() for batch in streams]
    rows: NDArray[np.float32] = torch.cat(found).numpy()
    return rows
