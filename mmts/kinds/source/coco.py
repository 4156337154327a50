"""COCO captions."""

from __future__ import annotations

from types import MappingProxyType
from typing import Literal

from mmts.kinds.source._karpathy import Karpathy
from mmts.settings.base import Folder, Text


class Kind(Karpathy):
    """COCO captions: the 2014 or 2017 images, in Karpathy's splits (restval is trained on)."""

    kind: Literal["coco"]
    credit = (
        "COCO: T.-Y. Lin et al. (2014), Microsoft COCO: Common Objects in Context. Captions CC BY "
        "4.0; the photographs belong to their owners on Flickr."
    )
    listed = MappingProxyType({"train": 113_287, "val": 5_000, "test": 5_000})
    numbered = "cocoid"
    captions: Text = "dataset_coco.json"
    images: Folder | None = "images"
