"""The `_EL12` and `_EL02` names: EL1 and EL0 state as EL2 reaches it while HCR_EL2.E2H is 1."""

from __future__ import annotations

from vel2.arch.bits import R, derive
from vel2.arch.sysregs import el1, ext, spe, timer


def alias(register: R) -> R:
    """Make the op1 = 5 alias of `register`: `X_EL1` becomes `X_EL12`, `X_EL0` `X_EL02`.

    Redirection by FEAT_NV2 goes to the same slot, so an alias keeps the slot of the plain name.
    """
    return derive(
        register,
        f"{register.name}2",
        register.encoding._replace(op1=5),
        vncr=register.vncr,
        vncr_class=register.vncr_class,
        alias_of=register.name,
    )


SCTLR_EL12 = alias(el1.SCTLR_EL1)
SCTLR2_EL12 = alias(el1.SCTLR2_EL1)
CPACR_EL12 = alias(el1.CPACR_EL1)
TTBR0_EL12 = alias(el1.TTBR0_EL1)
TTBR1_EL12 = alias(el1.TTBR1_EL1)
TCR_EL12 = alias(el1.TCR_EL1)
TCR2_EL12 = alias(el1.TCR2_EL1)
SPSR_EL12 = alias(el1.SPSR_EL1)
ELR_EL12 = alias(el1.ELR_EL1)
AFSR0_EL12 = alias(el1.AFSR0_EL1)
AFSR1_EL12 = alias(el1.AFSR1_EL1)
ESR_EL12 = alias(el1.ESR_EL1)
FAR_EL12 = alias(el1.FAR_EL1)
PFAR_EL12 = alias(el1.PFAR_EL1)
MAIR_EL12 = alias(el1.MAIR_EL1)
MAIR2_EL12 = alias(el1.MAIR2_EL1)
AMAIR_EL12 = alias(el1.AMAIR_EL1)
AMAIR2_EL12 = alias(el1.AMAIR2_EL1)
PIRE0_EL12 = alias(el1.PIRE0_EL1)
PIR_EL12 = alias(el1.PIR_EL1)
POR_EL12 = alias(el1.POR_EL1)
VBAR_EL12 = alias(el1.VBAR_EL1)
CONTEXTIDR_EL12 = alias(el1.CONTEXTIDR_EL1)
SCXTNUM_EL12 = alias(el1.SCXTNUM_EL1)

CNTKCTL_EL12 = alias(timer.CNTKCTL_EL1)
CNTP_TVAL_EL02 = alias(timer.CNTP_TVAL_EL0)
CNTP_CTL_EL02 = alias(timer.CNTP_CTL_EL0)
CNTP_CVAL_EL02 = alias(timer.CNTP_CVAL_EL0)
CNTV_TVAL_EL02 = alias(timer.CNTV_TVAL_EL0)
CNTV_CTL_EL02 = alias(timer.CNTV_CTL_EL0)
CNTV_CVAL_EL02 = alias(timer.CNTV_CVAL_EL0)

PMSCR_EL12 = alias(spe.PMSCR_EL1)
TRFCR_EL12 = alias(spe.TRFCR_EL1)
TRCITECR_EL12 = alias(spe.TRCITECR_EL1)
BRBCR_EL12 = alias(spe.BRBCR_EL1)
TFSR_EL12 = alias(ext.TFSR_EL1)
GCSCR_EL12 = alias(ext.GCSCR_EL1)
GCSPR_EL12 = alias(ext.GCSPR_EL1)
MPAM1_EL12 = alias(ext.MPAM1_EL1)
ZCR_EL12 = alias(ext.ZCR_EL1)
SMCR_EL12 = alias(ext.SMCR_EL1)
