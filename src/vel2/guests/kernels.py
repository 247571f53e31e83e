"""The guests on offer, which of them are present, and fetching them."""

import contextlib
import functools
import hashlib
import json
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from debian.debian_support import Version

from vel2.errors import UserError
from vel2.guests.apt import AptError, AptRoot, Progress
from vel2.guests.cache import cache_root, locked, new_directory
from vel2.guests.packages import Package, download, extract, find_package
from vel2.scratch import scratch

__all__ = (
    "OFFERS",
    "Guest",
    "GuestKernel",
    "Offer",
    "busybox",
    "fetch",
    "guest_kernel",
    "guest_path",
    "list_guests",
    "remove",
    "remove_all",
)

DESCRIPTION = "guest.json"
REAL_PACKAGE_BYTES = 1 << 18
"""Packages smaller than this only depend on others."""


@dataclass(frozen=True)
class Offer:
    """One guest that can be fetched.

    :ivar metapackage: the package that depends on the newest version, or holds the file itself.
    :ivar sources: (release, suite) pairs to look in; the highest version wins.
    :ivar follow: which dependencies may hold the file; empty when the package itself does.
    :ivar wanted: path of the file inside its package.
    :ivar upstream: what the version must begin with.
    """

    name: str
    kind: str
    summary: str
    metapackage: str
    sources: tuple[tuple[str, str | None], ...]
    wanted: str
    follow: str = ""
    upstream: str = ""


# Until 6.19 Debian's linux-image-VERSION held /boot/vmlinuz-VERSION; from 7.0 on it only depends on
# linux-binary-VERSION, which holds /usr/lib/modules/VERSION/vmlinuz.
KERNEL_PATH = r"(boot/vmlinuz-[^/]+|(usr/)?lib/modules/[^/]+/vmlinuz)"
KERNEL_PACKAGES = r"linux-(image|binary)-\d.*-{flavour}(-unsigned)?"


def _kernel(
    name: str,
    summary: str,
    *sources: tuple[str, str | None],
    flavour: str = "cloud-arm64",
) -> Offer:
    return Offer(
        name=name,
        kind="kernel",
        summary=summary,
        metapackage=f"linux-image-{flavour}",
        sources=sources,
        wanted=KERNEL_PATH,
        follow=KERNEL_PACKAGES.format(flavour=flavour),
        upstream=f"{name.partition('-')[0]}.",
    )


def _xen(version: str, summary: str, release: str) -> Offer:
    return Offer(
        name=f"xen-{version}",
        kind="hypervisor",
        summary=summary,
        metapackage=f"xen-hypervisor-{version}-arm64",
        sources=((release, None),),
        wanted=rf"boot/xen-{re.escape(version)}-arm64",
        upstream=f"{version}.",
    )


OFFERS: dict[str, Offer] = {
    offer.name: offer
    for offer in (
        _kernel("6.1", "Linux of Debian 12", ("bookworm", None)),
        _kernel("6.12", "Linux of Debian 13", ("trixie", None)),
        _kernel("6.12-16k", "the same with 16 KiB pages", ("trixie", None), flavour="arm64-16k"),
        _kernel("6.12-rt", "the same with PREEMPT_RT", ("trixie", None), flavour="rt-arm64"),
        _kernel(
            "7",
            "newest Linux 7 in Debian",
            ("trixie", "trixie-backports"),
            ("sid", None),
        ),
        _xen("4.17", "Xen of Debian 12, for --el2 nvhe", "bookworm"),
        _xen("4.20", "Xen of Debian 13, for --el2 nvhe", "trixie"),
        Offer(
            name="u-boot",
            kind="firmware",
            summary="U-Boot of Debian 13",
            metapackage="u-boot-qemu",
            sources=(("trixie", None),),
            wanted=r"usr/lib/u-boot/qemu_arm64/u-boot\.bin",
        ),
        Offer(
            name="edk2",
            kind="firmware",
            summary="UEFI of Debian 13",
            metapackage="qemu-efi-aarch64",
            sources=(("trixie", None),),
            wanted=r"usr/share/qemu-efi-aarch64/QEMU_EFI\.fd",
        ),
        Offer(
            name="busybox",
            kind="program",
            summary="user space of the small guests, static",
            metapackage="busybox-static",
            sources=(("trixie", None),),
            wanted=r"(usr/)?bin/busybox",
        ),
    )
}
KERNEL_NAMES = tuple(offer.name for offer in OFFERS.values() if offer.kind == "kernel")


@dataclass(frozen=True)
class GuestKernel:
    """A kernel in the cache.

    :ivar name: as offered: `6.1`, `6.12`, `7`.
    :ivar version: the kernel's own, as `uname -r` prints it.
    :ivar package: the Debian package and version it is from.
    """

    name: str
    version: str
    image_path: Path
    package: str


@dataclass(frozen=True)
class Guest:
    """One guest on offer, and what the cache has of it.

    :ivar version: of the newest one in the cache; None when it was never fetched.
    """

    name: str
    kind: str
    summary: str
    version: str | None
    path: Path | None
    package: str | None


def list_guests() -> list[Guest]:
    """Return everything on offer with what the cache has of it; asks no network."""
    return [_at_hand(cache_root(), offer) for offer in OFFERS.values()]


def guest_kernel(name: str) -> GuestKernel:
    """Return a fetched kernel.

    :raises UserError: when the name is not offered, or was not fetched yet.
    """
    if name not in KERNEL_NAMES:
        raise UserError(f"there is no kernel {name!r} on offer; use {_listing(KERNEL_NAMES)}.")
    guest = _checked(cache_root(), name)
    if guest.path is None or guest.version is None or guest.package is None:
        raise UserError(
            f"kernel {name} has not been fetched; run `vel2 guests fetch {name}` first."
        )
    return GuestKernel(name, guest.version, guest.path, guest.package)


def guest_path(name: str) -> Path:
    """Return the file of a fetched guest of any kind.

    :raises UserError: when the name is not offered, or was not fetched yet.
    """
    if name not in OFFERS:
        raise UserError(f"there is no guest {name!r} on offer; use {_listing(tuple(OFFERS))}.")
    guest = _checked(cache_root(), name)
    if guest.path is None:
        # A version alone would not say of what.
        what = f"kernel {name}" if guest.kind == "kernel" else name
        raise UserError(f"{what} has not been fetched; run `vel2 guests fetch {name}` first.")
    return guest.path


def busybox() -> Path:
    """Return the fetched static busybox.

    :raises UserError: when it was not fetched yet.
    """
    return guest_path("busybox")


def fetch(
    names: Sequence[str] = (), progress: Progress | None = None, renew: bool = False
) -> list[Guest]:
    """Bring the newest versions of guests into the cache.

    A guest that is already the newest version, and undamaged, is left alone. When the mirror
    cannot be reached, any version in the cache will do.

    :param names: as in `OFFERS`; all of them when empty.
    :param renew: fetch all anew, whatever the cache has.
    :raises UserError: when a name is not offered, or a guest is neither fetched nor reachable.
    """
    _require_offered(names)
    cache = cache_root()
    with locked(cache):
        return [_fetch_one(cache, OFFERS[name], progress, renew) for name in names or OFFERS]


def _require_offered(names: Sequence[str]) -> None:
    for name in names:
        if name not in OFFERS:
            raise UserError(f"there is no guest {name!r} on offer; use {_listing(tuple(OFFERS))}.")


def _listing(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"


def _folder(cache: Path, offer: Offer) -> Path:
    return cache / f"{offer.kind}s" / offer.name


def _versions(cache: Path, offer: Offer) -> Iterator[tuple[Version, Path, dict[str, str]]]:
    """Yield what the cache has of an offer: Debian version, folder, description."""
    for path in _folder(cache, offer).glob(f"*/{DESCRIPTION}"):
        # A description that cannot be read, after a full disk say, is as good as none.
        with contextlib.suppress(ValueError, TypeError, KeyError, OSError):
            known = json.loads(path.read_text())
            about = (path.parent / known["file"]).stat()
            # Entries of earlier versions do not say it.
            if about.st_size == known.get("bytes", about.st_size):
                yield Version(known["debian_version"]), path.parent, known


def _at_hand(cache: Path, offer: Offer) -> Guest:
    newest = max(_versions(cache, offer), default=None, key=lambda found: found[0])
    if newest is None:
        return Guest(offer.name, offer.kind, offer.summary, None, None, None)
    version, folder, known = newest
    return Guest(
        offer.name,
        offer.kind,
        offer.summary,
        known["version"],
        folder / known["file"],
        f"{known['package']} {version}",
    )


def _hash_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@functools.lru_cache
def _matches(path: Path, modified_ns: int, wanted: str) -> bool:
    """Whether a file's content is what was fetched; a changed file has another time."""
    return _hash_of(path) == wanted


def _is_whole(folder: Path, known: dict[str, str]) -> bool:
    path = folder / known["file"]
    wanted = known.get("sha256")
    return wanted is None or _matches(path, path.stat().st_mtime_ns, wanted)


def _checked(cache: Path, name: str) -> Guest:
    """Give what the cache has of an offer, after checking that its content is what was fetched.

    :raises UserError: when it is not.
    """
    offer = OFFERS[name]
    guest = _at_hand(cache, offer)
    for _, folder, known in _versions(cache, offer):
        if guest.path == folder / known["file"] and not _is_whole(folder, known):
            raise UserError(
                f"{guest.path} is damaged: it is not what was fetched;"
                f" run `vel2 guests fetch {name}` to fetch it again."
            )
    return guest


def _drop_damaged(cache: Path, offer: Offer) -> None:
    for _, folder, known in list(_versions(cache, offer)):
        if not _is_whole(folder, known):
            shutil.rmtree(folder)


def remove(names: Sequence[str]) -> int:
    """Remove guests from the cache, in all their versions.

    :param names: as in `OFFERS`.
    :return: how many bytes that gave back.
    :raises UserError: when a name is not offered.
    """
    _require_offered(names)
    cache = cache_root()
    with locked(cache):
        return sum(_remove_tree(_folder(cache, OFFERS[name])) for name in names)


def remove_all() -> int:
    """Remove every guest, with the package lists and the unpacked packages; give the bytes."""
    cache = cache_root()
    kinds = sorted({f"{offer.kind}s" for offer in OFFERS.values()})
    with locked(cache):
        return sum(_remove_tree(cache / name) for name in (*kinds, "closures", "apt"))


def _remove_tree(folder: Path) -> int:
    freed = sum(path.lstat().st_blocks * 512 for path in folder.rglob("*"))
    if folder.exists():
        shutil.rmtree(folder)
    return freed


def _fetch_one(cache: Path, offer: Offer, progress: Progress | None, renew: bool) -> Guest:
    _drop_damaged(cache, offer)
    have = _at_hand(cache, offer)
    roots = [AptRoot.open(cache / "apt", release) for release, _ in offer.sources]
    if not renew and have.path is not None and _checked_since_update(have.path, roots):
        return have
    try:
        root, package = _newest(offer, roots, progress, renew)
        versions = {str(version) for version, _, _ in _versions(cache, offer)}
        if renew or package.version not in versions:
            _install(cache, offer, root, package, progress)
    except AptError as error:
        if renew:
            raise
        if have.path is None:
            raise AptError(f"{offer.name} is not in the cache, and {error}") from error
        return have
    found = _at_hand(cache, offer)
    assert found.path is not None
    (found.path.parent / DESCRIPTION).touch()
    return found


def _checked_since_update(path: Path, roots: Sequence[AptRoot]) -> bool:
    """Whether the package lists, still fresh, have already been asked about this file."""
    checked = (path.parent / DESCRIPTION).stat().st_mtime
    return all(root.fresh and checked >= root.updated for root in roots)


def _newest(
    offer: Offer, roots: Sequence[AptRoot], progress: Progress | None, renew: bool
) -> tuple[AptRoot, Package]:
    """Find the newest version of an offer's package among its sources."""
    found: list[tuple[AptRoot, Package]] = []
    failures: list[AptError] = []
    for root, (_, suite) in zip(roots, offer.sources, strict=True):
        try:
            root.update(progress, force=renew)
        except AptError as error:
            failures.append(error)
            continue
        package = find_package(root, offer.metapackage, suite)
        if package is not None and package.version.startswith(offer.upstream):
            found.append((root, package))
    if found:
        return max(found, key=lambda pair: Version(pair[1].version))
    if failures:
        raise failures[0]
    raise AptError(
        f"Debian has no {offer.metapackage} {offer.upstream}x for arm64 any more; "
        "use another version, or give a kernel as a file."
    )


def _install(
    cache: Path, offer: Offer, root: AptRoot, package: Package, progress: Progress | None
) -> None:
    """Download what holds an offer's file and put the file into the cache."""
    target = _folder(cache, offer) / package.version.replace(":", "%3a")
    for candidate in _candidates(offer, root, package):
        with scratch() as folder:
            wanted = [(candidate.name, candidate.version)]
            (deb,) = download(root, wanted, Path(folder), progress)
            files = extract(deb, lambda path: bool(re.fullmatch(offer.wanted, path)), Path(folder))
            if not files:
                continue
            known = {
                "version": _own_version(offer, candidate),
                "file": files[0].name,
                "package": candidate.name,
                "debian_version": package.version,
                "bytes": files[0].stat().st_size,
                "sha256": _hash_of(files[0]),
            }
            with new_directory(target) as work:
                shutil.copyfile(files[0], work / files[0].name)
                (work / DESCRIPTION).write_text(json.dumps(known, indent=1) + "\n")
            return
    raise AptError(f"{offer.metapackage} {package.version} leads to no package with the file.")


def _candidates(offer: Offer, root: AptRoot, package: Package) -> Iterator[Package]:
    """Yield the packages that may hold an offer's file, nearest first."""
    queue = [package]
    seen = {package.name}
    while queue:
        current = queue.pop(0)
        if current.bytes >= REAL_PACKAGE_BYTES:
            yield current
        for name in current.depends:
            if name not in seen and offer.follow and re.fullmatch(offer.follow, name):
                seen.add(name)
                found = find_package(root, name, package.suite)
                queue += [found] if found else []


def _own_version(offer: Offer, package: Package) -> str:
    """Return the version as the guest itself calls it."""
    match = re.fullmatch(r"linux-(?:image|binary)-(.+?)(?:-unsigned)?", package.name)
    if offer.kind == "kernel" and match:
        return match.group(1)
    return Version(package.version).upstream_version or package.version
