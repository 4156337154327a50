"""params.yaml: what is merged how, and what is told of mistakes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from mmts.config import SHOWN, Config, load, resolved
from mmts.errors import InputError
from mmts.params import Mistakes, read_params
from mmts.settings.dataset import Dataset
from mmts.settings.training import Augment, Train
from tests.making import PARAMS, changed, write_params

ROOT = Path(__file__).parent.parent
TINY = "datasets.tiny"
SOURCE = f"{TINY}.captions.sources.pairs"
OBJECTIVE = "methods.base.objective"
MEASURE = f"{TINY}.evaluate.measure"
NUMBERS = f"{TINY}.temperature"


def read(folder: Path, changes: dict[str, Any]) -> Config:
    return load(write_params(folder / "params.yaml", PARAMS, changes))


def dataset(folder: Path, changes: dict[str, Any], name: str = "tiny") -> Any:
    return read(folder, changes).datasets[name]


def cell(folder: Path, changes: dict[str, Any], method: str = "base", name: str = "tiny") -> Any:
    return read(folder, changes).cell(name, method)


def told(folder: Path, changes: dict[str, Any]) -> list[str]:
    """The lines of the mistakes, without the name of the file."""
    with pytest.raises(InputError) as caught:
        read(folder, changes)
    lines = getattr(caught.value, "lines", [str(caught.value)])
    start = f"{folder / 'params.yaml'}: "
    assert all(line.startswith(start) and "\n" not in line for line in lines), lines
    return [line.removeprefix(start) for line in lines]


def refusal(folder: Path, changes: dict[str, Any]) -> str:
    """The one line of a file with one mistake."""
    (line,) = told(folder, changes)
    return line


def test_it_is_read(tmp_path: Path) -> None:
    config = read(tmp_path, {})
    assert (config.grid.datasets, config.grid.methods, config.grid.seeds) == (
        ("tiny",), ("base", "mmts"), (0,),
    )  # fmt: skip
    tiny = config.datasets["tiny"]
    assert tiny.train.batch_size == 8 and tiny.train.learning_rate == 1e-3
    assert tiny.captions.sources["pairs"].path == "pairs.csv" and tiny.towers.vision.frozen
    assert config.cell("tiny", "base").objective.kind == "info_nce"
    assert set(config.cells) == {("tiny", "base"), ("tiny", "mmts")} and not config.left_out


def test_settings_are_frozen(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        dataset(tmp_path, {}).train.epochs = 3


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        # wrong types
        (f"{SOURCE}.path", 5, "is 5; it should be a valid string"),
        (f"{SOURCE}.class_columns", "kind", "is 'kind'; it should be a list"),
        (f"{TINY}.train.head", 3, "is 3; it should be a mapping of"),
        (f"{NUMBERS}.alpha", "0.1", "is '0.1'; write a number, or auto"),
        (f"{NUMBERS}.alpha", True, "is True; write a number, or auto"),
        (f"{NUMBERS}.fixed", "auto", "is 'auto'; it should be a valid number"),
        (f"{NUMBERS}.fixed", 0, "is 0; it should be greater than 0"),
        # out of range
        (f"{TINY}.captions.max_bad_share", 1.0, "is 1.0; it should be less than 1"),
        (f"{TINY}.captions.sources", {}, "at least 1 item"),
        (
            f"{TINY}.towers.vision.name",
            "resnet50",
            r"is 'resnet50'; did you mean resnet\? .*, small_c",
        ),
        (f"{TINY}.train.augment", {"magnitude": 9}, "magnitude is 9 but ops is 0"),
        (f"{TINY}.train.augment", {"crop_area": [0.5]}, r"\.1 is missing; add it"),
        (f"{TINY}.train.augment", {"crop_area": [0.9, 0.5]}, "begins at 0.9, above"),
        (OBJECTIVE, "sogcrl", r"is 'sogcrl'; did you mean sogclr\?"),
        (OBJECTIVE, {}, r"\.kind is missing; there are: arctanh, cyclip, info_nce"),
        ("methods.base.modulator", {"kind": "tempnt"}, r"\.kind is 'tempnt'; did you me"),
        (OBJECTIVE, 3, "is 3; write a name, or a mapping with `kind`"),
        (MEASURE, "recal", r"is 'recal'; did you mean recall\? there are: multi_instance, recall"),
        (
            MEASURE,
            {"kind": "recall", "ks": [5, 1]},
            r"\.ks is \[5, 1\]; write rising numbers, each",
        ),
        (MEASURE, {"kind": "recall", "ks": [0]}, r"\.ks\.0 is 0; it should be greater than 0"),
        (MEASURE, {"kind": "recall", "k": 5}, r"\.k is not a setting; did you mean ks\?"),
        (
            f"{TINY}.evaluate.rerank",
            "match",
            r"is 'match'; did you mean matching\? there are: matching",
        ),
        ("methods.base.clustering", "a b", "is 'a b'; it should be of letters, digi"),
        ("methods.base.clustering", {"relevancy": ["b", "b"]}, "twice"),
        ("methods.base.schedule", "sine", r"is 'sine'; did you mean cosine\? there are: cosine"),
        ("methods.base.shift", "square", "is 'square'; there are: linear, log, rank"),
        ("methods.base.schedule", {"kind": "cosine", "oscillations": 0}, r"\.oscillations is 0"),
        # missing
        (f"{TINY}.captions", ..., "is missing; add it"),
        (OBJECTIVE, ..., "is missing; add it"),
        ("grid", ..., "is missing; add it"),
        ("grid.seeds", ..., "is missing; add it"),
    ],
)
def test_the_key_is_named(tmp_path: Path, key: str, value: Any, message: str) -> None:
    found = refusal(tmp_path, {key: value})
    assert found.startswith(key), found
    assert re.search(message, found), found


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (f"{TINY}.captions.max_bad_shares", "did you mean max_bad_share?"),
        (f"{SOURCE}.caption_colum", "did you mean caption_column?"),
        (f"{SOURCE}.split.vall", "did you mean val? there are: train, val, test, seed"),
        (f"{TINY}.towers.vision.weight", "did you mean weights?"),
        (f"{TINY}.towers.audio", "there are: vision, text"),
        (f"{TINY}.clusterings.default.kk", "did you mean k?"),
        (f"{TINY}.clusterings.kinds.colum", "did you mean column?"),
        (f"{TINY}.train.lerning_rate", "did you mean learning_rate?"),
        (f"{TINY}.train.head.hiden", "did you mean hidden?"),
        (f"{NUMBERS}.alhpa", "did you mean alpha?"),
        (f"{TINY}.margin.fixd", "did you mean fixed?"),
        (f"{TINY}.trian", "did you mean train?"),
        ("methods.base.shcedule", "did you mean schedule?"),
        ("methods.base.temperature.alhpa", "did you mean alpha?"),
        ("methods.mmts.schedule", "did you mean oscillations?"),
        ("methods.base.per_dataset.tiny.shfit", "did you mean shift?"),
        ("grid.seed", "did you mean seeds?"),
        ("report.boostrap", "did you mean bootstrap?"),
        ("gird", "did you mean grid?"),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest(tmp_path: Path, key: str, message: str) -> None:
    value: Any = 1
    if key == "methods.mmts.schedule":
        key, value = f"{key}.oscilations", 1
        changes = {"methods.mmts.schedule": {"kind": "cosine", "oscilations": value}}
    else:
        changes = {key: value}
    found = refusal(tmp_path, changes)
    assert found.startswith(f"{key} is not a setting; ") and message in found, found


def test_an_unknown_key_comes_before_the_one_it_was_meant_to_be(tmp_path: Path) -> None:
    clustering = {"kind": "kmeans", "kk": 4}
    found = refusal(tmp_path, {f"{TINY}.clusterings.default": clustering})
    assert found.startswith(f"{TINY}.clusterings.default.kk is not a setting")


def test_a_source_that_is_called_like_its_kind(tmp_path: Path) -> None:
    sources = {"table": {"kind": "table", "path": "x.csv", "limit": 0}}
    found = refusal(tmp_path, {f"{TINY}.captions.sources": sources})
    assert found.startswith(f"{TINY}.captions.sources.table.limit is 0")
    sources = {"flickr8k": {"kind": "flickr8k", "limt": 3}}
    found = refusal(tmp_path, {f"{TINY}.captions.sources": sources})
    assert found.startswith(f"{TINY}.captions.sources.flickr8k.limt is not a setting; did you mean")


def test_a_setting_that_is_called_like_its_kind(tmp_path: Path) -> None:
    key = f"{TINY}.clusterings.kinds.column"
    assert refusal(tmp_path, {key: 5}).startswith(f"{key} is 5; ")


def test_an_unknown_kind_lists_those_that_exist(tmp_path: Path) -> None:
    found = refusal(tmp_path, {f"{SOURCE}.kind": "tabel"})
    assert found.startswith(f"{SOURCE}.kind is 'tabel'; did you mean table? there are: ")
    assert all(kind in found for kind in ("openmoji", "table", "flickr8k"))
    found = refusal(tmp_path, {f"{TINY}.clusterings.kinds.kind": ...})
    assert found == f"{TINY}.clusterings.kinds.kind is missing; there are: column, kmeans"


VIDEO = {
    "name": "video_vit",
    "weights": "random",
    "frozen": False,
    "image_size": 32,
    "clip_length": 4,
}
CLIP_TEXT = {"name": "clip_text", "weights": "random", "frozen": False}
PICTURES = {"name": "small_cnn", "weights": "x", "frozen": False, "image_size": 32}

RESNET = {"name": "resnet", "weights": "random", "frozen": False, "image_size": 32}
BERT = {"name": "distilbert", "weights": "random", "frozen": False, "pooling": "mean"}


@pytest.mark.parametrize(
    ("side", "tower", "message"),
    [
        ("vision", VIDEO | {"clip_length": None}, ".clip_length is missing; add it"),
        ("vision", VIDEO | {"clip_length": 0}, ".clip_length is 0; it should be greater than 0"),
        ("vision", VIDEO | {"frozen": True, "weights": "x"}, ": frozen is true; features of clips"),
        ("vision", VIDEO | {"shape": {}, "weights": "x"}, ": shape is set; it belongs to `weights"),
        ("vision", PICTURES | {"shape": {}},
         ".shape is not a setting of small_cnn, but of clip_vision, divided_vit, eva_clip, "),
        ("vision", VIDEO | {"name": "clip_frames"}, ": weights is random; clip_frames starts from"),
        ("vision", VIDEO | {"name": "clip_frames", "weights": "x", "drop_path": 0.1},
         ".drop_path is not a setting of clip_frames, but of divided_vit, eva_clip, "),
        ("vision", VIDEO | {"name": "clip_frames", "weights": "x", "patch_dropout": 0.1},
         ".patch_dropout is not a setting of clip_frames, but of video_vit; there are: name, w"),
        ("vision", VIDEO | {"name": "divided_vit", "patch_dropout": 0.1},
         ".patch_dropout is not a setting of divided_vit, but of video_vit; there are: name, w"),
        ("vision", PICTURES | {"clip_length": 4}, ".clip_length is not a setting of small_cnn, "),
        ("vision", PICTURES | {"gradient_checkpointing": True},
         ".gradient_checkpointing is not a setting of small_cnn, but of clip_frames, clip_vis"),
        ("vision", PICTURES | {"drop_path": 0.1}, ".drop_path is not a setting of small_cnn, "),
        ("vision", VIDEO | {"drop_path": 1.0}, ".drop_path is 1.0; it should be less than 1"),
        ("vision", VIDEO | {"patch_dropout": -0.1}, ".patch_dropout is -0.1; it should be greater"),
        ("vision", VIDEO | {"image_size": 40},
         ": image_size 40 is no multiple of shape.patch_size 16; change one of them"),
        ("vision", VIDEO | {"shape": {"patch_size": 12}},
         ": image_size 32 is no multiple of shape.patch_size 12; change one of them"),
        ("vision", VIDEO | {"shape": {"heads": 5}},
         ".shape: width 768 is no multiple of heads 5; change one of them"),
        ("vision", VIDEO | {"shape": {"depth": 5}}, ".shape.depth is not a setting; "),
        ("text", CLIP_TEXT | {"weights": "x"}, ": tokenizer is missing; clip_text with weights"),
        ("text", CLIP_TEXT | {"weights": "x", "tokenizer": "x", "shape": {}}, ": shape is set; "),
        ("text", CLIP_TEXT | {"shape": {"width": 10, "heads": 4}},
         ".shape: width 10 is no multiple of heads 4; change one of them"),
        ("text", CLIP_TEXT | {"shape": {"context": 3}}, ".shape.context is 3; it should be"),
        ("text", {"name": "small_transformer", "weights": "random", "frozen": False,
                  "tokenizer": "x"}, ".tokenizer is not a setting of small_transformer, but of "),
        ("text", {"name": "sentence", "weights": "x", "frozen": True, "shape": {}},
         ".shape is not a setting of sentence, but of bert, clip_text, distilbert"),
        ("text", {"name": "sentence", "weights": "x", "frozen": True,
                  "gradient_checkpointing": True}, ".gradient_checkpointing is not a setting o"),
        ("vision", RESNET | {"weights": "x", "depth": 50}, ": depth is set; it belongs to `weigh"),
        ("vision", PICTURES | {"depth": 50}, ".depth is not a setting of small_cnn, but of resnet"),
        ("vision", RESNET | {"depth": 49}, ".depth is 49; "),
        ("vision", RESNET | {"shape": {}}, ".shape is not a setting of resnet, but of clip_vision"),
        ("vision", RESNET | {"clip_length": 4}, ".clip_length is not a setting of resnet, but of"),
        ("vision", RESNET | {"drop_path": 0.1}, ".drop_path is not a setting of resnet, but of d"),
        ("vision", RESNET | {"name": "vit", "shape": {"dim": 9}}, ": shape.dim is set; the"),
        ("vision", RESNET | {"name": "vit", "image_size": 40},
         ": image_size 40 is no multiple of shape.patch_size 16; change one of them"),
        ("vision", RESNET | {"name": "clip_vision", "image_size": 40}, ": image_size 40 is no"),
        ("text", BERT | {"pooling": None}, ".pooling is missing; add it"),
        ("text", BERT | {"pooling": "max"}, ".pooling is "),
        ("text", BERT | {"weights": "x", "shape": {}}, ": shape is set; it belongs to `weights: r"),
        ("text", BERT | {"shape": {"dim": 9}}, ": shape.dim is set; the features of distilbert"),
        ("text", BERT | {"pooling": "cls"}, ": pooling is cls but a learned tokenizer has no [CLS"),
        ("text", BERT | {"shape": {"context": 9}, "max_tokens": 10},
         ": max_tokens 10 is above shape.context 9; lower it"),
        ("text", BERT | {"max_tokens": 3}, ".max_tokens is 3; "),
        ("vision", RESNET | {"name": "timm"}, ".model is missing; add it"),
        ("vision", RESNET | {"model": "x"}, ".model is not a setting of resnet, but of open_clip"),
        ("text", CLIP_TEXT | {"model": "x"}, ".model is not a setting of clip_text, but of op"),
        ("text", CLIP_TEXT | {"name": "open_clip", "model": "x"}, ".tokenizer is missing; add it"),
        ("text", CLIP_TEXT | {"name": "open_clip", "tokenizer": "y"}, ".model is missing; add it"),
        ("text", CLIP_TEXT | {"name": "open_clip", "model": "x", "tokenizer": "y", "shape": {}},
         ".shape is not a setting of open_clip, but of bert, clip_text, distilbert"),
        ("text", CLIP_TEXT | {"pooling": "cls"}, ".pooling is not a setting of clip_text, but of "),
        ("text", {"name": "small_transformer", "weights": "x", "frozen": False},
         ": a small_transformer starts from `weights: random` and `frozen: false`"),
        ("text", {"name": "sentence", "weights": "x", "frozen": False},
         ": frozen is false; a sentence tower cannot be trained here"),
    ],
)  # fmt: skip
def test_towers_that_are_set_wrongly(
    tmp_path: Path, side: str, tower: dict[str, Any], message: str
) -> None:
    found = refusal(tmp_path, {f"{TINY}.towers.{side}": tower})
    assert found.startswith(f"{TINY}.towers.{side}{message}"), found


def test_towers_of_videos(tmp_path: Path) -> None:
    more = {"drop_path": 0.1, "patch_dropout": 0.5, "gradient_checkpointing": True, "shape": {}}
    text = CLIP_TEXT | {"shape": {"context": 32}, "gradient_checkpointing": True}
    changes = {f"{TINY}.towers": {"vision": VIDEO | more, "text": text, "frozen_parts": ["text.*"]}}
    towers = dataset(tmp_path, changes).towers
    assert towers.vision.video and towers.vision.shape.width == 768
    assert towers.text.shape.context == 32 and towers.frozen_parts == ("text.*",)
    for name in ("divided_vit", "clip_frames"):
        vision = VIDEO | {"name": name, "weights": "x", "image_size": 50}
        towers = dataset(tmp_path, {f"{TINY}.towers.vision": vision}).towers
        assert towers.vision.video and towers.vision.clip_length == 4
    assert not dataset(tmp_path, {}).towers.vision.video


def test_towers_of_transformers(tmp_path: Path) -> None:
    bert = BERT | {"weights": "x", "pooling": "cls", "max_tokens": 30}
    for changes in ({"depth": 18}, {"name": "vit", "shape": {"patch_size": 8}},
                    {"name": "clip_vision"}, {"weights": "org/model", "frozen": True}):  # fmt: skip
        more = {"gradient_checkpointing": True}
        tree = {"vision": RESNET | more | changes, "text": bert | more}
        towers = dataset(tmp_path, {f"{TINY}.towers": tree}).towers
        assert not towers.vision.video and towers.text.max_tokens == 30
    for text in (bert, CLIP_TEXT | {"weights": "x", "tokenizer": "y"}):
        changes = {f"{TINY}.towers.text": text | {"frozen": True}}
        assert dataset(tmp_path, changes).towers.text.frozen
        changes[f"{TINY}.towers.text"] |= {"weights": "random", "tokenizer": "y"}
        found = refusal(tmp_path, changes)
        assert "text.weights is random and text.frozen is true" in found


def test_augmentation(tmp_path: Path) -> None:
    changes: dict[str, Any] = {f"{TINY}.towers.vision": PICTURES}
    numbers = {"crop_area": [0.3, 1], "ops": 2, "magnitude": 9}
    wanted = Augment(crop_area=(0.3, 1.0), ops=2, magnitude=9)
    for value, found in ((False, None), (True, Augment()), (numbers, wanted)):
        changes[f"{TINY}.train.augment"] = value
        assert dataset(tmp_path, changes).train.augment == found
    changes[f"{TINY}.towers.vision"] = VIDEO
    found = refusal(tmp_path, changes)
    assert "train.augment.ops is 2 but towers.vision.name is video_vit, and RandAugment" in found
    changes[f"{TINY}.train.augment"] = {"crop_area": [0.3, 1]}
    assert dataset(tmp_path, changes).train.augment.crop_area == (0.3, 1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({f"{SOURCE}.split": {"train": 0.9, "val": 0.1, "test": 0.1}}, "add up to 1"),
        ({f"{TINY}.train.min_learning_rate": 0.1}, "0.1 is above learning_rate 0.001"),
        ({f"{TINY}.towers.vision.weights": "random"}, "vision.weights is random and vision.frozen"),
        ({f"{TINY}.towers.text.frozen": False}, "a sentence tower cannot be trained"),
        ({f"{TINY}.clusterings.default": None}, "no `default` clustering"),
        ({f"{TINY}.train.augment": True}, "train.augment is set but towers.vision.frozen is true"),
        (
            {f"{TINY}.train.stream": {"url": "x"}, f"{TINY}.pack.in_place": True},
            "train.stream is set but pack.in_place is true",
        ),
        ({"grid.seeds": [1, 1]}, "names one twice"),
        ({"methods.base.margin": {"fixed": 0.1}}, "margin is set, but the objective info_nce"),
        ({"methods.base.relevancy_threshold": 0.2}, "relevancy_threshold needs a clustering"),
    ],
)  # fmt: skip
def test_settings_that_do_not_go_together(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    found = refusal(tmp_path, changes)
    assert message in found and found.startswith((TINY, "grid", "methods.base")), found


def test_a_name_that_is_short_for_a_mapping_is_named_as_it_stands(tmp_path: Path) -> None:
    for key, short, name in (
        ("clustering", "shift", "a b"), ("schedule", "kind", "sine"), ("shift", "kind", "root"),
        ("objective", "kind", "siglib"), ("modulator", "kind", "tempnt"),
    ):  # fmt: skip
        place = f"methods.base.{key}"
        assert refusal(tmp_path, {place: name}).startswith(f"{place} is {name!r}; ")
        assert refusal(tmp_path, {place: {short: name}}).startswith(f"{place}.{short} is {name!r}")
    found = refusal(tmp_path, {OBJECTIVE: "siglib"})
    assert found.startswith(f"{OBJECTIVE} is 'siglib'; did you mean siglip? there are: arctanh, ")


def test_a_dataset_or_method_that_does_not_exist(tmp_path: Path) -> None:
    config = read(tmp_path, {})
    with pytest.raises(InputError, match="there is no dataset tony; did you mean tiny"):
        config.cell("tony", "base")
    with pytest.raises(InputError, match="there is no method nope; there are: base, mmts"):
        config.cell("tiny", "nope")


def test_numbers_are_read_as_yaml_1_2(tmp_path: Path) -> None:
    text = json.dumps(PARAMS)
    assert '"learning_rate": 0.001' in text
    path = tmp_path / "params.yaml"
    for written, value in (("2e-4", 2e-4), ("1", 1.0), (".5", 0.5)):
        path.write_text(text.replace('"learning_rate": 0.001', f'"learning_rate": {written}'))
        rate = load(path).datasets["tiny"].train.learning_rate
        assert rate == value and type(rate) is float
    for written in (".nan", ".inf", "2020-01-01"):
        path.write_text(text.replace('"learning_rate": 0.001', f'"learning_rate": {written}'))
        with pytest.raises(InputError, match=r"datasets\.tiny\.train\.learning_rate is "):
            load(path)


# --- the numbers of tau ------------------------------------------------------------------------


def test_temperature_stays_above_0_and_a_margin_may_reach_it(tmp_path: Path) -> None:
    base = {"methods.base.schedule": "cosine", "methods.base.shift": "linear"}
    for low in (0.03, 0.02):
        found = refusal(tmp_path, {**base, f"{NUMBERS}.shift_min": low})
        assert found.startswith(f"{NUMBERS} with methods.base: shift_min - alpha/2 is"), found
        assert "above 0" in found
    assert cell(tmp_path, {**base, f"{NUMBERS}.shift_min": 0.0301}).shift_min == 0.0301
    margin = f"{TINY}.margin"
    assert cell(tmp_path, {f"{margin}.alpha": 0.2}, "mmts").alpha == 0.2
    below = {f"{margin}.alpha": 0.2, f"{margin}.shift_min": 0.0999}
    found = refusal(tmp_path, below)
    assert (
        found.startswith(f"{TINY}.margin with methods.mmts: ") and "must not fall below 0" in found
    )
    found = refusal(tmp_path, {f"{margin}.shift_min": 0.4})
    assert found.startswith(
        f"{TINY}.margin with methods.mmts: shift_min 0.4 is above shift_max 0.3; raise"
    )


def test_switches_choose_among_the_numbers_of_the_dataset(tmp_path: Path) -> None:
    for switches, wanted in (
        ({}, (0.0, 0.07, 0.07)),
        ({"schedule": "cosine"}, (0.06, 0.07, 0.07)),
        ({"shift": "log"}, (0.0, 0.05, 0.09)),
        ({"schedule": "cosine", "shift": "linear"}, (0.06, 0.05, 0.09)),
    ):
        found = cell(tmp_path, {f"methods.base.{key}": value for key, value in switches.items()})
        assert (found.alpha, found.shift_min, found.shift_max) == wanted
        for key in ("schedule", "shift"):
            kind = getattr(found, key)
            assert (kind and kind.kind) == switches.get(key)
    moved = {"kind": "cosine", "oscillations": 2, "update_every": "epoch"}
    found = cell(tmp_path, {"methods.base.schedule": moved})
    assert found.schedule.model_dump() == moved
    margin = cell(tmp_path, {}, "mmts")
    assert (margin.alpha, margin.shift_min, margin.shift_max) == (0.1, 0.1, 0.3)


def test_auto_follows_from_fixed_of_the_cell(tmp_path: Path) -> None:
    auto = dict.fromkeys(("alpha", "shift_min", "shift_max"), "auto")
    both = {"methods.base.schedule": "cosine", "methods.base.shift": "linear"}
    for where, fixed in (
        ({NUMBERS: auto}, 0.07),  # the default of `fixed`
        ({NUMBERS: {}}, 0.07),  # of a dataset that says nothing
        ({NUMBERS: {**auto, "fixed": 0.04}}, 0.04),
        ({"methods.base.temperature": auto}, 0.07),
        ({"methods.base.temperature": {**auto, "fixed": 0.1}}, 0.1),
        ({"methods.base.temperature": auto, f"{NUMBERS}.fixed": 0.2}, 0.2),
        (
            {
                "methods.base.temperature": auto,
                "methods.base.per_dataset": {"tiny": {"temperature": {"fixed": 0.3}}},
            },
            0.3,
        ),
    ):
        found = cell(tmp_path, {**both, **where})
        wanted = (fixed, 0.75 * fixed, 1.25 * fixed)
        assert (found.alpha, found.shift_min, found.shift_max) == pytest.approx(wanted)
    one = cell(tmp_path, {**both, f"{NUMBERS}.shift_max": "auto"})
    assert (one.alpha, one.shift_min) == (0.06, 0.05)
    assert one.shift_max == pytest.approx(0.0875)


# --- merging -----------------------------------------------------------------------------------


RATE = "train.learning_rate"


def other(**more: Any) -> dict[str, Any]:
    """A dataset that builds on tiny, and is the one of the grid."""
    return {"datasets.other": {"base": "tiny", **more}, "grid.datasets": ["other"]}


def test_the_last_layer_wins(tmp_path: Path) -> None:
    """class default < base < dataset < method < per_dataset"""
    both = {"methods.base.schedule": "cosine"}
    key = "temperature"
    layers: list[tuple[dict[str, Any], float]] = [
        ({f"{TINY}.{key}": {}}, 0.07),
        ({f"{TINY}.{key}.alpha": 0.01}, 0.01),
        ({f"datasets.other.{key}": {"alpha": 0.02}}, 0.02),
        ({f"methods.base.{key}": {"alpha": 0.03}}, 0.03),
        ({"methods.base.per_dataset": {"other": {key: {"alpha": 0.04}}}}, 0.04),
    ]
    changes = {**both, **other()}
    for layer, alpha in layers:
        changes |= layer
        assert cell(tmp_path, changes, name="other").alpha == pytest.approx(alpha)


def test_an_error_names_the_layer_that_said_the_value(tmp_path: Path) -> None:
    changes = {**other(), "methods.base.schedule": "cosine"}
    places = (
        f"{TINY}.temperature.alpha",
        "datasets.other.temperature.alpha",
        "methods.base.temperature.alpha",
        "methods.base.per_dataset.other.temperature.alpha",
    )
    for place in places:
        for value, said in (("x", "'x'"), (-1.0, "-1.0")):
            found = refusal(tmp_path, {**changes, place: value})
            assert found.startswith(f"{place} is {said}; write a number")
    swapped = {**changes, "methods.base.shift": "log", f"{TINY}.temperature.shift_max": 0.01}
    found = refusal(tmp_path, {**swapped, "grid.methods": ["base"]})
    assert found.startswith(
        "datasets.other.temperature with methods.base: shift_min 0.05 is above shift_max 0.01; "
    )
    for place in (f"{TINY}.{RATE}", f"datasets.other.{RATE}"):
        assert refusal(tmp_path, {**changes, place: -1.0}).startswith(f"{place} is -1.0; ")


def test_maps_merge_at_any_depth(tmp_path: Path) -> None:
    head = {"dropout": 0.3}
    found = dataset(tmp_path, other(train={"head": head}, towers={"vision": {"image_size": 64}}),
                    "other")  # fmt: skip
    tiny = dataset(tmp_path, {})
    assert tiny.train.head is not None
    assert found.train.head == tiny.train.head.model_copy(update=head)
    assert found.towers.vision == tiny.towers.vision.model_copy(update={"image_size": 64})
    assert found.train == tiny.train.model_copy(update={"head": found.train.head})
    assert found.captions == tiny.captions and found.clusterings == tiny.clusterings
    more = {"clusterings": {"more": {"kind": "kmeans", "k": 3}, "default": {"k": 5}}}
    clusterings = dataset(tmp_path, other(**more), "other").clusterings
    assert list(clusterings) == ["default", "kinds", "more"] and clusterings["default"].k == 5


def test_lists_replace(tmp_path: Path) -> None:
    parts = {f"{TINY}.towers.frozen_parts": ["a", "b"]}
    found = dataset(tmp_path, {**parts, **other(towers={"frozen_parts": ["c"]})}, "other")
    assert found.towers.frozen_parts == ("c",)


def test_sources_replace(tmp_path: Path) -> None:
    flickr = {"captions": {"sources": {"flickr8k": {"kind": "flickr8k"}}, "max_bad_share": 0.1}}
    found = dataset(tmp_path, other(**flickr), "other").captions
    assert list(found.sources) == ["flickr8k"]
    table = {"captions": {"sources": {"pairs": {"kind": "table"}}}}
    lines = told(tmp_path, other(**table))  # not the path of the base's table either
    assert lines == ["datasets.other.captions.sources.pairs.path is missing; add it"]


def test_another_kind_replaces(tmp_path: Path) -> None:
    column = {"clusterings": {"default": {"kind": "column", "column": "kind"}}}
    found = dataset(tmp_path, other(**column), "other").clusterings["default"]
    assert found.model_dump() == {"kind": "column", "column": "kind"}
    again = {"clusterings": {"default": {"kind": "kmeans", "seed": 3}}}
    found = dataset(tmp_path, other(**again), "other").clusterings["default"]
    assert (found.k, found.seed) == (4, 3)  # the same kind merges
    base = {"methods.base.objective": {"kind": "siglip", "bias": -3.0}}
    for own, wanted in (
        ({"bias": -4.0}, {"kind": "siglip", "bias": -4.0}),
        ("siglip", {"kind": "siglip", "bias": -3.0}),
        ("max_margin", {"kind": "max_margin"}),
    ):
        exception = {"methods.base.per_dataset": {"tiny": {"objective": own}}}
        assert cell(tmp_path, {**base, **exception}).objective.model_dump() == wanted


def test_another_name_replaces(tmp_path: Path) -> None:
    changes = other(towers={"vision": {"name": "resnet", "weights": "random", "frozen": False}})
    found = refusal(tmp_path, changes)  # image_size was that of another tower
    assert found == "datasets.other.towers.vision.image_size is missing; add it"


def test_null_takes_away_what_was_said_before(tmp_path: Path) -> None:
    found = dataset(tmp_path, other(train={"batch_size": None, "head": None}), "other").train
    assert found.batch_size == Train().batch_size and found.head == Train().head
    assert found.epochs == 2
    assert dataset(tmp_path, other(train={"head": False}), "other").train.head is None
    found = dataset(
        tmp_path, other(clusterings={"kinds": None}) | {"grid.methods": ["base"]}, "other"
    )
    assert list(found.clusterings) == ["default"]
    changes = {f"{TINY}.train.checkpoint": {"every_steps": 3, "every_minutes": None}}
    found = dataset(tmp_path, changes).train.checkpoint  # in a mapping that replaces, too
    assert (found.every_steps, found.every_minutes) == (3, 10.0)
    images = {"kind": "flickr30k", "images": None}  # but a source is as it stands
    found = dataset(tmp_path, other(captions={"sources": {"a": images}}), "other").captions
    assert found.sources["a"].images is None
    assert dataset(tmp_path, other(train=None), "other").train == Train()
    assert dataset(tmp_path, other(margin=None), "other").margin.fixed == 0.2
    exception = {"tiny": {"schedule": None, "shift": None}}
    found = cell(tmp_path, {"methods.mmts.per_dataset": exception}, "mmts")
    assert (found.alpha, found.shift_min, found.shift_max) == (0, 0.2, 0.2)
    lines = told(tmp_path, other(captions={"sources": None}))
    assert lines == ["datasets.other.captions.sources is missing; add it"]


def test_a_dataset_that_says_nothing_has_the_defaults(tmp_path: Path) -> None:
    source = {"kind": "table", "path": "x.csv"}
    own = {"datasets.tiny": {"captions": {"sources": {"a": source}}}, "methods.mmts": ...,
           "grid.methods": ["base"]}  # fmt: skip
    found = dataset(tmp_path, own)
    wanted = Dataset.model_validate({"captions": {"sources": {"a": source}}})
    assert found == wanted and found.clusterings["default"].k == 50
    k = dataset(tmp_path, {**own, "datasets.tiny.clusterings": {"default": {"k": 7}}})
    assert k.clusterings["default"].model_dump() == {
        **found.clusterings["default"].model_dump(), "k": 7,
    }  # fmt: skip


def test_bases_of_bases(tmp_path: Path) -> None:
    changes = {
        "datasets.second": {"base": "tiny", "train": {"epochs": 3, "batch_size": 4}},
        "datasets.third": {"base": "second", "train": {"epochs": 4}},
    }
    train = dataset(tmp_path, changes, "third").train
    assert (train.epochs, train.batch_size, train.log_every) == (4, 4, 1)
    changes["datasets.second"]["train"]["epochs"] = "x"
    place = "datasets.second.train.epochs is 'x'; "
    assert refusal(tmp_path, changes).startswith(place)  # third has a value of its own
    del changes["datasets.third"]["train"]
    assert refusal(tmp_path, changes).startswith(place)  # told once


def test_a_method_builds_on_another(tmp_path: Path) -> None:
    """method that `base` names < its per_dataset < method < per_dataset"""
    changes = {
        "methods.mmts.margin": {"alpha": 0.02, "shift_min": 0.03},
        "methods.mmts.per_dataset": {"tiny": {"margin": {"shift_min": 0.04}, "shift": "log"}},
        "methods.low": {"base": "mmts", "margin": {"alpha": 0.01}},
    }
    low = cell(tmp_path, changes, "low")
    built = cell(tmp_path, changes, "mmts")
    assert low == built.model_copy(update={"alpha": 0.01}) and low != built
    assert (low.shift_min, low.shift.kind, low.schedule.kind) == (0.04, "log", "cosine")
    lower = {**changes, "methods.lower": {"base": "low", "shift": "rank"}}
    assert cell(tmp_path, lower, "lower") == low.model_copy(
        update={"shift": cell(tmp_path, lower, "lower").shift}
    )
    plain = {**changes, "methods.plain": {"base": "low", "margin": None}}
    assert cell(tmp_path, plain, "plain").alpha == cell(tmp_path, {}, "mmts").alpha
    assert refusal(tmp_path, {**changes, "methods.mmts.schedule": "sine"}).startswith(
        "methods.mmts.schedule is 'sine'"
    )


@pytest.mark.parametrize(
    ("base", "said"),
    [
        ("low", "methods.low.base is low, which builds on low itself: a circle"),
        ("mmtz", "methods.low.base is 'mmtz'; did you mean mmts?"),
        (3, "methods.low.base is 3; "),
    ],
)
def test_a_method_on_itself_or_on_none_is_refused(tmp_path: Path, base: Any, said: str) -> None:
    assert refusal(tmp_path, {"methods.low": {"base": base}}).startswith(said)


def test_circles_and_unknown_bases_are_refused(tmp_path: Path) -> None:
    found = refusal(tmp_path, {f"{TINY}.base": "tiny"})
    assert found == f"{TINY}.base is tiny, which builds on tiny itself: a circle"
    lines = told(
        tmp_path,
        {f"{TINY}.base": "b", "datasets.b": {"base": "c"}, "datasets.c": {"base": "tiny"}},
    )
    assert lines and all(line.endswith(": a circle") for line in lines)
    found = refusal(tmp_path, {f"{TINY}.base": "tony", "datasets.toni": PARAMS["datasets"]["tiny"]})
    assert found == f"{TINY}.base is 'tony'; did you mean toni? there are: tiny, toni"
    for odd in (3, ["tiny"], {}, True):
        assert refusal(tmp_path, {f"{TINY}.base": odd}).startswith(f"{TINY}.base is ")


def test_a_base_that_is_wrong_itself_is_told_once(tmp_path: Path) -> None:
    more = {"datasets.other": {"base": "tiny"}, "methods.base.per_dataset": {"tiny": {}}}
    assert refusal(tmp_path, {**more, TINY: 3}).startswith(f"{TINY} is 3; ")


def test_sections_and_entries_that_are_no_mappings(tmp_path: Path) -> None:
    for key in ("grid", "datasets", "methods", "report", TINY, "methods.base", NUMBERS,
                f"{TINY}.train", f"{TINY}.clusterings.default", "methods.base.temperature",
                "methods.base.per_dataset", "methods.base.per_dataset.tiny"):  # fmt: skip
        for odd in ([1], "x", 3, True, []):
            lines = told(tmp_path, {key: odd})
            assert len(lines) == 1 and lines[0].startswith(f"{key} is "), (odd, lines)


# --- all mistakes at once ----------------------------------------------------------------------


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    own = {"captions": {"sources": {"a": {"kind": "flickr8k", "limit": 0}}}, "pack": {"quality": 0}}
    lines = told(
        tmp_path,
        {
            f"{TINY}.train.epochs": 0,
            f"{TINY}.train.lr": 1,
            "datasets.other": own,
            "datasets.circle": {"base": "circle"},
            "report": {"bootstrap": 1},
            "methods.more": {"objective": "sogcrl"},
            "methods.mmts.per_dataset": {"tinny": {}, "tiny": {"shift": "big"}},
            "methods.base.margin": {"fixed": 0.1},
            "methods.base.per_dataset": {"tiny": {"schedule": "sine"}},
        },
    )
    starts = [
        "report.bootstrap is 1; ",
        f"{TINY}.train.lr is not a setting; ",
        f"{TINY}.train.epochs is 0; ",
        "datasets.other.captions.sources.a.limit is 0; ",
        "datasets.other.pack.quality is 0; ",
        "datasets.circle.base is circle, which builds on circle itself: a circle",
        "methods.base: margin is set, but ",
        "methods.base.per_dataset.tiny.schedule is 'sine'; ",
        "methods.mmts.per_dataset names tinny; did you mean tiny?",
        "methods.mmts.per_dataset.tiny.shift is 'big'; ",
        "methods.more.objective is 'sogcrl'; ",
    ]
    assert len(lines) == len(starts), lines
    assert all(line.startswith(start) for line, start in zip(lines, starts, strict=True)), lines


def test_names_of_the_grid_that_are_none(tmp_path: Path) -> None:
    lines = told(
        tmp_path,
        {
            "grid.datasets": ["tiny", "nope"],
            "grid.methods": ["base", "mmts", "bsae"],
            f"{TINY}.train.epochs": 0,
        },
    )
    starts = ["grid.datasets names nope; there are: tiny", "grid.methods names bsae; did you mean",
              f"{TINY}.train.epochs is 0; "]  # fmt: skip
    assert len(lines) == 3
    assert all(line.startswith(start) for line, start in zip(lines, starts, strict=True)), lines


def test_each_mistake_is_told_once(tmp_path: Path) -> None:
    more = {f"d{n}": {"base": "tiny"} for n in range(3)}
    changes = {f"datasets.{name}": entry for name, entry in more.items()}
    exceptions = {"methods.base.per_dataset": {name: {"shift": "log"} for name in more}}
    for key in (f"{TINY}.train.epochs", f"{NUMBERS}.alpha", "methods.base.temperature.alpha"):
        assert refusal(tmp_path, {**changes, **exceptions, key: -1}).startswith(f"{key} is -1")


def test_of_many_mistakes_twenty_are_told_and_counted(tmp_path: Path) -> None:
    for many in (SHOWN, SHOWN + 1, SHOWN + 30):
        wrong = {f"{TINY}.train.x{n}": 1 for n in range(many)}
        with pytest.raises(Mistakes) as caught:
            read(tmp_path, wrong)
        *lines, last = caught.value.lines
        if many == SHOWN:
            assert len(lines) + 1 == SHOWN and last.startswith(str(tmp_path))
        else:
            assert (len(lines), last) == (SHOWN, f"and {many - SHOWN} more mistakes")
        assert len(set(lines)) == len(lines)


# --- outside of the grid -----------------------------------------------------------------------


def test_mistakes_outside_of_the_grid_are_told(tmp_path: Path) -> None:
    tiny = PARAMS["datasets"]["tiny"]
    found = refusal(tmp_path, {"datasets.other": changed(tiny, {"pack.shard_size": 0})})
    assert found.startswith("datasets.other.pack.shard_size is 0")
    found = refusal(tmp_path, {"datasets.other": changed(tiny, {"temperature.alpha": -1})})
    assert found.startswith("datasets.other.temperature.alpha is -1")
    method = {"objective": "info_nce", "temperature": {"alpha": -1}}
    found = refusal(tmp_path, {"methods.other": method})
    assert found.startswith("methods.other.temperature.alpha is -1")
    found = refusal(tmp_path, {"methods.other": {"objective": "info_nce", "shcedule": "cosine"}})
    assert found.startswith("methods.other.shcedule is not a setting; did you mean schedule?")


def test_a_cell_outside_of_the_grid_that_cannot_be_is_left_out(tmp_path: Path) -> None:
    verbs = {"objective": "info_nce", "clustering": "verbs"}
    config = read(tmp_path, {"methods.verbs": verbs})
    said = f"methods.verbs.clustering names verbs, which {TINY}.clusterings lacks; "
    assert set(config.cells) == {("tiny", "base"), ("tiny", "mmts")}
    assert said in config.left_out["tiny", "verbs"]
    with pytest.raises(InputError, match=re.escape(said)):
        config.cell("tiny", "verbs")
    found = refusal(tmp_path, {"methods.verbs": verbs, "grid.methods": ["base", "verbs"]})
    assert found == f"{said}there are: default, kinds"
    both = {"shift": "default", "relevancy": ["kinds", "kidns"]}
    found = refusal(tmp_path, {"methods.base.clustering": both})
    assert found.startswith("methods.base.clustering names kidns") and "did you mean kinds" in found
    low = {"objective": "info_nce", "schedule": "cosine", "temperature": {"alpha": 0.2}}
    config = read(tmp_path, {"methods.low": low})
    assert "a temperature must stay above 0" in config.left_out["tiny", "low"]
    found = refusal(tmp_path, {"methods.low": low, "grid.methods": ["low"]})
    assert found.startswith(f"{NUMBERS} with methods.low: shift_min - alpha/2 is ")


# --- a params.yaml of the first edition --------------------------------------------------------

FIRST = """\
grid: {datasets: [tiny], methods: [base], seeds: [0]}
methods:
  base:
    objective: info_nce
    modulator: scheduled
    tau_default: 0.07
    alpha: 0.06
    oscillations: 5
    update_every: step
    shift_min: 0.05
    shift_max: 0.09
    shift_mapping: linear
    clustering: default
    per_dataset: {tiny: {shift_max: 0.08}}
datasets:
  tiny:
    captions: {sources: {pairs: {kind: table, path: x.csv}}, max_bad_share: 0.0}
    methods:
      base: {alpha: 0.04}
report: {}
"""


def test_keys_of_the_first_edition_are_answered_with_their_new_place(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(FIRST, encoding="utf-8")
    with pytest.raises(Mistakes) as caught:
        load(path)
    found = {line.removeprefix(f"{path}: ") for line in caught.value.lines}
    numbers = "datasets.NAME.temperature (of max_margin: margin)"
    base = "methods.base"
    stands = f"is not a setting; it now stands in {numbers}, and a method that uses it says"
    schedule = "is not a setting; it now stands in the method's `schedule`, such as {kind: cosine, "
    assert found == {
        "datasets.tiny.methods is not a setting; its numbers now stand once for all methods in "
        f"{numbers}, and an exception for one method in methods.NAME.per_dataset",
        f"{base}.per_dataset.tiny.shift_max {stands} `shift: linear`",
        f"{base}.tau_default is not a setting; it is now `fixed` in {numbers}",
        f"{base}.alpha {stands} `schedule: cosine`",
        f"{base}.shift_min {stands} `shift: linear`",
        f"{base}.shift_max {stands} `shift: linear`",
        f"{base}.shift_mapping is not a setting; it is now the method's `shift`: linear, log or "
        "rank",
        f"{base}.oscillations {schedule}oscillations: 5}}",
        f"{base}.update_every {schedule}oscillations: 5}}",
    }


# --- the project's own file --------------------------------------------------------------------

PAPER = {  # section 7: alpha, lowest and highest shift; 4.3: the baseline of CC3M
    ("cc3m", "info_nce_mmts"): (0.04, 0.05, 0.10),
    ("cc3m", "info_nce"): (0.0, 0.01, 0.01),
    ("ek100", "max_margin_mmts"): (0.20, 0.17, 0.30),
    ("ek100", "info_nce_mmts"): (0.08, 0.05, 0.20),
}
OURS = {
    ("cc3m", "info_nce_ts"): (0.04, 0.075, 0.075),  # the middle of the paper's shifts
    ("cc3m", "info_nce_ts_epoch"): (0.04, 0.075, 0.075),
    ("cc3m", "info_nce_ics"): (0.0, 0.05, 0.10),
    ("cc3m", "info_nce_log"): (0.04, 0.05, 0.10),
    ("cc3m", "info_nce_auto"): (0.01, 0.0075, 0.0125),
    ("cc3m", "clip"): (0.0, 0.07, 0.07),
    ("cc3m", "siglip"): (0.0, 0.1, 0.1),
    ("cc3m", "cyclip"): (0.0, 0.07, 0.07),
    ("cc3m", "sogclr"): (0.0, 0.01, 0.01),
    ("cc3m", "isogclr"): (0.0, 0.01, 0.01),
    ("cc3m", "arctanh"): (0.0, 1.0, 1.0),
    ("ek100", "max_margin"): (0.0, 0.2, 0.2),
    ("ek100", "max_margin_ts"): (0.2, 0.2, 0.2),
    ("ek100", "max_margin_ics"): (0.0, 0.17, 0.30),
    ("ek100", "max_margin_mmts_verb"): (0.2, 0.17, 0.30),
    ("ek100", "max_margin_mmts_verb_noun"): (0.2, 0.17, 0.30),
    ("ek100", "max_margin_auto"): (0.2, 0.15, 0.25),
    ("ek100", "info_nce"): (0.0, 0.07, 0.07),
    ("ek100", "info_nce_ts"): (0.08, 0.07, 0.07),
    ("ek100", "info_nce_ics"): (0.0, 0.05, 0.20),
    ("openmoji", "info_nce"): (0.0, 0.07, 0.07),
    ("openmoji", "info_nce_mmts"): (0.06, 0.05, 0.09),
    ("flickr8k", "info_nce_mmts"): (0.04, 0.03, 0.05),
    ("flickr8k_trained", "info_nce_mmts"): (0.04, 0.03, 0.05),
    ("my_pairs", "max_margin_mmts"): (0.2, 0.15, 0.25),
}


@pytest.fixture(scope="module")
def own() -> Any:
    return load(ROOT / "params.yaml")


@pytest.mark.parametrize("where", PAPER | OURS)
def test_the_numbers_of_params_yaml(own: Any, where: tuple[str, str]) -> None:
    found = own.cell(*where)
    numbers = (found.alpha, found.shift_min, found.shift_max)
    assert numbers == pytest.approx((PAPER | OURS)[where], rel=1e-12)
    assert (found.alpha > 0) == (found.schedule is not None)
    if found.schedule is not None:
        assert found.schedule.oscillations == 5.0
        assert found.schedule.paper == (where[1] != "info_nce_ts_epoch")


def test_the_methods_of_params_yaml(own: Any) -> None:
    for switch, wanted in (("log", "log"), ("rank", "rank"), ("mmts", "linear")):
        assert own.cell("cc3m", f"info_nce_{switch}").shift.kind == wanted
    for name, clustering in (("mmts", "default"), ("mmts_verb", "verb"),
                             ("mmts_verb_noun", "verb_noun")):  # fmt: skip
        assert own.cell("ek100", f"max_margin_{name}").clustering.shift == clustering
    assert own.cell("ek100", "max_margin_relevant").clustering.relevancy == ("verb", "default")
    assert own.cell("cc3m", "isogclr").objective.model_dump() == {
        "kind": "sogclr", "gamma": 0.8, "rho": 6.0, "floor": 1e-14,
    }  # fmt: skip
    isogclr, tempnet = own.cell("cc3m", "isogclr").modulator, own.cell("cc3m", "tempnet").modulator
    assert (isogclr.learning_rate, isogclr.tau_min, isogclr.tau_max) == (0.03, 0.005, 1.0)
    assert (tempnet.learning_rate, tempnet.tau_min, tempnet.tau_max) == (3e-5, 0.005, 0.05)
    assert own.cell("cc3m", "tempnet").objective.rho == 7.0
    assert own.cell("flickr8k", "sogclr").objective.gamma == 0.9


def test_the_recipes_of_the_paper(own: Any) -> None:
    cc3m, ek100 = own.datasets["cc3m"], own.datasets["ek100"]
    assert (cc3m.train.epochs, cc3m.train.batch_size, cc3m.clusterings["default"].k) == (
        30, 512, 200,
    )  # fmt: skip
    assert (ek100.train.epochs, ek100.train.head, ek100.train.positive_relevancy) == (
        100, None, 0.1,
    )  # fmt: skip
    assert {name: c.column for name, c in ek100.clusterings.items()} == {
        "default": "noun", "verb": "verb", "verb_noun": "verb_noun",
    }  # fmt: skip
    youcook2 = own.datasets["youcook2"]
    assert (youcook2.train.epochs, youcook2.train.batch_size, youcook2.train.schedule) == (
        30, 64, "linear",
    )  # fmt: skip
    assert youcook2.train.learning_rates == (("vision.*", 5e-7),)
    for name, method, low, high in (
        ("youcook2", "vast_mmts", 0.03, 0.12), ("youcook2", "vast_margin_mmts", 0.0, 0.4),
        ("ssv2_lt", "vast_mmts", 0.02, 0.12), ("ssv2_lt", "vast_mmts_05_09_a08", 0.01, 0.13),
        ("ssv2_lt", "vast_mmts_07_11_a02", 0.06, 0.12),
    ):  # fmt: skip
        found = own.cell(name, method)
        half = found.alpha / 2
        assert (found.shift_min - half, found.shift_max + half) == pytest.approx((low, high))
    trained = own.datasets["flickr8k_trained"]
    assert (
        list(trained.captions.sources) == ["flickr8k"] and trained.clusterings["default"].k == 200
    )


def test_every_cell_of_params_yaml_is_sound_or_known_not_to_be(own: Any) -> None:
    """What needs the classes of EPIC-KITCHENS-100, or a model that matches, is for it alone."""
    verbs = {"max_margin_mmts_verb", "max_margin_mmts_verb_noun"}
    methods = {method for _, method in (*own.cells, *own.left_out)}
    matching = {method for method in methods if method.startswith("vast")}
    lacking = {
        **dict.fromkeys(own.datasets, verbs | matching),
        "ek100": matching,
        "youcook2": methods - matching,  # re-ranks by matching
        "ssv2_lt": verbs,
    }
    wanted = {(name, method) for name, of in lacking.items() for method in of}
    assert set(own.left_out) == wanted
    assert set(own.datasets) == {
        "openmoji", "flickr8k", "flickr8k_trained", "my_pairs", "cc3m", "ek100", "youcook2",
        "ssv2_lt",
    }  # fmt: skip
    assert len(matching) == 22 and len(methods) == 45


def test_an_own_dataset_takes_fifteen_lines() -> None:
    lines = (ROOT / "params.yaml").read_text(encoding="utf-8").splitlines()
    begin = lines.index("  my_pairs:")
    entry = [line for line in lines[begin:] if line.strip()]
    end = next(n for n, line in enumerate(entry[1:], 1) if not line.startswith("    "))
    assert 5 < end <= 15, entry[:end]
    assert read_params(ROOT / "params.yaml")["datasets"]["my_pairs"]["captions"]


def test_null_in_a_method_takes_away_the_number_of_the_dataset() -> None:
    tree = changed(PARAMS, {"methods.mmts.margin": {"alpha": None}})
    assert resolved(tree).cell("tiny", "mmts").alpha == 0.2  # auto: fixed
    tree = changed(PARAMS, {"methods.mmts.per_dataset": {"tiny": {"margin": {"fixed": None}}}})
    tree = changed(tree, {"datasets.tiny.margin.alpha": "auto", "datasets.tiny.margin.fixed": 0.3})
    assert resolved(tree).cell("tiny", "mmts").alpha == 0.2


OMNI: dict[str, Any] = {
    "train": {"head": False},
    "model": {"kind": "omni", "weights": "random", "streams": ["vision"]},
    "towers": {
        "vision": {
            "name": "eva_clip", "weights": "random", "shape": "tiny", "image_size": 32,
            "clip_length": 2, "frozen": False,
        },
        "text": {"name": "bert", "weights": "random", "shape": "tiny", "frozen": False},
    },
}  # fmt: skip


def test_a_term_that_needs_a_model_that_matches(tmp_path: Path) -> None:
    terms = {"methods.base.terms": {"matching": 0.1}}
    assert refusal(tmp_path, terms) == (
        "methods.base.terms.matching asks the model to match, but datasets.tiny.model is "
        "two_tower, which cannot; set it to another, such as omni, or leave out the term"
    )
    fine = {**terms, "methods.base.terms": {"matching": {"weight": 0.2}}}
    assert cell(tmp_path, {**fine, **other(**OMNI)}, name="other").terms["matching"].weight == 0.2
    parts = other(**{**OMNI, "train": {"head": False, "micro_batch_size": 4}})
    assert refusal(tmp_path, {**terms, **parts}) == (
        "methods.base.terms.matching asks the model to match, but "
        "datasets.other.train.micro_batch_size is 4, and the gradient of a match does not go in "
        "parts; set it to null"
    )
    margin = {**terms, **other(**OMNI), "methods.base.objective": "max_margin"}
    assert "terms.matching.tau is null, for the temperature of the method, but the obj" in refusal(
        tmp_path, margin
    )


def test_learning_rates_of_parts(tmp_path: Path) -> None:
    rates = {"vision.b*": 1, "vision.*": 5e-7}
    train = dataset(tmp_path, {f"{TINY}.train.learning_rates": rates}).train
    assert train.learning_rates == (("vision.b*", 1.0), ("vision.*", 5e-7))
    assert dataset(tmp_path, {}).train.learning_rates == ()
    for given, said in (
        ({"vision.*": 0}, ": vision.* is 0; a learning rate is a number above 0"),
        ({"vision.*": True}, ": vision.* is True; a learning rate is a number above 0"),
        ({"vision.*": "fast"}, ": vision.* is 'fast'; a learning rate is a number above 0"),
        (1e-3, " is 0.001; write a mapping of names' patterns to learning rates"),
        (["vision.*"], " is ['vision.*']; write a mapping of names' patterns to learning rates"),
    ):
        line = refusal(tmp_path, {f"{TINY}.train.learning_rates": given})
        assert line == f"{TINY}.train.learning_rates{said}"
