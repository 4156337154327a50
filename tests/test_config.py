import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from mmts.config import (
    STAGES,
    CaptionsStage,
    ClusterStage,
    EmbedStage,
    ReportStage,
    ShiftStage,
    StageSettings,
    TrainStage,
    check,
    load,
)
from mmts.errors import InputError
from mmts.params import read_params
from mmts.settings.training import Augment
from tests.making import PARAMS, changed, write_params

ROOT = Path(__file__).parent.parent
TINY = "datasets.tiny"
SOURCE = f"{TINY}.captions.sources.pairs"
OBJECTIVE = "methods.base.objective"
FLICKR = {"kind": "flickr8k", "limit": 5}


def read(
    stage: type[StageSettings], folder: Path, changes: dict[str, Any], method: str = "base"
) -> Any:
    path = write_params(folder / "params.yaml", PARAMS, changes)
    return load(stage, path, dataset="tiny", method=method)


def refusal(stage: type[StageSettings], folder: Path, changes: dict[str, Any], **more: str) -> str:
    with pytest.raises(InputError) as caught:
        read(stage, folder, changes, **more)
    message = str(caught.value)
    assert message.startswith(f"{folder / 'params.yaml'}: ") and "\n" not in message
    return message.removeprefix(f"{folder / 'params.yaml'}: ")


def test_every_stage_loads(tmp_path: Path) -> None:
    for stage in STAGES.values():
        read(stage, tmp_path, {})
    settings = read(TrainStage, tmp_path, {})
    assert settings.train.batch_size == 8 and settings.train.learning_rate == 1e-3
    assert settings.method.objective.kind == "info_nce" and settings.towers.vision.frozen
    assert read(CaptionsStage, tmp_path, {}).captions.sources["pairs"].path == "pairs.csv"


def test_settings_are_frozen(tmp_path: Path) -> None:
    settings = read(TrainStage, tmp_path, {})
    with pytest.raises(ValidationError, match="frozen"):
        settings.train.epochs = 3


@pytest.mark.parametrize(
    ("stage", "key", "value", "message"),
    [
        # wrong types
        (CaptionsStage, f"{SOURCE}.path", 5, "is 5; it should be a valid string"),
        (CaptionsStage, f"{SOURCE}.class_columns", "kind", "is 'kind'; it should be a list"),
        (TrainStage, f"{TINY}.train.head", 3, "is 3; it should be a mapping of"),
        (TrainStage, "methods.base.alpha", "0.1", "is '0.1'; write a number, or auto"),
        (ShiftStage, "methods.base.shift_min", None, "is null; it should be a valid number"),
        # out of range
        (CaptionsStage, f"{TINY}.captions.max_bad_share", 1.0, "is 1.0; it should be less than 1"),
        (CaptionsStage, f"{TINY}.captions.sources", {}, "at least 1 item"),
        (EmbedStage, f"{TINY}.towers.vision.name", "resnet50", "is 'resnet50'; .*'small_cnn'"),
        (TrainStage, f"{TINY}.train.augment", {"magnitude": 9}, "magnitude is 9 but ops is 0"),
        (TrainStage, f"{TINY}.train.augment", {"crop_area": [0.5]}, r"\.1 is missing; add it"),
        (TrainStage, f"{TINY}.train.augment", {"crop_area": [0.9, 0.5]}, "begins at 0.9, above"),
        (TrainStage, OBJECTIVE, "sogcrl", r"is sogcrl; did you mean sogclr\?"),
        (TrainStage, OBJECTIVE, {}, r"\.kind is missing; there are: info_nce"),
        (TrainStage, "methods.base.modulator", {"kind": "tempnt"}, r"\.kind is tempnt; did you me"),
        (TrainStage, OBJECTIVE, 3, "is 3; write a name, or a mapping with `kind`"),
        (TrainStage, "methods.base.tau_default", "auto", "is 'auto'; it should be a valid number"),
        (ShiftStage, "methods.base.clustering", "a b", "is 'a b'; it should be of letters, digi"),
        (ShiftStage, "methods.base.clustering", {"relevancy": []}, r"\.shift is missing; add it"),
        (ShiftStage, "methods.base.clustering", {"shift": "a", "relevancy": ["b", "b"]}, "twice"),
        # missing
        (CaptionsStage, f"{TINY}.captions", ..., "is missing; .*there are: embed"),
        (TrainStage, f"{TINY}.methods.base", ..., "is missing; there are: mmts"),
        (TrainStage, "methods.base", ..., "is missing; there are: mmts"),
        (ShiftStage, "methods.base.shift_max", ..., "is missing; did you mean shift_min"),
        (ReportStage, "grid", ..., "is missing"),
    ],
)  # fmt: skip
def test_the_key_is_named(
    tmp_path: Path, stage: type[StageSettings], key: str, value: Any, message: str
) -> None:
    found = refusal(stage, tmp_path, {key: value})
    assert found.startswith(key), found
    assert re.search(message, found), found


@pytest.mark.parametrize(
    ("stage", "key", "message"),
    [
        (CaptionsStage, f"{TINY}.captions.max_bad_shares", "did you mean max_bad_share?"),
        (CaptionsStage, f"{SOURCE}.caption_colum", "did you mean caption_column?"),
        (
            CaptionsStage,
            f"{SOURCE}.split.vall",
            "did you mean val? there are: train, val, test, seed",
        ),
        (EmbedStage, f"{TINY}.towers.vision.weight", "did you mean weights?"),
        (EmbedStage, f"{TINY}.towers.audio", "there are: vision, text"),
        (ClusterStage, f"{TINY}.clusterings.default.kk", "did you mean k?"),
        (ClusterStage, f"{TINY}.clusterings.kinds.colum", "did you mean column?"),
        (TrainStage, f"{TINY}.train.lerning_rate", "did you mean learning_rate?"),
        (TrainStage, f"{TINY}.train.head.hiden", "did you mean hidden?"),
        (TrainStage, "methods.base.alhpa", "did you mean alpha?"),
        (TrainStage, f"{TINY}.methods.base.alhpa", "did you mean alpha?"),
        (ShiftStage, f"{TINY}.methods.base.alhpa", "did you mean alpha?"),
        (ReportStage, "grid.seed", "did you mean seeds?"),
        (ReportStage, "report.boostrap", "did you mean bootstrap?"),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest(
    tmp_path: Path, stage: type[StageSettings], key: str, message: str
) -> None:
    found = refusal(stage, tmp_path, {key: 1})
    assert found.startswith(f"{key} is not a setting; ") and message in found


def test_an_unknown_key_comes_before_the_one_it_was_meant_to_be(tmp_path: Path) -> None:
    clustering = {"kind": "kmeans", "kk": 4}
    found = refusal(ClusterStage, tmp_path, {f"{TINY}.clusterings.default": clustering})
    assert found.startswith(f"{TINY}.clusterings.default.kk is not a setting")


def test_a_source_that_is_called_like_its_kind(tmp_path: Path) -> None:
    sources = {"table": {"kind": "table", "path": "x.csv", "limit": 0}}
    found = refusal(CaptionsStage, tmp_path, {f"{TINY}.captions.sources": sources})
    assert found.startswith(f"{TINY}.captions.sources.table.limit is 0")
    sources = {"flickr8k": {"kind": "flickr8k", "limt": 3}}
    found = refusal(CaptionsStage, tmp_path, {f"{TINY}.captions.sources": sources})
    assert found.startswith(f"{TINY}.captions.sources.flickr8k.limt is not a setting; did you mean")


def test_a_setting_that_is_called_like_its_kind(tmp_path: Path) -> None:
    key = f"{TINY}.clusterings.kinds.column"
    assert refusal(ClusterStage, tmp_path, {key: 5}).startswith(f"{key} is 5; ")


def test_an_unknown_kind_lists_those_that_exist(tmp_path: Path) -> None:
    found = refusal(CaptionsStage, tmp_path, {f"{SOURCE}.kind": "tabel"})
    assert found.startswith(f"{SOURCE}.kind is tabel; did you mean table? there are: ")
    assert all(kind in found for kind in ("openmoji", "table", "flickr8k"))
    found = refusal(ClusterStage, tmp_path, {f"{TINY}.clusterings.default.kind": ...})
    assert found == f"{TINY}.clusterings.default.kind is missing; there are: kmeans, column"


def test_a_name_that_is_short_for_a_mapping_is_named_as_it_stands(tmp_path: Path) -> None:
    found = refusal(ShiftStage, tmp_path, {"methods.base.clustering": "a b"})
    assert found.startswith("methods.base.clustering is 'a b'; ")
    found = refusal(ShiftStage, tmp_path, {"methods.base.clustering": {"shift": "a b"}})
    assert found.startswith("methods.base.clustering.shift is 'a b'; ")
    found = refusal(TrainStage, tmp_path, {OBJECTIVE: "siglib"})
    assert found.startswith(f"{OBJECTIVE} is siglib; did you mean siglip? there are: info_nce, ")


def test_a_dataset_or_method_that_does_not_exist(tmp_path: Path) -> None:
    path = write_params(tmp_path / "params.yaml", PARAMS)
    with pytest.raises(InputError, match=r"datasets\.tony is missing; did you mean tiny"):
        load(CaptionsStage, path, dataset="tony")
    with pytest.raises(InputError, match=r"methods\.nope is missing; there are: base, mmts"):
        load(TrainStage, path, dataset="tiny", method="nope")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({f"{SOURCE}.split": {"train": 0.9, "val": 0.1, "test": 0.1}}, "add up to 1"),
        ({f"{TINY}.train.min_learning_rate": 0.1}, "0.1 is above learning_rate 0.001"),
        ({f"{TINY}.towers.vision.weights": "random"}, "vision.weights is random and vision.frozen"),
        ({f"{TINY}.towers.text.frozen": False}, "a sentence tower cannot be trained"),
        ({f"{TINY}.clusterings": {"a": {"kind": "kmeans", "k": 2}}}, "no `default` clustering"),
        ({"grid.seeds": [1, 1]}, "names one twice"),
    ],
)  # fmt: skip
def test_settings_that_do_not_go_together(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    text = [refusal(s, tmp_path, changes) for s in STAGES.values() if reaches(s, tmp_path, changes)]
    assert text and all(message in found for found in text)
    assert all(found.startswith((TINY, "grid")) for found in text)


def reaches(stage: type[StageSettings], folder: Path, changes: dict[str, Any]) -> bool:
    try:
        read(stage, folder, changes)
    except InputError:
        return True
    return False


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
        ("vision", VIDEO | {"clip_length": None}, ": clip_length is missing; video_vit takes"),
        ("vision", VIDEO | {"clip_length": 0}, ".clip_length is 0; it should be greater than 0"),
        ("vision", VIDEO | {"frozen": True, "weights": "x"}, ": frozen is true; features of clips"),
        ("vision", VIDEO | {"shape": {}, "weights": "x"}, ": shape is set; it belongs to video"),
        ("vision", PICTURES | {"shape": {}}, ": shape is set; it belongs to video"),
        ("vision", VIDEO | {"name": "clip_frames"}, ": weights is random; clip_frames starts from"),
        ("vision", VIDEO | {"name": "clip_frames", "weights": "x", "drop_path": 0.1},
         ": drop_path is set; clip_frames has none: leave it out"),
        ("vision", VIDEO | {"name": "clip_frames", "weights": "x", "patch_dropout": 0.1},
         ": patch_dropout is set; clip_frames has none: leave it out"),
        ("vision", VIDEO | {"name": "divided_vit", "patch_dropout": 0.1},
         ": patch_dropout is set; divided_vit needs all patches: leave it out"),
        ("vision", PICTURES | {"clip_length": 4}, ": clip_length is set; small_cnn takes pictures"),
        ("vision", PICTURES | {"gradient_checkpointing": True},
         ": gradient_checkpointing is set; small_cnn has none: leave it out"),
        ("vision", PICTURES | {"drop_path": 0.1}, ": drop_path is set; small_cnn has none"),
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
                  "tokenizer": "x"}, ": tokenizer is set; it belongs to clip_text and distil"),
        ("text", {"name": "sentence", "weights": "x", "frozen": True, "shape": {}},
         ": shape is set; it belongs to clip_text and distilbert and "),
        ("text", {"name": "sentence", "weights": "x", "frozen": True,
                  "gradient_checkpointing": True}, ": gradient_checkpointing is set; it belongs"),
        ("vision", RESNET | {"weights": "x", "depth": 50}, ": depth is set; it belongs to resnet"),
        ("vision", PICTURES | {"depth": 50}, ": depth is set; it belongs to resnet"),
        ("vision", RESNET | {"depth": 49}, ".depth is 49; "),
        ("vision", RESNET | {"shape": {}}, ": shape is set; it belongs to video"),
        ("vision", RESNET | {"clip_length": 4}, ": clip_length is set; resnet takes pictures"),
        ("vision", RESNET | {"drop_path": 0.1}, ": drop_path is set; resnet has none"),
        ("vision", RESNET | {"name": "vit", "shape": {"dim": 9}}, ": shape.dim is set; the"),
        ("vision", RESNET | {"name": "vit", "image_size": 40},
         ": image_size 40 is no multiple of shape.patch_size 16; change one of them"),
        ("vision", RESNET | {"name": "clip_vision", "image_size": 40}, ": image_size 40 is no"),
        ("text", BERT | {"pooling": None}, ": pooling is missing; set it to cls or mean"),
        ("text", BERT | {"pooling": "max"}, ".pooling is "),
        ("text", BERT | {"weights": "x", "shape": {}}, ": shape is set; it belongs to `weights: r"),
        ("text", BERT | {"shape": {"dim": 9}}, ": shape.dim is set; the features of distilbert"),
        ("text", BERT | {"pooling": "cls"}, ": pooling is cls but a learned tokenizer has no [CLS"),
        ("text", BERT | {"shape": {"context": 9}, "max_tokens": 10},
         ": max_tokens 10 is above shape.context 9; lower it"),
        ("text", BERT | {"max_tokens": 3}, ".max_tokens is 3; "),
        ("vision", RESNET | {"name": "timm"}, ": model is missing; name a model of timm"),
        ("vision", RESNET | {"model": "x"}, ": model is set; it belongs to timm and open_clip"),
        ("text", CLIP_TEXT | {"model": "x"}, ": model is set; it belongs to timm and open_clip"),
        ("text", CLIP_TEXT | {"name": "open_clip", "model": "x"}, ": tokenizer is missing; open_c"),
        ("text", CLIP_TEXT | {"name": "open_clip", "tokenizer": "y"}, ": model is missing; name a"),
        ("text", CLIP_TEXT | {"name": "open_clip", "model": "x", "tokenizer": "y", "shape": {}},
         ": shape is set; that of open_clip follows from model: leave it out"),
        ("text", CLIP_TEXT | {"pooling": "cls"}, ": pooling is set; it belongs to distilbert"),
        ("text", {"name": "small_transformer", "weights": "x", "frozen": False},
         ": a small_transformer starts from `weights: random` and `frozen: false`"),
        ("text", {"name": "sentence", "weights": "x", "frozen": False},
         ": frozen is false; a sentence tower cannot be trained here"),
    ],
)  # fmt: skip
def test_towers_that_are_set_wrongly(
    tmp_path: Path, side: str, tower: dict[str, Any], message: str
) -> None:
    for stage in (EmbedStage, TrainStage):
        found = refusal(stage, tmp_path, {f"{TINY}.towers.{side}": tower})
        assert found.startswith(f"{TINY}.towers.{side}{message}"), found


def test_towers_of_videos(tmp_path: Path) -> None:
    more = {"drop_path": 0.1, "patch_dropout": 0.5, "gradient_checkpointing": True, "shape": {}}
    text = CLIP_TEXT | {"shape": {"context": 32}, "gradient_checkpointing": True}
    changes = {f"{TINY}.towers": {"vision": VIDEO | more, "text": text, "frozen_parts": ["text.*"]}}
    towers = read(TrainStage, tmp_path, changes).towers
    assert towers.vision.video and towers.vision.shape.width == 768
    assert towers.text.shape.context == 32 and towers.frozen_parts == ("text.*",)
    for name in ("divided_vit", "clip_frames"):
        vision = VIDEO | {"name": name, "weights": "x", "image_size": 50}
        towers = read(TrainStage, tmp_path, {f"{TINY}.towers.vision": vision}).towers
        assert towers.vision.video and towers.vision.clip_length == 4
    assert not read(TrainStage, tmp_path, {}).towers.vision.video


def test_towers_of_transformers(tmp_path: Path) -> None:
    bert = BERT | {"weights": "x", "pooling": "cls", "max_tokens": 30}
    for changes in ({"depth": 18}, {"name": "vit", "shape": {"patch_size": 8}},
                    {"name": "clip_vision"}, {"weights": "org/model", "frozen": True}):  # fmt: skip
        more = {"gradient_checkpointing": True}
        tree = {"vision": RESNET | more | changes, "text": bert | more}
        towers = read(TrainStage, tmp_path, {f"{TINY}.towers": tree}).towers
        assert not towers.vision.video and towers.text.max_tokens == 30
    for text in (bert, CLIP_TEXT | {"weights": "x", "tokenizer": "y"}):
        changes = {f"{TINY}.towers.text": text | {"frozen": True}}
        assert read(EmbedStage, tmp_path, changes).towers.text.frozen
        changes[f"{TINY}.towers.text"] |= {"weights": "random", "tokenizer": "y"}
        found = refusal(EmbedStage, tmp_path, changes)
        assert "text.weights is random and text.frozen is true" in found


def test_augmentation(tmp_path: Path) -> None:
    changes: dict[str, Any] = {f"{TINY}.towers.vision": PICTURES}
    numbers = {"crop_area": [0.3, 1], "ops": 2, "magnitude": 9}
    wanted = Augment(crop_area=(0.3, 1.0), ops=2, magnitude=9)
    for value, found in ((False, None), (True, Augment()), (numbers, wanted)):
        changes[f"{TINY}.train.augment"] = value
        assert read(TrainStage, tmp_path, changes).train.augment == found
    changes[f"{TINY}.towers.vision"] = VIDEO
    found = refusal(TrainStage, tmp_path, changes)
    assert "train.augment.ops is 2 but towers.vision.name is video_vit, and RandAugment" in found
    changes[f"{TINY}.train.augment"] = {"crop_area": [0.3, 1]}
    assert read(TrainStage, tmp_path, changes).train.augment.crop_area == (0.3, 1)


def test_temperature_stays_above_0_and_a_margin_may_reach_it(tmp_path: Path) -> None:
    for low in (0.03, 0.02):
        numbers = {"methods.base.alpha": 0.06, "methods.base.shift_min": low}
        found = refusal(TrainStage, tmp_path, numbers)
        assert found.startswith("methods.base: shift_min - alpha/2 is") and "above 0" in found
    read(TrainStage, tmp_path, {"methods.base.alpha": 0.06, "methods.base.shift_min": 0.0301})
    margin = {"methods.mmts.alpha": 0.2, "methods.mmts.shift_min": 0.1}
    assert read(TrainStage, tmp_path, margin, method="mmts").method.alpha == 0.2
    below = {"methods.mmts.alpha": 0.2, "methods.mmts.shift_min": 0.0999}
    assert "must not fall below 0" in refusal(TrainStage, tmp_path, below, method="mmts")
    swapped = refusal(TrainStage, tmp_path, {"methods.base.shift_min": 0.08})
    assert swapped.startswith("methods.base: shift_min 0.08 is above shift_max 0.07; raise")


def test_the_datasets_own_numbers_come_on_top(tmp_path: Path) -> None:
    own = {f"{TINY}.methods.base": {"shift_max": 0.2, "alpha": 0.04}}
    method = read(TrainStage, tmp_path, own).method
    assert (method.shift_min, method.shift_max, method.alpha) == (0.07, 0.2, 0.04)
    shift = read(ShiftStage, tmp_path, own)
    assert (shift.shift_min, shift.shift_max, shift.clustering.shift) == (0.07, 0.2, "default")
    assert read(ShiftStage, tmp_path, {}, method="mmts").clustering.shift == "kinds"
    key = f"{TINY}.methods.base.shift_max"
    for stage in (TrainStage, ShiftStage):
        assert refusal(stage, tmp_path, {key: "big"}).startswith(f"{key} is 'big'; ")
    for empty in (None, [], 3):
        found = refusal(TrainStage, tmp_path, {f"{TINY}.methods.base": empty})
        assert found == f"{TINY}.methods.base is {empty!r}; write {{}} for no difference"


def test_alpha_does_not_reach_the_shift_stage(tmp_path: Path) -> None:
    assert read(ShiftStage, tmp_path, {"methods.base.alpha": 9}).shift_min == 0.07


def test_auto_is_resolved_from_the_datasets_own_default(tmp_path: Path) -> None:
    auto = {f"methods.base.{name}": "auto" for name in ("alpha", "shift_min", "shift_max")}
    for own, default in (({}, 0.07), ({"tau_default": 0.04}, 0.04)):
        changes = {**auto, f"{TINY}.methods.base": own}
        method = read(TrainStage, tmp_path, changes).method
        found = (method.alpha, method.shift_min, method.shift_max)
        assert found == pytest.approx((default, 0.75 * default, 1.25 * default))
        shift = read(ShiftStage, tmp_path, changes)
        assert (shift.shift_min, shift.shift_max) == found[1:]
    assert method.auto == "auto: alpha 0.04, shift_min 0.03, shift_max 0.05 (tau_default 0.04)"
    assert shift.auto == "auto: shift_min 0.03, shift_max 0.05 (tau_default 0.04)"
    assert read(TrainStage, tmp_path, {}).method.auto == ""
    own = {**auto, f"{TINY}.methods.base": {"shift_min": 0.06}}
    assert read(ShiftStage, tmp_path, own).auto == "auto: shift_max 0.0875 (tau_default 0.07)"


def test_numbers_are_read_as_yaml_1_2(tmp_path: Path) -> None:
    text = json.dumps(PARAMS)
    assert '"learning_rate": 0.001' in text
    path = tmp_path / "params.yaml"
    for written, value in (("2e-4", 2e-4), ("1", 1.0), (".5", 0.5)):
        path.write_text(text.replace('"learning_rate": 0.001', f'"learning_rate": {written}'))
        rate = load(TrainStage, path, dataset="tiny", method="base").train.learning_rate
        assert rate == value and type(rate) is float
    for written in (".nan", ".inf", "2020-01-01"):
        path.write_text(text.replace('"learning_rate": 0.001', f'"learning_rate": {written}'))
        with pytest.raises(InputError, match=r"datasets\.tiny\.train\.learning_rate is "):
            load(TrainStage, path, dataset="tiny", method="base")


# --- what a stage can reach ----------------------------------------------------------------------


def dvc_stages() -> dict[str, list[str]]:
    """Parameter keys of each stage in dvc.yaml, in the words of mmts.config."""
    tree = yaml.safe_load((ROOT / "dvc.yaml").read_text())
    return {
        name: [re.sub(r"\$\{item\.(\w+)\}", r"{\1}", key) for key in stage.get("params", [])]
        for name, stage in tree["stages"].items()
        if name != "check"  # it reads all
    }


def test_stages_declare_in_dvc_yaml_exactly_what_they_read() -> None:
    declared = dvc_stages()
    assert set(declared) == set(STAGES)
    for name, stage in STAGES.items():
        assert sorted(declared[name]) == sorted(stage.keys.values()), name
        assert set(stage.keys) - {"override"} == set(stage.model_fields), name


def keys_of(tree: Any, prefix: str = "") -> list[str]:
    if not isinstance(tree, dict):
        return [prefix]
    return [k for name in tree for k in keys_of(tree[name], f"{prefix}.{name}".lstrip("."))]


@pytest.mark.parametrize("name", list(STAGES))
def test_a_stage_reads_nothing_else(tmp_path: Path, name: str) -> None:
    stage = STAGES[name]
    own = [key.format(dataset="tiny", method="base") for key in stage.keys.values()]
    others = [k for k in keys_of(PARAMS) if not any(f"{k}.".startswith(f"{o}.") for o in own)]
    assert others
    ruins = dict.fromkeys(others, "ruined")
    assert read(stage, tmp_path, ruins) == read(stage, tmp_path, {})


# --- check: the whole file -----------------------------------------------------------------------


def refused(folder: Path, changes: dict[str, Any]) -> str:
    path = write_params(folder / "params.yaml", PARAMS, changes)
    with pytest.raises(InputError) as caught:
        check(path)
    return str(caught.value).removeprefix(f"{path}: ")


def test_check_of_a_good_file(tmp_path: Path) -> None:
    grid = check(write_params(tmp_path / "params.yaml", PARAMS))
    assert (grid.datasets, grid.methods, grid.seeds) == (("tiny",), ("base", "mmts"), (0,))


def test_the_projects_own_file_is_fine(tmp_path: Path) -> None:
    assert check(ROOT / "params.yaml").datasets
    tree = read_params(ROOT / "params.yaml")
    datasets = tree["datasets"]
    assert all(own["methods"].keys() == tree["methods"].keys() for own in datasets.values())
    all_of_them = write_params(tmp_path / "params.yaml", tree, {"grid.datasets": list(datasets)})
    assert {"cc3m", "flickr8k_trained"} <= set(check(all_of_them).datasets)


def test_check_sees_every_section(tmp_path: Path) -> None:
    assert refused(tmp_path, {"gird": {}}).startswith("gird is not a setting; did you mean grid?")
    assert refused(tmp_path, {"datasets": ...}).startswith("datasets is missing")
    assert refused(tmp_path, {"methods": ...}).startswith("methods is missing")
    assert refused(tmp_path, {"report": ...}).startswith("report is missing")
    assert "should be a mapping" in refused(tmp_path, {"methods": [1]})
    assert refused(tmp_path, {"grid.methods": ["base", "best"]}).startswith(
        "grid.methods names best; there are: base, mmts"
    )
    assert refused(tmp_path, {"grid.datasets": ["big"]}).startswith("grid.datasets names big; ")
    found = refused(tmp_path, {f"{TINY}.trian": {}})
    assert found.startswith(f"{TINY}.trian is not a setting; did you mean train?")
    found = refused(tmp_path, {"methods.mmts.shift_min": 0})
    assert found.startswith("methods.mmts: shift_min - alpha/2")


def test_check_sees_datasets_and_methods_outside_the_grid(tmp_path: Path) -> None:
    other = changed(PARAMS["datasets"]["tiny"], {"pack.shard_size": 0})
    assert refused(tmp_path, {"datasets.other": other}).startswith(
        "datasets.other.pack.shard_size is 0"
    )
    other = {**PARAMS["methods"]["base"], "alpha": -1}
    assert refused(tmp_path, {"methods.other": other}).startswith("methods.other.alpha is -1")


def test_check_holds_sections_against_each_other(tmp_path: Path) -> None:
    own = f"{TINY}.methods"
    assert refused(tmp_path, {f"{own}.bsae": {}}).startswith(
        f"{own}.bsae is not a setting; did you mean base?"
    )
    other = {"mmts": {}, "base": {}, "more": {"alpha": "x"}}
    more = {"methods.more": PARAMS["methods"]["base"], own: other}
    assert refused(tmp_path, more).startswith(f"{own}.more.alpha is 'x'")
    found = refused(tmp_path, {f"{own}.mmts": {"clustering": "verbs"}})
    assert found.startswith(f"methods.mmts.clustering names verbs, which {TINY}.clusterings")
    assert found.endswith("there are: default, kinds")
    both = {"shift": "default", "relevancy": ["kinds", "kidns"]}
    found = refused(tmp_path, {"methods.base.clustering": both})
    assert found.startswith("methods.base.clustering names kidns") and "did you mean kinds" in found
    found = refused(tmp_path, {f"{TINY}.train.augment": True})
    assert "train.augment is set but towers.vision.frozen is true" in found
    found = refused(tmp_path, {f"{TINY}.train.stream": {"url": "x"}, f"{TINY}.pack.in_place": True})
    assert found.startswith(f"{TINY}: train.stream is set but pack.in_place is true")
