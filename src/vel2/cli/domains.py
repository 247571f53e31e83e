"""`--domain`: a domain that L1 starts by itself, as Xen does.

The form is that of QEMU's options, so that a comma within a value is written twice:
`dom0,kernel=6.12,ramdisk=root.cpio,append=console=hvc0`.
"""

from pathlib import Path
from typing import NoReturn

import click

from vel2.cli.kernels import find_kernel
from vel2.cli.options import parse_size
from vel2.errors import UserError
from vel2.machine.domains import Domain
from vel2.machine.loader import load_kernel, read_file

__all__ = ("DOMAIN", "parse_domain")

KEYS = ("kernel", "ramdisk", "append", "memory", "cpus")
MARK = "\0"
"""Stands for a doubled comma while the others are split at; no argument can have it."""


def parse_domain(text: str) -> Domain:
    """Read a domain's description and its files.

    :raises UserError: when the description or a file is not what it should be.
    """
    name, *parts = text.replace(",,", MARK).split(",")
    values: dict[str, str] = {}
    for part in parts:
        key, equals, value = part.partition("=")
        if not equals or key not in KEYS:
            refuse(text, f"has {part.replace(MARK, ',,')!r}, which is none of {'=, '.join(KEYS)}=")
        if key in values:
            refuse(text, f"gives {key}= twice")
        values[key] = value.replace(MARK, ",")
    if "kernel" not in values:
        refuse(text, "has no kernel=")
    cpus = values.get("cpus", "1")
    if not cpus.isdecimal():
        refuse(text, f"has {cpus!r} cpus, which is no number")
    ramdisk = values.get("ramdisk")
    return Domain(
        name=name.replace(MARK, ","),
        kernel=load_kernel(find_kernel(values["kernel"])).data,
        append=values.get("append", ""),
        ramdisk=read_file(Path(ramdisk), f"the ramdisk of {name}") if ramdisk else b"",
        memory_bytes=parse_size(values["memory"]) if "memory" in values else 0,
        cpus=int(cpus),
    )


def refuse(text: str, why: str) -> NoReturn:
    """Say what is wrong with a description, and what a right one is like."""
    raise UserError(
        f"the domain {text!r} {why}; give NAME,kernel=...,ramdisk=...,append=..., and for any but"
        " dom0 memory=..., with ,, for a comma within a value."
    )


class DomainType(click.ParamType[Domain]):
    """A domain's description."""

    name = "domain"

    def convert(
        self, value: str | Domain, param: click.Parameter | None, context: click.Context | None
    ) -> Domain:
        """Read it."""
        return value if isinstance(value, Domain) else parse_domain(value)


DOMAIN = DomainType()
