"""The page with charts: what is on it, that it needs nothing else, and what is refused."""

from __future__ import annotations

import json
import re
import sys
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

from vel2.bench.charts import bars, curves, log_ticks, stacks
from vel2.bench.configuration import CONFIGURATIONS
from vel2.bench.counts import Traps
from vel2.bench.macro_result import Runs, add_ratios, macro_column
from vel2.bench.measure import Figures
from vel2.bench.parts import Part
from vel2.bench.published import PUBLISHED
from vel2.bench.report import kind_of, report_page
from vel2.bench.report_parts import marked, plural, ratio
from vel2.bench.result import add_comparisons, measured_column
from vel2.cli.main import vel2
from vel2.errors import UserError

Tree = dict[str, Any]
RUN = {
    "vel2": "0.1+g1234567",
    "date": "2026-11-28T09:00:00+00:00",
    "command": "vel2 bench --peer kvm --html 'a page'",
}
ABOUT = {"run": RUN, "l1_kernel": "6.12.1", "qemu": "10.0.2", "clock": "instructions"}


def figures(cost: int, traps: int) -> Figures:
    seen = Traps({"HVC64 vEL1": traps}, 1)
    return Figures(10, cost * 10, seen, 1, singles=[(cost, seen)])


def micro(**costs: int) -> Tree:
    """Make a result in which each operation costs so many instructions, and 1% of that traps."""
    columns = {}
    for name, cost in costs.items():
        names = ("hypercall", "mmio_read", "gicd_read", "eoi")
        cells = {each: figures(cost, cost // 100) for each in names}
        columns[name.replace("_", "-")] = measured_column(cells, True)
    columns["nvhe-nv"] = {"error": "it failed", "operations": {}}
    add_comparisons(columns, CONFIGURATIONS)
    return {**ABOUT, "l1": "6.12", "configurations": columns, "kvm_l0_kernel": "7.3.4"}


def macro() -> Tree:
    columns = {
        name: macro_column(Runs({"l1.boot": Part(1, cost), "l2.memory": Part(10, cost)}, []))
        for name, cost in (("native", 1000), ("vhe-nv2", 1100))
    }
    add_ratios(columns, CONFIGURATIONS)
    return {**ABOUT, "l2": "6.12", "l2_kernel": "6.12.1", "configurations": columns}


def growth() -> Tree:
    cells = {f"guests.{x}": {"instructions_per_op": 100.0 * x} for x in (1, 4)}
    points = [{"x": x, "operation": f"guests.{x}"} for x in (1, 4, 16)]
    curve = {"grows": "guests", "costs": "exit", "points": points}
    columns = {"vhe-nv2": {"error": None, "operations": cells}}
    return {**ABOUT, "curves": {"guests": curve}, "configurations": columns}


def profile() -> Tree:
    cell = {"levels": {"L1 vEL2": 700, "L0": 300, "L1 vEL1": 50, "L2": 9}}
    columns = {"nvhe-nv2": {"error": None, "operations": {"hypercall": cell}}}
    return {**ABOUT, "configurations": columns}


class Reader(HTMLParser):
    """What a browser would see: elements that are open, what they refer to, and the text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.references: list[str] = []
        self.anchors: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "br"):
            self.open.append(tag)
        found = dict(attrs)
        self.references += [
            str(found[key]) for key in ("href", "src", "xlink:href") if key in found
        ]
        if "id" in found:
            self.anchors.append(str(found["id"]))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in ("meta", "br"):
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    assert reader.open == []
    # Nothing but what is in the page itself.
    assert all(name.startswith("#") for name in reader.references)
    assert {name[1:] for name in reader.references} <= set(reader.anchors)
    assert "<script" not in page and "@import" not in page
    return reader


def rows(page: str) -> list[str]:
    found = re.findall(r"<tr>(.*?)</tr>", page)
    return [" ".join(re.sub(r"<[^>]+>", " ", row).split()) for row in found]


def test_everything_on_one_page() -> None:
    trees = [growth(), profile(), micro(native=1000, vhe_nv2=1500, kvm_vhe=40_000), macro()]
    page = report_page(trees)
    text = read(page).text
    titles = re.findall(r"<h2>(.*?)</h2>", page)
    assert titles == [
        "In short", "Operations", "Traps", "Targets, and KVM as L0", "Beside NEVE",
        "Booting, processes, memory", "Growth", "Who executes the instructions",
    ]  # fmt: skip
    assert "vhe-nv2: a hypercall of L2 takes 1,500 instructions and 15 traps, 1.50 times" in text
    assert "KVM as L0 takes 26.7 times as many." in text
    assert "Targets: 1 of 3 must are met." in text
    found = rows(page)
    assert "hypercall 1,000 10 traps 1,500 x1.50, 15 traps 40,000 x40.0, 400 traps" in found
    assert "mmio_read 1,500 (15) 11,000 (18) 8,000 (8) 40,000 (400) this run 26.7" in found
    assert "Hypercall / hypercall 37.0 / 1.50 15 / 15" in found
    assert "l1.boot 1,000 1,100 x1.10" in found
    assert "nvhe-nv2 9 750 300" in found
    assert text.count("Machine: QEMU 10.0.2, one CPU.") == 1
    assert found[1] == f"{RUN['date']} {RUN['vel2']} {escape(RUN['command'])}"
    assert report_page(trees) == page


def test_a_must_that_is_missed_is_marked_and_an_aim_is_not() -> None:
    page = report_page([micro(native=1000, vhe_nv2=3000)])
    hypercall = next(line for line in page.splitlines() if "3,500 (4)" in line)
    assert '<td class="no">3,500 (4)</td><td>2,000 (2)</td>' in hypercall
    assert "46,080 (7)<br><small>recorded</small>" in hypercall


def test_an_nvhe_l1_is_compared_with_one_at_real_el2() -> None:
    page = report_page([micro(native=1000, native_nvhe=2000, vhe_nv2=1500, nvhe_nv2=8000)])
    text = read(page).text
    assert "1.50 times native." in text and "4.00 times native-nvhe." in text
    assert "hypercall 1,000 10 traps 2,000 20 traps 1,500 x1.50, 15 traps 8,000 x4.00" in "".join(
        rows(page)
    )


def test_a_result_that_does_not_say_how_it_was_got() -> None:
    old = {name: value for name, value in micro(native=1000).items() if name != "run"}
    assert "measured" not in read(report_page([old])).text


def test_a_wide_table_is_not_cut() -> None:
    """Names of columns may be broken, so that nine fit, and print has no bar to scroll with."""
    page = report_page([micro(native=1000, vhe_nv=3000, nvhe_nv2=3000)])
    style = page[page.index("<style>") : page.index("</style>")]
    assert "th { vertical-align: bottom; }" in style
    assert not re.search(r"th[^{}]*\{[^}]*nowrap", style)
    assert re.search(r"@media print \{.*div\.wide \{ overflow: visible; \}", style)


def test_what_was_not_measured_is_not_on_the_page() -> None:
    titles = re.findall(r"<h2>(.*?)</h2>", report_page([micro(native=1000)]))
    assert titles == ["Operations"]


def test_published_rows_name_what_there_is() -> None:
    for row in PUBLISHED:
        assert {*row.cycles, *row.traps} <= set(CONFIGURATIONS)
    hypercall, device, eoi = PUBLISHED
    assert [round(hypercall.ratio(name) or 0) for name in ("nvhe-nv", "vhe-nv2")] == [155, 37]
    assert device.ratio("vhe-nv") is None
    assert eoi.ratio("vhe-nv2") == 1


def test_charts_are_elements_of_xml() -> None:
    made = [
        bars(
            "a <b> & c", ["x", "y"], {"vhe-nv2": [1.0, None], "new": [20.0, 3.0]}, "t", is_log=True
        ),
        bars("marks", ["x"], {"vhe-nv2": [50.0]}, "%", marks={"must": [100.0], "aims": [None]}),
        stacks("stacks", ["x", "y"], {"L1": [1.0, 2.0], "L0": [None, 3.0]}, "n"),
        curves("curves", {"native": [(1, 2.0), (64, 3.0)], "vhe-nv2": [(1, 4.0)]}, "x", "y"),
    ]
    for chart in made:
        root = ElementTree.fromstring(chart)
        assert root.tag == "figure"
        assert "currentColor" in chart and "#0a0b0c" not in chart
    assert "<figcaption>a &lt;b&gt; &amp; c</figcaption>" in made[0]
    # The numbers at the bars are text.
    assert ">20<" in made[0]


def test_numbers_and_words() -> None:
    assert [ratio(value) for value in (None, 1.456, 12.34, 8771.3)] == [
        "-",
        "1.46",
        "12.3",
        "8,771",
    ]
    assert (plural(1, "trap"), plural(2, "trap")) == ("1 trap", "2 traps")
    assert marked("a `b` <c>") == "a <code>b</code> &lt;c&gt;"
    assert log_ticks(30) == ([1, 2, 5, 10, 20], ["1", "2", "5", "10", "20"])


@pytest.mark.parametrize("tree", [{}, {"configurations": {}}, {"configurations": [], "qemu": "1"}])
def test_what_is_no_result(tree: Tree) -> None:
    with pytest.raises(UserError, match="no result of `vel2 bench --json`"):
        kind_of(tree)


def test_reading_results(tmp_path: Path) -> None:
    source, page = tmp_path / "a.json", tmp_path / "a.html"
    source.write_text(json.dumps(micro(native=1000, vhe_nv2=1500)))
    result = CliRunner().invoke(vel2, ["bench", "report", str(source), "--html", str(page)])
    assert (result.exit_code, result.output) == (0, "")
    read(page.read_text())


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        (
            None,
            ["--html", "page"],
            "{file} cannot be read (No such file or directory); name another",
        ),
        ("{", ["--html", "page"], "{file} is not what `vel2 bench --json` writes; name a file"),
        ("[]", ["--html", "page"], "{file} is not what `vel2 bench --json` writes; name a file"),
    ],
)
def test_what_cannot_be_read(
    tmp_path: Path, text: str | None, options: list[str], said: str
) -> None:
    source = tmp_path / "a.json"
    if text is not None:
        source.write_text(text)
    result = CliRunner().invoke(vel2, ["bench", "report", str(source), *options])
    assert result.exit_code == 2
    assert result.stderr.startswith("vel2: " + said.format(file=source))


def test_without_the_library_that_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UserError, match=re.escape("pip install 'vel2[report]'")):
        bars("a", ["x"], {"b": [1.0]}, "c")
    # Before anything is measured.
    result = CliRunner().invoke(vel2, ["bench", "--html", "page.html"])
    assert result.exit_code == 2
    assert result.stderr.startswith("vel2: charts need matplotlib")
