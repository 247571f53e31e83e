"""Charts as SVG inside a page: no script, no other file, readable on light and dark.

Text stays text, and everything but the data has the page's own colour.
"""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from vel2.errors import UserError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ("COLOURS", "areas", "bars", "curves", "require_library", "stacks")

Series = Mapping[str, Sequence[float | None]]
INK = "#0a0b0c"
"""Drawn with this, and `currentColor` in the page."""
COLOURS = {
    "native": "#8a8a8a",
    "native-nvhe": "#b5b5b5",
    "vhe-nv2": "#0072b2",
    "nvhe-nv2": "#009e73",
    "vhe-nv": "#e69f00",
    "nvhe-nv": "#d55e00",
    "kvm-vhe": "#cc79a7",
    "kvm-nvhe": "#7b3294",
    "must": "#d55e00",
    "aims": INK,
    "at most": "#d55e00",
    "L0": "#d55e00",
    "L1": "#0072b2",
    "L2": "#009e73",
    "EL0": "#b5b5b5",
    "NEVE 2017": "#8a8a8a",
    "vel2": "#0072b2",
}
OTHER_COLOUR = "#56b4e9"
WIDTH_INCHES = 8.6
BAR_INCHES, PAD_INCHES = 0.17, 0.2
WIDE = 16
"""From here on a range of numbers has a logarithmic axis."""
SETTINGS: Any = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
}
UNUSED_IDS = re.compile(
    r' id="(?:figure|axes|patch|text|line2d|xtick|ytick|legend|matplotlib)[\w.]*"'
)


def colour(name: str) -> str:
    """Give the colour of a series."""
    return COLOURS.get(name, OTHER_COLOUR)


def require_library() -> None:
    """Refuse when the library that draws is not there.

    :raises UserError: saying how to install it.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise UserError(
            "charts need matplotlib, which is not installed;"
            " install vel2 with its extra: pip install 'vel2[report]'."
        ) from error


def draw(title: str, height: float, fill: "Callable[[Axes], None]", legend_columns: int = 4) -> str:
    """Make a figure, have it filled, and give it as an SVG element.

    :param fill: called with the axes.
    """
    require_library()
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    with matplotlib.rc_context({**SETTINGS, "svg.hashsalt": title}):
        # A browser's letters may be wider than those that room is made for.
        figure = Figure(
            figsize=(WIDTH_INCHES, height), layout=ConstrainedLayoutEngine(w_pad=PAD_INCHES)
        )
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        fill(axes)
        handles, labels = axes.get_legend_handles_labels()
        if len(labels) > 1:
            figure.legend(handles, labels, loc="outside upper left", ncols=legend_columns)
        return as_element(figure, title)


def as_element(figure: "Figure", title: str) -> str:
    """Give a figure as an element of a page, its title below it."""
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    text = file.getvalue()
    text = UNUSED_IDS.sub("", text[text.index("<svg") :]).replace(INK, "currentColor")
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    label = escape(title)
    text = text.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1).strip()
    return f"<figure>\n{text}\n<figcaption>{label}</figcaption>\n</figure>"


def bars(
    title: str,
    groups: Sequence[str],
    series: Series,
    label: str,
    *,
    is_log: bool = False,
    decimals: int = 0,
    marks: Series | None = None,
) -> str:
    """Draw horizontal bars: a group for each name, in it a bar for each series.

    :param is_log: the axis begins at 1 then. :param decimals: of the numbers at the bars.
    :param marks: vertical strokes over the whole group, by name.
    """
    count = len(series)

    def fill(axes: "Axes") -> None:
        for at, (name, values) in enumerate(series.items()):
            known = [(row, value) for row, value in enumerate(values) if value is not None]
            places = [row + (at - (count - 1) / 2) * 0.8 / count for row, _ in known]
            drawn = axes.barh(
                places, [value for _, value in known], 0.76 / count, color=colour(name), label=name
            )
            axes.bar_label(drawn, fmt=f"{{:,.{decimals}f}}", padding=4, fontsize=7.5)
        for name, values in (marks or {}).items():
            known = [(row, value) for row, value in enumerate(values) if value is not None]
            tops, bottoms = ([row + end for row, _ in known] for end in (-0.45, 0.45))
            places = [value for _, value in known]
            axes.vlines(places, tops, bottoms, color=colour(name), label=name, linewidth=2)
        axes.set_yticks(range(len(groups)), groups)
        axes.set_ylim(len(groups) - 0.4, -0.6)
        axes.set_xlabel(label)
        axes.margins(x=0.12)
        if is_log:
            axes.set_xscale("log")
            drawn_values = [v for values in series.values() for v in values if v is not None]
            axes.set_xlim(left=min([1.0, *drawn_values]))
            axes.set_xticks(*log_ticks(axes.get_xlim()[1]), minor=False)
            axes.set_xticks([], minor=True)

    height = 1.1 + len(groups) * max(0.3, BAR_INCHES * count + 0.1)
    return draw(title, height, fill)


def log_ticks(end: float) -> tuple[list[float], list[str]]:
    """Give the ticks of a logarithmic axis from 1, and what is written at them."""
    ticks = [step * 10.0**power for power in range(9) for step in (1, 2, 5)]
    shown = [tick for tick in ticks if tick <= end]
    return shown, [f"{tick:,.0f}" for tick in shown]


def stacks(title: str, rows: Sequence[str], series: Series, label: str) -> str:
    """Draw horizontal bars of parts one after the other."""

    def fill(axes: "Axes") -> None:
        begins = [0.0] * len(rows)
        for name, values in series.items():
            widths = [value or 0.0 for value in values]
            axes.barh(range(len(rows)), widths, 0.7, begins, color=colour(name), label=name)
            begins = [begin + width for begin, width in zip(begins, widths, strict=True)]
        for row, total in enumerate(begins):
            axes.annotate(
                f"{total:,.0f}", (total, row), (3, 0), textcoords="offset points", va="center"
            )
        axes.set_yticks(range(len(rows)), rows)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_xlabel(label)
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.margins(x=0.12)

    return draw(title, 1.1 + 0.26 * len(rows), fill)


def curves(
    title: str, lines: Mapping[str, Sequence[tuple[float, float]]], x_label: str, y_label: str
) -> str:
    """Draw lines through points."""

    def fill(axes: "Axes") -> None:
        for name, points in lines.items():
            xs, ys = zip(*points, strict=True)
            axes.plot(xs, ys, marker="o", markersize=4, color=colour(name), label=name)
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        axes.set_ylim(bottom=0)
        all_xs = sorted({x for points in lines.values() for x, _ in points})
        if all_xs[0] > 0 and all_xs[-1] / all_xs[0] >= WIDE:
            axes.set_xscale("log")
            axes.set_xticks([], minor=True)
        axes.set_xticks(all_xs, [f"{x:,.0f}" for x in all_xs])
        axes.yaxis.set_major_formatter("{x:,.0f}")

    return draw(title, 3.0, fill)


def areas(
    title: str, ends: float, series: Mapping[str, Sequence[float]], x_label: str, y_label: str
) -> str:
    """Draw what is in bins of equal width, one series upon the other.

    :param ends: where the last bin ends; the first begins at 0.
    """

    def fill(axes: "Axes") -> None:
        count = max(len(values) for values in series.values())
        edges = [ends * number / count for number in range(count)]
        below = [0.0] * count
        for name, values in series.items():
            width = ends / count
            axes.bar(edges, values, width, below, align="edge", color=colour(name), label=name)
            below = [low + value for low, value in zip(below, values, strict=True)]
        axes.set_xlim(0, ends)
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        axes.yaxis.set_major_formatter("{x:,.0f}")

    return draw(title, 2.4, fill)
