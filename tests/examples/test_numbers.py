"""A stream of numbers beside the pictures: the captions follow from the numbers alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file

from tests.examples.adding import add, tiny
from tests.pipeline.project import Project

pytestmark = pytest.mark.long
WORDS = [
    ("dog", "house"), ("winter", "summer"), ("music", "silence"), ("gold", "wood"),
    ("night", "morning"), ("the sea", "a desert"),
]  # fmt: skip


def write_readings(folder: Path) -> None:
    """Write 64 captions, each of six words that six readings tell; the pictures tell nothing."""
    lines = ["image,caption,colour,readings"]
    for number in range(64):
        readings = [number >> n & 1 for n in range(6)]
        one, two, three, four, five, six = (
            words[bit] for words, bit in zip(WORDS, readings, strict=True)
        )
        caption = f"a {one} in {two} with {three} and {four} at {five} near {six}"
        lines.append(f"images/{number}.png,{caption},grey,{' '.join(map(str, readings))}")
    (folder / "captions.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def recall(project: Project) -> float:
    """Return R@1 of text to vision, on 13 test items."""
    (metrics,) = (project.folder / "data/evaluate").rglob("0/metrics.json")
    return float(json.loads(metrics.read_text())["my_pairs"]["t2v/R@1"])


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, warm_commands: Path) -> Project:
    """A project whose pipeline has run without the stream."""
    project = tiny(tmp_path_factory.mktemp("numbers"), methods=["info_nce"])
    write_readings(project.folder / "data/raw/my_pairs")
    source = "datasets__my_pairs__captions__sources__my_pairs"
    project.set(**{
        f"{source}__stream_columns": ["readings"],
        "datasets__my_pairs__train__epochs": 60, "datasets__my_pairs__train__log_every": 20,
    })  # fmt: skip
    project.use(warm_commands)
    project.repro()
    return project


def test_recall_rises_by_the_numbers(finished: Project) -> None:
    project = finished
    without = recall(project)
    assert without < 0.5
    add(project, "numbers")
    cell = "my_pairs-info_nce"
    assert project.repro() == {"pack@my_pairs", f"train@{cell}", f"evaluate@{cell}", "report"}
    assert recall(project) > without + 0.4 and recall(project) > 0.9
    for page in ("my_pairs.md", "index.html"):
        text = (project.folder / "results" / page).read_text()
        assert "The vision side reads further streams: readings (numbers)." in text
        assert "identical to" not in text  # the readings tell the pictures apart


def test_an_edit_of_the_kind_runs_what_reads_it(finished: Project) -> None:
    project = finished
    project.edit("mmts/kinds/stream/numbers.py", "rng.normal(0, 0.01", "rng.normal(0, 0.02")
    training = "train@my_pairs-info_nce"
    assert project.repro(training) == {"pack@my_pairs", training}


def test_a_column_that_the_table_lacks(finished: Project) -> None:
    project = finished
    project.set(datasets__my_pairs__streams__readings__column="weather")
    said = project.run("dvc repro", ok=False)
    assert (
        "error: a stream is made of column 'weather', but the sources give readings; name it in "
        "their stream_columns, or subtitles\n"
    ) in said
    project.set(datasets__my_pairs__streams__readings__column="readings")


def test_another_length(finished: Project) -> None:
    project = finished
    project.set(datasets__my_pairs__streams__readings__length=7)
    said = project.run("dvc repro", ok=False)
    assert (
        "images/0.png of source my_pairs: stream readings cannot be packed of its readings (it has "
        "6 numbers, but length is 7); mend it\n"
    ) in said
    project.set(datasets__my_pairs__streams__readings__length=6)


def test_beside_pictures_that_are_augmented(finished: Project) -> None:
    """With a tower that is trained, and workers that make the batches."""
    project = finished
    vision = {"name": "small_cnn", "weights": "random", "frozen": False, "image_size": 32}
    project.set(**{
        "datasets__my_pairs__towers__vision": vision,
        "datasets__my_pairs__train__augment": {}, "datasets__my_pairs__train__workers": 2,
        "datasets__my_pairs__train__epochs": 2,
    })  # fmt: skip
    project.repro("evaluate@my_pairs-info_nce")
    run = project.folder / "data/train/my_pairs/info_nce/0"
    parts = {name.partition(".")[0] for name in load_file(run / "model.safetensors")}
    assert parts == {"vision", "beside", "vision_head", "text_head"}
    assert 0 <= recall(project) <= 1
