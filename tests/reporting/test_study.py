"""The study's report: its numbers against loops over the records, its sentences, its files."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import warnings
from html.parser import HTMLParser
from pathlib import Path
from statistics import mean, stdev

import numpy as np
import pytest
import yaml

import stages.report
from mmts.errors import InputError
from mmts.metrics.bootstrap import paired_interval
from mmts.reporting.study import results as results_module
from mmts.reporting.study.files import study_files
from mmts.reporting.study.numbers import study_csv
from mmts.reporting.study.results import RESAMPLES, load_studies
from mmts.reporting.study.rows import Rows
from mmts.study.records import unpacked
from tests.reporting.making_study import HOSTILE, ITEMS, METHODS, SEEDS, queries, write_study

ROOT = Path(__file__).parents[2]
Numbers = dict[tuple[str, str, str], float]  # by row, seed and metric


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "study"
    write_study(folder)
    return folder


@pytest.fixture(scope="module")
def files(folder: Path) -> dict[str, str]:
    found = study_files(folder)
    return {name: data.decode() for name, data in found.items() if not name.endswith(".png")}


def numbers_in(text: str) -> Numbers:
    lines = list(csv.DictReader(io.StringIO(text)))
    found = {(one["row"], one["seed"], one["metric"]): float(one["value"]) for one in lines}
    assert len(found) == len(lines)  # none stands there twice
    return found


@pytest.fixture(scope="module")
def numbers(files: dict[str, str]) -> Numbers:
    return numbers_in(files["study.csv"])


def levels(folder: Path, key: str) -> list[int]:
    for text in (folder / "toy.jsonl").read_text().splitlines():
        record = json.loads(text)
        if record["key"] == key:
            return unpacked(record["levels"], len(queries())).tolist()
    raise AssertionError(key)


def counted(folder: Path, key: str, parts: dict[int, str] | None = None) -> dict[str, float]:
    """Every metric of a record by counting; `parts` by class, else those of the queries."""
    hits: dict[str, list[int]] = {}
    for row, level in zip(queries().itertuples(), levels(folder, key), strict=True):
        part = row.part if parts is None else parts[row._4]
        for place, k in enumerate((1, 5, 10)):
            for prefix in ("", f"{part}/"):
                hits.setdefault(f"{prefix}{row.direction}/R@{k}", []).append(level <= place)
    found = {name: 100 * sum(of) / len(of) for name, of in hits.items()}
    for prefix in ("", "head/", "medium/", "tail/"):
        found[f"{prefix}rsum"] = sum(
            found.get(f"{prefix}{d}/R@{k}", 0.0) for d in ("t2v", "v2t") for k in (1, 5, 10)
        )
    return found


def rsum_minus(folder: Path, one: str, other: str) -> float:
    return mean(
        counted(folder, f"{one}/{s}")["rsum"] - counted(folder, f"{other}/{s}")["rsum"]
        for s in SEEDS
    )


def test_the_numbers_of_a_seed_are_those_of_a_loop(folder: Path, numbers: Numbers) -> None:
    for name in METHODS:
        for seed in SEEDS:
            wanted = counted(folder, f"{name}/0.03/{seed}")
            assert len(wanted) == 28
            for metric, value in wanted.items():
                assert numbers[name, str(seed), metric] == pytest.approx(value, abs=6e-4)
    row = "controls/info_nce_mmts/control=random"
    found = counted(folder, "info_nce_mmts/0.03/random/1")
    assert numbers[row, "1", "v2t/R@5"] == pytest.approx(found["v2t/R@5"], abs=6e-4)
    assert numbers["trials/clip/centre=0.02", "9", "validation rsum"] == pytest.approx(311)
    assert numbers["clip", "1", "CPU seconds"] == 61
    assert ("ranges/info_nce_mmts/shifts=0.02-0.04 alpha=0.01", "0", "rsum") in numbers


def test_tail_queries_of_the_sweep_are_of_the_smallest_classes(
    folder: Path, numbers: Numbers
) -> None:
    parts = {0: "head", 1: "tail", 2: "tail", 3: "tail"}  # of 50, 9, 5 and 1 items
    for ratio in (1, 50):
        wanted = counted(folder, f"info_nce/0.03/{ratio}/1", parts)
        found = numbers[f"imbalance/info_nce/imbalance={ratio}", "1", "tail/rsum"]
        assert found == pytest.approx(wanted["tail/rsum"], abs=6e-4)


def test_differences_are_those_of_a_loop(folder: Path, numbers: Numbers) -> None:
    gained = rsum_minus(folder, "clip/0.03", "info_nce/0.03")
    assert numbers["clip", "", "rsum minus info_nce"] == pytest.approx(gained, abs=6e-4)
    sums, counts = np.zeros((2, ITEMS, 6)), np.zeros((ITEMS, 2))
    for sign, name in ((1, "clip"), (-1, "info_nce")):
        for seed in SEEDS:
            found = zip(queries().itertuples(), levels(folder, f"{name}/0.03/{seed}"), strict=True)
            for row, level in found:
                side = ("t2v", "v2t").index(row.direction)
                counts[row.item, side] += 0.25  # of 2 methods and 2 seeds
                for place in range(3):
                    sums[seed, row.item, 3 * side + place] += sign * (level <= place)
    wanted = 100 * np.array(paired_interval(sums, counts, resamples=RESAMPLES, seed=0))
    for end, value in zip(("", " low", " high"), wanted, strict=True):
        found_end = numbers["clip", "", f"rsum minus info_nce{end}"]
        assert found_end == pytest.approx(value, abs=6e-4)
    high = rsum_minus(folder, "info_nce_mmts/0.03/50", "info_nce/0.03/50")
    low = rsum_minus(folder, "info_nce_mmts/0.03/1", "info_nce/0.03/1")
    untuned = rsum_minus(folder, "info_nce_mmts", "info_nce")
    found_untuned = numbers["components/info_nce_mmts", "", "rsum minus components/info_nce"]
    assert found_untuned == pytest.approx(untuned, abs=6e-4)
    row = "imbalance/info_nce_mmts/imbalance=50"
    growth = "rsum minus imbalance/info_nce/imbalance=50, growth since imbalance 1"
    assert numbers[row, "", growth] == pytest.approx(high - low, abs=6e-4)


def test_a_difference_is_over_the_seeds_that_both_have(folder: Path, numbers: Numbers) -> None:
    row = f"features/info_nce_mmts/clustering.features={HOSTILE}"
    assert {seed for name, seed, _ in numbers if name == row} == {"5", "1", ""}
    one, other = (
        counted(folder, f"info_nce_mmts/0.03{end}/1")["rsum"] for end in (f"/{HOSTILE}", "")
    )
    assert numbers[row, "", "rsum minus info_nce_mmts"] == pytest.approx(one - other, abs=6e-4)


def rows_of(markdown: str, title: str) -> dict[str, list[str]]:
    """A table of the Markdown, by the first column (and the second, where that repeats)."""
    lines = markdown.split(f"**{title}**\n\n", 1)[1].split("\n\n", 1)[0].splitlines()
    cells = [[cell.strip(" *") for cell in line.strip("|").split("|")] for line in lines[2:]]
    return {" ".join(of[:2]) if "growth" in lines[0] else of[0]: of for of in cells}


def shown(values: list[float]) -> str:
    return f"{mean(values):.1f} ± {stdev(values):.1f}"


def test_the_tables_show_the_numbers_of_the_csv(files: dict[str, str], numbers: Numbers) -> None:
    main = rows_of(files["study.md"], "toy: all test queries")
    by_part = rows_of(files["study.md"], "toy: rsum of head, medium and tail queries")
    assert len(main) == len(by_part) == len(METHODS)
    for name in METHODS:
        of = main[name.replace("_", "\\_")]
        metrics = [f"{d}/R@{k}" for d in ("t2v", "v2t") for k in (1, 5, 10)]
        wanted = [
            shown([numbers[name, str(s), m] for s in SEEDS])
            for m in (*metrics, "rsum", "validation rsum")
        ]
        assert [*of[2:9], of[11]] == wanted
        assert of[12:] == ["3", "3.5", "60"]  # trials, 3 x 69 seconds, seconds of a cell
        assert by_part[of[0]][1:4] == [
            shown([numbers[name, str(s), f"{part}/rsum"] for s in SEEDS])
            for part in ("head", "medium", "tail")
        ]
        if name != "info_nce":
            value, low, high = (
                numbers[name, "", f"rsum minus info_nce{end}"] for end in ("", " low", " high")
            )
            text = f"{value:+.1f} [{low:+.1f} to {high:+.1f}]".replace("-", "−")
            assert of[9] == text
    assert main["info\\_nce"][9] == "fixed"
    assert "clip (centre 0.03)" in files["study.md"]


def test_the_best_fixed_row_is_chosen_by_validation(folder: Path) -> None:
    [found] = load_studies(folder)
    rsums = {name: mean(found.values(found.chosen[name], "rsum")) for name in METHODS}
    assert rsums["max_margin"] > rsums["info_nce"] + 20
    assert found.best_fixed == "info_nce"


def test_a_dataset_with_a_missing_record_is_left_out_with_a_line(tmp_path: Path) -> None:
    write_study(tmp_path)
    lines = (tmp_path / "toy.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "toy.jsonl").write_text("".join(lines[:-1]))
    with pytest.warns(UserWarning, match="toy is left out .* lacks cell info_nce_mmts/1;"):
        assert load_studies(tmp_path) == []


def test_what_is_set_aside_is_a_sentence_and_no_number(
    folder: Path, files: dict[str, str], tmp_path: Path
) -> None:
    copy = shutil.copytree(folder, tmp_path / "study")
    settings = yaml.safe_load((copy / "params.yaml").read_text())
    assert "clip" in files["study.md"] and "max_margin_mmts" in files["study.csv"]

    def drawn(*aside: dict[str, object]) -> dict[str, str]:
        (copy / "params.yaml").write_text(yaml.safe_dump(settings | {"set_aside": list(aside)}))
        found = study_files(copy)
        return {name: data.decode() for name, data in found.items() if not name.endswith(".png")}

    why = "It was trained & measured otherwise."
    found = drawn(
        {"methods": ["clip", "max_margin_mmts"], "why": why},
        {"datasets": ["toy_trained"], "why": why},
    )
    told = f"clip, max_margin_mmts: {why}"
    assert f"- {told}\n- toy_trained: {why}\n" in found["study.md"].replace("\\", "")
    assert f"<li>{told}</li>".replace("&", "&amp;") in found["study.html"]
    for name, text in found.items():
        rest = text.replace("\\", "").replace("&amp;", "&").replace(told, "")
        rest = rest.replace(f"toy_trained: {why}", "")
        assert not re.search(r"\bclip\b|max_margin_mmts|toy_trained", rest), name
    kept = [line for line in files["study.csv"].splitlines() if "max_margin_mmts" not in line]
    assert found["study.csv"].splitlines() == [line for line in kept if "clip" not in line]

    assert drawn({"datasets": ["toy"], "why": why}) == {}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_studies(copy) == []  # without a line on missing records


def test_the_page_is_whole_and_takes_no_markup_from_settings(files: dict[str, str]) -> None:
    class Reader(HTMLParser):
        tags: list[str] = []  # noqa: RUF012
        text = ""

        def handle_starttag(self, tag: str, attrs: object) -> None:
            self.tags.append(tag)

        def handle_data(self, data: str) -> None:
            self.text += data

    reader = Reader()
    reader.feed(files["study.html"])
    assert "script" not in reader.tags and HOSTILE in reader.text
    assert f"\\{HOSTILE[:7]}" in files["study.md"]
    for line in files["study.md"].splitlines():
        told = line.removeprefix("- ").replace("\\", "")
        if line.startswith("- "):
            assert told in reader.text, told
    assert "toy_trained, with all towers trained" in reader.text


def test_the_command_writes_the_studys_files_alone(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="no finished dataset"):
        stages.report.study()
    (tmp_path / "study").symlink_to(folder)
    figures = tmp_path / "results/figures"
    figures.mkdir(parents=True)
    (figures / "study-old.png").touch()
    (figures / "openmoji-tail.png").touch()
    (tmp_path / "results/index.html").write_text("kept")
    stages.report.study()
    assert (tmp_path / "results/index.html").read_text() == "kept"
    assert (figures / "openmoji-tail.png").exists() and not (figures / "study-old.png").exists()
    for name, text in files.items():
        assert (tmp_path / "results" / name).read_text() == text


def test_the_committed_numbers_are_those_of_the_committed_records(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    committed = (ROOT / "results/study.csv").read_text()
    studies = [Rows(found) for found in load_studies(ROOT / "study")]
    first = studies[0]
    clear = first.chosen[first.mmts].difference(first.results, "best")
    monkeypatch.setattr(results_module, "RESAMPLES", 2)  # the other bounds would take long
    lines = zip(
        *(csv.DictReader(io.StringIO(t)) for t in (study_csv(studies), committed)), strict=True
    )
    for made, kept in lines:
        value, other = float(made.pop("value")), float(kept.pop("value"))
        assert made == kept
        bound = made["metric"].endswith((" low", " high"))
        assert bound or value == pytest.approx(other, abs=2e-3), made
    assert clear is not None
    numbers = {
        (one["dataset"], one["row"], one["metric"]): float(one["value"])
        for one in csv.DictReader(io.StringIO(committed))
    }
    for end, bound in ((" low", clear.low), (" high", clear.high)):
        about = first.dataset, first.mmts, f"rsum minus {first.best}{end}"
        assert numbers[about] == pytest.approx(bound, abs=2e-3)
