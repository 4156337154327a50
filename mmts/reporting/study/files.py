"""All files of a study's report."""

from __future__ import annotations

from pathlib import Path

from mmts.files import output_file
from mmts.reporting.study.figures import study_figures
from mmts.reporting.study.markdown import markdown
from mmts.reporting.study.numbers import study_csv
from mmts.reporting.study.page import page
from mmts.reporting.study.results import load_studies
from mmts.reporting.study.rows import Rows
from mmts.reporting.study.sections import document
from mmts.study.settings import load_study

SETTINGS = "params.yaml"


def study_files(folder: Path) -> dict[str, bytes]:
    """By name below `results`, what the finished datasets of the study in `folder` give.

    Empty where none is finished.
    """
    if not (folder / SETTINGS).exists():
        return {}
    results = load_studies(folder)
    if not results:
        return {}
    figures = study_figures(results)
    studies = [Rows(of_dataset) for of_dataset in results]
    shown = document(studies, load_study(folder / SETTINGS), figures)
    files = {
        "study.csv": study_csv(studies), "study.md": markdown(shown), "study.html": page(shown),
    }  # fmt: skip
    pictures = {f"figures/{figure.name}.png": figure.png for figure in figures}
    return {name: text.encode() for name, text in files.items()} | pictures


def write_study(results: Path, files: dict[str, bytes]) -> None:
    """Write the files of a study's report, and remove figures of an older one."""
    for old in (results / "figures").glob("study-*.png"):
        if f"figures/{old.name}" not in files:
            old.unlink()
    for name, content in files.items():
        with output_file(results / name) as work:
            work.write_bytes(content)
