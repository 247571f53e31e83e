"""A Debian archive of our own on disk, signed by a key of our own, for tests without a network."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from vel2.guests.apt import RELEASES

GPG = shutil.which("gpg")


@dataclass
class LocalArchive:
    """Packages are added, then `publish` writes and signs the metadata of all suites."""

    path: Path
    packages: dict[str, list[str]] = field(default_factory=dict)
    home: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="vel2-gpg-")))
    """gpg's own folder. Its agent's socket is there, whose path may have 107 characters."""

    @property
    def uri(self) -> str:
        """As a source names it."""
        return f"file:{self.path}"

    @property
    def keyring(self) -> Path:
        """Public part of the signing key."""
        return self.path / "key.gpg"

    def gpg(self, *arguments: str) -> None:
        assert GPG is not None
        command = [GPG, "--homedir", str(self.home), "--batch", "--quiet", "--yes", "--no-tty"]
        subprocess.run(
            [*command, "--pinentry-mode", "loopback", "--passphrase", "", *arguments],
            check=True,
            capture_output=True,
        )

    def make_key(self) -> None:
        """Make the signing key."""
        self.gpg("--quick-generate-key", "vel2 test <test@mirror.example>", "ed25519", "sign")
        self.gpg("--output", str(self.keyring), "--export")

    def close(self) -> None:
        """End the agent that gpg started, and remove its folder."""
        agent = shutil.which("gpgconf")
        if agent is not None:
            subprocess.run([agent, "--homedir", str(self.home), "--kill", "all"], check=False)
        shutil.rmtree(self.home, ignore_errors=True)

    def add(
        self,
        suite: str,
        name: str,
        version: str,
        files: dict[str, bytes] | None = None,
        depends: str = "",
    ) -> Path:
        """Build a package and list it in a suite."""
        work = self.path / "work" / f"{name}_{version}"
        control = f"Package: {name}\nVersion: {version}\nArchitecture: arm64\n"
        control += f"Maintainer: vel2 <test@mirror.example>\nDescription: {name}\n"
        control += f"Depends: {depends}\n" if depends else ""
        (work / "DEBIAN").mkdir(parents=True)
        (work / "DEBIAN" / "control").write_text(control)
        for path, data in (files or {}).items():
            (work / path).parent.mkdir(parents=True, exist_ok=True)
            (work / path).write_bytes(data)
        deb = self.path / "pool" / f"{name}_{version.replace(':', '%3a')}_arm64.deb"
        deb.parent.mkdir(exist_ok=True)
        subprocess.run(
            ["dpkg-deb", "--root-owner-group", "-Zgzip", "--build", str(work), str(deb)],
            check=True,
            capture_output=True,
        )
        data = deb.read_bytes()
        entry = f"{control}Filename: pool/{deb.name}\nSize: {len(data)}\n"
        entry += f"SHA256: {hashlib.sha256(data).hexdigest()}\n"
        self.packages.setdefault(suite, []).append(entry)
        return deb

    def publish(self, release: str, sign: bool = True) -> None:
        """Write the metadata of a release's suites, but the security one."""
        for suite in RELEASES[release]:
            if suite.endswith("-security"):
                continue
            folder = self.path / "dists" / suite
            index = folder / "main" / "binary-arm64" / "Packages"
            index.parent.mkdir(parents=True, exist_ok=True)
            index.write_text("\n".join(self.packages.get(suite, [])))
            data = index.read_bytes()
            text = f"Origin: Test\nSuite: {suite}\nCodename: {suite}\nComponents: main\n"
            text += "Architectures: arm64\nDate: Thu, 01 Jan 2026 00:00:00 UTC\n"
            text += "NotAutomatic: yes\n" if suite.endswith("-backports") else ""
            text += f"SHA256:\n {hashlib.sha256(data).hexdigest()} {len(data)} "
            text += "main/binary-arm64/Packages\n"
            (folder / "Release").write_text(text)
            if sign:
                target = str(folder / "InRelease")
                self.gpg("--output", target, "--clearsign", str(folder / "Release"))
