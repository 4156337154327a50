import hashlib
import json
import math
import shutil
from pathlib import Path

import pandas as pd
import pytest

from mmts import files
from mmts.errors import InputError
from mmts.files import (
    discard,
    make_folder,
    output_folder,
    read_json,
    read_parquet,
    require,
    sha256_file,
    write_json,
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_output_folder_appears_when_the_block_ends(tmp_path: Path) -> None:
    final = tmp_path / "deep" / "er" / "out"
    with output_folder(final) as work:
        (work / "a").write_text("1")
        assert not final.exists() and work.parent == final.parent
    assert (final / "a").read_text() == "1"
    assert names(final.parent) == ["out"]


def test_output_folder_replaces_the_old_one_whole(tmp_path: Path) -> None:
    final = tmp_path / "out"
    final.mkdir()
    (final / "old").write_text("x")
    with output_folder(final) as work:
        (work / "new").write_text("y")
        assert (final / "old").exists()
    assert names(final) == ["new"] and names(tmp_path) == ["out"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_output_folder_leaves_nothing_half_written(
    tmp_path: Path, error: type[BaseException]
) -> None:
    final = tmp_path / "out"
    final.mkdir()
    (final / "old").write_text("x")
    with pytest.raises(error), output_folder(final) as work:
        (work / "new").write_text("y")
        raise error
    assert names(final) == ["old"] and names(tmp_path) == ["out"]


def test_output_folder_has_the_usual_permissions(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    with output_folder(tmp_path / "out"):
        pass
    assert (tmp_path / "out").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_require(tmp_path: Path) -> None:
    assert require(str(tmp_path), "x") == tmp_path
    with pytest.raises(InputError, match=r"nope is not there; buy one"):
        require(tmp_path / "nope", "buy one")


def test_json_round_trip(tmp_path: Path) -> None:
    value = {"a": [1, 2.5, None], "ü": "שלום"}
    write_json(tmp_path / "x.json", value)
    assert read_json(tmp_path / "x.json") == value
    text = (tmp_path / "x.json").read_text(encoding="utf-8")
    assert "שלום" in text and text.endswith("}\n")
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "x.json", {"a": math.nan})


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b""])
def test_json_that_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(InputError, match=r"x\.json is not JSON .*; do this"):
        read_json(tmp_path / "x.json", "do this")
    with pytest.raises(InputError, match=r"y\.json is not there; do this"):
        read_json(tmp_path / "y.json", "do this")


def test_parquet(tmp_path: Path) -> None:
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "x.parquet")
    assert read_parquet(tmp_path / "x.parquet")["a"].tolist() == [1]
    data = (tmp_path / "x.parquet").read_bytes()
    for broken in (data[:-9], b"", b"hello, this is no Parquet file"):
        (tmp_path / "y.parquet").write_bytes(broken)
        with pytest.raises(InputError, match=r"y\.parquet is not a Parquet file .*; do this"):
            read_parquet(tmp_path / "y.parquet", "do this")
    with pytest.raises(InputError, match=r"z\.parquet is not there; do this"):
        read_parquet(tmp_path / "z.parquet", "do this")


def test_sha256(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(json.dumps(list(range(50_000))).encode())
    assert sha256_file(tmp_path / "x") == hashlib.sha256((tmp_path / "x").read_bytes()).hexdigest()


def test_a_discarded_folder_is_never_half_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where removing stops at once, the name is free already."""
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/file").write_text("1")
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", lambda *_, **__: None)
        discard(tmp_path / "kept")
    assert names(tmp_path) == [".kept.gone.partial"]
    (tmp_path / "kept").mkdir()
    discard(tmp_path / "kept")  # with what the first one left in its way
    assert names(tmp_path) == []


def test_folders_are_made_and_synced_from_the_top(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[Path] = []
    monkeypatch.setattr(files, "sync", done.append)
    make_folder(tmp_path / "a/b")
    make_folder(tmp_path / "a/b")
    assert (tmp_path / "a/b").is_dir() and done == [tmp_path, tmp_path / "a"]
