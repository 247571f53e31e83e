"""PSTATE.I, for the payload's vCPUs (`entry` has the code)."""

from vel2.lang import extern

__all__ = ("mask_interrupts", "unmask_interrupts")


@extern("mask_interrupts")
def mask_interrupts() -> None:
    """Set PSTATE.I."""
    raise NotImplementedError("PSTATE needs a machine")


@extern("unmask_interrupts")
def unmask_interrupts() -> None:
    """Clear PSTATE.I."""
    raise NotImplementedError("PSTATE needs a machine")
