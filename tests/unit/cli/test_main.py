"""The command line: help, exact sentences, exit codes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from tests.processes import started
from vel2.cli import main as cli_main
from vel2.cli.exits import ExitCode, exit_code_of
from vel2.cli.options import parse_size
from vel2.errors import LaunchError, UserError
from vel2.machine.outcome import ExitReason, MachineExit

VEL2 = Path(sys.executable).parent / "vel2"


def invoke(*arguments: str, env: dict[str, str] | None = None) -> Result:
    return CliRunner(env=env).invoke(cli_main.vel2, list(arguments), prog_name="vel2")


@pytest.fixture
def kernel(tmp_path: Path) -> str:
    path = tmp_path / "Image"
    path.write_bytes(b"not a kernel")
    return str(path)


def test_the_compiler_is_loaded_by_what_compiles() -> None:
    """It takes most of a second, which no `--help` and no completion should wait for."""
    assert "vel2.cli.bench.micro" in modules_after("--help")
    assert not {"llvmlite", "matplotlib", "vel2.lang", "vel2.control.vm"} & modules_after("--help")


def test_a_command_loads_no_other() -> None:
    """Nor the architecture's registers, which take longer than all else."""
    for name in ("run", "demo", "guests", "doctor"):
        modules = modules_after(name, "--help")
        loaded = {module for module in cli_main.COMMANDS.values() if module in modules}
        assert loaded - {"vel2.cli.guests"} == {f"vel2.cli.{name}"} - {"vel2.cli.guests"}
        assert "vel2.arch.sysregs" not in modules


def modules_after(*arguments: str) -> set[str]:
    """Give what is loaded once the program has done its work."""
    program = (
        "import atexit, sys, vel2.cli.main as it;"
        "atexit.register(lambda: print(*sys.modules, file=sys.stderr)); it.main()"
    )
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0
    return set(done.stderr.split())


def test_the_end_does_not_look_for_garbage() -> None:
    program = (
        "import atexit, gc, vel2.cli.main as it;"
        "atexit.register(lambda: print(gc.get_freeze_count() > 10_000)); it.main()"
    )
    command = [sys.executable, "-c", program, "completion", "bash"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "True", done.stderr


def all_commands() -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = [()]
    for name in cli_main.COMMANDS:
        command = cli_main.vel2.get_command(click.Context(cli_main.vel2), name)
        found.append((name,))
        if isinstance(command, click.Group):
            found += [(name, below) for below in command.commands]
    return found


@pytest.mark.parametrize("words", all_commands(), ids=" ".join)
def test_every_command_has_help_in_80_columns(words: tuple[str, ...]) -> None:
    result = invoke(*words, "--help")
    assert result.exit_code == 0
    assert result.stdout.startswith(f"Usage: {' '.join(('vel2', *words))}")
    assert max(map(len, result.stdout.splitlines())) <= 80


@pytest.mark.parametrize("command", ["demo", "doctor", "run", "guests", "completion"])
def test_help_shows_examples(command: str) -> None:
    examples = invoke(command, "--help").stdout.split("Example")[1]
    assert f"vel2 {command}" in examples


def test_exit_codes_are_documented() -> None:
    documented = invoke("--help").stdout.split("Exit codes:")[1]
    for code in ExitCode:
        if code is not ExitCode.BROKEN_PIPE:
            assert f" {code.value}" in documented, code


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script(shell: str) -> None:
    result = invoke("completion", shell)
    assert result.exit_code == 0
    assert f"_VEL2_COMPLETE={shell}_complete" in result.stdout


def test_completion_answers() -> None:
    """What the script asks for when the user types `vel2 ru<Tab>`."""
    env = {"_VEL2_COMPLETE": "bash_complete", "COMP_WORDS": "vel2 ru", "COMP_CWORD": "1"}
    done = subprocess.run([VEL2], env=env, capture_output=True, text=True, check=True)
    assert done.stdout == "plain,run\n"


def test_completion_of_another_shell() -> None:
    result = invoke("completion", "tcsh")
    assert result.exit_code == ExitCode.USAGE
    assert "'tcsh' is not one of 'bash', 'zsh', 'fish'." in result.stderr


def test_a_kernel_that_is_nothing() -> None:
    result = invoke("run", "--kernel", "nope")
    assert result.exit_code == ExitCode.USAGE
    assert result.stderr == (
        "vel2: 'nope' is neither a file nor a kernel on offer;"
        " give a path, or one of 6.1, 6.12, 6.12-16k, 6.12-rt, 7, xen-4.17, xen-4.20.\n"
    )
    assert result.stdout == ""


def test_a_kernel_that_was_not_fetched(tmp_path: Path) -> None:
    result = invoke("run", "--kernel", "6.12", env={"XDG_CACHE_HOME": str(tmp_path)})
    assert result.exit_code == ExitCode.USAGE
    assert result.stderr == (
        "vel2: kernel 6.12 has not been fetched; run `vel2 guests fetch 6.12` first.\n"
    )


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        (
            "--nv",
            "none",
            "--nv none (Armv8.0 without FEAT_NV) is not supported yet;"
            " leave --nv out, or give --nv nv2.",
        ),
    ],
)
def test_what_is_planned_is_refused(kernel: str, option: str, value: str, sentence: str) -> None:
    result = invoke("run", "--kernel", kernel, option, value)
    assert result.exit_code == ExitCode.USAGE
    assert result.stderr == f"vel2: {sentence}\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--el2", "vh"], "Error: Invalid value for '--el2': 'vh' is not one of 'vhe', 'nvhe'."),
        (
            ["--memory", "3X"],
            "Error: Invalid value for '--memory': '3X' is not a size:"
            " give a number and K, M or G, such as 512M or 2G.",
        ),
        (
            ["--timeout", "0"],
            "Error: Invalid value for '--timeout': 0.0 is not in the range x>0.",
        ),
    ],
)
def test_bad_values(kernel: str, arguments: list[str], sentence: str) -> None:
    result = invoke("run", "--kernel", kernel, *arguments)
    assert result.exit_code == ExitCode.USAGE
    assert result.stderr.splitlines()[-1] == sentence


def test_a_missing_kernel_option() -> None:
    result = invoke("run")
    assert result.exit_code == ExitCode.USAGE
    assert result.stderr == (
        "vel2: what to boot is a --kernel, a --firmware, or files by --load with an --entry; give"
        " one of them.\n"
    )


def test_a_file_that_is_no_kernel(kernel: str) -> None:
    result = invoke("run", "--native", "--kernel", kernel)
    assert result.exit_code == ExitCode.USAGE
    assert result.stderr.startswith(f"vel2: the kernel {kernel} ")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("2G", 2 << 30),
        ("512M", 512 << 20),
        ("512m", 512 << 20),
        ("1536MiB", 1536 << 20),
        ("4096", 4096),
        (" 1T ", 1 << 40),
        ("64KB", 64 << 10),
        ("7B", 7),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "0", "0G", "-1G", "1.5G", "G", "2GG", "2 G B", "0x10", "٣G"])
def test_not_sizes(text: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_size(text)
    assert str(caught.value) == (
        f"{text!r} is not a size: give a number and K, M or G, such as 512M or 2G."
    )


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> click.Command:
    """Add a command that raises what the test puts into its `errors`."""

    @click.command("fail")
    def fail() -> None:
        raise fail.errors.pop()  # type: ignore[attr-defined]

    fail.errors = []  # type: ignore[attr-defined]
    monkeypatch.setitem(cli_main.vel2.commands, "fail", fail)
    return fail


LAUNCH = LaunchError("QEMU did not start", ["qemu", "-M", "virt"], 1, "no such board")


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (UserError("do this."), ExitCode.USAGE, "vel2: do this.\n"),
        (LAUNCH, ExitCode.UNABLE, f"vel2: {LAUNCH}\n"),
        (KeyboardInterrupt(), ExitCode.INTERRUPTED, "\nvel2: interrupted\n"),
        (click.Abort(), ExitCode.INTERRUPTED, "vel2: interrupted\n"),
        (click.ClickException("bad."), ExitCode.GUEST_FAILED, "Error: bad.\n"),
    ],
)
def test_failures(failing: click.Command, error: BaseException, code: ExitCode, said: str) -> None:
    failing.errors.append(error)  # type: ignore[attr-defined]
    result = invoke("fail")
    assert (result.exit_code, result.stderr) == (code, said)
    assert "Traceback" not in result.output


def test_a_bug_keeps_its_traceback(failing: click.Command) -> None:
    """Only what the user can put right becomes a sentence."""
    failing.errors.append(ZeroDivisionError("ours"))  # type: ignore[attr-defined]
    assert isinstance(invoke("fail").exception, ZeroDivisionError)


def test_debug_shows_the_traceback_of_a_user_error(failing: click.Command) -> None:
    failing.errors.append(UserError("do this."))  # type: ignore[attr-defined]
    assert isinstance(invoke("fail", env={"VEL2_DEBUG": "1"}).exception, UserError)


def test_a_reader_that_leaves() -> None:
    """`vel2 guests list | head -0` must neither complain nor hang."""
    with started(
        [VEL2, "guests", "list"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout and process.stderr
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == ExitCode.BROKEN_PIPE


@pytest.mark.parametrize("reason", ExitReason)
def test_every_end_has_a_code(reason: ExitReason) -> None:
    code = exit_code_of(MachineExit(reason, "", 0, 1.0))
    assert (code is ExitCode.OK) == (reason in (ExitReason.SHUTDOWN, ExitReason.STOPPED))


def test_without_qemu_nothing_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred megabytes are of no use where nothing can run them."""
    monkeypatch.setenv("VEL2_QEMU", "no-qemu-of-this-name")
    fetched: list[object] = []
    monkeypatch.setattr("vel2.cli.kernels.fetch", lambda names, progress: fetched.append(names))
    monkeypatch.setattr("vel2.cli.matrix.fetch", lambda names, progress: fetched.append(names))
    for command in (["demo"], ["bench", "--only", "null"], ["bench", "macro"], ["matrix"]):
        result = invoke(*command)
        assert "VEL2_QEMU is set to 'no-qemu-of-this-name'" in result.stderr, command
        assert result.exit_code == ExitCode.UNABLE or result.exit_code == ExitCode.USAGE
    assert fetched == []
