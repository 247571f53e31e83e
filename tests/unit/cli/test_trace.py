"""`vel2 trace`: queries and exports, and what they say of a trace that is not whole."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.trace_events import EVENTS, write_trace
from tests.unit.cli.test_main import invoke
from vel2.trace.recording import End
from vel2.trace.rows import EVENT_COLUMNS, EXIT_COLUMNS

COUNTS = "select * from counts"


@pytest.fixture
def trace(tmp_path: Path) -> str:
    return str(write_trace(tmp_path / "demo.trace", kernels={}))


def test_a_table(trace: str) -> None:
    lines = invoke("trace", "query", trace, COUNTS).stdout.splitlines()
    assert lines[0].split() == ["class", "level", "count", "cost"]
    assert lines[1].split() == ["ERET", "L1", "3", "115000"]
    assert lines[1].endswith(" 115000") and lines[2].endswith(" 130000")


def test_what_docs_show(trace: str) -> None:
    asked = "select cause, count(*) n, avg(duration) ns from exits group by 1 order by 1"
    lines = invoke("trace", "query", trace, asked).stdout.splitlines()
    assert [line.split() for line in lines[1:]] == [
        ["IRQ", "1", "-"],
        ["hypercall", "1", "560,000"],
    ]


def test_csv_and_json(trace: str) -> None:
    asked = ("trace", "query", trace, "select cause, duration from exits")
    assert invoke(*asked, "--format", "csv").stdout == "cause,duration\nhypercall,560000\nIRQ,\n"
    rows = [json.loads(line) for line in invoke(*asked, "--format", "json").stdout.splitlines()]
    assert rows[0] == {"cause": "hypercall", "duration": 560000}


def test_tables_are_described(trace: str) -> None:
    said = invoke("trace", "query", trace, "--tables").stdout
    for column in (*EVENT_COLUMNS, *EXIT_COLUMNS):
        assert column.name in said


def test_exports(trace: str, tmp_path: Path) -> None:
    made = [tmp_path / name for name in ("a.pftrace", "b.parquet", "c.parquet")]
    options = zip(("--perfetto", "--parquet", "--exits"), map(str, made), strict=True)
    result = invoke("trace", "export", trace, *(word for pair in options for word in pair))
    assert result.stderr == f"vel2: {made[0]} has {len(EVENTS)} events and 2 exits of L2.\n"
    assert all(path.stat().st_size for path in made)
    assert invoke("trace", "export", trace).stderr == (
        "vel2: what to write is --perfetto, --parquet or --exits; give one with a FILE.\n"
    )


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    lost = write_trace(tmp_path / "lost", end=End((7,)), kernels={})
    said = invoke("trace", "query", str(lost), COUNTS).stderr
    assert said == (f"vel2: 7 events of {lost} were lost: the host was too slow for L0.\n")
    cut = tmp_path / "cut"
    cut.write_bytes(lost.read_bytes()[:-1])
    said = invoke("trace", "query", str(cut), COUNTS).stderr
    assert said == f"vel2: the trace {cut} has no end: the run was cut off after 10 events.\n"


def test_a_kernel_that_does_not_fit_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trace = str(write_trace(tmp_path / "t", kernels={"L1": "of another machine"}))
    said = invoke("trace", "query", trace, COUNTS)
    assert said.exit_code == 0
    wrong = invoke("trace", "query", trace, COUNTS, "--l2", "nothing")
    assert wrong.exit_code == 2
    assert "'nothing' is neither a file nor a kernel on offer" in wrong.stderr


@pytest.mark.parametrize(
    ("sql", "sentence"),
    [
        ((), "give a query, such as"),
        (("selec",), "vel2: the query was not understood (Parser Error:"),
    ],
)
def test_refusals(trace: str, sql: tuple[str, ...], sentence: str) -> None:
    result = invoke("trace", "query", trace, *sql)
    assert result.exit_code == 2
    assert sentence in result.stderr
