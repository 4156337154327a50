"""The speed of trainings: medians of what was noted, or a dash and why; never kept by git."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from mmts.reporting.cells import Dataset
from mmts.reporting.report import Report
from mmts.reporting.results import write_results
from mmts.reporting.speed import Speed, cell_speeds, speed_page

GPU = "NVIDIA | H100"


def _noted(dataset: Dataset, folder: Path, notes: dict[int, dict[str, Any]]) -> list[Speed]:
    """The rows of `plain`, after a note of each of its seeds with what differs by seed."""
    cells = dict(dataset.cells)
    for seed, differs in notes.items():
        note = {
            "digest": "abc", "device": GPU, "processes": 8, "precision": "bf16",
            "samples_per_second": 1000.0 * (seed + 1) ** 2, "data_wait": 0.01 * (seed + 1),
            "flops_per_sample": 1e9, "peak_flops": None, "mfu": 0.3 + seed / 100,
        } | differs  # fmt: skip
        file = folder / dataset.name / "plain" / f"{seed}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(note))
        cell = cells["plain", seed]
        cells["plain", seed] = dataclasses.replace(cell, run={**cell.run, "facts": "abc"})
    rows = cell_speeds(folder, dataclasses.replace(dataset, cells=cells))
    return [row for row in rows if row.fields[0] == "plain"]


def test_medians_over_seeds(dataset: Dataset, tmp_path: Path) -> None:
    [row] = _noted(dataset, tmp_path, {0: {}, 1: {}, 2: {}})
    assert row == Speed(
        True, (0, 1, 2), ("plain", "4,000", "2.0 %", "31.0 %", "8", GPU, "bf16", "0, 1, 2")
    )


def test_seeds_of_another_device_have_a_row_of_their_own(dataset: Dataset, tmp_path: Path) -> None:
    other = {"device": "cpu", "mfu": None, "samples_per_second": 12.34}
    first, second = _noted(dataset, tmp_path, {0: {}, 1: other, 2: {}})
    assert first.fields[1:] == ("5,000", "2.0 %", "31.0 %", "8", GPU, "bf16", "0, 2")
    assert second.fields[1:] == ("12.3", "2.0 %", "–", "8", "cpu", "bf16", "1")


def test_a_dash_says_why(dataset: Dataset, tmp_path: Path) -> None:
    rows = _noted(dataset, tmp_path, {0: {"digest": "old"}, 1: {"data_wait": None}})
    assert [(row.measured, row.fields[1:]) for row in rows] == [
        (False, ("–",) * 6 + (f"{seed}: {reason}",))
        for seed, reason in (
            (0, "noted of another training"), (1, "the note cannot be read"), (2, "not noted"),
        )
    ]  # fmt: skip
    (tmp_path / dataset.name / "plain/1.json").write_text("{")
    again = [row for row in cell_speeds(tmp_path, dataset) if row.fields[0] == "plain"]
    assert [row.fields[-1] for row in again][1:] == ["1: the note cannot be read", "2: not noted"]


def test_a_run_without_facts_has_no_speed(dataset: Dataset, tmp_path: Path) -> None:
    _noted(dataset, tmp_path, {0: {}, 1: {}, 2: {}})
    assert not any(row.measured for row in cell_speeds(tmp_path, dataset))


@pytest.fixture(scope="module")
def pages(reports: list[Report], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """results/ with the speeds of two runs of the same trainings."""
    found = []
    for rate in (1000.0, 2000.0):
        folder = tmp_path_factory.mktemp("results")
        notes = tmp_path_factory.mktemp("speed")
        differs = {seed: {"samples_per_second": rate} for seed in range(3)}
        rows = {r.dataset.name: _noted(r.dataset, notes, differs) for r in reports}
        write_results(folder, reports, rows)
        found.append(folder)
    return found[0], found[1]


def test_only_what_git_ignores_differs_between_runs(pages: tuple[Path, Path]) -> None:
    first, second = pages
    files = sorted(f.relative_to(first) for f in first.rglob("*") if f.is_file())
    differ = [f.as_posix() for f in files if (first / f).read_bytes() != (second / f).read_bytes()]
    assert differ == ["local/index.html", "local/speed.md"]


def test_speeds_of_all_datasets_are_in_one_table_each(pages: tuple[Path, Path]) -> None:
    text = (pages[0] / "local/speed.md").read_text()
    assert "## open\n" in text and "## closed\n" in text
    row = "| plain | 1,000 | 2.0 % | 31.0 % | 8 | NVIDIA \\| H100 | bf16 | 0, 1, 2 |"
    assert text.count(row) == 2
    html = (pages[0] / "local/index.html").read_text()
    assert html.count(f'<td class="word">{GPU}</td>') == 1 and "td.word" in html
    assert speed_page({}).count("##") == 0
