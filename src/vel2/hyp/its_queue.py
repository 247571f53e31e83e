"""The command queue of the ITS: from L1's, command by command, into L0's.

The ITS writes to whatever address a command or a GITS_BASER<n> names, past every stage 2. So
hardware reads commands from a queue of L0's only, and its tables are L0's. A command of L1's is
read once, from L1's RAM, checked and translated (`its_commands`), and given to hardware as one that
names L0's memory. GITS_CREADR, as L1 sees it, moves on when hardware has done the command.

Nothing here takes long, whatever L1 has written. One `step` is one command, or a part of one that
is long (INVALL, MAPD of a device that is mapped): what remains is found in `Gic` and done by the
next. `run` does a few steps. If there is more, the store that set it going is executed again, and
interrupts get in between; if hardware is slow, L1 goes on, and each read of GITS_CREADR does what
can be done by then.

A command that is wrong, or beyond a limit of this ITS, is ignored, as QEMU's own does and the
architecture allows (IHI 0069, command errors). A command outside L1's RAM stalls the queue; L1's
next write to GITS_CWRITER tries again.
"""

from vel2.arch.gicv3 import (
    COMMAND_BYTES,
    COMMAND_SHIFT,
    GITS_CBASER,
    GITS_CREADR,
    GITS_CTLR,
    GITS_CWRITER,
    QUEUE_PAGE_SHIFT,
)
from vel2.hyp import its_commands
from vel2.hyp.device import read_register
from vel2.hyp.gicstate import Gic, gic_of, is_l1_page
from vel2.hyp.its_submit import is_done
from vel2.hyp.outcome import Outcome
from vel2.hyp.state import Vm
from vel2.lang import PA, inline, load_u64, resident, u64

__all__ = ("run",)

STEPS = 8
"""At most so many at one trap."""
STALLED = GITS_CREADR.Stalled.mask

IDLE = 0
"""There is nothing to do, or nothing that can be done."""
WAIT = 1
"""Hardware has to finish first."""
MORE = 2


@inline
def queue_length(gic: Gic) -> u64:
    """Give how many commands L1's queue has room for."""
    pages = u64(GITS_CBASER.Size.get(gic.cbaser) + 1)
    return u64(pages << (QUEUE_PAGE_SHIFT - COMMAND_SHIFT))


@inline
def has_command(gic: Gic) -> bool:
    """Whether L1 has written commands that are not done, and their place is in the queue."""
    if gic.cbaser & GITS_CBASER.Valid.mask == 0:
        return False
    reader = GITS_CREADR.Offset.get(gic.creadr)
    writer = GITS_CWRITER.Offset.get(gic.cwriter)
    return reader != writer and reader < queue_length(gic) and writer < queue_length(gic)


@resident
def fetch(vm: Vm, gic: Gic) -> bool:
    """Read the command at GITS_CREADR; False if it is not in L1's RAM."""
    offset = u64(GITS_CREADR.Offset.get(gic.creadr) << COMMAND_SHIFT)
    source = u64((gic.cbaser & GITS_CBASER.Physical_Address.mask) + offset)
    if not is_l1_page(vm, source, COMMAND_BYTES):
        return False
    for i in range(4):
        gic.command[i] = load_u64(PA(source + i * 8))
    return True


@inline
def advance(gic: Gic) -> None:
    """Move GITS_CREADR behind a command."""
    reader = u64(GITS_CREADR.Offset.get(gic.creadr) + 1)
    if reader >= queue_length(gic):
        reader = u64(0)
    gic.creadr = GITS_CREADR.Offset.put(reader)
    gic.unfinished = 0
    gic.page = 0


@resident
def step(vm: Vm, gic: Gic) -> u64:
    """Do one bounded piece of work."""
    if not is_done(gic):
        return WAIT
    if gic.unfinished != 0:
        advance(gic)
    if gic.stale != 0:
        its_commands.forget_one(gic)
        return MORE
    if not has_command(gic) or gic.creadr & STALLED:
        return IDLE
    if not fetch(vm, gic):
        gic.creadr = gic.creadr | STALLED
        return IDLE
    if its_commands.execute(vm, gic):
        if is_done(gic):
            advance(gic)
        else:
            gic.unfinished = 1
    return MORE


@resident
def run(vm: Vm) -> Outcome:
    """Do a few commands: RESUME if there are more, SKIP if not, or if hardware is slow."""
    gic = gic_of(vm)
    if read_register(u64(gic.control + GITS_CTLR.offset)) & GITS_CTLR.Enabled.mask == 0:
        return Outcome.SKIP
    for _ in range(STEPS):
        state = step(vm, gic)
        if state != MORE:
            return Outcome.SKIP
    return Outcome.RESUME
