"""Payload `regime`: what SCTLR_EL2 and TCR_EL2 do to EL2 itself."""
