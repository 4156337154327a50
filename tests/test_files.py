import errno
import fcntl
import math
import multiprocessing
import os
import shutil
import signal
import time
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
    write_json,
)
from tests import patience
from tests.making_run import die, in_a_fork


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
    assert names(final) == ["SHA256SUMS", "new"] and names(tmp_path) == ["out"]


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


def test_an_output_folder_is_sealed(tmp_path: Path) -> None:
    for _ in range(2):
        with output_folder(tmp_path / "out") as work:
            (work / "x.json").write_text("1")
    assert read_json(tmp_path / "out/x.json") == 1
    (tmp_path / "out/x.json").write_text("2")
    with pytest.raises(InputError, match=r"x\.json is damaged: .*; delete .*/out and do this"):
        read_json(tmp_path / "out/x.json", "do this")
    assert read_json(tmp_path / "out/x.json", ours=False) == 2


def test_two_processes_do_not_write_one_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "PATIENCE", 0.1)
    final = tmp_path / "out"
    with output_folder(final) as work:
        (work / "mine").write_text("1")
        code = in_a_fork(lambda: os._exit(_refused(final)))
        assert code == 7 and names(work) == ["mine"]
    assert names(final) == ["SHA256SUMS", "mine"]
    assert in_a_fork(lambda: os._exit(_refused(final))) == 0  # the lock has gone with the block
    assert names(final) == ["SHA256SUMS", "theirs"] and names(tmp_path) == ["out"]


def _refused(final: Path) -> int:
    try:
        with output_folder(final) as work:
            (work / "theirs").write_text("2")
    except InputError as error:
        return 7 if "out is being written by another process; wait for" in str(error) else 8
    return 0


def test_one_waits_for_a_writer_that_ends_soon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And is not taken in by the other's renaming of the folder that it waits for."""
    monkeypatch.setattr(files, "PATIENCE", patience.seconds(30))  # soon, on a busy machine
    fork = multiprocessing.get_context("fork")
    with output_folder(tmp_path / "out") as work:
        (work / "mine").write_text("1")
        other = fork.Process(target=lambda: os._exit(_refused(tmp_path / "out")))
        other.start()
        time.sleep(0.2)
    other.join()
    assert other.exitcode == 0
    assert names(tmp_path / "out") == ["SHA256SUMS", "theirs"] and names(tmp_path) == ["out"]


def test_a_worker_that_outlives_its_killed_stage_holds_no_lock(tmp_path: Path) -> None:
    ready, done = os.pipe(), os.pipe()

    def stage() -> None:
        os.close(done[1])  # the worker ends with this process at the latest
        with output_folder(tmp_path / "out") as work:
            (work / "left").write_text("1")
            if os.fork() == 0:  # the worker
                os.write(ready[1], b"1")
                os.read(done[0], 1)
                os._exit(0)
            os.read(ready[0], 1)
            die()

    assert in_a_fork(stage) == -signal.SIGKILL
    assert names(tmp_path) == [".out.partial"] and names(tmp_path / ".out.partial") == ["left"]
    assert _refused(tmp_path / "out") == 0  # the worker lives until it is told to end
    os.write(done[1], b"1")
    assert names(tmp_path / "out") == ["SHA256SUMS", "theirs"] and names(tmp_path) == ["out"]


def test_a_disk_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    assert _refused(tmp_path / "out") == 0 and names(tmp_path / "out") == ["SHA256SUMS", "theirs"]


def test_killed_between_the_renames_the_old_one_is_not_half_there(tmp_path: Path) -> None:
    final = tmp_path / "out"
    assert _refused(final) == 0

    def stage() -> None:
        shutil.rmtree = lambda path, **_: die() if path.exists() else None
        _refused(final)

    assert in_a_fork(stage) == -signal.SIGKILL
    assert names(tmp_path) == [".out.gone.partial", "out"]
    assert _refused(final) == 0 and names(tmp_path) == ["out"]


def test_an_output_that_is_a_link_is_replaced_again_and_again(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "elsewhere")
    for _ in range(3):
        assert _refused(tmp_path / "out") == 0
    assert names(tmp_path) == ["elsewhere", "out"] and names(tmp_path / "elsewhere") == []


def test_a_file_in_the_place_of_an_output_is_replaced_again_and_again(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    for text in ("a", "b"):
        with output_folder(tmp_path / "out") as work:
            (work / "text").write_text(text)
        assert (tmp_path / "out/text").read_text() == text
        assert names(tmp_path) == ["out"]


def test_an_error_between_the_renames_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    final, rename = tmp_path / "out", Path.rename
    assert _refused(final) == 0

    def fails(path: Path, target: Path) -> Path:
        if target == final and path.name == ".out.partial":
            raise KeyboardInterrupt
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", fails)
    with pytest.raises(KeyboardInterrupt), output_folder(final) as work:
        (work / "new").write_text("3")
    assert names(final) == ["SHA256SUMS", "theirs"] and names(tmp_path) == ["out"]


def test_a_folder_that_no_stage_reads_has_no_sums(tmp_path: Path) -> None:
    with output_folder(tmp_path / "out", sums=False) as work:
        (work / "x").write_text("1")
    assert names(tmp_path / "out") == ["x"]
