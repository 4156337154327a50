"""What the report of one dataset holds: tables, figures, clusters and examples."""

from __future__ import annotations

from dataclasses import dataclass

from mmts.reporting.cells import Dataset
from mmts.reporting.clusters import Cluster, described_clusters
from mmts.reporting.comparison import PaperTable, paper_tables
from mmts.reporting.figure_classes import classes_figure
from mmts.reporting.figure_map import map_figure
from mmts.reporting.figure_ranges import ranges_figure
from mmts.reporting.figure_sizes import sizes_figure
from mmts.reporting.figure_tail import tail_figure
from mmts.reporting.figure_tau import tau_figure
from mmts.reporting.figure_training import training_figure
from mmts.reporting.gallery import Gallery, Pictures, gallery
from mmts.reporting.ranges import ranges_of, ranges_table
from mmts.reporting.style import Figure
from mmts.reporting.tables import Table, group_table, overall_table, part_table, stated_row
from mmts.settings.grid import Report as ReportSettings


@dataclass(frozen=True, eq=False)
class Report:
    """All that is shown of one dataset; `private` parts show its captions or pictures."""

    dataset: Dataset
    resamples: int
    tables: tuple[tuple[Table, ...], ...]
    """Of each test source: of all queries, by cluster size, and by groups where there are any; each
    once more after re-ranking."""
    papers: tuple[PaperTable, ...]
    figures: tuple[Figure, ...]
    clusters: tuple[list[Cluster], list[Cluster]]
    galleries: tuple[Gallery, ...]

    @property
    def public_figures(self) -> tuple[Figure, ...]:
        """The figures without captions or pictures of the dataset."""
        return tuple(figure for figure in self.figures if not figure.private)


def dataset_report(dataset: Dataset, settings: ReportSettings, pictures: Pictures) -> Report:
    """Tables, figures, clusters and examples of one dataset."""
    sources = dataset.test_sources
    draws = {"resamples": settings.bootstrap, "seed": settings.seed}
    tables = tuple(_tables(dataset, source, **draws) for source in sources)
    names = ["tail"] if len(sources) == 1 else [f"tail-{source}" for source in sources]
    map_of = map_figure(
        dataset, points=settings.tsne_points, perplexity=settings.tsne_perplexity,
        seed=settings.seed,
    )  # fmt: skip
    classes = classes_figure(dataset)
    ranges = ranges_of(dataset)
    heat = [] if ranges is None else ranges_figure(dataset, ranges)
    figures = (
        *(
            tail_figure(view, source, name=f"{name}-rerank" if view.reranked else name, **draws)
            for source, name in zip(sources, names, strict=True)
            for view in dataset.views
        ),
        sizes_figure(dataset),
        *([] if classes is None else [classes]),
        *heat,
        tau_figure(dataset),
        training_figure(dataset),
        map_of,
    )
    galleries = tuple(
        gallery(
            dataset, overall.source, stated_row(dataset, overall).method, pictures,
            count=settings.examples, seed=settings.seed,
        )
        for overall, *_ in tables
    )  # fmt: skip
    clusters = described_clusters(dataset, seed=settings.seed)
    papers = paper_tables(dataset)
    papers += () if ranges is None else (ranges_table(ranges),)
    return Report(dataset, settings.bootstrap, tables, papers, figures, clusters, galleries)


def _tables(dataset: Dataset, source: str, *, resamples: int, seed: int) -> tuple[Table, ...]:
    draws = {"resamples": resamples, "seed": seed}
    views = dataset.views
    found = (
        *(overall_table(view, source, **draws) for view in views),
        *(part_table(view, source, **draws) for view in views),
        *(group_table(view, source) for view in views),
    )
    return tuple(table for table in found if table is not None)
