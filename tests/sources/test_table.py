import csv
import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from mmts.errors import InputError
from mmts.kinds.source.table import Kind as TableSource
from mmts.media import MediaReader
from mmts.sources import table
from mmts.sources.delimited import read_csv
from tests.making import picture
from tests.sources.making_img2dataset import write_tar

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
    quoting = csv.QUOTE_ALL if ending == "tsv" else csv.QUOTE_MINIMAL
    if ending == "parquet":
        frame.to_parquet(path)
    elif ending == "jsonl":
        path.write_text("\n".join(json.dumps(r) for r in ROWS) + "\n\n", encoding="utf-8")
    else:
        separator = "\t" if ending == "tsv" else ","
        data = frame.to_csv(index=False, sep=separator, lineterminator="\r\n", quoting=quoting)
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
    (tmp_path / "pictures").mkdir()
    (tmp_path / "x.csv").write_text(
        "file,text,id,noun,verb\na.png,one,r1,cat,sit\nb.png,two,r2,,run\n"
    )
    found = rows(
        tmp_path, "x.csv", image_column="file", caption_column="text", id_column="id",
        class_columns=["noun", "verb"], image_root=str(tmp_path / "pictures"),
    )  # fmt: skip
    assert found["media"].tolist() == [f"{tmp_path}/pictures/{n}.png" for n in "ab"]
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
    assert found == f"has no column {column!r}; it has {', '.join(map(repr, names))}"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.csv", "image,caption\na,b\nc,d,e\n", "line 3 has 3 fields, the header has 2"),
        ("x.csv", "image,caption\na,b,c\nd,e\n", "line 2 has 3 fields, the header has 2"),
        ("x.csv", "image,caption\na,b,c\nd,e,f\n", "line 2 has 3 fields, the header has 2"),
        ("x.csv", 'image,caption\na,"b\nc,d\n', "line 2 begins a field in quotes that does"),
        ("x.csv", "", "is empty; its first line must name the columns"),
        ("x.csv", b"image,caption\na,caf\xe9\n", "is not UTF-8 (byte "),
        ("x.tsv", "image\tcaption\na\tb\nc\td\te\n", "line 3 has 3 fields, the header has 2"),
        ("x.jsonl", '{"image": "a", "caption": "b"}\n{"image":\n', "line 2 is not JSON"),
        ("x.jsonl", "\n\n[1]\n", "line 3 is no JSON object"),
        ("x.jsonl", b'{"image": "a", "caption": "caf\xe9"}', "is not UTF-8 (byte "),
        ("x.jsonl", '{"image": "a"}\n{"image": "a", "caption": ["b"]}', "row 2: caption is ['b']"),
        ("x.jsonl", '{"image": "a", "caption": true}', "row 1: caption is True; it must be text"),
        ("x.jsonl", '{"image": "a", "caption": 1.5}', "row 1: caption is 1.5; it must be text"),
        ("x.jsonl", '{"image": "a", "caption": "\\ud83d half"}', "line 1 holds half a character"),
        ("x.jsonl", "", "has no column 'image'; it has"),
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


# --- quotes --------------------------------------------------------------------------------------

PAIRS = [(f"{n}.jpg", f"caption {n}, long") for n in range(200)]


def as_text(pairs: list[tuple[str, str]], separator: str = ",") -> str:
    """A table as people write it with a loop: no quotes but those of the captions."""
    return "".join(f"{image}{separator}{text}\n" for image, text in [("image", "caption"), *pairs])


@pytest.mark.parametrize("second", ['"also', '"', 'also"', '"also"'])
def test_two_lone_quotes_swallow_no_row(tmp_path: Path, second: str) -> None:
    """Read by the csv module's defaults, 60 rows are left of 200, and there is no error."""
    pairs = [(image, text.replace(",", "")) for image, text in PAIRS]
    pairs[30], pairs[170] = ("30.jpg", '"quoth'), ("170.jpg", second)
    found = refusal(tmp_path, "x.csv", as_text(pairs))
    assert found.startswith("line 32 ") and 'write ""' in found and ".parquet or .jsonl" in found
    (tmp_path / "x.tsv").write_text(as_text(pairs, "\t"))
    if second in ('"also', '"also"'):  # no writer that follows the rules writes this
        found = rows(tmp_path, "x.tsv")
        assert list(zip(found["sample_id"], found["caption"], strict=True)) == pairs
    else:
        assert refusal(tmp_path, "x.tsv").startswith("line 32 begins a field in quotes that goes")


@pytest.mark.parametrize(
    ("field", "problem"),
    [
        (r'"a \"red\" ball"', r'line 3 has a field in quotes .* not \\"'),
        (r'"a \", b"', "line 3 has 3 fields"),
        ('"a "red" ball"', "line 3 has a field in quotes with text behind its closing quote;"),
        ('"a ball" ', "line 3 has a field in quotes with text behind"),
        (' "a ball"', "line 3 has blanks before the quote of"),
        (' "a, ball"', "line 3 has 3 fields"),
        ('"a ball', "line 3 begins a field in quotes that does not end"),
        ('"a ball\ny.jpg,b"', "line 3 begins a field .* to line 4, and line 4 could be a row"),
        ('"a ball\none, two, three"', "line 3 begins a field .* to line 4, and line 4 could"),
        ("a ball\nbehind it", "line 4 has 1 field, the header has 2"),
    ],
)  # fmt: skip
def test_quotes_that_follow_no_rule_are_refused_by_line(
    tmp_path: Path, field: str, problem: str
) -> None:
    content = f"image,caption\nw.jpg,first\nx.jpg,{field}\nz.jpg,last\n"
    assert re.match(problem, refusal(tmp_path, "x.csv", content))


def test_quotes_that_follow_the_rules(tmp_path: Path) -> None:
    texts = ['"', '""', 'a "red" ball', "two\nlines", 'says "hi, you"', "\\", 'M\\"uller', ", "]
    frame = pd.DataFrame({"image": [f"{n}.jpg" for n in range(8)], "caption": texts})
    for name, separator in (("x.csv", ","), ("x.tsv", "\t")):
        frame.to_csv(tmp_path / name, index=False, sep=separator)
        assert rows(tmp_path, name)["caption"].tolist() == texts
    (tmp_path / "x.csv").write_text('image,caption\na.jpg,a 5" pipe\nb.jpg,"red, blue"\n')
    assert rows(tmp_path, "x.csv")["caption"].tolist() == ['a 5" pipe', "red, blue"]


def test_fields_of_several_lines_are_read_where_all_are_in_quotes(tmp_path: Path) -> None:
    texts = ["one\ntwo, three", "four", "b.jpg,x\nc.jpg,y"]
    frame = pd.DataFrame({"image": ["a.jpg", "b.jpg", "c.jpg"], "caption": texts})
    frame.to_csv(tmp_path / "x.csv", index=False, quoting=csv.QUOTE_ALL)
    assert rows(tmp_path, "x.csv")["caption"].tolist() == texts


def test_quotes_are_plain_in_a_tsv_that_does_not_double_them(tmp_path: Path) -> None:
    texts = ['"Stop!" he said', 'a "red" ball', '"', '"Go"', r"a \"b\""]
    pairs = [(f"{n}.jpg", text) for n, text in enumerate(texts)]
    (tmp_path / "x.tsv").write_text(as_text(pairs, "\t"))
    assert rows(tmp_path, "x.tsv")["caption"].tolist() == texts
    found = refusal(tmp_path, "x.tsv", as_text([*pairs, ("9.jpg", 'says ""hi"" ')], "\t") + "a\n")
    assert found.startswith("line 8 has 1 field, the header has 2 (quotes are plain characters")
    found = refusal(tmp_path, "x.tsv", as_text([*pairs, ("9.jpg", '"says ""hi"""')], "\t"))
    assert found.startswith("line 2 ") and "while line 7 doubles the quotes in" in found


def test_blank_lines_are_passed_over_and_lines_are_counted_with_them(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(b"\nimage,caption\r\n\r\na.jpg,x\r\n  \r\nb.jpg,y\r\n\n")
    assert rows(tmp_path, "x.csv")["sample_id"].tolist() == ["a.jpg", "b.jpg"]
    assert read_csv(tmp_path / "x.csv", ",").index.tolist() == [4, 6]


# --- what stands twice, and numbers --------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.csv", "image,caption,caption\na,b,c\n", "has the column 'caption' 2 times; rename"),
        ("x.tsv", "image\tcaption\timage\na\tb\tc\n", "has the column 'image' 2 times; rename"),
        ("x.jsonl", '{"image": "a"}\n{"image": "a", "image": "b"}', "line 2 is not JSON (the key"),
        ("x.csv", "image, caption\na,b\n", "has no column 'caption'; it has 'image', ' caption'"),
    ],
)  # fmt: skip
def test_names_that_stand_twice_or_have_blanks(
    tmp_path: Path, name: str, content: str, message: str
) -> None:
    assert message in refusal(tmp_path, name, content)


def test_a_column_of_parquet_that_stands_twice(tmp_path: Path) -> None:
    cells = [pa.array(["a"])] * 3
    pq.write_table(pa.table(cells, ["image", "caption", "caption"]), tmp_path / "x.parquet")
    assert "caption" in refusal(tmp_path, "x.parquet")


@pytest.mark.parametrize("ending", ["csv", "tsv", "parquet", "jsonl"])
@pytest.mark.parametrize("typed", ["Int64", "float64"])
def test_classes_stay_whole_where_one_is_missing(tmp_path: Path, ending: str, typed: str) -> None:
    of = pd.Series([1, None, 20], dtype=typed)
    frame = pd.DataFrame({"image": list("abc"), "caption": list("xyz"), "noun": of})
    path = tmp_path / f"x.{ending}"
    if ending == "parquet":
        frame.to_parquet(path)
    elif ending == "jsonl":
        frame.to_json(path, orient="records", lines=True)
    else:
        frame.to_csv(path, index=False, sep="\t" if ending == "tsv" else ",")
    assert rows(tmp_path, path.name, class_columns=["noun"])["class_noun"].tolist() == [
        "1",
        "",
        "20",
    ]


@pytest.mark.parametrize("ending", ["parquet", "jsonl"])
def test_ids_beyond_what_a_float_holds(tmp_path: Path, ending: str) -> None:
    ids = [2**53 + 1, None, 2**53]
    lines = [{"image": "a", "caption": "x", "id": number} for number in ids]
    if ending == "parquet":
        pq.write_table(pa.Table.from_pylist(lines), tmp_path / "x.parquet")
    else:
        (tmp_path / "x.jsonl").write_text("\n".join(map(json.dumps, lines)))
    found = rows(tmp_path, f"x.{ending}", id_column="id")["caption_id"].tolist()
    assert found == ["9007199254740993", "", "9007199254740992"]


# --- image_root and splits -----------------------------------------------------------------------


def test_image_root_is_relative_to_the_folder_that_path_is(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir(), (tmp_path / "photos").mkdir()
    (tmp_path / "sub/x.csv").write_text("image,caption\na.png,one\n")
    found = rows(tmp_path, "sub/x.csv", image_root="photos")
    assert found["media"].tolist() == [f"{tmp_path}/photos/a.png"]
    with pytest.raises(InputError, match="pictures is not there; set image_root to the folder or"):
        rows(tmp_path, "sub/x.csv", image_root="pictures")
    with pytest.raises(InputError, match=r"x\.csv is neither a folder nor a \.tar"):
        rows(tmp_path, "sub/x.csv", image_root="sub/x.csv")


def test_image_root_may_be_a_tar(tmp_path: Path) -> None:
    write_tar(tmp_path / "photos.tar", {"./a/1.jpg": picture(1), "2.png": picture(2)})
    (tmp_path / "x.csv").write_text("image,caption\na/1.jpg,one\n./2.png,two\n")
    media = rows(tmp_path, "x.csv", image_root="photos.tar")["media"]
    assert [MediaReader().read(one) for one in media] == [picture(1), picture(2)]


def test_a_table_that_is_only_tested_on(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("image,caption,part\na,x,train\nb,y,test\n")
    found = table.read(TableSource(kind="table", path="x.csv", splits=("test",)), tmp_path)
    assert found.rows["split"].tolist() == ["test", "test"] and found.may_lack == ("train", "val")
    only = rows(tmp_path, "x.csv", splits=["test"], split_column="part")
    assert only["sample_id"].tolist() == ["b"]
    with pytest.raises(ValidationError, match="needs a split_column; name one, or a single split"):
        TableSource(kind="table", path="x.csv", splits=("val", "test"))
