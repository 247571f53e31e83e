"""A flame graph as SVG: no script; a browser shows what is under the pointer by itself.

Paths are stacked from the bottom of their roots; a frame is as wide as its time. What is too narrow
to be seen is left out, so the page stays small.
"""

from collections.abc import Iterator, Mapping
from html import escape

__all__ = ("flame_graph",)

WIDTH, ROW = 1000.0, 18
NARROWEST = 0.8
LETTER = 6.2
"""Width of a letter, about."""
HUES = ("#e69f00", "#d55e00", "#cc79a7", "#0072b2", "#009e73", "#56b4e9")
"""By depth."""

Paths = Mapping[tuple[str, ...], int]
Frame = tuple[int, float, float, str, int]


def flame_graph(paths: Paths, title: str, unit: str) -> str:
    """Draw paths by their weight, roots at the top.

    :param unit: of a weight, for what is shown under the pointer.
    """
    total = sum(paths.values())
    if not total:
        return ""
    frames = list(_frames(paths, (), 0.0, WIDTH / total))
    height = (max(depth for depth, *_ in frames) + 1) * ROW
    body = "\n".join(_frame(*frame, total, unit) for frame in frames)
    label = escape(title)
    return (
        f'<figure class="flame">\n<svg role="img" aria-label="{label}" viewBox="0 0 {WIDTH:.0f}'
        f' {height}" font-size="11">\n{body}\n</svg>\n<figcaption>{label}</figcaption>\n</figure>'
    )


def _frames(paths: Paths, prefix: tuple[str, ...], left: float, scale: float) -> Iterator[Frame]:
    """Give the frames under a prefix: depth, left edge, width, name, weight."""
    depth = len(prefix)
    weights: dict[str, int] = {}
    below: dict[str, dict[tuple[str, ...], int]] = {}
    for path, weight in paths.items():
        if len(path) > depth:
            weights[path[depth]] = weights.get(path[depth], 0) + weight
            below.setdefault(path[depth], {})[path] = weight
    for name, weight in sorted(weights.items(), key=lambda item: (-item[1], item[0])):
        width = weight * scale
        if width >= NARROWEST:
            yield depth, left, width, name, weight
            yield from _frames(below[name], (*prefix, name), left, scale)
        left += width


def _frame(
    depth: int, left: float, width: float, name: str, weight: int, total: int, unit: str
) -> str:
    about = escape(f"{name}: {weight:,} {unit}, {weight / total:.1%}")
    room = int((width - 6) / LETTER)
    shown = name if len(name) <= room else (name[: room - 1] + "…" if room > 3 else "")
    hue = HUES[depth % len(HUES)]
    y = depth * ROW
    return (
        f'<g><title>{about}</title><rect x="{left:.1f}" y="{y}" width="{max(0.5, width - 0.5):.1f}"'
        f' height="{ROW - 1}" fill="{hue}"/><text x="{left + 3:.1f}" y="{y + 13}"'
        f' fill="#000">{escape(shown)}</text></g>'
    )
