"""The pages with hostile text in every place that text from outside can reach, and more."""

from __future__ import annotations

import dataclasses
import re
import shutil
import socket
import subprocess
from contextlib import suppress
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

import mmts.reporting.page
import mmts.reporting.study.page
from mmts.reporting.figure_classes import classes_figure
from mmts.reporting.markdown import markdown
from mmts.reporting.report import Report, dataset_report
from mmts.reporting.results import _curves
from mmts.reporting.speed import COLUMNS, Speed, speed_page
from mmts.reporting.study.cells import Tried
from mmts.reporting.study.files import study_files
from mmts.reporting.study.markdown import markdown as study_markdown
from mmts.reporting.study.sections import Section
from mmts.reporting.style import Figure
from mmts.settings.base import Name
from tests import patience
from tests.faults.hostile_text import CANARY, HARMLESS, STRINGS, Outline, Recorder, changed
from tests.reporting.conftest import METHODS as PICTURES
from tests.reporting.conftest import loaded, write_tree
from tests.reporting.graded import METHODS as CLIPS
from tests.reporting.making_study import write_study

SIZES = np.array([9, 3, 1])
SETTINGS: Any = SimpleNamespace(
    bootstrap=100, tsne_points=50, tsne_perplexity=5.0, examples=3, seed=0
)
CHROMIUM = shutil.which("chromium")


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> list[Report]:
    """Of pictures, and of clips that stand beside the paper's numbers."""
    data = tmp_path_factory.mktemp("data")
    found = []
    for name, methods in (("open", PICTURES), ("kitchen", CLIPS)):
        about: dict[str, Any] = {"seeds": (0,), "methods": methods}
        shards = write_tree(data, name, clips=name == "kitchen", **about)
        found.append(dataset_report(loaded(data, name, **about), SETTINGS, shards))  # type: ignore[arg-type]
    return found


@pytest.fixture(scope="module")
def pages(reports: list[Report], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Recorder]:
    """The three pages, as they were made."""
    kept: list[Recorder] = []
    original = mmts.reporting.page.page_template

    def recorded(name: str) -> Recorder:
        kept.append(Recorder(original(name)))
        return kept[-1]

    folder = tmp_path_factory.mktemp("study")
    write_study(folder)
    speeds = {"open": [Speed(True, (0,), COLUMNS)]}
    with pytest.MonkeyPatch.context() as patch:
        for module in (mmts.reporting.page, mmts.reporting.study.page):
            patch.setattr(module, "page_template", recorded)
        mmts.reporting.page.page(reports, private=False, study="study.html")
        mmts.reporting.page.page(reports, private=True, speeds=speeds)
        study_files(folder)
    return dict(zip(("index", "local", "study"), kept, strict=True))


@pytest.mark.parametrize("name", ["index", "local", "study"])
def test_no_text_becomes_an_element_or_an_attribute(name: str, pages: dict[str, Recorder]) -> None:
    """Each string is put behind all texts of the page, so in every place that has any."""
    plain = Outline(pages[name].with_text(HARMLESS))
    assert plain.text.count(HARMLESS) > 100
    for text in (*STRINGS, " ".join(STRINGS)):
        found = Outline(pages[name].with_text(text))
        assert found.tags == plain.tags, text
        assert not any(link.strip().lower().startswith("javascript") for link in found.links)
        shown = text.replace("\x00", "\ufffd")
        assert text in found.text or shown in found.text
        assert found.style == plain.style


@pytest.mark.parametrize("name", ["index", "local", "study"])
def test_the_pages_forbid_scripts_and_requests(name: str, pages: dict[str, Recorder]) -> None:
    policy = re.findall(
        r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">',
        pages[name].with_text(""),
    )
    assert policy == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


@pytest.mark.parametrize("chromium", [CHROMIUM] if CHROMIUM else [])
def test_in_chromium_no_script_runs_and_nothing_is_asked_for(
    chromium: str, pages: dict[str, Recorder], tmp_path: Path
) -> None:
    """Without the policy, which would hide what is not escaped. A script of ours would ask too."""
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        Thread(target=listen, args=(server, asked), daemon=True).start()
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        text = " ".join(STRINGS).replace("ASKED", address)
        hostile = {name: of.with_text(text) for name, of in pages.items()}
        shown_in(chromium, tmp_path, hostile)
        assert asked == []
        shown_in(chromium, tmp_path, {**hostile, "canary": CANARY.replace("ASKED", address)})
        assert {b"/ran", b"/img"} <= {request.split(b" ")[1] for request in asked}


def listen(server: socket.socket, asked: list[bytes]) -> None:
    """Note what is asked for, and answer nothing."""
    with suppress(OSError):  # the test is over
        while True:
            connection = server.accept()[0]
            asked.append(connection.recv(60) or b"- -")
            connection.close()


def shown_in(chromium: str, folder: Path, pages: dict[str, str]) -> None:
    """Show pages in the frames of one."""
    for name, page in pages.items():
        bare = re.sub("<meta http-equiv=.Content-Security-Policy.*>", "", page)
        (folder / f"{name}.html").write_text(bare, encoding="utf-8")
    frames = "".join(f'<iframe src="{name}.html"></iframe>' for name in pages)
    (folder / "all.html").write_text(frames, encoding="utf-8")
    arguments = (
        "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        "--virtual-time-budget=3000", f"--user-data-dir={folder / 'profile'}", "--dump-dom",
    )  # fmt: skip
    found = subprocess.run(
        [chromium, *arguments, f"file://{folder}/all.html"], capture_output=True, check=True,
        timeout=patience.seconds(90),
    )  # fmt: skip
    assert found.stdout.count(b"<iframe") == len(pages)


MARKS = ("a|b", "`c`", "[d](javascript:e)", "\n\n# f\n\n- g", "**h**_i_", "\\", "![j](k)")
OURS = ((Section, "title"), (Figure, "name"), (Tried, "numbers"))
"""What no text from outside gets into."""


def marks(text: str) -> str:
    """What Markdown takes for marks, also for the beginning of an element, and ends of lines."""
    return re.sub(r"[^\\`*_\[\]|<\n]", "", re.sub(r"\\[^\n]", "", text))


@pytest.mark.parametrize("name", ["study", "speed"])
def test_no_text_becomes_a_mark_of_markdown(name: str, pages: dict[str, Recorder]) -> None:
    """In study.md and speed.md."""
    document = pages["study"].about["document"]
    rows = {of: [Speed(True, (0,), COLUMNS)] for of in ("open", "kitchen")}

    def shown(more: str) -> str:
        if name == "study":
            return study_markdown(changed(document, more, OURS))
        return speed_page(changed(rows, more))

    plain = shown(HARMLESS)
    assert plain.count(HARMLESS) > (200 if name == "study" else 17)
    for text in (*STRINGS, *MARKS, " ".join((*STRINGS, *MARKS))):
        found = shown(f" {text}.")
        assert marks(found) == marks(plain), text
        shows = " ".join(re.sub(r"\\(.)", r"\1", found).split())
        assert shows.count(" ".join(text.split())) >= plain.count(HARMLESS), text


def test_names_of_classes_are_words_in_figures(reports: list[Report]) -> None:
    """Neither formulas of matplotlib, which damaged ones would stop, nor marks of Markdown."""
    sizes = dict.fromkeys(("$\\frac{$", STRINGS[1], "a|b`c`[d](javascript:e)\nf"), SIZES)
    figure = classes_figure(dataclasses.replace(reports[0].dataset, class_sizes=sizes))
    assert figure is not None and figure.png.startswith(b"\x89PNG")
    figure = dataclasses.replace(figure, caption=figure.alt)
    table = changed(reports[0].tables[0][0], "")
    table = dataclasses.replace(table, groups=tuple((f"<b>|{g}", n) for g, n in table.groups))
    text = markdown(reports[0].dataset, [(table,)], [figure], resamples=100)
    unescaped = re.sub(r"\\.", "", text).replace("](<figures/", "").replace("![", "")
    assert "<" not in unescaped.replace("**", "") and "`" not in unescaped
    assert "[d]" not in unescaped and "\nf" not in text


def test_no_cell_of_a_csv_begins_a_formula(reports: list[Report]) -> None:
    """Tables for spreadsheets hold numbers and names of params.yaml, which begin with a letter."""
    curves = _curves(reports)
    words = curves.select_dtypes(exclude="number")
    assert list(words) == ["dataset", "method", "cell"]
    assert words.map(lambda word: re.match("[A-Za-z0-9]", word) is not None).all(axis=None)
    for name in ("=1+1", "+1", "-1", "@SUM", "\t=1", "\r=1", "a\n=1", "a,=1", '"=1"'):
        with pytest.raises(ValidationError):
            TypeAdapter(Name).validate_python(name)
