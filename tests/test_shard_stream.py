"""Shards streamed from files and from a web server, hostile and damaged ones too."""

from __future__ import annotations

import io
import json
import pickle
import socket
import tarfile
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from torch.utils.data import DataLoader

from mmts.errors import InputError
from mmts.settings.prepared import Pack
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
    found = {s.said["sample_id"]: (s.said, s.members["image"]) for s in stream}
    assert found == wanted and stream.samples == 23
    assert {s.shard for s in stream} == {stream.remote.url(name) for name in stream.digests}


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
        add(tar, "a.txt", b"of no use here")
        add(tar, "a.JPG", b"a picture")
        add(tar, "b.cls.jpg", b"of no listed ending")
    facts = {path.name: {"split": "train"}}
    found = list(ShardStream(str(tmp_path), "train", seed=0, shards=facts))
    assert found == [Streamed(str(path), "a", {"captions": ["x"]}, {"image": b"a picture"})]
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
        (lambda data: b"", "gave nothing; is it empty"),
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
    for base in (str(tmp_path), f"file:{tmp_path}", "ftp2://x"):
        with pytest.raises(InputError, match=r"manifest\.json"):
            ShardStream(base, "train", seed=0)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(InputError, match=r"manifest\.json cannot be read \(.*is the address right"):
        ShardStream(str(tmp_path), "train", seed=0)
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
    for base, said in ((server, "gave nothing"), (str(shards), "cannot be opened")):
        with pytest.raises(InputError, match=rf"gone\.tar {said}"):
            list(ShardStream(base, "train", seed=0, shards=facts))


@pytest.mark.parametrize("base", ["http://127.0.0.1:{port}", "pipe:false", "pipe:sleep 0.1; false"])
def test_an_address_that_gives_nothing(base: str) -> None:
    """Whether the command has ended by the first read or not."""
    with socket.socket() as taken:  # bound and not listening: refuses
        taken.bind(("127.0.0.1", 0))
        base = base.format(port=taken.getsockname()[1])
        facts = {"a.tar": {"split": "train"}}
        with pytest.raises(InputError, match=r"a\.tar gave nothing; .* is the server up\?$"):
            list(ShardStream(base, "train", seed=0, shards=facts))
        with pytest.raises(
            InputError, match=r"manifest\.json gave nothing; .* is the server up\?$"
        ):
            ShardStream(base, "train", seed=0)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (b"[1]", "its JSON is a list, not a mapping"),
        (b"null", "its JSON is a NoneType, not a mapping"),
        (b"{", r"its JSON cannot be read \("),
        (b"\xff\xff", r"its JSON cannot be read \("),
        (b"[" * 100_000, r"its JSON cannot be read \("),
    ],
)
def test_json_that_says_nothing(tmp_path: Path, said: bytes, message: str) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        add(tar, "7.json", b"{}")
        add(tar, "8.json", said)
    stream = iter(ShardStream(str(tmp_path), "train", seed=0, buffer=0, shards={"a.tar": {}}))
    assert next(stream).said == {}
    with pytest.raises(InputError, match=rf"a\.tar, sample 8: {message}.*; copy the shard again$"):
        next(stream)


def write_keys(folder: Path, shards: int, samples: int) -> dict[str, dict[str, str]]:
    """Shards of samples that have a key alone."""
    for n in range(shards):
        with tarfile.open(folder / f"{n}.tar", "w") as tar:
            for key in range(samples):
                add(tar, f"{n * samples + key}.json", b"{}")
    return {f"{n}.tar": {"split": "train"} for n in range(shards)}


def test_one_shard_is_mixed_anew_each_epoch(tmp_path: Path) -> None:
    facts = write_keys(tmp_path, 1, 12)
    stream = ShardStream(str(tmp_path), "train", seed=0, buffer=6, shards=facts)
    found = []
    for epoch in range(3):
        stream.set_epoch(epoch)
        found.append([sample.key for sample in stream])
    assert len({tuple(keys) for keys in found}) == 3
    assert all(sorted(keys, key=int) == [str(n) for n in range(12)] for keys in found)


def test_a_reader_goes_over_its_shards_in_new_orders(tmp_path: Path) -> None:
    facts = write_keys(tmp_path, 12, 1)
    stream = ShardStream(str(tmp_path), "train", seed=0, buffer=0, workers=2, shards=facts)
    passes = [list(islice(stream.endless(0, worker, 2), 18)) for worker in (0, 1)]
    own = [[[s.key for s in found[n : n + 6]] for n in (0, 6, 12)] for found in passes]
    for orders in own:
        assert len({tuple(keys) for keys in orders}) == 3
        assert len({frozenset(keys) for keys in orders}) == 1
    assert {*own[0][0], *own[1][0]} == {str(n) for n in range(12)}
