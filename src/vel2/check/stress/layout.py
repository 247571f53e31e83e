"""What the stress guest and its VMM agree on: addresses of L2, and the pages of the patterns."""

from vel2.guests.l2tree import L2_RAM_BASE, L2_UART_BASE

__all__ = (
    "ARENA",
    "ARENA_PAGES",
    "BLOCK_BYTES",
    "COMMON_PAGES",
    "DROP",
    "MEMORY_BYTES",
    "PAGE_BYTES",
    "ROUNDS",
    "SEED",
    "SLOT",
    "SLOT_PAGES",
    "SWAP_SLOT",
    "VCPUS",
    "WRONG",
    "WRONG_PAGE",
)

VCPUS = 2
PAGE_BYTES = 0x1000
BLOCK_BYTES = 2 << 20
MEMORY_BYTES = 24 << 20
ARENA = L2_RAM_BASE + (16 << 20)
ARENA_PAGES = 1024
"""Two blocks, for which L1 is asked for huge pages."""
COMMON_PAGES = 128
"""The first pages of the arena are alike in all guests and rarely change, so that KSM finds them.
"""
SLOT = 0x8000_0000
SLOT_PAGES = 64
"""A memory slot of its own, behind which L1 has two sets of pages in turn."""

COMMANDS = L2_UART_BASE + 0x800
"""Registers of the VMM, above the UART's; each is 64 bits wide."""
SEED = COMMANDS
"""Read: what makes this guest's patterns unlike all others'."""
ROUNDS = COMMANDS + 0x08
"""Read: how many rounds to do."""
DROP = COMMANDS + 0x10
"""Write: give the page of the arena with this number back, and find zeros there from then on."""
SWAP_SLOT = COMMANDS + 0x18
"""Write: put the other set of pages behind the slot."""
WRONG_PAGE = COMMANDS + 0x20
"""Write: the page about which a vCPU is going to complain."""
WRONG = COMMANDS + 0x28
"""Write: what it found there instead of what it should; ends the VM as a failure."""
