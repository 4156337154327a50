"""A cell of a study -> its record: trained, validated, and tested where it is asked for."""

from __future__ import annotations

import time
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from mmts.errors import InputError
from mmts.files import require
from mmts.metrics.recall import KS, recall_at, retrieval_ranks, rsum
from mmts.planned import AGAIN, PLAN
from mmts.settings.towers import Towers
from mmts.settings.training import Train
from mmts.shift import shift_table
from mmts.study.cell import Cell
from mmts.study.data import StudyData
from mmts.study.records import levels_of, packed
from mmts.training.batches import steps_per_epoch
from mmts.training.device import pick_device
from mmts.training.distributed import World
from mmts.training.loop import train
from mmts.training.prepared import started
from mmts.training.validation import encode_split

DATA = Path("data")


@lru_cache(maxsize=2)
def opened(dataset: str, towers: str) -> StudyData:
    """The data of a dataset; `towers` is the JSON of its settings."""
    return StudyData(DATA, dataset, Towers.model_validate_json(towers))


@lru_cache(maxsize=1)
def code() -> str:
    """What names the code that trains."""
    return require(PLAN / "code/train", AGAIN).read_text(encoding="utf-8").strip()[:16]


def run_cell(key: str, cell: Cell, towers: Towers, test: bool) -> dict[str, Any]:
    """Train a cell, as the stage `train` does, and evaluate it.

    A trial that diverges has a record too, so that it is not chosen: `failed` says why.

    Args:
        key: of its record.
        cell: what to train.
        towers: of its dataset.
        test: whether to look at the test split too.

    Raises:
        InputError: the data are not as they should be, or a cell to test diverges.
    """
    data = opened(cell.dataset, towers.model_dump_json())
    begun, used = time.perf_counter(), time.process_time()
    training = data.training(cell.clustering, cell.imbalance, cell.tail, cell.seed)
    settings = recipe(cell, len(training.pairs))
    world = World(0, 1, pick_device(settings.device), None)
    shifts = controlled(
        shift_table(
            training.clusters, shift_min=cell.method.shift_min, shift_max=cell.method.shift_max,
            mapping=cell.method.shift or "linear",
        ),
        cell.control, cell.seed,
    )  # fmt: skip
    model, objective, modulator, terms = started(
        cell.method, towers, settings, data.inputs.dims, training.pairs, shifts, cell.seed, world
    )
    record = {"key": key, **cell.facts(), "items": len(training.pairs)}
    if training.class_size is not None:
        record["class_size"] = training.class_size
    try:
        trained = train(
            model, objective, modulator, training.pairs, data.held_out, settings, cell.seed, None,
            cell.method.relevancy_threshold, world, name=cell.method.objective.kind, terms=terms,
        )  # fmt: skip
    except InputError as error:
        if test:
            raise
        record |= {"steps": 0, "failed": str(error), "validation": {"val/rsum": 0.0}}
    else:
        record |= {"steps": trained.total_steps, "validation": trained.metrics}
        if test:
            record |= tested(data, trained.model, world.device)
    return record | {
        "seconds": round(time.perf_counter() - begun, 2),
        "cpu_seconds": round(time.process_time() - used, 2),
        "device": world.device.type,
        "torch": torch.__version__,
        "code": code(),
    }


def recipe(cell: Cell, items: int) -> Train:
    """The recipe of the dataset, in this process and on local shards, validated at the end."""
    update: dict[str, Any] = {"launcher": None, "stream": None}
    if cell.tail is not None:
        per_epoch = steps_per_epoch(items, cell.tail.batch_size)
        epochs = max(1, round(cell.tail.steps / per_epoch))
        update |= {"batch_size": cell.tail.batch_size, "epochs": epochs}
    update["validate_every"] = update.get("epochs", cell.train.epochs)
    return cell.train.model_copy(update=update)


def tested(data: StudyData, model: Any, device: torch.device) -> dict[str, Any]:
    """`test` and `levels` of a record; queries in the order of `StudyData.queries`."""
    vision, text = encode_split(model, data.test, device, 256)
    ranks = retrieval_ranks(vision, text, data.test.owner)
    recalls = recall_at(ranks, KS)
    levels = levels_of(np.concatenate([ranks.t2v, ranks.v2t]))
    return {"test": {**recalls, "rsum": rsum(recalls)}, "levels": packed(levels)}


def controlled(shifts: pd.DataFrame, control: str, seed: int) -> pd.DataFrame:
    """The shift table as it is, reversed, or with the shifts dealt to the clusters by chance."""
    values = shifts["shift"].to_numpy()
    if control == "reversed":
        values = values.min() + values.max() - values
    if control == "random":
        values = np.random.default_rng([seed, 1]).permutation(values)
    return shifts.assign(shift=values)
