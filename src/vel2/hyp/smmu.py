"""The SMMU, which L0 owns: what a device of L1 can reach is what L1 can reach.

A device with DMA reads and writes memory by itself, past EL2's stage 2. On QEMU's board each PCI
function's transactions come to an SMMUv3, with a StreamID that is the function's number. L0
programs it once, before L1 runs, and L1 never sees it: it is in no memory map of L1, so neither the
CPU nor a device comes to its registers.

The stream table has two levels, because 65,536 entries of 64 bytes would be 4 MiB: 256 descriptors
lead to one and the same second level of 256 STEs, and all STEs say the same: *stage 2 only*, by
tables that map L1's memory map to itself, and nothing else. So a device has L1's physical
addresses, as on a machine without an SMMU; its MSIs find the ITS, because L1's map has it; and what
stage 2 does not map ends the transaction (S2R=0 and no event queue: nobody is told, as a machine
does not tell of DMA to a hole). ATS is off: no device may bring translations of its own (EATS=0,
CR0.ATSCHK=1).

The tables could be those of the canonical stage 2. But these are made of pages, for the sake of the
CPU's TLB in QEMU (`stage2`), and QEMU's SMMU has a TLB of 256 entries: a device that copies a
megabyte would walk 256 times, where a block serves it with one. So the memory map is written out
twice, by the same function from the same list (`stage2.map_regions`), once in pages for the CPU and
once in the largest blocks for devices, which have a VMID of their own.

Nothing is open in between. GBPA.ABORT is set first, so that with the SMMU off all is refused; what
its caches may hold is invalidated before it is turned on. The memory map does not change while L1
runs, so no invalidation is ever due after that.
"""

from vel2.arch import sysregs as sr
from vel2.arch.smmu import (
    CFGI_ALL_RANGE,
    CMD,
    CMDQ_BASE,
    CMDQ_CONS,
    CMDQ_PROD,
    CR0,
    CR0ACK,
    CR1,
    CR2,
    GBPA,
    IDR0,
    IDR1,
    IDR5,
    IRQ_CTRL,
    L1STD,
    STE0,
    STE1,
    STE2,
    STE3,
    STRTAB_BASE,
    STRTAB_BASE_CFG,
    StreamConfig,
)
from vel2.hyp import stage2
from vel2.hyp.layout import SMMU_OFFSET
from vel2.hyp.state import SHADOW_CONTEXTS, Vm
from vel2.lang import Struct, array, at, dsb_sy, resident, scalar, u32, u64, vload, vstore

__all__ = ("Tables", "init")

STREAM_BITS = 16
"""A PCI Requester ID."""
SPLIT = 8
STE_WORDS = 8
SECOND_LEVEL = 1 << SPLIT
FIRST_LEVEL = 1 << STREAM_BITS - SPLIT
TTF_AARCH64 = 0b10
QUEUE_BITS = 2
COMMANDS = 3
SPINS = 1_000_000
"""The most often that a register is read for an answer: then the machine has none to give."""

STREAM_ATTRIBUTES = STE1.compose(SHCFG=0b01)
"""As the transaction itself says: shareability of its own."""
DEVICES_VMID = stage2.FIRST_SHADOW_VMID + SHADOW_CONTEXTS
STAGE2_FLAGS = STE2.compose(S2AFFD=1, S2AA64=1, S2VMID=DEVICES_VMID)
WRITE_BACK = CR1.compose(TABLE_SH=3, TABLE_OC=1, TABLE_IC=1, QUEUE_SH=3, QUEUE_OC=1, QUEUE_IC=1)
ENABLED = CR0.compose(SMMUEN=1, CMDQEN=1, ATSCHK=1)
COMMANDS_ONLY = CR0.compose(CMDQEN=1, ATSCHK=1)


class Registers(Struct):
    """What is used of the SMMU's register frame."""

    idr0 = scalar(u32, offset=IDR0.offset)
    idr1 = scalar(u32, offset=IDR1.offset)
    idr5 = scalar(u32, offset=IDR5.offset)
    cr0 = scalar(u32, offset=CR0.offset)
    cr0ack = scalar(u32, offset=CR0ACK.offset)
    cr1 = scalar(u32, offset=CR1.offset)
    cr2 = scalar(u32, offset=CR2.offset)
    gbpa = scalar(u32, offset=GBPA.offset)
    irq_ctrl = scalar(u32, offset=IRQ_CTRL.offset)
    strtab_base = scalar(u64, offset=STRTAB_BASE.offset)
    strtab_base_cfg = scalar(u32, offset=STRTAB_BASE_CFG.offset)
    cmdq_base = scalar(u64, offset=CMDQ_BASE.offset)
    cmdq_prod = scalar(u32, offset=CMDQ_PROD.offset)
    cmdq_cons = scalar(u32, offset=CMDQ_CONS.offset)


class Tables(Struct):
    """What the SMMU reads, in L0's memory; each part is aligned to its size, as it must be."""

    second = array(u64, SECOND_LEVEL * STE_WORDS)
    """STEs, of eight words each."""
    first = array(u64, FIRST_LEVEL)
    commands = array(u64, 2 << QUEUE_BITS)


@resident
def fill_tables(vm: Vm, base: u64) -> None:
    """Write the stream table, for VTCR_EL2 and the root of L1's devices, and the commands."""
    tables = at(Tables, base)
    second = u64(base + Tables.second.offset)
    for i in range(FIRST_LEVEL):
        tables.first[i] = u64(second | L1STD.Span.put(SPLIT + 1))
    geometry = u64(
        STAGE2_FLAGS
        | STE2.S2T0SZ.put(sr.VTCR_EL2.T0SZ.get(vm.stage2.vtcr))
        | STE2.S2SL0.put(sr.VTCR_EL2.SL0.get(vm.stage2.vtcr))
        | STE2.S2IR0.put(sr.VTCR_EL2.IRGN0.get(vm.stage2.vtcr))
        | STE2.S2OR0.put(sr.VTCR_EL2.ORGN0.get(vm.stage2.vtcr))
        | STE2.S2SH0.put(sr.VTCR_EL2.SH0.get(vm.stage2.vtcr))
        | STE2.S2TG.put(sr.VTCR_EL2.TG0.get(vm.stage2.vtcr))
        | STE2.S2PS.put(sr.VTCR_EL2.PS.get(vm.stage2.vtcr))
    )
    for i in range(SECOND_LEVEL):
        entry = u64(i * STE_WORDS)
        tables.second[entry] = STE0.compose(V=1, Config=StreamConfig.STAGE2)
        tables.second[u64(entry + 1)] = STREAM_ATTRIBUTES
        tables.second[u64(entry + 2)] = geometry
        tables.second[u64(entry + 3)] = u64(vm.stage2.devices.root & STE3.S2TTB.mask)
        for word in range(4, STE_WORDS):
            tables.second[u64(entry + word)] = 0
    tables.commands[0] = CMD.CFGI_ALL
    tables.commands[1] = CFGI_ALL_RANGE
    tables.commands[2] = CMD.TLBI_NSNH_ALL
    tables.commands[4] = CMD.SYNC


@resident
def is_able(vm: Vm, registers: Registers) -> bool:
    """Whether this SMMU can walk stage 2 as L0 builds it, for every StreamID."""
    idr0 = u64(vload(registers, "idr0"))
    idr1 = u64(vload(registers, "idr1"))
    idr5 = u64(vload(registers, "idr5"))
    if IDR0.S2P.get(idr0) == 0 or IDR0.TTF.get(idr0) & TTF_AARCH64 == 0:
        return False
    # Without COHACC each store to a table would need cleaning to memory.
    if IDR0.COHACC.get(idr0) == 0 or IDR0.ST_LEVEL.get(idr0) == 0:
        return False
    if IDR1.TABLES_PRESET.get(idr1) != 0 or IDR1.QUEUES_PRESET.get(idr1) != 0:
        return False
    if IDR1.SIDSIZE.get(idr1) < STREAM_BITS or IDR1.CMDQS.get(idr1) < QUEUE_BITS:
        return False
    return IDR5.GRAN4K.get(idr5) != 0 and IDR5.OAS.get(idr5) >= sr.VTCR_EL2.PS.get(vm.stage2.vtcr)


@resident
def refuse_while_off(registers: Registers) -> bool:
    """Have every transaction aborted while the SMMU is off, then turn it off.

    :return: False if the SMMU does not answer.
    """
    vstore(registers, "gbpa", GBPA.compose(ABORT=1, Update=1))
    for _ in range(SPINS):
        if vload(registers, "gbpa") & GBPA.Update.mask == 0:
            return switch(registers, 0)
    return False


@resident
def switch(registers: Registers, cr0: u64) -> bool:
    """Write SMMU_CR0 and wait until it has taken effect; False if it never does."""
    vstore(registers, "cr0", u32(cr0))
    for _ in range(SPINS):
        taken = u64(vload(registers, "cr0ack"))
        if taken == cr0:
            return True
    return False


@resident
def forget(registers: Registers) -> bool:
    """Run the commands that invalidate all that the SMMU may have cached; False if they do not."""
    vstore(registers, "cmdq_prod", COMMANDS)
    for _ in range(SPINS):
        if CMDQ_CONS.RD.get(u64(vload(registers, "cmdq_cons"))) == COMMANDS:
            return True
    return False


@resident
def init(vm: Vm) -> bool:
    """Put every device behind a stage 2 of L1's memory map; VTCR_EL2 has been chosen.

    :return: False if the machine's SMMU cannot do that.
    """
    registers = at(Registers, vm.config.smmu_base)
    base = u64(vm.config.l0_base + SMMU_OFFSET)
    if not is_able(vm, registers) or not refuse_while_off(registers):
        return False
    if not stage2.map_regions(vm, vm.stage2.devices):
        return False
    fill_tables(vm, base)
    dsb_sy()
    vstore(registers, "irq_ctrl", 0)
    vstore(registers, "cr1", WRITE_BACK)
    vstore(registers, "cr2", 0)
    vstore(registers, "strtab_base", u64(base + Tables.first.offset))
    vstore(
        registers,
        "strtab_base_cfg",
        STRTAB_BASE_CFG.compose(FMT=1, SPLIT=SPLIT, LOG2SIZE=STREAM_BITS),
    )
    vstore(registers, "cmdq_base", u64(base + Tables.commands.offset | QUEUE_BITS))
    vstore(registers, "cmdq_prod", 0)
    vstore(registers, "cmdq_cons", 0)
    if not switch(registers, COMMANDS_ONLY) or not forget(registers):
        return False
    return switch(registers, ENABLED)
