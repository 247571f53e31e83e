"""What a trace adds up to, what is unusual in it, and the page about it."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.browser import artifact, chromium, served
from tests.trace_events import EVENTS, L1, NoNames, TwoNames, access, esr, trap, write_trace
from tests.unit.cli.test_main import invoke
from vel2.arch import sysregs as sr
from vel2.arch.esr import EC
from vel2.arch.nesting import Kind, Level
from vel2.report.flame import flame_graph
from vel2.report.page import run_page
from vel2.report.reasons import function_reasons, markdown, saved
from vel2.report.summary import Summary, Tally, summarize
from vel2.report.warnings import warnings_of
from vel2.trace.recording import End, Recording
from vel2.trace.schema import Event, Place, Result

MS = 1000
"""In ticks of the hand-made traces."""


def recorded(folder: Path, events: list[Event] | None = None, end: End | None = None) -> Recording:
    return Recording.open(write_trace(folder / "t.trace", events, end=end))


@pytest.fixture
def trace(tmp_path: Path) -> Recording:
    return recorded(tmp_path)


@pytest.fixture
def summary(trace: Recording) -> Summary:
    return summarize(trace, TwoNames())


def test_counts_and_costs(summary: Summary) -> None:
    assert summary.classes["ERET", "L1"] == Tally(3, 115_000)
    assert summary.registers["HCR_EL2", "L1"] == Tally(2, 130_000)
    assert summary.functions["L2", "EL0"] == Tally(2, 50_000)
    assert summary.traps == sum(event.kind in (1, 2) for event in EVENTS)
    assert summary.guests == {5: 2}
    assert summary.pages == {(5, 0x9000): 1}


def test_time_is_somebodys(summary: Summary) -> None:
    """What the levels had adds up to the whole; the parts are those of the hand-made trace."""
    times = {level: summary.time_of(level) for level in ("L0", "L1", "L2")}
    costs = sum(event.cost for event in EVENTS if event.kind in (1, 2)) * 1000
    assert times["L0"] == costs
    assert times["L2"] == (950 + 440 + 960) * 1000
    assert sum(times.values()) == summary.duration == 4_405_000


def test_exits_and_their_flame(summary: Summary) -> None:
    times = summary.exits["hypercall"]
    assert (times.count, times.total, times.longest) == (1, 560_000, 560_000)
    assert times.below(0.5) == 1 << 20
    assert set(summary.exits) == {"hypercall"}  # the other did not end
    root = ("hypercall", "do_idle")
    assert summary.flame == {
        (*root, "L1 itself"): 450_000,
        (*root, "L0: the exit"): 20_000,
        (*root, "kvm_vcpu_run", "read HCR_EL2"): 30_000,
        (*root, "kvm_vcpu_run", "ERET"): 60_000,
    }
    assert sum(summary.flame.values()) == times.total


def test_why_l1_traps(summary: Summary) -> None:
    [(function, count, reasons)] = function_reasons(summary, Kind.VHE, Level.NV)
    assert (function, count) == ("kvm_vcpu_run", 5)
    assert [(r.cause, r.count, r.with_nv2, r.with_nv) for r in reasons] == [
        ("ERET", 3, None, None),
        ("read HCR_EL2", 1, False, True),
        ("write HCR_EL2", 1, False, True),
    ]
    assert reasons[1].why == "L0 reads the VNCR page at 0x78"
    assert saved(summary, Kind.VHE) == (5, 2)
    said = markdown(summary, {"command": "vel2 demo"}, Kind.VHE, Level.NV)
    assert "`vel2 demo`, at VHE with FEAT_NV." in said
    assert "`kvm_vcpu_run` traps most: 5 times, 3\nof them on `ERET`." in said
    assert "FEAT_NV2 would have saved 2 of all traps (40%)." in said
    assert "| `kvm_vcpu_run` | 5 | `ERET` | 3 | HCR_EL2.NV: an ERET at vEL2" in said


def said_of(trace: Recording) -> str:
    return "\n".join(each.what for each in warnings_of(trace, summarize(trace, NoNames())))


def test_a_usual_run_has_no_warning(trace: Recording) -> None:
    assert said_of(trace) == ""


def storm() -> list[Event]:
    """A second with a trap each ms, and 3,000 traps within one of them."""
    write = access(sr.HCR_EL2, False)
    even = [trap(n * MS, n * MS + 1, L1, L1, write, Result.HANDLED) for n in range(1000)]
    burst = [trap(500 * MS, 500 * MS + 1, L1, L1, write, Result.HANDLED)] * 3000
    return [*even[:501], *burst, *even[501:]]


def test_warnings(tmp_path: Path) -> None:
    assert said_of(recorded(tmp_path, storm())).startswith("A storm: 3,00")
    undefined = trap(1, 2, L1, L1, esr(EC.UNKNOWN), Result.INJECTED)
    assert "1 traps of class UNKNOWN from L1." in said_of(recorded(tmp_path, [undefined]))
    long = [EVENTS[3], trap(20 * MS, 20 * MS + 5, L1, Place.L2_EL1, esr(EC.ERET), Result.RETURNED)]
    assert "An exit by hypercall took 17.0 ms." in said_of(recorded(tmp_path, long))
    again = [EVENTS[6]] * 20
    assert "Page 0x9000 of VMID 5 was put into the shadow 20 times." in said_of(
        recorded(tmp_path, again)
    )
    assert "5 events of" in said_of(recorded(tmp_path, None, End((5,))))


class Page(HTMLParser):
    """What is checked of the page: balanced elements, anchors, links, scripts."""

    VOID = ("meta", "br", "path", "use", "rect")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        found = dict(attrs)
        self.ids += [str(found["id"])] if "id" in found else []
        self.links += [str(v) for k, v in attrs if k in ("href", "src", "xlink:href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


SECTIONS = {
    *("in-short", "warnings", "time-line", "traps-by-class", "registers", "functions-of-l1"),
    *("flame-graph", "exits-and-switches", "shadow-stage-2"),
}


def test_the_page_is_whole_and_needs_nothing_else(trace: Recording, summary: Summary) -> None:
    text = run_page(trace, summary)
    page = Page()
    page.feed(text)
    assert page.open == []
    assert set(page.ids) >= SECTIONS
    assert len(page.ids) == len(set(page.ids))
    assert all(link.startswith("#") for link in page.links)
    assert not page.tags & {"script", "link", "iframe", "img"}
    for wanted in ("kvm_vcpu_run", "8 traps to L0", "HCR_EL2", "hypercall: 560,000 ns, 100.0%"):
        assert wanted in text


def test_names_from_a_guest_are_text_on_the_page(trace: Recording) -> None:
    class Evil(NoNames):
        def function(self, place: int, pc: int) -> str:
            return "<script>alert(1)</script>"

    text = run_page(trace, summarize(trace, Evil()))
    assert "<script" not in text and "&lt;script&gt;" in text


def test_a_flame_graph_has_each_frame_as_wide_as_its_time() -> None:
    drawn = flame_graph({("a", "b"): 750, ("a", "c"): 250, ("d",): 1000}, "title", "ns")
    widths = dict(re.findall(r"<title>(\w): .*?</title><rect .*?width=\"([\d.]+)\"", drawn))
    assert widths == {"a": "499.5", "b": "374.5", "c": "124.5", "d": "499.5"}
    assert "<title>b: 750 ns, 37.5%</title>" in drawn
    assert flame_graph({}, "title", "ns") == ""


def test_the_command(tmp_path: Path) -> None:
    trace = str(write_trace(tmp_path / "t"))
    result = invoke("trace", "report", trace, "--html", str(tmp_path / "p.html"))
    assert (result.exit_code, result.stderr) == (0, "")
    assert (tmp_path / "p.html").read_text().startswith("<!DOCTYPE html>")
    assert invoke("trace", "report", trace, "--markdown", "-").stdout.startswith("# Why L1 traps")
    assert invoke("trace", "report", trace).stderr == (
        "vel2: what to write is --html or --markdown; give one with a FILE.\n"
    )


def test_a_browser_shows_it(trace: Recording, summary: Summary, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text(run_page(trace, summary))
    with served(tmp_path) as address, chromium(1200, 4000) as browser:
        browser.get(f"{address}/report.html")
        complaints = [e for e in browser.get_log("browser") if "favicon" not in e["message"]]
        assert complaints == []
        count = "return document.querySelectorAll(arguments[0]).length"
        assert browser.execute_script(count, "section") == len(SECTIONS)
        size = "const b = document.querySelector('.flame rect').getBoundingClientRect();"
        assert browser.execute_script(f"{size} return b.width") > 500
        shot = artifact(tmp_path, "report.png")
        assert browser.save_screenshot(str(shot))
        assert shot.stat().st_size > 10_000
