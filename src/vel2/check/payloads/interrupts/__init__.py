"""Payload `interrupts`: interrupts to EL2 and L2, timers, list registers, LPIs."""
