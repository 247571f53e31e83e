"""The lines by which a guest tells the host what it saw.

A guest prints `##vel2 KEY=VALUE` on its console: one fact a line, the value up to the end of the
line. A VMM that relays a deeper guest's console puts a prefix before the line. Keys begin with the
level (`l1.`, `l2.`), so no reader needs the prefix.
"""

import re
from collections.abc import Iterable

__all__ = ("MARKER", "parse_marker", "parse_markers")

MARKER = "##vel2"
LINE = re.compile(r"##vel2 ([a-z][a-z0-9_]*(?:\.[a-z0-9_]+)+)=(.*?)\s*$")


def parse_marker(line: str) -> tuple[str, str] | None:
    """Return the key and value that a console line carries; None for any other line."""
    match = LINE.search(line)
    return (match.group(1), match.group(2)) if match else None


def parse_markers(lines: Iterable[str]) -> dict[str, str]:
    """Return what all lines tell; a later value replaces an earlier one."""
    return dict(filter(None, map(parse_marker, lines)))
