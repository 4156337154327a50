"""The page: safe against hostile captions, complete in one file, discreet, the same each time."""

from __future__ import annotations

import dataclasses
import re
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from mmts.reporting.cells import Dataset
from mmts.reporting.page import page, whiskers
from mmts.reporting.report import Report, dataset_report
from mmts.reporting.results import _thinned, write_results
from mmts.reporting.tables import overall_table


class Reader(HTMLParser):
    """Collects tags with their attributes, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta", "link", "img"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def of(self, name: str) -> list[dict[str, str | None]]:
        """The attributes of all tags of a name."""
        return [attributes for tag, attributes in self.tags if tag == name]


@pytest.fixture(scope="module")
def results(reports: list[Report], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    write_results(folder, reports)
    return folder


@pytest.fixture(scope="module", params=["index.html", "local/index.html"])
def html(results: Path, request: pytest.FixtureRequest) -> str:
    return (results / request.param).read_text(encoding="utf-8")


def test_hostile_captions_stay_text(html: str) -> None:
    reader = Reader(html)
    assert reader.of("script") == []
    assert "<script" not in html.lower()
    assert "alert('x')" in "".join(reader.words)  # shown, as text
    assert all("evil" not in (image["src"] or "") for image in reader.of("img"))
    assert reader.open == []


def test_every_picture_has_an_alternative_text(html: str) -> None:
    images = Reader(html).of("img")
    assert len(images) > 10
    assert all((image["alt"] or "").strip() for image in images)


def test_nothing_is_loaded_from_elsewhere(html: str) -> None:
    loaded = [
        (tag, name, value)
        for tag, attributes in Reader(html).tags
        for name, value in attributes.items()
        if name in {"src", "srcset", "poster", "data"} or (tag == "link" and name == "href")
    ]
    assert len(loaded) > 10
    assert all(str(value).startswith("data:") for _, _, value in loaded)
    css = html[html.index("<style>") : html.index("</style>")]
    assert "url(" not in css
    assert "@import" not in css
    policy = next(m["content"] for m in Reader(html).of("meta") if "http-equiv" in m)
    assert policy is not None
    assert policy.startswith("default-src 'none'")


def test_links_stay_on_the_page_or_go_to_the_paper(html: str) -> None:
    reader = Reader(html)
    ids = {attributes["id"] for _, attributes in reader.tags if "id" in attributes}
    for link in reader.of("a"):
        target = str(link["href"])
        assert (
            target[1:] in ids if target.startswith("#") else target.startswith("https://arxiv.org/")
        )


def test_a_dataset_that_is_not_publishable_shows_no_caption_or_picture(
    reports: list[Report], results: Path, tree: SimpleNamespace
) -> None:
    words = re.compile("closed(" + "|".join(tree.words) + ")")
    outside = [f for f in results.rglob("*") if f.is_file() and "local" not in f.parts]
    texts = [f.read_text(encoding="utf-8") for f in outside if f.suffix != ".png"]
    assert len(texts) == 8  # two .md, two .json, index.html; curves, terms and validation.csv
    assert not any(words.search(text) for text in texts)
    assert words.search((results / "local/index.html").read_text(encoding="utf-8"))
    discreet = page([r for r in reports if not r.dataset.publishable], private=False)
    assert "image/webp" not in discreet
    assert "alert" not in discreet
    assert "closed-map.png" not in {f.name for f in outside}
    assert (results / "local/figures/closed-map.png").is_file()


def test_the_numbers_of_every_dataset_are_on_the_page(results: Path, reports: list[Report]) -> None:
    text = " ".join("".join(Reader((results / "index.html").read_text()).words).split())
    for report in reports:
        for row in report.tables[0][0].rows:
            assert row.method in text
            assert f"{row.entries[-1].text}{row.entries[-1].spread}" in text
    assert "may not be published" in text


def test_a_page_without_closed_datasets_has_no_local_folder(
    reports: list[Report], tmp_path: Path
) -> None:
    write_results(tmp_path, reports[:1])
    assert not (tmp_path / "local").exists()
    assert "may not be published" not in (tmp_path / "index.html").read_text(encoding="utf-8")


def test_the_studys_page_is_linked_where_there_is_one(
    reports: list[Report], results: Path, tmp_path: Path
) -> None:
    write_results(tmp_path, reports[:1], study={"study.html": b"a page"})
    assert (tmp_path / "study.html").read_bytes() == b"a page"
    linked = [
        {"href": "study.html"} in Reader((folder / "index.html").read_text()).of("a")
        for folder in (tmp_path, results)
    ]
    assert linked == [True, False]


def test_two_runs_write_the_same_bytes(
    data: SimpleNamespace, tree: SimpleNamespace, results: Path, tmp_path: Path
) -> None:
    again = [
        dataset_report(tree.loaded(data.folder, name), tree.settings, shards)
        for name, shards in data.shards.items()
    ]
    write_results(tmp_path, again)
    files = sorted(f.relative_to(results) for f in results.rglob("*") if f.is_file())
    assert len(files) > 15
    assert files == sorted(f.relative_to(tmp_path) for f in tmp_path.rglob("*") if f.is_file())
    assert [f for f in files if (results / f).read_bytes() != (tmp_path / f).read_bytes()] == []


def test_curves_of_all_cells_stand_below_each_other(results: Path) -> None:
    curves = pd.read_csv(results / "curves.csv")
    assert list(curves.columns[:5]) == ["dataset", "method", "seed", "cell", "step"]
    assert len(curves) == 2 * 3 * 3 * 20
    assert curves.groupby("dataset")["cell"].nunique().to_dict() == {"closed": 9, "open": 9}


def test_long_curves_are_thinned_but_keep_every_validation(dataset: Dataset) -> None:
    steps = pd.Series(range(3900))
    measured, each = steps.where(steps % 130 == 129), steps.astype(float)
    curves = pd.DataFrame({"step": steps, "val_rsum": measured, "interval_x": each})
    cell = dataclasses.replace(next(iter(dataset.cells.values())), curves=curves)
    kept = _thinned(cell)["step"].tolist()  # whatever a loss term is called
    assert kept == [step for step in range(3900) if step % 8 == 0 or step % 130 == 129]
    assert _thinned(dataclasses.replace(cell, curves=curves[:500])).equals(curves[:500])


def test_what_was_measured_in_validation_is_a_table_of_names(
    reports: list[Report], results: Path
) -> None:
    found = pd.read_csv(results / "validation.csv")
    assert list(found) == ["dataset", "method", "cell", "name", "step", "value"]
    assert set(found["name"]) == {"rsum"}  # all that these cells have logged
    logged = found[(found["dataset"] == "open") & (found["cell"] == "mmts/1")]
    curves = reports[0].dataset.cells["mmts", 1].curves.dropna(subset=["val_rsum"])
    assert len(curves) == 4 and logged["step"].tolist() == curves["step"].tolist()
    assert logged["value"].tolist() == curves["val_rsum"].tolist()
    assert list(pd.read_csv(results / "terms.csv")) == list(found)


def test_whiskers_share_one_scale_inside_the_box(reports: list[Report]) -> None:
    table = overall_table(reports[0].dataset, "main", resamples=50, seed=0)
    [(method, found)] = whiskers(table).items()
    assert method == "mmts"
    assert 4 <= min(found.low, found.zero) < found.value < max(found.high, found.zero) <= 96
