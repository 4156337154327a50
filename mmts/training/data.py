"""Pairs for training: one caption a media item and epoch, drawn from (seed, epoch)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mmts.errors import InputError
from mmts.media import decode_image, square
from mmts.shards import ShardReader
from mmts.training.augment import random_crop
from mmts.training.batch import Batch

Ints = NDArray[np.int64]
CLASS = "class_"
"""Start of the names of the columns whose classes give the relevancy."""


class Pick(NamedTuple):
    """One drawn pair: media item, which of all captions, and a seed for its augmentation."""

    item: int
    caption: int
    seed: int


class Pairs(Dataset[Batch]):
    """One split in memory but for its pictures.

    Attributes:
        captions: all captions, item by item; first: [items + 1], where each item's start.
        cluster_id: [captions].
        classes: [captions, C], their clusters in the clusterings that give the relevancy.
    """

    def __init__(
        self,
        shards: ShardReader,
        *,
        vision_rows: tuple[NDArray[np.float32], dict[str, int]] | None,
        encode_text: Callable[[list[str], list[str]], Tensor],
        image_size: int,
        clusters: pd.DataFrame | None = None,
    ) -> None:
        """
        Args:
            shards: the packed split.
            vision_rows: features of the frozen tower and the row of each sample_id; None reads
                and decodes the pictures.
            encode_text: (captions, caption_ids) -> what the text side of the model takes.
            image_size: pixels a side of decoded pictures.
            clusters: caption_id; cluster_id of another clustering than the packed one; a column
                CLASS + name of each clustering that gives the relevancy.
        """
        self.shards, self.image_size = shards, image_size
        self.augment = False
        counts = [len(sample["captions"]) for sample in shards.samples]
        self.first: Ints = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        self.captions: list[str] = [c for s in shards.samples for c in s["captions"]]
        self.caption_ids: list[str] = [c for s in shards.samples for c in s["caption_ids"]]
        self.sample_ids: list[str] = [s["sample_id"] for s in shards.samples]
        self.cluster_id = torch.tensor([c for s in shards.samples for c in s["cluster_id"]])
        self.classes = torch.empty(len(self.captions), 0, dtype=torch.int64)
        if clusters is not None:
            self._join(clusters)
        self.text = encode_text(self.captions, self.caption_ids)
        self.features: Tensor | None = None
        if vision_rows is not None:
            features, row_of = vision_rows
            rows = [row_of[sample_id] for sample_id in self.sample_ids]
            self.features = torch.from_numpy(np.asarray(features[rows], dtype=np.float32))

    def _join(self, clusters: pd.DataFrame) -> None:
        row_of = dict(zip(clusters["caption_id"], range(len(clusters)), strict=True))
        missing = [c for c in self.caption_ids if c not in row_of]
        if missing:
            raise InputError(f"caption {missing[0]} has no cluster; run `dvc repro -sf cluster`")
        table = clusters.iloc[[row_of[c] for c in self.caption_ids]]
        if "cluster_id" in table:
            self.cluster_id = torch.from_numpy(table["cluster_id"].to_numpy().astype(np.int64))
        names = [name for name in table.columns if str(name).startswith(CLASS)]
        self.classes = torch.from_numpy(table[names].to_numpy().astype(np.int64))

    def __len__(self) -> int:
        return len(self.shards)

    @property
    def owner(self) -> Ints:
        """[captions], the item that each caption describes."""
        return np.repeat(np.arange(len(self)), np.diff(self.first))

    def pictures(self, items: Sequence[int], seeds: Sequence[int] | None = None) -> Tensor:
        """Vision inputs: features, or uint8 pictures (augmented where seeds are given)."""
        if self.features is not None:
            return self.features[torch.as_tensor(items)]
        arrays = []
        for n, item in enumerate(items):
            image = decode_image(self.shards.image_bytes(item))
            if seeds is None:
                arrays.append(square(image, self.image_size))
            else:
                arrays.append(random_crop(image, self.image_size, seeds[n]))
        return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2)

    def __getitems__(self, picks: list[Pick]) -> Batch:
        """A whole batch at once."""
        items = [pick.item for pick in picks]
        rows = torch.tensor([pick.caption for pick in picks])
        seeds = [pick.seed for pick in picks] if self.augment else None
        return Batch(self.pictures(items, seeds), self.text[rows], self.cluster_id[rows],
                     torch.tensor(items), self.classes[rows])  # fmt: skip

    def __getitem__(self, pick: Any) -> Batch:
        return self.__getitems__([pick])


def epoch_picks(first: Ints, batch_size: int, seed: int, epoch: int) -> list[list[Pick]]:
    """The batches of one epoch: every item once, in an order from (seed, epoch).

    What does not fill a batch is left for other epochs.
    """
    rng = np.random.default_rng([seed, epoch])
    counts = np.diff(first)
    order = rng.permutation(len(counts))
    captions = first[:-1] + (rng.random(len(counts)) * counts).astype(np.int64)
    seeds = rng.integers(0, 2**62, len(counts))
    full = len(order) - len(order) % batch_size
    return [
        [Pick(int(i), int(captions[i]), int(seeds[i])) for i in order[s : s + batch_size]]
        for s in range(0, full, batch_size)
    ]


def steps_per_epoch(items: int, batch_size: int) -> int:
    """Full batches an epoch; InputError where there is none."""
    if items < batch_size:
        raise InputError(
            f"train.batch_size {batch_size} is larger than the training split ({items} media "
            "items); lower it"
        )
    return items // batch_size


def epoch_batches(pairs: Pairs, picks: list[list[Pick]], workers: int) -> Iterator[Batch]:
    """Load the batches in order, in `workers` processes."""
    loader: DataLoader[Batch] = DataLoader(
        pairs,
        batch_sampler=picks,
        collate_fn=_as_is,
        num_workers=workers,
        pin_memory=torch.cuda.is_available(),
    )
    yield from loader


def _as_is(batch: Any) -> Any:
    return batch
