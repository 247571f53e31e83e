"""Payload `registers`: EL2's registers and the guest's."""
