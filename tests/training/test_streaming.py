"""Training from shards behind a URL: each picture with what local shards would give it."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import re
import shutil
import tarfile
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from multiprocessing import active_children
from pathlib import Path
from threading import Thread
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch
from torch import Tensor

from mmts.errors import InputError
from mmts.media import MediaFacts
from mmts.settings.prepared import Pack
from mmts.settings.training import Stream
from mmts.shards import Item, ShardReader, write_shards
from mmts.shards.remote import Remote, Streamed
from mmts.shards.stream import ShardStream
from mmts.shards.streamed import StreamedReader
from mmts.training.batch import Batch
from mmts.training.batches import Plan
from mmts.training.checkpoint import Position
from mmts.training.distributed import World
from mmts.training.feed import feed
from mmts.training.pairs import Pairs
from mmts.video.segment import write_segment
from tests.conftest import CELL, Project
from tests.making import write_picture
from tests.training.test_loop import settings
from tests.training.test_pairs import same

ITEMS = 24  # in six shards
START = Position(0, 0, 0)


class Silent(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("streamed")
    found = []
    for n in range(ITEMS):
        path = write_picture(folder / f"{n}.jpg", n)
        texts = [f"caption {2 * n + i}" for i in range(1 + n % 2)]
        found.append(
            Item("s", "train", f"item{n}", str(path), *MediaFacts.of(path.read_bytes()), None, None,
                 texts, texts, [2 * n + i for i in range(len(texts))], {})
        )  # fmt: skip
    (folder / "out").mkdir()
    write_shards(folder / "out", found, {}, Pack(shard_size=4))
    return folder / "out"


@pytest.fixture
def here(packed: Path, tmp_path: Path) -> Path:
    """The folder of a machine that has no shards."""
    folder = tmp_path / "here"
    folder.mkdir()
    for name in ("manifest.json", "index.parquet"):
        shutil.copy(packed / name, folder)
    return folder


@pytest.fixture
def away(packed: Path, tmp_path: Path) -> Path:
    """A copy of the shards, to be harmed."""
    folder = tmp_path / "away"
    shutil.copytree(packed, folder)
    return folder


def lengths(captions: list[str], _: list[str]) -> Tensor:
    return torch.tensor([[float(caption.split()[-1])] for caption in captions])


def pairs_of(shards: ShardReader) -> Pairs:
    pairs = Pairs(shards, vision_rows=None, encode_text=lengths, image_size=16)
    pairs.augment = settings(augment=True).augment
    return pairs


def fed(
    here: Path, url: str, *, workers: int = 0, epochs: int = 1, rank: int = 0, ranks: int = 1,
    at: Position = START, buffer: int = 6, batch_size: int = 4,
) -> list[Batch]:  # fmt: skip
    pairs = pairs_of(StreamedReader(here, "train"))
    chosen = settings(epochs=epochs, workers=workers, stream=Stream(url=url, buffer=buffer))
    world = World(rank, ranks, torch.device("cpu"), None)
    with feed(pairs, Plan(pairs.first, batch_size, 7), chosen, world, at) as batches:
        return list(batches)


def items(batches: list[Batch]) -> list[int]:
    return [item for batch in batches for item in batch.index.tolist()]


@pytest.mark.parametrize(("address", "workers"), [("file:{}", 0), ("http", 2)])
def test_each_picture_with_its_own(here: Path, packed: Path, address: str, workers: int) -> None:
    web = ThreadingHTTPServer(("127.0.0.1", 0), partial(Silent, directory=str(packed)))
    thread = Thread(target=web.serve_forever)
    thread.start()
    url = f"http://127.0.0.1:{web.server_port}" if address == "http" else address.format(packed)
    try:
        batches = fed(here, url, workers=workers, epochs=2)
    finally:
        web.shutdown()
        thread.join()
        web.server_close()
    local = pairs_of(ShardReader(packed, "train"))
    assert len(batches) == 12 and {len(batch.index) for batch in batches} == {4}
    assert items(batches[:6]) != items(batches[6:])
    for epoch in (0, 1):
        _, picks = Plan(local.first, 4, 7).drawn(epoch)
        own = batches[6 * epoch : 6 * epoch + 6]
        assert sorted(items(own)) == list(range(ITEMS))
        for batch in own:
            wanted = local.__getitems__(picks.part(batch.index.numpy()))
            assert same(batch, wanted)
            assert (batch.text[:, 0].long() == batch.cluster_id).all()


@pytest.mark.parametrize(("ranks", "workers"), [(2, 0), (1, 2), (2, 3)])
def test_readers_share_the_shards(here: Path, packed: Path, ranks: int, workers: int) -> None:
    """Six shards for two, two and six readers: each sample comes once."""
    found = [
        fed(here, str(packed), rank=rank, ranks=ranks, workers=workers, batch_size=12)
        for rank in range(ranks)
    ]
    assert all(len(batches) == 2 for batches in found)
    assert sorted(item for batches in found for item in items(batches)) == list(range(ITEMS))
    again = fed(here, str(packed), ranks=ranks, workers=workers, batch_size=12)
    assert items(again) == items(found[0])


def test_a_rank_goes_on_with_its_own_shards(here: Path, packed: Path) -> None:
    """Four ranks have 8, 8, 4 and 4 samples, and six steps of one row each."""
    found = [items(fed(here, str(packed), rank=rank, ranks=4)) for rank in range(4)]
    assert [len(rows) for rows in found] == [6] * 4
    assert [len(set(rows)) for rows in found] == [6, 6, 4, 4]
    assert found[2][:4] != found[2][4:] + found[2][2:4]
    assert sum(len(set(rows)) for rows in found) == len({item for rows in found for item in rows})


@pytest.mark.parametrize("workers", [0, 2])
def test_going_on_in_mid_epoch(here: Path, packed: Path, workers: int) -> None:
    whole = fed(here, str(packed), workers=workers, epochs=2)
    for done in (3, 6, 8):
        at = Position(done, (done - 1) // 6, 1 + (done - 1) % 6)
        rest = fed(here, str(packed), workers=workers, epochs=2, at=at)
        assert len(rest) == 12 - done
        for one, other in zip(whole[done:], rest, strict=True):
            assert same(one, other)


def test_going_on_at_the_end_of_an_epoch_reads_none_of_it(
    here: Path, packed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, samples = [], Remote.samples

    def counted(remote: Remote, name: str, digest: str | None) -> Iterator[Streamed]:
        opened.append(name)
        return samples(remote, name, digest)

    monkeypatch.setattr(Remote, "samples", counted)
    assert len(fed(here, str(packed), epochs=2, at=Position(6, 0, 6))) == 6
    assert len(opened) == 6
    assert fed(here, str(packed), epochs=1, at=Position(6, 0, 6)) == []
    assert len(opened) == 6


def test_the_workers_share_the_buffer(here: Path, packed: Path) -> None:
    """Two of them hold three samples each of five, and give two rows each of a batch."""
    shards = StreamedReader(here, "train").shards
    stream = ShardStream(str(packed), "train", seed=7, buffer=3, workers=2, shards=shards)
    found = [[int(s.key) for s in islice(stream.endless(0, n, 2), 12)] for n in (0, 1)]
    wanted = [key for n in range(0, 12, 2) for keys in found for key in keys[n : n + 2]]
    assert items(fed(here, str(packed), workers=2, buffer=5)) == wanted


def test_fewer_shards_than_readers(here: Path, packed: Path) -> None:
    with pytest.raises(InputError, match="has 6 shards of split train for 2 processes of 4 work"):
        fed(here, str(packed), ranks=2, workers=4, batch_size=16)


class Harmful:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (str(self.path), "w"))


def test_other_members_are_never_read(here: Path, away: Path, tmp_path: Path) -> None:
    harm, shard = tmp_path / "harm", away / "train-000000.tar"
    with tarfile.open(shard, "a") as tar:
        member = tarfile.TarInfo("00000003.pyd")
        data = pickle.dumps(Harmful(harm))
        member.size = len(data)
        tar.addfile(member, io.BytesIO(data))
    manifest = json.loads((here / "manifest.json").read_text())
    manifest["shards"][shard.name]["sha256"] = hashlib.sha256(shard.read_bytes()).hexdigest()
    (here / "manifest.json").write_text(json.dumps(manifest))
    assert sorted(items(fed(here, str(away)))) == list(range(ITEMS))
    assert not harm.exists()
    pickle.loads(data)  # so that the test can fail
    assert harm.exists()


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda shards: shards[0].write_bytes(shards[0].read_bytes()[:1300]), "is damaged or cann"),
        (lambda shards: shards[0].unlink(), "cannot be opened"),
        (lambda shards: shards[1].rename(shards[0]), "does not match the SHA-256"),
    ],
)
def test_damaged_shards_are_named(
    here: Path, away: Path, workers: int, damage: Callable[[list[Path]], Any], message: str
) -> None:
    damage(sorted(away.glob("*.tar")))
    with pytest.raises(InputError, match=rf"train-00000[01]\.tar {message}") as caught:
        fed(here, str(away), workers=workers)
    assert "\n" not in str(caught.value) and "Traceback" not in str(caught.value)
    assert active_children() == []  # though the error is still there


def rewritten(away: Path, change: Callable[[str, bytes], bytes | None]) -> None:
    """Each member of the shards as `change` makes it, or without it."""
    for shard in away.glob("train-*.tar"):
        with tarfile.open(shard) as tar:
            members = [(member.name, tar.extractfile(member).read()) for member in tar]  # type: ignore[union-attr]
        with tarfile.open(shard, "w") as tar:
            for name, data in members:
                changed = change(name, data)
                if changed is not None:
                    member = tarfile.TarInfo(name)
                    member.size = len(changed)
                    tar.addfile(member, io.BytesIO(changed))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    ("ending", "data", "message"),
    [
        ("jpg", lambda data: data[:300], "not a readable picture (Truncated File Read)"),
        ("jpg", lambda data: None, "not a picture of a known format"),
        ("json", lambda data: b"[1]", "its JSON is a list, not a mapping"),
        ("json", lambda data: data[:9], "its JSON cannot be read (Unterminated string"),
        ("json", lambda data: data.replace(b"item22", b"item23"), "its sample_id 'item23' is not"),
    ],
)
def test_damaged_samples_are_named(
    here: Path, away: Path, workers: int, ending: str, data: Callable[[bytes], Any], message: str
) -> None:
    """Shards that are larger than the buffer: the hash comes too late."""
    rewritten(away, lambda name, old: data(old) if name == f"00000022.{ending}" else old)
    wanted = re.escape(f"{away}/train-000005.tar, sample 00000022: {message}")
    with pytest.raises(InputError, match=rf"^{wanted}.*; copy the shard") as caught:
        fed(here, str(away), workers=workers, buffer=0)
    assert "\n" not in str(caught.value)


def test_a_damaged_clip_is_named(here: Path) -> None:
    reader = StreamedReader(here, "train")
    clip = write_segment([b"a frame"])
    sample = Streamed("x.tar", "00000003", {"sample_id": "item3"}, {"image": clip})
    assert reader.hold([sample]) == [3] and reader.asked is None
    assert reader.segment(3).jpeg(0) == b"a frame" and reader.asked is sample
    reader.hold([sample._replace(members={"image": clip[1:]})])
    assert reader.asked is None
    with pytest.raises(InputError, match="video segment"):
        reader.segment(3)
    assert reader.asked is not None and reader.asked.name == "x.tar, sample 00000003"


def test_shards_of_another_packing(here: Path) -> None:
    reader = StreamedReader(here, "train")
    stream = pairs_of(reader)
    assert len(stream) == ITEMS
    wrong = [("00000003", "item4"), ("00000024", "item24"), ("x", "item3"), ("3", None),
             ("9" * 30, "item3")]  # fmt: skip
    for key, name in wrong:
        with pytest.raises(
            InputError, match=rf"^x\.tar, sample {key}: .* {name!r} is not what .*pa"
        ):
            reader.hold([Streamed("x.tar", key, {"sample_id": name}, {})])
    assert reader.hold(
        [Streamed("x.tar", "00000003", {"sample_id": "item3"}, {"image": b"a"})]
    ) == [3]
    assert reader.image_bytes(3) == b"a"


def test_a_key_that_the_index_has_not(here: Path) -> None:
    """Though it has the sample_id, under the next key."""
    index = pq.read_table(here / "index.parquet")
    pq.write_table(index.filter(pc.not_equal(index["sample_id"], "item3")), here / "index.parquet")
    manifest = json.loads((here / "manifest.json").read_text())
    manifest["index_sha256"] = hashlib.sha256((here / "index.parquet").read_bytes()).hexdigest()
    (here / "manifest.json").write_text(json.dumps(manifest))
    reader = StreamedReader(here, "train")
    assert reader.hold([Streamed("x.tar", "00000004", {"sample_id": "item4"}, {})]) == [3]
    with pytest.raises(InputError, match="sample 00000003: its sample_id 'item4' is not what"):
        reader.hold([Streamed("x.tar", "00000003", {"sample_id": "item4"}, {})])


# --- the stage -----------------------------------------------------------------------------------


@pytest.fixture
def streaming(project: Project) -> Iterator[Callable[..., Any]]:
    """The train stage, with the tars moved away; `harm` cuts one of them short."""
    tiny, away = "datasets__tiny__", project.root / "away"
    away.mkdir()
    for path in (project.root / "data/shards/tiny").glob("train-*.tar"):
        path.rename(away / path.name)

    def run(*, harm: bool = False, **more: Any) -> Any:
        vision = {"name": "small_cnn", "weights": "random", "frozen": False, "image_size": 16}
        given = {
            "towers__vision": vision, "train__workers": 1, "train__stream": {"url": f"file:{away}"},
            **more,
        }  # fmt: skip
        project.set(**{f"{tiny}{key}": value for key, value in given.items()})
        if harm:
            shard = away / "train-000001.tar"
            shard.write_bytes(shard.read_bytes()[:1300])
        shutil.rmtree(
            "data/cache/kept", ignore_errors=True
        )  # or what was trained from whole shards is taken
        return project.run("train", *CELL, "mmts")

    yield run


def test_the_stage_streams(streaming: Callable[..., Any]) -> None:
    ran = streaming()
    assert (ran.code, ran.err) == (0, ""), ran
    assert "4 steps in" in ran.out and "data wait" in ran.out
    digest = json.loads(Path("data/train/tiny/mmts/0/run.json").read_text())["facts"]
    found = json.loads(Path("data/cache/speed/tiny/mmts/0.json").read_text())
    assert (found["digest"], found["device"], found["mfu"]) == (digest, "cpu", None)
    ran = streaming(harm=True)
    assert ran.code == 1 and ran.err.count("\n") == 1
    assert "away/train-000001.tar is damaged or cannot be read" in ran.err


def test_what_the_stage_cannot_stream(streaming: Callable[..., Any]) -> None:
    ran = streaming(train__workers=3)
    assert ran.code == 1 and "2 shards of split train for 1 processes of 3 workers" in ran.err
    ran = streaming(train__stream=None)
    assert ran.code == 1 and "data/shards/tiny/train-000000.tar is not there" in ran.err
    shutil.rmtree("data/train/tiny")
    next(Path("data/shards/tiny").glob("val-*.tar")).unlink()
    ran = streaming()
    assert ran.code == 1 and "data/shards/tiny/val-000000.tar is not there" in ran.err
