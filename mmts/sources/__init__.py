"""What the kinds of sources read with: files of a dataset -> rows of the captions table."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd


MISSING = "missing"  # begins every reason that says a listed image is not there
CAPTION_BYTES = 100_000  # of UTF-8, beyond any caption


class SourceRows(NamedTuple):
    """What a source yields before the shared checks of `mmts.captions`.

    rows: columns sample_id, caption, media; optional caption_id, split, group (rows of one group
        stay in one split), class_<name>, stream_<name> (what JSON can say, the same in all rows
        of an item), start and stop (seconds of a video; infinity for its end), lacks (why a listed
        image is known not to be there, beginning with `MISSING`, or empty). A row index
        that says where the row stood.
    credit: plain text to show under the pictures.
    publishable: whether licences allow pictures and captions on a public page.
    media: what `media` names: pictures, videos (a file, or a folder of its chunks), or nothing.
    may_lack: splits that the settings leave empty on purpose.
    min_coverage: share of the listed images of each split that must be there; None where the list
        is not known to be longer than what is there: then a missing image is a bad one.
    untried: how many more images of each split are listed, of which there is no row.
    uncaptioned: how many images of each split have no caption, and so no row.
    official: media items of each split of the published dataset, where rows may be of fewer.
    """

    rows: pd.DataFrame
    credit: str
    publishable: bool
    media: Literal["pictures", "videos", "none"] = "pictures"
    may_lack: tuple[str, ...] = ()
    min_coverage: float | None = None
    untried: Mapping[str, int] = MappingProxyType({})
    uncaptioned: Mapping[str, int] = MappingProxyType({})
    official: Mapping[str, int] = MappingProxyType({})
