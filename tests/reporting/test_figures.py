"""The figures: small files, descriptions with the data's numbers, one colour a method."""

from __future__ import annotations

import dataclasses
import io
import re
from statistics import mean
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from PIL import Image

from mmts.reporting.cells import Dataset
from mmts.reporting.figure_map import _inside
from mmts.reporting.figure_sizes import sizes_figure
from mmts.reporting.figure_tail import tail_figure
from mmts.reporting.figure_tau import _rows, _scheduled, tau_figure, three_clusters
from mmts.reporting.figure_training import panels
from mmts.reporting.labels import Box, label_places
from mmts.reporting.report import Report
from mmts.reporting.style import _other, canvas, method_colours, method_legend, png
from mmts.reporting.tables import own_interval, part_table, to_baseline
from mmts.reporting.words import bounds, signed


def _figure(report: Report, name: str):  # type: ignore[no-untyped-def]
    return next(figure for figure in report.figures if figure.name == name)


def test_figures_are_small_pngs_of_the_page_width(reports: list[Report]) -> None:
    assert [f.name for f in reports[0].figures] == ["tail", "sizes", "tau", "training", "map"]
    for figure in reports[0].figures:
        assert len(figure.png) < 200_000
        image = Image.open(io.BytesIO(figure.png))
        assert image.format == "PNG"
        assert 900 < image.width <= 1600
        assert "Software" not in image.info
        assert len(set(image.convert("L").tobytes())) > 5  # not a blank page


def test_only_the_map_shows_words_of_captions(reports: list[Report]) -> None:
    assert [figure.name for figure in reports[0].figures if figure.private] == ["map"]


def test_the_tail_is_described_by_its_numbers(reports: list[Report]) -> None:
    dataset = reports[0].dataset
    alt = _figure(reports[0], "tail").alt
    for method in dataset.methods:
        for part in ("head", "medium", "tail"):
            assert f"{part} {mean(dataset.values(method, 'main', f'{part}/rsum')):.1f}" in alt


def test_the_tails_of_two_sources_have_titles_of_their_own(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    titles: list[str] = []
    monkeypatch.setattr("mmts.reporting.figure_tail.headline", lambda _, text: titles.append(text))
    monkeypatch.setattr("mmts.reporting.figure_tail.png", lambda _: b"")
    cells = {
        key: dataclasses.replace(cell, metrics={**cell.metrics, "coco": cell.metrics["main"]})
        for key, cell in dataset.cells.items()
    }
    two = dataclasses.replace(dataset, cells=cells)
    for of, source in ((dataset, "main"), (two, "main"), (two, "coco")):
        tail_figure(of, source, resamples=100, seed=0)
    assert [title.split(":")[0] for title in titles] == ["open", "open on main", "open on coco"]


@pytest.mark.parametrize("seeds", [(1,), (0, 1, 2)])
def test_whiskers_are_the_intervals_of_the_tables(
    tree: SimpleNamespace, data: SimpleNamespace, monkeypatch: pytest.MonkeyPatch,
    seeds: tuple[int, ...],
) -> None:  # fmt: skip
    drawn = []
    monkeypatch.setattr(Axes, "bar", lambda _, x, y, *__, yerr=None, **___: drawn.append((y, yerr)))
    dataset = tree.loaded(data.folder, "open", seeds=seeds)
    draws = {"resamples": 100, "seed": 0}
    figure = tail_figure(dataset, "main", **draws)
    parts = ("head", "medium", "tail")
    left = [own_interval(dataset, "main", m, p, **draws) for m in dataset.methods for p in parts]
    wanted = left + [to_baseline(dataset, "main", "mmts", part, **draws) for part in parts]
    assert len(drawn) == len(wanted) == 12
    for (height, whisker), found in zip(drawn, wanted, strict=True):
        assert found is not None and found.low < found.value < found.high
        assert height == found.value
        ends = [found.value - found.low, found.high - found.value]
        assert np.ravel(whisker) == pytest.approx(ends)
    row = part_table(dataset, "main", **draws).rows[1]
    assert row.difference == wanted[-1]
    assert f"mmts {signed(row.difference.value)} ({bounds(row.difference)})." in figure.alt
    assert "95 % intervals over test items" in figure.caption
    assert ("over 3 seeds" in figure.caption) == (len(seeds) == 3)


def test_the_interval_of_a_score_is_around_the_score(dataset: Dataset) -> None:
    for part in (None, "tail"):
        found = own_interval(dataset, "main", "margin", part, resamples=100, seed=0)
        key = "rsum" if part is None else f"{part}/rsum"
        assert found is not None
        assert found.value == pytest.approx(mean(dataset.values("margin", "main", key)))
        assert found.low < found.value < found.high


def test_the_sizes_are_described_by_their_cuts(reports: list[Report]) -> None:
    alt = _figure(reports[0], "sizes").alt
    assert "6 clusters, from 24 down to 2 training captions" in alt
    assert "head: 1 cluster with 24 captions; medium: 2 clusters with 24 captions" in alt
    assert "tail: 3 clusters with 12 captions" in alt


def test_the_training_is_described_by_first_and_last_values(reports: list[Report]) -> None:
    alt = _figure(reports[0], "training").alt
    # loss 3 - step / 20, rsum 5 step + seed at step 30
    assert "mmts: loss from 3 to 1.1, validation rsum at the end 151.0" in alt


def test_the_map_counts_its_points(reports: list[Report]) -> None:
    figure = _figure(reports[0], "map")
    assert "60 distinct training captions" in figure.caption
    assert figure.alt.startswith("Scatter of 60 captions; 100% lie in the coloured clusters")


def test_tau_shows_the_largest_median_and_smallest_cluster(dataset: Dataset) -> None:
    found = three_clusters(dataset, "mmts")
    assert [size for size, _ in found.values()] == [24, 6, 2]
    assert [shift for _, shift in found.values()] == pytest.approx(
        [0.08, 0.03 + 0.05 * 4 / 22, 0.03]
    )
    alt = tau_figure(dataset).alt
    assert "plain (InfoNCE, τ 0.05): no wave, every cluster at 0.05" in alt
    assert "shifts from 0.03 (2 captions) to 0.08 (24 captions)" in alt


def test_tau_of_what_is_learned_is_as_logged(many: Report) -> None:
    figure = _figure(many, "tau")
    assert "sigmoid (SigLIP, learned τ 0.0535–0.101): batch mean from 0.101 to 0.0535" in figure.alt
    assert "margin_mmts (max-margin, margin 0–0.4): 5 cosine waves of height 0.2" in figure.alt
    assert "Learned: the logged batches" in figure.caption


def test_tau_is_drawn_on_a_scale_that_shows_it(many: Report) -> None:
    rows = _rows(many.dataset)
    assert rows == [
        ["plain", "mmts", "sigmoid", "cyclip"], ["individual"], ["free"], ["margin", "margin_mmts"],
    ]  # fmt: skip


def test_tau_that_moves_once_an_epoch_is_drawn_as_steps(dataset: Dataset) -> None:
    from matplotlib.figure import Figure as Canvas

    drawn = {}
    for every in ("step", "epoch"):
        moves = {"kind": "cosine", "update_every": every}
        cells = {
            key: dataclasses.replace(cell, run={**cell.run, "schedule": moves})
            for key, cell in dataset.cells.items()
        }
        axes = Canvas().subplots()
        _scheduled(axes, dataclasses.replace(dataset, cells=cells), "mmts")
        drawn[every] = [line.get_ydata() for line in axes.lines]
    for smooth, stepped in zip(drawn["step"], drawn["epoch"], strict=True):
        assert len(np.unique(stepped)) <= 5 < len(np.unique(smooth))
        assert stepped[0] == smooth[0]


def test_the_training_has_a_panel_an_objective_in_rows_of_three(many: Report) -> None:
    with canvas(3.6) as figure:
        grid = panels(figure, 6)
        places = {tuple(axes.get_subplotspec().rowspan) for axes in grid}
    assert len(grid) == 6 and len(places) == 2
    alt = _figure(many, "training").alt
    assert all(f"{method}: loss from" in alt for method in many.dataset.methods)


def test_a_method_has_one_colour_and_baselines_are_grey(dataset: Dataset) -> None:
    colours = method_colours(dataset)
    assert list(colours) == ["plain", "margin", "mmts"]
    assert len(set(colours.values())) == 3
    for method, colour in colours.items():
        red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
        grey = max(red, green, blue) - min(red, green, blue) < 25
        assert grey == (dataset.baseline(method) == method)


def test_many_methods_have_different_colours(dataset: Dataset) -> None:
    colours = [_other(number) for number in range(24)]
    assert len(set(colours)) == 24 and all(re.fullmatch("#[0-9a-f]{6}", c) for c in colours)
    assert _other(24) == _other(0) == "#0072b2"


@pytest.mark.parametrize("letters", [4, 19, 60])
def test_a_legend_of_many_methods_is_not_wider_than_the_figure(
    dataset: Dataset, letters: int
) -> None:
    names = tuple(f"{n:02}".ljust(letters, "m") for n in range(12))
    cells = {(name, seed): dataset.cells["mmts", seed] for name in names for seed in dataset.seeds}
    with canvas(3.4) as figure:
        figure.subplots(1, 2)
        method_legend(figure, dataclasses.replace(dataset, methods=names, cells=cells))
        png(figure)
        (legend,) = figure.legends
        box = legend.get_window_extent()
    assert box.x0 >= 0 and box.x1 <= figure.bbox.width
    assert len(legend.get_texts()) == 12


def test_labels_do_not_lie_on_each_other() -> None:
    places = np.random.default_rng(0).normal(size=(300, 2))
    wanted = [places[i] * 0.2 for i in range(8)]
    boxes = label_places(places, wanted, [f"some words {i}" for i in range(8)])
    assert not any(a.touches(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_boxes_touch_only_if_they_overlap_both_ways() -> None:
    half = np.array([1.0, 0.5])
    box = Box(np.zeros(2), half)
    assert box.touches(Box(np.array([1.9, 0.9]), half))
    assert not box.touches(Box(np.array([2.1, 0.0]), half))
    assert not box.touches(Box(np.array([0.0, 1.1]), half))


@pytest.mark.parametrize(("place", "found"), [(0.0, 0.05), (0.5, 0.5), (1.0, 0.95), (-9.0, 0.05)])
def test_a_label_of_the_map_stays_between_its_sides(place: float, found: float) -> None:
    axes: Any = SimpleNamespace(get_xlim=lambda: (0.0, 1.0))
    text = "x" * 13  # of half the width 0.0507
    assert _inside(axes, np.array([place, 7.0]), text) == pytest.approx([found, 7.0], abs=1e-3)


def test_a_few_clusters_have_whole_ranks(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    few = dataset.captions.assign(cluster_id=dataset.captions["cluster_id"] % 3)
    ticks: list[float] = []
    monkeypatch.setattr(
        "mmts.reporting.figure_sizes.png",
        lambda figure: ticks.extend(figure.axes[0].get_xticks()) or b"",
    )
    sizes_figure(dataclasses.replace(dataset, captions=few))
    assert ticks and all(tick == round(tick) for tick in ticks)
