"""What can be measured: L1's kernel with nothing below it, and each kind of virtual EL2."""

from collections.abc import Sequence
from dataclasses import dataclass

from vel2.arch.homes import Kind, Level
from vel2.errors import UserError

__all__ = ("CONFIGURATIONS", "Configuration", "find_configurations")


@dataclass(frozen=True)
class Configuration:
    """One column of the table.

    :ivar nv: the part of FEAT_NV* L0 uses; None without L0.
    """

    name: str
    el2: Kind
    nv: Level | None

    @property
    def bootargs(self) -> str:
        """What L1's kernel has to be told: at real EL2 it would always choose VHE."""
        return " kvm-arm.mode=nvhe" if self.nv is None and self.el2 is Kind.NVHE else ""


CONFIGURATIONS = {
    row.name: row
    for row in (
        Configuration("native", Kind.VHE, None),
        Configuration("native-nvhe", Kind.NVHE, None),
        Configuration("vhe-nv2", Kind.VHE, Level.NV2),
        Configuration("nvhe-nv2", Kind.NVHE, Level.NV2),
        Configuration("vhe-nv", Kind.VHE, Level.NV),
        Configuration("nvhe-nv", Kind.NVHE, Level.NV),
    )
}
NOT_BY_DEFAULT = frozenset({"native-nvhe"})


def find_configurations(
    names: Sequence[str] = (), el2: Sequence[str] = (), nv: Sequence[str] = ()
) -> tuple[Configuration, ...]:
    """Choose configurations.

    :param names: exactly these, in this order; when empty, `native` and all others that `el2` and
        `nv` (values of `Kind` and `Level`, empty for all) leave.
    :raises UserError: when there is no such configuration.
    """
    for name in names:
        if name not in CONFIGURATIONS:
            raise UserError(
                f"there is no configuration {name!r}; give one of {', '.join(CONFIGURATIONS)}."
            )
    if names:
        return tuple(CONFIGURATIONS[name] for name in dict.fromkeys(names))
    return tuple(row for row in CONFIGURATIONS.values() if is_left(row, el2, nv))


def is_left(row: Configuration, el2: Sequence[str], nv: Sequence[str]) -> bool:
    """Whether a configuration is measured when none is named."""
    if row.nv is None:
        return row.name not in NOT_BY_DEFAULT
    return (not el2 or row.el2.value in el2) and (not nv or row.nv.value in nv)
