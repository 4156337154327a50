import shutil
from hashlib import sha256
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from mmts.captions import DROPPED_COLUMNS, assign_splits, build, repeats_line
from mmts.captions_table import COLUMNS, read_captions
from mmts.errors import InputError
from mmts.sealed import sha256_file
from mmts.settings.sources import Captions, Split
from tests.making import picture, tiny_pairs, write_picture, write_raw, write_table
from tests.sources.making_img2dataset import write_tar

OUT = Path("data/captions/x")


def settings(path: str = "pairs.csv", max_bad_share: float = 0.0, **source: Any) -> Captions:
    table = {"kind": "table", "path": path, "split": {"train": 0.5, "val": 0.25, "test": 0.25}}
    return Captions.model_validate(
        {"sources": {"pairs": {**table, **source}}, "max_bad_share": max_bad_share}
    )


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    write_raw(tmp_path)
    return tmp_path


def made(raw: Path, chosen: Captions | None = None):  # type: ignore[no-untyped-def]
    return build(chosen or settings(), raw, raw, OUT)


def refusal(raw: Path, chosen: Captions | None = None) -> str:
    with pytest.raises(InputError) as caught:
        made(raw, chosen)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_table(raw: Path) -> None:
    found = made(raw, settings(class_columns=["kind"]))
    assert tuple(found.rows.columns) == (*COLUMNS, "class_kind")
    pairs = tiny_pairs()
    assert found.rows["caption"].tolist() == [row["caption"] for row in pairs]
    assert found.rows["class_kind"].tolist() == [row["kind"] for row in pairs]
    assert found.rows["caption_id"].tolist()[:3] == [
        "images/000.jpg#0", "images/000.jpg#1", "images/001.png#0",
    ]  # fmt: skip
    assert found.rows["caption_id"].is_unique and set(found.rows["source"]) == {"pairs"}
    first = Path(found.rows["media"].iloc[0])
    assert first == raw / "images/000.jpg"
    assert found.rows["media_bytes"].iloc[0] == first.stat().st_size
    assert found.rows["media_sha256"].iloc[0] == sha256_file(first)
    assert found.dropped.empty and tuple(found.dropped.columns) == DROPPED_COLUMNS
    media = found.rows.drop_duplicates("sample_id")["split"].value_counts().to_dict()
    assert sum(media.values()) == 32 and media["train"] > media["val"] > 0
    assert found.summary == {
        "sources": {"pairs": {"kind": "table", "publishable": False, "credit": "", "merged": 0}},
        "rows": found.rows["split"].value_counts().to_dict(),
        "media": media,
        "dropped": {},
        "repeats": [],
    }


def test_splits_are_by_image_seeded_and_do_not_depend_on_the_order_of_rows(raw: Path) -> None:
    first = made(raw).rows
    assert (first.groupby("sample_id")["split"].nunique() == 1).all()
    assert made(raw).rows["split"].tolist() == first["split"].tolist()
    write_table(raw / "pairs.csv", tiny_pairs()[::-1])
    again = made(raw).rows
    of = dict(zip(first["sample_id"], first["split"], strict=True))
    assert again["split"].tolist() == [of[s] for s in again["sample_id"]]
    other = made(raw, settings(split={"train": 0.5, "val": 0.25, "test": 0.25, "seed": 1})).rows
    assert dict(zip(other["sample_id"], other["split"], strict=True)) != of


def split_of(rows: pd.DataFrame) -> dict[str, str]:
    return dict(zip(rows["sample_id"], rows["split"], strict=True))


def test_more_rows_move_no_others(raw: Path) -> None:
    before = split_of(made(raw).rows)
    pairs = [{"image": f"first/{n}.png", "caption": f"more {n}", "kind": "ball"} for n in range(40)]
    for n, row in enumerate(pairs):
        write_picture(raw / row["image"], 100 + n)
    write_table(raw / "pairs.csv", [*pairs, *tiny_pairs()])
    after = split_of(made(raw).rows)
    assert len(after) == 72 and before.items() <= after.items()


def test_the_shares_are_met_on_average() -> None:
    names = [f"{n}.png" for n in range(20_000)]
    rows = pd.DataFrame({"source": "a", "sample_id": names, "media_sha256": ""})
    found = assign_splits(rows, {"a": Split(train=0.7, val=0.1, test=0.2)})["split"]
    shares = found.value_counts(normalize=True).to_dict()
    assert shares == pytest.approx({"train": 0.7, "val": 0.1, "test": 0.2}, abs=0.012)  # 4 sigma


def test_the_split_is_a_hash_of_seed_and_name() -> None:
    rows = pd.DataFrame({"source": "a", "sample_id": ["x", "y", "z"], "media_sha256": ""})
    place = [int(sha256(f"3/{n}".encode()).hexdigest()[:16], 16) / 16**16 for n in "xyz"]
    settings = Split(train=0.5, val=0.4, test=0.1, seed=3)
    wanted = ["train" if p < 0.5 else "val" if p < 0.9 else "test" for p in place]
    assert assign_splits(rows, {"a": settings})["split"].tolist() == wanted


def test_identical_pictures_are_one_item_with_all_captions(raw: Path) -> None:
    """Copies under another name, and a folder that is reached under two names."""
    (raw / "link").symlink_to(raw / "images", target_is_directory=True)
    copies = [{**row, "image": row["image"].replace("images", "link")} for row in tiny_pairs()[:9]]
    shutil.copy(raw / "images/020.jpg", raw / "copy.jpg")
    more = [*copies, {"image": "copy.jpg", "caption": "a copy", "kind": "ball"}]
    write_table(raw / "pairs.csv", [*tiny_pairs(), *more])
    found = made(raw)
    assert set(found.rows["sample_id"]) == {row["image"] for row in tiny_pairs()}
    assert found.summary["sources"]["pairs"]["merged"] == len(more) - 2  # two have two captions
    assert found.rows["caption_id"].is_unique and len(found.rows) == len(tiny_pairs()) + len(more)
    copy = found.rows[found.rows["caption"] == "a copy"].iloc[0]
    first = found.rows[found.rows["sample_id"] == "images/020.jpg"].iloc[0]
    assert (copy["sample_id"], copy["media"]) == (first["sample_id"], first["media"])
    assert found.summary["repeats"] == []
    assert split_of(made(raw).rows) == split_of(found.rows)


def test_groups_that_share_a_picture_are_in_one_split() -> None:
    """a and b share one, b and c another: all three are together, and d is alone."""
    rows = pd.DataFrame(
        [("s", f"{group}{n}", group, content) for n, (group, content) in enumerate(
            [("c", "2"), ("b", "1"), ("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")]
        )],
        columns=["source", "sample_id", "group", "media_sha256"],
    )  # fmt: skip
    seen = set()
    for seed in range(30):
        split = assign_splits(rows, {"s": Split(seed=seed)}).groupby("group")["split"]
        assert (split.nunique() == 1).all()
        of = split.first()
        assert of["a"] == of["b"] == of["c"]
        seen.add(of["a"] == of["d"])
    assert seen == {True, False}


def test_sources_that_share_a_picture_have_it_in_one_split(raw: Path) -> None:
    rows = [
        {"image": f"more/{n}.{'png' if n % 2 else 'jpg'}", "caption": f"{n}"} for n in range(32)
    ]
    for n, row in enumerate(rows):
        write_picture(raw / row["image"], n)  # as images/00n
    write_table(raw / "more.csv", rows)
    found = made(raw, two_sources({"path": "pairs.csv"}, {"path": "more.csv"})).rows
    assert (found.groupby("media_sha256")["split"].nunique() == 1).all()
    assert found["sample_id"].nunique() == 64 and found["split"].nunique() == 3


def test_repeats_across_splits_that_are_given_are_counted(raw: Path) -> None:
    pairs = [{**row, "part": "train"} for row in tiny_pairs()]
    for n, (name, part) in enumerate([("20", "test"), ("20", "test"), ("22", "val"), ("9", "val"),
                                      ("99", "test"), ("99", "test"), ("22", "test")]):  # fmt: skip
        write_picture(raw / f"more/{n}.jpg", int(name))
        pairs.append({"image": f"more/{n}.jpg", "caption": f"{n}", "kind": "", "part": part})
    write_table(raw / "pairs.csv", pairs)
    found = made(raw, settings(split_column="part"))
    assert found.summary["repeats"] == [
        {"split": "val", "also_in": "train", "pictures": 1, "of": 2,
         "example": ["more/2.jpg", "images/022.jpg"]},
        {"split": "test", "also_in": "train", "pictures": 3, "of": 5,
         "example": ["more/0.jpg", "images/020.jpg"]},
        {"split": "test", "also_in": "val", "pictures": 1, "of": 5,
         "example": ["more/6.jpg", "more/2.jpg"]},
        {"split": "test", "also_in": "test", "pictures": 4, "of": 5,
         "example": ["more/0.jpg", "more/1.jpg"]},
    ]  # fmt: skip
    assert "merged" not in found.summary["sources"]["pairs"]
    assert repeats_line(**found.summary["repeats"][1]) == (
        "test: 3 of 5 pictures are identical to one of train ('more/0.jpg' to 'images/020.jpg')"
    )


def test_empty_captions_are_dropped_counted_and_listed(raw: Path) -> None:
    pairs = tiny_pairs()
    for row, caption in ((0, ""), (5, " \t "), (6, "\u2003")):
        pairs[row]["caption"] = caption
    pairs[9]["image"] = ""
    write_table(raw / "pairs.csv", pairs)
    found = made(raw)
    assert len(found.rows) == len(pairs) - 4
    assert found.summary["dropped"] == {"empty caption": 3, "no image named": 1}
    assert found.dropped["row"].tolist() == [1, 6, 7, 10]
    assert found.dropped["sample_id"].tolist()[0] == "images/000.jpg"
    assert found.dropped["source"].tolist() == ["pairs"] * 4


def test_words_that_look_like_missing_values_are_kept(raw: Path) -> None:
    pairs = tiny_pairs()
    words = ["NA", "null", "None", "NaN", "nan", "-", "0"]
    for row, word in zip(pairs, words, strict=False):
        row["caption"] = word
    write_table(raw / "pairs.csv", pairs)
    assert made(raw).rows["caption"].tolist()[: len(words)] == words


def test_bad_pictures_above_the_share_stop(raw: Path) -> None:
    (raw / "images/004.jpg").unlink()
    found = refusal(raw)
    assert found.startswith(
        "source pairs: 1 of 32 pictures are bad, above max_bad_share 0.0; the first"
    )
    assert f"{raw}/images/004.jpg (missing)" in found and "captions.max_bad_share" in found
    (raw / "images/001.png").write_bytes(picture(1)[:300])
    assert "2 of 32" in refusal(raw, settings(max_bad_share=1 / 32))


def test_where_no_picture_is_there_the_message_says_where_they_were_looked_for(raw: Path) -> None:
    (raw / "images").rename(raw / "photos")
    found = refusal(raw, settings(max_bad_share=0.9))
    assert found.startswith(
        f"source pairs: none of its 32 pictures is there; the first was looked for as {raw}/images/"
        f"000.jpg; there is no folder {raw}/images: mend the names, or"
    )
    assert "image_root" in found and "max_bad_share" not in found
    found = refusal(raw, settings(max_bad_share=0.9, image_root="photos"))
    assert "looked for as" in found
    write_tar(raw / "photos.tar", {"./other/1.jpg": picture(1)})
    found = refusal(raw, settings(image_root="photos.tar"))
    assert f"{raw}/photos.tar::images/000.jpg; {raw}/photos.tar has 'other/1.jpg'" in found


def test_a_dataset_that_is_only_tested_on(raw: Path) -> None:
    found = made(raw, settings(splits=["test"]))
    assert found.summary["media"] == {"train": 0, "val": 0, "test": 32}


def test_bad_pictures_below_the_share_are_dropped_and_listed(raw: Path) -> None:
    (raw / "images/003.png").unlink()
    (raw / "images/004.jpg").write_text("no picture")
    found = made(raw, settings(max_bad_share=2 / 32))
    assert found.summary["dropped"] == {
        "missing": 2, "undecodable: not a picture of a known format": 1,
    }  # fmt: skip
    lost = set(found.dropped["sample_id"])
    looked = dict(zip(found.dropped["sample_id"], found.dropped["media"], strict=True))
    assert looked["images/003.png"] == f"{raw}/images/003.png"
    assert lost == {"images/003.png", "images/004.jpg"} and not lost & set(found.rows["sample_id"])
    again = made(raw, settings(max_bad_share=2 / 32))
    pd.testing.assert_frame_equal(found.dropped, again.dropped)


def test_a_duplicate_id(raw: Path) -> None:
    pairs = [{**row, "id": str(n)} for n, row in enumerate(tiny_pairs())]
    pairs[7]["id"] = "3"
    write_table(raw / "pairs.csv", pairs)
    found = refusal(raw, settings(id_column="id"))
    assert found.startswith("id '3' stands 2 times (captions ") and "its own" in found


def test_an_image_in_several_splits(raw: Path) -> None:
    pairs = [{**row, "part": ("train", "val", "test")[n % 3]} for n, row in enumerate(tiny_pairs())]
    write_table(raw / "pairs.csv", pairs)
    assert "image 'images/000.jpg' stands in several splits" in refusal(
        raw, settings(split_column="part")
    )


def test_a_split_without_rows(raw: Path) -> None:
    pairs = [{**row, "part": "train"} for row in tiny_pairs()]
    write_table(raw / "pairs.csv", pairs)
    found = refusal(raw, settings(split_column="part"))
    assert found.startswith(f"split val has no rows ({len(pairs)} in all; dropped: none)")


def test_a_split_that_dropping_empties(raw: Path) -> None:
    pairs = [{**row, "part": "train"} for row in tiny_pairs()]
    pairs[-1]["part"], pairs[-4]["part"] = "val", "test"
    pairs[-1]["caption"] = "  "
    write_table(raw / "pairs.csv", pairs)
    found = refusal(raw, settings(split_column="part"))
    assert found.startswith("split val has no rows (") and "dropped: 1 empty caption" in found


def test_a_source_without_rows(raw: Path) -> None:
    (raw / "pairs.csv").write_text("image,caption\n")
    assert refusal(raw).startswith("source pairs has no rows")
    (raw / "pairs.csv").write_text("image,caption\na.png, \n")
    assert refusal(raw).startswith("split train has no rows (0 in all; dropped: 1 empty caption)")


def two_sources(first: dict[str, str], second: dict[str, str]) -> Captions:
    table = {"kind": "table", "split": {"train": 0.5, "val": 0.25, "test": 0.25}}
    return Captions.model_validate({"sources": {"a": table | first, "b": table | second}})


def test_two_sources(raw: Path) -> None:
    rows = [{"image": f"more/{n}.png", "caption": f"more {n}", "part": "test"} for n in range(3)]
    for n, row in enumerate(rows):
        write_picture(raw / row["image"], 100 + n)
    write_table(raw / "more.csv", rows)
    found = made(
        raw, two_sources({"path": "pairs.csv"}, {"path": "more.csv", "split_column": "part"})
    )
    assert found.rows.groupby("source")["sample_id"].nunique().to_dict() == {"a": 32, "b": 3}
    assert set(found.rows.loc[found.rows["source"] == "b", "split"]) == {"test"}
    assert list(found.summary["sources"]) == ["a", "b"]


def test_classes_that_one_source_lacks_are_empty(raw: Path) -> None:
    write_picture(raw / "more/0.png", 100)
    write_table(raw / "more.csv", [{"image": "more/0.png", "caption": "x", "part": "test"}])
    chosen = two_sources({"path": "pairs.csv"}, {"path": "more.csv", "split_column": "part"})
    data = chosen.model_dump()
    data["sources"]["a"]["class_columns"] = ("kind",)
    found = made(raw, Captions.model_validate(data))
    assert found.rows["class_kind"].tolist()[-1] == ""


def test_one_image_in_two_sources(raw: Path) -> None:
    pairs = [{**row, "id": f"b{n}"} for n, row in enumerate(tiny_pairs())]
    write_table(raw / "more.csv", pairs)
    chosen = two_sources({"path": "pairs.csv"}, {"path": "more.csv", "id_column": "id"})
    assert refusal(raw, chosen).startswith("image 'images/000.jpg' stands in the sources a and b")


def test_reading_it_back(raw: Path) -> None:
    found = made(raw)
    found.rows.to_parquet(raw / "captions.parquet", index=False)
    pd.testing.assert_frame_equal(read_captions(raw), found.rows)
    found.rows.drop(columns="split").to_parquet(raw / "captions.parquet", index=False)
    with pytest.raises(InputError, match=r"captions\.parquet lacks split; run `dvc repro"):
        read_captions(raw)
    (raw / "captions.parquet").unlink()
    with pytest.raises(InputError, match=r"captions\.parquet is not there; run `dvc repro`"):
        read_captions(raw)
