"""What img2dataset writes, made up: shards of pictures with records of what was downloaded."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from tests.making import picture


def listed(count: int, dead: tuple[int, ...] = ()) -> pd.DataFrame:
    """The records of `count` images: key, caption, url, status; `dead` ones have no picture."""
    return pd.DataFrame(
        {
            "key": [f"{n:09d}" for n in range(count)],
            "caption": [f"caption {n} ." for n in range(count)],
            "url": [f"http://x/{n}" for n in range(count)],
            "status": ["failed_to_download" if n in dead else "success" for n in range(count)],
            "error_message": None,
            "width": 40,
        }
    )


def write_tar(path: Path, members: Mapping[str, bytes]) -> Path:
    """A tar as webdataset writes it: times are fractions, so every member has a pax header."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(data), 1700000000.25
            tar.addfile(member, io.BytesIO(data))
    return path


def members(rows: pd.DataFrame, ending: str = "jpg") -> dict[str, bytes]:
    """.jpg, .txt and .json of the images that were downloaded."""
    found = {}
    for row in rows[rows["status"] == "success"].itertuples():
        coded = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}[ending]
        found[f"{row.key}.{ending}"] = picture(int(row.key) % 1000, coded=coded)
        found[f"{row.key}.txt"] = row.caption.encode()
        found[f"{row.key}.json"] = json.dumps({"key": row.key, "url": row.url}).encode()
    return found


def write_output(
    folder: Path, rows: pd.DataFrame, *, shard: int = 4, tars: bool = True, records: bool = True,
    ending: str = "jpg",
) -> Path:  # fmt: skip
    """A whole run: shards of `shard` listed images, as tars or as folders of files."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, start in enumerate(range(0, len(rows), shard)):
        part, name = rows.iloc[start : start + shard], f"{number:05d}"
        if tars:
            write_tar(folder / f"{name}.tar", members(part, ending))
        else:
            (folder / name).mkdir()
            for file, data in members(part, ending).items():
                (folder / name / file).write_bytes(data)
        if records:
            part.to_parquet(folder / f"{name}.parquet")
        (folder / f"{name}_stats.json").write_text("{}")
    return folder
