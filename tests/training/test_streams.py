"""Further streams in batches and in the two-tower model, local and from a URL."""

from __future__ import annotations

import io
import json
import re
import shutil
import tarfile
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from mmts.errors import InputError
from mmts.settings.prepared import Pack
from mmts.settings.training import Head, Stream
from mmts.shards import Item, ShardReader, write_shards
from mmts.shards.streamed import StreamedReader
from mmts.towers.ahead import try_model
from mmts.towers.two_tower import TwoTower
from mmts.training.batch import Batch, together
from mmts.training.batches import Plan
from mmts.training.checkpoint import Position
from mmts.training.distributed import World
from mmts.training.feed import feed
from mmts.training.pairs import Pairs
from tests.making_streams import Numbers, with_readings
from tests.test_shards import SIZES, found_items
from tests.towers.test_two_tower import towers
from tests.training.test_loop import settings
from tests.training.test_pairs import same
from tests.training.test_streaming import lengths

WORLD = World(0, 1, torch.device("cpu"), None)


class Noisy(Numbers):
    """Numbers, in training with noise."""

    extension: ClassVar[str] = "noisy"

    def load(self, data: bytes, rng: Any) -> Any:
        found = np.frombuffer(data, np.uint8).astype(np.float32)
        return found if rng is None else found + rng.normal(size=found.shape).astype(np.float32)

    def encoder(self) -> nn.Module:
        class Encoder(nn.Linear):
            dim = 5

        return Encoder(3, 5)


STREAMS = {"readings": Numbers(), "noisy": Noisy()}


def numbered(folder: Path) -> list[Item]:
    """12 training pictures with a caption each, that ends in a number."""
    return [
        item._replace(captions=[f"caption {n}"], caption_ids=[str(n)], cluster_id=[n])
        for n, item in enumerate(found_items(folder)[:12])
    ]


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three shards."""
    folder = tmp_path_factory.mktemp("streams")
    found = with_readings(numbered(folder / "pictures"))
    (folder / "out").mkdir()
    write_shards(folder / "out", found, SIZES, Pack(shard_size=4), STREAMS)
    return folder / "out"


def pairs_of(shards: ShardReader, augment: bool = False) -> Pairs:
    pairs = Pairs(shards, vision_rows=None, encode_text=lengths, image_size=16, streams=STREAMS)
    pairs.augment = settings(augment=True).augment if augment else None
    return pairs


def fed(pairs: Pairs, workers: int, **more: Any) -> list[Batch]:
    chosen = settings(epochs=1, workers=workers, **more)
    with feed(pairs, Plan(pairs.first, 4, 7), chosen, WORLD, Position(0, 0, 0)) as batches:
        return list(batches)


@pytest.mark.parametrize("workers", [0, 2])
def test_each_item_with_its_own(packed: Path, workers: int) -> None:
    pairs = pairs_of(ShardReader(packed, "train"))
    for batch in fed(pairs, workers):
        assert set(batch.streams) == {"image", "readings", "noisy"}
        number = batch.index[:, None]
        wanted = torch.cat([number, number + 1, number % 7], dim=1)
        assert torch.equal(batch.streams["readings"], wanted.to(torch.uint8))
        assert (batch.streams["noisy"] != wanted.float()).all()  # the training has random numbers
        items = batch.index.tolist()
        assert torch.equal(pairs.streams(items)["noisy"], wanted.float())
        assert torch.equal(batch.streams["image"], pairs.streams(items)["image"])  # not augmented


def test_augmentation_is_of_the_seed_and_the_stream(packed: Path) -> None:
    pairs = pairs_of(ShardReader(packed, "train"), augment=True)
    plain, first, again, other = (
        pairs.streams([0, 1], seeds) for seeds in (None, [5, 6], [5, 6], [5, 7])
    )
    assert torch.equal(first["noisy"], again["noisy"])
    assert torch.equal(first["noisy"][0], other["noisy"][0])
    assert not torch.equal(first["noisy"][1], other["noisy"][1])
    assert (first["noisy"] != plain["noisy"]).all()
    drawn = np.random.default_rng(5).normal(size=3).astype(np.float32)
    assert not np.allclose(first["noisy"][0] - plain["noisy"][0], drawn)  # that of the picture
    alone = Pairs(
        ShardReader(packed, "train"), vision_rows=None, encode_text=lengths, image_size=16
    )
    alone.augment = pairs.augment
    assert torch.equal(alone.streams([0, 1], [5, 6])["image"], first["image"])


@pytest.mark.parametrize("workers", [0, 2])
def test_from_a_url_as_from_here(packed: Path, tmp_path: Path, workers: int) -> None:
    for name in ("manifest.json", "index.parquet"):
        shutil.copy(packed / name, tmp_path)
    streamed = pairs_of(StreamedReader(tmp_path, "train"), augment=True)
    local = pairs_of(ShardReader(packed, "train"), augment=True)
    _, picks = Plan(local.first, 4, 7).drawn(0)
    batches = fed(streamed, workers, stream=Stream(url=str(packed), buffer=4))
    assert len(batches) == 3
    for batch in batches:
        assert same(batch, local.__getitems__(picks.part(batch.index.numpy())))


def test_a_shard_elsewhere_that_lacks_a_member(packed: Path, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "away").mkdir()
    for name in ("manifest.json", "index.parquet"):
        shutil.copy(packed / name, tmp_path / "here")
    manifest = json.loads((packed / "manifest.json").read_text())
    for path in packed.glob("*.tar"):
        with tarfile.open(path) as old, tarfile.open(tmp_path / "away" / path.name, "w") as new:
            for member in old:
                if member.name != "00000005.noisy.noisy":
                    new.addfile(member, io.BytesIO(old.extractfile(member).read()))  # type: ignore[union-attr]
    for facts in manifest["shards"].values():
        del facts["sha256"]
    reader = StreamedReader(tmp_path / "here", "train")
    reader.shards = manifest["shards"]
    wanted = re.escape(
        f"{tmp_path}/away/train-000001.tar, sample 00000005: it has no noisy.noisy; copy the shard "
        "again"
    )
    with pytest.raises(InputError, match=f"^{wanted}$"):
        fed(pairs_of(reader), 0, stream=Stream(url=str(tmp_path / "away"), buffer=4))


def test_two_shapes_are_refused_in_a_batch_and_between_its_parts(tmp_path: Path) -> None:
    found = numbered(tmp_path / "pictures")
    of = [item._replace(columns={"readings": [0] * (2 + n // 6)}) for n, item in enumerate(found)]
    (tmp_path / "out").mkdir()
    write_shards(tmp_path / "out", of, SIZES, Pack(shard_size=4), {"readings": Numbers()})
    pairs = Pairs(
        ShardReader(tmp_path / "out", "train"), vision_rows=None, encode_text=lengths,
        image_size=16, streams={"readings": Numbers()},
    )  # fmt: skip
    with pytest.raises(InputError, match=r"^stream readings: numbers loads uint8 \[2\] of"):
        pairs.streams([0, 6])
    first, second = (
        Batch(pairs.streams([n]), torch.zeros(1), torch.zeros(1), torch.zeros(1)) for n in (0, 6)
    )
    with pytest.raises(InputError, match=r"^stream readings: items of \[2\] and of \[3\] are in"):
        together([first, second])


@pytest.mark.parametrize("encoder", [nn.Linear(3, 5), lambda x: x])
def test_an_encoder_without_a_dim_is_told_by_plan(
    encoder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Noisy, "encoder", lambda _: encoder)
    with pytest.raises(InputError, match=r"^stream x: `encoder` of numbers gives a \w+ without a"):
        try_model(towers(True, True), Head(dim=8), {"x": Noisy()})


def test_the_model_is_tried_with_its_streams() -> None:
    """Without a head, features of a frozen side are taken to fit."""
    for vision, text, part in ((False, True, "vision.*"), (True, False, "text.position*")):
        chosen = towers(vision, text).model_copy(update={"frozen_parts": (part,)})
        for head in (None, Head(dim=8)):
            try_model(chosen, head, {"x": Noisy()})


def test_features_stand_beside_those_of_the_tower() -> None:
    torch.manual_seed(0)
    model = TwoTower(
        towers(True, True), Head(dim=8), {"vision": 6, "text": 6}, streams={"noisy": Noisy()}
    )
    streams = {"features": torch.randn(4, 6), "noisy": torch.randn(4, 3)}
    rows = model.encode_vision(streams).rows
    assert rows.shape == (4, 8) and model.vision_head[-1].in_features == 11
    other = model.encode_vision({**streams, "noisy": torch.randn(4, 3)}).rows
    assert not torch.allclose(rows, other)
    rows.square()[:, 0].sum().backward()
    grads = [p.grad for p in model.beside["noisy"].parameters()]
    assert all(grad is not None and grad.abs().sum() > 0 for grad in grads)
    with pytest.raises(InputError, match="vision features have 11 numbers, those of texts 6; give"):
        TwoTower(towers(True, True), None, {"vision": 6, "text": 6}, streams={"noisy": Noisy()})
