"""What the tables of `macro` and `growth` have in common: costs, and how many times native's."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vel2.cli.terminal import Terminal

if TYPE_CHECKING:
    from vel2.bench.result import Tree

__all__ = ("Scale", "print_scale", "scales_of", "texts_of")


@dataclass(frozen=True)
class Scale:
    """One way to measure: the keys of its cost and of its ratio, and what to call it."""

    cost: str
    ratio: str
    text: str


SCALES = (
    Scale("instructions_per_op", "ratio_to_native", "instructions"),
    Scale(
        "host_ns_per_op", "host_ratio_to_native", "nanoseconds of the host, median of the rounds"
    ),
)


def scales_of(columns: "Tree") -> Iterator[Scale]:
    """Give those that were measured."""
    for scale in SCALES:
        cells = (cell for column in columns.values() for cell in column["operations"].values())
        if any(cell[scale.cost] is not None for cell in cells):
            yield scale


def print_scale(scale: Scale, terminal: Terminal) -> None:
    """Say what the figures above are."""
    terminal.print(
        f"{scale.text}, all levels together; in brackets times native, or for nVHE times"
        " native-nvhe"
    )
    terminal.print()


def texts_of(columns: "Tree", names: Sequence[str], scale: Scale) -> dict[str, list[str]]:
    """Write the figures of each column, in the order of `names`."""
    return {
        name: [cell_text(column, each, scale) for each in names] for name, column in columns.items()
    }


def cell_text(column: "Tree", name: str, scale: Scale) -> str:
    """Write a cost and its ratio."""
    cell = column["operations"].get(name)
    if cell is None:
        return "-" if column["error"] is None else "failed"
    cost, ratio = cell[scale.cost], cell[scale.ratio]
    if cost is None:
        return "-"
    return f"{cost:,.0f}" + ("" if ratio is None else f" ({ratio:.2f})")
