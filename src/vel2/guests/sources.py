"""Learn from the system's own apt configuration where Debian's archive is.

The system already knows which mirror to use and which keys to trust. Both are taken over, for
Debian only, and nothing of the system's is changed. Formats: sources.list(5), one-line and deb822.
"""

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from debian.deb822 import Deb822

from vel2.errors import UserError

__all__ = ("Archive", "SourceEntry", "find_archive", "parse_list", "parse_sources", "read_system")

ARCHIVE_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
CODENAMES = ("bookworm", "trixie", "forky", "duke", "sid")
ALIASES = ("oldstable", "stable", "testing", "unstable")
NO_MIRROR = (
    "no Debian mirror is named in apt's sources ({folder}); vel2 fetches its guests from Debian: "
    "set VEL2_DEBIAN_MIRROR to a mirror's URL, or give kernels as files."
)


@dataclass(frozen=True)
class SourceEntry:
    """One place that apt fetches binary packages from.

    :ivar signed_by: the `Signed-By` value: paths, or an OpenPGP key block; empty when not given.
    """

    uri: str
    suite: str
    components: tuple[str, ...]
    signed_by: str = ""


@dataclass(frozen=True)
class Archive:
    """Debian's archive as this system reaches it.

    :ivar security_uri: None when the system does not name one, or VEL2_DEBIAN_MIRROR chose another
        archive; security suites are then left out.
    :ivar signed_by: as in `SourceEntry`, never empty.
    """

    uri: str
    security_uri: str | None
    signed_by: str


def parse_sources(text: str) -> Iterator[SourceEntry]:
    """Yield the enabled binary entries of a deb822 `*.sources` file."""
    for paragraph in Deb822.iter_paragraphs(text.splitlines(keepends=True), use_apt_pkg=False):
        if "deb" not in paragraph.get("Types", "").split():
            continue
        if paragraph.get("Enabled", "yes").strip().lower() in ("no", "false", "0", "off"):
            continue
        components = tuple(paragraph.get("Components", "").split())
        signed_by = paragraph.get("Signed-By", "")
        if "BEGIN PGP" not in signed_by:
            signed_by = signed_by.strip()
        for uri in paragraph.get("URIs", "").split():
            for suite in paragraph.get("Suites", "").split():
                yield SourceEntry(uri, suite, components, signed_by)


LIST_LINE = re.compile(r"^\s*deb\s+(?:\[(?P<options>[^]]*)\]\s+)?(?P<rest>\S+\s+\S+.*)$")


def parse_list(text: str) -> Iterator[SourceEntry]:
    """Yield the binary entries of a one-line `*.list` file."""
    for line in text.splitlines():
        match = LIST_LINE.match(line.split("#")[0])
        if match is None:
            continue
        uri, suite, *components = match["rest"].split()
        options = dict(
            option.split("=", 1) for option in (match["options"] or "").split() if "=" in option
        )
        yield SourceEntry(uri, suite, tuple(components), options.get("signed-by", ""))


def read_system(folder: Path = Path("/etc/apt")) -> list[SourceEntry]:
    """Read all entries that the system's apt uses; unreadable files are passed over."""
    files = [folder / "sources.list", *sorted((folder / "sources.list.d").glob("*"))]
    entries: list[SourceEntry] = []
    for path in files:
        try:
            text = path.read_text("utf-8", "replace")
        except OSError:
            continue
        if path.suffix == ".sources":
            entries += parse_sources(text)
        elif path.suffix == ".list":
            entries += parse_list(text)
    return entries


def _is_debian(entry: SourceEntry) -> bool:
    """Tell Debian's own suites from other archives, which may use Debian's code names too."""
    base = entry.suite.rstrip("/").partition("-")[0].partition("/")[0]
    path = entry.uri.rstrip("/").rsplit("/", 1)[-1]
    named = path in ("debian", "debian-security") or path.startswith("debian")
    return base in (*CODENAMES, *ALIASES) and (named or "debian" in entry.signed_by)


def _is_security(entry: SourceEntry) -> bool:
    return entry.suite.endswith("-security") or entry.suite.endswith("/updates")


def find_archive(
    entries: Iterable[SourceEntry],
    folder: Path = Path("/etc/apt"),
    keyring: Path = ARCHIVE_KEYRING,
) -> Archive:
    """Choose Debian's archive among the system's sources, or as VEL2_DEBIAN_MIRROR says.

    :param folder: where the entries came from, for the error.
    :param keyring: trusted when the system's entry names no key.
    :raises UserError: when there is no mirror, or no key to check it with.
    """
    debian = [entry for entry in entries if _is_debian(entry) and "main" in entry.components]
    main = [entry for entry in debian if not _is_security(entry)]
    security = [entry for entry in debian if _is_security(entry)]
    chosen = os.environ.get("VEL2_DEBIAN_MIRROR", "")
    if chosen and not re.match(r"^[a-z][a-z+]*:\S+$", chosen):
        raise UserError(
            f"VEL2_DEBIAN_MIRROR is {chosen!r}, which is not a URL; "
            "give one as a sources.list has it, or unset it."
        )
    if not main and not chosen:
        raise UserError(NO_MIRROR.format(folder=folder))
    signed_by = next((entry.signed_by for entry in main if entry.signed_by), "")
    if not signed_by:
        if not keyring.exists():
            raise UserError(
                f"Debian's archive key {keyring} is missing, so nothing fetched could be trusted; "
                "install debian-archive-keyring."
            )
        signed_by = str(keyring)
    return Archive(
        uri=chosen or main[0].uri,
        security_uri=security[0].uri if security and not chosen else None,
        signed_by=signed_by,
    )
