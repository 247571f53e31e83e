"""`vel2 bench`: what one operation of L2 costs in each configuration."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vel2.cli.bench_profile import print_profiles, profile_all
from vel2.cli.bench_report import show_results, write_report
from vel2.cli.contradictions import refuse_contradictions, refuse_strays
from vel2.cli.exits import ExitCode
from vel2.cli.kernels import check_names, fetch_missing, find_kernel
from vel2.cli.options import SECONDS
from vel2.cli.provenance import run_of
from vel2.cli.report import Report, plain_table, require_writable, write_json
from vel2.cli.terminal import Terminal
from vel2.errors import UserError
from vel2.guests.kernels import guest_kernel
from vel2.machine.loader import KernelImage, load_kernel
from vel2.machine.version import require_qemu

if TYPE_CHECKING:  # it brings in the compiler, and most commands do not need it
    from vel2.bench.configuration import Configuration
    from vel2.bench.payload import Payload
    from vel2.bench.result import Tree

__all__ = ("bench", "cell_text", "print_columns", "print_comparison", "print_costs", "split_names")

TIMEOUT_S = 300.0
CONTRADICTIONS = (
    *(("macro", "growth"), ("deterministic", "host_time")),
    *(("configs", "el2"), ("configs", "nv")),
    *(("rounds", "deterministic"), ("rounds", "profiling"), ("rounds", "explained")),
    *(
        ("read_files", name)
        for name in (
            *("l1", "l2", "el2", "nv", "configs", "macro", "growth", "peers", "rounds", "count"),
            *("deterministic", "host_time", "only", "profiling", "explained", "json_file"),
            *("timeout", "huge_pages"),
        )
    ),
)
STRAYS = (("l2", "macro"), ("huge_pages", "macro"))
COUNT, PROFILE_COUNT, MACRO_ROUNDS = 1000, 10, 3
COLUMN_GAP = "  "
EXPLAINED = ("vhe-nv2", "nvhe-nv2", "vhe-nv")
MET = {True: "met", False: "not met", None: "-"}


def split_names(texts: Sequence[str]) -> tuple[str, ...]:
    """Read the names of an option that may come several times, with commas between them or not."""
    parts = (part for text in texts for part in text.split(","))
    return tuple(name for part in parts if (name := part.strip()))


@click.command()
@click.option("--l1", default="6.12", show_default=True, help="L1's kernel: a name or a file.")
@click.option(
    "--el2",
    multiple=True,
    type=click.Choice(["vhe", "nvhe"]),
    help="Only configurations with this virtual EL2.",
)
@click.option(
    "--nv",
    multiple=True,
    type=click.Choice(["nv2", "nv"]),
    help="Only configurations with this hardware.",
)
@click.option(
    "--configs",
    multiple=True,
    metavar="NAMES",
    help="Exactly these: native, native-nvhe, vhe-nv2, nvhe-nv2, vhe-nv, nvhe-nv, kvm-vhe, "
    "kvm-nvhe.",
)
@click.option(
    "--macro",
    is_flag=True,
    help="Measure booting, processes and memory at both levels instead.",
)
@click.option(
    "--growth",
    is_flag=True,
    help="Measure how an exit's cost grows with guests, memory and interrupts instead.",
)
@click.option(
    "--no-ahead",
    is_flag=True,
    help="Let vel2 take every trap of L1 by itself, never several in one, to compare.",
)
@click.option("--l2", default="6.12", show_default=True, help="L2's kernel, for --macro.")
@click.option(
    "--huge-pages", is_flag=True, help="With --macro: let L1 give L2 huge pages, as it likes to."
)
@click.option(
    "--peer",
    "peers",
    multiple=True,
    type=click.Choice(["kvm"]),
    help="Measure Linux's KVM as L0 too, in columns of its own.",
)
@click.option(
    "--rounds",
    type=click.IntRange(min=1),
    help="How many turns by host time (default: 1, with --macro 3).",
)
@click.option(
    "--deterministic",
    is_flag=True,
    help="Only count instructions and traps: two runs agree exactly.",
)
@click.option("--host-time", is_flag=True, help="Only nanoseconds of the host.")
@click.option(
    "--n",
    "count",
    type=int,
    help=f"Do each operation so often.  [default: {COUNT}, with --profile {PROFILE_COUNT}]",
)
@click.option("--only", multiple=True, metavar="NAMES", help="Only these operations.")
@click.option(
    "--timeout",
    type=SECONDS,
    default=TIMEOUT_S,
    show_default=True,
    metavar="SECONDS",
    help="Give up on a configuration after this time.",
)
@click.option(
    "--profile",
    "profiling",
    is_flag=True,
    help="Show where the instructions of one operation go, by level, trap, function and line.",
)
@click.option(
    "--explain",
    "explained",
    metavar="NAME",
    help="Explain one operation step by step, out of its profile; by default for "
    f"{', '.join(EXPLAINED)}.",
)
@click.option(
    "--markdown",
    "markdown_file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="With --explain: write the page there.",
)
@click.option(
    "--html",
    "html_file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the result as one page with charts.",
)
@click.option(
    "--read",
    "read_files",
    multiple=True,
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    metavar="FILE",
    help="With --html: show results that --json wrote, and measure nothing; may be repeated.",
)
@click.option(
    "--json",
    "json_file",
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    metavar="FILE",
    help="Write the result as JSON; `-` is standard output.",
)
@click.pass_context
def bench(
    context: click.Context,
    l1: str,
    el2: tuple[str, ...],
    nv: tuple[str, ...],
    configs: tuple[str, ...],
    macro: bool,
    growth: bool,
    no_ahead: bool,
    l2: str,
    huge_pages: bool,
    peers: tuple[str, ...],
    rounds: int | None,
    deterministic: bool,
    host_time: bool,
    count: int | None,
    only: tuple[str, ...],
    timeout: float,
    profiling: bool,
    explained: str | None,
    markdown_file: Path | None,
    html_file: Path | None,
    read_files: tuple[Path, ...],
    json_file: Path | None,
) -> None:
    """Measure what single operations of L2 cost.

    L1 is Linux with KVM; L2 is a bare-metal program that does one kind of
    operation at a time. `native` is the same at the machine's real EL2, without
    vel2.

    \b
    Examples:
      vel2 bench
      vel2 bench --configs native,vhe-nv2 --only hypercall,mmio_read
      vel2 bench --l1 6.1 --el2 vhe --json result.json
      vel2 bench --peer kvm              Linux's KVM as L0 beside vel2
      vel2 bench --deterministic         instructions only: every run is the same
      vel2 bench --macro --el2 vhe       boot, processes, memory
      vel2 bench --growth --el2 vhe      more guests, more memory, more interrupts
      vel2 bench --profile --configs vhe-nv2 --only hypercall
      vel2 bench --explain hypercall --markdown hypercall.md
      vel2 bench --read micro.json --read macro.json --html report.html
    """  # noqa: D301
    from vel2.bench.charts import require_library
    from vel2.bench.configuration import find_configurations
    from vel2.bench.operations import UNAVAILABLE
    from vel2.bench.payload import build_payload
    from vel2.bench.peer import KVM_KERNEL
    from vel2.bench.system import CPU, compile_all

    refuse_contradictions(context, CONTRADICTIONS)
    refuse_strays(context, STRAYS)
    for file, what_file in (
        (json_file, "the JSON result"),
        (html_file, "the page"),
        (markdown_file, "the page"),
    ):
        require_writable(file, what_file)
    what = "macro" if macro else "growth" if growth else None
    clock = "instructions" if deterministic else "host" if host_time else None
    if read_files:
        show_results(read_files, html_file)
        return
    if html_file is not None:
        require_library()
    names = split_names(only)
    if markdown_file is not None and explained is None:
        raise UserError("--markdown is for --explain; name an operation with that.")
    if explained is not None:
        if names:
            raise UserError("--explain names its operation itself; leave --only out.")
        profiling, names = True, (explained,)
        configs = configs or (() if el2 or nv or peers else EXPLAINED)
    if profiling and (what or clock == "host"):
        raise UserError(
            "--profile and --explain count instructions of single operations;"
            " leave --macro, --growth and --host-time out."
        )
    configurations = find_configurations(split_names(configs), el2, nv, peers)
    if no_ahead:
        configurations = tuple(replace(row, ahead=False) for row in configurations)
    has_kvm = any(row.kvm for row in configurations)
    if explained is not None and has_kvm:
        raise UserError(
            "--explain describes what vel2 does as L0; leave --peer and the kvm configurations out,"
            " or look at them with --profile."
        )
    if count is None:
        count = PROFILE_COUNT if profiling else COUNT
    if what is not None:
        check_programs(what, count, names)
    check_names([l1, l2])
    payload = None if what is not None else build_payload(count, names, clock != "host")
    compile_all(configurations)
    needed = [KVM_KERNEL] if has_kvm else []
    fetch_missing(["busybox", *([l1, l2] if what == "macro" else [l1]), *needed])
    kernel = load_kernel(find_kernel(l1))
    turns = rounds or (MACRO_ROUNDS if what == "macro" else 1)
    tree: Tree = {
        "run": run_of(clock == "instructions" or profiling, CPU),
        "l1": l1,
        "l1_kernel": kernel.version,
        "kvm_l0_kernel": guest_kernel(KVM_KERNEL).version if has_kvm else None,
        "ahead": not no_ahead,
        "qemu": str(require_qemu()[1]),
        "clock": "instructions" if profiling else clock or "both",
        "n": count,
        "rounds": 0 if profiling or clock == "instructions" else turns,
    }
    terminal = Terminal(str(json_file) == "-")
    if payload is None:
        from vel2.cli.bench_macro import run_growth, run_macro

        if what == "macro":
            l2_kernel = load_kernel(find_kernel(l2))
            tree |= {"l2": l2, "l2_kernel": l2_kernel.version, "huge_pages": huge_pages}
            code = run_macro(terminal, tree, configurations, kernel, l2_kernel, timeout)
        else:
            code = run_growth(terminal, tree, configurations, kernel, timeout)
    elif profiling:
        made = profile_all(configurations, kernel, payload, timeout)
        code = made.code
        tree["configurations"] = made.columns
        print_profiles(terminal, made, tree, explained is not None, markdown_file)
    else:
        from vel2.cli.bench_peer import print_peer

        columns, code = measure_all(
            configurations, kernel, payload, tree["clock"], tree["rounds"], timeout
        )
        print_costs(terminal, columns, payload.selected)
        print_comparison(terminal, columns, payload.selected)
        print_peer(terminal, columns, payload.selected)
        for name, why in UNAVAILABLE.items():
            terminal.print(f"{name} is not measured: {why}")
        tree |= {"not_available": UNAVAILABLE, "configurations": columns}
    if json_file is not None:
        write_json(Report(tree), json_file)
    if html_file is not None:
        write_report([tree], html_file)
    context.exit(code)


def check_programs(what: str, count: int, names: Sequence[str]) -> None:
    """Refuse options that Linux programs cannot follow.

    :raises UserError: saying what can be given.
    """
    from vel2.bench.growth.points import MAX_EXITS
    from vel2.bench.program import MAX_N

    most = MAX_N if what == "macro" else MAX_EXITS
    if not 1 <= count <= most:
        raise UserError(f"--{what} cannot be done with --n {count}; give 1 to {most}.")
    if names:
        raise UserError(f"--{what} does all of its parts in one run; leave --only out.")


def measure_all(
    configurations: Sequence["Configuration"],
    kernel: KernelImage,
    payload: "Payload",
    clock: str,
    rounds: int,
    timeout: float,
) -> tuple["Tree", int]:
    """Measure one configuration after the other; one that fails leaves the others theirs.

    :param clock: `instructions`, `host` or `both`. :param rounds: how many runs by host time.
    :return: the columns, and the exit code of the first that failed.
    """
    from vel2.bench.measure import MeasureError, Request, measure
    from vel2.bench.payload import build_payload
    from vel2.bench.result import add_comparisons, failed_column, measured_column

    columns: Tree = {}
    code: int = ExitCode.OK
    plain = build_payload(payload.count, payload.selected, has_marks=False)
    for number, configuration in enumerate(configurations, 1):
        name = configuration.name
        click.echo(f"vel2: measuring {name} ({number} of {len(configurations)})", err=True)
        request = Request(configuration, kernel, payload, timeout=timeout)
        timed = replace(request, payload=plain, deterministic=False)
        try:
            counted = [measure(request)] if clock != "host" else []
            times = [measure(timed) for _ in range(rounds)]
        except MeasureError as error:
            click.echo(f"vel2: {name}: {error}", err=True)
            columns[name] = failed_column(error)
            code = code or error.exit_code
            continue
        columns[name] = measured_column((counted or times)[0], bool(counted), times)
    add_comparisons(columns, {row.name: row for row in configurations})
    return columns, code


def cell_text(cell: "Tree | None") -> str:
    """Write the cost of one operation, and in brackets its traps where they are known."""
    if cell is None:
        return "failed"
    if cell["instructions_per_op"] is None:
        return host_text(cell)
    text = f"{cell['instructions_per_op']:,.0f}"
    return text if cell["usual_traps"] is None else f"{text} ({cell['usual_traps']})"


def host_text(cell: "Tree | None") -> str:
    """Write what one operation took by host time."""
    if cell is None:
        return "failed"
    return "-" if cell["host_ns_per_op"] is None else f"{cell['host_ns_per_op']:,.0f}"


def print_costs(terminal: Terminal, columns: "Tree", operations: Sequence[str]) -> None:
    """Print for each scale a row for each operation, a column for each configuration."""
    terminal.print()
    for key, text_of, what in SCALES:
        cells = [cell for column in columns.values() for cell in column["operations"].values()]
        if cells and all(cell[key] is None for cell in cells):
            continue
        texts = {
            name: [text_of(column["operations"].get(operation)) for operation in operations]
            for name, column in columns.items()
        }
        print_columns(terminal, "one operation of L2", operations, texts)
        if cells:
            terminal.print(what)
        terminal.print()


SCALES = (
    (
        "instructions_per_op",
        cell_text,
        "instructions of all levels together (traps to real EL2 of the usual one)",
    ),
    ("host_ns_per_op", host_text, "nanoseconds of the host, all levels together"),
)


def print_columns(
    terminal: Terminal, head: str, rows: Sequence[str], columns: Mapping[str, Sequence[str]]
) -> None:
    """Print columns of texts, in as many tables as it takes."""
    first = [head, *rows]
    for number, part in enumerate(parts_that_fit(columns, terminal.width - max(map(len, first)))):
        if number:
            terminal.print()
        table = plain_table(head, *part)
        for row, *texts in zip(rows, *(columns[name] for name in part), strict=True):
            table.add_row(row, *texts)
        terminal.print(table)


def parts_that_fit(columns: Mapping[str, Sequence[str]], width: int) -> Iterator[list[str]]:
    """Divide columns among as many tables as the width takes; each has one column at least."""
    part: list[str] = []
    left = width
    for name, texts in columns.items():
        needed = len(COLUMN_GAP) + max(map(len, (name, *texts)))
        if part and needed > left:
            yield part
            part, left = [], width
        part.append(name)
        left -= needed
    if part:
        yield part


def print_comparison(terminal: Terminal, columns: "Tree", operations: Sequence[str]) -> None:
    """Print how each operation compares with `native`, with KVM as L0, and with the targets."""
    table = plain_table("compared", "operation", "x native", "KVM / vel2", "must", "aims", texts=2)
    for name, column in columns.items():
        for operation in operations:
            cell = column["operations"].get(operation)
            if cell is None or all(cell[key] is None for key in COMPARED):
                continue
            cost, kvm = cell["instructions_per_op"], cell["kvm_as_l0"]
            ratio = "-" if cell["ratio_to_native"] is None else f"{cell['ratio_to_native']:.2f}"
            gain = "-" if kvm is None or cost is None else f"{kvm['instructions'] / cost:.1f}"
            if cell["peer"] is not None:
                gain = f"{cell['peer']['ratio']:.3g}"
            table.add_row(
                name, operation, ratio, gain, *(target(cell[k]) for k in ("must", "aims"))
            )
    if table.row_count:
        terminal.print(table)
        terminal.print()


COMPARED = ("ratio_to_native", "must", "aims", "kvm_as_l0")


def target(judged: "Tree | None") -> str:
    """Write a target and whether it is met."""
    if judged is None:
        return "-"
    traps = "" if judged["traps"] is None else f" ({judged['traps']})"
    return f"{judged['instructions']:,}{traps} {MET[judged['met']]}"
