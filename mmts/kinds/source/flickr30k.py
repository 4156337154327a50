"""Flickr30K."""

from __future__ import annotations

from types import MappingProxyType
from typing import Literal

from mmts.kinds.source._karpathy import Karpathy
from mmts.settings.base import Folder, Text


class Kind(Karpathy):
    """Flickr30K in Karpathy's splits."""

    kind: Literal["flickr30k"]
    credit = (
        "Flickr30K: P. Young et al. (2014), From Image Descriptions to Visual Denotations. "
        "Photographs for non-commercial research only."
    )
    listed = MappingProxyType({"train": 29_000, "val": 1_014, "test": 1_000})
    captions: Text = "dataset_flickr30k.json"
    images: Folder | None = "flickr30k-images"
