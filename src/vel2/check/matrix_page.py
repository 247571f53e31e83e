"""The guest matrix as one HTML page that needs nothing else."""

from collections.abc import Mapping, Sequence
from html import escape
from string import Template

from vel2.check.matrix import COMBINATIONS, Result, Verdict

__all__ = ("matrix_page",)

TITLE = "vel2: guest hypervisors at virtual EL2"
PAGE = Template("""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>$title</title>
<style>
:root { color-scheme: light dark; }
body { font: 16px/1.45 system-ui, sans-serif; margin: auto; max-width: 60rem; padding: 2rem; }
table { border-collapse: collapse; }
th, td { border: 1px solid #8886; padding: .3rem .8rem; text-align: left; }
td.pass { background: #2a82; }
td.fail { background: #d335; font-weight: bold; }
td.na, td.none { color: #888; }
pre { background: #8882; overflow-x: auto; padding: .6rem; font-size: 13px; }
</style>
</head>
<body>
<h1>$title</h1>
<p>$summary</p>
<p><small>$about</small></p>
<table>
<thead><tr><th>guest</th>$heads</tr></thead>
<tbody>
$rows
</tbody>
</table>
$notes
</body>
</html>
""")

CLASSES = {Verdict.PASS: "pass", Verdict.FAIL: "fail", Verdict.NOT_APPLICABLE: "na"}


def matrix_page(results: Sequence[Result], run: Mapping[str, object]) -> str:
    """Make the page; guests come in the order of the results.

    :param run: how the results were obtained, as in the JSON result.
    """
    guests = dict.fromkeys(result.guest for result in results)
    columns = [at for at in COMBINATIONS if any(result.at == at for result in results)]
    found = {(result.guest, result.at): result for result in results}
    rows = []
    for guest in guests:
        cells = "".join(_cell(found.get((guest, at))) for at in columns)
        rows.append(f"<tr><th>{escape(guest)}</th>{cells}</tr>")
    counts = [sum(result.verdict is verdict for result in results) for verdict in Verdict]
    return PAGE.substitute(
        title=TITLE,
        about=escape(f"vel2 {run['vel2']} on QEMU {run['qemu']}, {run['date']}: {run['command']}"),
        summary="{} passed, {} failed, {} not applicable.".format(*counts),
        heads="".join(f"<th>--el2 {at.el2.value} --nv {at.nv.value}</th>" for at in columns),
        rows="\n".join(rows),
        notes="\n".join(_note(result) for result in results if result.reason),
    )


def _cell(result: Result | None) -> str:
    """Make one cell of the table."""
    if result is None:
        return '<td class="none">not run</td>'
    took = f" {result.seconds:.1f} s" if result.verdict is Verdict.PASS else ""
    return (
        f'<td class="{CLASSES[result.verdict]}" title="{escape(result.reason)}">'
        f"{result.verdict.value}{took}</td>"
    )


def _note(result: Result) -> str:
    """Make the paragraph below the table with the reason and the console."""
    heading = f"<h2>{escape(result.guest)}, {result.at}: {result.verdict.value}</h2>"
    tail = f"\n<pre>{escape(result.tail)}</pre>" if result.tail else ""
    return f"{heading}\n<p>{escape(result.reason)}.</p>{tail}"
