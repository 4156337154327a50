"""EPIC-KITCHENS-100 multi-instance retrieval (Damen et al. 2022)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mmts.kinds.source import SourceKind
from mmts.settings.base import Folder, Positive, Seed, Share

if TYPE_CHECKING:
    from mmts.sources import SourceRows


class Kind(SourceKind):
    """EPIC-KITCHENS-100 multi-instance retrieval: the official CSV files, and videos if any."""

    kind: Literal["ek100"]
    graded = True
    files = ("videos",)
    videos: Folder | None = "videos"
    """Folder of the videos, in data/raw/<dataset> or an absolute path; null for annotations only,
    which is enough for clusters and shifts."""
    layout: Literal["auto", "flat", "participant", "chunks"] = "auto"
    """flat: P01_01.MP4; participant: P01/P01_01.MP4 or P01/videos/P01_01.MP4; chunks:
    P01/P01_01.MP4/0.MP4, 15.MP4 and so on, every 15 s; auto looks for each video in all three."""
    val_share: Share = 0.05
    """Share of the training videos to validate on; 0 leaves all of them to training."""
    seed: Seed = 0
    """Which videos those are."""
    limit: Positive | None = None
    """Keep only this many videos of each split (for a quick try)."""

    def read(self, raw: Path, work: Path, final: Path) -> SourceRows:
        """Return a row a clip."""
        from mmts.sources import ek100

        return ek100.read(self, raw)
