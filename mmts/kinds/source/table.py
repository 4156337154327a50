"""The user's own pairs: a table with an image file and a caption a row."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from mmts.kinds.source import SourceKind
from mmts.settings.base import NO_NUL, Folder, Positive, Text
from mmts.settings.sources import Split, SplitName

if TYPE_CHECKING:
    from mmts.sources import SourceRows


class Kind(SourceKind):
    """A table of the user's own: an image file and a caption a row."""

    kind: Literal["table"]
    files = ("path", "image_root")
    fixed = False
    path: Text
    """CSV, TSV, Parquet or JSON Lines, relative to data/raw/<dataset>."""
    image_column: Text = "image"
    """The column of picture files; several rows may name one."""
    caption_column: Text = "caption"
    """The column of captions."""
    id_column: Text | None = None
    """A column that names each row; made from the image when there is none."""
    split_column: Text | None = None
    """A column with train, val (validation, dev) or test; split by image when there is none."""
    class_columns: Annotated[tuple[Text, ...], Field(strict=False)] = ()
    """Columns that a clustering of kind `column` may use."""
    stream_columns: Annotated[tuple[Text, ...], Field(strict=False)] = ()
    """Columns that `datasets.NAME.streams` may use; one value an image, a list too."""
    image_root: Folder | None = None
    """Folder or tar that image paths start from, relative to data/raw/<dataset> as `path` is; the
    table's own folder when there is none."""
    split: Split = Split()
    splits: Annotated[tuple[SplitName, ...], Field(strict=False, min_length=1)] = (
        "train", "val", "test",
    )  # fmt: skip
    """What the table contributes: [test] only evaluates on it. Without `split_column`, all of them
    or one."""
    credit: Annotated[str, Field(pattern=NO_NUL)] = ""
    """Shown under the pictures."""
    publishable: bool = False
    """Whether pictures and captions may stand on the results page that git keeps."""
    limit: Positive | None = None
    """Keep only this many images, of each split where the table has them (for a quick try)."""

    @model_validator(mode="after")
    def _sound(self) -> Kind:
        if len(set(self.splits)) < len(self.splits):
            raise ValueError(f"splits {list(self.splits)} names one twice")
        if len(self.splits) == 2 and self.split_column is None:
            raise ValueError(
                f"splits {list(self.splits)} needs a split_column; name one, or a single split"
            )
        return self

    def read(self, raw: Path, work: Path, final: Path) -> SourceRows:
        """Return a row a line of the table."""
        from mmts.sources import table

        return table.read(self, raw)
