import zlib
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pydantic import ValidationError

from mmts.errors import InputError
from mmts.kinds.source.cc3m import Kind as CC3MSource
from mmts.sources import SourceRows, cc3m
from tests.making import write_picture
from tests.sources.making_img2dataset import listed, write_output


def read(raw: Path, **settings: Any) -> SourceRows:
    return cc3m.read(CC3MSource.model_validate({"kind": "cc3m", **settings}), raw)


def refusal(raw: Path, **settings: Any) -> str:
    with pytest.raises(InputError) as caught:
        read(raw, **settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def write_tsv(path: Path, rows: pd.DataFrame, columns: tuple[str, ...] = ("caption", "url")) -> str:
    lines = ["\t".join(row) for row in rows[list(columns)].itertuples(index=False)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path.name


def test_shards_of_two_splits(tmp_path: Path) -> None:
    write_output(tmp_path / "train", listed(10, (1, 6)))
    write_output(tmp_path / "val", listed(3, (2,)))
    found = read(tmp_path, train={"images": "train"}, val={"images": "val"})
    assert found.rows["sample_id"].tolist()[9:11] == [
        "cc3m/train/000000009", "cc3m/val/000000000",
    ]  # fmt: skip
    assert found.rows["split"].tolist() == ["train"] * 10 + ["val"] * 3
    assert (found.rows["lacks"] != "").sum() == 3
    assert (found.media, found.may_lack, found.min_coverage) == ("pictures", ("test",), 0.5)
    assert not found.publishable and "Sharma" in found.credit


def test_the_tsv_says_what_img2dataset_has_not_tried(tmp_path: Path) -> None:
    write_output(tmp_path / "train", listed(8, (1,)))
    tsv = write_tsv(tmp_path / "a.tsv", listed(11))
    part = {"images": "train", "tsv": tsv}
    assert read(tmp_path, train=part).untried == {"train": 3}
    assert read(tmp_path, train=part, limit=2).untried == {}
    text = (tmp_path / tsv).read_text()
    (tmp_path / tsv).write_text("caption\turl\n" + text.rstrip("\n"))
    assert read(tmp_path, train=part).untried == {"train": 3}
    write_tsv(tmp_path / "a.tsv", listed(7))
    assert "a.tsv lists 7 images and img2dataset has recorded 8" in refusal(tmp_path, train=part)


def test_captions_alone(tmp_path: Path) -> None:
    rows = listed(3)
    rows["caption"] = ["NA", 'says "hi', " "]
    found = read(tmp_path, test={"tsv": write_tsv(tmp_path / "a.tsv", rows)})
    assert found.rows["caption"].tolist() == ["NA", 'says "hi', " "]
    assert found.rows["sample_id"].tolist() == [f"cc3m/test/00000000{n}" for n in range(3)]
    assert found.rows.index.tolist() == [1, 2, 3] and set(found.rows["media"]) == {""}
    assert (found.media, found.may_lack) == ("none", ("train", "val"))


def test_a_header_is_no_row_but_a_line(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_bytes(b"\xef\xbb\xbfCaption\tURL\r\none\tu\r\ntwo\tv\r\n")
    found = read(tmp_path, train={"tsv": "a.tsv"}).rows
    assert found["caption"].tolist() == ["one", "two"] and found.index.tolist() == [2, 3]
    assert found["sample_id"].tolist() == ["cc3m/train/000000000", "cc3m/train/000000001"]


def test_pictures_named_by_a_column(tmp_path: Path) -> None:
    rows = listed(4).assign(image=["a/0.jpg", "a/1.png", "", "b/3.jpg"])
    tsv = write_tsv(tmp_path / "a.tsv", rows, ("caption", "url", "image"))
    (tmp_path / "pictures").mkdir()
    part = {"tsv": tsv, "images": "pictures", "names": "column"}
    found = read(tmp_path, train=part).rows
    assert found["media"][1] == f"{tmp_path}/pictures/a/0.jpg"
    assert found["sample_id"].tolist() == [
        f"cc3m/train/{name}" for name in ("a/0.jpg", "a/1.png", "line-3", "b/3.jpg")
    ]
    assert found["lacks"].tolist() == ["", "", "missing (no image named)", ""]


def test_pictures_named_by_a_pattern(tmp_path: Path) -> None:
    rows = pd.concat([listed(10_002)], ignore_index=True)
    tsv = write_tsv(tmp_path / "a.tsv", rows)
    (tmp_path / "p").mkdir()
    part = {"tsv": tsv, "images": "p", "names": "{shard:05d}/{shard:05d}{index:04d}.jpg"}
    found = read(tmp_path, train=part).rows["media"]
    assert found.iloc[-1] == f"{tmp_path}/p/00001/000010001.jpg"
    found = read(tmp_path, train={**part, "names": "{row}_{crc32}"}).rows["media"]
    assert found.iloc[7] == f"{tmp_path}/p/7_{zlib.crc32(b'http://x/7')}"


@pytest.mark.parametrize("name", ["../../evil.jpg", "/etc/x.jpg", "a/../../x.jpg", "C:\\x.jpg",
                                  "..", "..\\x.jpg", "a.tar::b.jpg", "~/x.jpg"])  # fmt: skip
def test_an_image_outside_of_its_folder(tmp_path: Path, name: str) -> None:
    rows = listed(3).assign(image=["a.jpg", name, "c.jpg"])
    tsv = write_tsv(tmp_path / "a.tsv", rows, ("caption", "url", "image"))
    (tmp_path / "p").mkdir()
    part = {"tsv": tsv, "images": "p", "names": "column"}
    found = refusal(tmp_path, train=part)
    assert found.startswith(f"{tmp_path}/a.tsv line 2: the image {name!r} lies outside")


def test_names_that_only_look_like_that_are_fine(tmp_path: Path) -> None:
    rows = listed(3).assign(image=["a..b.jpg", "..a/b.jpg", "a/...jpg"])
    tsv = write_tsv(tmp_path / "a.tsv", rows, ("caption", "url", "image"))
    write_picture(tmp_path / "p/x.jpg", 1)
    part = {"tsv": tsv, "images": "p", "names": "column"}
    assert len(read(tmp_path, train=part).rows) == 3


def test_an_image_that_stands_twice(tmp_path: Path) -> None:
    rows = listed(3).assign(image=["a.jpg", "b.jpg", "a.jpg"])
    tsv = write_tsv(tmp_path / "a.tsv", rows, ("caption", "url", "image"))
    (tmp_path / "p").mkdir()
    found = refusal(tmp_path, train={"tsv": tsv, "images": "p", "names": "column"})
    assert "a.tsv line 3: the image 'a.jpg' stands in line 1 too" in found


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a\tu\nb\nc\tv\n", "line 2 has no tab and url; a line is caption<TAB>url"),
        ("a\tu\n\nc\tv\n", "line 2 has no tab and url"),
        ("caption\turl\na\tu\nc\t\n", "line 3 has no tab and url"),
        ("a\tu\nb\tv\tw\n", "line 2 has more than 2 fields"),
        ("a\tu\tx\ty\nb\tv\n", "line 1 has more than 2 fields"),
        ("a\tu\nb\tv\tw\tx\n", "Expected 3 fields in line 2, saw 4"),
        (b"a\tu\ncaf\xe9\tv\n", "is not UTF-8 (byte "),
        ("", "is empty"),
        (None, "is not there; take it from ai.google.com"),
    ],
)  # fmt: skip
def test_bad_tsv(tmp_path: Path, content: str | bytes | None, message: str) -> None:
    if content is not None:
        data = content if isinstance(content, bytes) else content.encode()
        (tmp_path / "a.tsv").write_bytes(data)
    found = refusal(tmp_path, train={"tsv": "a.tsv"})
    assert found.startswith(f"{tmp_path}/a.tsv") and message in found


def test_images_for_some_splits_only(tmp_path: Path) -> None:
    write_output(tmp_path / "train", listed(4))
    found = refusal(tmp_path, train={"images": "train"}, val={"tsv": "a.tsv"})
    assert "val has no images, other splits have" in found


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "none of train, val and test"),
        ({"train": {}}, "neither tsv nor images"),
        ({"train": {"images": "a", "names": "column"}}, "about lines of a TSV"),
        ({"train": {"tsv": "a", "images": "a", "names": "x.jpg"}}, "gives every line one picture"),
        ({"train": {"tsv": "a", "images": "a", "names": "{line}.jpg"}}, "is no pattern of {row}"),
        ({"train": {"tsv": "a", "images": "a", "names": "{row.jpg"}}, "is no pattern of {row}"),
    ],
)  # fmt: skip
def test_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        CC3MSource.model_validate({"kind": "cc3m", **settings})
    assert message in str(caught.value)


def test_limit(tmp_path: Path) -> None:
    write_output(tmp_path / "train", listed(10, (1,)))
    found = read(tmp_path, train={"images": "train"}, limit=3).rows
    assert found["lacks"].tolist() == ["", "missing (failed_to_download)", ""]
