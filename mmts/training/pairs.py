"""One split of a dataset: its captions, clusters, and pictures or clips read on demand."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from mmts.augment import random_augment
from mmts.clusters import CLASS
from mmts.errors import InputError
from mmts.kinds.measure import MeasureKind
from mmts.kinds.stream import FEATURES, FRAMES, IMAGE, StreamKind, loaded
from mmts.picture import Picture, read_square
from mmts.settings.training import Augment
from mmts.shards import ShardReader
from mmts.shards.samples import column, counts, flat
from mmts.training.batch import Batch
from mmts.training.positives import Classes, RelevantCaptions
from mmts.training.rows import Features, Rows, found
from mmts.video.clips import centre_crop, consistent_crop, frame_indices, resized

Ints = NDArray[np.int64]
"""Start of the names of the columns whose classes give the relevancy."""

NO_CLUSTER = "caption {} has no cluster; run `dvc repro -sf cluster`"
NO_FEATURES = "{} has no features of the frozen vision tower; run `dvc repro`"


class Picks(NamedTuple):
    """Drawn pairs: [n] media items, which of all captions, and seeds for the augmentation."""

    items: Ints
    captions: Ints
    seeds: Ints

    def part(self, rows: slice | Ints) -> Picks:
        """Some of them."""
        return Picks(self.items[rows], self.captions[rows], self.seeds[rows])


class Pairs(Dataset[Batch]):
    """One split in memory but for its pictures or clips.

    Attributes:
        captions: all captions, item by item; first: [items + 1], where each item's start.
        cluster_id: [captions].
        classes: [captions, C], their clusters in the clusterings that a method's relevancy is of.
        sentence: [captions] bool, those that are searched for and among.
        classes_of: the verb class and noun classes of each caption; None where there is no graded
            relevancy.
        measure: what validation measures; None for what the captions allow.
        augment: how batches are augmented; None for not at all.
        main: name of the stream of features, pictures or clips; empty where the model reads none.
        beside: the other streams.
    """

    def __init__(
        self,
        shards: ShardReader,
        *,
        vision_rows: tuple[NDArray[np.float32], Iterable[str]] | None,
        encode_text: Callable[[Sequence[str], Sequence[str]], Rows],
        image_size: int,
        clip_length: int | None = None,
        clusters: pd.DataFrame | None = None,
        streams: Mapping[str, StreamKind] | None = None,
        squash: bool = False,
        main: bool = True,
    ) -> None:
        """
        Args:
            shards: the packed split.
            vision_rows: features of the frozen tower and the sample_id of each row; None reads
                and decodes the pictures.
            encode_text: (captions, caption_ids) -> what the text side of the model takes.
            image_size: pixels a side of decoded pictures or frames.
            clip_length: frames of a clip; None for pictures.
            clusters: caption_id; cluster_id of another clustering than the packed one; a column
                CLASS + name of each clustering that gives the relevancy.
            streams: those beside the pictures or clips, by name.
            squash: resize whole frames without their aspect, instead of cropping them.
            main: whether the model reads features, pictures or clips.
        """
        self.beside, self.squash = dict(streams or {}), squash
        self.shards, self.image_size, self.clip_length = shards, image_size, clip_length
        self.augment: Augment | None = None
        self.measure: MeasureKind | None = None
        said = shards.samples
        self.first: Ints = np.concatenate([[0], np.cumsum(counts(said))]).astype(np.int64)
        self.captions: Sequence[str] = flat(said, "captions") or []
        self.caption_ids: Sequence[str] = flat(said, "caption_ids") or []
        self.sample_ids: Sequence[str] = column(said, "sample_id") or []
        self.cluster_id = torch.tensor(flat(said, "cluster_id") or [])
        self.classes = torch.empty(len(self.captions), 0, dtype=torch.int64)
        sentence = flat(said, "sentence")
        self.sentence = np.array(
            np.ones(len(self.captions), bool) if sentence is None else sentence
        )
        self.classes_of = _graded(said)
        if clusters is not None:
            self._join(clusters)
        self.text = encode_text(self.captions, self.caption_ids)
        self.features: Rows | None = None
        if vision_rows is not None:
            features, known = vision_rows
            self.features = Features(features, found(self.sample_ids, known, NO_FEATURES))
        frozen = self.features is not None
        name = FEATURES if frozen else IMAGE if clip_length is None else FRAMES
        self.main = name if main else ""

    def _join(self, clusters: pd.DataFrame) -> None:
        table = clusters.iloc[found(self.caption_ids, clusters["caption_id"], NO_CLUSTER)]
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

    def searched(self) -> NDArray[np.bool_]:
        """[captions]: the sentences, and one for classes whose own was lost with its clip.

        Every clip then has a sentence of its verb and nouns, as multi-instance retrieval needs it.
        """
        if self.classes_of is None:
            return self.sentence
        sources = [self.shards.samples[item].get("source") for item in self.owner]
        key = [
            (source, verb, frozenset(nouns))
            for source, (verb, nouns) in zip(sources, self.classes_of, strict=True)
        ]
        known = {k for k, s in zip(key, self.sentence, strict=True) if s}
        found = self.sentence.copy()
        for row in self.first[:-1].tolist():
            if key[row] not in known:
                known.add(key[row])
                found[row] = True
        added = int(found.sum() - self.sentence.sum())
        if added:
            warnings.warn(
                f"{added} sentences are lost with their clips: another clip of the same verb and "
                "nouns stands for each; published numbers do not compare",
                stacklevel=2,
            )
        return found

    def relevant_captions(self, threshold: float) -> RelevantCaptions:
        """The captions to draw positives from; InputError without graded relevancy."""
        if self.classes_of is None:
            raise InputError(
                f"train.positive_relevancy is {threshold} but the captions have no graded "
                "relevancy; set it to null"
            )
        rows = np.flatnonzero(self.sentence)
        return RelevantCaptions(
            [self.classes_of[row] for row in self.first[:-1]],
            [self.classes_of[row] for row in rows],
            self.first[:-1], rows, threshold,
        )  # fmt: skip

    @property
    def decodes(self) -> bool:
        """Whether making a stream takes work: pictures, clips, or one beside them."""
        return self.features is None or bool(self.beside)

    def streams(
        self, items: Sequence[int], seeds: Sequence[int] | None = None
    ) -> dict[str, Tensor]:
        """Return the streams of items, see `mmts.towers.model.Streams`.

        They are augmented where seeds are given, as `augment` or by default.
        """
        return self._pictures(items, seeds) | self._others(items, seeds)

    def _pictures(self, items: Sequence[int], seeds: Sequence[int] | None) -> dict[str, Tensor]:
        return {self.main: self._main(items, seeds)} if self.main else {}

    def _others(self, items: Sequence[int], seeds: Sequence[int] | None) -> dict[str, Tensor]:
        return {name: self._beside(name, kind, items, seeds) for name, kind in self.beside.items()}

    def _main(self, items: Sequence[int], seeds: Sequence[int] | None) -> Tensor:
        if self.features is not None:
            return self.features[np.asarray(items)]
        if self.clip_length is None:
            side = self.image_size
            pictures = np.empty((len(items), side, side, 3), np.uint8)
            for n, item in enumerate(items):
                self._picture(item, None if seeds is None else seeds[n], pictures[n])
            return torch.from_numpy(pictures).movedim(-1, -3)
        clips = [self._clip(item, None if seeds is None else seeds[n])
                 for n, item in enumerate(items)]  # fmt: skip
        return torch.from_numpy(np.stack(clips)).movedim(-1, -3)

    def _beside(
        self, name: str, kind: StreamKind, items: Sequence[int], seeds: Sequence[int] | None
    ) -> Tensor:
        of_name = int.from_bytes(name.encode())  # its own random numbers, whatever others draw
        data = (self.shards.member(item, name) for item in items)
        rngs = (
            None if seeds is None else np.random.default_rng([seeds[n], of_name])
            for n in range(len(items))
        )
        return torch.from_numpy(loaded(name, kind, data, rngs))

    def _picture(self, item: int, seed: int | None, out: NDArray[np.uint8]) -> None:
        data = self.shards.image_bytes(item)
        if seed is None:
            read_square(data, self.image_size, out)
        else:
            how = (self.augment or Augment()).model_dump()
            out[:] = random_augment(Picture(data), self.image_size, seed, **how)

    def _clip(self, item: int, seed: int | None) -> NDArray[np.uint8]:
        assert self.clip_length is not None
        segment = self.shards.segment(item)
        rng = None if seed is None else np.random.default_rng(seed)
        frames = segment.frames(frame_indices(len(segment), self.clip_length, jitter=rng))
        if self.squash:
            return resized(frames, self.image_size)
        if rng is None:
            return centre_crop(frames, self.image_size)
        return consistent_crop(frames, self.image_size, rng, (self.augment or Augment()).crop_area)

    def __getitems__(self, picks: Picks) -> Batch:
        """A whole batch at once.

        Where the drawn caption is another item's, cluster_id and caption are those of the item's
        own first one.
        """
        items, rows = picks.items, picks.captions
        numbers, seeds = items.tolist(), picks.seeds.tolist()
        pictures = self._pictures(numbers, seeds if self.augment else None)
        streams = pictures | self._others(numbers, seeds)
        own = (self.first[items] <= rows) & (rows < self.first[items + 1])
        of_tau = np.where(own, rows, self.first[items])
        return Batch(streams, self.text[rows], self.cluster_id[of_tau],
                     torch.from_numpy(items), self.classes[rows],
                     torch.from_numpy(of_tau))  # fmt: skip


def _graded(samples: Sequence[Mapping[str, Any]]) -> list[Classes] | None:
    """Verb class and noun classes of all captions; None where a sample has none."""
    verbs, nouns = flat(samples, "verb_class"), flat(samples, "noun_classes")
    if verbs is None or nouns is None:
        return None
    return [(verb, tuple(of)) for verb, of in zip(verbs, nouns, strict=True)]
