"""What the stages wrote for a dataset -> the pairs that a model of given towers takes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor

from mmts.embed import Embeddings, read_embeddings
from mmts.errors import InputError
from mmts.files import read_parquet
from mmts.settings import Towers
from mmts.shards import ShardReader
from mmts.towers.tokens import encode
from mmts.training.data import Pairs


class Inputs:
    """The cached features of one dataset, opened once for all splits.

    Attributes:
        dims: sizes that the model needs to know, see `TwoTower`.
    """

    def __init__(self, data: Path, dataset: str, towers: Towers) -> None:
        self.shards = data / "shards" / dataset
        self.towers = towers
        self.embeddings: Embeddings = read_embeddings(data / "embed" / dataset)
        ids = read_parquet(data / "embed" / dataset / "ids.parquet", "run `dvc repro -sf embed`")
        texts = self.embeddings.caption_text
        self._text_row = dict(zip(ids["caption_id"], texts, strict=True))
        samples = ids["sample_id"].drop_duplicates()
        self._vision_row = {sample_id: row for row, sample_id in enumerate(samples)}
        self.dims: dict[str, int] = {}
        if towers.vision.frozen:
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

    def captions(self, split: str) -> list[str]:
        """All captions of a split, for a tokenizer to learn from."""
        return [c for sample in ShardReader(self.shards, split).samples for c in sample["captions"]]

    def pairs(
        self, split: str, tokenizer: Tokenizer | None, clusters: pd.DataFrame | None = None
    ) -> Pairs:
        """The pairs of one split; arguments as in `Pairs`."""
        vision = (self._vision_features(), self._vision_row) if self.towers.vision.frozen else None
        shards = ShardReader(self.shards, split)
        wanted = {c for sample in shards.samples for c in sample["caption_ids"]}
        if not wanted <= self._text_row.keys():
            raise InputError(
                f"caption {min(wanted - self._text_row.keys())} of {self.shards} was never "
                "embedded; run `dvc repro`"
            )
        return Pairs(
            shards,
            vision_rows=vision,
            encode_text=self._text_encoder(tokenizer),
            image_size=self.towers.vision.image_size,
            clusters=clusters,
        )

    def _text_encoder(
        self, tokenizer: Tokenizer | None
    ) -> Callable[[list[str], list[str]], Tensor]:
        if tokenizer is not None:
            return lambda captions, _: encode(tokenizer, captions)
        features = self._text_features()

        def rows(_: list[str], caption_ids: list[str]) -> Tensor:
            return torch.from_numpy(features[[self._text_row[c] for c in caption_ids]])

        return rows
