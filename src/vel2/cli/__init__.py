"""The command line: one small file per command.

Lives here: options and their checks, what is printed, exit codes. A command is a thin function over
the rooms below; what a script could want from it is in those rooms. Must not live here: knowledge
of the architecture, of QEMU or of guests. Nobody may import this room; it may import all others.
"""
