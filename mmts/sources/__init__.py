"""One module a dataset: its files -> rows of the captions table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from mmts.settings import EK100Source, Flickr8kSource, OpenMojiSource, Source, TableSource

if TYPE_CHECKING:
    import pandas as pd


class SourceRows(NamedTuple):
    """What a source yields before the shared checks of `mmts.captions`.

    rows: columns sample_id, caption, media; optional caption_id, split, group (rows of one group
        stay in one split), class_<name>, start and stop (seconds of a video). A row index that
        says where the row stood.
    credit: plain text to show under the pictures.
    publishable: whether licences allow pictures and captions on a public page.
    media: what `media` names: pictures, videos (a file, or a folder of its chunks), or nothing.
    may_lack: splits that the settings leave empty on purpose.
    """

    rows: pd.DataFrame
    credit: str
    publishable: bool
    media: Literal["pictures", "videos", "none"] = "pictures"
    may_lack: tuple[str, ...] = ()


def read_source(settings: Source, raw: Path, work: Path, final: Path) -> SourceRows:
    """Rows of one source.

    Args:
        settings: its entry in params.yaml.
        raw: data/raw/<dataset>.
        work: folder to write pictures to that the source makes itself.
        final: what `work` will be called when the stage has finished.
    """
    if isinstance(settings, OpenMojiSource):
        from mmts.sources import openmoji

        return openmoji.read(settings, raw, work, final)
    if isinstance(settings, TableSource):
        from mmts.sources import table

        return table.read(settings, raw)
    if isinstance(settings, Flickr8kSource):
        from mmts.sources import flickr8k

        return flickr8k.read(settings, raw)
    if isinstance(settings, EK100Source):
        from mmts.sources import ek100

        return ek100.read(settings, raw)
    raise AssertionError(f"no reader for {settings!r}")
