"""Pictures whose file names are their captions, such as `a red square.png`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mmts.kinds.source import SourceKind
from mmts.settings.base import Folder
from mmts.settings.sources import Split

if TYPE_CHECKING:
    from mmts.sources import SourceRows


class Kind(SourceKind):
    """A folder of pictures whose file names are their captions."""

    kind: Literal["folder"]
    files = ("path",)
    fixed = False
    path: Folder = "images"
    """In data/raw/<dataset>, or an absolute path."""
    split: Split = Split()
    credit: str = ""
    """Shown under the pictures."""
    publishable: bool = False
    """Whether pictures and captions may stand on the results page that git keeps."""

    def read(self, raw: Path, work: Path, final: Path) -> SourceRows:
        """Return a row a picture."""
        import pandas as pd

        from mmts.files import require
        from mmts.sources import SourceRows

        folder = require(raw / self.path, "put the pictures there, or set path")
        names = sorted(path.name for path in folder.iterdir() if path.suffix in (".jpg", ".png"))
        rows = pd.DataFrame(
            {
                "sample_id": names,
                "caption": [name.rpartition(".")[0] for name in names],
                "media": [str(folder / name) for name in names],
            }
        )
        return SourceRows(rows, self.credit, self.publishable)
