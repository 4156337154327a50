import io
import tarfile
from pathlib import Path

import pytest

from mmts.errors import InputError
from mmts.kinds.source.flickr8k import Kind as Flickr8kSource
from mmts.media import MediaReader
from mmts.sources import flickr8k
from tests.making import picture, write_picture

LISTS = {"train": ("a.jpg", "b.jpg", "c.jpg"), "dev": ("d.jpg",), "test": ("e.jpg",)}


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    lines = [f'{name}.jpg,"caption {n}, of {name} ."' for n in range(2) for name in "abcdef"]
    (tmp_path / "captions.txt").write_text("image,caption\n" + "\n".join(lines) + "\n")
    for word, names in LISTS.items():
        (tmp_path / f"Flickr_8k.{word}Images.txt").write_text("\r\n".join(names) + "\r\n\r\n")
    for n, name in enumerate("abcdef"):
        write_picture(tmp_path / f"Images/{name}.jpg", n)
    return tmp_path


def read(raw: Path, limit: int | None = None):  # type: ignore[no-untyped-def]
    return flickr8k.read(Flickr8kSource(kind="flickr8k", limit=limit), raw)


def test_a_row_a_caption_of_the_listed_photographs(raw: Path) -> None:
    found = read(raw)
    assert not found.publishable and "Hodosh" in found.credit
    assert len(found.rows) == 10
    splits = found.rows.drop_duplicates("sample_id").set_index("sample_id")["split"].to_dict()
    assert splits == {
        "flickr8k/a.jpg": "train", "flickr8k/b.jpg": "train", "flickr8k/c.jpg": "train",
        "flickr8k/d.jpg": "val", "flickr8k/e.jpg": "test",
    }  # fmt: skip
    first = found.rows.iloc[0]
    assert first["caption"] == "caption 0, of a ." and first["media"] == f"{raw}/Images/a.jpg"


def test_the_photographs_in_a_tar(raw: Path) -> None:
    with tarfile.open(raw / "flickr8k.tar", "w") as tar:
        data = picture(3, coded="JPEG")
        member = tarfile.TarInfo("Images/a.jpg")
        member.size = len(data)
        tar.addfile(member, io.BytesIO(data))
    (raw / "Images").rename(raw / "elsewhere")
    reference = read(raw).rows["media"].iloc[0]
    assert reference == f"{raw}/flickr8k.tar::Images/a.jpg"
    assert MediaReader().read(reference) == picture(3, coded="JPEG")


def test_limit(raw: Path) -> None:
    found = read(raw, limit=1).rows
    assert sorted(set(found["sample_id"])) == [f"flickr8k/{x}.jpg" for x in "ade"]
    assert len(found) == 6


@pytest.mark.parametrize(
    "name", ["captions.txt", *(f"Flickr_8k.{word}Images.txt" for word in LISTS)]
)
def test_a_file_that_is_not_there(raw: Path, name: str) -> None:
    (raw / name).unlink()
    with pytest.raises(InputError, match=f"{name} is not there; put Images/"):
        read(raw)


def test_bad_files(raw: Path) -> None:
    (raw / "Flickr_8k.devImages.txt").write_bytes(b"caf\xe9.jpg\n")
    with pytest.raises(InputError, match=r"devImages\.txt is not UTF-8"):
        read(raw)
    (raw / "captions.txt").write_text("image|caption\na.jpg|b\n")
    with pytest.raises(
        InputError, match=r"captions\.txt has no column 'image'; it has 'image\|caption'"
    ):
        read(raw)


def test_no_photographs(raw: Path) -> None:
    (raw / "Images").rename(raw / "elsewhere")
    with pytest.raises(InputError, match="no Images/ and not one tar but none"):
        read(raw)
    (raw / "a.tar").touch()
    (raw / "b.tar").touch()
    with pytest.raises(InputError, match=r"not one tar but a\.tar, b\.tar"):
        read(raw)
