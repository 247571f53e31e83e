"""Payload `nested`: a guest hypervisor that gives L2 a virtual EL2 of its own."""
