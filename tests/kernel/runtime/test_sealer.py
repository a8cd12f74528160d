"""The sealer that starts the command's interpreter: left by the first command, never stale, and nothing hangs on it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from kist.linux.machine import MACHINES
from kist.linux.process import PR_CAPBSET_DROP, prctl
from kist.runtime.sealer import CACHE, program
from support import needs

SRC = Path(__file__).resolve().parents[3] / "src"
KIST = """#!/bin/sh
echo slowly >>"${0%/*}/log"
[ "$1" = oci ] && shift
exec "${0%/*}/python" -I -S "${0%/*}/../lib/kist/runtime/start.py" "$@"
"""


class Installation:
    """What pip would leave, with a `kist` that notes down each slow start, and sources of its own."""

    def __init__(self, folder: Path) -> None:
        self.bin, self.package = folder / "bin", folder / "lib/kist"
        self.script = self.bin / "kist-runtime"
        self.sealer = Path(f"{CACHE}{self.script}")
        for part in ("runtime", "linux"):
            shutil.copytree(SRC / "kist" / part, self.package / part,
                            ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("__init__.py", "version.py"):
            shutil.copy(SRC / "kist" / name, self.package)
        self.bin.mkdir()
        shutil.copy(SRC / "bin/kist-runtime", self.script)
        (self.bin / "python").symlink_to(os.path.realpath(sys.executable))
        (self.bin / "kist").write_text(KIST)
        (self.bin / "kist").chmod(0o755)

    def __call__(self, *words: str, name: str | None = None, status: int = 0, **options: Any) -> str:
        """What the command says to `words`, called as `name`."""
        command = [name or str(self.script), *(words or ("--version",))]
        done = subprocess.run(command, text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, check=False, timeout=60, **options)
        assert done.returncode == status, done.stdout
        return str(done.stdout)

    def slow_starts(self) -> int:
        """Since it was last asked."""
        log = self.bin / "log"
        count = len(log.read_text().splitlines()) if log.exists() else 0
        log.unlink(missing_ok=True)
        return count

    def warm(self) -> None:
        self()
        assert self.slow_starts() == 1
        self()
        assert self.slow_starts() == 0


@pytest.fixture
def installation() -> Iterator[Installation]:
    """Where other users may look, too."""
    with tempfile.TemporaryDirectory(prefix="kist-sealer-") as name:
        os.chmod(name, 0o755)
        made = Installation(Path(name) / "a place")
        yield made
    shutil.rmtree(f"{CACHE}{name}", ignore_errors=True)


def test_the_first_command_leaves_one_and_the_next_uses_it(installation: Installation) -> None:
    installation.warm()
    assert installation.sealer.stat().st_size < 4096
    assert installation.sealer.stat().st_mode & 0o777 == 0o755
    assert os.listdir(installation.sealer.parent) == ["kist-runtime"]


def test_words_arrive_as_they_are(installation: Installation) -> None:
    installation.warm()
    for word in ("two words", "*", "", "$0"):
        assert f"msg=\"no such command: {word}\"\n" in installation(word, status=1)
    many = [f"--log-level={number:04}" for number in range(3000)]
    assert installation(*many, "--version", env={}).startswith("kist-runtime version")
    assert installation.slow_starts() == 0


@pytest.mark.parametrize("way", ["link", "link to the folder", "relative", "no slash", "search", "descriptor"])
def test_however_it_is_called(installation: Installation, tmp_path: Path, way: str) -> None:
    (tmp_path / "ln").symlink_to(installation.script)
    (tmp_path / "folder").symlink_to(installation.bin)
    script = os.open(installation.script, os.O_RDONLY)
    ways: dict[str, tuple[str, dict[str, Any]]] = {
        "link": (str(tmp_path / "ln"), {}),
        "link to the folder": (str(tmp_path / "folder/kist-runtime"), {}),
        "relative": ("./kist-runtime", {"cwd": installation.bin}),
        "no slash": ("sh", {"cwd": installation.bin}),
        "search": ("kist-runtime", {"env": {"PATH": f"{installation.bin}:{os.environ['PATH']}"}}),
        "descriptor": (f"/dev/fd/{script}", {"pass_fds": (script,)}),  # as sudo may
    }
    name, options = ways[way]
    words = ("kist-runtime", "--version") if way == "no slash" else ()
    try:
        for expected in (1, 0, 0):
            assert installation(*words, name=name, **options).startswith("kist-runtime version")
            assert installation.slow_starts() == expected
    finally:
        os.close(script)


@pytest.mark.parametrize("way", ["itself", "link", "link to the folder", "relative"])
def test_the_command_of_the_client_uses_it(installation: Installation, tmp_path: Path, way: str) -> None:
    """`kist oci`, without an interpreter before the sealed one: there is none that its script could find."""
    installation.warm()
    (installation.bin / "kist").write_bytes((SRC / "bin/kist").read_bytes())
    (tmp_path / "ln").symlink_to(installation.bin / "kist")
    (tmp_path / "folder").symlink_to(installation.bin)
    name = {"itself": str(installation.bin / "kist"), "link": str(tmp_path / "ln"),
            "link to the folder": str(tmp_path / "folder/kist"), "relative": "./kist"}[way]
    assert installation("oci", "--version", name=name, cwd=installation.bin).startswith("kist-runtime version")
    assert "msg=\"no such command: two words\"\n" in installation("oci", "two words", name=name, status=1,
                                                                 cwd=installation.bin)
    installation.sealer.unlink()
    assert "no kistd beside" in installation("oci", "--version", name=name, status=127, cwd=installation.bin)


def _touch(path: Path) -> None:
    info = path.stat()
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns - 1))


def _grow(path: Path) -> None:
    """The time is as it was."""
    info = path.stat()
    path.write_text(path.read_text() + "#\n")
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))


def _another_python(path: Path) -> None:
    copy = path.with_name("python.new")
    shutil.copy(os.path.realpath(path), copy)
    copy.replace(path)


@pytest.mark.parametrize(("file", "change"), [
    ("lib/kist/runtime/start.py", _touch), ("lib/kist/runtime/start.py", _grow),
    (f"lib/kist/runtime/__pycache__/start.{sys.implementation.cache_tag}.pyc", _touch),
    (f"lib/kist/runtime/__pycache__/start.{sys.implementation.cache_tag}.pyc", Path.unlink),
    ("bin/python", _another_python)])
def test_what_it_was_made_for_has_changed(installation: Installation, file: str, change: object) -> None:
    installation.warm()
    change(installation.bin.parent / file)  # type: ignore[operator]
    installation.warm()


def test_a_sealer_for_another_interpreter_than_there_is(installation: Installation) -> None:
    installation.warm()
    (installation.bin / "python").unlink()
    assert "not found" in installation(status=127)
    assert installation.slow_starts() == 1
    (installation.bin / "kist").unlink()
    assert installation(status=127) == "kist-runtime: Kist has moved: install it again\n"


def test_a_package_that_has_moved(installation: Installation) -> None:
    installation.warm()
    moved = installation.bin.parent / "elsewhere"
    (installation.bin.parent / "lib").rename(moved)
    text = (installation.bin / "kist").read_text()
    (installation.bin / "kist").write_text(text.replace("/../lib/", "/../elsewhere/"))
    installation.warm()


@pytest.mark.parametrize("mode", [0o644, None])
def test_what_cannot_be_executed_does_no_harm(installation: Installation, mode: int | None) -> None:
    installation.warm()
    installation.sealer.unlink()
    if mode is None:
        installation.sealer.mkdir()
    else:
        installation.sealer.write_text("")
        installation.sealer.chmod(mode)
    assert installation().startswith("kist-runtime version")
    assert installation.slow_starts() == 1


def _without_sys_admin() -> None:
    prctl(PR_CAPBSET_DROP, 21)  # a root that executes anything loses it


NOBODY: dict[str, Any] = {"user": 65534, "group": 65534, "extra_groups": []}


@pytest.mark.parametrize("who", [NOBODY, {"preexec_fn": _without_sys_admin}])
def test_who_may_not_seal_starts_slowly(installation: Installation, who: dict[str, Any]) -> None:
    installation.warm()
    installation.bin.chmod(0o777)  # for the note
    assert installation(**who).startswith("kist-runtime version")
    assert installation.slow_starts() == 1


def test_without_privilege_nothing_is_left(installation: Installation) -> None:
    installation.bin.chmod(0o777)
    assert installation(**NOBODY).startswith("kist-runtime version")
    assert not installation.sealer.parent.exists()


def test_many_at_once(installation: Installation) -> None:
    with ThreadPoolExecutor(8) as pool:
        said = list(pool.map(lambda _: installation(), range(16)))
    assert len(set(said)) == 1
    installation()
    installation.slow_starts()
    installation()
    assert installation.slow_starts() == 0
    assert os.listdir(installation.sealer.parent) == ["kist-runtime"]


def test_nobody_else_may_write_there(installation: Installation) -> None:
    """Whatever the umask of the first caller was."""
    installation(umask=0)
    for path in (installation.sealer, *installation.sealer.parents):
        if str(path).startswith(CACHE):
            assert path.stat().st_uid == 0
            assert path.stat().st_mode & 0o022 == 0, path


def test_a_script_that_is_gone_is_forgotten(installation: Installation) -> None:
    gone = Installation(installation.bin.parents[1] / "gone")
    gone.warm()
    shutil.rmtree(gone.bin.parent)
    installation.warm()
    assert not gone.sealer.parent.exists()


@pytest.mark.parametrize("machine", sorted(MACHINES))
def test_the_program_on_each_machine(tmp_path: Path, machine: str) -> None:
    """Emulated as far as the emulator knows the calls: the comparison, and the way back."""
    (tmp_path / "kist").write_text('#!/bin/sh\necho "kist" "$@" "$A"\n')
    (tmp_path / "kist").chmod(0o755)
    (tmp_path / "start").write_text('import os, sys\nsealed = os.statvfs("/proc/self/exe").f_flag & os.ST_RDONLY\n'
                                    'print(sealed, *sys.argv[1:], os.environ["A"])\n')
    files = [(name, os.stat(name).st_size, os.stat(name).st_mtime_ns) for name in (sys.executable, f"{tmp_path}/start")]
    made = program(MACHINES[machine](), f"{tmp_path}/script", sys.executable, f"{tmp_path}/start", files)
    (tmp_path / "sealer").write_bytes(made)
    (tmp_path / "sealer").chmod(0o755)
    command = [str(tmp_path / "sealer"), "a b", "c"]
    native = machine == os.uname().machine
    if not native:
        needs.program(f"qemu-{machine}")
        command = [str(shutil.which(f"qemu-{machine}")), *command]

    def said() -> str:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, env={"A": "x y"}).stdout

    quickly, slowly = "1 a b c x y\n", f"kist oci --script {tmp_path}/script a b c x y\n"
    assert said() in ([quickly] if native else [quickly, slowly])
    os.utime(tmp_path / "start", ns=(0, files[1][2] + 1))
    assert said() == slowly


def test_the_places_agree() -> None:
    """The scripts can't import the constant."""
    assert f"\nsealers={CACHE}\n" in (SRC / "bin/kist-runtime").read_text()
    assert f"\nkist_sealer={CACHE}${{0%/*}}/kist-runtime\n" in (SRC / "bin/kist").read_text()
