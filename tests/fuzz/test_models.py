"""Checkpoints, saved models, and folders of weights."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save

from mmts.embed import load_sentence_model
from mmts.sealed import check_seal
from mmts.settings.towers import Towers
from mmts.settings.training import Head
from mmts.towers import converted
from mmts.towers.checkpoint import read_checkpoint, tensors
from mmts.towers.convert import read_released
from mmts.towers.pretrained import RESNET, colours, load_model
from mmts.towers.tokens import bert_tokenizer, encode, read_tokenizer, train_tokenizer
from mmts.towers.two_tower import TwoTower
from mmts.training import saved
from mmts.training.checkpoint_files import read, read_facts, read_tensors
from mmts.weights import load_state
from tests.fuzz.hostile import PICKLED, Runs, damaged, fewer, odd_json, odd_tree, write
from tests.fuzz.outcome import Refused, outcome
from tests.making_run import SmallRun
from tests.making_towers import write_converted
from tests.making_transformers import write_resnet

TENSORS = (
    torch.zeros(0), torch.zeros(2, 3, dtype=torch.float16), torch.full((2, 3), float("nan")),
    torch.zeros(2, 3, dtype=torch.int64), torch.zeros(2, 3).to_sparse(), torch.zeros(()),
    torch.zeros(1).expand(2, 3), torch.zeros(2, 3, device="meta"), torch.zeros(2, 3).bool(),
)  # fmt: skip


def torch_bytes(value: Any, old: bool = False) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=not old)
    return buffer.getvalue()


def odd_parts() -> st.SearchStrategy[Any]:
    return st.one_of(
        st.sampled_from((*TENSORS, Runs())), st.sampled_from((None, 1, -1, "a", {}, []))
    )


@st.composite
def saved_values(draw: st.DrawFn, value: Any) -> bytes:
    """A file of torch.save of an odd tree, damaged, or another pickle."""
    how, tree = draw(st.integers(0, 7)), draw(odd_tree(value, odd_parts()))
    data = torch_bytes(tree, old=how > 5)  # the old format is of another length each time
    return PICKLED if how == 0 else draw(damaged(data)) if how < 3 else data


STATE = {"a.weight": torch.ones(2, 3), "a.bias": torch.ones(2), "b.weight": torch.zeros(1)}


@given(saved_values(STATE))
def test_pth(folder: Path, data: bytes) -> None:
    found = outcome(load_state, write(folder / "w.pth", data))
    if not isinstance(found, Refused):
        assert all(isinstance(value, torch.Tensor) for value in found.values())


@given(damaged(save(STATE)))
def test_safetensors(folder: Path, data: bytes) -> None:
    found = outcome(load_state, write(folder / "w.safetensors", data))
    if not isinstance(found, Refused):
        assert sum(v.nbytes for v in found.values()) <= len(data)


@given(saved_values({"state_dict": {f"module.{k}": v for k, v in STATE.items()}, "epoch": 3}))
def test_published_checkpoint(folder: Path, data: bytes) -> None:
    path = write(folder / "p.pt", data)
    found = outcome(lambda: tensors(read_checkpoint(path), path))
    if not isinstance(found, Refused):
        assert all(isinstance(value, torch.Tensor) for value in found.values())
    outcome(read_released, path)


# --- checkpoints of a run ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def written(folder: Path) -> dict[str, bytes]:
    run = SmallRun().steps(2)
    state = {k: p.state_dict() for k, p in run.state.items() if hasattr(p, "state_dict")}
    return {
        "state": state,
        "model": {k: v.contiguous() for k, v in run.model.state_dict().items()},
    }


@fewer(2)
@given(st.data())
def test_state(folder: Path, written: dict[str, Any], data: st.DataObject) -> None:
    step = folder / "step-000000002"
    write(step / "state.pt", data.draw(saved_values(written["state"])))
    weights = data.draw(st.one_of(st.just(save(written["model"])), damaged(save(written["model"]))))
    for name in ("model", "ema"):
        write(step / f"{name}.safetensors", weights)
    run = SmallRun()
    outcome(read, step, run.weights, run.state)


FACTS = {
    "position": {"step": 2, "epoch": 0, "batch": 2}, "facts": {"seed": 0, "train.epochs": 2},
    "written_by": {"mmts": "1"},
}  # fmt: skip


@given(odd_json(FACTS), st.binary(max_size=200) | damaged(b"0" * 64 + b"  facts.json\n"))
def test_facts_and_seal(folder: Path, data: bytes, sums: bytes) -> None:
    write(folder / "sealed/facts.json", data)
    found = outcome(read_facts, folder / "sealed")
    if not isinstance(found, Refused):
        assert all(n >= 0 for n in found["position"].values())
    write(folder / "sealed/SHA256SUMS", sums)
    assert isinstance(outcome(lambda: check_seal(folder / "sealed", {"facts.json"}, "-")), Refused)


@given(saved_values({"torch": torch.get_rng_state(), "python": [3, (1, 2), None]}))
def test_random_states(folder: Path, data: bytes) -> None:
    outcome(read_tensors, write(folder / "rank-0.pt", data))


# --- saved models ------------------------------------------------------------------------------

NEW = {"weights": "random", "frozen": False}
SMALL = {"width": 8, "layers": 1, "heads": 2}  # hypothesis keeps all that it has drawn
VISION = NEW | {"name": "vit", "image_size": 32, "shape": SMALL}
TEXT = NEW | {"name": "distilbert", "pooling": "mean", "shape": SMALL}


@pytest.fixture(scope="module")
def model(folder: Path) -> Path:
    made = folder / "model"
    made.mkdir()
    towers = Towers.model_validate({"vision": VISION, "text": TEXT})
    tokenizer = train_tokenizer(["a red ball", "a box"])
    dims = {"vocabulary": tokenizer.get_vocab_size()}
    torch.manual_seed(0)
    head = Head(dim=4)
    saved.save_model(made, TwoTower(towers, head, dims), towers, head, dims, tokenizer)
    return made


@given(st.data())
@fewer(2)
def test_saved_model(folder: Path, model: Path, data: st.DataObject) -> None:
    made = shutil.copytree(model, folder / "other", dirs_exist_ok=True)
    facts = json.loads((model / "model.json").read_text())
    write(made / "model.json", data.draw(odd_json(facts)))
    if data.draw(st.booleans()):
        weights = (model / "model.safetensors").read_bytes()
        write(made / "model.safetensors", data.draw(damaged(weights)))
    outcome(saved.load_model, made)


SPLIT = '{"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##"}'


@given(st.data())
def test_tokenizer(folder: Path, model: Path, data: st.DataObject) -> None:
    made = json.loads((model / "tokenizer.json").read_text())
    vocabulary = dict(list(made["model"]["vocab"].items())[:6])
    made["model"] |= {"vocab": vocabulary, "merges": []}
    path = write(folder / "words/tokenizer.json", data.draw(odd_json(made)))
    outcome(_encoded, path)
    outcome(bert_tokenizer, str(path.parent), 0, True)


def _encoded(path: Path) -> torch.Tensor:
    return encode(read_tokenizer(path), ["a red ball", "", "\x00"])


# --- folders of weights ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def resnet(folder: Path) -> Path:
    return write_resnet(folder / "resnet")


@given(st.data())
@fewer(4)
def test_folder_of_transformers(folder: Path, resnet: Path, data: st.DataObject) -> None:
    made = shutil.copytree(resnet, folder / "changed", dirs_exist_ok=True)
    which = data.draw(st.sampled_from(("config.json", "model.safetensors")))
    if which == "config.json":
        facts = json.loads((resnet / which).read_text())
        facts["hidden_sizes"] = facts["hidden_sizes"][:2]
        write(made / which, data.draw(odd_json(facts)))
    else:
        write(made / which, data.draw(damaged((resnet / which).read_bytes())))
    outcome(load_model, RESNET, str(made))


COLOURS = {"image_processor": {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.1, 0.4]}}


@given(st.one_of(odd_json(COLOURS), odd_json(COLOURS["image_processor"])))
def test_colours(folder: Path, data: bytes) -> None:
    write(folder / "colours/processor_config.json", data)
    found = outcome(colours, folder / "colours")
    if not isinstance(found, Refused):
        assert all(len(of) == 3 and all(type(v) is float for v in of) for of in found.values())


@pytest.fixture(scope="module")
def towers_folder(folder: Path) -> Path:
    return write_converted(folder / "converted")


@given(st.data())
@fewer(2)
def test_converted(folder: Path, towers_folder: Path, data: st.DataObject) -> None:
    made = shutil.copytree(towers_folder, folder / "towers", dirs_exist_ok=True)
    facts = json.loads((made / converted.FACTS).read_text())
    write(made / converted.FACTS, data.draw(odd_json(facts)))
    outcome(converted.load_towers, made)
    outcome(converted.load_vision, made)
    shutil.rmtree(made)


MODULES = [
    {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
    {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
]  # fmt: skip


@pytest.mark.parametrize("kind", ["evil.Module", "os.getpid", 5, None])
def test_a_sentence_model_with_code_of_its_own_is_refused(
    folder: Path, sentence_folder: Path, kind: object
) -> None:
    made = shutil.copytree(sentence_folder, folder / "sentence", dirs_exist_ok=True)
    modules = json.loads((made / "modules.json").read_text())
    modules[1]["type"] = kind
    write(made / "modules.json", json.dumps(modules).encode())
    write(made / "evil.py", b"import os\nos.environ['MMTS_FUZZ_RAN'] = '1'\nclass Module: pass\n")
    found = outcome(load_sentence_model, str(made))
    assert isinstance(found, Refused) and "modules.json" in found.line


def test_a_sentence_model_of_millions_of_layers_is_refused(
    folder: Path, sentence_folder: Path
) -> None:
    made = shutil.copytree(sentence_folder, folder / "deep")
    facts = json.loads((made / "config.json").read_text())
    write(made / "config.json", json.dumps(facts | {"num_hidden_layers": 10**7}).encode())
    found = outcome(load_sentence_model, str(made))
    assert isinstance(found, Refused) and "10,000,000 layers, 1,024 at most" in found.line


@given(st.data())
@fewer(4)
def test_sentence_model(folder: Path, sentence_folder: Path, data: st.DataObject) -> None:
    made = shutil.copytree(sentence_folder, folder / "sentence2", dirs_exist_ok=True)
    names = sorted(p.relative_to(made).as_posix() for p in made.rglob("*.json"))
    name = data.draw(st.sampled_from([n for n in names if "tokenizer" not in n]))
    write(made / name, data.draw(odd_json(json.loads((sentence_folder / name).read_text()))))
    outcome(load_sentence_model, str(made))
    shutil.rmtree(made)
