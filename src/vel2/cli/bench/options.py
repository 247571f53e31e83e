"""What the commands of `vel2 bench` share: what to measure, on which clock, where results go."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vel2.cli.bench.report import write_report
from vel2.cli.contradictions import refuse_contradictions
from vel2.cli.kernels import check_names, fetch_missing, find_kernel
from vel2.cli.options import SECONDS, gathered, json_option
from vel2.cli.provenance import run_of
from vel2.cli.report import require_writable, write_json
from vel2.cli.terminal import Terminal
from vel2.errors import UserError
from vel2.hyp.layout import MAX_PCPUS
from vel2.machine.loader import load_kernel

if TYPE_CHECKING:  # it brings in the compiler, and most commands do not need it
    from vel2.bench.campaign import Campaign, Clock, Result
    from vel2.bench.configuration import Configuration

__all__ = ("ONLY", "SMP", "Asked", "asking", "clock_options", "split_names")

TIMEOUT_S = 300.0


def split_names(texts: Sequence[str]) -> tuple[str, ...]:
    """Read the names of an option that may come several times, with commas between them or not."""
    parts = (part for text in texts for part in text.split(","))
    return tuple(name for part in parts if (name := part.strip()))


@dataclass(frozen=True)
class Asked:
    """What the command line asks of a measurement, checked.

    :ivar count: how often each operation is done.
    :ivar json_file, html_file: where the result goes; None for nowhere.
    """

    l1: str
    configurations: "tuple[Configuration, ...]"
    count: int
    timeout: float
    json_file: Path | None
    html_file: Path | None

    @property
    def terminal(self) -> Terminal:
        """Where tables go; standard output may be for the result."""
        return Terminal(str(self.json_file) == "-")

    def campaign(self, clock: "Clock", *more_kernels: str) -> "Campaign":
        """Compile and fetch what is needed, so that a mistake shows before any run.

        :param more_kernels: what has to be there besides L1's.
        """
        from vel2.bench.campaign import Campaign
        from vel2.bench.peer import KVM_KERNEL
        from vel2.bench.system import compile_all, cpu_of

        check_names(more_kernels)
        run = run_of(not clock.rounds)
        compile_all(self.configurations)
        of_kvm = [KVM_KERNEL] if any(row.linuxes_below for row in self.configurations) else []
        fetch_missing(["busybox", self.l1, *more_kernels, *of_kvm])
        kernel = load_kernel(find_kernel(self.l1))
        return Campaign(
            run | {"cpu": cpu_of(kernel)},
            self.l1,
            kernel,
            self.configurations,
            clock,
            self.count,
            self.timeout,
        )

    def finish(self, result: "Result") -> None:
        """Write the result where it was asked for, and leave with its exit code."""
        write_json(result.tree, self.json_file)
        if self.html_file is not None:
            write_report([result.tree], self.html_file)
        click.get_current_context().exit(result.code)


L1 = click.option("--l1", default="6.12", show_default=True, help="L1's kernel: a name or a file.")
EL2 = click.option(
    "--el2",
    multiple=True,
    type=click.Choice(["vhe", "nvhe"]),
    help="Only configurations with this virtual EL2.",
)
NV = click.option(
    "--nv",
    multiple=True,
    type=click.Choice(["nv2", "nv"]),
    help="Only configurations with this hardware.",
)
CONFIGS = click.option(
    "--configs",
    multiple=True,
    metavar="NAMES",
    help="Exactly these: native, native-nvhe, vhe-nv2, nvhe-nv2, vhe-nv, nvhe-nv, kvm-vhe, "
    "kvm-nvhe.",
)
PEER = click.option(
    "--peer",
    "peers",
    multiple=True,
    type=click.Choice(["kvm"]),
    help="Measure Linux's KVM as L0 too, in columns of its own.",
)
NO_AHEAD = click.option(
    "--no-ahead",
    is_flag=True,
    help="Let vel2 take every trap of L1 by itself, never several in one, to compare.",
)
TIMEOUT = click.option(
    "--timeout",
    type=SECONDS,
    default=TIMEOUT_S,
    show_default=True,
    metavar="SECONDS",
    help="Give up on a configuration after this time.",
)
HTML = click.option(
    "--html",
    "html_file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the result as one page with charts.",
)
SMP = click.option(
    "--smp",
    type=click.IntRange(1, MAX_PCPUS),
    default=1,
    show_default=True,
    help="How many CPUs L1 has, and L2: the first does the work, the others sleep.",
)
ONLY = click.option("--only", multiple=True, metavar="NAMES", help="Only these operations.")


def asking(
    count: int,
    *own: Callable[[Any], Any],
    configs: Sequence[str] = (),
    has_peers: bool = True,
) -> Callable[[Callable[..., object]], Any]:
    """Add the options of a measurement to a command, which gets them as `asked`.

    :param count: how often each operation is done unless `--n` says so.
    :param own: options of the command itself, which it gets as ever.
    :param configs: the configurations when none is chosen; all when empty.
    :param has_peers: whether another L0 than vel2 can be measured too.
    """
    times = click.option(
        "--n", "count", default=count, show_default=True, help="Do each operation so often."
    )

    def read(
        *,
        l1: str,
        el2: tuple[str, ...],
        nv: tuple[str, ...],
        configs: tuple[str, ...],
        no_ahead: bool,
        count: int,
        timeout: float,
        json_file: Path | None,
        html_file: Path | None,
        peers: tuple[str, ...] = (),
    ) -> Asked:
        refuse_contradictions(click.get_current_context(), (("configs", "el2"), ("configs", "nv")))
        require_writable(json_file, "the JSON result")
        require_writable(html_file, "the page")
        if html_file is not None:
            from vel2.bench.charts import require_library

            require_library()
        names = split_names(configs) or (() if el2 or nv or peers else usual)
        rows = choose(names, el2, nv, peers, ahead=not no_ahead, has_peers=has_peers)
        check_names([l1])
        return Asked(l1, rows, count, timeout, json_file, html_file)

    usual = tuple(configs)
    peer = (PEER,) if has_peers else ()
    options = (L1, *own, EL2, NV, CONFIGS, *peer, NO_AHEAD, times, TIMEOUT, HTML, json_option)
    return gathered("asked", read, *options)


def choose(
    names: Sequence[str],
    el2: Sequence[str],
    nv: Sequence[str],
    peers: Sequence[str],
    *,
    ahead: bool,
    has_peers: bool,
) -> "tuple[Configuration, ...]":
    """Find the configurations.

    :raises UserError: when there is no such one, or it is a peer where there can be none.
    """
    from vel2.bench.configuration import find_configurations

    rows = find_configurations(names, el2, nv, peers)
    if not has_peers and any(row.kvm for row in rows):
        raise UserError(
            "what is explained is what vel2 does as L0; leave the kvm configurations out, or look"
            " at them with `vel2 bench profile`."
        )
    return tuple(replace(row, ahead=ahead) for row in rows)


def clock_options(rounds: int) -> Callable[[Callable[..., object]], Any]:
    """Add what time is measured by to a command, which gets it as `clock`.

    :param rounds: how many runs by host time there are unless `--rounds` says so.
    """
    usual = rounds

    def read(*, rounds: int | None, deterministic: bool, host_time: bool) -> "Clock":
        from vel2.bench.campaign import Clock

        contradictions = (("deterministic", "host_time"), ("rounds", "deterministic"))
        refuse_contradictions(click.get_current_context(), contradictions)
        return Clock(not host_time, 0 if deterministic else rounds or usual)

    return gathered(
        "clock",
        read,
        click.option(
            "--rounds",
            type=click.IntRange(min=1),
            help=f"How many turns by host time (default: {rounds}).",
        ),
        click.option(
            "--deterministic",
            is_flag=True,
            help="Only count instructions and traps: two runs agree exactly.",
        ),
        click.option("--host-time", is_flag=True, help="Only nanoseconds of the host."),
    )
