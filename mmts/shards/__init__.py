"""WebDataset shards with cluster IDs: written byte for byte the same each time, read in place.

A shard is an uncompressed tar. A sample is `<key>.jpg` or `<key>.png`, of clips `<key>.mjpeg` (see
mmts.video.segment), and `<key>.json`, with keys of our own making (`00000042`). The JSON holds the
lists `captions`, `caption_ids` and `cluster_id`, one entry a caption, and so for each of LISTS that
the captions table has; of clips also `start` and `stop` in seconds, a stop of null where
the clip goes to the end of its video.
Between the two is `<key>.<name>.<ending>` of each stream of the dataset (`mmts.kinds.stream`).
manifest.json has each shard's number of samples and SHA-256, and the ending of each stream;
index.parquet has the place of each member, so that reading neither walks a tar nor unpickles
anything. Pictures may stay in tars of others (`pack.in_place`): the index has their places too,
without a JSON (its bytes are 0), and the manifest's `tars` the same facts as of shards, with the
number of samples of each split. Of clips there is lost.parquet too, and the manifest's `clips` has
how they were cut, how many were lost, and of each split how many clips have each number of frames.
An item without a stream (a clip without sound) has a member of no bytes: empty.parquet lists these
with the reason, and the manifest's `empty` has their number by stream and split.
"""

from mmts.shards.archive import empty_lines
from mmts.shards.clips import short_clips, write_clips
from mmts.shards.items import LISTS, Item, cluster_sizes, items
from mmts.shards.pictures import write_shards
from mmts.shards.reader import ShardReader

__all__ = [
    "LISTS",
    "Item",
    "ShardReader",
    "cluster_sizes",
    "empty_lines",
    "items",
    "short_clips",
    "write_clips",
    "write_shards",
]
