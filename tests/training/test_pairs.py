import io
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import Tensor

from mmts.augment import random_augment
from mmts.errors import InputError
from mmts.media import MediaFacts, decode_image, square
from mmts.settings.prepared import Pack
from mmts.settings.training import Augment
from mmts.shards import Item, ShardReader, write_shards
from mmts.training.batch import Batch
from mmts.training.batches import Plan, load_batches, parts, steps_per_epoch, vision_batches
from mmts.training.pairs import Pairs, Picks
from mmts.training.positives import RelevantCaptions
from mmts.video.segment import SegmentReader, write_segment
from tests.making import picture, write_picture

CAPTIONS = [1, 3, 2, 1, 1, 2, 4, 1, 1, 2, 1, 1]  # of each of the twelve items
DRAWN = [
    [[0, 4], [0, 7], [925015142133848704, 2675959220161892829]],
    [[11, 1], [19, 3], [2780203438696496086, 2264988685575487840]],
]
"""The first two batches of two, of seed 3 in epoch 1."""


def lengths(captions: list[str], _: list[str]) -> Tensor:
    return torch.tensor([[float(caption.split()[-1])] for caption in captions])


def picked(
    first: Any, size: int, seed: int, epoch: int, positives: RelevantCaptions | None = None
) -> list[Picks]:
    return list(Plan(first, size, seed, positives).batches(epoch))


def plain(batches: list[Picks]) -> list[list[list[int]]]:
    return [[column.tolist() for column in batch] for batch in batches]


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> ShardReader:
    folder = tmp_path_factory.mktemp("shards")
    found, number = [], 0
    for n, count in enumerate(CAPTIONS):
        path = str(write_picture(folder / f"{n}.png", n))
        size, sha256 = MediaFacts.of(Path(path).read_bytes())
        ids = [f"c{number + i}" for i in range(count)]
        captions = [f"caption {number + i}" for i in range(count)]
        clusters = [(number + i) % 5 for i in range(count)]
        found.append(
            Item(
                "s",
                "train",
                f"item{n}",
                path,
                size,
                sha256,
                None,
                None,
                captions,
                ids,
                clusters,
                {},
            )
        )
        number += count
    (folder / "out").mkdir()
    write_shards(folder / "out", found, {}, Pack(shard_size=5))
    return ShardReader(folder / "out", "train")


@pytest.fixture
def make(shards: ShardReader) -> Callable[..., Pairs]:
    def made(**more: Any) -> Pairs:
        return Pairs(
            shards, **{"vision_rows": None, "encode_text": lengths, "image_size": 16, **more}
        )

    return made


def test_lists_of_all_captions(make: Callable[..., Pairs]) -> None:
    pairs = make()
    assert len(pairs) == 12 and len(pairs.captions) == sum(CAPTIONS) == 20
    assert pairs.owner.tolist() == [i for i, n in enumerate(CAPTIONS) for _ in range(n)]
    assert pairs.cluster_id.tolist() == [n % 5 for n in range(20)]
    assert pairs.captions[4] == "caption 4" and pairs.caption_ids[4] == "c4"
    assert pairs.sample_ids == [f"item{n}" for n in range(12)]


def test_another_clustering_is_joined_by_caption(make: Callable[..., Pairs]) -> None:
    ids = [f"c{n}" for n in range(20)][::-1]
    clusters = pd.DataFrame({"caption_id": ids, "cluster_id": np.arange(20)[::-1] * 10})
    assert make(clusters=clusters).cluster_id.tolist() == [10 * n for n in range(20)]
    with pytest.raises(InputError, match="caption c19 has no cluster"):
        make(clusters=clusters[1:])


def test_classes_are_joined_by_caption(make: Callable[..., Pairs]) -> None:
    assert make().classes.shape == (20, 0)
    clusters = pd.DataFrame({
        "caption_id": [f"c{n}" for n in range(20)][::-1], "class_verb": np.arange(20)[::-1],
        "class_noun": np.arange(20)[::-1] * 2,
    })  # fmt: skip
    pairs = make(clusters=clusters)
    assert pairs.classes.tolist() == [[n, 2 * n] for n in range(20)]
    assert torch.equal(pairs.cluster_id, make().cluster_id)  # the packed one
    picks = picked(pairs.first, 4, 0, 0)
    for batch, wanted in zip(load_batches(pairs, picks, 4, workers=0), picks, strict=True):
        assert batch.classes[:, 0].tolist() == wanted.captions.tolist()


def test_features_are_found_by_sample(make: Callable[..., Pairs]) -> None:
    features = np.arange(40, dtype=np.float32).reshape(20, 2)
    known = [f"item{19 - row}" for row in range(20)]
    pairs = make(vision_rows=(features, known))
    assert pairs.streams([0, 5])[pairs.main].tolist() == [[38, 39], [28, 29]]
    with pytest.raises(InputError, match="item11 has no features of the frozen vision tower; run"):
        make(vision_rows=(features, known[9:]))


def test_pictures_are_decoded(make: Callable[..., Pairs]) -> None:
    pairs = make()
    found = pairs.streams([3, 1])[pairs.main]
    assert found.shape == (2, 3, 16, 16) and found.dtype == torch.uint8
    wanted = square(decode_image(picture(3)), 16)
    assert (found[0].permute(1, 2, 0).numpy() == wanted).all()
    seeded = pairs.streams([3, 1], seeds=[7, 8])[pairs.main]
    assert seeded.shape == found.shape and not torch.equal(seeded, found)
    assert torch.equal(seeded, pairs.streams([3, 1], seeds=[7, 8])[pairs.main])


def test_augmentation_has_its_numbers(make: Callable[..., Pairs]) -> None:
    pairs, image = make(), decode_image(picture(3))
    default = pairs.streams([3], seeds=[7])[pairs.main]
    pairs.augment = Augment()
    assert torch.equal(pairs.streams([3], seeds=[7])[pairs.main], default)
    for numbers in ({"crop_area": (0.1, 0.2)}, {"ops": 2, "magnitude": 20}):
        pairs.augment = Augment.model_validate(numbers)
        found = pairs.streams([3], seeds=[7])[pairs.main][0].permute(1, 2, 0).numpy()
        assert (found == random_augment(image, 16, 7, **numbers)).all()  # type: ignore[arg-type]
        assert not torch.equal(pairs.streams([3], seeds=[7])[pairs.main], default)


def test_every_item_once_an_epoch(make: Callable[..., Pairs]) -> None:
    first = make().first
    for epoch in range(3):
        batches = picked(first, 4, seed=0, epoch=epoch)
        assert [len(b.items) for b in batches] == [4, 4, 4]
        items, captions, _ = (np.concatenate(column) for column in zip(*batches, strict=True))
        assert sorted(items) == list(range(12))
        assert ((first[items] <= captions) & (captions < first[items + 1])).all()
    assert [len(b.items) for b in picked(first, 5, seed=0, epoch=0)] == [5, 5]


def test_what_is_drawn_stays(make: Callable[..., Pairs]) -> None:
    """These very numbers: a checkpoint of an older version goes on with the same batches."""
    batches = picked(make().first, 2, seed=3, epoch=1)[:2]
    assert plain(batches) == DRAWN


def test_a_part_of_an_epoch(make: Callable[..., Pairs]) -> None:
    plan = Plan(make().first, 4, 1)
    whole = plain(list(plan.batches(2)))
    assert plain(list(plan.batches(2, skip=1))) == whole[1:]
    assert list(plan.batches(2, skip=3)) == []
    shares = [plain(list(plan.batches(2, share=slice(a, a + 2)))) for a in (0, 2)]
    joined = [[x + y for x, y in zip(*both, strict=True)] for both in zip(*shares, strict=True)]
    assert joined == whole


@pytest.mark.parametrize(("rows", "count"), [(512, 7), (5, 4), (8, 3), (2, 4), (1, 1), (6, 0)])
def test_parts_of_a_batch(rows: int, count: int) -> None:
    found = parts(rows, count)
    sizes = [part.stop - part.start for part in found]
    assert len(found) == min(rows, max(1, count)) and max(sizes) - min(sizes) <= 1
    assert [row for part in found for row in range(rows)[part]] == list(range(rows))


def test_what_does_not_fill_a_batch_comes_in_other_epochs(make: Callable[..., Pairs]) -> None:
    epochs = [picked(make().first, 5, seed=0, epoch=e) for e in range(30)]
    seen = Counter(item for batches in epochs for b in batches for item in b.items.tolist())
    assert set(seen) == set(range(12)) and min(seen.values()) > 15


def test_picks_come_from_seed_and_epoch(make: Callable[..., Pairs]) -> None:
    first = make().first
    one = plain(picked(first, 4, 1, 2))
    assert one == plain(picked(first, 4, 1, 2))
    others = [plain(picked(first, 4, seed, epoch)) for seed, epoch in ((1, 3), (2, 2), (2, 1))]
    assert one not in others
    assert others[0] != others[2]


def test_captions_are_drawn_uniformly(make: Callable[..., Pairs]) -> None:
    first, epochs = make().first, 2000
    drawn = Counter(
        row for e in range(epochs) for b in picked(first, 12, 0, e) for row in b.captions.tolist()
    )
    for item, count in enumerate(CAPTIONS):
        for caption in range(first[item], first[item + 1]):
            expected = epochs / count
            spread = np.sqrt(epochs / count * (1 - 1 / count))
            assert abs(drawn[caption] - expected) <= 5 * spread


def test_a_batch_holds_what_was_picked(make: Callable[..., Pairs]) -> None:
    pairs = make()
    picks = picked(pairs.first, 4, 0, 0)
    batches = list(load_batches(pairs, picks, 4, workers=0))
    assert len(batches) == 3
    for batch, wanted in zip(batches, picks, strict=True):
        assert isinstance(batch, Batch)
        assert batch.index.tolist() == wanted.items.tolist()
        assert batch.caption.tolist() == wanted.captions.tolist()  # their own, here
        assert batch.text[:, 0].tolist() == wanted.captions.tolist()
        assert batch.cluster_id.tolist() == (wanted.captions % 5).tolist()
        assert torch.equal(batch.streams["image"], pairs.streams(wanted.items.tolist())[pairs.main])


def same(one: Batch, other: Batch) -> bool:
    """Whether two batches are bit-equal."""
    assert one.streams.keys() == other.streams.keys()
    streams = [(one.streams[name], other.streams[name]) for name in one.streams]
    return all(torch.equal(a, b) for a, b in [*streams, *zip(one[1:], other[1:], strict=True)])


@pytest.mark.parametrize("augment", [None, Augment(ops=2, magnitude=9)])
def test_workers_change_nothing(make: Callable[..., Pairs], augment: Augment | None) -> None:
    pairs = make()
    pairs.augment = augment
    picks = picked(pairs.first, 3, 0, 0)
    before = torch.get_rng_state()
    alone = list(load_batches(pairs, picks, 3, workers=0))
    together = list(load_batches(pairs, picks, 3, workers=2))
    assert len(alone) == len(together) == 4
    for one, other in zip(alone, together, strict=True):
        assert one.streams.keys() == {"image"} and same(one, other)
    as_stored = pairs.streams(picks[0].items.tolist())[pairs.main]
    assert torch.equal(alone[0].streams["image"], as_stored) == (augment is None)
    assert torch.equal(torch.get_rng_state(), before)


def test_steps_per_epoch() -> None:
    assert (
        steps_per_epoch(12, 4) == 3 and steps_per_epoch(12, 5) == 2 and steps_per_epoch(4, 4) == 1
    )
    with pytest.raises(InputError, match=r"train\.batch_size 5 is larger than .*\(4 media items\)"):
        steps_per_epoch(4, 5)


def test_batch_moves_whole() -> None:
    ids = torch.ones(2).long()
    batch = Batch({"a": torch.ones(2), "b": ids}, torch.ones(2), ids, ids, ids.reshape(2, 1))
    streams, *others = batch.to(torch.device("meta"))
    assert set(streams) == {"a", "b"}
    assert all(t.device.type == "meta" for t in (*streams.values(), *others))


class Clips:
    """Stands for a ShardReader of clips: frame f of clip n is all of grey 10 n + f."""

    def __init__(self) -> None:
        self.samples = [
            {"sample_id": f"v{n}", "captions": [f"caption {n}"], "caption_ids": [f"c{n}"],
             "cluster_id": [n], "verb_class": [n % 2], "noun_classes": [[n, 7]],
             "sentence": [n != 1]}
            for n in range(4)
        ]  # fmt: skip

    def __len__(self) -> int:
        return len(self.samples)

    def segment(self, number: int) -> SegmentReader:
        jpegs = []
        for frame in range(8):
            buffer = io.BytesIO()
            Image.new("RGB", (40, 24), (10 * number + frame,) * 3).save(buffer, "JPEG", quality=100)
            jpegs.append(buffer.getvalue())
        return SegmentReader(write_segment(jpegs))


@pytest.fixture
def clips() -> Pairs:
    return Pairs(Clips(), vision_rows=None, encode_text=lengths, image_size=16, clip_length=4)  # type: ignore[arg-type]


def test_clips_have_centred_frames(clips: Pairs) -> None:
    found = clips.streams([2, 0])[clips.main]
    assert found.shape == (2, 4, 3, 16, 16) and found.dtype == torch.uint8
    assert found[:, :, 0, 8, 8].tolist() == [[21, 23, 25, 27], [1, 3, 5, 7]]
    assert (found == found[:, :, :1, :1, :1]).all()


def test_clips_are_jittered_from_their_seeds(clips: Pairs) -> None:
    seeds = list(range(20))
    found = clips.streams([2] * 20, seeds)["frames"]
    assert torch.equal(found, clips.streams([2] * 20, seeds)["frames"])
    part = (found[:, :, 0, 8, 8] - 20) // 2
    assert (part == torch.arange(4)).all()  # a frame from each quarter
    assert len({tuple(row) for row in found[:, :, 0, 8, 8].tolist()}) > 5


def test_drawn_captions_of_other_clips_leave_tau_to_the_clip(clips: Pairs) -> None:
    """The cluster is that of the clip's own caption (the released code of the paper)."""
    positives = clips.relevant_captions(0.1)
    assert [positives.of(n).tolist() for n in range(4)] == [[0, 2, 3], [0, 2, 3]] + [[0, 2, 3]] * 2
    seen = set()
    for epoch in range(20):
        (picks,) = picked(clips.first, 4, 0, epoch, positives)
        batch = clips.__getitems__(picks)
        assert batch.cluster_id.tolist() == batch.caption.tolist() == batch.index.tolist()
        drawn = batch.text[:, 0].long().tolist()
        assert 1 not in drawn  # no sentence
        seen |= set(zip(batch.index.tolist(), drawn, strict=True))
    assert len(seen) == 12
    (own,) = picked(clips.first, 4, 0, 0)
    assert own.captions.tolist() == own.items.tolist()


def test_a_lost_sentence_is_stood_in_for(clips: Pairs) -> None:
    """Clip 1 is no sentence, and no sentence has its classes (1, {1, 7})."""
    with pytest.warns(UserWarning, match=r"1 sentences are lost .* published numbers do not comp"):
        assert clips.searched().tolist() == [True] * 4
    assert clips.sentence.tolist() == [True, False, True, True]
    clips.classes_of = [(0, (7, 0)), (0, (0, 7)), (0, (2, 7)), (1, (3, 7))]
    assert clips.searched().tolist() == [True, False, True, True]  # clip 0 speaks for it


def test_positives_without_graded_relevancy(make: Callable[..., Pairs]) -> None:
    assert make().classes_of is None and make().sentence.all()
    with pytest.raises(InputError, match=r"train.positive_relevancy is 0.1 but .* set it to null"):
        make().relevant_captions(0.1)


def test_workers_decode_in_order(make: Callable[..., Pairs]) -> None:
    pairs, before = make(), torch.get_rng_state()
    for workers in (0, 2):
        found = torch.cat([batch["image"] for batch in vision_batches(pairs, 5, workers)])
        assert torch.equal(found, pairs.streams(range(12))[pairs.main])
    assert torch.equal(torch.get_rng_state(), before)  # the training's dropout stays as it was
