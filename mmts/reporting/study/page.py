"""The report of a study as one HTML file that needs nothing else: `study.html`."""

from __future__ import annotations

from mmts.reporting.gallery import data_uri
from mmts.reporting.intervals import Interval
from mmts.reporting.page import page_template, shown_width
from mmts.reporting.study.cells import Cell, Mean, Tried
from mmts.reporting.study.markdown import ASIDE, BRACKETS, TITLE
from mmts.reporting.study.sections import Document


def page(document: Document) -> str:
    """The page, with its figures inside."""
    template = page_template("study.html.j2")
    figures = {
        figure.name: (shown_width(figure), data_uri(figure.png, "image/png"))
        for section in document.sections
        for figure in section.figures
    }
    about = {"title": TITLE, "brackets": BRACKETS, "aside": ASIDE, "kind": _kind}
    return template.render(document=document, figures=figures, **about) + "\n"


def _kind(cell: Cell) -> str:
    """How the template shows a cell."""
    kinds = {Mean: "mean", Interval: "interval", Tried: "tried", str: "text"}
    return next((name for kind, name in kinds.items() if isinstance(cell, kind)), "none")
