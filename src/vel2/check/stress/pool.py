"""L0's pool of table pages as a whole: every page in one list, and only in one."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from vel2.control.vm import Vm
from vel2.hyp.state import PoolPage, Stage2

__all__ = ("Pool",)


@dataclass(frozen=True)
class Pool:
    """The pool at one moment.

    :ivar lasting: pages in tables that are no shadow's. :ivar contexts: shadow contexts in use.
    :ivar contradictions: pages that are lost or in two places, and counts that are wrong.
    """

    lasting: int
    contexts: int
    contradictions: tuple[str, ...]

    @classmethod
    def of(cls, vm: Vm) -> Self:
        """Look at the pool of a machine; only one at rest is sure to be without contradictions."""
        manager = vm.state.stage2
        shadows = list(manager.shadows)
        of_shadows = sum(len(chain(vm, shadow.pages)) for shadow in shadows)
        return cls(
            manager.pool_used - of_shadows,
            sum(1 for shadow in shadows if shadow.in_use),
            tuple(contradictions(vm, [manager.canonical, manager.devices, *shadows])),
        )


def chain(vm: Vm, head: int) -> list[int]:
    """Give the pages of a list by number, up to as many as there are."""
    total = vm.state.stage2.pool_pages
    records = vm.memory.window(vm.state.config.pool_base, total * PoolPage.size)
    found: list[int] = []
    while head and len(found) <= total:
        found.append(head - 1)
        at = (head - 1) * PoolPage.size
        head = PoolPage(records[at : at + PoolPage.size]).next
    return found


def contradictions(vm: Vm, owners: list[Stage2]) -> Iterator[str]:
    """Say what is wrong with the lists."""
    manager = vm.state.stage2
    total = manager.pool_pages
    free = chain(vm, manager.pool_free)
    owned = [page for owner in owners for page in chain(vm, owner.pages)]
    if len(owned) != manager.pool_used:
        yield f"L0's pool: {manager.pool_used} pages are counted as used, and {len(owned)} are"
    if len(free) + len(owned) != total:
        yield f"L0's pool: {total - len(free) - len(owned)} of {total} pages are in no list"
    twice = [page for page, count in Counter(free + owned).items() if count > 1]
    if twice:
        yield f"L0's pool: {len(twice)} pages are in two places, such as number {twice[0]}"
