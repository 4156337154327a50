import hashlib
import json
import subprocess
from pathlib import Path

import pytest

from mmts import sealed
from mmts.errors import InputError
from mmts.sealed import SUMS, check_file, check_seal, sha256_file, write_sums


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.json", "b c.npy", "deep/d"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"the bytes of {name}")
    assert [p.name for p in write_sums(tmp_path)] == ["a.json", "b c.npy", "d", SUMS]
    return tmp_path


def test_sha256(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(json.dumps(list(range(50_000))).encode())
    assert sha256_file(tmp_path / "x") == hashlib.sha256((tmp_path / "x").read_bytes()).hexdigest()


def test_sha256sum_reads_what_is_written(folder: Path) -> None:
    command = ["sha256sum", "--check", "--strict", SUMS]
    said = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout
    assert said == "a.json: OK\nb c.npy: OK\ndeep/d: OK\n"


def test_what_is_listed_is_not_read_again(tmp_path: Path) -> None:
    (tmp_path / "shard.tar").write_text("1")
    (tmp_path / "other").write_text("2")
    write_sums(tmp_path, {"shard.tar": "0" * 64, "gone": "1" * 64})
    (tmp_path / "more").write_text("3")
    write_sums(tmp_path)
    two, three = (hashlib.sha256(data).hexdigest() for data in (b"2", b"3"))
    assert (tmp_path / SUMS).read_text() == f"{three}  more\n{two}  other\n{'0' * 64}  shard.tar\n"


def test_a_whole_folder_passes(folder: Path) -> None:
    check_seal(folder, {"a.json"}, "-")
    for name in ("a.json", "b c.npy"):
        check_file(folder / name, "-")


def test_a_file_of_an_unsealed_folder_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("1")
    check_file(tmp_path / "x", "-")


@pytest.mark.parametrize(
    ("name", "data", "told"),
    [
        ("a.json", b"the bytes of b.json", r"a\.json is damaged: not the bytes that SHA256SUMS"),
        (SUMS, b"", r"SHA256SUMS is damaged; get it again"),
        (SUMS, b"\xff" * 70, r"SHA256SUMS is damaged"),
        (SUMS, b"0" * 64 + b" *a.json\n", r"SHA256SUMS is damaged"),
        (SUMS, b"0" * 64 + b"  b\n", r"SHA256SUMS does not list a\.json; get it again"),
    ],
)
def test_changes_are_found(folder: Path, name: str, data: bytes, told: str) -> None:
    check_file(folder / "a.json", "-")
    (folder / name).write_bytes(data)
    with pytest.raises(InputError, match=told):
        check_file(folder / "a.json", "get it again")
    with pytest.raises(InputError, match=told):
        check_seal(folder, {"a.json"}, "get it again")


def test_a_missing_file(folder: Path) -> None:
    (folder / "b c.npy").unlink()
    with pytest.raises(InputError, match=r"b c\.npy is missing; do this"):
        check_seal(folder, set(), "do this")
    check_seal(folder, {"a.json"}, "do this", others=False)


def test_a_file_is_read_once_until_it_changes(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []
    whole = sha256_file
    monkeypatch.setattr(sealed, "sha256_file", lambda path: (read.append(path), whole(path))[1])
    for _ in range(3):
        check_file(folder / "a.json", "-")
    assert read == [folder / "a.json"]
    other = (folder / SUMS).read_text().replace(whole(folder / "a.json"), "0" * 64)
    (folder / SUMS).write_text(other)
    with pytest.raises(InputError, match="damaged"):
        check_file(folder / "a.json", "-")
    assert len(read) == 2
