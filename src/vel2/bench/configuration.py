"""What can be measured: L1's kernel with nothing below it, and each kind of virtual EL2."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from vel2.arch.nesting import Kind, Level
from vel2.errors import UserError

__all__ = ("CONFIGURATIONS", "LEVELS", "Configuration", "find_configurations", "nested_deeper")

LEVELS = (2, 3)
"""The guests that can be measured."""


@dataclass(frozen=True)
class Configuration:
    """One column of the table.

    :ivar nv: the part of FEAT_NV* that vel2 uses; None where vel2 is not L0.
    :ivar kvm: Linux's KVM is L0, on FEAT_NV2.
    :ivar ahead: whether vel2 may do several accesses of L1 in one trap.
    :ivar level: the guest that is measured, of `LEVELS`. Below L3 there is one more Linux with KVM:
        L1, which gives L2 the virtual EL2 of the kind `el2`.
    :ivar depth: how many vel2s there are, one in the other, below L1.
    :ivar probes: what L0 calls at traps, as `FILE.py[:NAME]`; none where vel2 is not L0.
    """

    name: str
    el2: Kind
    nv: Level | None
    kvm: bool = False
    ahead: bool = True
    level: int = 2
    depth: int = 1
    probes: tuple[str, ...] = ()

    @property
    def nested(self) -> bool:
        """Whether there is an L0 below L1."""
        return self.nv is not None or self.kvm

    @property
    def base(self) -> str:
        """The configuration with the same kind of L1 and nothing below it; itself for that one."""
        return "native" if self.el2 is Kind.VHE else "native-nvhe"

    @property
    def bootargs(self) -> str:
        """What the hypervisor's kernel has to be told: at real EL2 it would always choose VHE."""
        is_at_real_el2 = not self.nested and self.level == 2
        return " kvm-arm.mode=nvhe" if is_at_real_el2 and self.el2 is Kind.NVHE else ""

    @property
    def linuxes_below(self) -> int:
        """How many Linuxes give a virtual EL2 by their KVM, below the one that is given it."""
        return self.level - LEVELS[0] + self.kvm

    @property
    def lacks(self) -> str:
        """Why this cannot be measured; empty if it can."""
        if self.level > LEVELS[0] and self.nv is Level.NV:
            return "Linux's KVM gives its guest a virtual EL2 by FEAT_NV2 only"
        if self.level > LEVELS[0] and self.kvm and self.el2 is Kind.NVHE:
            return "Linux's KVM gives a guest FEAT_NV2 or an HCR_EL2.E2H that is 0, never both"
        return ""


CONFIGURATIONS = {
    row.name: row
    for row in (
        Configuration("native", Kind.VHE, None),
        Configuration("native-nvhe", Kind.NVHE, None),
        Configuration("vhe-nv2", Kind.VHE, Level.NV2),
        Configuration("nvhe-nv2", Kind.NVHE, Level.NV2),
        Configuration("vhe-nv", Kind.VHE, Level.NV),
        Configuration("nvhe-nv", Kind.NVHE, Level.NV),
        Configuration("kvm-vhe", Kind.VHE, None, kvm=True),
        Configuration("kvm-nvhe", Kind.NVHE, None, kvm=True),
    )
}
PEERS = ("kvm",)
"""What `--peer` may add."""


def find_configurations(
    names: Sequence[str] = (),
    el2: Sequence[str] = (),
    nv: Sequence[str] = (),
    peers: Sequence[str] = (),
) -> tuple[Configuration, ...]:
    """Choose configurations.

    :param names: exactly these, in this order; when empty, all of vel2's that `el2` and `nv`
        (values of `Kind` and `Level`, empty for all) leave, and what those are compared with.
    :param peers: of `PEERS`; each adds its configurations of the kinds in `el2` at the end.
    :raises UserError: when there is no such configuration.
    """
    for name in names:
        if name not in CONFIGURATIONS:
            raise UserError(
                f"there is no configuration {name!r}; give one of {', '.join(CONFIGURATIONS)}."
            )
    left = [row.name for row in CONFIGURATIONS.values() if is_left(row, el2, nv)]
    added = [
        row.name
        for row in CONFIGURATIONS.values()
        if row.kvm and "kvm" in peers and (not el2 or row.el2.value in el2)
    ]
    chosen = dict.fromkeys([*(names or left), *added])
    return tuple(CONFIGURATIONS[name] for name in chosen)


def is_left(row: Configuration, el2: Sequence[str], nv: Sequence[str]) -> bool:
    """Whether a configuration is measured when none is named."""
    if row.kvm or (el2 and row.el2.value not in el2):
        return False
    return row.nv is None or not nv or row.nv.value in nv


def nested_deeper(
    rows: Sequence[Configuration], level: int, depth: int
) -> tuple[tuple[Configuration, ...], dict[str, str]]:
    """Give configurations in which that guest is measured, with so many vel2s below L1.

    :return: those that there are, and why there are no others, by name.
    :raises UserError: when there are none.
    """
    deeper = [replace(row, level=level, depth=depth if row.nv is not None else 1) for row in rows]
    lacking = {row.name: row.lacks for row in deeper if row.lacks}
    left = tuple(row for row in deeper if not row.lacks)
    if not left:
        raise UserError(f"L{level} cannot be measured there: {next(iter(lacking.values()))}.")
    return left, lacking
