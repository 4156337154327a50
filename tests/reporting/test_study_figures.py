"""The figures of the study: what is drawn are the numbers, nothing overlaps, gaps do no harm."""

from __future__ import annotations

import io
from itertools import combinations
from statistics import mean
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from PIL import Image

from mmts.reporting.intervals import Interval
from mmts.reporting.study.figures import look, study_figures
from mmts.reporting.study.figures.forest import Mark, forest
from mmts.reporting.study.results import StudyResults
from mmts.reporting.style import Figure, png
from mmts.reporting.words import bounds, signed
from mmts.study.index import Entry, Index
from mmts.study.records import packed

TREATED = tuple(f"{of}{end}" for of in ("info_nce", "max_margin") for end in look._ENDINGS)
CENTRES = (0.01, 0.05, 0.2)
ITEMS = 10
LONG = "photographs_of_dogs"


class Making:
    """A made-up study: random answers, from records in memory."""

    def __init__(self) -> None:
        self.records: dict[str, dict[str, Any]] = {}
        self.queries = pd.DataFrame(
            [
                (direction, item, ("head", "tail")[item % 2], item % 3)
                for direction in ("t2v", "t2v", "v2t")
                for item in range(ITEMS)
            ],
            columns=["direction", "item", "part", "class"],
        )

    def entry(self, name: str, varied: dict[str, Any] | None = None,
              seeds: tuple[int, ...] = (0, 1), **facts: Any) -> Entry:  # fmt: skip
        """A setting with a record a seed."""
        keys = []
        for seed in seeds:
            rng = np.random.default_rng(len(self.records))
            levels = rng.integers(0, 4, len(self.queries)).astype(np.uint8)
            keys.append(str(len(self.records)))
            kind = "max_margin" if name.startswith("max_margin") else "info_nce"
            method = {"shift_min": 0.03, "shift_max": 0.05, "objective": {"kind": kind}}
            self.records[keys[-1]] = {
                "seed": seed, "name": name, "method": method, "levels": packed(levels),
                "validation": {"val/rsum": 200 + 100 * float(rng.random())}, **facts,
            }  # fmt: skip
        return Entry(name, varied or {}, varied or {}, tuple(keys))

    def results(self, dataset: str, names: tuple[str, ...], *gone: str) -> StudyResults:
        """All of it; ablations that are `gone` are missing."""
        trials = [self.entry(n, {"centre": c}, seeds=(9,)) for n in names for c in CENTRES]
        chosen = {n: self.entry(n, {"centre": 0.05}) for n in names}
        mmts = chosen["info_nce_mmts"]
        ablations = {
            "components": [self.entry(n) for n in TREATED if n in names],
            "controls": [
                self.entry(n, {"control": c}) for n in names if n.endswith("_mmts")
                for c in ("reversed", "random")
            ],
            "imbalance": [
                self.entry(n, {"imbalance": i}, class_size=[9, 5, 2], imbalance=i)
                for n in TREATED[:4] for i in (1, 20)
            ],
            "ranges": [
                self.entry("info_nce_mmts", {"shifts": [0.02, 0.04], "alpha": 0.01}),
                Entry("info_nce_mmts", {}, {"shifts": [0.02, 0.04], "alpha": 0.05}, ()),
            ],
            "k": [
                self.entry("info_nce_mmts", {"clustering.k": 10}),
                Entry("info_nce_mmts", {}, {"clustering.k": 60}, mmts.keys[:1]),
            ],
        }  # fmt: skip
        kept = {name: tuple(of) for name, of in ablations.items() if name not in gone}
        index = Index(dataset, tuple(trials), tuple(chosen.values()), kept)
        return StudyResults(index, self.records, self.queries)


Drawn = tuple[list[StudyResults], dict[str, Figure], dict[str, Canvas]]


def _drawn(monkeypatch: pytest.MonkeyPatch, *studies: StudyResults) -> Drawn:
    canvases: list[Canvas] = []
    monkeypatch.setattr(look, "png", lambda canvas: canvases.append(canvas) or png(canvas))
    figures = study_figures(studies)
    return list(studies), {f.name: f for f in figures}, dict(
        zip([f.name for f in figures], canvases, strict=True)
    )  # fmt: skip


@pytest.fixture(scope="module")
def drawn() -> Any:
    """Three datasets: one with everything, one with gaps, one with more rows and a long name."""
    full = Making().results("open", (*TREATED, "clip"))
    gaps = Making().results("gaps", TREATED[:4], "ranges", "imbalance", "k")
    more = Making().results(LONG, (*TREATED, "clip", "siglip"), "components")
    with pytest.MonkeyPatch.context() as patch:
        yield _drawn(patch, full, gaps, more)


def _panel(canvas: Canvas, title: str) -> Axes:
    return next(axes for axes in canvas.axes if axes.get_title(loc="left").startswith(title))


def _points(axes: Axes, marker: str) -> list[tuple[float, float]]:
    """The places of single marks."""
    lines = [line for line in axes.lines if line.get_marker() == marker]
    return [tuple(map(float, line.get_xydata()[0])) for line in lines if len(line.get_xdata()) == 1]


def test_all_are_small_pngs_without_overlapping_or_cut_text(drawn: Drawn) -> None:
    _, figures, canvases = drawn
    names = ("differences", "trials", "ranges", "components", "tail", "ablations")
    assert list(figures) == [f"study-{name}" for name in names]
    for name, figure in figures.items():
        assert len(figure.png) < 200_000
        assert 900 < Image.open(io.BytesIO(figure.png)).width <= 1600
        _check_texts(name, canvases[name])


def _check_texts(name: str, canvas: Canvas) -> None:
    texts = [*canvas.texts, *canvas.legends[0].get_texts()] if canvas.legends else [*canvas.texts]
    for axes in canvas.axes:
        texts += [*axes.texts, axes._left_title]
        for axis in (axes.xaxis, axes.yaxis) if axes.axison else ():
            low, high = sorted(axis.get_view_interval())
            ticks = [tick for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
            texts += [axis.label]
            texts += [tick.label1 for tick in ticks if tick.label1.get_visible()]
    renderer = canvas.canvas.get_renderer()  # type: ignore[attr-defined]
    boxes = [(t.get_text(), t.get_window_extent(renderer)) for t in texts if t.get_text().strip()]
    assert len(boxes) > 5
    for text, box in boxes:
        assert box.x0 >= 0 and box.y0 >= 0, (name, text)
        assert box.x1 <= canvas.bbox.width and box.y1 <= canvas.bbox.height, (name, text)
    for (text, box), (other, its) in combinations(boxes, 2):
        over = min(box.x1, its.x1) - max(box.x0, its.x0), min(box.y1, its.y1) - max(box.y0, its.y0)
        assert min(over) <= 1, (name, text, other)


def test_differences_are_drawn_where_they_are(drawn: Drawn) -> None:
    studies, figures, canvases = drawn
    rows = list(studies[2].chosen)
    for study in studies:
        axes = _panel(canvases["study-differences"], study.dataset)
        baseline = study.chosen[study.best_fixed]
        assert _points(axes, "D") == [(0, rows.index(study.best_fixed))]
        others = [name for name in study.chosen if name != study.best_fixed]
        found = {name: study.difference(study.chosen[name], baseline) for name in others}
        assert sorted(_points(axes, "o")) == sorted(
            (found[name].value, rows.index(name)) for name in others
        )
        spans = [line.get_xdata() for line in axes.lines if len(line.get_xdata()) == 2][1:]
        assert np.ravel(spans).tolist() == [b for i in found.values() for b in (i.low, i.high)]
        alt, texts = figures["study-differences"].alt, {text.get_text() for text in axes.texts}
        assert f"rsum {mean(study.values(baseline, 'rsum')):.1f}" in texts
        for name in others:
            assert f"{name} {signed(found[name].value)} ({bounds(found[name])})" in alt
            assert signed(found[name].value) in texts


def test_what_is_far_off_is_an_arrowhead_at_the_end_of_the_axis() -> None:
    near = [Mark(Interval(x, x - 3, x + 3)) for x in (-2.0, 0.0, 4.0)]
    axes = Canvas().subplots()
    assert not forest(axes, [*near, None], [False] * 4, narrow=True)
    axes = Canvas().subplots()
    assert not forest(axes, [Mark(Interval(0, 0, 0)), None], [True, False], narrow=False)
    assert axes.get_xlim() == (-1, 1)
    axes = Canvas().subplots()
    assert forest(axes, [*near, Mark(Interval(-150, -200, -100))], [False] * 4, narrow=True)
    left, right = axes.get_xlim()
    assert -40 < left < -5 and 7 < right < 12
    assert _points(axes, "<") == [(left, 3)]
    assert not _points(axes, ">")
    assert axes.texts[-1].get_text() == "−150.0"


def test_trials_are_drawn_at_their_centres_and_the_chosen_one_is_filled(drawn: Drawn) -> None:
    studies, figures, canvases = drawn
    axes = _panel(canvases["study-trials"], "open\nmax-margin")
    for end, kind in look._ENDINGS.items():
        values = [value for _, value in studies[0].trials[f"max_margin{end}"]]
        marks = [line for line in axes.lines if line.get_marker() == look.MARKERS[kind]]
        assert len(marks) == 2
        assert list(marks[0].get_xdata()) == pytest.approx(CENTRES, rel=0.05)
        assert list(marks[0].get_ydata()) == values
        assert _points(axes, look.MARKERS[kind]) == [(marks[0].get_xdata()[1], values[1])]
    values = [value for _, value in studies[0].trials["max_margin"]]
    assert f"fixed from {min(values):.1f} to {max(values):.1f}" in figures["study-trials"].alt
    blank = _panel(canvases["study-trials"], "gaps\nmax-margin")
    assert [text.get_text() for text in blank.texts] == ["not run"]


def test_ranges_tell_their_numbers_and_the_colour_the_side_of_fixed(drawn: Drawn) -> None:
    studies, figures, canvases = drawn
    titles = [axes.get_title(loc="left") for axes in canvases["study-ranges"].axes]
    assert titles == ["open", LONG, ""]  # the last is the colours' scale
    for study in (studies[0], studies[2]):
        axes = _panel(canvases["study-ranges"], study.dataset)
        value = mean(study.values(study.ablations["ranges"][0], "rsum"))
        fixed = mean(study.values(study.chosen["info_nce"], "rsum"))
        texts = [text.get_text() for text in axes.texts]
        assert texts == [f"{value:.1f}", signed(value - fixed), "–"]
        red, _, blue, _ = axes.patches[0].get_facecolor()  # type: ignore[misc]
        assert (blue > red) == (value > fixed)
        assert f"info_nce {fixed:.1f} on {study.dataset}" in figures["study-ranges"].caption


def test_components_are_drawn_a_dot_a_seed_and_a_mean(drawn: Drawn) -> None:
    studies, _, canvases = drawn
    axes = _panel(canvases["study-components"], "gaps\nInfoNCE, τ 0.04")
    of = [studies[1].values(tested, "rsum") for tested in studies[1].ablations["components"]]
    seeds = [list(line.get_ydata()) for line in axes.lines if line.get_markersize() == 3.5]
    means = [line.get_ydata()[0] for line in axes.lines if line.get_markersize() == 8]
    tuned = axes.lines[-1].get_ydata()[0]
    assert (seeds, means) == (of, [mean(values) for values in of])
    assert tuned == mean(studies[1].values(studies[1].chosen["info_nce"], "rsum"))


@pytest.mark.parametrize(("row", "part"), [("all queries", None), ("tail queries", "tail")])
def test_gains_in_the_long_tail_are_to_fixed_at_the_same_imbalance(
    drawn: Drawn, row: str, part: str | None
) -> None:
    studies, figures, canvases = drawn
    axes = _panel(canvases["study-tail"], f"open\n{row}")
    of = studies[0].ablations["imbalance"]
    for number, container in enumerate(axes.containers):
        line, _, (whiskers,) = container.lines  # type: ignore[attr-defined]
        pairs = [(of[2 + 2 * number + i], of[i]) for i in (0, 1)]
        found = [studies[0].difference(*pair, part) for pair in pairs]
        assert list(line.get_ydata()) == [i.value for i in found]
        assert list(line.get_xdata()) == pytest.approx([1, 20], rel=0.1)
        ends = [(span[0][1], span[1][1]) for span in whiskers.get_segments()]
        assert np.ravel(ends) == pytest.approx([b for i in found for b in (i.low, i.high)])
        assert f"{signed(found[0].value)} ({bounds(found[0])}) at 1" in figures["study-tail"].alt
    assert len(axes.containers) == 3


def test_ablations_are_differences_to_the_chosen_mmts_in_groups(drawn: Drawn) -> None:
    studies, figures, canvases = drawn
    axes = _panel(canvases["study-ablations"], "open")
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == [
        "Shifts of the clusters", "reversed", "dealt at random", "reversed (max-margin)",
        "dealt at random (max-margin)", "Number of clusters", "10", "60",
    ]  # fmt: skip
    study = studies[0]
    tested = [*study.ablations["controls"], study.ablations["k"][0]]
    found = [study.difference(t, study.chosen[t.entry.name]).value for t in tested]
    assert _points(axes, "o") == list(zip(found, [1, 2, 3, 4, 6], strict=True))
    assert _points(axes, "D") == [(0, 7)]  # the chosen one has it already
    assert "Number of clusters, 60 as chosen" in figures["study-ablations"].alt
    assert len(_points(_panel(canvases["study-ablations"], "gaps"), "o")) == 2


def test_one_dataset_without_ablations_has_two_figures_with_the_same_bytes_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gone = ("components", "controls", "imbalance", "ranges", "k")
    one, again = (
        _drawn(monkeypatch, Making().results("one", ("info_nce", "info_nce_mmts"), *gone))
        for _ in range(2)
    )
    assert list(one[1]) == ["study-differences", "study-trials"]
    for name, figure in one[1].items():
        _check_texts(name, one[2][name])
        assert figure == again[1][name]


def test_no_study_has_no_figures() -> None:
    assert study_figures([]) == []
