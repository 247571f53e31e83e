"""Payload `psci`: what the firmware answers, on several CPUs, and what a CPU starts with."""
