"""Shards streamed from files and from a web server, hostile and damaged ones too."""

from __future__ import annotations

import io
import json
import pickle
import tarfile
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from torch.utils.data import DataLoader

from mmts.errors import InputError
from mmts.settings import Pack
from mmts.shards import Item, ShardReader, write_shards
from mmts.shards.stream import ShardStream, Streamed
from tests.making import write_picture
from tests.test_shards import item


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """23 training pictures in 6 shards and 2 to test."""
    folder = tmp_path_factory.mktemp("stream")
    found: list[Item] = []
    for n in range(25):
        path = write_picture(folder / f"{n}.{'png' if n % 2 else 'jpg'}", n)
        found.append(item(str(path), "train" if n < 23 else "test"))
    (folder / "out").mkdir()
    write_shards(folder / "out", found, {}, Pack(shard_size=4))
    return folder / "out"


class Silent(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def server(shards: Path) -> Iterator[str]:
    web = ThreadingHTTPServer(("127.0.0.1", 0), partial(Silent, directory=str(shards)))
    thread = Thread(target=web.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{web.server_port}"
    web.shutdown()
    thread.join()
    web.server_close()


def ids(samples: Any) -> list[str]:
    return [sample.said["sample_id"] for sample in samples]


@pytest.mark.parametrize("kind", ["http", "file", "folder", "pipe"])
def test_every_sample_as_it_was_packed(kind: str, shards: Path, server: str) -> None:
    bases = {"http": server, "file": f"file:{shards}", "folder": str(shards),
             "pipe": f"pipe:cat {shards}/{{}}"}  # fmt: skip
    stream = ShardStream(bases[kind], "train", seed=0, buffer=5)
    reader = ShardReader(shards, "train")
    wanted = {s["sample_id"]: (s, reader.image_bytes(n)) for n, s in enumerate(reader.samples)}
    found = {s.said["sample_id"]: (s.said, s.media) for s in stream}
    assert found == wanted and stream.samples == 23
    assert {s.ending for s in stream} == {"jpg", "png"}


def test_order_is_of_seed_and_epoch(shards: Path) -> None:
    def order(seed: int, epoch: int, buffer: int = 8) -> list[str]:
        stream = ShardStream(str(shards), "train", seed=seed, buffer=buffer)
        stream.set_epoch(epoch)
        return ids(stream)

    assert order(0, 0) == order(0, 0)
    found = [order(0, 0), order(0, 1), order(1, 0), order(0, 0, 0)]
    assert all(sorted(one) == sorted(found[0]) for one in found)
    assert len({tuple(one) for one in found}) == 4
    packed = ids(ShardStream(str(shards), "test", seed=0, buffer=0))
    assert packed == [s["sample_id"] for s in ShardReader(shards, "test").samples]


def _as_is(batch: list[Streamed]) -> list[Streamed]:
    return batch


@pytest.mark.parametrize(("ranks", "workers"), [(1, 0), (3, 0), (1, 2), (2, 2), (4, 2)])
def test_nothing_lost_or_repeated(shards: Path, ranks: int, workers: int) -> None:
    found = []
    for rank in range(ranks):
        stream = ShardStream(str(shards), "train", seed=3, buffer=3, rank=rank, ranks=ranks)
        loader: DataLoader[Any] = DataLoader(
            stream, batch_size=2, num_workers=workers, collate_fn=_as_is
        )
        found += [name for batch in loader for name in ids(batch)]
    wanted = [s["sample_id"] for s in ShardReader(shards, "train").samples]
    assert sorted(found) == sorted(wanted)


def test_fewer_shards_than_ranks(shards: Path) -> None:
    with pytest.raises(InputError, match="has 1 shards of split test for 2 processes; use fewer"):
        ShardStream(str(shards), "test", seed=0, ranks=2)


class Harmful:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (str(self.path), "w"))


def add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def test_no_member_is_unpickled(tmp_path: Path) -> None:
    """Stock webdataset's decode() runs the code of this .pyd."""
    import webdataset

    harm, path = tmp_path / "harm", tmp_path / "train-000000.tar"
    with tarfile.open(path, "w") as tar:
        for ending in ("PYD", "pickle", "pkl", "npy", "pth"):
            add(tar, f"a.{ending}", pickle.dumps(Harmful(harm)))
        add(tar, "a.json", b'{"captions": ["x"]}')
        add(tar, "a.txt", "näher".encode())
        add(tar, "a.JPG", b"a picture")
        add(tar, "b.cls.jpg", b"of no listed ending")
    facts = {path.name: {"split": "train"}}
    found = list(ShardStream(str(tmp_path), "train", seed=0, shards=facts))
    assert found == [Streamed("a", {"captions": ["x"]}, "näher", b"a picture", "jpg")]
    assert not harm.exists()
    with pytest.raises(webdataset.autodecode.DecodingError):
        list(webdataset.WebDataset(str(path), shardshuffle=False).decode())
    assert harm.exists()  # so the test can fail


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data[:600] + b"!" + data[601:], "does not match the SHA-256"),
        (lambda data: data[:-512], "does not match the SHA-256"),
        (lambda data: data[:1300], "is damaged or cannot be read"),
        (lambda data: b"", "is damaged or cannot be read"),
        (lambda data: b"no tar " * 300, "is damaged or cannot be read"),
    ],
)
def test_damaged_shards_are_named(
    shards: Path, tmp_path: Path, damage: Callable[[bytes], bytes], message: str
) -> None:
    for path in shards.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    path = tmp_path / "test-000000.tar"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match=rf"test-000000\.tar {message}"):
        list(ShardStream(str(tmp_path), "test", seed=0))


def test_addresses_that_are_none(server: str, tmp_path: Path) -> None:
    for base in (f"{server}/nothing", str(tmp_path), f"file:{tmp_path}", "ftp2://x"):
        with pytest.raises(InputError, match=r"manifest\.json"):
            ShardStream(base, "train", seed=0)
    (tmp_path / "manifest.json").write_text("[]")
    with pytest.raises(InputError, match="lists no shards"):
        ShardStream(str(tmp_path), "train", seed=0)


@pytest.mark.parametrize(
    "name", ["a.tar; touch x.tar", "../a.tar", "-o.tar", "pipe:x.tar", "a.zip"]
)
def test_names_that_a_shell_or_a_path_could_take_otherwise(tmp_path: Path, name: str) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({"shards": {name: {"split": "train"}}}))
    with pytest.raises(InputError, match="names a shard"):
        ShardStream(str(tmp_path), "train", seed=0)


def test_a_shard_that_is_gone(shards: Path, server: str) -> None:
    facts = {"gone.tar": {"split": "train"}}
    for base in (server, str(shards)):
        with pytest.raises(InputError, match=r"gone\.tar (cannot be opened|is damaged or cannot)"):
            list(ShardStream(base, "train", seed=0, shards=facts))
