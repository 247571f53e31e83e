"""tools/setup: what it reads, what it would run, and the sentence when it cannot go on.

Nothing is installed here; commands are recorded. `make setup` itself runs in CI before any test.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "tools" / "setup"

DEB822 = """\
# kept by hand
Types: deb deb-src
URIs: http://mirror.example/debian
# a comment inside
Suites: bookworm bookworm-updates
Components: main
 contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://off.example/debian
Suites: bookworm
Enabled: no
"""

ONE_LINE = """\
# deb http://commented.example/debian bookworm main
deb [arch=amd64,arm64 signed-by=/k.gpg] http://mirror.example/debian bookworm main contrib # here
deb-src http://mirror.example/debian bookworm main
deb http://security.example/debian-security bookworm-security main
nonsense
"""


@pytest.fixture
def setup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Load the script afresh, with /etc/apt, os-release and .venv under `tmp_path`."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    loader = importlib.machinery.SourceFileLoader("vel2_setup", str(SCRIPT))
    spec = importlib.util.spec_from_loader("vel2_setup", loader)
    assert spec
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    (tmp_path / "apt" / "sources.list.d").mkdir(parents=True)
    places = {
        "APT_ETC": tmp_path / "apt",
        "OS_RELEASE": tmp_path / "os-release",
        "VENV": tmp_path / ".venv",
        "STAMP": tmp_path / ".venv" / "stamp",
    }
    for name, path in places.items():
        monkeypatch.setattr(module, name, path)
    # What it writes is below `tmp_path`: nobody's sudo is needed, or may be used.
    monkeypatch.setattr(module.os, "geteuid", lambda: 0)
    return module


@pytest.fixture
def commands(setup: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Record what `run` is asked to run."""
    recorded: list[list[str]] = []
    monkeypatch.setattr(setup, "run", lambda command, failed: recorded.append(command))
    return recorded


def verbs(commands: list[list[str]]) -> list[str]:
    """Shorten apt-get command lines to what follows its fixed options."""
    return [" ".join(command[command.index("apt-get") + 4 :]) for command in commands]


def test_deb822_keeps_what_is_enabled(setup: ModuleType) -> None:
    assert setup.parse_deb822(DEB822) == [
        {
            "types": "deb deb-src",
            "uris": "http://mirror.example/debian",
            "suites": "bookworm bookworm-updates",
            "components": "main\n contrib",
            "signed-by": "/usr/share/keyrings/debian-archive-keyring.gpg",
        }
    ]


def test_one_line_sources_become_the_same_form(setup: ModuleType) -> None:
    first, source, security = setup.parse_one_line(ONE_LINE)
    assert first == {
        "types": "deb",
        "uris": "http://mirror.example/debian",
        "suites": "bookworm",
        "components": "main contrib",
        "arch": "amd64 arm64",
        "signed-by": "/k.gpg",
    }
    assert source["types"] == "deb-src"
    assert security["suites"] == "bookworm-security"


@pytest.mark.parametrize(
    ("name", "text", "key"),
    [
        ("sources.list.d/debian.sources", DEB822, "/usr/share/keyrings/debian-archive-keyring.gpg"),
        ("sources.list", ONE_LINE, "/k.gpg"),
    ],
)
def test_backports_come_from_bookworms_own_mirror(
    setup: ModuleType, name: str, text: str, key: str
) -> None:
    (setup.APT_ETC / name).write_text(text)
    setup.ensure_backports()
    added = setup.APT_ETC / "sources.list.d" / "vel2-backports.sources"
    assert added.read_text() == (
        "Types: deb\nURIs: http://mirror.example/debian\nSuites: bookworm-backports\n"
        f"Components: main\nSigned-By: {key}\n"
    )
    added.write_text(added.read_text() + "# mine\n")
    setup.ensure_backports()
    assert added.read_text().endswith("# mine\n"), "what is there is left as it is"


def test_an_embedded_key_is_copied_whole(setup: ModuleType) -> None:
    key = "Signed-By:\n -----BEGIN-----\n .\n abc\n -----END-----"
    source = f"Types: deb\nURIs: http://mirror.example/debian\nSuites: bookworm\n{key}\n"
    written = setup.backports_source(setup.parse_deb822(source))
    assert written.endswith(f"Components: main\n{key}\n")


def test_no_bookworm_source(setup: ModuleType) -> None:
    with pytest.raises(setup.SetupError) as caught:
        setup.backports_source(setup.parse_one_line("deb http://mirror.example/x trixie main"))
    assert str(caught.value) == (
        "no apt source for Debian's suite bookworm was found in /etc/apt, so bookworm-backports,"
        " where QEMU 9.1 comes from, cannot be added: add it, or install QEMU by hand"
    )


@pytest.mark.parametrize(
    ("debian", "upstream"),
    [
        ("1:10.0.2+ds-2+deb13u1~bpo12+1", (10, 0, 2)),
        ("7.2+dfsg-7+deb12u12", (7, 2)),
        ("1:9", (9,)),
        ("", ()),
    ],
)
def test_upstream_version(setup: ModuleType, debian: str, upstream: tuple[int, ...]) -> None:
    assert setup.upstream_version(debian) == upstream


class Versions:
    """QEMU's version and apt's candidate before and after what setup does about them."""

    def __init__(self, setup: ModuleType, monkeypatch: pytest.MonkeyPatch, commands: Any) -> None:
        self.qemu: tuple[int, ...] = ()
        self.candidate = ""
        self.after_update = ""
        self.after_install: tuple[int, ...] = (10, 0, 2)
        self.commands = commands
        monkeypatch.setattr(setup, "qemu_version", self.qemu_version)
        monkeypatch.setattr(setup, "apt_candidate", self.apt_candidate)
        monkeypatch.delenv("VEL2_QEMU", raising=False)

    def ran(self, word: str) -> bool:
        return any(word in command for command in self.commands)

    def qemu_version(self) -> tuple[int, ...]:
        return self.after_install if self.ran("install") else self.qemu

    def apt_candidate(self, package: str, release: list[str]) -> str:
        return self.after_update if self.ran("update") else self.candidate


@pytest.fixture
def versions(
    setup: ModuleType, monkeypatch: pytest.MonkeyPatch, commands: list[list[str]]
) -> Versions:
    return Versions(setup, monkeypatch, commands)


def test_a_new_enough_qemu_is_left_alone(
    setup: ModuleType, versions: Versions, commands: list[list[str]]
) -> None:
    versions.qemu = (9, 1, 0)
    setup.ensure_qemu()
    assert commands == []


def test_debian_13_installs_without_an_update_when_the_lists_do(
    setup: ModuleType, versions: Versions, commands: list[list[str]]
) -> None:
    setup.OS_RELEASE.write_text('ID=debian\nVERSION_CODENAME="trixie"\n')
    versions.candidate = "1:10.0.2+ds-2"
    setup.ensure_qemu()
    assert verbs(commands) == ["install -y --no-install-recommends qemu-system-arm"]


def test_debian_12_takes_qemu_from_backports(
    setup: ModuleType, versions: Versions, commands: list[list[str]]
) -> None:
    setup.OS_RELEASE.write_text("ID=debian\nVERSION_CODENAME=bookworm\n")
    (setup.APT_ETC / "sources.list").write_text(ONE_LINE)
    versions.qemu = (7, 2, 0)
    versions.candidate, versions.after_update = "1:7.2+dfsg-7", "1:10.0.2+ds-2~bpo12+1"
    setup.ensure_qemu()
    assert verbs(commands) == [
        "update",
        "install -y --no-install-recommends -t bookworm-backports qemu-system-arm",
    ]


def test_an_install_that_fails_on_old_lists_is_tried_again(
    setup: ModuleType, versions: Versions, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup.OS_RELEASE.write_text("ID=debian\nVERSION_CODENAME=trixie\n")
    versions.candidate = versions.after_update = "1:10.0.2+ds-2"
    done: list[list[str]] = versions.commands

    def run(command: list[str], failed: str) -> None:
        if "install" in command and not versions.ran("update"):
            raise setup.SetupError(failed)
        done.append(command)

    monkeypatch.setattr(setup, "run", run)
    setup.ensure_qemu()
    assert [verb.split()[0] for verb in verbs(done)] == ["update", "install"]


@pytest.mark.parametrize(
    ("release", "qemu", "candidate", "after", "sentence"),
    [
        (
            "ID=ubuntu\nID_LIKE=debian\n",
            (8, 2, 2),
            "",
            (),
            "qemu-system-aarch64 is 8.2.2 and this machine is not Debian: install QEMU 9.1"
            " or newer, or name one with VEL2_QEMU=/path/to/qemu-system-aarch64",
        ),
        (
            "ID=debian\nVERSION_CODENAME=trixie\n",
            (),
            "1:8.2.2+ds-1",
            (),
            "apt offers 1:8.2.2+ds-1 of qemu-system-arm (needed: 9.1 or newer):"
            " look at the sources in {etc}, or install by hand",
        ),
        (
            "ID=debian\nVERSION_CODENAME=trixie\n",
            (),
            "",
            (),
            "apt offers no version of qemu-system-arm (needed: 9.1 or newer):"
            " look at the sources in {etc}, or install by hand",
        ),
        (
            "ID=debian\nVERSION_CODENAME=trixie\n",
            (7, 2, 0),
            "1:10.0.2+ds-2",
            (7, 2, 0),
            "qemu-system-arm is installed and {path} is still 7.2.0: look at PATH",
        ),
    ],
)
def test_what_is_said_when_there_is_no_qemu_to_be_had(
    setup: ModuleType,
    versions: Versions,
    monkeypatch: pytest.MonkeyPatch,
    release: str,
    qemu: tuple[int, ...],
    candidate: str,
    after: tuple[int, ...],
    sentence: str,
) -> None:
    setup.OS_RELEASE.write_text(release)
    monkeypatch.setattr(setup.shutil, "which", lambda name: f"/old/{name}")
    versions.qemu, versions.after_install = qemu, after
    versions.candidate = versions.after_update = candidate
    with pytest.raises(setup.SetupError) as caught:
        setup.ensure_qemu()
    assert str(caught.value) == sentence.format(etc=setup.APT_ETC, path="/old/qemu-system-aarch64")


def test_a_chosen_qemu_is_never_replaced(
    setup: ModuleType, versions: Versions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VEL2_QEMU", "/opt/old/qemu")
    versions.qemu = (8, 0, 0)
    with pytest.raises(setup.SetupError) as caught:
        setup.ensure_qemu()
    assert str(caught.value) == (
        "VEL2_QEMU=/opt/old/qemu is 8.0.0: name a qemu-system-aarch64 of version 9.1 or newer"
    )


def test_root_is_had_by_sudo_or_asked_for(
    setup: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(setup.os, "geteuid", lambda: 1000)
    monkeypatch.setattr(setup.shutil, "which", lambda name: f"/usr/bin/{name}")
    assert setup.as_root(["tee", "x"]) == ["sudo", "tee", "x"]
    monkeypatch.setattr(setup.shutil, "which", lambda name: None)
    with pytest.raises(setup.SetupError) as caught:
        setup.as_root(["tee", "x"])
    assert str(caught.value) == "root is needed and there is no sudo: as root, run `tee x`"


def test_python_parts_are_asked_of_debian_only(
    setup: ModuleType, monkeypatch: pytest.MonkeyPatch, commands: list[list[str]]
) -> None:
    monkeypatch.setattr(setup, "missing_python_parts", lambda: ["python3.11-venv", "gcc"])
    monkeypatch.setattr(setup, "apt_candidate", lambda package, release: "1.0")
    monkeypatch.setattr(setup.sys, "executable", "/usr/bin/python3")
    setup.OS_RELEASE.write_text("ID=fedora\n")
    with pytest.raises(setup.SetupError) as caught:
        setup.ensure_python_parts()
    assert str(caught.value) == (
        "/usr/bin/python3 lacks what Debian calls python3.11-venv, gcc: install the like,"
        " or choose another Python with `make PYTHON=/path/to/python3`"
    )
    setup.OS_RELEASE.write_text("ID=debian\n")
    setup.ensure_python_parts()
    assert verbs(commands) == ["install -y --no-install-recommends python3.11-venv gcc"]


def test_the_stamp_saves_the_work_and_names_the_project(
    setup: ModuleType, monkeypatch: pytest.MonkeyPatch, commands: list[list[str]]
) -> None:
    monkeypatch.setattr(setup, "venv_works", lambda: True)
    setup.VENV.mkdir()
    setup.ensure_venv()
    assert [command[1:3] for command in commands] == [["-m", "pip"]]
    setup.ensure_venv()
    assert len(commands) == 1, "the second time there is nothing to do"
    setup.STAMP.write_text(setup.STAMP.read_text().replace("0", "1"))
    setup.ensure_venv()
    assert len(commands) == 2, "another stamp, another installation"


def test_the_demo_needs_no_development_tools_and_the_tests_serve_the_demo(
    setup: ModuleType, monkeypatch: pytest.MonkeyPatch, commands: list[list[str]]
) -> None:
    monkeypatch.setattr(setup, "venv_works", lambda: True)
    setup.VENV.mkdir()
    setup.ensure_venv("demo")
    assert commands[-1][-1] == str(setup.ROOT)
    setup.ensure_venv("test")
    assert commands[-1][-1] == f"{setup.ROOT}[dev]"
    setup.ensure_venv("demo")
    assert len(commands) == 2


def test_an_unknown_purpose_gets_a_sentence(
    setup: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(setup.sys, "argv", ["setup", "dmeo"])
    with pytest.raises(setup.SetupError, match="say what for, one of: demo, test"):
        setup.main()


def test_an_environment_of_another_place_is_made_anew(
    setup: ModuleType, monkeypatch: pytest.MonkeyPatch, commands: list[list[str]]
) -> None:
    """A copied .venv runs, but its scripts name the place it was copied from."""
    monkeypatch.setattr(setup, "missing_python_parts", list)
    (setup.VENV / "bin").mkdir(parents=True)
    (setup.VENV / "bin" / "python").symlink_to(sys.executable)
    setup.ensure_venv()
    assert commands[0] == [sys.executable, "-m", "venv", "--clear", str(setup.VENV)]


def test_an_old_python_gets_a_sentence(setup: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup.sys, "version_info", (3, 9, 2))
    monkeypatch.setattr(setup.sys, "version", "3.9.2 (default)")
    monkeypatch.setattr(setup.sys, "executable", "/usr/bin/python3")
    with pytest.raises(setup.SetupError) as caught:
        setup.main()
    assert str(caught.value) == (
        "vel2 needs Python 3.11 or newer and /usr/bin/python3 is 3.9.2:"
        " choose another one with `make PYTHON=python3.12`"
    )


def test_a_failed_command_shows_what_it_printed(
    setup: ModuleType, capfd: pytest.CaptureFixture[str]
) -> None:
    command = [sys.executable, "-c", "import sys; print('why'); sys.exit(7)"]
    with pytest.raises(setup.SetupError, match=r"^it failed \(.* exited with 7\)$"):
        setup.run(command, "it failed")
    assert capfd.readouterr().err == "why\n"


def test_a_second_run_is_quiet() -> None:
    """The real script, on this checkout: everything is there, so it says and does nothing."""
    if not (SCRIPT.parents[1] / ".venv" / ".vel2-setup").exists():
        pytest.skip("this checkout was not set up by tools/setup: run `make setup`")
    done = subprocess.run([sys.executable, str(SCRIPT)], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
