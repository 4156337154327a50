"""YouCook2 (Zhou et al. 2018)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from mmts.kinds.source import SourceKind
from mmts.settings.base import Folder, Positive, Seed, Share, Text

if TYPE_CHECKING:
    from mmts.sources import SourceRows

Files = Annotated[tuple[Text, ...], Field(strict=False)]


class Kind(SourceKind):
    """YouCook2: the official annotations or VAST's, videos if any, and subtitles if any."""

    kind: Literal["youcook2"]
    files = ("annotations", "subtitles", "videos")
    annotations: Annotated[Files, Field(max_length=2)] = ()
    """Files in data/raw/<dataset>, or absolute paths: the official JSON; or urlsegmentcaption.txt
    and the ids of the training videos; or VAST's two files, training and test. Empty looks for
    their usual names."""
    subtitles: Files = ()
    """Tables (.csv, .tsv, .parquet, .jsonl) with the columns video_id (<id>_<start>_<end>) and
    subtitle, or VAST's JSON. Without any, those of VAST's annotations are taken."""
    videos: Folder | None = "raw_videos"
    """Folder of the videos, in data/raw/<dataset> or an absolute path: <id>.mp4, .mkv, .webm and so
    on, at any depth, or clips already cut, <id>_<start>_<end>.mp4; null for annotations only, which
    is enough for clusters and shifts."""
    min_coverage: Annotated[float, Field(ge=0, le=1)] = 0.85
    """Least share of a split's clips whose videos must be there; some are gone from YouTube."""
    val_share: Share = 0.0
    """Share of the training videos to validate on; 0, as published, leaves all of them to training.
    The official validation split is the test."""
    seed: Seed = 0
    """Which videos those are."""
    limit: Positive | None = None
    """Keep only this many videos of each split (for a quick try)."""

    def read(self, raw: Path, work: Path, final: Path) -> SourceRows:
        """Return a row a caption."""
        from mmts.sources import youcook2

        return youcook2.read(self, raw)
