"""What a rule of the protocol is, and a broken variant of the code that lacks it."""

from __future__ import annotations

from dataclasses import dataclass

from vel2.check.interleave.seeded import Edit

__all__ = ("UNLOCKED", "Rule", "Variant", "edit")


@dataclass(frozen=True)
class Variant:
    """A rule taken out of the code.

    :ivar what: what is missing.
    :ivar scene: where it is found.
    :ivar finds: a word of the sentence that says what goes wrong.
    """

    name: str
    what: str
    scene: str
    finds: str
    edits: tuple[Edit, ...]

    @property
    def is_of_order(self) -> bool:
        """Whether only the search for accesses without an order can find it."""
        return self.finds == "no order"


@dataclass(frozen=True)
class Rule:
    """What holds whatever the order."""

    name: str
    what: str
    variants: tuple[Variant, ...]


def edit(function: object, *changes: tuple[str, str]) -> Edit:
    """Change a function."""
    assert callable(function)
    return Edit(function, changes)


UNLOCKED = (("acquire(vm.stage2.lock)", "pass"), ("release(vm.stage2.lock)", "pass"))
