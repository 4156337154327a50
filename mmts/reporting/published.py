"""What the paper prints for EPIC-KITCHENS-100 (Tables 2, 4 and 5, arXiv 2603.08202), verbatim."""

from __future__ import annotations

from dataclasses import dataclass

COLUMNS = ("mAP v2t", "mAP t2v", "mAP avg", "nDCG v2t", "nDCG t2v", "nDCG avg")
KEYS = ("mAP/v2t", "mAP/t2v", "mAP/avg", "nDCG/v2t", "nDCG/t2v", "nDCG/avg")
TRAIN_CLIPS, TEST_CLIPS, TEST_SENTENCES = 67_217, 9_668, 3_842  # of the official files

Numbers = tuple[float, float, float, float, float, float]


@dataclass(frozen=True)
class Recipe:
    """What tells a method of the paper from the others; `column` counts with ICS only."""

    objective: str
    ts: bool = False
    ics: bool = False
    column: str = "noun"


@dataclass(frozen=True)
class Published:
    """A row of a table: COLUMNS in percent; `recipe` if this project can run the method."""

    label: str
    numbers: Numbers
    backbone: str = ""
    recipe: Recipe | None = None


@dataclass(frozen=True)
class PublishedTable:
    """A table of the paper."""

    number: int
    title: str
    rows: tuple[Published, ...]


_MARGIN, _MARGIN_MMTS = Recipe("max_margin"), Recipe("max_margin", ts=True, ics=True)

TABLES = (
    PublishedTable(
        2,
        "Comparison with other methods",
        (
            Published("MME", (43.0, 34.0, 38.5, 50.1, 46.9, 48.5), "TBN"),
            Published("JPoSE", (49.9, 38.1, 44.1, 55.5, 51.6, 53.5), "TBN"),
            Published("EgoVLP", (49.9, 40.5, 45.0, 60.9, 57.9, 59.4), "TSF-B"),
            Published("LaViLa", (55.2, 45.7, 50.5, 66.5, 63.4, 65.0), "TSF-B"),
            Published("AVION", (55.7, 48.2, 52.0, 67.8, 65.3, 66.5), "ViT-B", _MARGIN),
            Published(
                "AVION + MM-TS", (58.8, 48.9, 53.9, 68.9, 65.8, 67.3), "ViT-B", _MARGIN_MMTS
            ),
        ),
    ),
    PublishedTable(
        4,
        "Schedule (TS) and shifts (ICS) under both losses",
        (
            Published("MI-MM", (55.3, 47.6, 51.4, 67.6, 64.8, 66.2), recipe=_MARGIN),
            Published(
                "MI-MM w/ TS", (58.4, 48.6, 53.6, 69.4, 64.8, 66.9),
                recipe=Recipe("max_margin", ts=True),
            ),
            Published(
                "MI-MM w/ ICS", (56.4, 48.4, 52.4, 68.2, 66.0, 67.1),
                recipe=Recipe("max_margin", ics=True),
            ),
            Published(
                "MI-MM w/ TS&ICS", (58.8, 48.9, 53.9, 68.9, 65.8, 67.3), recipe=_MARGIN_MMTS
            ),
            Published("CLIP", (47.0, 39.8, 43.1, 64.4, 61.2, 62.8), recipe=Recipe("info_nce")),
            Published(
                "CLIP w/ TS", (55.0, 41.7, 48.4, 69.1, 64.6, 66.8),
                recipe=Recipe("info_nce", ts=True),
            ),
            Published(
                "CLIP w/ ICS", (52.2, 43.6, 47.8, 68.0, 64.8, 66.4),
                recipe=Recipe("info_nce", ics=True),
            ),
            Published(
                "CLIP w/ TS&ICS", (54.6, 43.9, 49.2, 68.6, 64.4, 66.4),
                recipe=Recipe("info_nce", ts=True, ics=True),
            ),
        ),
    ),
    PublishedTable(
        5,
        "The distribution behind the shifts",
        (
            Published(
                "verbs & nouns", (58.2, 48.7, 53.4, 68.3, 65.5, 66.9),
                recipe=Recipe("max_margin", ts=True, ics=True, column="verb_noun"),
            ),
            Published(
                "verbs", (58.5, 48.7, 53.6, 68.0, 65.3, 66.7),
                recipe=Recipe("max_margin", ts=True, ics=True, column="verb"),
            ),
            Published("nouns", (58.8, 48.9, 53.9, 68.9, 65.3, 67.3), recipe=_MARGIN_MMTS),
        ),
    ),
)  # fmt: skip


def misprints(row: Published) -> dict[int, str]:
    """The averages that do not follow from their columns: a sentence for each, by column.

    Rounding to one decimal explains 0.1 between a printed average and that of the printed columns:
    0.05 of the average and 0.05 of the columns.
    """
    found = {}
    for at in (2, 5):
        v2t, t2v, average = (round(10 * number) for number in row.numbers[at - 2 : at + 1])
        if abs(2 * average - (v2t + t2v)) > 2:
            text = (
                f"{row.label}: the paper prints {COLUMNS[at]} {row.numbers[at]:.1f}; the mean of "
                f"its columns is {(v2t + t2v) / 20:.2f}".rstrip("0").rstrip(".")
            )
            found[at] = f"{text}{_elsewhere(row, at)}."
    return found


def _elsewhere(row: Published, at: int) -> str:
    """Where the paper prints another column for the same method, so that the average follows."""
    told = [
        f"; Table {table.number} prints {COLUMNS[column]} {other.numbers[column]:.1f} for the same "
        f"method, not {row.numbers[column]:.1f}"
        for table in TABLES
        for other in table.rows
        for column in (at - 2, at - 1)
        if row.recipe is not None
        and other.recipe == row.recipe
        and other.numbers[at] == row.numbers[at]
        and other.numbers[column] != row.numbers[column]
    ]
    return "".join(told[-1:])
