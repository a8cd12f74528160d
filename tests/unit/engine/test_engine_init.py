"""The init's program, run on this machine and (emulated) on the other one that it is written for."""

from __future__ import annotations

import os
import pty
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from kist.engine import init
from support import needs

Command = list[str]


@pytest.fixture(params=["x86_64", "aarch64"])
def command(request: pytest.FixtureRequest, tmp_path: Path) -> Command:
    machine: str = request.param
    path = init.path(str(tmp_path), machine)
    assert path is not None
    if machine == os.uname().machine:
        return [path, "--"]
    emulator = f"qemu-{machine}"
    needs.program(emulator)
    return [emulator, path, "--"]


def run(command: Command, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*command, *words], capture_output=True, text=True, timeout=60, check=False, **options)


@pytest.mark.parametrize(("words", "status"), [
    (("sh", "-c", "exit 0"), 0), (("sh", "-c", "exit 255"), 255), (("/bin/sh", "-c", "exit 3"), 3),
    (("sh", "-c", "kill -9 $$"), 137), (("sh", "-c", "kill -ABRT $$"), 134)])
def test_the_status_is_the_programs(command: Command, words: tuple[str, ...], status: int) -> None:
    assert run(command, *words).returncode == status


def test_words_and_environment_arrive_as_they_are(command: Command) -> None:
    done = run(command, "sh", "-c", 'echo "$0|$1|$2|$A"', "zero", "", "two words",
               env={"PATH": os.environ["PATH"], "A": "b c"})
    assert done.stdout == "zero||two words|b c\n"


def test_the_search_along_path(command: Command, tmp_path: Path) -> None:
    """Emulated, the program below is this machine's: only the search is the other's."""
    for folder, mode in (("first", 0o644), ("second", 0o755)):
        (tmp_path / folder).mkdir()
        program = tmp_path / folder / "hello"
        program.write_text(f"#!/bin/sh\necho {folder}\n")
        program.chmod(mode)
    emulator = shutil.which(command[0])
    assert emulator
    command = [emulator, *command[1:]]
    for path, output, status in (
            (f"{tmp_path}/no:{tmp_path}/first:{tmp_path}/second", "second\n", 0), (f"{tmp_path}/second", "second\n", 0),
            (f"{tmp_path}/second/hello/x:{tmp_path}/second", "second\n", 0), (f"{tmp_path}/no", "", 127), ("", "", 127),
            (f"{tmp_path}/first", "", 126), (f"{tmp_path}/first:{tmp_path}/no", "", 126)):
        done = run(command, "hello", env={"XPATH": "/bin", "PATH": path})
        assert (done.stdout, done.returncode) == (output, status), (path, done.stderr)
    here = run(command, "hello", env={"PATH": ""}, cwd=tmp_path / "second")
    assert here.stdout == "second\n"


@pytest.mark.parametrize(("word", "told", "status"), [
    ("no-such-program", "No such file or directory", 127), ("/no/such", "No such file or directory", 127),
    ("/etc/passwd", "Permission denied", 126), ("/etc/passwd/x", "No such file or directory", 127),
    ("/", "Permission denied", 126)])
def test_what_can_not_be_executed_is_told(command: Command, word: str, told: str, status: int) -> None:
    done = run(command, word)
    assert (done.returncode, done.stderr) == (status, f"docker-init: exec {word}: {told}\n")


def test_without_a_program(command: Command) -> None:
    assert run(command).returncode == 125


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGWINCH])
def test_signals_are_forwarded(command: Command, number: signal.Signals) -> None:
    name = number.name.removeprefix("SIG")
    with subprocess.Popen([*command, "sh", "-c", f"trap 'echo {name}; exit 7' {name}; echo ready; "
                           "while true; do sleep 0.05; done"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        assert process.stdout.read() == f"{name}\n"
    assert process.returncode == 7


def test_a_program_without_handlers_ends_by_the_signal(command: Command) -> None:
    with subprocess.Popen([*command, "sh", "-c", "echo ready; exec sleep 100"], stdout=subprocess.PIPE,
                          text=True) as process:
        assert process.stdout
        process.stdout.readline()
        process.terminate()
    assert process.returncode == 128 + signal.SIGTERM


def test_orphans_are_reaped(command: Command) -> None:
    """Twenty processes whose parents are gone: none is left as a zombie, and the child's status is not mixed up."""
    with subprocess.Popen([*command, "sh", "-c", "for i in $(seq 20); do (sh -c 'exit 9' & ); done; echo made; "
                           "read end; exit 4"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin and process.stdout
        assert process.stdout.readline() == "made\n"
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        deadline = time.monotonic() + 20
        while len(children.read_text().split()) > 1:
            assert time.monotonic() < deadline, children.read_text()
            time.sleep(0.02)
        process.stdin.write("now\n")
    assert process.returncode == 4


def test_the_terminals_keys_are_the_programs(command: Command) -> None:
    """The program is the terminal's foreground group: Ctrl-C reaches it, once."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvp(command[0], [*command, "sh", "-c", "trap 'echo got' INT; trap 'exit 5' TERM; echo ready; "
                                                     "while true; do sleep 0.05; done"])
    seen = b""
    while b"ready" not in seen:
        seen += os.read(terminal, 1000)
    os.write(terminal, b"\x03")
    while b"got" not in seen:
        seen += os.read(terminal, 1000)
    os.kill(pid, signal.SIGTERM)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 5
    os.close(terminal)
    assert seen.count(b"got") == 1


def test_the_file_is_made_once_and_mended(tmp_path: Path) -> None:
    path = Path(init.path(str(tmp_path), "x86_64") or "")
    made = path.stat()
    assert made.st_mode & 0o7777 == 0o755 and made.st_size < 4096
    assert init.path(str(tmp_path), "x86_64") == str(path) and path.stat().st_ino == made.st_ino
    path.write_bytes(b"something else")
    init.path(str(tmp_path), "x86_64")
    assert path.stat().st_size == made.st_size
    assert [entry.name for entry in tmp_path.iterdir()] == ["docker-init"]


def test_other_machines_have_none(tmp_path: Path) -> None:
    assert init.path(str(tmp_path), "s390x") is None
