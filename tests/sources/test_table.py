import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from mmts.errors import InputError
from mmts.settings import TableSource
from mmts.sources import table

ROWS = [
    {"image": "a.jpg", "caption": "NA"},
    {"image": "a.jpg", "caption": "null"},
    {"image": "b.jpg", "caption": "None"},
    {"image": "b.jpg", "caption": "nan"},
    {"image": "c d.jpg", "caption": 'says "hi", twice'},
    {"image": "e.jpg", "caption": "\u05e9\u05dc\u05d5\u05dd \u200f(1)"},
    {"image": "f.jpg", "caption": "line one\r\nline two\ttab"},
    {"image": "g.jpg", "caption": "  Ünïcode 👩🏽‍🚀 \u2028 end  "},
    {"image": "h.jpg", "caption": "\x85 007"},
]


def rows(folder: Path, name: str, **settings: Any) -> pd.DataFrame:
    return table.read(TableSource(kind="table", path=name, **settings), folder).rows


def refusal(folder: Path, name: str, content: str | bytes | None = None, **settings: Any) -> str:
    if content is not None:
        data = content if isinstance(content, bytes) else content.encode()
        (folder / name).write_bytes(data)
    with pytest.raises(InputError) as caught:
        rows(folder, name, **settings)
    message = str(caught.value)
    assert message.startswith(str(folder / name)) and "\n" not in message
    return message.removeprefix(str(folder / name)).strip()


@pytest.mark.parametrize("ending", ["csv", "tsv", "parquet", "jsonl", "CSV"])
def test_captions_come_back_as_they_are(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"pairs.{ending}"
    frame = pd.DataFrame(ROWS)
    if ending == "parquet":
        frame.to_parquet(path)
    elif ending == "jsonl":
        path.write_text("\n".join(json.dumps(r) for r in ROWS) + "\n\n", encoding="utf-8")
    else:
        separator = "\t" if ending == "tsv" else ","
        data = frame.to_csv(index=False, sep=separator, lineterminator="\r\n")
        path.write_bytes(b"\xef\xbb\xbf" + data.encode())  # as Excel saves it
    found = rows(tmp_path, path.name)
    assert found["caption"].tolist() == [row["caption"] for row in ROWS]
    assert found["sample_id"].tolist() == [row["image"] for row in ROWS]
    assert found["media"].tolist() == [str(tmp_path / row["image"]) for row in ROWS]
    assert found.index.tolist() == list(range(1, len(ROWS) + 1))
    assert list(found.columns) == ["sample_id", "caption", "media"]


def test_jsonl_that_is_not_escaped(tmp_path: Path) -> None:
    lines = [json.dumps(row, ensure_ascii=False) for row in ROWS]
    (tmp_path / "x.jsonl").write_bytes("\r\n".join(lines).encode())
    assert rows(tmp_path, "x.jsonl")["caption"].tolist() == [row["caption"] for row in ROWS]


def test_other_columns_root_id_and_classes(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(
        "file,text,id,noun,verb\na.png,one,r1,cat,sit\nb.png,two,r2,,run\n"
    )
    found = rows(
        tmp_path, "x.csv", image_column="file", caption_column="text", id_column="id",
        class_columns=["noun", "verb"], image_root="/pictures",
    )  # fmt: skip
    assert found["media"].tolist() == ["/pictures/a.png", "/pictures/b.png"]
    assert found["caption_id"].tolist() == ["r1", "r2"]
    assert found["class_noun"].tolist() == ["cat", ""]
    assert found["class_verb"].tolist() == ["sit", "run"]


def test_images_lie_beside_the_table(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/x.csv").write_text("image,caption\na.png,one\n")
    assert rows(tmp_path, "sub/x.csv")["media"].tolist() == [str(tmp_path / "sub/a.png")]


def test_typed_columns_of_parquet(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "image": pd.Categorical(["a.png", "b.png"]),
            "caption": pd.Categorical(["x", None]),
            "id": [7, 8],
            "noun": [3, 4],
        }
    )
    frame.to_parquet(tmp_path / "x.parquet")
    found = rows(tmp_path, "x.parquet", id_column="id", class_columns=["noun"])
    assert found["sample_id"].tolist() == ["a.png", "b.png"]
    assert found["caption"].tolist() == ["x", ""]
    assert found["caption_id"].tolist() == ["7", "8"]
    assert found["class_noun"].tolist() == ["3", "4"]


def test_classes_that_are_no_text(tmp_path: Path) -> None:
    frame = pd.DataFrame({"image": ["a.png"], "caption": ["x"], "noun": [b"\xff"]})
    frame.to_parquet(tmp_path / "x.parquet")
    with pytest.raises(InputError, match=r"x\.parquet: noun holds bytes that are not UTF-8; write"):
        rows(tmp_path, "x.parquet", class_columns=["noun"])


def test_absent_values_are_empty(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text(
        '{"image": "a", "caption": null}\n{"image": "b"}\n{"caption": "c"}'
    )
    found = rows(tmp_path, "x.jsonl")
    assert found["caption"].tolist() == ["", "", "c"] and found["sample_id"].tolist() == [
        "a",
        "b",
        "",
    ]


def test_words_for_splits(tmp_path: Path) -> None:
    words = ["train", "Training", "val", "valid", "validation", "DEV", " test ", "testing"]
    lines = [f"{n}.png,x,{word}" for n, word in enumerate(words)]
    (tmp_path / "x.csv").write_text("image,caption,part\n" + "\n".join(lines))
    found = rows(tmp_path, "x.csv", split_column="part")["split"].tolist()
    assert found == ["train"] * 2 + ["val"] * 4 + ["test"] * 2


def test_limit_keeps_whole_images(tmp_path: Path) -> None:
    lines = [f"{n // 2}.png,caption {n},{'train' if n < 8 else 'test'}" for n in range(12)]
    (tmp_path / "x.csv").write_text("image,caption,part\n" + "\n".join(lines))
    found = rows(tmp_path, "x.csv", limit=2)
    assert found["sample_id"].tolist() == ["0.png", "0.png", "1.png", "1.png"]
    found = rows(tmp_path, "x.csv", limit=1, split_column="part")
    assert found["sample_id"].tolist() == ["0.png", "0.png", "4.png", "4.png"]


def test_credit_and_publishable(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("image,caption\na,b\n")
    settings = TableSource(kind="table", path="x.csv", credit="me", publishable=True)
    found = table.read(settings, tmp_path)
    assert (found.credit, found.publishable) == ("me", True)
    assert not table.read(TableSource(kind="table", path="x.csv"), tmp_path).publishable


@pytest.mark.parametrize("column", ["image", "caption", "id", "part", "noun"])
def test_missing_column(tmp_path: Path, column: str) -> None:
    names = [name for name in ("image", "caption", "id", "part", "noun") if name != column]
    content = ",".join(names) + "\n" + ",".join("train" for _ in names) + "\n"
    found = refusal(
        tmp_path, "x.csv", content, id_column="id", split_column="part", class_columns=("noun",)
    )
    assert found == f"has no column {column}; it has {', '.join(names)}"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.csv", "image,caption\na,b\nc,d,e\n", "as a table: Expected 2 fields in line 3"),
        ("x.csv", "image,caption\na,b,c\nd,e\n", "its first row has more fields than its header"),
        ("x.csv", "image,caption\na,b,c\nd,e,f\n", "its first row has more fields than its header"),
        ("x.csv", 'image,caption\na,"b\nc,d\n', "EOF inside string"),
        ("x.csv", "", "No columns to parse"),
        ("x.csv", b"image,caption\na,caf\xe9\n", "is not UTF-8 (byte "),
        ("x.tsv", "image\tcaption\na\tb\nc\td\te\n", "Expected 2 fields in line 3"),
        ("x.jsonl", '{"image": "a", "caption": "b"}\n{"image":\n', "line 2 is not JSON"),
        ("x.jsonl", "\n\n[1]\n", "line 3 is no JSON object"),
        ("x.jsonl", b'{"image": "a", "caption": "caf\xe9"}', "is not UTF-8 (byte "),
        ("x.jsonl", '{"image": "a"}\n{"image": "a", "caption": ["b"]}', "row 2: caption is ['b']"),
        ("x.jsonl", '{"image": "a", "caption": true}', "row 1: caption is True; it must be text"),
        ("x.jsonl", '{"image": "a", "caption": 1.5}', "row 1: caption is 1.5; it must be text"),
        ("x.jsonl", '{"image": "a", "caption": "\\ud83d half"}', "line 1 holds half a character"),
        ("x.jsonl", "", "has no column image; it has"),
        ("x.parquet", "no parquet", "is not a Parquet file"),
        ("x.parquet", "", "is not a Parquet file"),
        ("x.xlsx", "a", "ends in .xlsx; a table ends in one of .csv, .tsv, .parquet, .jsonl"),
        ("x", "a", "ends in nothing; a table ends in one of"),
        ("none.csv", None, "is not there; name a table"),
    ],
)  # fmt: skip
def test_bad_tables(tmp_path: Path, name: str, content: str | bytes | None, message: str) -> None:
    assert message in refusal(tmp_path, name, content)


def test_bad_split_word(tmp_path: Path) -> None:
    content = "image,caption,part\na,b,train\nc,d,holdout\n"
    found = refusal(tmp_path, "x.csv", content, split_column="part")
    assert found == "row 2: part is 'holdout'; it must be train, val or test"


def test_a_table_of_a_header_alone_has_no_rows(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("image,caption,part\n")
    assert rows(tmp_path, "x.csv", split_column="part").empty
