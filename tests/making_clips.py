"""Clips of short videos whose frames carry their number, and a project to pack them in."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from mmts.captions_table import COLUMNS
from mmts.shards import Item
from mmts.shards.cutting import video_files
from tests import making
from tests.making_video import write_video

RATE, SECONDS = 25, 4
SIZES = {3: 2, 0: 9}


def write_videos(folder: Path, count: int, seconds: float = SECONDS) -> list[Path]:
    """Videos whose frames are numbered on from one to the next."""
    folder.mkdir(parents=True)
    frames = round(seconds * RATE)
    return [
        write_video(folder / f"v{n}.mp4", range(n * frames, (n + 1) * frames), gop=12)
        for n in range(count)
    ]


def clip(media: Path, number: int, start: float, stop: float, split: str = "train") -> Item:
    """A clip with one caption; of a video that is not there, too."""
    try:
        size = sum(size for _, size, _ in video_files(str(media)))
    except FileNotFoundError:
        size = 7
    name = f"{media.stem}_{number}"
    lists = {"verb_class": [number % 3], "noun_classes": [[number, 9]]}
    return Item("s", split, name, str(media), size, "", float(start), float(stop),
                [f"caption of {name}"], [f"{name}#0"], [number % 2 * 3], lists)  # fmt: skip


def write_project(root: Path, found: list[Item], **pack: object) -> None:
    """params.yaml, captions and clusters of the dataset `tiny`, as their stages leave them."""
    root.mkdir(parents=True, exist_ok=True)
    settings = {"shard_size": 3, "image_size": 64, "quality": 90, **pack}
    making.write_params(root / "params.yaml", making.PARAMS, {"datasets.tiny.pack": settings})
    rows = [
        {
            **dict(zip(COLUMNS, (*i[:3], i.caption_ids[0], i.captions[0], *i[3:6]), strict=True)),
            "start": i.start, "stop": i.stop,
            **{name: values[0] for name, values in i.lists.items()},
        }
        for i in found
    ]  # fmt: skip
    clusters = pd.DataFrame({
        "caption_id": [i.caption_ids[0] for i in found],
        "cluster_id": [i.cluster_id[0] for i in found],
        "cluster_size": [SIZES[i.cluster_id[0]] for i in found],
    })  # fmt: skip
    for path, table in (
        ("captions/tiny/captions.parquet", pd.DataFrame(rows)),
        ("cluster/tiny/default.parquet", clusters),
    ):
        (root / "data" / path).parent.mkdir(parents=True, exist_ok=True)
        table.to_parquet(root / "data" / path)
    making.write_plan(root)


def files(folder: Path) -> dict[str, bytes]:
    """What a folder holds."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.*")
            if p.is_file()}  # fmt: skip
