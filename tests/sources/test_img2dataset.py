import io
import tarfile
import warnings
from pathlib import Path

import pytest

from mmts.errors import InputError
from mmts.media import MediaReader
from mmts.sources.img2dataset import read_output
from tests.making import picture
from tests.sources.making_img2dataset import listed, members, write_output, write_tar

DEAD = (1, 6)


def refusal(folder: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_output(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("ending", ["jpg", "png", "webp"])
@pytest.mark.parametrize("tars", [True, False])
def test_with_records_every_listed_image_has_a_row(tmp_path: Path, tars: bool, ending: str) -> None:
    rows = listed(10, DEAD)
    found = read_output(write_output(tmp_path / "out", rows, tars=tars, ending=ending))
    assert found["key"].tolist() == rows["key"].tolist()
    assert found["caption"].tolist() == rows["caption"].tolist()
    assert [n for n, lacks in enumerate(found["lacks"]) if lacks] == list(DEAD)
    assert set(found["lacks"]) == {"", "missing (failed_to_download)"}
    between = ".tar::" if tars else "/"
    assert found["media"][9] == f"{tmp_path}/out/00002{between}000000009.{ending}"
    coded = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}[ending]
    reader = MediaReader()
    for n in (0, 5, 9):
        assert reader.read(found["media"][n]) == picture(n, coded=coded)


@pytest.mark.parametrize("tars", [True, False])
def test_without_records_captions_come_from_txt(tmp_path: Path, tars: bool) -> None:
    rows = listed(10, DEAD)
    with_records = read_output(write_output(tmp_path / "a", rows, tars=tars))
    found = read_output(write_output(tmp_path / "b", rows, tars=tars, records=False))
    expected = with_records[with_records["lacks"] == ""].reset_index(drop=True)
    expected["media"] = expected["media"].str.replace(f"{tmp_path}/a", f"{tmp_path}/b")
    assert found.to_dict("list") == expected.to_dict("list")


def test_only_a_shard_without_records_is_walked(tmp_path: Path) -> None:
    folder = write_output(tmp_path, listed(10, DEAD))
    (folder / "00001.parquet").unlink()
    assert read_output(folder)["key"].tolist() == [f"{n:09d}" for n in range(10) if n != 6]


def test_a_shard_that_is_not_there_lacks_all_its_images(tmp_path: Path) -> None:
    folder = write_output(tmp_path, listed(10, DEAD))
    (folder / "00001.tar").unlink()
    lacks = read_output(folder)["lacks"].tolist()
    assert lacks[4:8] == ["missing (no shard)"] * 2 + [
        "missing (failed_to_download)", "missing (no shard)",
    ]  # fmt: skip
    assert lacks[8:] == ["", ""]


def test_members_that_are_not_on_the_list_are_passed_over(tmp_path: Path) -> None:
    """A pickle, links, names that climb out: none is read, one warning names the first."""
    path = tmp_path / "00000.tar"
    with tarfile.open(path, "w") as tar:
        for name, data in {
            "a.pyd": b"cos\nsystem\n", "/etc/b.jpg": b"x", "../c.jpg": b"x", "d.jpg": picture(1),
            "d.txt": b"kept", "e.pkl": b"x",
        }.items():  # fmt: skip
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
        for name, kind in (("f.jpg", tarfile.SYMTYPE), ("g.jpg", tarfile.LNKTYPE)):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            tar.addfile(member)
    with pytest.warns(UserWarning, match=r"ignored 6 members of tars .* the first is .*::a\.pyd"):
        found = read_output(tmp_path)
    assert found["key"].tolist() == ["d"] and found["caption"].tolist() == ["kept"]


def test_an_ordinary_run_warns_of_nothing(tmp_path: Path) -> None:
    folder = write_output(tmp_path, listed(6), records=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_output(folder)


def test_tars_of_other_names_and_folders_in_them(tmp_path: Path) -> None:
    write_tar(tmp_path / "cc3m-train-0000.tar", {"a/1.jpg": picture(1), "a/1.txt": b"one"})
    found = read_output(tmp_path)
    assert found["media"].tolist() == [f"{tmp_path}/cc3m-train-0000.tar::a/1.jpg"]
    assert found["key"].tolist() == ["a/1"]


def test_a_picture_without_txt_has_an_empty_caption(tmp_path: Path) -> None:
    some = members(listed(3))
    del some["000000001.txt"]
    write_tar(tmp_path / "00000.tar", some)
    assert read_output(tmp_path)["caption"].tolist() == ["caption 0 .", "", "caption 2 ."]


def test_nothing_to_read(tmp_path: Path) -> None:
    assert "has no shards (00000.tar or 00000/" in refusal(tmp_path)
    assert "is not there; name the folder" in refusal(tmp_path / "no")
    write_tar(tmp_path / "00000.tar", {"a.jpg": b"x"})
    assert "pictures and no captions: neither .txt nor 00000.parquet" in refusal(tmp_path)


def test_keys_that_stand_twice(tmp_path: Path) -> None:
    folder = write_output(tmp_path, listed(8))
    write_output(folder / "other", listed(2))
    for name in ("00001.tar", "00001.parquet"):
        (folder / "other" / name.replace("1", "0")).rename(folder / name)
    assert "the key '000000000' stands twice; a folder holds one run" in refusal(folder)
    for name in ("00000", "00001"):
        (folder / f"{name}.parquet").unlink()
    write_tar(folder / "00000.tar", {"a.jpg": b"x", "a.jpeg": b"y", "a.txt": b"z"})
    assert "00000.tar: the key 'a' stands twice" in refusal(folder)
    (folder / "00000").mkdir()
    assert "has 00000 as tar and as folder" in refusal(folder)


def test_a_key_that_climbs_out(tmp_path: Path) -> None:
    folder = write_output(tmp_path, listed(4), tars=False)
    rows = listed(4)
    rows.loc[2, "key"] = "../../evil"
    rows.to_parquet(folder / "00000.parquet")
    assert "00000.parquet row 2: the image '../../evil' lies outside" in refusal(folder)


def test_broken_files(tmp_path: Path) -> None:
    folder = write_output(tmp_path, listed(8))
    whole = (folder / "00001.parquet").read_bytes()
    (folder / "00001.parquet").write_bytes(whole[:-100])
    assert "00001.parquet is not a whole Parquet file" in refusal(folder)
    listed(4).drop(columns="status").to_parquet(folder / "00001.parquet")
    assert "00001.parquet has no column status" in refusal(folder)
    (folder / "00001.parquet").unlink()
    tar = folder / "00001.tar"
    tar.write_bytes(tar.read_bytes()[:5000])
    assert "00001.tar is not a whole, uncompressed tar" in refusal(folder)
    assert "run img2dataset again" in refusal(folder)
    write_tar(tar, {"a.jpg": b"x", "a.txt": b"caf\xe9"})
    assert "00001.tar::a.txt is not UTF-8 (byte 3)" in refusal(folder)


@pytest.mark.parametrize("records", [True, False])
@pytest.mark.parametrize("dot", ["", "./"])
def test_endings_of_every_kind_in_one_tar(tmp_path: Path, records: bool, dot: str) -> None:
    names = ["000000000.jpg", "000000001.png", "000000002.JPG", "000000003.input.jpg"]
    some = {f"{dot}{name}": picture(n) for n, name in enumerate(names)}
    some |= {f"{dot}00000000{n}.txt": f"caption {n} .".encode() for n in range(3)}
    some[f"{dot}000000003.outputs.txt"] = b"caption 3 ."
    write_tar(tmp_path / "00000.tar", some)
    if records:
        listed(4).to_parquet(tmp_path / "00000.parquet")
    found = read_output(tmp_path)
    assert found["caption"].tolist() == [f"caption {n} ." for n in range(4)]
    assert found["key"].tolist() == listed(4)["key"].tolist() and set(found["lacks"]) == {""}
    reader = MediaReader()
    assert [reader.read(media) for media in found["media"]] == [picture(n) for n in range(4)]


@pytest.mark.parametrize("kind", ["int64", "float64", "str"])
def test_keys_that_became_numbers(tmp_path: Path, kind: str) -> None:
    folder = write_output(tmp_path, listed(4, (1,)))
    rows = listed(4, (1,))
    rows["key"] = rows["key"].astype(int).astype(kind)
    rows.to_parquet(folder / "00000.parquet")
    found = read_output(folder)
    assert found["key"].tolist() == listed(4)["key"].tolist()
    assert found["media"][3] == f"{folder}/00000.tar::000000003.jpg"


def test_where_nothing_joins_a_name_of_each_side_is_shown(tmp_path: Path) -> None:
    folder = write_output(tmp_path, listed(4))
    rows = listed(4)
    rows["key"] = "x" + rows["key"]
    rows.to_parquet(folder / "00000.parquet")
    found = refusal(folder)
    assert "first key is 'x000000000', the first picture '000000000.jpg'" in found
    (folder / "00000.parquet").unlink()
    write_tar(folder / "00000.tar", {"a.jpg": picture(1), "b.txt": b"x"})
    assert "the first picture is 'a.jpg', the first text 'b.txt'" in refusal(folder)


def test_a_text_without_a_picture_is_listed_as_missing(tmp_path: Path) -> None:
    some = members(listed(3))
    del some["000000001.jpg"]
    write_tar(tmp_path / "00000.tar", some)
    found = read_output(tmp_path).set_index("key")
    assert found.loc["000000001", "lacks"] == "missing (no picture of this key)"
    assert found.loc["000000001", "caption"] == "caption 1 ." and len(found) == 3


def test_texts_that_could_belong_to_several_pictures(tmp_path: Path) -> None:
    write_tar(tmp_path / "00000.tar", {"a.1.jpg": b"x", "a.2.jpg": b"y", "a.txt": b"z"})
    assert "the key 'a' has the pictures a.1.jpg, a.2.jpg and the texts a.txt" in refusal(tmp_path)
    write_tar(tmp_path / "00000.tar", {"a.1.jpg": b"x", "a.2.jpg": b"y", "a.1.txt": b"z"})
    assert read_output(tmp_path)["key"].tolist() == ["a.1", "a.2"]
