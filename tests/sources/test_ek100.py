from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mmts.captions import build
from mmts.captions_table import COLUMNS, OPTIONAL_COLUMNS
from mmts.cluster import Clusters
from mmts.embeddings import Embeddings
from mmts.errors import InputError
from mmts.kinds.clustering.column import Kind as Column
from mmts.kinds.source.ek100 import Kind as EK100Source
from mmts.media import MediaReader
from mmts.settings.sources import Captions
from mmts.sources import ek100
from tests.making import write_picture, write_table
from tests.making_ek100 import TEST_VIDEOS, TRAIN_VIDEOS, clip, clips, write_ek100

pytestmark = pytest.mark.filterwarnings("ignore:.*official file:UserWarning")
VIDEOS = (*TRAIN_VIDEOS, *TEST_VIDEOS)
PLACES = {
    "flat": "{video}.MP4",
    "participant": "{participant}/{video}.mp4",
    "participant below": "{participant}/videos/{video}.MP4",
    "chunks": "{participant}/{video}.MP4",
}


def by_column(column: str, rows: pd.DataFrame) -> Clusters:
    nothing = np.empty((0, 1), np.float32)
    embeddings = Embeddings(nothing, np.empty(0, np.int64), None, None)
    return Column(kind="column", column=column).cluster(rows, embeddings)


def read(raw: Path, **changes: Any) -> pd.DataFrame:
    return ek100.read(EK100Source(kind="ek100", **({"videos": None} | changes)), raw).rows


def captions(raw: Path, max_bad_share: float = 0.0, **changes: Any):  # type: ignore[no-untyped-def]
    source = {"kind": "ek100", "videos": None} | changes
    settings = {"sources": {"kitchens": source}, "max_bad_share": max_bad_share}
    return build(Captions.model_validate(settings), raw, raw, Path("data/captions/x"))


def place(raw: Path, layout: str, videos: tuple[str, ...] = VIDEOS) -> Path:
    """Stand-ins for videos: two bytes a file."""
    for video in videos:
        participant = video.split("_")[0]
        path = raw / "videos" / PLACES[layout].format(video=video, participant=participant)
        files = [path / f"{start}.MP4" for start in (0, 15, 30)] if layout == "chunks" else [path]
        for file in files:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(b"xy")
    return raw / "videos"


def test_rows(tmp_path: Path) -> None:
    train, test = write_ek100(tmp_path)
    found = ek100.read(EK100Source(kind="ek100", videos=None), tmp_path)
    assert found.media == "none" and not found.publishable and "Damen" in found.credit
    rows = found.rows
    official = [*train, *test]
    assert rows["caption"].tolist() == [row["narration"] for row in official]
    assert rows["sample_id"].tolist() == [f"ek100/{row['narration_id']}" for row in official]
    assert rows["caption_id"].tolist() == rows["sample_id"].tolist()
    assert rows["class_verb"].tolist() == [row["verb_class"] for row in official]
    assert rows["class_noun"].tolist() == [row["noun_class"] for row in official]
    assert rows["class_verb_noun"].tolist() == [
        f"{row['verb_class']}_{row['noun_class']}" for row in official
    ]
    assert rows["start"].tolist()[:2] == [0.0, 2.0] and rows["stop"].tolist()[:2] == [1.5, 3.5]
    assert set(rows["media"]) == {""} and rows.index.is_unique


def test_whole_videos_are_held_out(tmp_path: Path) -> None:
    train, test = write_ek100(tmp_path)
    rows = read(tmp_path, val_share=0.3)
    rows["video"] = rows["sample_id"].str.removeprefix("ek100/").str.slice(0, 6)
    assert rows["split"].tolist()[-len(test) :] == ["test"] * len(test)
    assert (rows.groupby("video")["split"].nunique() == 1).all()
    assert rows.drop_duplicates("video")["split"].value_counts().to_dict() == {
        "train": 7, "val": 3, "test": 2,
    }  # fmt: skip
    again = read(tmp_path, val_share=0.3)["split"]
    other = read(tmp_path, val_share=0.3, seed=1)["split"]
    assert again.tolist() == rows["split"].tolist() != other.tolist()
    write_ek100(tmp_path, train=train[::-1])
    turned = read(tmp_path, val_share=0.3)
    split_of = dict(zip(turned["sample_id"], turned["split"], strict=True))
    assert rows["sample_id"].map(split_of).tolist() == rows["split"].tolist()


def test_a_small_share_holds_out_one_video_and_none_holds_out_none(tmp_path: Path) -> None:
    write_ek100(tmp_path)
    assert (read(tmp_path, val_share=0.01)["split"] == "val").sum() == 6
    assert set(read(tmp_path, val_share=0.0)["split"]) == {"train", "test"}


def test_captions_without_a_validation_split_when_it_was_asked_for(tmp_path: Path) -> None:
    write_ek100(tmp_path)
    found = captions(tmp_path, val_share=0.0)
    assert found.summary["rows"] == {"train": 60, "val": 0, "test": 13}
    write_ek100(tmp_path, train=clips(["P01_01"]))  # one video, and it is held out
    with pytest.raises(InputError, match="split train has no rows"):
        captions(tmp_path)


def test_limit_counts_videos_of_each_split(tmp_path: Path) -> None:
    write_ek100(tmp_path)
    rows = read(tmp_path, val_share=0.3, limit=1)
    assert rows["split"].value_counts().to_dict() == {"test": 6, "train": 6, "val": 6}
    assert len(read(tmp_path, limit=100)) == 73


def test_a_clip_of_both_files(tmp_path: Path) -> None:
    train, test = write_ek100(tmp_path)
    write_ek100(tmp_path, train=[*train, test[3]])
    with pytest.raises(InputError, match=r"test\.csv: narration_id 'P01_11_3' is a training clip"):
        read(tmp_path)


# --- class columns as clusterings -----------------------------------------------------------------


@pytest.mark.parametrize("column", ["noun", "verb", "verb_noun"])
def test_clusters_of_classes_count_the_training_rows(tmp_path: Path, column: str) -> None:
    train, test = write_ek100(tmp_path)

    def label(row: dict[str, str]) -> str:
        return "_".join(row[f"{part}_class"] for part in column.split("_"))

    official = Counter(label(row) for row in train)
    found = by_column(column, captions(tmp_path, val_share=0.0).rows)
    sizes = found.table.drop_duplicates("cluster_id").set_index("cluster_id")["cluster_size"]
    labels = found.facts["labels"]
    assert {labels[i]: size for i, size in sizes.items() if i >= 0} == official
    held = by_column(column, captions(tmp_path, val_share=0.3).rows)
    table = held.table.drop_duplicates("cluster_id")
    names = [held.facts["labels"][i] for i in table["cluster_id"] if i >= 0]
    known = table.loc[table["cluster_id"] >= 0, "cluster_size"]
    assert all(size <= official[name] for name, size in zip(names, known, strict=True))
    assert known.sum() == 42
    of_test = found.table.iloc[-len(test) :]
    new = [label(row) not in official for row in test]
    assert new[-1] or column == "verb"
    assert (of_test["cluster_id"] == -1).tolist() == new
    assert of_test.loc[new, "cluster_size"].tolist() == [0] * sum(new)


# --- videos ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", list(PLACES))
def test_layouts(tmp_path: Path, layout: str) -> None:
    write_ek100(tmp_path)
    videos = place(tmp_path, layout)
    rows = read(tmp_path, videos="videos")
    first = PLACES[layout].format(video="P01_01", participant="P01")
    assert rows["media"].iloc[0] == str(videos / first)
    name = layout.split()[0]
    assert read(tmp_path, videos="videos", layout=name)["media"].tolist() == rows["media"].tolist()
    for other in {"flat", "participant", "chunks"} - {name}:
        with pytest.raises(InputError, match="has none of the 12 videos "):
            read(tmp_path, videos="videos", layout=other)
    found = captions(tmp_path, videos="videos").rows
    assert set(found["media_sha256"]) == {""}
    assert set(found["media_bytes"]) == {6 if layout == "chunks" else 2}
    assert tuple(found.columns) == (
        *COLUMNS, *OPTIONAL_COLUMNS, "class_verb", "class_noun", "class_verb_noun",
    )  # fmt: skip


def test_no_folder_of_videos(tmp_path: Path) -> None:
    write_ek100(tmp_path)
    with pytest.raises(InputError, match=r"videos is not there; put the videos there, or set vid"):
        read(tmp_path, videos="videos")
    (tmp_path / "videos").mkdir()
    with pytest.raises(InputError) as caught:
        read(tmp_path, videos="videos")
    looked = "{video}.MP4, {participant}/{video}.MP4, {participant}/videos/{video}.MP4"
    assert f"{tmp_path}/videos has none of the 12 videos (looked for {looked}" in str(caught.value)


def test_missing_videos_count_as_missing_pictures_do(tmp_path: Path) -> None:
    write_ek100(tmp_path)
    videos = place(tmp_path, "participant")
    (videos / "P02/P02_03.mp4").unlink()
    (videos / "P03/P03_01.mp4").write_bytes(b"")
    with pytest.raises(InputError) as caught:
        captions(tmp_path, videos="videos")
    assert str(caught.value) == (
        "source kitchens: 2 of 12 videos are bad, above max_bad_share 0.0; the first is "
        f"{videos}/P02/P02_03.MP4 (missing): mend them or raise captions.max_bad_share"
    )
    found = captions(tmp_path, videos="videos", max_bad_share=2 / 12)
    assert found.summary["dropped"] == {"empty file P03_01.mp4": 7, "missing": 6}
    assert len(found.rows) == 60 and "ek100/P02_03_0" in set(found.dropped["sample_id"])


def test_pictures_beside_clips(tmp_path: Path) -> None:
    write_ek100(tmp_path)
    write_picture(tmp_path / "a.png", 1)
    write_table(tmp_path / "more.csv", [{"image": "a.png", "caption": "x", "part": "test"}])
    more = {"kind": "table", "path": "more.csv", "split_column": "part"}
    sources = {"kitchens": {"kind": "ek100", "videos": None}, "more": more}
    with pytest.raises(InputError, match="source more has no start, others have"):
        build(Captions.model_validate({"sources": sources}), tmp_path, tmp_path, Path("x"))


def test_sentences_and_tail_groups(tmp_path: Path) -> None:
    train = [clip("P01_01", n, verb, (noun,)) for n, (verb, noun) in enumerate([(0, 1)] * 2)]
    train += [clip("P01_02", 0, 0, (1,)), clip("P01_02", 1, 2, (3,))]
    test = [clip("P03_01", 0, 0, (1,)), clip("P03_01", 1, 0, (1,)), clip("P03_01", 2, 1, (0, 2))]
    write_ek100(tmp_path, train, test)
    listed = [{"narration_id": name} for name in ("P01_01_1", "P09_09_9")]
    write_table(tmp_path / "EPIC_100_retrieval_train_sentence.csv", listed)
    write_table(tmp_path / "EPIC_100_tail_verbs.csv", [{"verb": "2"}])
    write_table(tmp_path / "EPIC_100_tail_nouns.csv", [{"noun": "2"}, {"noun": "3"}])
    rows = ek100.read(EK100Source(kind="ek100", videos=None, val_share=0.0), tmp_path).rows
    # listed; not listed and its narration is; the same; of its narration none is listed
    assert rows["sentence"].tolist() == [False, True, False, True, True, False, True]
    assert rows["groups"].tolist() == [
        [], [], [], ["tail_verb", "tail_noun"], [], [], ["tail_noun"],
    ]  # fmt: skip
    assert rows["noun_classes"].tolist()[-1] == [0, 2]
    (tmp_path / "EPIC_100_retrieval_train_sentence.csv").unlink()
    with pytest.warns(UserWarning, match="the first clip of each narration stands for its"):
        rows = ek100.read(EK100Source(kind="ek100", videos=None, val_share=0.0), tmp_path).rows
    assert rows["sentence"].tolist() == [True, False, False, True, True, False, True]


def test_every_validation_clip_has_a_sentence_of_its_own_classes(tmp_path: Path) -> None:
    """Of one narration and two verbs; of the other verb's sentence the video is left out."""
    train = [clip(f"P01_0{n}", 0, n % 2, (1,), narration="put it") for n in range(6)]
    write_ek100(tmp_path, train)
    listed = [{"narration_id": row["narration_id"]} for row in train[::-1]]
    for known in (listed[:1], listed[:2], listed):
        write_table(tmp_path / "EPIC_100_retrieval_train_sentence.csv", known)
        for changes in ({"val_share": 0.8}, {"val_share": 0.5, "seed": 3}, {"limit": 2}):
            rows = read(tmp_path, **{"val_share": 0.7, **changes})
            val = rows[rows["split"] == "val"]
            assert set(val.loc[val["sentence"], "class_verb_noun"]) == set(val["class_verb_noun"])
            assert len(val) > 1


def test_media_that_there_is_none_of() -> None:
    with pytest.raises(InputError, match="a clip without media cannot be read"):
        MediaReader().read("")


def test_ids_that_several_digits_apart_stay_apart(tmp_path: Path) -> None:
    """P01_10 and P01_101 are two videos."""
    rows = [clip("P01_10", 0), clip("P01_101", 0)]
    write_ek100(tmp_path, train=rows)
    place(tmp_path, "flat", ("P01_10", "P01_101", *TEST_VIDEOS))
    media = read(tmp_path, videos="videos")["media"].tolist()[:2]
    assert [Path(path).name for path in media] == ["P01_10.MP4", "P01_101.MP4"]
