import json
import os
import pickle
import random
import resource
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mmts.errors import InputError
from mmts.sealed import sha256_file
from mmts.training.checkpoint import Wish
from mmts.training.log import RunLog
from tests.making_run import FACTS, SmallRun, checkpoints, in_a_fork

FILES = [
    "SHA256SUMS",
    "ema.safetensors",
    "facts.json",
    "model.safetensors",
    "rank-0.pt",
    "state.pt",
]


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, Path]:
    """A cell with the checkpoints of steps 4 and 7, and the newer one."""
    run, keeper = SmallRun().steps(4), checkpoints(tmp_path)
    run.save(keeper)
    return tmp_path, run.steps(3).save(keeper)


def one_line(caught: Any) -> str:
    text = str(caught.value)
    assert "\n" not in text and len(text) < 700
    return text


def test_everything_comes_back_bit_equal(tmp_path: Path) -> None:
    whole = SmallRun().steps(5)
    path = whole.save(checkpoints(tmp_path / "cell"))
    assert sorted(p.name for p in path.iterdir()) == FILES and path.name == "step-000000005"
    before = whole.everything()
    end = whole.steps(6).everything()
    other = SmallRun(seed=1)
    assert other.resume(checkpoints(tmp_path / "cell")) == (5, 0, 5)
    assert other.everything() == before != end
    assert other.steps(6).everything() == end
    assert before["scaler"]["scale"] != 8.0  # the scaler had something to remember


def test_random_states_come_back(tmp_path: Path) -> None:
    def draws() -> list[Any]:
        return [random.random(), random.gauss(0, 1), np.random.standard_normal(3).tolist(),
                torch.rand(3).tolist()]  # fmt: skip

    run = SmallRun()
    draws()  # half of a pair of normal numbers is kept by Python and by NumPy
    run.steps(1).save(checkpoints(tmp_path))
    wanted = [draws(), draws()]
    run.resume(checkpoints(tmp_path))
    assert [draws(), draws()] == wanted


def test_the_sums_are_those_of_sha256sum(saved: tuple[Path, Path]) -> None:
    done = subprocess.run(["sha256sum", "--strict", "-c", "SHA256SUMS"], cwd=saved[1], check=True,
                          capture_output=True, text=True)  # fmt: skip
    assert done.stdout.count(": OK") == len(FILES) - 1


def test_the_newest_two_stay(tmp_path: Path) -> None:
    run, keeper = SmallRun(), checkpoints(tmp_path)
    for wanted in ([1], [1, 2], [2, 3], [3, 4]):
        run.steps(1).save(keeper)
        names = sorted(p.name for p in keeper.folder.iterdir())
        assert names == [f"step-{step:09d}" for step in wanted]
    assert keeper.newest() == keeper.folder / "step-000000004"
    keeper.clear()
    assert list(tmp_path.iterdir()) == [] and keeper.newest() is None


def test_going_back_gives_up_what_came_later(tmp_path: Path) -> None:
    run, keeper = SmallRun(), checkpoints(tmp_path)
    run.steps(2).save(keeper)
    run.steps(2).save(keeper)
    again, keeper = SmallRun(), checkpoints(tmp_path)
    again.resume(keeper, keeper.folder / "step-000000002")
    again.steps(1).save(keeper)
    names = sorted(p.name for p in keeper.folder.iterdir())
    assert names == ["step-000000002", "step-000000003"]


def test_a_step_is_written_once_and_a_known_one_replaced(saved: tuple[Path, Path]) -> None:
    cell, path = saved
    run, keeper = SmallRun(), checkpoints(cell)
    run.resume(keeper)
    before = path.stat().st_ino
    assert run.save(keeper) == path and path.stat().st_ino == before
    again = checkpoints(cell)
    run.save(again)
    assert path.stat().st_ino != before and len(list(again.folder.iterdir())) == 2
    assert SmallRun().resume(checkpoints(cell)) == (7, 0, 7)


def test_nothing_to_go_on_from(tmp_path: Path, capsys: Any) -> None:
    assert SmallRun().resume(checkpoints(tmp_path)) is None
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_bit(saved: tuple[Path, Path], name: str) -> None:
    cell, path = saved
    good, rng = (path / name).read_bytes(), random.Random(name)
    for _ in range(6):
        bad = bytearray(good)
        bad[rng.randrange(len(bad))] ^= 1 << rng.randrange(8)
        (path / name).write_bytes(bad)
        with pytest.raises(InputError, match=f"delete {path} to go on from the") as caught:
            SmallRun().resume(checkpoints(cell))
        assert name == "SHA256SUMS" or f"{path / name} is damaged" in one_line(caught)
    (path / name).write_bytes(good[: rng.randrange(len(good))])
    with pytest.raises(InputError, match="is damaged"):
        SmallRun().resume(checkpoints(cell))
    (path / name).unlink()
    with pytest.raises(InputError, match=r"is missing|is no checkpoint"):
        SmallRun().resume(checkpoints(cell))


def test_the_remedy_helps(saved: tuple[Path, Path]) -> None:
    cell, path = saved
    for file in path.iterdir():
        file.unlink()
    path.rmdir()
    assert SmallRun().resume(checkpoints(cell)) == (4, 0, 4)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"train.learning_rate": 0.02}, "train.learning_rate is 0.02 here and 0.01 there"),
        ({"world_size": 2}, "world_size is 2 here and nothing there"),
    ],
)
def test_other_settings(
    saved: tuple[Path, Path], change: dict[str, Any], told: str, capsys: Any
) -> None:
    cell, path = saved
    other = checkpoints(cell, facts={**FACTS, **change})
    run = SmallRun(seed=3)
    before = run.everything()
    assert run.resume(other) is None and run.everything() == before
    assert capsys.readouterr().out == f"begins anew; {path} is of another run: {told}\n"
    with pytest.raises(InputError, match=told) as caught:
        run.resume(other, path)
    assert str(path) in one_line(caught)
    run.steps(1).save(other)
    assert SmallRun().resume(checkpoints(cell)) == (7, 0, 7)  # the first settings' are still there
    assert capsys.readouterr().out == f"goes on from {path}\n"


def test_other_code_is_another_run(saved: tuple[Path, Path]) -> None:
    """Its result would stand under the digest of the present code."""
    cell, path = saved
    keeper = checkpoints(cell, facts={**FACTS, "code": "b" * 64})
    run = SmallRun()
    assert run.resume(keeper) is None
    with pytest.raises(InputError, match="is of another run: code is"):
        run.resume(keeper, path)


def test_another_model(saved: tuple[Path, Path]) -> None:
    cell, path = saved
    with pytest.raises(InputError, match=r"model\.safetensors is of another model .*0\.0\.weight"):
        SmallRun(width=5).resume(checkpoints(cell))
    run = SmallRun()
    run.optimizer.add_param_group({"params": [torch.zeros(1, requires_grad=True)]})
    with pytest.raises(InputError, match=r"state\.pt is of another model \(optimizer: "):
        run.resume(checkpoints(cell))
    run = SmallRun()
    with pytest.raises(InputError, match=r"state\.pt is of another model \(more: 'more'\)") as more:
        checkpoints(cell).resume(run.weights, {**run.state, "more": run.ema})
    assert f"delete {path} to" in one_line(more)


class Evil:
    def __reduce__(self) -> Any:
        return os.mkdir, ("evil",)


@pytest.mark.parametrize("name", ["state.pt", "rank-0.pt"])
def test_a_pickle_is_never_run(
    saved: tuple[Path, Path], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even where whoever made it has mended the sums."""
    cell, path = saved
    monkeypatch.chdir(cell)
    for write in (torch.save, lambda v, p: p.write_bytes(pickle.dumps(v, 2))):
        write(Evil(), path / name)
        with pytest.raises(InputError, match=r"is damaged"):
            SmallRun().resume(checkpoints(cell))
        lines = [f"{sha256_file(path / n)}  {n}\n" for n in FILES if n != "SHA256SUMS"]
        (path / "SHA256SUMS").write_text("".join(lines))
        with pytest.raises(InputError, match=f"{name} holds more than tensors .*mkdir") as caught:
            SmallRun().resume(checkpoints(cell))
        one_line(caught)
    assert not (cell / "evil").exists()


def reseal(path: Path, name: str) -> None:
    """List a file as it is now."""
    sums = path / "SHA256SUMS"
    lines = [line for line in sums.read_text().splitlines() if not line.endswith(f"  {name}")]
    lines.append(f"{sha256_file(path / name)}  {name}")
    sums.write_text("".join(f"{line}\n" for line in lines))


@pytest.mark.parametrize(
    "odd",
    [[], {"facts": FACTS}, {"facts": [], "position": {"step": 7, "epoch": 0, "batch": 7}},
     {"facts": FACTS, "position": {"step": 7, "epoch": 0}},
     {"facts": FACTS, "position": {"step": "7", "epoch": 0, "batch": 7}},
     {"facts": FACTS, "position": {"step": 7, "epoch": 0, "batch": 7, "more": 1}}],
)  # fmt: skip
def test_facts_of_another_kind(saved: tuple[Path, Path], odd: Any) -> None:
    cell, path = saved
    (path / "facts.json").write_text(json.dumps(odd))
    reseal(path, "facts.json")
    with pytest.raises(InputError, match=r"facts\.json is of another kind; delete ") as caught:
        SmallRun().resume(checkpoints(cell))
    one_line(caught)


@pytest.mark.parametrize("name", ["rank-0.pt", "state.pt"])
@pytest.mark.parametrize(
    "odd", [[], {}, 3, {"python": 1}, {"optimizer": [], "scaler": 1, "log": torch.ones(2)}]
)
def test_states_of_another_kind(saved: tuple[Path, Path], name: str, odd: Any) -> None:
    cell, path = saved
    torch.save(odd, path / name)
    reseal(path, name)
    with pytest.raises(InputError, match=rf"{name} is of another model .*; delete ") as caught:
        SmallRun().resume(checkpoints(cell))
    one_line(caught)


def test_a_path_that_is_no_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "some.pt").write_bytes(pickle.dumps(Evil()))
    for path in (tmp_path / "some.pt", tmp_path, tmp_path / "nowhere"):
        with pytest.raises(InputError, match=f"{path} is no checkpoint: that is a folder step-"):
            SmallRun().resume(checkpoints(tmp_path), path)


@pytest.mark.parametrize("limit", [2_000, 5_000])
def test_a_full_disk(saved: tuple[Path, Path], limit: int) -> None:
    """A limit on the size of files stands for it: in state.pt, and in model.safetensors."""
    cell, path = saved

    def write() -> None:
        run, keeper = SmallRun(width=6 if limit == 5_000 else 200), checkpoints(cell)
        if limit == 5_000:
            run.resume(keeper)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        with pytest.raises(InputError, match=r"could not be written \(the disk is full") as caught:
            run.steps(1).save(keeper)
        assert f"then goes on from {path}" in one_line(caught)

    sizes = {p.name: p.stat().st_size for p in path.iterdir()}
    assert sizes["model.safetensors"] < 5_000 < sizes["state.pt"]
    assert in_a_fork(write) == 0
    assert sorted(p.name for p in path.parent.iterdir()) == ["step-000000004", "step-000000007"]
    assert SmallRun().resume(checkpoints(cell)) == (7, 0, 7)


def test_weights_that_are_not_finite_are_not_saved(saved: tuple[Path, Path]) -> None:
    cell, path = saved
    run, keeper = SmallRun(), checkpoints(cell)
    run.resume(keeper)
    run.steps(1)
    run.model[1].weight.data[0, 0] = float("nan")
    with pytest.raises(InputError, match=r"^1\.weight is not finite after step 8; lower") as caught:
        run.save(keeper)
    assert str(path) in one_line(caught) and keeper.newest() == path


def test_due_by_steps_and_by_time(tmp_path: Path) -> None:
    now = [100.0]
    keeper = checkpoints(tmp_path, every_steps=4, every_minutes=10, clock=lambda: now[0])
    assert [step for step in range(1, 13) if keeper.wish(step).save] == [4, 8, 12]
    now[0] += 599
    assert keeper.wish(13) == Wish(False, 0)
    now[0] += 1
    assert keeper.wish(13) == keeper.wish(14) == Wish(True, 0)  # until it is saved
    run = SmallRun().steps(1)
    run.save(keeper)
    assert not keeper.wish(15).save and keeper.wish(15, asked=15) == Wish(True, 15)
    never = checkpoints(tmp_path, clock=lambda: now[0])
    now[0] += 1e9
    assert not any(never.wish(step).save for step in range(1, 50))


def test_the_log_goes_on(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("whole", "resumed")]
    for folder in folders:
        folder.mkdir()
    with RunLog(folders[0]) as log:
        run = SmallRun(log=log)
        log.point(0, 0, loss=float("nan"), tau_min=0.1 + 0.2)
        run.steps(3)
        log.point(3, 0, **{"val_rsum": 1 / 3, "val_t2v_R@1": 0.5})
        run.save(checkpoints(tmp_path / "cell"))
        log.point(3, 0, val_mAP=0.25)
        run.steps(2)
    with RunLog(folders[1]) as log:
        again = SmallRun(seed=2, log=log)
        again.resume(checkpoints(tmp_path / "cell"))
        log.point(3, 0, val_mAP=0.25)
        again.steps(2)
    whole, resumed = (
        {p.relative_to(f): p.read_bytes() for p in f.rglob("*") if p.is_file()} for f in folders
    )
    assert list(whole) == [Path("curves.csv")] and whole == resumed


def test_tensors_that_share_memory(tmp_path: Path) -> None:
    run = SmallRun()
    run.model[1].bias = torch.nn.Parameter(run.model[0][0].bias.data[:3])
    run.steps(1).save(checkpoints(tmp_path))
    before = run.everything()["model"]
    run.steps(1).resume(checkpoints(tmp_path))
    assert run.everything()["model"] == before


def test_facts_say_who_wrote_them(saved: tuple[Path, Path]) -> None:
    found = json.loads((saved[1] / "facts.json").read_text())
    assert found["facts"] == FACTS and found["position"] == {"step": 7, "epoch": 0, "batch": 7}
    assert found["written_by"]["torch"] == torch.__version__
