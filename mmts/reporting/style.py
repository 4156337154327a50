"""One look for all figures: colours a method, type, and PNG bytes that repeat."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mmts.reporting.cells import Dataset

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

INK, MUTED, RULE = "#1f2328", "#59636e", "#d8dde3"
PAGE_WIDTH = 10.4  # inches
_BASELINES = ("#6e7781", "#a8b0b8")
_OTHERS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#882255", "#332288")
_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans", "font.size": 9.5, "text.color": INK,
    "axes.edgecolor": RULE, "axes.labelcolor": MUTED, "axes.labelsize": 9.5,
    "axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True,
    "axes.titlesize": 10.5, "axes.titlelocation": "left", "axes.titleweight": "bold",
    "axes.grid": True, "axes.grid.axis": "y", "grid.color": "#e8ebef", "grid.linewidth": 0.8,
    "xtick.color": RULE, "ytick.color": RULE, "xtick.labelcolor": INK, "ytick.labelcolor": MUTED,
    "xtick.labelsize": 9, "ytick.labelsize": 9, "text.parse_math": False,
    "legend.frameon": False, "legend.fontsize": 9.5, "figure.facecolor": "white",
}  # fmt: skip


@dataclass(frozen=True)
class Figure:
    """A finished picture. `private`: it shows words of the dataset's captions."""

    name: str
    caption: str
    alt: str
    png: bytes
    private: bool = False


def method_colours(dataset: Dataset) -> dict[str, str]:
    """A colour a method, the same in every figure: greys for baselines, safe for colour-blind."""
    baselines = [m for m in dataset.methods if dataset.baseline(m) == m]
    others = [m for m in dataset.methods if m not in baselines]
    colours = {m: _BASELINES[i % len(_BASELINES)] for i, m in enumerate(baselines)}
    return colours | {m: _other(i) for i, m in enumerate(others)}


def _other(number: int) -> str:
    """The colours in turn; in a second round paler, in a third darker, then again."""
    turn, at = divmod(number, len(_OTHERS))
    parts = [int(_OTHERS[at][i : i + 2], 16) for i in (1, 3, 5)]
    paper, share = ((0, 0.0), (255, 0.55), (0, 0.5))[turn % 3]
    return "#" + "".join(f"{round(p + share * (paper - p)):02x}" for p in parts)


@contextmanager
def canvas(height: float, width: float = PAGE_WIDTH) -> Iterator[Canvas]:
    """An empty figure in the report's style, of `width` x `height` inches."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    with matplotlib.rc_context(_STYLE):
        figure = Canvas(figsize=(width, height), dpi=150, layout="constrained")
        FigureCanvasAgg(figure)
        engine = figure.get_layout_engine()
        if isinstance(engine, ConstrainedLayoutEngine):
            engine.set(h_pad=0.09, w_pad=0.06)
        yield figure


def png(figure: Canvas) -> bytes:
    """The figure as a small PNG of 256 colours; the same figure gives the same bytes."""
    from PIL import Image

    full, small = io.BytesIO(), io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # the page has the words
        figure.savefig(full, format="png", metadata={"Software": None})
    image = Image.open(full).convert("RGB")
    image.quantize(256, dither=Image.Dither.NONE).save(small, format="png", optimize=True)
    return small.getvalue()


def ink_on(colour: tuple[float, ...]) -> str:
    """The colour of text on a colour."""
    red, green, blue = colour[:3]
    return "white" if 0.3 * red + 0.59 * green + 0.11 * blue < 0.5 else INK


def headline(figure: Canvas, text: str) -> None:
    """Sets the figure's title, flush left."""
    figure.suptitle(text, x=0.008, ha="left", fontsize=12.5, fontweight="bold", color=INK)


def method_legend(figure: Canvas, dataset: Dataset) -> None:
    """One legend for all panels, below them: a coloured square a method."""
    from matplotlib.patches import Patch

    colours = method_colours(dataset)
    handles = [Patch(color=colours[method], label=method) for method in dataset.methods]
    for most in range(6, 0, -1):  # columns that are not wider than the figure
        rows = -(-len(handles) // most)
        legend = figure.legend(
            handles=handles, ncols=-(-len(handles) // rows), loc="outside lower left",
            handlelength=1.0, handleheight=1.0, columnspacing=1.6, labelcolor=INK,
        )  # fmt: skip
        if most == 1 or legend.get_window_extent().width <= figure.bbox.width:
            break
        legend.remove()
