"""Payload `windows`: guests with a vEL2 run on other CPUs, while their VNCR pages are moved."""
