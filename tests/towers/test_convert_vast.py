"""Checkpoints of VAST, EVA-CLIP and BEATs: converted, built, and written back."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import sys
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter
from safetensors.torch import load_file, save_file
from torch import Tensor

from mmts.errors import InputError
from mmts.kinds.model import MODELS, ModelKind, Parts
from mmts.kinds.stream import STREAMS
from mmts.settings import shapes
from mmts.settings.towers import Towers
from mmts.towers.beats import Beats
from mmts.towers.bert import Bert
from mmts.towers.convert import convert, main
from mmts.towers.converted import load_towers
from mmts.towers.eva_clip import EvaClip
from mmts.towers.model_config import Given
from mmts.towers.omni import ORDER, Omni, letters
from mmts.towers.vast_convert import Beside, describe, write_back
from mmts.towers.vast_names import to_ours, to_theirs
from mmts.weights import fingerprint
from tests.towers.omni import FRAMES, VOCABULARY, batch
from tests.towers.published_omni import (
    CFG,
    DIM,
    TEMPERATURE,
    UNUSED,
    State,
    beats,
    eva_clip,
    head_of,
    source,
    unused,
    vast,
)

GIVEN = Given(vision_heads=4, text_heads=4)
SUBSETS = [of for count in (1, 2, 3) for of in combinations(ORDER, count)]


@pytest.fixture(scope="module")
def model() -> Omni:
    return source()


@pytest.fixture(scope="module")
def pretrained(model: Omni, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as VAST's training writes it."""
    folder = tmp_path_factory.mktemp("vast") / "pretrain_vast"
    for name in ("ckpt", "log"):
        (folder / name).mkdir(parents=True)
    torch.save({"a": torch.ones(1)}, folder / "ckpt/model_step_999.pt")
    torch.save({"a": torch.ones(1)}, folder / "ckpt/optimizer_step_204994.pt")
    torch.save({**vast(model), **unused()}, folder / "ckpt/model_step_204994.pt")
    hps = {"run_cfg": {}, "model_cfg": {"audio_melbins": 32}, "data_cfg": {}}
    (folder / "log/hps.json").write_text(json.dumps(hps))
    return folder


@pytest.fixture(scope="module")
def converted(pretrained: Path) -> Path:
    convert(pretrained, pretrained.parent / "converted", (), GIVEN)
    return pretrained.parent / "converted"


def same(found: State, wanted: State) -> None:
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        assert found[name].dtype == value.dtype and found[name].shape == value.shape, name
        assert torch.equal(found[name], value), name


def test_the_names_are_the_authors(model: Omni) -> None:
    """The tests' own map gives names and shapes that the authors' code gives its parameters."""
    file = vast(model)
    for name, shape in {
        "vision_encoder.visual.cls_token": (1, 1, 32),
        "vision_encoder.visual.pos_embed": (1, 5, 32),
        "vision_encoder.visual.patch_embed.proj.bias": (32,),
        "vision_encoder.visual.blocks.1.norm2.weight": (32,),
        "vision_encoder.visual.blocks.0.attn.qkv.weight": (96, 32),
        "vision_encoder.visual.blocks.0.attn.v_bias": (32,),
        "vision_encoder.visual.blocks.1.attn.proj.weight": (32, 32),
        "vision_encoder.visual.blocks.1.mlp.fc2.bias": (32,),
        "vision_encoder.visual.norm.weight": (32,),
        "audio_encoder.patch_embedding.weight": (32, 1, 16, 16),
        "audio_encoder.layer_norm.bias": (32,),
        "audio_encoder.post_extract_proj.weight": (32, 32),
        "audio_encoder.encoder.pos_conv.0.weight_g": (1, 1, 16),
        "audio_encoder.encoder.pos_conv.0.weight_v": (32, 8, 16),
        "audio_encoder.encoder.layer_norm.weight": (32,),
        "audio_encoder.encoder.layers.1.self_attn.out_proj.bias": (32,),
        "audio_encoder.encoder.layers.1.self_attn.grep_linear.weight": (8, 8),
        "audio_encoder.encoder.layers.1.self_attn.grep_a": (1, 4, 1, 1),
        "audio_encoder.encoder.layers.1.self_attn.relative_attention_bias.weight": (320, 4),
        "audio_encoder.encoder.layers.0.self_attn_layer_norm.weight": (32,),
        "audio_encoder.encoder.layers.0.final_layer_norm.weight": (32,),
        "multimodal_encoder.bert.encoder.layer.1.crossattention.self.key.weight": (32, 32),
        "contra_head_t.linear.weight": (16, 32),
        "contra_head_s.linear.weight": (16, 32),
        "contra_head_vas.weight": (16, 96),
        "contra_head_vs.bias": (16,),
        "contra_temp": (),
        "itm_head.layernorm.weight": (32,),
        "itm_head.linear2.weight": (2, 32),
        "vision_frame_embedding": (1, 3, 32),
        "audio_type_embeddings": (1, 1, 32),
        "hidden_trans_subtitle_multimodal.1.bias": (32,),
    }.items():
        assert file[name].shape == shape, name
    assert not any("k_bias" in name or name.startswith(("text", "media")) for name in file)


def test_facts_of_vast(converted: Path, pretrained: Path, model: Omni) -> None:
    facts = json.loads((converted / "towers.json").read_text())
    file = pretrained / "ckpt/model_step_204994.pt"
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert facts["source"] == {"name": "model_step_204994.pt", "sha256": digest}
    assert (facts["family"], facts["dtype"]) == ("vast", "float32")
    assert facts["omni"] == {
        "dim": DIM, "frames": FRAMES, "audio_frames": 1, "mel_bins": 32,
        "contra_temp": float(torch.tensor(TEMPERATURE)),
    }  # fmt: skip
    assert facts["vision"]["config"] == model.vision.shape["config"]
    text = {"hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1}
    assert facts["text"]["config"] == {**model.text.shape["config"], **text}
    assert facts["audio"]["shape"] == model.audio.shape
    assert facts["told_by"] == {
        "vision.heads": "the option", "text.heads": "the option", "omni.mel_bins": "log/hps.json"
    }  # fmt: skip
    assert facts["dropped"] == {"entries": [], "tensors": sorted(UNUSED)}
    stored = load_file(converted / "towers.safetensors")
    assert facts["shapes"] == {name: list(stored[name].shape) for name in sorted(stored)}


def built(folder: Path, streams: tuple[str, ...], **changes: Any) -> Omni:
    towers = {
        "vision": {
            "name": "eva_clip", "weights": str(folder), "frozen": False, "image_size": 32,
            "clip_length": FRAMES, "resize": "squash",
        },
        "text": {"name": "bert", "weights": str(folder), "frozen": False, "max_tokens": 7},
        "frozen_parts": changes.pop("frozen_parts", []),
    }  # fmt: skip
    towers["vision"] |= changes.pop("vision", {})
    beside = {
        "audio": STREAMS.validated({"kind": "audio", "mel_bins": changes.pop("mel_bins", 32)}),
        "subtitle": STREAMS.validated({"kind": "text", "column": "subtitle", "max_tokens": 7}),
    }
    settings = {"kind": "omni", "streams": list(streams), "weights": str(folder), "dim": DIM}
    kind: ModelKind = MODELS.validated({**settings, **changes})
    towers = TypeAdapter(Towers).validate_python(towers)
    found = kind.build(Parts(towers, None, {"vocabulary": VOCABULARY}, beside, True))
    assert isinstance(found, Omni)
    return found


@pytest.mark.parametrize("streams", SUBSETS, ids=letters)
def test_each_subset_has_the_tensors_of_the_file(
    streams: tuple[str, ...], converted: Path, model: Omni
) -> None:
    made = built(converted, streams, audio={"gradient_decay": 1.0}).eval()
    wanted = {**model.state_dict(), **head_of(streams)}
    for name, value in made.state_dict().items():
        if not name.startswith("media_head.") or letters(streams) != "as":
            assert torch.equal(value, wanted[name]), name  # VAST has no head over those two
    parts = {name for name in ("text", *streams) if name != "subtitle"}
    assert made.loaded.keys() == parts | {"omni"}
    assert all(of["weights"] == str(converted) for of in made.loaded.values())
    whole, captions = batch()
    with torch.no_grad():
        encoded = made(whole, captions)
        assert encoded.context is not None and encoded.vision.shape == (4, DIM)
        assert torch.equal(encoded.text, model.encode_text(captions))
        if streams != ORDER:
            return
        head = {name.removeprefix("media_head."): of for name, of in head_of(streams).items()}
        model.media_head.load_state_dict(head)
        other = model.encode_vision(whole)
        assert other.context is not None and torch.equal(encoded.vision, other.rows)
        matched = made.match(encoded.context, captions)
        assert torch.equal(matched, model.match(other.context, captions))


def test_other_settings_of_the_model(converted: Path, model: Omni) -> None:
    assert model.matching is not None
    made = built(
        converted, ORDER, vision={"clip_length": 2 * FRAMES, "image_size": 48},
        frozen_parts=["audio.*", "text.model.embeddings.*", "matching.places.vision"],
    )  # fmt: skip
    assert made.matching is not None
    places = made.matching.places["vision"]
    assert torch.equal(places, model.matching.places["vision"].repeat_interleave(2, 1))
    assert made.vision.model.embeddings.position_embeddings.shape == (1, 10, 32)
    frozen = {name for name, parameter in made.named_parameters() if not parameter.requires_grad}
    keys = {f"vision.model.layers.{n}.attention.k_proj.bias" for n in (0, 1)}
    assert keys < frozen and "matching.places.vision" in frozen
    assert all(n in frozen for n, _ in made.named_parameters() if n.startswith("audio."))
    with pytest.raises(
        InputError, match=r"head\.\w+ is \[16.*, but the model has \[24.*; set .* \(model\.dim\)"
    ):
        built(converted, ORDER, dim=24)
    with pytest.raises(
        InputError, match=r"streams\.audio\.mel_bins is 64, but .* was trained with 32; set it to"
    ):
        built(converted, ORDER, mel_bins=64)
    with pytest.raises(InputError, match="is of vast, which has no tower of that kind"):
        load_towers(converted)


def older(state: State) -> State:
    """As an earlier version of VAST wrote it, from several GPUs."""
    state = {
        name.replace("vision_frame", "vision_perceiver.vision_frame")
        .replace("vision_type", "video_type")
        .replace("trans_vision", "trans_video")
        .replace("vision_encoder.", "evaclip_model."): value
        for name, value in state.items()
    }
    return {f"module.{name}": value for name, value in state.items()}


def test_older_names(converted: Path, model: Omni, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint-50/pytorch_model.bin"
    path.parent.mkdir()
    for kind, name in (("evaclip_model", "a"), ("clip_model", "b")):
        state = older({**vast(model), **unused()})
        torch.save({n.replace("evaclip_model", kind): v for n, v in state.items()}, path)
        facts = convert(tmp_path, tmp_path / name, (), GIVEN)
        assert facts["omni"]["mel_bins"] == 64
        assert facts["told_by"]["omni.mel_bins"] == "VAST's default"
        assert facts["dropped"]["tensors"] == sorted(UNUSED)
        files = [folder / "towers.safetensors" for folder in (converted, tmp_path / name)]
        assert files[0].read_bytes() == files[1].read_bytes()
    write_back(tmp_path / "a", tmp_path / "again.pt")  # under the newest names
    same(torch.load(tmp_path / "again.pt", weights_only=True), vast(model))


def cast(state: State, dtype: torch.dtype) -> State:
    return {name: value.to(dtype) for name, value in state.items()}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_vast_there_and_back(dtype: torch.dtype, model: Omni, tmp_path: Path) -> None:
    state = cast(vast(model), dtype)
    torch.save({**state, **unused()}, tmp_path / "x.pt")
    convert(tmp_path / "x.pt", tmp_path / "out", (), GIVEN)
    assert {v.dtype for v in load_file(tmp_path / "out/towers.safetensors").values()} == {
        torch.float32
    }
    write_back(tmp_path / "out", tmp_path / "back.pt")
    same(torch.load(tmp_path / "back.pt", weights_only=True), state)
    write_back(tmp_path / "out", tmp_path / "back.safetensors")
    same(load_file(tmp_path / "back.safetensors"), state)
    convert(tmp_path / "back.safetensors", tmp_path / "again", (), GIVEN)


def test_of_several_types_it_comes_back_in_float32(model: Omni, tmp_path: Path) -> None:
    state = vast(model)
    half = {n: v.half() if n.startswith("vision_encoder.") else v for n, v in state.items()}
    torch.save(half, tmp_path / "x.pt")
    assert convert(tmp_path / "x.pt", tmp_path / "out", (), GIVEN)["dtype"] == "float32"
    write_back(tmp_path / "out", tmp_path / "back.pt")
    same(torch.load(tmp_path / "back.pt", weights_only=True), cast(half, torch.float32))


@pytest.mark.parametrize("prefix", ["visual.", "visual.trunk.", ""])
def test_eva_clip(prefix: str, model: Omni, tmp_path: Path) -> None:
    """In half, as it is published; as open_clip and timm name it too."""
    state = {f"{prefix}{name}": value.half() for name, value in eva_clip(model).items()}
    more = {f"{prefix}head.weight": torch.ones(8, 32)}
    if prefix:
        more |= {"text.ln_final.weight": torch.ones(8), "logit_scale": torch.ones(())}
    save_file({**state, **more}, tmp_path / "x.safetensors")
    facts = convert(tmp_path / "x.safetensors", tmp_path / "out", (), Given(vision_heads=4))
    assert (facts["family"], facts["dtype"]) == ("eva_clip", "float16")
    assert len(facts["dropped"]["tensors"]) == len(more)
    tower = EvaClip.converted(str(tmp_path / "out"), 32)
    same(dict(tower.state_dict()), {
        name: value.half().float() for name, value in model.vision.state_dict().items()
    })  # fmt: skip
    assert tower.loaded == fingerprint(tower.state_dict())
    write_back(tmp_path / "out", tmp_path / "back.pt")
    same(torch.load(tmp_path / "back.pt", weights_only=True), state)


def test_beats(model: Omni, converted: Path, tmp_path: Path) -> None:
    state = beats(model)
    more = {"predictor.weight": torch.ones(527, 32), "predictor.bias": torch.ones(527)}
    torch.save({"cfg": CFG, "model": {**state, **more}}, tmp_path / "x.pt")
    facts = convert(tmp_path / "x.pt", tmp_path / "out")
    assert facts["audio"] == {"shape": model.audio.shape, "cfg": CFG}
    assert facts["dropped"] == {"entries": ["cfg"], "tensors": sorted(more)}
    same(dict(Beats.converted(str(tmp_path / "out")).state_dict()), model.audio.state_dict())
    write_back(tmp_path / "out", tmp_path / "back.pt")
    back = torch.load(tmp_path / "back.pt", weights_only=True)
    assert back.keys() == {"cfg", "model"} and back["cfg"] == CFG
    same(back["model"], state)
    made = built(converted, ("vision", "audio"), audio={"weights": str(tmp_path / "out")})
    assert made.loaded["audio"]["weights"] == str(tmp_path / "out")
    assert made.loaded["vision"]["weights"] == str(converted)
    with pytest.raises(
        InputError, match=r"has no vision part of eva_clip or vast \(it is of beats"
    ):
        EvaClip.converted(str(tmp_path / "out"), 32)
    with pytest.raises(InputError, match=r"b\.safetensors: .* has settings too; name a \.pt file"):
        write_back(tmp_path / "out", tmp_path / "b.safetensors")


Change = Callable[[State], object]


def bias_differs(state: State) -> None:
    state["audio_encoder.encoder.layers.1.self_attn.relative_attention_bias.weight"] = torch.ones(
        320, 4
    )


FAULTS: dict[str, tuple[Change, str]] = {
    "a tensor without a place": (
        lambda s: s.update({"depth_encoder.a": torch.ones(1), "contra_head_d.b": torch.ones(1)}),
        r"\(vast\) has 2 tensors without a place here: contra_head_d\.b, depth_encoder\.a; leave",
    ),
    "one below a known part": (
        lambda s: s.update({"multimodal_encoder.bert.pooler.dense.bias": torch.ones(32)}),
        r"has 1 tensors without a place here \(our names\): text\.model\.pooler\.dense\.bias",
    ),
    "a lacking tensor": (
        lambda s: s.pop("itm_head.layernorm.bias"),
        r"lacks 1 tensors \(our names\): omni\.matching\.head\.2\.bias$",
    ),
    "a lacking head": (
        lambda s: s.pop("contra_head_vas.weight"),
        r"lacks 1 tensors \(our names\): omni\.media_head\.vas\.weight$",
    ),
    "a lacking part": (
        lambda s: [s.pop(name) for name in list(s) if name.startswith("audio_encoder.")],
        r"\(vast\) lacks audio\.widen\.weight \(our name for it\)$",
    ),
    "another shape": (
        lambda s: s.update({"contra_head_va.weight": torch.ones(16, 65)}),
        r"omni\.media_head\.va\.weight \(our name\) is \[16, 65\], not \[16, 64\]$",
    ),
    "no picture": (
        lambda s: s.update({"vision_encoder.visual.pos_embed": torch.ones(1, 6, 32)}),
        r"position_embeddings \(our name\) is \[1, 6, 32\], not \[1, 5, 32\]$",
    ),
    "an odd width": (
        lambda s: s.update({"vision_encoder.visual.patch_embed.proj.weight": torch.ones(3)}),
        r"\(vast\): a tensor has an odd shape \(",
    ),
    "no thirds": (
        lambda s: s.update({"vision_encoder.visual.blocks.0.attn.qkv.weight": torch.ones(7, 32)}),
        r"visual\.blocks\.0\.attn\.qkv\.weight is \[7, 32\]; it must be \[3 x width, width\]$",
    ),
    "position biases that differ": (
        bias_differs,
        r"layers\.1\.self_attn\.relative_attention_bias\.weight differs from that of another layer",
    ),
    "no temperature": (
        lambda s: s.update(contra_temp=torch.tensor(-1.0)),
        r"\(vast\): contra_temp is -1\.0; it must be above 0 and finite$",
    ),
    "an older name beside the newest": (
        lambda s: s.update(video_frame_embedding=torch.ones(1)),
        r"has vision_frame_embedding twice, once under an older name; keep one$",
    ),
    "EVA02": (
        lambda s: s.update({"vision_encoder.visual.rope.freqs_cos": torch.ones(1)}),
        r"has the vision tower of EVA02-CLIP, which is built otherwise; take the file",
    ),
}


@pytest.mark.parametrize("change, problem", FAULTS.values(), ids=FAULTS)
def test_faults_are_one_line(change: Change, problem: str, model: Omni, tmp_path: Path) -> None:
    state = vast(model)
    change(state)
    torch.save(state, tmp_path / "x.pt")
    with pytest.raises(InputError, match=problem) as caught:
        convert(tmp_path / "x.pt", tmp_path / "out", (), GIVEN)
    assert "\n" not in str(caught.value) and not (tmp_path / "out").exists()


EVA02: dict[str, dict[str, Tensor]] = {
    "EVA": {
        "visual.blocks.0.attn.q_bias": torch.ones(4),
        "visual.blocks.0.mlp.w1.weight": torch.ones(4),
    },
    "open_clip": {"visual.trunk.blocks.0.attn.q_proj.weight": torch.ones(4)},
    "timm": {"blocks.0.attn.q_proj.weight": torch.ones(4)},
    "E": {
        "visual.blocks.0.attn.q_bias": torch.ones(4),
        "visual.cls_token": torch.ones(1, 1, 1792),
    },
}  # fmt: skip


@pytest.mark.parametrize("state", EVA02.values(), ids=EVA02)
def test_eva02_is_refused(state: State, tmp_path: Path) -> None:
    torch.save(state, tmp_path / "x.pt")
    with pytest.raises(InputError, match=r"the vision tower of EVA02-CLIP, .* EVA01-CLIP-g"):
        convert(tmp_path / "x.pt", tmp_path / "out")


def test_what_tensors_do_not_tell(model: Omni, pretrained: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"attention heads of its vision side, which is 32 wide; "
                                         r"add --vision-heads N$"):  # fmt: skip
        convert(pretrained, tmp_path / "out")
    with pytest.raises(InputError, match=r"its text side, which is 32 wide; add --text-heads N$"):
        convert(pretrained, tmp_path / "out", (), Given(vision_heads=4))
    with pytest.raises(InputError, match="--quick-gelu says nothing about a checkpoint of vast"):
        convert(pretrained, tmp_path / "out", (), Given(4, 4, True))
    with pytest.raises(InputError, match=r"width 32 is no multiple of heads 5"):
        convert(pretrained, tmp_path / "out", (), Given(5, 4))
    torch.save({"cfg": CFG | {"deep_norm": False}, "model": beats(model)}, tmp_path / "x.pt")
    with pytest.raises(InputError, match=r"\(beats\) has deep_norm False in its cfg; the tower"):
        convert(tmp_path / "x.pt", tmp_path / "out")
    torch.save({"cfg": [torch.ones(1)], "model": beats(model)}, tmp_path / "x.pt")
    with pytest.raises(InputError, match=r"\(beats\): its cfg is no mapping of plain values"):
        convert(tmp_path / "x.pt", tmp_path / "out")


def test_published_sizes_are_told_without_options() -> None:
    """By shapes alone: tensors that take no memory."""
    with torch.device("meta"):
        encoders = {
            "vision": EvaClip.random(224, shapes.EvaShape()),
            "audio": Beats(shapes.BeatsShape()),
        }
        text = Bert.random(30_522, shapes.BertShape(), True)
        model = Omni(ORDER, encoders, text, 512, {"vision": 8, "audio": 1})
    state = {
        name if name.split(".")[0] in ("vision", "audio", "text") else f"omni.{name}": value
        for name, value in model.state_dict().items()
    }
    state |= {"audio.distances.weight": torch.zeros(320, 12), "contra_temp": torch.tensor(0.07)}
    state, unknown = to_ours("vast", to_theirs("vast", state))
    facts, wanted = describe("vast", state, Beside(Path("a/b/c"), {}, Given()))
    assert not unknown
    assert facts["audio"]["shape"] == shapes.BeatsShape().model_dump()
    config = facts["vision"]["config"]
    assert (config["image_size"], config["num_attention_heads"]) == (224, 16)
    assert facts["text"]["config"]["num_attention_heads"] == 12
    assert facts["told_by"]["vision.heads"] == "the code of EVA01-CLIP-g"
    sizes = {"va": [512, 2176], "vs": [512, 2176], "vas": [512, 2944], "v": [512, 1408]}
    assert all(wanted[f"omni.media_head.{name}.weight"] == of for name, of in sizes.items())
    vision = sum(math.prod(of) for name, of in wanted.items() if name.startswith("vision."))
    assert round((vision - 40 * 1408) / 1e6, 1) == 1011.1  # without the biases of keys


class Evil:
    """Unpickled carelessly, it makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_nothing_is_run(model: Omni, tmp_path: Path) -> None:
    harm = Evil(tmp_path / "harm")
    for whole in (
        {"cfg": {**CFG, "x": harm}, "model": beats(model)},
        {**vast(model), "x": harm},
        {"cfg": harm, "model": beats(model)},
    ):
        torch.save(whole, tmp_path / "x.pt")
        with pytest.raises(InputError, match=r"wants (posix|nt)\.mkdir, which is refused"):
            convert(tmp_path / "x.pt", tmp_path / "out", (), GIVEN)
    assert not (tmp_path / "harm").exists()


def test_the_command(
    pretrained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def command(*arguments: object) -> tuple[object, str, str]:
        monkeypatch.setattr(sys, "argv", ["convert", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        return stop.value.code, *capsys.readouterr()

    out, file = tmp_path / "out", tmp_path / "back.pt"
    code, printed, error = command(pretrained, out, "--vision-heads", 4, "--text-heads", 4)
    assert (code, error) == (0, "")
    assert printed.splitlines() == [
        "vast, float32",
        "vision: 2 layers, 32 wide, 4 heads (by the option)",
        "text: 2 layers, 32 wide, 4 heads (by the option)",
        "audio: 2 layers, 32 wide, 4 heads",
        "omni: 16 dimensions, 3 frames, 1 of sound, 32 mel bins (by log/hps.json), temperature "
        "0.0537",
    ]
    assert command("--back", out, file) == (0, "", "") and file.is_file()
    (tmp_path / "clip").mkdir()
    (tmp_path / "clip/towers.json").write_text('{"family": "avion"}')
    other = r".*/clip is of avion; --back writes vast, eva_clip or beats"
    for arguments, problem in (
        (("--back", tmp_path / "clip", "x"), other),
        (("--back", out, file), f"{re.escape(str(file))} exists; name a file that does not"),
        (("--back", out, "x", "--text-heads", 4), "--back takes no other options; leave them out"),
        (("--back", tmp_path, "x"), r".*towers\.json is not there; name a folder that .*"),
    ):
        code, printed, error = command(*arguments)
        assert (code, printed) == (1, "") and re.fullmatch(f"error: {problem}\n", error)
