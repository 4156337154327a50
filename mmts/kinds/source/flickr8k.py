"""Flickr8k (Hodosh et al. 2013)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mmts.kinds.source import SourceKind
from mmts.settings.base import Positive

if TYPE_CHECKING:
    from mmts.sources import SourceRows


class Kind(SourceKind):
    """Flickr8k as people download it: Images/ (or one tar), captions.txt, three split lists."""

    kind: Literal["flickr8k"]
    limit: Positive | None = None
    """Keep only this many images of each split (for a quick try)."""

    def read(self, raw: Path, work: Path, final: Path) -> SourceRows:
        """Return a row a caption of the photographs of the three lists."""
        from mmts.sources import flickr8k

        return flickr8k.read(self, raw)
