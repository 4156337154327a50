"""Karpathy's and COCO's JSON, what img2dataset writes, and tars of pictures."""

import json
import tarfile
from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st

from mmts.kinds.source.coco import Kind as CocoSource
from mmts.kinds.source.flickr30k import Kind as Flickr30kSource
from mmts.media import MediaReader
from mmts.shards.tars import Job, survey
from mmts.sources import img2dataset, karpathy
from tests.fuzz.hostile import DEEP, HALF, odd_json, write
from tests.fuzz.odd_tables import odd_parquet
from tests.fuzz.odd_tars import odd_tar, tar_member
from tests.fuzz.outcome import Refused, outcome
from tests.fuzz.test_tables import check_rows
from tests.making import picture
from tests.sources.making_img2dataset import listed

SPLITS = ("train", "restval", "val", "test")
KARPATHY = {
    "dataset": "coco",
    "images": [
        {
            "filename": f"COCO_{n}.jpg", "filepath": "val2014", "cocoid": n, "split": SPLITS[n % 4],
            "sentences": [{"raw": f"caption {n} {m}", "tokens": ["a"]} for m in range(2)],
        }
        for n in range(4)
    ],
}  # fmt: skip
FLICKR30K = {
    "dataset": "flickr30k",
    "images": [{k: v for k, v in image.items() if k != "cocoid"} for image in KARPATHY["images"]],
}
COCO = {
    "images": [{"id": n, "file_name": f"{n}.jpg"} for n in range(3)],
    "annotations": [{"image_id": n % 3, "caption": f"c {n}", "id": n} for n in range(6)],
}
COLUMNS = ("sample_id", "caption", "media", "split")


@given(odd_json(KARPATHY))
@example(DEEP[0].encode())
@example(json.dumps(KARPATHY).replace("caption 0 0", HALF).encode("utf-8", "surrogatepass"))
@example(json.dumps(KARPATHY).replace("caption 0 0", "\\ud800").encode())
def test_karpathy_coco(folder: Path, data: bytes) -> None:
    write(folder / "k.json", data)
    settings = CocoSource.model_validate({"kind": "coco", "captions": "k.json", "images": None})
    check_rows(outcome(karpathy.read, settings, folder), COLUMNS)


@given(odd_json(FLICKR30K))
def test_karpathy_flickr30k(folder: Path, data: bytes) -> None:
    write(folder / "k.json", data)
    (folder / "images/val2014").mkdir(parents=True, exist_ok=True)
    settings = Flickr30kSource.model_validate({"kind": "flickr30k", "captions": "k.json"})
    check_rows(outcome(karpathy.read, settings, folder), COLUMNS)


@given(odd_json(COCO), st.sampled_from(("captions_val2017.json", "c.txt")))
def test_coco(folder: Path, data: bytes, name: str) -> None:
    write(folder / name, data)
    settings = CocoSource.model_validate(
        {"kind": "coco", "captions": name, "images": None, "splits": ["test"]}
    )
    check_rows(outcome(karpathy.read, settings, folder), COLUMNS)


# --- img2dataset and tars ----------------------------------------------------------------------

RECORDS = listed(4, dead=(2,))
PICTURE = picture(0, (8, 6), coded="JPEG")
MEMBERS = {
    f"{n:09d}.{ending}": data
    for n in range(2)
    for ending, data in (("jpg", PICTURE), ("txt", b"a caption"), ("json", b"{}"))
}


@given(odd_parquet(RECORDS), odd_tar(MEMBERS), st.sampled_from(("both", "tar", "parquet")))
def test_img2dataset(folder: Path, records: bytes, tar: bytes, what: str) -> None:
    for name, data in (("00000.parquet", records), ("00000.tar", tar)):
        path = write(folder / "run" / name, data)
        if what not in ("both", path.suffix[1:]):
            path.unlink()
    found = outcome(img2dataset.read_output, folder / "run")
    if not isinstance(found, Refused):
        for name in ("key", "caption", "media", "lacks"):
            assert all(type(value) is str for value in found[name].tolist()), name
        assert found["key"].is_unique


HUGE = tar_member("000000000.jpg", PICTURE, size=b"77777777777\0")
BACK = tar_member("@", b"13 size=-512\n", tarfile.XHDTYPE) + tar_member("000000000.jpg", PICTURE)
NAMED = tar_member("@", b"n", tarfile.GNUTYPE_LONGNAME) * 600
LONG = tar_member("@", b"n", tarfile.GNUTYPE_LONGNAME, b"77777777777\0")
PAXED = tar_member("@", b"99999999999 path=a\n", tarfile.XHDTYPE) + HUGE


@given(odd_tar(MEMBERS))
@example(HUGE)
@example(BACK)
@example(NAMED)
@example(LONG)
@example(PAXED)
def test_tar_of_pictures(folder: Path, data: bytes) -> None:
    path = write(folder / "pictures.tar", data)
    found = outcome(read_members, path)
    if not isinstance(found, Refused):
        assert all(len(part) <= len(data) for part in found)


def read_members(path: Path) -> list[bytes]:
    reader, found = MediaReader(), []
    for name in MEMBERS:
        if name.endswith("jpg"):
            try:
                found.append(reader.read(f"{path}::{name}"))
            except FileNotFoundError:  # the truth, which `inspect` counts
                found.append(b"")
    return found


@given(odd_tar(MEMBERS))
@example(HUGE)
@example(BACK)
@example(NAMED)
@example(LONG)
@example(PAXED)
def test_tar_in_place(folder: Path, data: bytes) -> None:
    path = write(folder / "place.tar", data)
    found = outcome(lambda: list(survey(Job(path, None))))
    if not isinstance(found, Refused):
        (tar,) = found
        assert tar.bytes == len(data)
        for row in tar.members.to_pylist():
            assert 0 <= row["offset"] <= row["offset"] + row["bytes"] <= len(data)
