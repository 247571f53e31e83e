"""What the payloads about memory share: syndromes, aliases, and what AT must give."""

from vel2.arch import sysregs as sr
from vel2.arch.esr import EC, FSC, ISS_DABT, ESR_ELx
from vel2.check.payloads.layout import PAGE_BYTES, Parameters, State
from vel2.check.payloads.library.checks import end, expect
from vel2.check.payloads.library.tables import INPUT_BITS, level_shift
from vel2.lang import bytes_address, inline, isb, mrs, resident, u64

ALIAS = 1 << (INPUT_BITS - 1)
"""Added to an address, it gives the alias by which a test maps it."""
MARKER = 0x4D41_524B_4552_2121
WRITTEN = 0x5752_4954_5445_4E21
UNTOUCHED = 0x5541_5541_5541_5541
PAGE_MASK = PAGE_BYTES - 1
EXTERNAL = int(FSC.SYNC_EXTERNAL)
EXTERNAL_WALK = int(FSC.SYNC_EXTERNAL_WALK)
WNR = ISS_DABT.WnR.mask
CM = ISS_DABT.CM.mask
READ_SAME = ESR_ELx.compose(EC=EC.DABT_SAME, IL=1)
WRITE_SAME = READ_SAME | WNR
FETCH_SAME = ESR_ELx.compose(EC=EC.IABT_SAME, IL=1)
READ_LOWER = ESR_ELx.compose(EC=EC.DABT_LOWER, IL=1)
WRITE_LOWER = READ_LOWER | WNR
FETCH_LOWER = ESR_ELx.compose(EC=EC.IABT_LOWER, IL=1)
WITHOUT_INSTRUCTION = (
    ESR_ELx.EC.mask | ISS_DABT.DFSC.mask | WNR | ISS_DABT.S1PTW.mask | CM | ISS_DABT.FnV.mask
)
"""What an abort's syndrome says apart from the instruction: not IL, ISV and what comes with ISV."""
PAR_PA = ((1 << 48) - 1) & ~PAGE_MASK


@resident
def expect_no_canary(state: State, parameters: Parameters) -> None:
    """Require that no register holds what lies at the target."""
    for i in range(31):
        if state.x[i] == parameters.canary:
            expect(state, bytes_address(b"register\0"), state.x[i], 0)


@inline
def block_of(address: u64, level: u64) -> u64:
    """Give the base of the page or block at `level` that holds an address."""
    shift = level_shift(level)
    return u64(address >> shift << shift)


@resident
def expect_par(state: State, output: u64) -> None:
    """End the check of an AT that must give an output address; AT does not access that address."""
    isb()
    par = mrs(sr.PAR_EL1)
    expect(state, bytes_address(b"par_f\0"), par & sr.PAR_EL1.F.mask, 0)
    expect(state, bytes_address(b"par_pa\0"), par & PAR_PA, output)
    end(state)
