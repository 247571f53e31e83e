"""Fetching from a signed archive on disk: the newest, checked, once, and offline from the cache."""

from __future__ import annotations

import json
import os
import select
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.limits import LIMIT_S
from tests.processes import started
from tests.unit.guests.archive import GPG, LocalArchive
from vel2.errors import UserError
from vel2.guests import apt
from vel2.guests.apt import AptError, AptRoot
from vel2.guests.cache import CacheError, cache_root, locked, new_directory
from vel2.guests.kernels import (
    KERNEL_NAMES,
    busybox,
    fetch,
    guest_kernel,
    guest_path,
    list_guests,
    remove,
    remove_all,
)
from vel2.guests.packages import extract, fetch_closure, unpack
from vel2.guests.sources import Archive

needs_apt = pytest.mark.skipif(
    GPG is None or shutil.which("apt-get") is None,
    reason="needs apt and gpg; install the package gpg to run it",
)
BIG = os.urandom(1 << 19)  # larger than packages that only depend on others
META = "linux-image-cloud-arm64"


@pytest.fixture(autouse=True)
def private_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("VEL2_DEBIAN_MIRROR", raising=False)


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalArchive]:
    (tmp_path / "archive").mkdir()
    local = LocalArchive(tmp_path / "archive")
    local.make_key()
    found = Archive(local.uri, None, str(local.keyring))
    monkeypatch.setattr(apt, "find_archive", lambda entries: found)
    monkeypatch.setattr(apt, "LISTS_FRESH_S", 0)  # a new publication is seen at once
    yield local
    local.close()


def add_kernel_6(archive: LocalArchive, release: str, version: str, abi: str, data: bytes) -> Path:
    """Add a kernel as Debian packages it until 6.x."""
    real = f"linux-image-{abi}-cloud-arm64"
    archive.add(release, META, version, depends=f"{real} (= {version})")
    return archive.add(release, real, version, {f"boot/vmlinuz-{abi}-cloud-arm64": data})


@needs_apt
def test_the_newest_kernel_is_fetched_once_and_then_replaced(archive: LocalArchive) -> None:
    add_kernel_6(archive, "trixie", "6.12.9-1", "6.12.9", b"nine" + BIG)
    archive.publish("trixie")
    seen: list[tuple[str, float]] = []
    (guest,) = fetch(["6.12"], lambda doing, part: seen.append((doing, part)))
    kernel = guest_kernel("6.12")
    assert kernel.version == guest.version == "6.12.9-cloud-arm64"
    assert kernel.image_path.read_bytes() == b"nine" + BIG
    assert kernel.package == "linux-image-6.12.9-cloud-arm64 6.12.9-1"
    assert ("fetching linux-image-6.12.9-cloud-arm64", 1.0) in seen
    assert all(0 <= part <= 1 for _, part in seen)

    seen.clear()
    assert fetch(["6.12"], lambda doing, part: seen.append((doing, part))) == [guest]
    assert not [doing for doing, _ in seen if "linux-image" in doing], "fetched twice"

    # 6.12.10 is newer than 6.12.9, though it sorts before it as text.
    add_kernel_6(archive, "trixie", "6.12.10-1", "6.12.10", b"ten" + BIG)
    archive.publish("trixie")
    fetch(["6.12"])
    assert guest_kernel("6.12").image_path.read_bytes() == b"ten" + BIG


@needs_apt
def test_kernel_7_is_found_behind_its_metapackages_in_backports(archive: LocalArchive) -> None:
    abi = "7.3.4+deb13-cloud-arm64"
    add_kernel_6(archive, "trixie", "6.12.9-1", "6.12.9", BIG)
    suite, version = "trixie-backports", "7.3.4-1~bpo13+1"
    archive.add(suite, META, version, depends=f"linux-base-x, linux-image-{abi} (= {version})")
    archive.add(suite, f"linux-image-{abi}", version, depends=f"linux-binary-{abi} (= {version})")
    image = {f"usr/lib/modules/{abi}/vmlinuz": b"seven" + BIG}
    archive.add(suite, f"linux-binary-{abi}", version, image)
    add_kernel_6(archive, "sid", "7.2.13-1", "7.2.13", BIG)
    archive.publish("trixie")
    archive.publish("sid")
    fetch(["7"])
    kernel = guest_kernel("7")
    assert kernel.version == abi
    assert kernel.image_path.read_bytes() == b"seven" + BIG
    # One of the two places out of reach leaves the other.
    shutil.rmtree(archive.path / "dists" / "trixie-backports")
    shutil.rmtree(cache_root())
    fetch(["7"])
    assert guest_kernel("7").version == "7.2.13-cloud-arm64"


@needs_apt
def test_a_hypervisor_is_the_file_of_its_own_package(archive: LocalArchive) -> None:
    files = {
        "boot/xen-4.20-arm64": b"xen" + BIG,
        "boot/xen-4.20-arm64.efi": b"efi" + BIG,
        "boot/xen-4.20-arm64.config": b"config",
    }
    archive.add("trixie", "xen-hypervisor-4.20-arm64", "4.20.4+63-g7abf-0+deb13u1", files)
    archive.publish("trixie")
    (guest,) = fetch(["xen-4.20"])
    assert (guest.kind, guest.version) == ("hypervisor", "4.20.4+63-g7abf")
    assert guest_path("xen-4.20").read_bytes() == b"xen" + BIG


@needs_apt
def test_offline_the_cache_is_enough(archive: LocalArchive) -> None:
    program = {"usr/bin/busybox": b"busybox" + BIG, "usr/share/doc/busybox/copyright": b"GPL"}
    archive.add("trixie", "busybox-static", "1:1.37.0-6+b1", program)
    archive.publish("trixie")
    before = fetch(["busybox"])
    shutil.rmtree(archive.path / "dists")
    assert fetch(["busybox"]) == before
    assert busybox().read_bytes() == b"busybox" + BIG
    assert before[0].version == "1.37.0"
    with pytest.raises(AptError) as caught:
        fetch(["6.12"])
    assert str(caught.value).startswith(
        "6.12 is not in the cache, and fetching the package lists of Debian trixie failed: "
    )
    assert "\n" not in str(caught.value)


@needs_apt
@pytest.mark.parametrize("damage", ["", "{", "[]", '{"file": "gone", "debian_version": "9"}'])
def test_a_damaged_cache_entry_is_fetched_again(archive: LocalArchive, damage: str) -> None:
    add_kernel_6(archive, "trixie", "6.12.9-1", "6.12.9", BIG)
    archive.publish("trixie")
    fetch(["6.12"])
    image = guest_kernel("6.12").image_path
    (image.parent / "guest.json").write_text(damage)
    assert guest_at_hand("6.12") is None
    fetch(["6.12"])
    assert guest_kernel("6.12").image_path == image


@needs_apt
@pytest.mark.parametrize("damage", ["cut short", "changed"])
def test_a_kernel_that_is_not_what_was_fetched(archive: LocalArchive, damage: str) -> None:
    add_kernel_6(archive, "trixie", "6.12.9-1", "6.12.9", BIG)
    archive.publish("trixie")
    fetch(["6.12"])
    image = guest_kernel("6.12").image_path
    with image.open("r+b") as file:
        if damage == "cut short":
            file.truncate(len(BIG) // 2)
        else:
            file.write(b"#")
    with pytest.raises(UserError) as caught:
        guest_path("6.12")
    assert str(caught.value) == (
        "kernel 6.12 has not been fetched; run `vel2 guests fetch 6.12` first."
        if damage == "cut short"
        else f"{image} is damaged: it is not what was fetched;"
        " run `vel2 guests fetch 6.12` to fetch it again."
    )
    fetch(["6.12"])
    assert guest_path("6.12").read_bytes() == BIG


@needs_apt
def test_a_guest_is_renewed_and_removed(archive: LocalArchive) -> None:
    add_kernel_6(archive, "trixie", "6.12.9-1", "6.12.9", BIG)
    archive.publish("trixie")
    fetch(["6.12"])
    image = guest_path("6.12")
    before = image.stat().st_ino
    fetch(["6.12"])
    assert image.stat().st_ino == before
    fetch(["6.12"], renew=True)
    assert image.stat().st_ino != before and image.read_bytes() == BIG
    assert remove(["6.12"]) >= len(BIG)
    assert guest_at_hand("6.12") is None
    assert remove(["6.12"]) == 0
    fetch(["6.12"])
    assert remove_all() >= len(BIG)
    assert [path.name for path in cache_root().iterdir()] == ["lock"]
    shutil.rmtree(archive.path / "dists")
    with pytest.raises(AptError):
        fetch(["6.12"], renew=True)


def test_apt_that_waits_on_a_full_disk_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "apt-get").write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nexec sleep 1000\n")
    (tmp_path / "apt-get").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(apt, "LOOK_S", 0.01)
    monkeypatch.setattr(apt, "FULL_S", 0.05)
    monkeypatch.setattr(apt, "is_full", lambda folder: (tmp_path / "pid").exists())
    with pytest.raises(CacheError) as caught:
        AptRoot(tmp_path, "trixie").run(["apt-get", "update"], "fetching")
    assert str(caught.value) == (
        f"nothing can be written to {tmp_path} (No space left on device);"
        " make room there, or set XDG_CACHE_HOME to another folder."
    )
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_a_full_disk_is_a_sentence() -> None:
    with (
        pytest.raises(CacheError, match=r"\(No space left on device\); make room there"),
        locked(cache_root()),
        open("/dev/full", "w") as full,
    ):
        full.write("x")
        full.flush()


@needs_apt
def test_metadata_that_is_not_signed_is_refused(archive: LocalArchive) -> None:
    add_kernel_6(archive, "trixie", "6.12.9-1", "6.12.9", BIG)
    archive.publish("trixie", sign=False)
    with pytest.raises(AptError, match="is not signed"):
        fetch(["6.12"])
    assert guest_at_hand("6.12") is None


@needs_apt
def test_metadata_signed_by_another_key_is_refused(
    archive: LocalArchive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = LocalArchive(tmp_path / "other")
    other.path.mkdir()
    other.make_key()
    other.close()
    trusted = Archive(archive.uri, None, str(other.keyring))
    monkeypatch.setattr(apt, "find_archive", lambda entries: trusted)
    add_kernel_6(archive, "trixie", "6.12.9-1", "6.12.9", BIG)
    archive.publish("trixie")
    with pytest.raises(AptError, match=r"NO_PUBKEY|is not signed|couldn't be verified"):
        fetch(["6.12"])


@needs_apt
def test_a_package_that_was_tampered_with_is_refused(archive: LocalArchive) -> None:
    deb = add_kernel_6(archive, "trixie", "6.12.9-1", "6.12.9", BIG)
    archive.publish("trixie")
    data = bytearray(deb.read_bytes())
    data[-1] ^= 1
    deb.write_bytes(data)
    with pytest.raises(AptError, match=r"^6\.12 is not in the cache, and fetching linux-image"):
        fetch(["6.12"])
    assert guest_at_hand("6.12") is None


@needs_apt
def test_another_series_is_not_taken_for_the_wanted_one(archive: LocalArchive) -> None:
    add_kernel_6(archive, "trixie", "6.13.1-1", "6.13.1", BIG)
    archive.publish("trixie")
    with pytest.raises(AptError) as caught:
        fetch(["6.12"])
    assert str(caught.value) == (
        "6.12 is not in the cache, and Debian has no linux-image-cloud-arm64 6.12.x for arm64 any "
        "more; use another version, or give a kernel as a file."
    )


@needs_apt
def test_closure_is_resolved_in_one_release_and_unpacked(archive: LocalArchive) -> None:
    archive.add("trixie", "tool", "1.0-1", {"usr/bin/tool": b"tool"}, depends="liba (>= 1)")
    archive.add("trixie", "liba", "1.2-1", {"lib/aarch64-linux-gnu/liba.so.1": b"a"})
    archive.add("trixie", "unrelated", "1.0", {"usr/bin/unrelated": b""})
    archive.publish("trixie")
    tree = fetch_closure("tool")
    assert (tree / "usr/bin/tool").read_bytes() == b"tool"
    assert (tree / "usr/lib/aarch64-linux-gnu/liba.so.1").read_bytes() == b"a"
    assert os.readlink(tree / "lib") == "usr/lib"
    assert not (tree / "usr/bin/unrelated").exists()
    assert fetch_closure("tool") == tree
    with pytest.raises(UserError, match=r"^resolving the dependencies of missing failed: Unable"):
        fetch_closure("missing")


@needs_apt
def test_nothing_of_the_systems_apt_is_written(archive: LocalArchive, tmp_path: Path) -> None:
    def system_state() -> dict[str, float]:
        folders = ("/etc/apt", "/var/lib/apt", "/var/cache/apt", "/var/lib/dpkg")
        found = {}
        for folder in folders:
            for base, _, files in os.walk(folder):
                for name in (".", *files):
                    path = os.path.join(base, name)
                    if os.access(path, os.R_OK):
                        found[path] = os.lstat(path).st_mtime
        return found

    add_kernel_6(archive, "trixie", "6.12.9-1", "6.12.9", BIG)
    archive.publish("trixie")
    before = system_state()
    fetch(["6.12"])
    assert system_state() == before
    root = AptRoot.open(cache_root() / "apt", "trixie")
    dump = root.run(["apt-config", "dump"], "reading the configuration")
    assert 'APT::Architectures:: "arm64";' in dump
    assert "Post-Invoke::" not in dump


def test_names_that_are_not_offered_are_refused() -> None:
    with pytest.raises(UserError) as caught:
        fetch(["5.10"])
    assert str(caught.value) == (
        "there is no guest '5.10' on offer;"
        " use 6.1, 6.12, 6.12-16k, 6.12-rt, 7, xen-4.17, xen-4.20, u-boot, edk2 or busybox."
    )
    with pytest.raises(UserError) as caught:
        guest_kernel("busybox")
    assert str(caught.value) == (
        "there is no kernel 'busybox' on offer; use 6.1, 6.12, 6.12-16k, 6.12-rt or 7."
    )
    with pytest.raises(UserError) as caught:
        fetch_closure("tool", "woody")
    assert str(caught.value) == (
        "there is no Debian release 'woody' here; use one of bookworm, trixie, sid."
    )


def test_what_was_not_fetched_says_how_to_fetch_it() -> None:
    with pytest.raises(UserError) as caught:
        guest_kernel("6.12")
    assert str(caught.value) == (
        "kernel 6.12 has not been fetched; run `vel2 guests fetch 6.12` first."
    )
    with pytest.raises(UserError) as caught:
        busybox()
    assert str(caught.value) == (
        "busybox has not been fetched; run `vel2 guests fetch busybox` first."
    )
    with pytest.raises(UserError) as caught:
        guest_path("xen-4.20")
    assert str(caught.value) == (
        "xen-4.20 has not been fetched; run `vel2 guests fetch xen-4.20` first."
    )
    offered = [*KERNEL_NAMES, "xen-4.17", "xen-4.20", "u-boot", "edk2", "busybox"]
    assert [guest.name for guest in list_guests()] == offered
    assert not any(guest.path for guest in list_guests())


def guest_at_hand(name: str) -> Path | None:
    (found,) = [guest.path for guest in list_guests() if guest.name == name]
    return found


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b"
    with pytest.raises(KeyboardInterrupt), new_directory(target) as work:
        (work / "half").touch()
        raise KeyboardInterrupt
    assert list((tmp_path / "a").iterdir()) == []
    for content in ("old", "new"):
        with new_directory(target) as work:
            (work / content).touch()
    assert [path.name for path in target.iterdir()] == ["new"]


def test_the_cache_must_be_writable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(UserError) as caught:
        cache_root()
    assert str(caught.value) == (
        f"the guest cache {tmp_path}/file/vel2/guests cannot be made (Not a directory); "
        "set XDG_CACHE_HOME to a folder that can be written."
    )
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_root() == tmp_path / "home" / ".cache" / "vel2" / "guests"


@needs_apt
def test_damaged_packages_are_refused(tmp_path: Path) -> None:
    deb = tmp_path / "bad_1_arm64.deb"
    deb.write_bytes(b"!<arch>\nnot a package")
    for use in (lambda: unpack([deb], tmp_path / "tree"), lambda: extract(deb, bool, tmp_path)):
        with pytest.raises(UserError) as caught:
            use()
        assert str(caught.value).startswith("the package bad_1_arm64.deb cannot be unpacked (")
        assert str(caught.value).endswith("); fetch it again.")


KILLED = """
import sys
from pathlib import Path
from vel2.guests.apt import AptRoot
AptRoot(Path(sys.argv[1]), "trixie").run(["apt-get", "update"], "waiting")
"""


def test_a_killed_fetch_leaves_no_apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pids = tmp_path / "pids"
    os.mkfifo(pids)
    (tmp_path / "apt-get").write_text(f"#!/bin/sh\necho $$ > {pids}\nexec sleep 1000\n")
    (tmp_path / "apt-get").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with started([sys.executable, "-c", KILLED, tmp_path]) as process:
        apt_get = os.pidfd_open(int(pids.read_text()))
        process.kill()
    # A pidfd becomes readable when its process ends.
    ended, _, _ = select.select([apt_get], [], [], LIMIT_S)
    os.close(apt_get)
    assert ended, "apt-get goes on"


def test_what_a_killed_fetch_was_filling_is_removed() -> None:
    cache = cache_root()
    left = [cache / "kernels" / "6.12" / ".new-x", cache / "closures" / ".new-y"]
    kept = cache / "kernels" / "6.12" / "6.12.9-1"
    for folder in (*left, kept):
        folder.mkdir(parents=True)
    with locked(cache):
        assert not any(folder.exists() for folder in left)
    assert kept.exists()


@pytest.mark.network
def test_debian_itself_is_reached_and_trusted() -> None:
    (guest,) = fetch(["busybox"])
    assert guest.path is not None
    header = guest.path.read_bytes()[:20]
    assert header[:4] == b"\x7fELF" and int.from_bytes(header[18:20], "little") == 183
    known = json.loads((guest.path.parent / "guest.json").read_text())
    assert known["package"] == "busybox-static"
