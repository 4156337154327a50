from pathlib import Path
from typing import Any

import pytest

from mmts.errors import InputError
from mmts.sources import ek100_files
from mmts.sources.ek100_files import read_test, read_train
from tests.making import write_table
from tests.making_ek100 import clip, clips, sentences, write_ek100

TRAIN, TEST, SENTENCES = ek100_files.TRAIN, ek100_files.TEST, ek100_files.SENTENCES
pytestmark = pytest.mark.filterwarnings("ignore:.*official file:UserWarning")


def refusal(folder: Path, reader: Any = read_test) -> str:
    with pytest.raises(InputError) as caught:
        reader(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_rows_in_the_order_of_the_files(tmp_path: Path) -> None:
    train, test = write_ek100(tmp_path)
    found = read_train(tmp_path)
    assert list(found.columns) == [
        "narration_id", "participant_id", "video_id", "start", "stop", "narration", "verb_class",
        "noun_class", "noun_classes",
    ]  # fmt: skip
    for column in ("narration_id", "participant_id", "video_id", "narration"):
        assert found[column].tolist() == [row[column] for row in train]
    assert found["verb_class"].tolist() == [int(row["verb_class"]) for row in train]
    clips, texts = read_test(tmp_path)
    assert list(clips.columns) == list(found.columns)
    assert clips["narration_id"].tolist() == [row["narration_id"] for row in test]
    assert texts["narration"].is_unique and len(texts) < len(clips)


def test_values_by_hand(tmp_path: Path) -> None:
    row = clip("P01_01", 3, 2, (5, 299, 17)) | {
        "start_timestamp": "01:02:03.45", "stop_timestamp": "01:02:04", "narration": "NA",
    }  # fmt: skip
    write_ek100(tmp_path, train=[row])
    found = read_train(tmp_path).iloc[0]
    assert (found["start"], found["stop"]) == (pytest.approx(3723.45), 3724.0)
    assert found["noun_classes"] == (5, 299, 17) and found["narration"] == "NA"
    assert (found["verb_class"], found["noun_class"]) == (2, 5)


def test_a_sentence_has_the_classes_of_the_clip_with_its_id(tmp_path: Path) -> None:
    test = [clip("P01_11", 0, 1, (4, 2)), clip("P01_11", 1, 3, (7,))]
    write_ek100(tmp_path, test=test)
    rows = [{"narration_id": "P01_11_1", "narration": "put thing 4"}]  # another clip's words
    write_table(tmp_path / SENTENCES, rows)
    found = read_test(tmp_path).sentences
    assert list(found.columns) == ["narration_id", "narration", "verb_class", "noun_classes"]
    assert found.iloc[0].tolist() == ["P01_11_1", "put thing 4", 3, (7,)]


@pytest.mark.filterwarnings("default")
def test_other_numbers_than_official_are_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, test = write_ek100(tmp_path)
    with pytest.warns(UserWarning) as caught:
        read_test(tmp_path)
    said = [str(w.message) for w in caught]
    assert len(said) == 2 and all(w.filename == ek100_files.__file__ for w in caught)
    assert said[0] == f"{tmp_path / TEST} has {len(test)} clips, the official file 9,668"
    assert said[1].endswith(f"{len(sentences(test))} sentences, the official file 3,842")
    with pytest.warns(UserWarning) as caught:
        read_train(tmp_path)
    assert len(caught) == 1 and caught[0].filename == ek100_files.__file__
    assert str(caught[0].message).startswith(
        f"{tmp_path / TRAIN} has 60 clips of the official file's 67,217: 67,157 are missing, so"
    )
    monkeypatch.setattr(ek100_files, "TRAIN_ROWS", len(train) - 1)
    with pytest.warns(UserWarning, match=r"has 60 clips, the official file 59$"):
        read_train(tmp_path)


@pytest.mark.filterwarnings("error")
def test_the_official_numbers_are_read_without_a_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, test = write_ek100(tmp_path)
    monkeypatch.setattr(ek100_files, "TRAIN_ROWS", len(train))
    monkeypatch.setattr(ek100_files, "TEST_CLIPS", len(test))
    monkeypatch.setattr(ek100_files, "TEST_SENTENCES", len(sentences(test)))
    assert len(read_train(tmp_path)) == len(train) and len(read_test(tmp_path).clips) == len(test)


def test_a_partial_file_serves_where_it_is_the_only_one(tmp_path: Path) -> None:
    write_ek100(tmp_path)
    write_table(tmp_path / ek100_files.PARTIAL, clips(["P01_01"], each=2))
    assert len(read_train(tmp_path)) == 60
    (tmp_path / TRAIN).unlink()
    with pytest.warns(UserWarning, match=r"train\.partial\.csv has 2 clips of the official"):
        assert len(read_train(tmp_path)) == 2
    (tmp_path / ek100_files.PARTIAL).unlink()
    assert refusal(tmp_path, read_train).startswith(
        f"{tmp_path / TRAIN} is not there; take the file from retrieval_annotations/ of github.com"
    )


BAD = [
    ({"verb_class": "97"}, "verb_class is '97'; it must be 0..96"),
    ({"verb_class": "-1"}, "verb_class is '-1'; it must be 0..96"),
    ({"noun_class": "300"}, "noun_class is '300'; it must be 0..299"),
    ({"noun_class": "2.0"}, "noun_class is '2.0'; it must be 0..299"),
    ({"all_noun_classes": "[2, 300]"}, "all_noun_classes is '[2, 300]'; it must be a list of "),
    ({"all_noun_classes": "['tap']"}, "all_noun_classes is \"['tap']\"; it must be a list of w"),
    ({"all_noun_classes": "[]"}, "all_noun_classes is '[]'; it must be a list of whole numbers"),
    ({"all_noun_classes": "[1, 2"}, "all_noun_classes is '[1, 2'; it must be a list of whole n"),
    ({"all_noun_classes": "[exit()]"}, "all_noun_classes is '[exit()]'; it must be a list of w"),
    ({"start_timestamp": "12.5"}, "start_timestamp is '12.5'; it must be HH:MM:SS.ss"),
    ({"stop_timestamp": "00:61:00.0"}, "stop_timestamp is '00:61:00.0'; it must be HH:MM:SS.ss"),
    (
        {"stop_timestamp": "00:00:02.00"},
        "stop_timestamp 00:00:02.00 is not after start_timestamp 00:00:02.00",
    ),
    ({"narration_id": "P01_11_0"}, "narration_id 'P01_11_0' stands in line 2 too; keep one"),
    ({"narration_id": ""}, "narration_id is ''; it must be a name of letters, digits and _"),
    ({"video_id": "../P01"}, "video_id is '../P01'; it must be a name of letters, digits and _"),
]


@pytest.mark.parametrize(("change", "message"), BAD)
def test_bad_rows(tmp_path: Path, change: dict[str, str], message: str) -> None:
    test = [clip("P01_11", number) for number in range(3)]
    write_ek100(tmp_path, test=[test[0], test[1] | change, test[2]])
    found = refusal(tmp_path)
    assert found.startswith(f"{tmp_path / TEST} line 3: {message}"), found
    assert "take the file from retrieval_annotations/ of " in found


@pytest.mark.parametrize("column", ["verb_class", "start_timestamp", "all_noun_classes"])
def test_a_missing_column(tmp_path: Path, column: str) -> None:
    write_ek100(tmp_path)
    rows = [{k: v for k, v in row.items() if k != column} for row in clips(["P01_01"])]
    write_table(tmp_path / TRAIN, rows)
    found = refusal(tmp_path, read_train)
    assert found.startswith(f"{tmp_path / TRAIN} has no column {column!r}; it has ")


def test_a_file_that_ends_in_the_middle_of_a_row(tmp_path: Path) -> None:
    write_ek100(tmp_path)
    path = tmp_path / TRAIN
    path.write_text(path.read_text().rstrip()[:-12])
    found = refusal(tmp_path, read_train)
    assert found.startswith(f"{path} line 61 has 14 fields, the header has 15")


def test_sentences_that_fit_no_clip(tmp_path: Path) -> None:
    _, test = write_ek100(tmp_path)
    rows = sentences(test)
    write_table(tmp_path / SENTENCES, [*rows, {"narration_id": "P99_01_1", "narration": "x"}])
    assert refusal(tmp_path).startswith(
        f"{tmp_path / SENTENCES} line {len(rows) + 2}: narration_id 'P99_01_1' is no clip of {TEST}"
    )
    write_table(tmp_path / SENTENCES, [*rows, rows[0]])
    assert "stands in line 2 too" in refusal(tmp_path)
    write_table(tmp_path / SENTENCES, [{"narration": "x"}])
    assert "has no column 'narration_id'; it has 'narration'" in refusal(tmp_path)
    (tmp_path / SENTENCES).write_text("narration_id,narration\n")
    assert refusal(tmp_path).startswith(f"{tmp_path / SENTENCES} has no rows; ")
