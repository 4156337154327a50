"""What a training begins with: the pairs, and a model, an objective and a modulator for them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd
import torch
from tokenizers import Tokenizer
from torch import nn

from mmts.clusters import read_method_clusters, read_shifts
from mmts.kinds.model import ModelKind, Parts, two_towers
from mmts.losses import Objective
from mmts.method import Method
from mmts.settings.towers import Towers
from mmts.settings.training import Train
from mmts.shards.reader import read_manifest
from mmts.towers.model import Model
from mmts.training.batches import steps_per_epoch
from mmts.training.build import build_modulator, build_objective, build_terms
from mmts.training.distributed import World
from mmts.training.inputs import Inputs
from mmts.training.pairs import Pairs
from mmts.training.tau_and_loss import Term

if TYPE_CHECKING:
    from mmts.kinds.stream import StreamKind


class Prepared(NamedTuple):
    """Of one cell, before the first step.

    held_out: the validation split, on rank 0 where there is one. steps: of the whole training.
    dims: sizes that the model was built with. streams: settings of those that it reads, by name.
    """

    model: Model
    objective: Objective
    modulator: nn.Module
    terms: dict[str, tuple[float, Term]]
    pairs: Pairs
    held_out: Pairs | None
    tokenizer: Tokenizer | None
    dims: dict[str, int]
    streams: dict[str, StreamKind]
    steps: int


def prepare(
    data: Path, dataset: str, shift: Path, how: Method, towers: Towers, train: Train, seed: int,
    world: World, streams: Mapping[str, StreamKind] | None = None, kind: ModelKind | None = None,
) -> Prepared:  # fmt: skip
    """Read what the stages before wrote; what takes long is done once, not by each rank.

    Shards are hashed, and weights downloaded, by one rank of each machine; a tokenizer is learned
    by rank 0. It fails in all ranks where it fails in one.

    Args:
        data: the project's folder of artifacts.
        dataset: its name there.
        shift: the folder of the method's shift table.
        how, towers, train: settings.
        seed: of the weights.
        world: the ranks.
        streams: those beside the pictures or clips, by name.
        kind: settings of the model; None for two towers.
    """
    with world.first_then_others():
        remedy = f"run `dvc repro` with {shift.name} in grid.methods"
        shifts = read_shifts(shift / "shift.parquet", remedy)
        other = shift / "clusters.parquet"
        clusters = read_method_clusters(other, remedy) if other.exists() else None
        inputs = Inputs(data, dataset, towers, train.stream is not None, streams, kind)
        samples = read_manifest(inputs.shards)["samples"]
        for split in ("train", "val") if samples["val"] else ("train",):
            inputs.open(split)
    tokenizer = inputs.tokenizer(world.from_first)
    with world.processes.together():
        pairs = inputs.pairs("train", tokenizer, clusters)
        held_out = inputs.pairs("val", tokenizer) if samples["val"] and world.first else None
        steps = train.epochs * steps_per_epoch(len(pairs), train.batch_size)
    start = started(how, towers, train, inputs.dims, pairs, shifts, seed, world, kind)
    return Prepared(*start, pairs, held_out, tokenizer, inputs.dims, inputs.streams, steps)


class Started(NamedTuple):
    """What is trained, as it is before the first step; terms: of the loss, with their weights."""

    model: Model
    objective: Objective
    modulator: nn.Module
    terms: dict[str, tuple[float, Term]]


def started(
    how: Method, towers: Towers, train: Train, dims: dict[str, int], pairs: Pairs,
    shifts: pd.DataFrame, seed: int, world: World, kind: ModelKind | None = None,
) -> Started:  # fmt: skip
    """Build what is trained.

    Args:
        how, towers, train: settings.
        dims: sizes that the model needs to know, see `Inputs`.
        pairs: the training split.
        shifts: the method's shift table.
        seed: of the weights.
        world: the ranks.
        kind: settings of the model; None for two towers.
    """
    parts = Parts(towers, train.head, dims, pairs.beside, how.matching)
    torch.manual_seed(seed)
    with world.first_then_others():
        model = (kind or two_towers()).build(parts)
    with world.processes.together():
        objective = build_objective(how, len(pairs), len(pairs.captions))
        steps = train.epochs * steps_per_epoch(len(pairs), train.batch_size)
        modulator = build_modulator(
            how, shifts, pairs, total_steps=steps, epochs=train.epochs, dim=model.dim
        )
        terms = build_terms(how, model)
    return Started(model, objective, modulator, terms)
