"""Guests: fetching them from Debian, and building what they boot.

Here live the private apt root, the kernels offered, the initramfs writer, the init scripts and L2's
device tree. The guests' files are data to this room: it never starts a machine. It may import
`vel2.lang`, `vel2.arch` and `vel2.runtime` (for the programs that run inside guests), never
`vel2.machine`; `control`, `check`, `bench` and `cli` may import it.
"""
