"""What machine to build, and the QEMU options that build it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vel2.errors import UserError
from vel2.machine.admission import machine_globals
from vel2.machine.memory import RAM_BASE, format_bytes, format_size

__all__ = (
    "DEFAULT_CPU",
    "MachineConfig",
    "board",
    "has_option",
    "kernel_command",
    "machine_arguments",
)

DEFAULT_CPU = "max,pauth-impdef=on,sve256=on,sme=off"
"""FEAT_NV2, with pointer authentication by a cheap hash: QARMA takes a quarter of TCG's time."""

DETERMINISTIC_RTC = "base=2026-01-01T00:00:00,clock=vm"
MIB = 1 << 20
IMPOSSIBLE = {
    "daemonize": "the machine ends with vel2",
    "preconfig": "vel2 needs the machine whole when QEMU first answers",
    "incoming": "what vel2 puts into its memory would be overwritten",
    "loadvm": "what vel2 puts into its memory would be overwritten",
}
"""Options of QEMU that take the machine out of our hands, and why they are refused."""
CONTROLS = ("s", "gdb", "monitor", "mon", "qmp", "qmp-pretty")
"""Options that let somebody else continue a stopped machine."""
MAX_CPUS = 512  # what `virt` with GICv3 takes


@dataclass(frozen=True)
class MachineConfig:
    """One machine.

    :ivar memory_bytes: all RAM, L0's part included.
    :ivar cpu: QEMU's `-cpu`.
    :ivar deterministic: time counts instructions (1 ns each), clock and seeds are fixed, so that a
        run repeats bit for bit.
    :ivar entry: physical address where cpu 0 starts at EL2; None for firmware.
    :ivar firmware: goes into the flash at address 0; started there unless there is an `entry`.
    :ivar doorbell: give the machine its second UART (0x9040000), as `Machine.doorbell`.
    :ivar smmu: put what is on PCI behind an SMMUv3 (0x9050000).
    :ivar start_paused: stop before the first instruction; go on with QMP `cont`.
    :ivar extra_arguments: appended to QEMU's command line as they are.
    """

    memory_bytes: int
    cpu: str = DEFAULT_CPU
    smp: int = 1
    deterministic: bool = False
    entry: int | None = None
    firmware: Path | None = None
    doorbell: bool = False
    smmu: bool = False
    start_paused: bool = False
    extra_arguments: tuple[str, ...] = ()

    @property
    def waits(self) -> bool:
        """Whether the machine stays stopped before its first instruction, for a debugger."""
        return has_option(self.extra_arguments, "S")

    def __post_init__(self) -> None:
        for name, why in IMPOSSIBLE.items():
            if has_option(self.extra_arguments, name):
                raise UserError(f"QEMU's -{name} cannot be had under vel2: {why}; leave it out.")
        if self.waits and not has_option(self.extra_arguments, *CONTROLS):
            raise UserError(
                "-S stops the machine before its first instruction, and nothing would let it go on;"
                " give -s (a port for gdb) with it, or -gdb, -monitor or -qmp."
            )
        if self.memory_bytes <= 0 or self.memory_bytes % MIB:
            raise UserError(
                f"a machine cannot have {format_size(self.memory_bytes)} of memory; "
                "give a whole number of MiB."
            )
        if not 1 <= self.smp <= MAX_CPUS:
            raise UserError(f"a machine cannot have {self.smp} cpus; give 1 to {MAX_CPUS}.")
        if self.entry is not None and not 0 <= self.entry - RAM_BASE < self.memory_bytes:
            raise UserError(
                f"the entry point {self.entry:#x} is outside RAM, which has "
                f"{format_bytes(self.memory_bytes)} from {RAM_BASE:#x}."
            )


def has_option(arguments: Sequence[str], *names: str) -> bool:
    """Whether QEMU's command line has one of these options, with one dash or two."""
    spellings = {f"{dashes}{name}" for dashes in ("-", "--") for name in names}
    return not spellings.isdisjoint(arguments)


def machine_arguments(config: MachineConfig) -> list[str]:
    """Return the options that decide what the guest sees.

    They are the same when QEMU only writes its device tree, so the tree describes this machine.
    """
    arguments = ["-cpu", config.cpu, "-smp", str(config.smp)]
    arguments += ["-m", f"{config.memory_bytes // MIB}M"]
    arguments += ["-nodefaults", "-nic", "none", "-display", "none", "-no-user-config"]
    arguments += machine_globals() if config.smmu else []
    # With firmware the board has another device for power events.
    arguments += ["-bios", str(config.firmware)] if config.firmware is not None else []
    return arguments


def run_arguments(config: MachineConfig) -> list[str]:
    """Return the options that decide how the machine starts and runs."""
    # The service thread lets the guest go once it listens: a guest that ends at once would
    # otherwise take the reason with it.
    arguments = ["-no-reboot", "-S"]
    if config.deterministic:
        arguments += ["-icount", "shift=0,sleep=off", "-rtc", DETERMINISTIC_RTC, "-seed", "1"]
    else:
        # Threads per cpu only pay off when there is more than one.
        arguments += ["-accel", f"tcg,thread={'multi' if config.smp > 1 else 'single'}"]
    if config.entry is not None:
        arguments += ["-device", f"loader,addr={config.entry:#x},cpu-num=0"]
    return arguments


def board(config: MachineConfig) -> str:
    """Name the board for `-M`; `memory-backend=ram` or `dumpdtb=...` is appended."""
    name = "virt,virtualization=on,gic-version=3,dtb-randomness=off"
    return f"{name},iommu=smmuv3" if config.smmu else name


def kernel_command(config: MachineConfig, kernel: Path) -> list[str]:
    """Return the command line by which QEMU alone boots a kernel on such a machine."""
    command = ["qemu-system-aarch64", "-M", "virt,virtualization=on,gic-version=3"]
    command += ["-cpu", config.cpu, "-smp", str(config.smp), "-m", f"{config.memory_bytes // MIB}M"]
    return [*command, "-nographic", "-nic", "none", "-kernel", str(kernel)]
