"""Clips in shards: the right frames, each second decoded once, the same bytes after any stop."""

from __future__ import annotations

import gc
import json
import math
import os
import pickle
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import webdataset
from ruamel.yaml import YAML
from torch.utils.data import DataLoader

from mmts.captions_table import SPLITS
from mmts.errors import InputError
from mmts.files import read_json, write_json
from mmts.sealed import sha256_file, write_sums
from mmts.settings.prepared import Pack
from mmts.shards import Item, ShardReader, clips, cutting, short_clips, write_clips
from mmts.shards.archive import ShardFile
from mmts.shards.index import Place
from mmts.video import SegmentReader
from mmts.video.decoder import VideoDecoder
from tests.making_clips import RATE, SECONDS, SIZES, clip, files, write_videos
from tests.making_video import read_number, write_video
from tests.test_shards import open_shards

SETTINGS = Pack(shard_size=3, image_size=64, quality=90)
FRAMES = SECONDS * RATE


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_videos(tmp_path_factory.mktemp("clips") / "videos", 4)


@pytest.fixture
def found(videos: list[Path]) -> list[Item]:
    """Clips that overlap, not in order of time; of v2 in two splits; videos intermixed."""
    a, b, c, d = videos
    return [
        clip(a, 0, 2, 3), clip(b, 0, 0, 1), clip(a, 1, 0, 1.5), clip(c, 0, 3, 4, "val"),
        clip(a, 2, 0.4, 0.8), clip(a, 3, 1, 4), clip(c, 1, 0, 2), clip(c, 2, 1, 2.5, "val"),
        clip(d, 0, 0.2, 0.4, "test"), clip(a, 4, 3.5, 4), clip(c, 3, 1.5, 3),
    ]  # fmt: skip


class Packing:
    """Folders to pack to, and what was cut."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self.out, self.kept = root, root / "out", root / "kept"
        self.passes: list[str] = []
        self.stop_at: str | None = None

        def counted(media: str, *arguments: Any, **settings: Any) -> Iterator[Any]:
            if media == self.stop_at:
                raise KeyboardInterrupt
            self.passes.append(Path(media).stem)
            return original(media, *arguments, **settings)

        original = cutting.cut_many
        monkeypatch.setattr(cutting, "cut_many", counted)

    def __call__(
        self, found: list[Item], settings: Pack = SETTINGS, **changes: Any
    ) -> dict[str, Any]:
        """Pack into a new folder; `passes` are those of this call."""
        self.passes.clear()
        self.out = self.root / f"out{len(list(self.root.glob('out*')))}"
        self.out.mkdir()
        return write_clips(self.out, found, SIZES, settings.model_copy(update=changes), self.kept)

    def refused(self, found: list[Item], settings: Pack = SETTINGS, **changes: Any) -> str:
        with pytest.raises(InputError) as caught:
            self(found, settings, **changes)
        assert "\n" not in str(caught.value) and list(self.out.iterdir()) == []
        return str(caught.value)

    def lost(self) -> dict[str, str]:
        table = pd.read_parquet(self.out / "lost.parquet")
        assert list(table) == ["source", "split", "sample_id", "media", "reason"]
        return dict(zip(table["sample_id"], table["reason"], strict=True))


@pytest.fixture
def pack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Packing:
    return Packing(tmp_path, monkeypatch)


@pytest.fixture(scope="module")
def undisturbed(videos: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """The bytes of a run in one go, in this process."""

    def run(found: list[Item], settings: Pack = SETTINGS) -> dict[str, bytes]:
        folder = tmp_path_factory.mktemp("undisturbed")
        write_clips(folder, found, SIZES, settings, tmp_path_factory.mktemp("kept"))
        return files(folder)

    return run


def changed(items: list[Item], prefix: str, **values: Any) -> list[Item]:
    return [i._replace(**values) if i.sample_id.startswith(prefix) else i for i in items]


def expected(item: Item) -> list[int]:
    first = int(Path(item.media).stem[1:]) * FRAMES
    assert item.start is not None and item.stop is not None
    return [first + n for n in range(FRAMES) if item.start <= n / RATE < item.stop]


def numbers(segment: SegmentReader) -> list[int]:
    return [read_number(frame) for frame in segment.frames(range(len(segment)))]


def test_whole_videos_share_shards(pack: Packing, videos: list[Path], tmp_path: Path) -> None:
    """By their numbers, lost ones too; as if they had been written one after the other."""
    a, b, c, d = videos
    gone = a.with_name("gone.mp4")
    order = [
        clip(a, 0, 0, math.inf), clip(b, 0, 0, 2), clip(gone, 0, 0, math.inf),
        clip(c, 0, 0, math.inf), clip(d, 0, 0, math.inf), clip(b, 1, 1, 2, "val"),
        clip(write_video(tmp_path / "v9.mp4", range(900, 905)), 0, 0, math.inf, "test"),
    ]  # fmt: skip
    pack(order, max_bad_share=0.5)
    first = files(pack.out)
    index = pd.read_parquet(pack.out / "index.parquet")
    assert index.groupby("shard", sort=False)["sample_id"].agg(list).to_dict() == {
        "train-000000.tar": ["v0_0"], "train-000001.tar": ["v1_0"],
        "train-000002.tar": ["v2_0", "v3_0"], "val-000000.tar": ["v1_1"],
        "test-000000.tar": ["v9_0"],
    }  # fmt: skip
    reader = ShardReader(pack.out, "train")
    assert [numbers(reader.segment(n)) for n in (2, 3)] == [expected(order[n]) for n in (3, 4)]
    with ShardFile(tmp_path / "direct.tar", "train") as direct:
        for n, key in ((2, "00000003"), (3, "00000004")):
            direct.add_sample(key, order[n + 1], {"mjpeg": reader.image_bytes(n)})
    assert (tmp_path / "direct.tar").read_bytes() == first["train-000002.tar"]
    pack(order, max_bad_share=0.5)
    assert files(pack.out) == first and pack.passes == []
    # with streams, whose places move too
    place = Place("k", "s", "mjpeg", 512, 5, 1, 2048, 6, ((1536, 7, 2),))
    assert place.moved(1024) == Place("k", "s", "mjpeg", 1536, 5, 1, 3072, 6, ((2560, 7, 2),))


def test_names_keys_manifest_and_index(pack: Packing, found: list[Item]) -> None:
    manifest = pack(found)
    of = {
        "train-000000.tar": ["v0_0", "v0_1", "v0_2"], "train-000001.tar": ["v0_3", "v0_4"],
        "train-000002.tar": ["v1_0"], "train-000003.tar": ["v2_1", "v2_3"],
        "val-000000.tar": ["v2_0", "v2_2"], "test-000000.tar": ["v3_0"],
    }  # fmt: skip
    index = pd.read_parquet(pack.out / "index.parquet")
    assert index.groupby("shard", sort=False)["sample_id"].agg(list).to_dict() == of
    for split in SPLITS:
        keys = index.loc[index["split"] == split, "key"].tolist()
        assert keys == [f"{n:08d}" for n in range(len(keys))]
    assert {p.name for p in pack.out.iterdir()} == {
        *of, "manifest.json", "index.parquet", "lost.parquet", "SHA256SUMS"
    }  # fmt: skip
    assert manifest == read_json(pack.out / "manifest.json")
    assert manifest["samples"] == {"train": 8, "val": 2, "test": 1}
    assert manifest["clips"].pop("frames") == {
        split: {str(n): many for n, many in sorted(counts.items())}
        for split in SPLITS
        for counts in [Counter(len(expected(item)) for item in found if item.split == split)]
    }
    assert manifest["clips"] == {"short_side": 64, "frame_rate": None, "quality": 90, "lost": 0}
    assert manifest["cluster_size"] == {"0": 9, "3": 2}
    for name, facts in manifest["shards"].items():
        path = pack.out / name
        assert facts == {"split": name.split("-")[0], "samples": len(of[name]),
                         "sha256": sha256_file(path), "bytes": path.stat().st_size}  # fmt: skip
    assert pack.lost() == {}


def test_clips_shorter_than_the_towers_clip_length_are_counted(
    pack: Packing, found: list[Item], videos: list[Path]
) -> None:
    manifest = pack(found)
    many = [len(expected(item)) for item in found if item.split == "train"]
    at = sorted(many)[len(many) // 2]
    few = sum(n < at for n in many)
    assert 0 < few < 8
    assert f" train {few} of 8 ({few / 8:.1%}), val " in short_clips(manifest, at)
    least = short_clips(manifest, 1)
    assert least == (
        "clips with fewer than 1 frames: train 0 of 8 (0.0%), val 0 of 2 (0.0%), test 0 of 1 (0.0%)"
    )
    again = pack([*found, clip(videos[3], 1, 0.5, 1)])  # what an earlier run has kept is counted
    assert sum(again["clips"]["frames"]["train"].values()) == 9
    assert again["clips"]["frames"]["val"] == manifest["clips"]["frames"]["val"]
    assert short_clips({"shards": {}}, 16) == "" == short_clips({"clips": {"lost": 0}}, 16)


def test_numbers_of_frames_that_are_none_are_refused(pack: Packing, found: list[Item]) -> None:
    manifest = pack(found)
    for frames in ([], {"train": 3}, {"train": {"x": 1}}, {"train": {"3": "1"}}):
        manifest["clips"]["frames"] = frames
        write_json(pack.out / "manifest.json", manifest)
        write_sums(pack.out, {})
        with pytest.raises(InputError, match=r"manifest\.json has a shard, a tar or a number"):
            ShardReader(pack.out, "train")


def test_each_clip_holds_its_frames(pack: Packing, found: list[Item]) -> None:
    pack(found)
    seen = []
    for split in SPLITS:
        reader = ShardReader(pack.out, split)
        assert reader.video and reader.cluster_size == SIZES
        for n, sample in enumerate(reader.samples):
            (item,) = (item for item in found if item.sample_id == sample["sample_id"])
            assert numbers(reader.segment(n)) == expected(item)
            assert reader.segment(n).size == (96, 64)
            assert sample == {
                "sample_id": item.sample_id, "source": "s", "split": split, "start": item.start,
                "stop": item.stop, "captions": item.captions, "caption_ids": item.caption_ids,
                "cluster_id": item.cluster_id, **item.lists,
            }  # fmt: skip
            seen.append(item.sample_id)
    assert sorted(seen) == sorted(item.sample_id for item in found)


def test_frame_rate_quality_and_size_are_those_of_the_settings(
    pack: Packing, found: list[Item]
) -> None:
    pack(found, frame_rate=5.0, image_size=32)
    segment = ShardReader(pack.out, "train").segment(3)
    assert numbers(segment) == expected(found[5])[::5] and segment.size == (48, 32)
    fine = pd.read_parquet(pack.out / "index.parquet")["image_bytes"].sum()
    manifest = pack(found, frame_rate=5.0, image_size=32, quality=20)
    assert pd.read_parquet(pack.out / "index.parquet")["image_bytes"].sum() < 0.8 * fine
    assert sum(manifest["clips"].pop("frames")["train"].values()) == 8
    assert manifest["clips"] == {"short_side": 32, "frame_rate": 5.0, "quality": 20, "lost": 0}


def test_each_second_is_decoded_once(
    pack: Packing, found: list[Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: dict[str, int] = {}
    close = VideoDecoder.__exit__

    def counted(self: VideoDecoder, *arguments: Any) -> None:
        decoded[self.path.stem] = decoded.get(self.path.stem, 0) + self.decoded
        close(self, *arguments)

    monkeypatch.setattr(VideoDecoder, "__exit__", counted)
    pack(found)
    assert pack.passes == ["v0", "v1", "v2", "v3"]  # v2 has clips of two splits
    assert decoded["v0"] == FRAMES and all(n <= FRAMES for n in decoded.values())


def test_the_number_of_processes_changes_nothing(
    pack: Packing, found: list[Item], undisturbed: Callable[..., Any]
) -> None:
    pack(found, workers=3)
    assert files(pack.out) == undisturbed(found)


def test_stock_webdataset_reads_them(pack: Packing, found: list[Item]) -> None:
    pack(found)
    for split in SPLITS:
        urls = [str(p) for p in sorted(pack.out.glob(f"{split}-*.tar"))]
        samples = list(webdataset.WebDataset(urls, shardshuffle=False))
        ours = ShardReader(pack.out, split)
        assert [json.loads(sample["json"]) for sample in samples] == ours.samples
        for n, sample in enumerate(samples):
            assert numbers(SegmentReader(sample["mjpeg"])) == numbers(ours.segment(n))


class Clips:
    """A dataset of clips for a DataLoader."""

    def __init__(self, shards: ShardReader) -> None:
        self.shards = shards

    def __len__(self) -> int:
        return len(self.shards)

    def __getitem__(self, number: int) -> list[int]:
        return numbers(self.shards.segment(number))


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_pickled_and_in_loader_workers(pack: Packing, found: list[Item], start: str) -> None:
    pack(found)
    reader = ShardReader(pack.out, "train")
    wanted = [numbers(reader.segment(n)) for n in range(len(reader))]
    again = pickle.loads(pickle.dumps(reader))
    assert [numbers(again.segment(n)) for n in range(len(again))] == wanted
    loader: DataLoader[Any] = DataLoader(
        Clips(reader),  # type: ignore[arg-type]
        batch_size=None, num_workers=2, multiprocessing_context=start,
        collate_fn=_as_is,
    )  # fmt: skip
    assert list(loader) == wanted


def _as_is(batch: Any) -> Any:
    return batch


def test_no_file_stays_open_but_a_segment_stays_readable(pack: Packing, found: list[Item]) -> None:
    pack(found)
    reader = ShardReader(pack.out, "train")
    if not Path("/proc/self/fd").exists():
        pytest.skip("no list of open files")
    gc.collect()  # readers of other tests
    before = open_shards()
    last = [reader.segment(n) for n in range(len(reader))][-1]
    assert numbers(last) == expected(found[-1])
    del last
    assert open_shards() == before


def test_shards_that_were_cut_short_or_damaged(pack: Packing, found: list[Item]) -> None:
    pack(found)
    reader = ShardReader(pack.out, "train")
    path = pack.out / "train-000001.tar"
    whole = path.read_bytes()
    path.unlink()  # the kept one is the same file
    path.write_bytes(whole[:-10240])
    with pytest.raises(InputError, match=r"train-000001\.tar has .* bytes, not the .*; run `dvc"):
        ShardReader(pack.out, "train")
    assert len(ShardReader(pack.out, "val")) == 2
    path.write_bytes(whole[:1024])
    with pytest.raises(InputError, match=r"train-000001\.tar ends before its clip 3; run `dvc"):
        reader.segment(3)
    path.write_bytes(whole[:512] + b"\0" * (len(whole) - 512))
    with pytest.raises(InputError, match=r"^clip 3 of .*train-000001\.tar is no video segment"):
        reader.segment(3)


# --- interrupted ----------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 2])
def test_going_on_cuts_only_what_is_not_kept(
    pack: Packing, found: list[Item], undisturbed: Callable[..., Any], workers: int,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    pack.stop_at = found[3].media
    with pytest.raises(KeyboardInterrupt):
        pack(found)
    assert pack.passes == ["v0", "v1"] and list(pack.out.iterdir()) == []
    assert sorted(p.name[0] == "." for p in pack.kept.iterdir()) == [False, False]
    pack.stop_at = None
    pack(found, workers=workers)
    if workers == 0:
        assert pack.passes == ["v2", "v3"]
    assert files(pack.out) == undisturbed(found)
    said = capsys.readouterr().out
    assert said == "2 of 4 videos were cut by an earlier run that was interrupted\n"
    pack(found)
    assert pack.passes == []


@pytest.mark.parametrize(
    ("change", "again"),
    [
        ("tar", ["v0"]), ("short", ["v0"]), ("gone", ["v0"]), ("note", ["v0"]), ("keys", ["v0"]),
        ("mtime", ["v0"]), ("caption", ["v0"]), ("span", ["v0"]), ("none", []),
        ("quality", ["v0", "v1", "v2", "v3"]), ("version", ["v0", "v1", "v2", "v3"]),
    ],
)  # fmt: skip
def test_what_is_kept_but_does_not_fit_is_cut_again(
    pack: Packing, found: list[Item], undisturbed: Callable[..., Any], change: str,
    again: list[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    pack(found)
    notes = {read_json(p / "note.json")["media"]: p for p in pack.kept.iterdir()}
    folder = notes[found[0].media]
    tar, note = folder / "train-000001.tar", folder / "note.json"
    settings = SETTINGS
    if change == "tar":
        data = tar.read_bytes()
        tar.unlink()
        tar.write_bytes(data[:2000] + bytes([data[2000] ^ 1]) + data[2001:])
    elif change == "short":
        os.truncate(tar, 5)
    elif change == "gone":
        tar.unlink()
    elif change == "note":
        os.truncate(note, note.stat().st_size // 2)
    elif change == "keys":
        note.write_text("{}")
    elif change == "mtime":
        os.utime(found[0].media)
    elif change == "caption":
        found[0] = found[0]._replace(captions=["another"])
    elif change == "span":
        found[2] = found[2]._replace(stop=1.6)
    elif change == "quality":
        settings = SETTINGS.model_copy(update={"quality": 50})
    elif change == "version":
        monkeypatch.setattr(clips, "FORMAT", clips.FORMAT + 1)
    pack(found, settings, max_bad_share=0.5)
    assert pack.passes == again
    assert files(pack.out) == undisturbed(found, settings)


def test_what_other_versions_have_cut_is_cut_again(
    pack: Packing, found: list[Item], videos: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    pack.stop_at = str(videos[3])
    with pytest.raises(KeyboardInterrupt):
        pack(found)
    pack.stop_at = None
    monkeypatch.setattr(clips, "versions", lambda: {"av": "0.1", "pillow": "0.1"})
    pack(found)
    assert sorted(pack.passes) == ["v0", "v1", "v2", "v3"]


def test_copied_where_links_fail(
    pack: Packing, found: list[Item], undisturbed: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    pack(found)
    assert (pack.out / "train-000000.tar").stat().st_nlink > 1

    def refuse(*_: Any) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    pack(found)
    assert (pack.out / "test-000000.tar").stat().st_nlink < 4
    assert files(pack.out) == undisturbed(found)


# --- lost clips -----------------------------------------------------------------------------------


@pytest.fixture
def bad(tmp_path: Path, videos: list[Path], found: list[Item]) -> list[Item]:
    """12 clips more, of which 7 can be cut: of a text, nothing, a cut file, a short video."""
    text, none, short, late = (tmp_path / f"{name}.mp4" for name in ("text", "none", "cut", "late"))
    text.write_text("no video")
    write_video(late, range(50), index_first=True)
    whole = write_video(tmp_path / "whole.mp4", range(100), gop=5, index_first=True).read_bytes()
    short.write_bytes(whole[: len(whole) // 2])
    return [
        clip(text, 0, 0, 1), *found, clip(none, 0, 0, 1, "val"), clip(short, 0, 0, 0.4),
        clip(late, 0, 0, 1), clip(short, 1, 3, 4), clip(late, 1, 1, 2.5), clip(late, 2, 7, 8),
        clip(late, 3, 1, 2), clip(videos[0], 9, 3, 2),
    ]  # fmt: skip


@pytest.mark.parametrize("workers", [0, 2])
def test_lost_clips_are_named_with_their_reason(
    pack: Packing, bad: list[Item], undisturbed: Callable[..., Any], workers: int
) -> None:
    manifest = pack(bad, max_bad_share=0.5, workers=workers)
    lost = pack.lost()
    assert list(lost) == ["text_0", "none_0", "cut_1", "late_1", "late_2", "v0_9"]
    for sample_id, reason in {
        "text_0": r"text\.mp4 is not a video", "none_0": r"none\.mp4 cannot be read \(No such file",
        "cut_1": r"cut\.mp4", "late_1": r"late\.mp4: stop 2.500 s is past the end of the video",
        "late_2": r"late\.mp4: start 7.000 s is past the end of the video at 2",
        "v0_9": r"v0\.mp4: start 3.0 s, stop 2.0 s",
    }.items():  # fmt: skip
        assert re.search(reason, lost[sample_id]), lost[sample_id]
    assert manifest["clips"]["lost"] == 6 and manifest["samples"]["train"] == 11
    index = pd.read_parquet(pack.out / "index.parquet")
    assert not set(index["sample_id"]) & set(lost) and len(index) == len(bad) - 6
    assert index["key"].is_unique is False and not index.duplicated(["split", "key"]).any()
    reader = ShardReader(pack.out, "train")
    ids = [sample["sample_id"] for sample in reader.samples]
    assert numbers(reader.segment(ids.index("late_3"))) == list(range(25, 50))
    assert files(pack.out) == undisturbed(bad, SETTINGS.model_copy(update={"max_bad_share": 0.5}))


def test_what_others_lost_leaves_kept_shards_as_they_are(
    pack: Packing, bad: list[Item], undisturbed: Callable[..., Any]
) -> None:
    found = bad[1:]
    pack(bad, max_bad_share=0.5)
    before = files(pack.out)
    write_video(Path(bad[0].media), range(30))  # mended
    mended = [clip(Path(bad[0].media), 0, 0, 1), *found]
    pack(mended, max_bad_share=0.5)
    assert pack.passes == ["text"]
    after = files(pack.out)
    assert after != before and after["val-000000.tar"] == before["val-000000.tar"]
    assert after == undisturbed(mended, SETTINGS.model_copy(update={"max_bad_share": 0.5}))


def test_too_many_lost_clips_end_it_at_once(pack: Packing, bad: list[Item]) -> None:
    error = pack.refused(bad)  # the video that is not there is known before any is cut
    assert error == (
        f"1 of 20 clips are lost so far (5.00%), above pack.max_bad_share 0.0; the first is none_0 "
        f"({bad[12].media} cannot be read (No such file or directory)): mend the videos or raise "
        "pack.max_bad_share"
    )
    assert pack.passes == []
    error = pack.refused(bad, max_bad_share=0.05)
    assert error.startswith("2 of 20 clips are lost so far (10.00%), above pack.max_bad_share 0.05")
    assert "; the first is text_0 (" in error and pack.passes == ["text"]
    for workers in (0, 2):
        error = pack.refused(bad, max_bad_share=0.29, workers=workers)
        assert error.startswith("6 of 20 clips are lost so far (30.00%), above")
    assert not list(pack.kept.glob(".*"))
    assert pack(bad, max_bad_share=0.3)["clips"]["lost"] == 6


def test_a_split_all_of_whose_clips_are_lost(
    pack: Packing, bad: list[Item], found: list[Item]
) -> None:
    of_val = [item for item in bad if item.split != "val" or item.sample_id == "none_0"]
    error = pack.refused(of_val, max_bad_share=0.9)
    assert error.startswith("all 1 clips of split val are lost; the last is none_0 (")
    text, late = Path(bad[0].media), Path(found[0].media)
    of_test = [clip(text, 1, 0, 1, "test"), clip(late, 7, 8, 9, "test")]
    others = [item for item in found if item.split != "test"]
    error = pack.refused([*others, *of_test], max_bad_share=0.9)
    assert error.startswith("all 2 clips of split test are lost; the last is text_1 (")


def test_a_video_that_changed_since_the_captions_stage(pack: Packing, found: list[Item]) -> None:
    error = pack.refused(changed(found, "v2", media_bytes=7), max_bad_share=1.0)
    assert re.fullmatch(
        r".*v2\.mp4 \(v2_0\) has changed since the captions stage saw it; run `dvc repro -sf "
        "captions`", error,
    )  # fmt: skip
    assert pack.passes == []


def test_a_video_that_changes_while_it_is_cut(
    pack: Packing, found: list[Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    write = cutting.video_files
    monkeypatch.setattr(cutting, "video_files", lambda media: [("x", 1, 2), *write(media)])
    error = pack.refused(found)
    assert error == f"{found[0].media} changed while it was packed; run `dvc repro`"
    assert list(pack.kept.iterdir()) == []


def test_what_can_be_known_before_the_work(pack: Packing, found: list[Item]) -> None:
    error = pack.refused(found, image_size=None)
    assert error.startswith("pack.image_size is null; clips of videos need a number")
    error = pack.refused([item._replace(media="", media_bytes=0) for item in found])
    assert error == (
        "the clips of source s have no media (`videos: null`), so there is nothing to pack or to "
        "train on; set captions.sources.s.videos to the folder of videos"
    )
    assert pack.passes == []


def test_a_folder_of_chunks(pack: Packing, tmp_path: Path) -> None:
    folder = tmp_path / "v0.MP4"
    folder.mkdir()
    for start in (0, 2, 4):
        write_video(folder / f"{start}.MP4", range(start * RATE, (start + 2) * RATE))
    found = [clip(folder, 0, 1, 3), clip(folder, 1, 0.5, 4.5)]
    pack(found)
    reader = ShardReader(pack.out, "train")
    assert numbers(reader.segment(0)) == list(range(25, 75))
    assert numbers(reader.segment(1)) == list(range(13, 113))
    os.utime(folder / "2.MP4", (1, 1))
    pack(found)
    assert pack.passes == ["v0"]
    (folder / "2.MP4").unlink()
    found = [clip(folder, 0, 0, 1), clip(folder, 1, 0.5, 4.5)]
    pack(found, max_bad_share=0.5)
    assert "which the segment from 0.500 s to 4.500 s needs" in pack.lost()["v0_1"]


def test_a_full_disk_is_one_line(
    pack: Packing, found: list[Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device", "some.tar")

    monkeypatch.setattr(cutting.ShardFile, "add_sample", full)
    with pytest.raises(InputError, match=r"could not be written \(the disk is full\); make room"):
        pack(found, max_bad_share=1.0)
    assert list(pack.out.iterdir()) == [] and list(pack.kept.iterdir()) == []


def test_what_is_stored_of_epic_kitchens_is_what_the_published_recipe_reads() -> None:
    """At 15 a second 27.6 % of the training clips had fewer frames than the towers take."""
    text = (Path(__file__).parent.parent / "params.yaml").read_text(encoding="utf-8")
    dataset = YAML(typ="safe").load(text)["datasets"]["ek100"]
    assert dataset["pack"]["frame_rate"] == 30.0
    assert dataset["towers"]["vision"]["clip_length"] == 16
