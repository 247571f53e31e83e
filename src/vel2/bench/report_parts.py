"""The building blocks of the page: sections, tables, numbers."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from string import Template

from vel2.bench.result import Tree

__all__ = (
    "Cell",
    "Section",
    "cell",
    "html_table",
    "marked",
    "number",
    "of_cell",
    "page",
    "plural",
    "ratio",
)

PAGE = Template("""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>$title</title>
<style>
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem; }
h2 { margin-top: 2.5rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 14px; }
th, td { border-bottom: 1px solid #8884; padding: .2rem .7rem; text-align: right; }
th:first-child, td:first-child { text-align: left; }
td.text { text-align: left; white-space: normal; overflow-wrap: anywhere; }
td.yes { background: #0a73; }
td.no { background: #d533; }
small { opacity: .75; }
td { white-space: nowrap; }
th { vertical-align: bottom; }
td:first-child { white-space: normal; }
p { max-width: 62rem; }
figure { margin: 1.5rem 0; }
figcaption { opacity: .75; font-size: 14px; }
figure.flame svg { width: 100%; font-family: sans-serif; }
svg { max-width: 100%; height: auto; overflow: visible; }
div.wide { overflow-x: auto; }
@media print { body { max-width: none; } div.wide { overflow: visible; } table { font-size: 8pt; } }
nav a { margin-right: 1rem; }
</style>
</head>
<body>
<h1>$title</h1>
<p>$about</p>
$runs
<nav>$links</nav>
$sections
</body>
</html>
""")
CODE = re.compile(r"`([^`]+)`")
NOTHING = "-"
FEW, MANY = 10, 100


def marked(text: str) -> str:
    """Write text in which `names` stand out."""
    return CODE.sub(r"<code>\1</code>", escape(text))


@dataclass(frozen=True)
class Section:
    """A section: text in which `names` stand out, and elements of the page below it.

    :ivar body: empty when there is nothing to show.
    """

    title: str
    text: str
    body: list[str] = field(default_factory=list)

    @property
    def anchor(self) -> str:
        """Give its name in links."""
        return re.sub(r"\W+", "-", self.title.lower())

    @property
    def html(self) -> str:
        """Give the element."""
        lines = [f"<h2>{escape(self.title)}</h2>", f"<p>{marked(self.text)}</p>", *self.body]
        return "\n".join([f'<section id="{self.anchor}">', *lines, "</section>"])


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    :ivar met: whether it shows something that is as asked for; None when nothing was.
    :ivar small: what is said besides. :ivar is_text: whether lines may be broken.
    """

    text: str
    met: bool | None = None
    small: str = ""
    is_text: bool = False

    @property
    def html(self) -> str:
        """Give the element."""
        names = {True: ' class="yes"', False: ' class="no"', None: ""}
        if self.is_text:
            return f'<td class="text">{escape(self.text)}</td>'
        small = f"<br><small>{escape(self.small)}</small>" if self.small else ""
        return f"<td{names[self.met]}>{escape(self.text)}{small}</td>"


def html_table(head: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """Write a table that scrolls for itself where the page is narrow."""
    heads = "".join(f"<th>{escape(name)}</th>" for name in head)
    lines = "\n".join(f"<tr>{''.join(found.html for found in row)}</tr>" for row in rows)
    table = f"<table>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{lines}\n</tbody>\n</table>"
    return f'<div class="wide">\n{table}\n</div>'


def cell(column: Tree, operation: str) -> Tree | None:
    """Give what was measured of an operation; None when nothing was."""
    found = column.get(operation)
    return found if isinstance(found, dict) else None


def of_cell(column: Tree, operation: str, key: str) -> float | None:
    """Give one figure of an operation; None when it was not measured."""
    found = cell(column, operation)
    value = None if found is None else found.get(key)
    return value if isinstance(value, int | float) else None


def number(value: float | None) -> str:
    """Write a number without decimals."""
    return NOTHING if value is None else f"{value:,.0f}"


def ratio(value: float | None) -> str:
    """Write how many times something is something else."""
    if value is None:
        return NOTHING
    return f"{value:,.{2 if value < FEW else 1 if value < MANY else 0}f}"


def plural(count: float, noun: str) -> str:
    """Write a number and what it counts."""
    return f"{count:,.0f} {noun}" + ("" if count == 1 else "s")


def page(title: str, about: str, runs: str, sections: Sequence[Section]) -> str:
    """Write a page of sections, with links to each.

    :param runs: elements: what was run.
    """
    return PAGE.substitute(
        title=escape(title),
        about=escape(about),
        runs=runs,
        links="".join(f'<a href="#{part.anchor}">{escape(part.title)}</a>' for part in sections),
        sections="\n".join(part.html for part in sections),
    )
