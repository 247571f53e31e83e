"""Look up, download and unpack Debian packages, without root and without installing anything."""

import contextlib
import hashlib
import re
import signal
import stat
import subprocess
import tarfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from vel2.errors import UserError
from vel2.guests.apt import RELEASES, AptError, AptRoot, Progress
from vel2.guests.cache import cache_root, locked, new_directory
from vel2.scratch import scratch

__all__ = ("Package", "download", "extract", "fetch_closure", "find_package", "unpack")

# Debian's merged /usr: packages of Debian 12 still ship files below both names.
MERGED_USR = {"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib"}


@dataclass(frozen=True)
class Package:
    """One version of a package as the lists describe it.

    :ivar suite: where it was asked for; None for the release's default.
    :ivar bytes: size of the `.deb`.
    :ivar depends: names of the packages it depends on, first alternatives only.
    """

    name: str
    version: str
    suite: str | None
    bytes: int
    depends: tuple[str, ...]


def find_package(root: AptRoot, name: str, suite: str | None = None) -> Package | None:
    """Return a package's candidate version; None when the release does not have it."""
    record = root.show(name, suite)
    if record is None:
        return None
    depends = []
    for clause in record.get("Depends", "").split(","):
        match = re.match(r"\s*([a-z0-9][a-z0-9+.-]*)", clause)
        if match is not None:
            depends.append(match.group(1))
    return Package(name, record["Version"], suite, int(record["Size"]), tuple(depends))


def download(
    root: AptRoot, packages: Sequence[tuple[str, str]], into: Path, progress: Progress | None
) -> list[Path]:
    """Download packages, given as (name, version); apt checks each against the signed lists.

    :return: the `.deb` files, by name.
    :raises AptError: when one cannot be had.
    """
    names = [f"{name}={version}" for name, version in packages]
    doing = f"fetching {packages[0][0]}"
    doing += f" and {len(packages) - 1} more" if len(packages) > 1 else ""
    # apt-get download writes to the current folder.
    root.run(["apt-get", "download", *names], doing, progress, cwd=into)
    found = sorted(into.glob("*.deb"))
    if len(found) != len(packages):
        raise AptError(f"{doing} failed: apt gave {len(found)} files for {len(packages)} packages.")
    return found


@contextlib.contextmanager
def _opened(deb: Path) -> Iterator[tarfile.TarFile]:
    """Open the file system archive of a package.

    :raises UserError: when the package is damaged.
    """
    with subprocess.Popen(
        ["dpkg-deb", "--fsys-tarfile", str(deb)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        complaint = ""
        try:
            with tarfile.open(fileobj=process.stdout, mode="r|") as archive:
                yield archive
        except tarfile.TarError as error:
            complaint = str(error)
        process.stdout.close()
        complaint = process.stderr.read().decode("utf-8", "replace").strip() or complaint
    # Closing the pipe before the end of the padding may end dpkg-deb by SIGPIPE.
    if complaint or process.returncode not in (0, -signal.SIGPIPE):
        raise UserError(f"the package {deb.name} cannot be unpacked ({complaint}); fetch it again.")


def extract(deb: Path, wanted: Callable[[str], bool], into: Path) -> list[Path]:
    """Write the regular files of a package whose path is `wanted`, by their last name.

    :param wanted: asked with the path inside the package, without a leading `./`.
    :return: the files written.
    :raises UserError: when the package is damaged.
    """
    written = []
    with _opened(deb) as archive:
        for member in archive:
            path = member.name.removeprefix("./")
            content = archive.extractfile(member) if member.isreg() else None
            if content is not None and wanted(path):
                target = into / Path(path).name
                target.write_bytes(content.read())
                written.append(target)
    return written


def unpack(debs: Iterable[Path], tree: Path) -> None:
    """Unpack packages over each other into a tree with Debian's merged /usr.

    Device nodes and pipes are left out and owners are not kept, so that root is not needed.

    :raises UserError: when one is damaged or names a path outside the tree.
    """
    for name, target in MERGED_USR.items():
        (tree / target).mkdir(parents=True, exist_ok=True)
        if not (tree / name).is_symlink():
            (tree / name).symlink_to(target)
    for deb in debs:
        with _opened(deb) as archive:
            for member in archive:
                _place(archive, member, tree, deb)


def _place(archive: tarfile.TarFile, member: tarfile.TarInfo, tree: Path, deb: Path) -> None:
    target = _inside(tree, member.name, deb)
    if member.isdir() or (target.is_dir() and not target.is_symlink()):
        target.mkdir(parents=True, exist_ok=True)
        return
    content = archive.extractfile(member) if member.isreg() else None
    if content is None and not member.issym() and not member.islnk():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_symlink() or target.exists():
        target.unlink()
    if member.issym():
        target.symlink_to(member.linkname)
    elif member.islnk():
        target.hardlink_to(_inside(tree, member.linkname, deb))
    elif content is not None:
        target.write_bytes(content.read())
        target.chmod(member.mode & 0o777 | stat.S_IWUSR)


def _inside(tree: Path, name: str, deb: Path) -> Path:
    """Return where a package's path goes: below /usr if that is merged, and never outside the tree.

    A package may put a link to an absolute path first and a file through it next.
    """
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if not parts:
        return tree
    path = tree.joinpath(MERGED_USR.get(parts[0], parts[0]), *parts[1:])
    if ".." in parts or not path.parent.resolve().is_relative_to(tree.resolve()):
        raise UserError(f"the package {deb.name} has the path {name!r}, which leads outside.")
    return path


def resolve_closure(root: AptRoot, package: str, suite: str | None) -> list[tuple[str, str]]:
    """Return the package and all it depends on, as (name, version), in apt's order.

    :raises AptError: when the release does not have it.
    """
    target = ["-t", suite] if suite else []
    command = ["apt-get", "install", "--simulate", "--no-install-recommends", *target, package]
    output = root.run(command, f"resolving the dependencies of {package}")
    return re.findall(r"^Inst (\S+?)(?::\S+)? \((\S+)", output, re.MULTILINE)


def fetch_closure(
    package: str,
    release: str = "trixie",
    suite: str | None = None,
    progress: Progress | None = None,
) -> Path:
    """Unpack a package and everything it depends on into one tree, from Debian's arm64 archive.

    The tree is for an initramfs: no maintainer script is run. It is kept in the cache under the
    exact versions, so the same versions are fetched once.

    :param release: one of `RELEASES`; `suite` may prefer one of its suites, such as a backport.
    :return: the tree's root; treat it as read-only.
    :raises UserError: when it cannot be had.
    """
    if release not in RELEASES:
        raise UserError(
            f"there is no Debian release {release!r} here; use one of {', '.join(RELEASES)}."
        )
    cache = cache_root()
    with locked(cache):
        root = AptRoot.open(cache / "apt", release)
        try:
            root.update(progress)
        except AptError:
            if not root.updated:
                raise
            # Old lists still name what may be unpacked here already.
        closure = resolve_closure(root, package, suite)
        if not closure:
            raise UserError(f"Debian {release} offers no package {package} for arm64.")
        key = hashlib.sha256(repr(closure).encode()).hexdigest()[:16]
        target = cache / "closures" / f"{package}-{release}-{key}"
        if not target.exists():
            with (
                new_directory(target) as tree,
                scratch() as folder,
            ):
                unpack(download(root, closure, Path(folder), progress), tree)
    return target
