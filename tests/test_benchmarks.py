"""The benchmark commands run on tiny sizes, and their ratios are what they are said to be."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import (
    candidates,
    clustering,
    embedding,
    gpu,
    gpu_runs,
    measure,
    memory,
    packing,
    reading,
    refining,
    report,
    step,
)
from benchmarks import losses as command
from benchmarks.candidates import DENSE, EACH, FLOOR, LEARNED, NUMBER, OURS, STRAIGHTFORWARD, Case
from stages.cli import run
from tests import reference, straightforward
from tests.losses.test_info_nce import taus, unit
from tests.making import write_sentence_model

ROOT = Path(__file__).parent.parent


def started(module: Any, *arguments: object) -> None:
    argv, sys.argv = sys.argv, ["bench", *map(str, arguments)]
    threads = torch.get_num_threads()
    try:
        run(module.main)
    except SystemExit as stop:
        assert stop.code == 0
    finally:
        sys.argv = argv
        torch.set_num_threads(threads)


@pytest.mark.parametrize("n", [2, 7])
@pytest.mark.parametrize(
    ("form", "loop"),
    [
        (straightforward.max_margin, reference.max_margin),
        (straightforward.dense_max_margin, reference.max_margin),
        (straightforward.info_nce, reference.info_nce),
    ],
)
def test_straightforward_forms_are_the_loops(n: int, form: Any, loop: Any) -> None:
    v, t, tau = unit(n, seed=1), unit(n, seed=2), taus(n)
    wanted = loop(v.tolist(), t.tolist(), tau.tolist(), None)
    assert form(v, t, tau).item() == pytest.approx(wanted, abs=1e-12)
    wanted = loop(v.tolist(), t.tolist(), [0.3] * n, None)
    assert form(v, t, 0.3).item() == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize("loss", ["max_margin", "info_nce"])
@pytest.mark.parametrize("block", [3, 10])
def test_the_floor_is_so_many_products_and_no_more(loss: str, block: int) -> None:
    v, t = (x.detach() for x in candidates.features(10, 4, torch.float32, "cpu"))
    with FlopCounterMode(display=False) as count:
        found = candidates.products(loss, block, v, t)()
    assert count.get_total_flops() == {"max_margin": 3, "info_nce": 4}[loss] * 2 * 10 * 10 * 4
    torch.testing.assert_close(found, (v @ t.T @ t, t @ v.T @ v))


def test_rounds_are_interleaved_and_the_first_is_not_counted() -> None:
    order: list[str] = []
    runs = {name: lambda name=name: order.append(name) for name in "ab"}
    took = measure.interleaved(runs, 2, "cpu")
    assert "".join(order) == "ababab" and [len(seconds) for seconds in took.values()] == [2, 2]


def test_peak_is_that_of_the_call() -> None:
    held = torch.ones(2**21)  # 8 MiB before the call do not count
    found = measure.peak_extra(lambda: torch.ones(2**23).sum(), "cpu")
    if found is None:
        pytest.skip("this system does not tell its resident memory")
    assert abs(found - 2**25) < 2**22 and held.sum() == 2**21  # the kernel counts in batches


def test_ratios_are_as_defined() -> None:
    took = {
        Case("max_margin", STRAIGHTFORWARD, EACH): [9.0, 6.0, 7.0],
        Case("max_margin", OURS, EACH): [0.5, 0.4, 3.0],
        Case("max_margin", FLOOR, "2 rows"): [0.25, 0.2, 0.3],
        Case("max_margin", FLOOR, "4 rows"): [0.5, 0.5, 0.5],
        Case("info_nce", OURS, EACH): [2.0],
        Case("info_nce", FLOOR, "4 rows"): [0.5],
    }
    extra = {Case("max_margin", OURS, EACH): 104, Case("info_nce", OURS, EACH): None}
    rows = report.rows(took, extra, n=10, d=5)
    ours, floor, other = rows[1], rows[2], rows[4]
    assert ours["seconds"] == 0.5 and ours["rounds"] == [0.5, 0.4, 3.0]
    assert ours["against_straightforward"] == 14 and ours["against_floor"] == 2
    assert ours["tflops"] == pytest.approx(3 * 2 * 10 * 10 * 5 / 0.5 / 1e12)
    assert floor["against_floor"] == 1 and other["against_straightforward"] is None
    assert rows[0]["tflops"] is None

    bars = report.bars(rows, {"max_margin": 1e-13, "info_nce": 2e-12}, n=10, device="cpu")
    assert [(b["value"], b["bar"], b["met"]) for b in bars] == [
        (14, ">= 12", True), (2, "<= 1.5", False), (0.01, "<= 0.02", True),
        (1e-13, "<= 1e-12", True),
        (None, ">= 1.6", False), (4, "<= 1.5", False), (None, "<= 0.1", False),
        (2e-12, "<= 1e-12", False),
    ]  # fmt: skip
    extra = dict.fromkeys(extra, 3 * 10**9)
    bars = report.bars(
        report.rows(took, extra, 10, 5), {"max_margin": 0, "info_nce": 0}, 10, "cuda"
    )
    assert [(b["value"], b["met"]) for b in bars] == [
        (3, False), (0.5, True), (0, True), (3, False), (0.25, False), (0, True)
    ]  # fmt: skip


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "new/losses.json"
    started(command, "--n", 32, "--d", 8, "--device", "cpu", "--rounds", 1, "--json", path)
    found = json.loads(path.read_text())
    assert (found["n"], found["d"], found["dtype"], found["device"]) == (32, 8, "float32", "cpu")
    cases = {(r["loss"], r["form"], r["tau"]): r for r in found["rows"]}
    usual = {
        (loss, form, tau)
        for loss in ("max_margin", "info_nce")
        for form in (OURS, STRAIGHTFORWARD)
        for tau in (NUMBER, EACH, LEARNED)
    }
    floors = {(loss, FLOOR, "32 rows") for loss in ("max_margin", "info_nce")}
    assert set(cases) == usual | floors | {("max_margin", DENSE, EACH)}
    assert all(cases[case]["against_straightforward"] > 0 for case in usual)
    disagreement = [b["met"] for b in found["bars"] if "disagreement" in b["what"]]
    assert disagreement == [True, True]
    printed = capsys.readouterr().out
    assert all(b["what"] in printed for b in found["bars"])
    assert len([line for line in printed.splitlines() if line.startswith("info_nce  ")]) == 7


def test_the_command_without_the_straightforward_forms(tmp_path: Path) -> None:
    path = tmp_path / "losses.json"
    sizes = ("--n", 16, "--d", 8, "--dtype", "bfloat16", "--device", "cpu", "--rounds", 1)
    started(command, *sizes, "--skip-straightforward", "--json", path)
    found = json.loads(path.read_text())
    assert {row["form"] for row in found["rows"]} == {OURS, FLOOR}
    assert all(row["against_straightforward"] is None for row in found["rows"])


def test_no_memory_is_said_in_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: object) -> None:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(measure, "interleaved", fails)
    monkeypatch.setattr(sys, "argv", ["losses", "--n", "8", "--device", "cpu"])
    with pytest.raises(SystemExit) as stop:
        run(command.main)
    wanted = "error: n is 8: no memory for N x N; pass --skip-straightforward\n"
    assert (stop.value.code, capsys.readouterr().err) == (1, wanted)
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--skip-straightforward"])
    with pytest.raises(SystemExit):
        run(command.main)
    assert capsys.readouterr().err.startswith("error: out of memory (CUDA out of memory); lower ")


def test_the_memory_limit_is_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "memory.json"
    started(memory, "--n", 4096, "--d", 8, "--gb", 0.8, "--json", path)
    rows = json.loads(path.read_text())["rows"]
    runs = {(row["loss"], row["form"]): row["runs"] for row in rows}
    assert runs["max_margin", OURS] and runs["info_nce", OURS]
    assert not runs["max_margin", STRAIGHTFORWARD]  # 1.8 GB
    assert "at most 0.8 GB" in capsys.readouterr().out


def test_packing_and_reading(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for module, forms in ((packing, 2), (reading, 7)):
        path = tmp_path / "figures.json"
        batch = ("--batch", 8) if module is reading else ()
        started(module, "--pictures", 20, *batch, "--rounds", 1, "--json", path)
        found = json.loads(path.read_text())
        assert len({(row["size"], row["form"]) for row in found["rows"]}) == 2 * forms
        assert all(row["seconds"] > 0 for row in found["rows"])
        printed = capsys.readouterr().out
        assert all(bar["what"] in printed for bar in found["bars"]) and found["bars"]


def test_embedding(tmp_path: Path) -> None:
    model, path = write_sentence_model(tmp_path), tmp_path / "figures.json"
    sizes = ("--captions", 40, "--distinct", 9, "--rounds", 1)
    started(embedding, *sizes, "--model", model, "--json", path)
    found = json.loads(path.read_text())
    assert [bar["met"] for bar in found["bars"]][1:] == [True, True, True]
    texts = embedding.made(40, 9)
    assert (len(texts), len(set(texts))) == (40, 9)


def test_clustering(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clustering, "memory", clustering.peak_of_fit)  # in this process
    path = tmp_path / "figures.json"
    started(clustering, "--rows", 2000, "--dim", 8, "--k", 9, "--rounds", 1, "--json", path)
    found = json.loads(path.read_text())
    assert [bar["met"] for bar in found["bars"]][2:] == [True, True]
    assert len(found["forms"]) == 4 and all(row["seconds"] > 0 for row in found["forms"])


def test_steps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "figures.json"
    started(step, "--batch", 4, "--rounds", 3, "--json", path)
    found = json.loads(path.read_text())
    assert {(row["objective"], row["form"]) for row in found["rows"]} == {
        (objective, form) for objective in step.TAU for form in step.FORMS
    }
    assert all(row["from"] <= row["mmts_adds"] <= row["to"] for row in found["rows"])
    printed = capsys.readouterr().out
    assert len(found["bars"]) == 6 and all(bar["what"] in printed for bar in found["bars"])
    low, middle, high = step.interval(np.linspace(-1, 1, 101))
    assert middle == 0 and -0.4 < low < -0.1 and 0.1 < high < 0.4


def test_refining(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    started(refining, "--clips", 12, "--candidates", 3, "--json", path)
    found = json.loads(path.read_text())
    assert (found["clips"], found["candidates"]) == (12, 3) and found["seconds"] > 0
    assert found["contexts_bytes"] == 12 * (8 * 5 + 256 + 70) * 32 * 4


def test_a_fixed_temperature_and_mm_ts_are_what_they_are_called() -> None:
    pairs = step.made(64)
    tau = {form: step.modulator(form, 0.2)(10, pairs, None, None) for form in step.FORMS}
    assert tau[step.NUMBER] == 0.2
    torch.testing.assert_close(tau[step.FIXED], torch.full((64,), 0.2))
    assert tau[step.MMTS].std() > 0.01
    later = step.modulator(step.MMTS, 0.2)(30, pairs, None, None)
    assert (later - tau[step.MMTS]).abs().min() > 0.01


def test_the_gpu_command_where_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All of the script but torch.compile, with tiny models on the CPU."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu"])
    with pytest.raises(SystemExit) as stop:
        run(gpu.main)
    assert stop.value.code == 1 and "needs a CUDA device" in capsys.readouterr().err
    path = tmp_path / "gpu.json"
    started(gpu, "--tiny", "--device", "cpu", "--skip-compile", "--json", path)
    found = json.loads(path.read_text())
    checks = [bar for bar in found["bars"] if "against" in bar["what"]]
    assert len(checks) == 18 and all(bar["met"] for bar in checks)
    assert [row["what"] for row in found["rows"]][2:] == list(gpu_runs.AUGMENTED)
    assert all(row["samples_per_second"] > 0 for row in found["rows"])
    printed = capsys.readouterr().out
    assert all(bar["what"] in printed for bar in found["bars"]) and len(found["bars"]) == 24


def test_help_imports_nothing_heavy() -> None:
    names = "clustering, embedding, gpu, losses, memory, packing, reading, refining, step"
    code = f"import sys; from benchmarks import {names}; print('torch' in sys.modules)"
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert ran.stdout.strip() == "False"
