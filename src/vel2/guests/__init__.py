"""Guests: fetching them from Debian, and building what they boot.

This room has the private apt root, the kernels on offer, the initramfs writer, the init scripts and
L2's device tree. It treats the guests' files as data and never starts a machine. It may import
`vel2.lang`, `vel2.arch` and `vel2.runtime` (for the programs that run inside guests), never
`vel2.machine`; `control`, `check`, `bench` and `cli` may import it.
"""
