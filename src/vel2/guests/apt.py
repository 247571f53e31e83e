"""A private apt: the system's apt programs with lists, caches and an empty dpkg of our own.

Each Debian release has its own root, so that dependencies are always resolved within one release.
The system's proxies and credentials apply. Its sources, preferences, hooks, lists and package state
do not, and none of it is written. apt refuses metadata that Debian's keys have not signed.
"""

import errno
import os
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from debian.deb822 import Deb822

from vel2 import supervisor
from vel2.errors import UserError
from vel2.guests.cache import CacheError
from vel2.guests.sources import Archive, find_archive, read_system

__all__ = ("RELEASES", "AptError", "AptRoot", "Progress")

Progress = Callable[[str, float], None]
"""Called with what is being done and how much of it, 0 to 1."""

ARCHITECTURE = "arm64"
LISTS_FRESH_S = 24 * 3600
LOOK_S = 1.0
FULL_S = 5.0
"""A disk that is full for this long stays full: apt waits for room, and reports that it works."""
TERMINATE_S = 10.0
FULL_BYTES = 1 << 16

RELEASES: Mapping[str, tuple[str, ...]] = {
    "bookworm": ("bookworm", "bookworm-updates", "bookworm-security", "bookworm-backports"),
    "trixie": ("trixie", "trixie-updates", "trixie-security", "trixie-backports"),
    "sid": ("sid",),
}

# `docker-clean` and the like empty the system's package cache after every update: such hooks are
# for the system's apt, not for this one.
CONFIGURATION = """\
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear APT::Architectures;
#clear APT::Default-Release;
#clear DPkg::Pre-Invoke;
#clear DPkg::Post-Invoke;
#clear DPkg::Pre-Install-Pkgs;
#clear Acquire::IndexTargets::deb::DEP-11;
#clear Acquire::IndexTargets::deb::Contents-deb;
APT::Architecture "{architecture}";
APT::Architectures {{ "{architecture}"; }};
APT::Sandbox::User "{user}";
APT::Get::AllowUnauthenticated "false";
Acquire::AllowInsecureRepositories "false";
Acquire::AllowDowngradeToInsecureRepositories "false";
Acquire::Languages "none";
Acquire::PDiffs "false";
Acquire::Retries "2";
Dir::State "{root}/state";
Dir::State::status "{root}/status";
Dir::Cache "{root}/cache";
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "{root}/sources";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "{root}/preferences";
"""


class AptError(UserError):
    """apt failed; the text says in which step, with apt's own first complaint."""

    exit_code = 3


@dataclass(frozen=True)
class AptRoot:
    """One release's private root.

    :ivar path: folder of the root; everything apt writes goes below it.
    :ivar release: a key of `RELEASES`.
    """

    path: Path
    release: str

    @classmethod
    def open(cls, parent: Path, release: str, archive: Archive | None = None) -> "AptRoot":
        """Make or renew the root of a release under `parent`.

        :param archive: where Debian is; learnt from the system's apt when None.
        :raises UserError: when this system has no apt or no Debian mirror.
        """
        for program in ("apt-get", "apt-cache", "dpkg-deb"):
            if shutil.which(program) is None:
                raise UserError(
                    f"{program} was not found; vel2 fetches its guests with Debian's apt: "
                    "use a Debian system, or give kernels as files."
                )
        root = cls(parent / release, release)
        root._write(archive or find_archive(read_system()))
        return root

    def _write(self, archive: Archive) -> None:
        folders = ("state/lists/partial", "cache/archives/partial", "sources", "preferences")
        for folder in folders:
            (self.path / folder).mkdir(parents=True, exist_ok=True)
        (self.path / "status").touch()
        # Dropping to another user would lock apt out of a cache below a private home.
        user = "root" if os.geteuid() == 0 else "_apt"
        configuration = CONFIGURATION.format(root=self.path, architecture=ARCHITECTURE, user=user)
        (self.path / "apt.conf").write_text(configuration)
        sources = self.path / "sources" / "debian.sources"
        wanted = self._sources(archive)
        if not sources.exists() or sources.read_text() != wanted:
            sources.write_text(wanted)
            self._stamp.unlink(missing_ok=True)

    def _sources(self, archive: Archive) -> str:
        paragraphs = []
        for suite in RELEASES[self.release]:
            uri = archive.security_uri if suite.endswith("-security") else archive.uri
            if uri is None:
                continue
            paragraphs.append(
                f"Types: deb\nURIs: {uri}\nSuites: {suite}\nComponents: main\n"
                f"Architectures: {ARCHITECTURE}\nSigned-By: {archive.signed_by}\n"
            )
        return "\n".join(paragraphs)

    @property
    def _stamp(self) -> Path:
        return self.path / "updated"

    @property
    def updated(self) -> float:
        """When the package lists were last fetched, as `time.time()`; 0 when they never were."""
        return self._stamp.stat().st_mtime if self._stamp.exists() else 0.0

    @property
    def fresh(self) -> bool:
        """True when the package lists are less than a day old."""
        return time.time() - self.updated < LISTS_FRESH_S

    def update(self, progress: Progress | None = None, force: bool = False) -> None:
        """Fetch the package lists, unless those at hand are less than a day old.

        :raises AptError: when the mirror cannot be reached or its signature is not Debian's.
        """
        if self.fresh and not force:
            return
        # Without Error-Mode, apt-get update exits 0 when a mirror is unreachable.
        command = ["apt-get", "update", "-q", "-o", "APT::Update::Error-Mode=any"]
        self.run(command, f"fetching the package lists of Debian {self.release}", progress)
        self._stamp.touch()

    def run(
        self,
        command: Sequence[str],
        doing: str,
        progress: Progress | None = None,
        cwd: Path | None = None,
    ) -> str:
        """Run an apt program under this root's configuration and return what it prints.

        :param doing: names the work in progress reports and errors.
        :raises AptError: when it fails.
        """
        program, *arguments = command
        # When we are killed, the kernel kills apt: an apt that goes on keeps its locks.
        tied = [sys.executable, "-I", "-S", supervisor.__file__, str(os.getpid())]
        path = shutil.which(program) or program
        environment = {**os.environ, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
        environment.pop("APT_CONFIG", None)
        reader, writer = os.pipe()
        options = ["-c", str(self.path / "apt.conf"), "-o", f"APT::Status-Fd={writer}"]
        with (
            os.fdopen(reader, "rb", buffering=0) as status,
            tempfile.TemporaryFile("w+", errors="replace") as output,
        ):
            process = subprocess.Popen(
                [*tied, path, *options, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                pass_fds=[writer],
                cwd=cwd,
            )
            os.close(writer)
            try:
                # The pipe's end of file comes when apt and its helpers have ended.
                for line in self._said(status):
                    _report(line, doing, progress)
                process.wait()
            except BaseException:
                _end(process)
                raise
            output.seek(0)
            text = output.read()
        if process.returncode != 0:
            raise AptError(_complaint(doing, text))
        if progress is not None:
            progress(doing, 1.0)
        return text

    def _said(self, status: FileIO) -> Iterator[str]:
        """Yield the lines of apt's status pipe, until its end.

        :raises CacheError: when the disk is full: apt would wait for ever.
        """
        waiting = b""
        had_room = time.monotonic()
        while True:
            ready, _, _ = select.select([status], [], [], LOOK_S)
            now = time.monotonic()
            if not is_full(self.path):
                had_room = now
            elif now - had_room > FULL_S:
                raise CacheError.of(self.path, os.strerror(errno.ENOSPC))
            if not ready:
                continue
            data = os.read(status.fileno(), 1 << 16)
            *lines, waiting = (waiting + data).split(b"\n")
            yield from (line.decode(errors="replace") for line in lines)
            if not data:
                return

    def show(self, package: str, suite: str | None = None) -> Deb822 | None:
        """Return the control record of a package's candidate version.

        :param suite: prefer this suite, as `apt-get -t` does.
        :return: None when the lists do not have the package.
        """
        target = ["-o", f"APT::Default-Release={suite}"] if suite else []
        try:
            text = self.run(
                ["apt-cache", "show", "--no-all-versions", *target, package],
                f"looking up {package}",
            )
        except AptError:
            return None
        return next(iter(Deb822.iter_paragraphs(text.splitlines(True), use_apt_pkg=False)), None)


def is_full(folder: Path) -> bool:
    """Whether there is no room where a folder is."""
    about = os.statvfs(folder)
    return about.f_bavail * about.f_frsize < FULL_BYTES


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process that is no longer needed, by force if it does not end."""
    process.terminate()
    try:
        process.wait(TERMINATE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _report(line: str, doing: str, progress: Progress | None) -> None:
    """Pass on one line of apt's status pipe, `dlstatus:ITEM:PERCENT:TEXT`."""
    kind, _, rest = line.partition(":")
    if progress is None or kind != "dlstatus":
        return
    try:
        percent = float(rest.split(":")[1])
    except (IndexError, ValueError):
        return
    progress(doing, min(percent / 100, 1.0))


def _complaint(doing: str, output: str) -> str:
    """Make one sentence of apt's output, from its first error."""
    lines = re.findall(r"^E: (.*)$", output, re.MULTILINE) or output.strip().splitlines()[-1:]
    said = lines[0].strip().rstrip(".") if lines else "apt said nothing"
    advice = ""
    if "Failed to fetch" in said:
        advice = "; check the network and the mirror in apt's sources"
    return f"{doing} failed: {said}{advice}."
