"""A small L0 in simulated memory: what the host tells it of a machine that is not there.

The interleaving checker and the tests of resident functions build theirs by the same description.
"""

from __future__ import annotations

from typing import NamedTuple

from vel2.hyp.state import Vm

__all__ = ("TinyVm",)


class TinyVm(NamedTuple):
    """Where everything is.

    :ivar base: of L0's memory, which begins with the `Vm`.
    :ivar pool, ram: base and size. :ivar regions: base, size and kind of what L1 has.
    :ivar parange: the most address bits, as ID_AA64MMFR0_EL1.PARange says it.
    :ivar pcpus: of the first pcpu's block.
    """

    base: int
    pool: tuple[int, int]
    ram: tuple[int, int]
    parange: int
    regions: tuple[tuple[int, int, int], ...]
    pcpus: int
    cpu_count: int

    def describe(self, vm: Vm) -> None:
        """Write it where L0 reads it; all CPUs are online."""
        config = vm.config
        config.l0_base = self.base
        config.pool_base, config.pool_size = self.pool
        vm.stage2.pool_end = config.pool_base + config.pool_size
        config.ram_base, config.ram_end = self.ram[0], self.ram[0] + self.ram[1]
        config.max_parange = self.parange
        config.region_count = len(self.regions)
        for region, (base, length, kind) in zip(config.regions, self.regions, strict=False):
            region.base, region.length, region.kind = base, length, kind
        config.pcpus = self.pcpus
        config.cpu_count = vm.online = self.cpu_count
