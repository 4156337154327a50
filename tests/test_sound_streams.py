"""Sound and subtitles of clips, from videos through `pack` to the arrays that a model reads."""

from __future__ import annotations

import io
import math
import pickle
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import webdataset
from tokenizers import Tokenizer

from mmts.errors import InputError
from mmts.files import read_json
from mmts.kinds.stream import StreamKind, encoders
from mmts.kinds.stream.audio import Kind as Audio
from mmts.kinds.stream.text import Kind as Text
from mmts.settings.prepared import Pack
from mmts.shards import Item, ShardReader, empty_lines, write_clips, write_shards
from mmts.shards.items import try_streams
from mmts.shards.stream import ShardStream
from mmts.shards.streamed import StreamedReader
from mmts.towers.tokens import cut_to, pad_with, train_tokenizer
from mmts.training.pairs import Pairs
from tests.making_clips import SIZES, clip, files
from tests.making_video import write_video
from tests.test_audio_track import RATE, loudness, steps
from tests.test_shards import found_items

STREAMS: dict[str, StreamKind] = {
    "audio": Audio(kind="audio"),
    "subtitle": Text(kind="text", column="subtitle", max_tokens=12),
}
SETTINGS = Pack(shard_size=3, image_size=32)
TEXTS = ("Crack two eggs.", "", " \n", "שלום, the pan", "salt " * 40, "stir", "rice", "oil", "end")


def write(path: Path, sound: Any = None) -> Path:
    return write_video(
        path, range(100), gop=12, size=(48, 32), sound=sound, sound_codec="pcm_s16le"
    )


def damaged(path: Path) -> Path:
    """A video whose sound cannot be decoded from 1.5 s to 1.6 s."""
    import av

    write_video(path, range(100), gop=12, size=(48, 32), sound=steps())
    with av.open(str(path)) as container:
        sound = container.streams.audio[0]
        data = [
            bytes(p) for p in container.demux(sound)
            if p.pts is not None and 1.5 < p.pts * p.time_base < 1.6
        ]  # fmt: skip
    raw = path.read_bytes()
    for one in data:
        assert raw.count(one) == 1
        raw = raw.replace(one, b"\xff" * len(one))
    path.write_bytes(raw)
    return path


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[Item]:
    """Clips of a video with sound, one without, one with damaged sound; one is a whole file."""
    folder = tmp_path_factory.mktemp("videos")
    loud, silent, hurt, whole = (
        write(folder / "loud.mkv", steps()), write(folder / "silent.mkv"),
        damaged(folder / "hurt.mkv"), write(folder / "whole.mkv", steps()),
    )  # fmt: skip
    clips = [
        clip(loud, 0, 1, 2), clip(silent, 0, 0, 1), clip(hurt, 0, 1, 2), clip(loud, 1, 0.5, 3),
        clip(silent, 1, 1, 2, "test"), clip(hurt, 1, 2, 3, "test"), clip(whole, 0, 0, math.inf),
        clip(loud, 2, 3, 4, "test"), clip(loud, 3, 0, 1, "val"),
    ]  # fmt: skip
    return [i._replace(columns={"subtitle": t}) for i, t in zip(clips, TEXTS, strict=True)]


def pack(folder: Path, found: list[Item], workers: int = 0, kept: str = "kept") -> dict[str, Any]:
    folder.mkdir()
    settings = SETTINGS.model_copy(update={"workers": workers})
    return write_clips(folder, found, SIZES, settings, folder.parent / kept, STREAMS)


@pytest.fixture(scope="module")
def packed(found: list[Item], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packed") / "out"
    pack(folder, found)
    return folder


def members(folder: Path, split: str, stream: str) -> dict[str, bytes]:
    reader = ShardReader(folder, split)
    return {s["sample_id"]: reader.member(n, stream) for n, s in enumerate(reader.samples)}


def test_members(packed: Path, found: list[Item]) -> None:
    sound = members(packed, "train", "audio")
    assert list(sound) == ["loud_0", "loud_1", "silent_0", "hurt_0", "whole_0"]
    for name, first, tenths in (("loud_0", 10, 10), ("loud_1", 5, 25), ("whole_0", 0, 40)):
        with wave.open(io.BytesIO(sound[name])) as file:
            assert file.getparams()[:4] == (1, 2, RATE, tenths * 1600)
            samples = np.frombuffer(file.readframes(10**6), np.int16)
        np.testing.assert_allclose(loudness(samples), first + np.arange(tenths), atol=0.1)
    assert sound["silent_0"] == sound["hurt_0"] == b""
    assert len(members(packed, "test", "audio")["hurt_1"]) == 44 + 2 * RATE
    wanted = {item.sample_id: item.columns["subtitle"].strip().encode() for item in found}
    said = {
        k: v for s in ("train", "val", "test") for k, v in members(packed, s, "subtitle").items()
    }
    assert said == wanted
    whole = [s for s in ShardReader(packed, "train").samples if s["sample_id"] == "whole_0"]
    assert (whole[0]["start"], whole[0]["stop"]) == (0.0, None)


def test_what_is_empty_is_counted_and_named(packed: Path, found: list[Item]) -> None:
    manifest = read_json(packed / "manifest.json")
    assert manifest["samples"] == {"train": 5, "val": 1, "test": 3}  # none is lost for it
    assert manifest["empty"] == {
        "audio": {
            "train": {"items": 2, "reasons": {"damaged sound": 1, "no sound track": 1},
                      "first": ["silent_0", "hurt_0"]},
            "test": {"items": 1, "reasons": {"no sound track": 1}, "first": ["silent_1"]},
        },
        "subtitle": {
            "train": {"items": 2, "reasons": {"empty": 2}, "first": ["silent_0", "hurt_0"]},
        },
    }  # fmt: skip
    assert empty_lines(manifest, STREAMS, Path("x")) == [
        "audio: 2 of 5 train items have no sound (damaged sound: 1, no sound track: 1; the first "
        "is silent_0; listed in x/empty.parquet)",
        "audio: 1 of 3 test items have no sound (no sound track: 1; the first is silent_1; listed "
        "in x/empty.parquet)",
        "subtitle: 2 of 5 train items have no subtitle (empty: 2; the first is silent_0; listed in "
        "x/empty.parquet)",
    ]
    table = pd.read_parquet(packed / "empty.parquet")
    assert list(table) == ["stream", "source", "split", "sample_id", "media", "reason"]
    (row,) = table[(table["stream"] == "audio") & (table["sample_id"] == "hurt_0")].to_dict(
        "records"
    )
    hurt = found[2].media
    assert row["media"] == hurt and row["reason"].startswith(f"damaged sound: {hurt} at 1.5")
    assert "\n" not in row["reason"]


@pytest.mark.parametrize("workers", [0, 2])
def test_packing_is_repeatable_and_goes_on(
    packed: Path, found: list[Item], tmp_path: Path, workers: int,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    pack(tmp_path / "first", found, workers)
    assert files(tmp_path / "first") == files(packed)
    capsys.readouterr()
    pack(tmp_path / "second", found, workers)
    assert "4 of 4 videos were cut by an earlier run" in capsys.readouterr().out
    assert files(tmp_path / "second") == files(packed)


def test_settings_of_the_model_cut_nothing_again(
    found: list[Item], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other: dict[str, StreamKind] = {
        "audio": Audio(kind="audio", mel_bins=128, slices=3),
        "subtitle": Text(kind="text", column="subtitle", max_tokens=50),
    }
    assert [kind.packed for kind in other.values()] == [kind.packed for kind in STREAMS.values()]
    pack(tmp_path / "first", found[:1])
    (tmp_path / "out").mkdir()
    write_clips(tmp_path / "out", found[:1], SIZES, SETTINGS, tmp_path / "kept", other)
    assert "1 of 1 videos were cut by an earlier run" in capsys.readouterr().out


def test_stock_webdataset_and_streaming(packed: Path) -> None:
    wanted = {name: members(packed, "train", name) for name in STREAMS}
    urls = [str(path) for path in sorted(packed.glob("train-*.tar"))]
    for sample in webdataset.WebDataset(urls, shardshuffle=False).decode():
        item = sample["json"]["sample_id"]
        assert sample["subtitle.txt"] == wanted["subtitle"][item].decode()
    reader = StreamedReader(packed, "train")
    stream = ShardStream(
        str(packed), "train", seed=0, buffer=0, shards=reader.shards, streams=reader.streams
    )
    samples = list(stream)
    for number, sample in zip(reader.hold(samples), samples, strict=True):
        for name in STREAMS:
            item = sample.said["sample_id"]
            assert reader.member(number, name) == wanted[name][item]
            assert sample.members[name] == wanted[name][item]


# --- arrays -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    made = train_tokenizer(TEXTS, end_of_text=True)
    pad_with(made, 1)
    cut_to(made, 5)
    return made


def test_texts_have_one_length(tokenizer: Tokenizer) -> None:
    kind = STREAMS["subtitle"].with_tokenizer(tokenizer)
    own = Tokenizer.from_str(tokenizer.to_str())
    own.no_padding(), own.no_truncation()
    end = own.token_to_id("[END]")
    for again in (kind, pickle.loads(pickle.dumps(kind))):
        for text in ("", "stir", "salt " * 40):
            ids = own.encode(text).ids
            found = again.load(text.encode(), None)
            assert found.dtype == np.int64 and found.shape == (12,)
            cut = ids if len(ids) <= 12 else [*ids[:11], end]
            assert found.tolist() == cut + [1] * (12 - len(cut))
    assert tokenizer.truncation["max_length"] == 5  # that of captions stays


def test_what_a_model_reads(packed: Path, tokenizer: Tokenizer) -> None:
    streams = {name: kind.with_tokenizer(tokenizer) for name, kind in STREAMS.items()}
    pairs = Pairs(
        ShardReader(packed, "train"), vision_rows=None, image_size=32, clip_length=2,
        encode_text=lambda texts, _: torch.zeros(len(texts), 1), streams=streams,
    )  # fmt: skip
    found = pairs.streams([0, 2, 3], [1, 2, 3])
    assert found["audio"].shape == (3, 1, 1024, 64) and found["audio"].dtype == torch.float32
    assert found["subtitle"].shape == (3, 12) and found["subtitle"].dtype == torch.int64
    assert found["audio"][0, 0, :98].any() and not found["audio"][0, 0, 98:].any()
    assert not found["audio"][1:].any()  # no sound: zeros


# --- what is refused --------------------------------------------------------------------------


def test_a_frozen_text_tower_has_no_tokenizer() -> None:
    with pytest.raises(InputError) as caught:
        STREAMS["subtitle"].with_tokenizer(None)
    assert str(caught.value) == (
        "the stream of the column subtitle is a text, read by the tokenizer of the text tower, but "
        "towers.text is frozen; set towers.text.frozen to false, or leave the stream out"
    )
    assert STREAMS["audio"].with_tokenizer(None) is STREAMS["audio"]


def test_they_are_for_the_omni_model_alone(found: list[Item]) -> None:
    for name, kind in (("audio", "audio"), ("subtitle", "text")):
        with pytest.raises(InputError) as caught:
            encoders({name: STREAMS[name]})
        assert str(caught.value) == (
            f"a stream of kind {kind} is not read by `model: two_tower`; set model to omni, or "
            "leave the stream out"
        )
    try_streams(found[0], STREAMS)  # packs, and asks for no encoder
    with pytest.raises(
        InputError, match=r"stream subtitle cannot be packed of its subtitle \(it is"
    ):
        try_streams(found[0]._replace(columns={"subtitle": 7}), STREAMS)


def test_pictures_have_no_sound(tmp_path: Path) -> None:
    found = found_items(tmp_path / "pictures")
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError) as caught:
        write_shards(tmp_path / "out", found, SIZES, Pack(), {"audio": Audio(kind="audio")})
    assert str(caught.value) == (
        f"a stream of kind audio is cut from videos, and {found[0].media} is a picture; leave the "
        "stream out"
    )


def test_subtitles_of_pictures_are_counted_too(tmp_path: Path) -> None:
    found = [
        item._replace(columns={"subtitle": "" if n % 2 else "a"})
        for n, item in enumerate(found_items(tmp_path / "pictures"))
    ]
    (tmp_path / "out").mkdir()
    streams = {"subtitle": STREAMS["subtitle"]}
    manifest = write_shards(tmp_path / "out", found, SIZES, Pack(shard_size=5), streams)
    counted = {split: about["items"] for split, about in manifest["empty"]["subtitle"].items()}
    of_split = pd.Series([i.split for i in found if not i.columns["subtitle"]]).value_counts()
    assert counted == of_split.to_dict()
