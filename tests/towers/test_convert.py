import argparse
import copy
import hashlib
import json
import math
import os
import pickle
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import CLIPConfig, CLIPModel

from mmts.errors import InputError
from mmts.towers.checkpoint import read_checkpoint
from mmts.towers.clip_text import ClipText, ClipTextConfig
from mmts.towers.convert import convert, main
from mmts.towers.converted import load_towers
from mmts.towers.divided import DividedViT
from mmts.towers.model_config import OPENAI, Given
from mmts.towers.positions import resize_position
from mmts.towers.video_vit import AVION_MEAN, CLIP_MEAN, VideoViT, VideoViTConfig
from tests.towers.test_video_vit import randomise

ROOT = Path(__file__).parent.parent.parent
SCALE = math.log(1 / 0.07)
# our names -> theirs, in order, for the joint tower and the text tower, and for LaViLa's tower
CLIP_NAMES = (
    ("cls", "class_embedding"),
    ("patches.", "conv1."),
    ("norm_pre.", "ln_pre."),
    ("norm_post.", "ln_post."),
    ("temporal", "temporal_embedding"),
    ("position", "positional_embedding"),
    ("tokens.", "token_embedding."),
    ("blocks.", "transformer.resblocks."),
    (".norm1.", ".ln_1."),
    (".norm2.", ".ln_2."),
    (".attn.qkv.", ".attn.in_proj_"),
    (".attn.out.", ".attn.out_proj."),
    (".fc1.", ".c_fc."),
    (".fc2.", ".c_proj."),
)
LAVILA_NAMES = (
    ("cls", "cls_token"),
    ("patches.", "patch_embed.proj."),
    ("norm_post.", "norm."),
    ("norm_pre.", "ln_pre."),
    ("temporal", "temporal_embed"),
    ("position", "pos_embed"),
    (".norm_time.", ".norm3."),
    (".time.", ".timeattn."),
    (".out.", ".proj."),
)


def towers(family: str) -> tuple[VideoViT, ClipText]:
    torch.manual_seed(0)
    quick = family != "avion"
    vision = VideoViTConfig(
        image_size=32,
        patch_size=8,
        width=128,
        layers=2,
        heads=2,
        frames=1 if family == "openai" else 4,
        dim=24,
        quick_gelu=quick,
        norm_eps=1e-5 if family == "openai" else 1e-6,
        mean=CLIP_MEAN if family == "openai" else AVION_MEAN,
    )
    text = ClipTextConfig(
        context=9, vocabulary=30, width=64, layers=3, heads=1, dim=24, quick_gelu=quick
    )
    made = (DividedViT if family == "lavila" else VideoViT)(vision), ClipText(text)
    for tower in made:
        randomise(tower)
    if family == "openai":
        torch.nn.init.zeros_(made[0].temporal)
    return made[0].eval(), made[1].eval()


def renamed(name: str, names: tuple[tuple[str, str], ...]) -> str:
    for ours, theirs in names:
        name = re.sub(rf"(?:^|(?<=\.)){re.escape(ours.lstrip('.'))}", theirs.lstrip("."), name)
    return name


def published(family: str, made: tuple[VideoViT, ClipText]) -> dict[str, torch.Tensor]:
    """The towers' tensors as the family's authors call and shape them."""
    vision, text = (dict(tower.state_dict()) for tower in made)
    prefix = "textual." if family == "avion" else ""
    state = {f"{prefix}text_projection": text.pop("projection.weight").T}
    ours = {"avion": "visual.image_projection", "openai": "visual.proj"}
    state[ours.get(family, "image_projection")] = vision.pop("projection.weight").T
    for name, value in text.items():
        name = name.replace("norm_post.", "ln_final.")
        state[prefix + renamed(name, CLIP_NAMES)] = value
    for name, value in vision.items():
        if family == "lavila":
            shape = {"cls": (1, 1, -1), "position": (1, 17, -1), "temporal": (1, 4, -1)}
            value = value.reshape(shape.get(name, value.shape))
        state[f"visual.{renamed(name, LAVILA_NAMES if family == 'lavila' else CLIP_NAMES)}"] = value
    if family == "openai":
        del state["visual.temporal_embedding"]
        for name, value in (("input_resolution", 32), ("context_length", 9), ("vocab_size", 30)):
            state[name] = torch.tensor(value)
    return {**state, "logit_scale": torch.tensor(SCALE)}


def checkpoint(state: dict[str, torch.Tensor]) -> dict[str, Any]:
    """A training checkpoint as the authors' scripts save it."""
    args = argparse.Namespace(model="CLIP_VITB16", lr=3e-5, output_dir=Path("/a"), betas=(0.9, 1))
    return {
        "epoch": 5,
        "state_dict": {f"module.{name}": value for name, value in state.items()},
        "optimizer": {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 1e-5}]},
        "scaler": {},
        "best_acc1": np.float64(0.25),
        "args": args,
    }


def video(frames: int = 4, size: int = 32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    shape = (2, frames, 3, size, size)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


TEXTS = torch.tensor([[3, 5, 29, 0], [4, 29, 0, 0]])


@pytest.mark.parametrize("family", ["avion", "lavila", "openai"])
@pytest.mark.parametrize("legacy", [False, True])
def test_there_and_back(family: str, legacy: bool, tmp_path: Path) -> None:
    made, source = towers(family), tmp_path / "x.pt"
    torch.save(
        checkpoint(published(family, made)), source, _use_new_zipfile_serialization=not legacy
    )
    facts = convert(source, tmp_path / "out")
    vision, text, read = load_towers(tmp_path / "out")
    assert read == json.loads(json.dumps(facts)) and type(vision) is type(made[0])
    assert vision.config == made[0].config and text.config == made[1].config
    frames = made[0].config.frames
    with torch.inference_mode():
        assert torch.equal(vision.eval()(video(frames)), made[0](video(frames)))
        assert torch.equal(text.eval()(TEXTS), made[1](TEXTS))
    assert facts["family"] == family
    assert facts["source"]["sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()
    assert facts["logit_scale"] == pytest.approx(SCALE) and facts["tau"] == pytest.approx(0.07)
    assert facts["dropped"] == {
        "entries": ["args", "best_acc1", "epoch", "optimizer", "scaler"],
        "tensors": (
            ["context_length", "input_resolution", "vocab_size"] if family == "openai" else []
        ),
    }
    stored = load_file(tmp_path / "out/towers.safetensors")
    assert facts["shapes"] == {name: list(stored[name].shape) for name in sorted(stored)}
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "SHA256SUMS",
        "towers.json",
        "towers.safetensors",
    ]


def test_the_names_are_the_authors() -> None:
    """The test's own map: names that AVION's and LaViLa's code give their parameters."""
    avion, lavila = (published(f, towers(f)) for f in ("avion", "lavila"))
    for name in (
        "visual.class_embedding",
        "visual.transformer.resblocks.1.attn.in_proj_weight",
        "visual.transformer.resblocks.0.mlp.c_proj.bias",
        "visual.ln_post.weight",
        "textual.transformer.resblocks.2.ln_1.bias",
        "textual.positional_embedding",
        "textual.ln_final.weight",
        "textual.text_projection",
    ):
        assert name in avion
    for name in (
        "visual.blocks.1.timeattn.proj.weight",
        "visual.blocks.0.attn.qkv.bias",
        "visual.blocks.0.norm3.weight",
        "visual.patch_embed.proj.weight",
        "visual.norm.bias",
        "transformer.resblocks.2.attn.out_proj.weight",
        "token_embedding.weight",
        "ln_final.bias",
    ):
        assert name in lavila


def test_flash_attention_and_the_fast_first_layer(tmp_path: Path) -> None:
    made = towers("avion")
    state = {}
    for name, value in published("avion", made).items():
        if name.startswith("visual.transformer"):
            name = name.replace("in_proj_", "Wqkv.").replace("c_fc", "fc1").replace("c_proj", "fc2")
        state[name] = value.flatten(1) if name == "visual.conv1.weight" else value
    torch.save({"state_dict": state}, tmp_path / "x.pt")
    assert "visual.transformer.resblocks.0.attn.Wqkv.weight" in state
    convert(tmp_path / "x.pt", tmp_path / "out")
    with torch.inference_mode():
        found = load_towers(tmp_path / "out").vision.eval()(video())
        assert torch.equal(found, made[0](video()))


def test_clip_of_transformers(tmp_path: Path) -> None:
    torch.manual_seed(0)
    small = {"hidden_size": 64, "intermediate_size": 256, "num_attention_heads": 1}
    small |= {"num_hidden_layers": 2}
    model = CLIPModel(
        CLIPConfig(
            vision_config={**small, "image_size": 32, "patch_size": 8},
            text_config={
                **small,
                "vocab_size": 30,
                "max_position_embeddings": 9,
                "eos_token_id": 29,
            },
            projection_dim=24,
        )
    ).eval()
    randomise(model)
    model.save_pretrained(tmp_path)
    facts = convert(tmp_path / "model.safetensors", tmp_path / "out")
    vision, text, _ = load_towers(tmp_path / "out")
    pixels = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        both = model(input_ids=TEXTS, pixel_values=pixels)
        image, words = vision.eval()(pixels), text.eval()(TEXTS)
    for ours, theirs in ((image, both.image_embeds), (words, both.text_embeds)):
        unit = torch.nn.functional.normalize(ours, dim=1)
        torch.testing.assert_close(unit, theirs, atol=1e-5, rtol=1e-5)
    assert facts["tau"] == pytest.approx(math.exp(-model.logit_scale.item()))


def clip_model(folder: Path, act: str, **changes: Any) -> CLIPModel:
    """A CLIP of heads of 40 and 16, with MLPs that are not four times as wide."""
    torch.manual_seed(0)
    sides = {
        "vision": {"hidden_size": 80, "intermediate_size": 200, "num_attention_heads": 2,
                   "image_size": 32, "patch_size": 8, "layer_norm_eps": 1e-3},
        "text": {"hidden_size": 64, "intermediate_size": 256, "num_attention_heads": 4,
                 "vocab_size": 30, "max_position_embeddings": 9, "eos_token_id": 29},
    }  # fmt: skip
    more = {"num_hidden_layers": 2, "hidden_act": act}
    config = {f"{side}_config": {**own, **more} for side, own in sides.items()}
    model = CLIPModel(CLIPConfig(**config, projection_dim=24)).eval()
    randomise(model)
    model.save_pretrained(folder, **changes)
    return model


def same_features(model: CLIPModel, folder: Path) -> bool:
    """Whether converted towers have the features of transformers."""
    vision, text, _ = load_towers(folder)
    pixels = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        both = model(input_ids=TEXTS, pixel_values=pixels)
        found = vision.eval()(pixels), text.eval()(TEXTS)
    return all(
        torch.allclose(torch.nn.functional.normalize(ours, dim=1), theirs, atol=1e-5)
        for ours, theirs in zip(found, (both.image_embeds, both.text_embeds), strict=True)
    )


@pytest.mark.parametrize("act", ["gelu", "quick_gelu"])
def test_heads_of_any_width_and_both_gelus_are_read_from_the_config(
    act: str, tmp_path: Path
) -> None:
    model = clip_model(tmp_path / "in", act)
    (tmp_path / "in/preprocessor_config.json").write_text(
        '{"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.1, 0.4]}'
    )
    facts = convert(tmp_path / "in/model.safetensors", tmp_path / "out")
    assert (facts["vision"]["heads"], facts["text"]["heads"]) == (2, 4)
    assert facts["told_by"]["vision.heads"] == facts["told_by"]["quick_gelu"] == "config.json"
    assert facts["vision"]["mean"] == pytest.approx([127.5, 102, 76.5])
    assert same_features(model, tmp_path / "out")
    wrong = Given(quick_gelu=act == "gelu")
    convert(tmp_path / "in", tmp_path / "other", (), wrong)
    assert not same_features(model, tmp_path / "other")
    (tmp_path / "in/config.json").unlink()
    asked = (
        r"^[^;]* \(transformers\) does not tell .*; put its config\.json .* beside it, "
        r"or add --vision-heads N .*"
    )
    with pytest.raises(InputError, match=asked + "--text-heads N .*, --quick-gelu "):
        convert(tmp_path / "in", tmp_path / "none")
    given = Given(2, 4, act == "quick_gelu")
    assert convert(tmp_path / "in", tmp_path / "asked", (), given)["vision"]["heads"] == 2


def test_a_folder_of_several_files_of_weights(tmp_path: Path) -> None:
    model = clip_model(tmp_path / "in", "gelu", max_shard_size="150KB")
    index = tmp_path / "in/model.safetensors.index.json"
    files = sorted(path.name for path in index.parent.glob("model-*.safetensors"))
    assert len(files) > 2
    for source, out in ((index.parent, "a"), (index, "b")):
        facts = convert(source, tmp_path / out)
        assert sorted(facts["source"]["parts"]) == files and same_features(model, tmp_path / out)
    whole = model.state_dict()
    half = dict(list(whole.items())[:9])
    names = {"a.bin": half, "b.bin": {k: v for k, v in whole.items() if k not in half}}
    (index.parent / "pytorch_model.bin.index.json").write_text(
        json.dumps({"weight_map": {k: file for file, part in names.items() for k in part}})
    )
    for name, part in names.items():
        torch.save(part, index.parent / name)
    convert(index.parent / "pytorch_model.bin.index.json", tmp_path / "c")
    assert same_features(model, tmp_path / "c")
    (index.parent / files[1]).unlink()
    with pytest.raises(InputError, match=f"{files[1]} is not there.*index"):
        convert(index.parent, tmp_path / "d")
    index.write_text('{"weight_map": {"a": "../model.safetensors"}}')
    with pytest.raises(InputError, match="no file beside it"):
        convert(index.parent, tmp_path / "d")
    with pytest.raises(InputError, match=r"has none of model\.safetensors"):
        convert(tmp_path, tmp_path / "d")


OPEN_CLIP = {
    "model_cfg": {
        "embed_dim": 24, "quick_gelu": True, "vision_cfg": {"width": 128, "head_width": 32},
        "text_cfg": {"width": 64, "heads": 2},
    },
    "preprocess_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]},
}  # fmt: skip


def test_weights_of_open_clip(tmp_path: Path) -> None:
    """They are called as OpenAI's, without what tells those."""
    state = {k: v for k, v in published("openai", towers("openai")).items() if k not in OPENAI}
    source, config = tmp_path / "open_clip_pytorch_model.bin", tmp_path / "open_clip_config.json"
    torch.save(state, source)
    with pytest.raises(InputError, match=r"put its open_clip_config\.json or config\.json beside"):
        convert(source, tmp_path / "out")
    config.write_text(json.dumps(OPEN_CLIP))
    facts = convert(tmp_path, tmp_path / "out")
    vision, text = facts["vision"], facts["text"]
    assert (vision["heads"], text["heads"], vision["quick_gelu"]) == (4, 2, True)
    assert vision["mean"] == vision["std"] == [127.5] * 3 and text["quick_gelu"]
    model = copy.deepcopy(OPEN_CLIP["model_cfg"])
    del model["quick_gelu"], model["vision_cfg"]["head_width"]  # type: ignore[attr-defined]
    config.write_text(json.dumps(model))  # as open_clip's own list of models has them
    facts = convert(source, tmp_path / "other", (), Given(text_heads=1))
    assert (facts["vision"]["heads"], facts["text"]["heads"]) == (2, 1)
    assert not facts["vision"]["quick_gelu"] and facts["told_by"]["text.heads"] == "the option"
    for change, problem in (
        ({"width": 64}, "of another model: its vision side is 64 wide, that of the weights 128"),
        ({"timm_model_name": "vit"}, "has timm_model_name 'vit'"),
        ({"width": None}, "odd settings"),
    ):
        wrong = {**model, "vision_cfg": {"width": 128, **change}}
        config.write_text(json.dumps(wrong))
        with pytest.raises(InputError, match=f"^{config} (is|has) .*") as caught:
            convert(source, tmp_path / "none")
        assert problem in str(caught.value)


@pytest.mark.parametrize(
    "prefix", ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.module."]
)
def test_prefixes_of_any_order_and_number(prefix: str, tmp_path: Path) -> None:
    made = towers("avion")
    inside = {
        k.replace("visual.", "visual._orig_mod."): v for k, v in published("avion", made).items()
    }
    for number, state in enumerate((published("avion", made), inside)):
        torch.save({prefix + k: v for k, v in state.items()}, tmp_path / "x.pt")
        convert(tmp_path / "x.pt", tmp_path / str(number))
        with torch.inference_mode():
            found = load_towers(tmp_path / str(number)).vision.eval()(video())
            assert torch.equal(found, made[0](video()))
    torch.save({"logit_scale": torch.ones(1), prefix + "logit_scale": torch.ones(1)},
               tmp_path / "x.pt")  # fmt: skip
    with pytest.raises(InputError, match="has tensors twice"):
        convert(tmp_path / "x.pt", tmp_path / "twice")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_torchscript_archive_is_refused_with_a_command_that_reads_it(tmp_path: Path) -> None:
    """OpenAI's own files are such archives."""
    module = torch.nn.Linear(2, 3)
    path = tmp_path / "ViT-B-32.pt"
    torch.jit.save(torch.jit.script(module), path)
    with pytest.raises(InputError, match="is a TorchScript archive, which holds code") as caught:
        convert(path, tmp_path / "out")
    command = re.search("`python (.*) weights.pt`", str(caught.value))
    assert command is not None
    arguments = shlex.split(command[1])
    assert arguments[-1] == str(path)
    subprocess.run([sys.executable, *arguments, tmp_path / "weights.pt"], check=True)
    found = torch.load(tmp_path / "weights.pt", weights_only=True)
    assert torch.equal(found["weight"], module.weight)


def test_other_sizes(tmp_path: Path) -> None:
    made = towers("avion")
    torch.save(checkpoint(published("avion", made)), tmp_path / "x.pt")
    convert(tmp_path / "x.pt", tmp_path / "out")
    vision, text, _ = load_towers(
        tmp_path / "out", frames=6, image_size=48, drop_path=0.1, gradient_checkpointing=True
    )
    assert vision.config.gradient_checkpointing and text.config.gradient_checkpointing
    assert torch.equal(vision.position, resize_position(made[0].position, 6))
    assert vision.temporal.shape == (6, 128) and vision(video(6, 48)).shape == (2, 24)
    before = (tmp_path / "out/towers.safetensors").read_bytes()
    (vision(video(6, 48)).square().sum() + text(TEXTS).square().sum()).backward()
    for parameter in (*vision.parameters(), *text.parameters()):
        assert parameter.grad is not None and parameter.is_leaf
    torch.optim.SGD(vision.parameters(), lr=0.1).step()
    assert (tmp_path / "out/towers.safetensors").read_bytes() == before
    with pytest.raises(InputError, match="holds no converted towers of that kind"):
        load_towers(tmp_path / "out", colour=3)
    with pytest.raises(InputError, match="image_size 50 is no multiple"):
        load_towers(tmp_path / "out", image_size=50)
    with pytest.raises(InputError, match=r"run `python -m mmts\.towers\.convert` first"):
        load_towers(tmp_path)


class Evil:
    """Unpickled carelessly, it makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


class Stranger:
    """A class that is harmless but unknown."""


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_nothing_is_run(tmp_path: Path) -> None:
    done, good = tmp_path / "done", checkpoint(published("avion", towers("avion")))
    namespace = argparse.Namespace(model=Evil(done))
    for number, bad in enumerate(
        ({**good, "x": Evil(done)}, {**good, "args": namespace}, Evil(done))
    ):
        for legacy in (False, True):
            path = tmp_path / f"{number}{legacy}.pt"
            torch.save(bad, path, _use_new_zipfile_serialization=not legacy)
            with pytest.raises(InputError, match=r"wants (posix|nt)\.mkdir, which is refused") as e:
                convert(path, tmp_path / "out")
            assert "\n" not in str(e.value) and path.name in str(e.value)
        with (tmp_path / "plain.pt").open("wb") as file:
            pickle.dump(bad, file, protocol=2)
        with pytest.raises(InputError):
            convert(tmp_path / "plain.pt", tmp_path / "out")
    torch.save({**good, "x": Stranger()}, tmp_path / "x.pt")
    with pytest.raises(InputError, match=r"wants tests\.towers\.test_convert\.Stranger, which is"):
        convert(tmp_path / "x.pt", tmp_path / "out")
    assert not done.exists() and not (tmp_path / "out").exists()
    pickle.loads(pickle.dumps(Evil(done)))
    assert done.exists()  # the trap works


def test_what_stands_in_for_paths_and_numbers_is_inert(tmp_path: Path) -> None:
    torch.save(checkpoint({"a": torch.ones(2)}), tmp_path / "x.pt")
    found = read_checkpoint(tmp_path / "x.pt")
    assert found["args"].model == "CLIP_VITB16" and found["epoch"] == 5
    assert type(found["args"].output_dir).__name__ == type(found["best_acc1"]).__name__ == "Inert"
    (tmp_path / "x.pt").unlink()
    torch.save({"args": argparse.Namespace(a=1)}, tmp_path / "y.pt")
    with pytest.raises(pickle.UnpicklingError):  # the allow-list was for our reading only
        torch.load(tmp_path / "y.pt", weights_only=True)


def test_files_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    with pytest.raises(InputError, match=r"x\.pt is not there"):
        convert(path, tmp_path / "out")
    whole = tmp_path / "whole.pt"
    torch.save(checkpoint(published("avion", towers("avion"))), whole)
    for data in (b"", b"garbage" * 99, b"hello", whole.read_bytes()[:5000]):
        path.write_bytes(data)
        with pytest.raises(InputError) as caught:
            convert(path, tmp_path / "out")
        assert str(caught.value) == (
            f"{path} is no checkpoint that can be read safely: it is damaged or not a file of "
            "torch.save; get it again"
        )
    for value, problem in (
        ([1], "holds a list, not a mapping"),
        ({"args": 1}, "'args' is a int, not a tensor"),
        ({"state_dict": {}}, "holds no state_dict"),
        ({"state_dict": {"a": torch.ones(1)}}, "of no known family"),
    ):
        torch.save(value, path)
        with pytest.raises(InputError, match=problem):
            convert(path, tmp_path / "out")
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match="out exists; name a folder that does not"):
        convert(whole, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_tensors_without_a_place_and_those_that_lack(tmp_path: Path) -> None:
    state = published("avion", towers("avion"))
    path, out = tmp_path / "x.pt", tmp_path / "out"

    def fails(changed: dict[str, torch.Tensor], problem: str, *drop: str) -> None:
        torch.save({"state_dict": changed}, path)
        with pytest.raises(InputError, match=problem) as caught:
            convert(path, out, drop)
        assert "\n" not in str(caught.value) and not out.exists()

    more = {**state, "fc_cls.weight": torch.ones(3), "fc_cls.bias": torch.ones(3)}
    fails(more, r"has 2 tensors without a place here: fc_cls\.bias, fc_cls\.weight; leave them")
    fails(more, "--drop 'fc.cls' matches no tensor", "fc.cls")
    many = {**state, **{f"z{i}": torch.ones(1) for i in range(11)}}
    fails(many, r"has 11 tensors .* and 3 more")
    part = {k: v for k, v in state.items() if k != "textual.ln_final.bias"}
    fails(part, r"lacks 1 tensors \(our names\): text\.norm_post\.bias")
    part = {k: v for k, v in state.items() if k != "logit_scale"}
    fails(part, "lacks logit_scale")
    bent = {**state, "visual.ln_pre.bias": torch.ones(5)}
    fails(bent, r"vision\.norm_pre\.bias \(our name\) is \[5\], not \[128\]")
    fails({**state, "logit_scale": torch.tensor(math.nan)}, "logit_scale is nan")
    fails({**state, "visual.positional_embedding": torch.ones(16, 128)}, "vision.position")
    torch.save({"state_dict": more}, path)
    assert convert(path, out, ("fc_cls.*",))["dropped"]["tensors"] == [
        "fc_cls.bias",
        "fc_cls.weight",
    ]


def test_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = tmp_path / "x.pt", tmp_path / "out"
    state = published("avion", towers("avion"))
    torch.save(checkpoint({**state, "more": torch.ones(1)}), source)

    def command(*arguments: str) -> tuple[object, str, str]:
        monkeypatch.setattr(sys, "argv", ["convert", *arguments])
        with pytest.raises(SystemExit) as stop:
            main()
        return stop.value.code, *capsys.readouterr()

    code, printed, error = command(str(source), str(out))
    assert code == 1 and not printed and error.startswith("error: ") and error.count("\n") == 1
    code, printed, error = command(str(source), str(out), "--drop", "mo*")
    assert code == 0 and not error
    assert printed == (
        "avion: joint attention, 4 frames of 32 px, tau 0.07\n"
        "2 vision heads (by avion's code), 1 text heads (by avion's code), exact GELU (by avion's "
        "code)\n"
    )
    code, printed, error = command(str(source), str(out))
    assert (code, printed) == (1, "")
    assert error == f"error: {out} exists; name a folder that does not\n"
