"""Kist as `pip install` gives it: the wheel alone, in a virtual environment elsewhere; and with a library missing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.daemon import ROOT, Daemon
from support.hub import Hub
from support.processes import ENVIRONMENT, PYTHON

SEALERS = "/var/cache/kist/runtime"  # runtime/sealer.py
# $1: a folder, $2: a library, which the command behind them can't find.
HIDE = """
set -e
lib=$(dirname "$(/sbin/ldconfig -p | sed -n "s,.*/$2\\$,&,p" | sed 's,.*=> ,,' | head -n 1)")
lib=$(readlink -f "$lib")
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work"
mount -t overlay overlay -o "lowerdir=$lib,upperdir=$1/upper,workdir=$1/work" "$lib"
rm "$lib/$2"*
shift 2
exec "$@"
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A virtual environment with Kist's wheel, and the dependencies of the one that the tests run in.

    Built from a copy: the wheel must not pick up what an earlier build left in the checkout."""
    folder = tmp_path_factory.mktemp("installed")
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / name)
    _python(PYTHON, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(folder / "wheel"),
            str(folder))
    shutil.rmtree(folder / "src")
    venv = folder / "venv"
    _install(venv, folder)
    yield venv
    shutil.rmtree(f"{SEALERS}{folder}", ignore_errors=True)


def _install(venv: Path, folder: Path) -> None:
    _python(PYTHON, "-m", "venv", "--without-pip", str(venv))
    wheel = next((folder / "wheel").glob("kist-*.whl"))
    _pip(venv, "install", "--no-deps", "--no-index", str(wheel))
    site = next(venv.glob("lib/python*/site-packages"))
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")


def _pip(venv: Path, *words: str) -> None:
    _python(PYTHON, "-m", "pip", "--python", str(venv / "bin/python"), "-q", *words)


def _python(*words: str, env: dict[str, str] = ENVIRONMENT) -> None:
    done = subprocess.run(words, capture_output=True, text=True, env=env, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


class Installed(Daemon):
    """No server of ours: the installed command starts its own, when it needs one."""

    def __init__(self, venv: Path, folder: Path, mirror: str) -> None:
        self.command_words = [str(venv / "bin/kist")]
        super().__init__(folder, mirror=mirror)
        del self.env["KIST_HOST"]  # who names a server gets none started

    def start(self) -> None:
        self.process = subprocess.Popen(["true"])
        self.process.wait()

    def kist(self, *args: str, **options: Any) -> subprocess.CompletedProcess[str]:
        return self.command(*self.command_words, *args, **{"cwd": "/", **options})

    def close(self) -> None:
        if (self.run / "kist.sock").exists():
            self.clean()
        super().close()


@pytest.fixture
def elsewhere(installed: Path, hub: Hub, tmp_path: Path) -> Iterator[Installed]:
    running = Installed(installed, tmp_path, hub.url)
    yield running
    running.close()


def test_the_wheel_alone_is_a_working_kist(elsewhere: Installed) -> None:
    done = elsewhere.kist("run", "--rm", "busybox", "echo", "hi")
    assert (done.returncode, done.stdout) == (0, "hi\n"), done.stderr
    assert "kist: started the server" in done.stderr
    cid = elsewhere.ok("run", "-d", "busybox", "sleep", "100")
    assert elsewhere.ok("exec", cid, "echo", "in") == "in"
    assert "Seccomp:\t2" in elsewhere.ok("exec", cid, "grep", "Seccomp:", "/proc/self/status")
    elsewhere.kist("rm", "-f", cid)


BASE = os.path.realpath(sys.executable)  # with directories of its own and the user's, as a virtual environment has none
SCHEMES = {
    "user": ("--user",),  # ~/.local/lib/python3.11/site-packages
    "system": ("--root", "{folder}"),  # Debian: /usr/local/lib/python3.11/dist-packages
    "prefix": ("--prefix", "{folder}"),
    "target": ("--target", "{folder}"),  # lib/ has nothing of it: PYTHONPATH must say so, as for any such command
}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_command_starts_wherever_pip_puts_it(installed: Path, tmp_path: Path, scheme: str) -> None:
    """The interpreter that runs it reads no site directories, and finds in them what a command needs."""
    options = [word.format(folder=tmp_path) for word in SCHEMES[scheme]]
    env = {**ENVIRONMENT, "HOME": str(tmp_path), "PIP_BREAK_SYSTEM_PACKAGES": "1", "PIP_NO_COMPILE": "1"}
    _python(PYTHON, "-m", "pip", "--python", BASE, "-q", "install", "--no-deps", "--no-index", *options,
            str(next(installed.parent.glob("wheel/kist-*.whl"))), env=env)
    kist = next(tmp_path.rglob("bin/kist"))
    assert os.access(kist, os.X_OK)
    if scheme == "target":
        env["PYTHONPATH"] = str(tmp_path)
    try:
        for words in (["--version"], ["oci", "--version"]):
            done = subprocess.run([kist, *words], capture_output=True, text=True, cwd="/", env=env, check=False,
                                  timeout=60)
            assert done.stdout.partition(" version ")[0] in ("Kist", "kist-runtime"), done.stderr
    finally:
        shutil.rmtree(f"{SEALERS}{tmp_path}", ignore_errors=True)
    done = subprocess.run([kist, "events"], capture_output=True, text=True, cwd="/", check=False, timeout=60,
                          env={**env, "PYTHONVERBOSE": "1", "KIST_HOST": "unix:///nonexistent"})
    assert "kist.cli.commands.events" in done.stderr
    assert ("import 'site' #" in done.stderr) == (scheme == "target")


def test_every_file_of_the_package_is_in_the_wheel(installed: Path) -> None:
    site = next(installed.glob("lib/python*/site-packages"))
    there = {str(path.relative_to(ROOT / "src")) for path in (ROOT / "src/kist").rglob("*")
             if path.is_file() and "__pycache__" not in path.parts}
    assert {name for name in there if not (site / name).is_file()} == set()


@pytest.mark.parametrize("program", ["kist", "kistd", "kist-runtime"])
def test_the_commands_are_there(installed: Path, program: str) -> None:
    done = subprocess.run([installed / "bin" / program, "--help"], capture_output=True, text=True, cwd="/",
                          env=ENVIRONMENT, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "sage:" in done.stdout


# Whoever has loaded the runtime's modules says from what kind of mount it did.
SEALED = "import os\nprint(bool(os.statvfs('/proc/self/exe').f_flag & os.ST_RDONLY))\n"


def test_the_runtimes_second_command_starts_by_a_sealer(installed: Path, tmp_path: Path) -> None:
    """`--version` isn't sealed otherwise: it enters no container."""
    venv = tmp_path / "venv"
    _install(venv, installed.parent)
    start = next(venv.glob("lib/python*/site-packages/kist/runtime/start.py"))
    start.write_text(start.read_text().replace("def main(", f"{SEALED}def main("))

    def said(*words: str) -> str:
        return subprocess.run([*words, "--version"], text=True, cwd="/", env={}, check=True, timeout=60,
                              stdout=subprocess.PIPE).stdout.partition("\n")[0]

    runtime = str(venv / "bin/kist-runtime")
    try:
        assert [said(runtime), said(runtime)] == ["False", "True"]
        assert said(str(venv / "bin/kist"), "oci") == "True"
        sealers = [path for path in Path(f"{SEALERS}{venv}").rglob("*") if path.is_file()]
        assert sealers == [Path(f"{SEALERS}{runtime}")]
        _pip(venv, "uninstall", "-y", "kist")
        left = {path.name for path in (*start.parents[1].rglob("*"), *(venv / "bin").glob("kist*")) if path.is_file()}
        assert left == {f"modules.{sys.implementation.cache_tag}"}  # a cache, as the sealer is
    finally:
        shutil.rmtree(f"{SEALERS}{tmp_path}")


@pytest.mark.parametrize(("file", "package"), [
    ("libseccomp.so.2", "libseccomp2"), ("libnftables.so.1", "libnftables1")])
def test_a_missing_library_is_named_by_the_first_command_that_needs_it(
        elsewhere: Installed, tmp_path: Path, file: str, package: str) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    elsewhere.command_words = ["unshare", "-m", "sh", "-c", HIDE, "sh", str(hidden), file,
                               *elsewhere.command_words]
    done = elsewhere.kist("run", "--rm", "busybox", "echo", "hi")
    assert file.partition(".")[0] in done.stderr, done.stderr
    assert package in done.stderr
    assert done.returncode == 125, done.stderr
    assert "Traceback" not in done.stderr
    if (elsewhere.run / "kist.sock").exists():
        assert elsewhere.ok("ps", "-aq") == ""
