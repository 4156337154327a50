"""What the stages wrote for a dataset -> the pairs that a model of given towers takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tokenizers import Tokenizer

from mmts.columns import check_columns
from mmts.embeddings import IDS, Embeddings, read_embeddings
from mmts.errors import InputError
from mmts.files import read_parquet
from mmts.kinds.model import VISION, ModelKind, two_towers
from mmts.kinds.vision import of_clips
from mmts.settings.towers import Towers
from mmts.shards import ShardReader
from mmts.shards.samples import flat
from mmts.shards.streamed import StreamedReader
from mmts.towers.tokens import tokens_of, vocabulary_size
from mmts.training.pairs import Pairs
from mmts.training.rows import Features, Rows, found

if TYPE_CHECKING:
    from mmts.kinds.stream import StreamKind

Once = Callable[[Callable[[], Tokenizer]], Tokenizer]
"""Something that makes -> what it made, or what another process did."""


def alone(make: Callable[[], Tokenizer]) -> Tokenizer:
    """What this process makes."""
    return make()


REMEDY = "run `dvc repro`"


class Inputs:
    """The cached features of one dataset, opened once for all splits.

    Attributes:
        dims: sizes that the model needs to know, see `TwoTower`; `tokenizer` adds the vocabulary.
    """

    def __init__(
        self, data: Path, dataset: str, towers: Towers, streamed: bool = False,
        streams: Mapping[str, StreamKind] | None = None, kind: ModelKind | None = None,
    ) -> None:  # fmt: skip
        """
        Args:
            data: the project's folder of artifacts.
            dataset, towers: which, and of what model.
            streamed: whether the training shards are elsewhere, all but their index.
            streams: those beside the pictures or clips, by name.
            kind: settings of the model; None for two towers.
        """
        self.kind = kind or two_towers()
        self.shards, self.dataset, self._streamed = data / "shards" / dataset, dataset, streamed
        self.towers = towers
        self.streams = {n: s for n, s in (streams or {}).items() if self.kind.reads(n)}
        self._opened: dict[str, ShardReader] = {}
        self.embeddings: Embeddings = read_embeddings(data / "embed" / dataset)
        path, remedy = data / "embed" / dataset / "ids.parquet", "run `dvc repro -sf embed`"
        ids = check_columns(read_parquet(path, remedy), IDS, path, remedy)
        self._captions, self._samples = ids["caption_id"], ids["sample_id"].drop_duplicates()
        if len(ids) != len(self.embeddings.caption_text):
            raise InputError(
                f"{data / 'embed' / dataset} has {len(ids):,} ids but "
                f"{len(self.embeddings.caption_text):,} rows in caption_text.npy; run "
                "`dvc repro -sf embed`"
            )
        self.dims: dict[str, int] = {}
        self._seen = self.kind.reads(VISION)
        if towers.vision.frozen and self._seen:
            self.dims["vision"] = int(self._vision_features().shape[1])
        if towers.text.frozen:
            self.dims["text"] = int(self._text_features().shape[1])

    def _vision_features(self) -> NDArray[np.float32]:
        if self.embeddings.vision is None:
            raise InputError("the vision tower is frozen but has no features; run `dvc repro`")
        return self.embeddings.vision

    def _text_features(self) -> NDArray[np.float32]:
        own = self.embeddings.text_features
        return self.embeddings.text if own is None else own

    def open(self, split: str) -> ShardReader:
        """The shards of a split, opened once, if the vision tower takes what they hold."""
        if split not in self._opened:
            streamed = self._streamed and split == "train"
            shards = (StreamedReader if streamed else ShardReader)(self.shards, split)
            vision, where = self.towers.vision, f"datasets.{self.dataset}"
            if self._seen and shards.video and not vision.video:
                raise InputError(
                    f"{where}.captions.sources are videos but {where}.towers.vision.name is "
                    f"{vision.name}, which takes pictures; set it to {of_clips()}, "
                    "with a clip_length and `frozen: false`"
                )
            if self._seen and vision.video and not shards.video:
                raise InputError(
                    f"{where}.captions.sources are pictures but {where}.towers.vision.name is "
                    f"{vision.name}, which takes clips; name a tower that takes pictures"
                )
            for name, kind in self.streams.items():
                if shards.streams.get(name) != kind.extension:
                    raise InputError(
                        f"{self.shards} has no stream {name}.{kind.extension}; run "
                        "`dvc repro -sf pack`"
                    )
            self._opened[split] = shards
        return self._opened[split]

    def captions(self, split: str) -> Sequence[str]:
        """All captions of a split, for a tokenizer to learn from."""
        return flat(self.open(split).samples, "captions") or []

    def tokenizer(self, once: Once = alone) -> Tokenizer | None:
        """Of the text tower that is to be trained, None for a frozen one.

        Learned from the training captions, or the one that the settings name. The size of its
        vocabulary goes into `dims`.

        Args:
            once: `World.from_first` where several processes want it.

        Raises:
            InputError: it cannot be loaded, or does not fit the tower's weights.
        """
        text = self.towers.text
        if text.frozen:
            return None
        tokenizer = once(lambda: text.make_tokenizer(lambda: self.captions("train")))
        self.dims["vocabulary"] = vocabulary_size(tokenizer)
        return tokenizer

    def pairs(
        self, split: str, tokenizer: Tokenizer | None, clusters: pd.DataFrame | None = None,
        items: NDArray[np.int64] | None = None,
    ) -> Pairs:  # fmt: skip
        """The pairs of one split, or of some of its media items; `clusters` as in `Pairs`."""
        frozen = self.towers.vision.frozen and self._seen
        vision = (self._vision_features(), self._samples) if frozen else None
        shards = self.open(split) if items is None else self.open(split).some(items)
        ids = flat(shards.samples, "caption_ids") or []
        rows = found(
            ids, self._captions, f"caption {{}} of {self.shards} was never embedded; {REMEDY}"
        )

        def encode_text(captions: Sequence[str], _: Sequence[str]) -> Rows:
            if tokenizer is not None:
                return tokens_of(tokenizer, captions)
            return Features(self._text_features(), self.embeddings.caption_text[rows])

        return Pairs(
            shards,
            vision_rows=vision,
            encode_text=encode_text,
            image_size=self.towers.vision.image_size,
            clip_length=self.towers.vision.frames_of(split),
            squash=self.towers.vision.squash,
            clusters=clusters,
            streams={n: kind.with_tokenizer(tokenizer) for n, kind in self.streams.items()},
            main=self._seen,
        )
