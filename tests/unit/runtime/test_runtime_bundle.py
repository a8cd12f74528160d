"""The bundle of modules that the command reads in place of fifty files: made by itself, never stale."""

from __future__ import annotations

import marshal
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kist.runtime.bundle import pack
from kist.runtime.start import parts

SOURCE = Path(__file__).resolve().parents[3] / "src" / "kist"


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """The runtime's sources in a place of their own, without any cache."""
    copy = tmp_path / "kist"
    for part in ("runtime", "linux"):
        shutil.copytree(SOURCE / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("__init__.py", "version.py"):
        shutil.copy(SOURCE / name, copy)
    return copy


def version(package: Path, *flags: str) -> str:
    command = [sys.executable, "-I", "-S", *flags, str(package / "runtime" / "start.py"), "--version"]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.split()[2]


def bundle(package: Path) -> Path:
    return package / "runtime" / "__pycache__" / f"modules.{sys.implementation.cache_tag}"


def change(package: Path, text: str) -> None:
    """Another version, in the source."""
    path = package / "version.py"
    path.write_text(path.read_text().replace('VERSION = "', f'VERSION = "{text}', 1))


def with_version(package: Path, text: str) -> None:
    """Another version, in the bundle only."""
    _python, index, codes = parts(bundle(package).read_bytes())
    modules = {name: (source, mtime, size, is_package, bytes(codes[begin:end]))
               for name, (source, mtime, size, is_package, begin, end) in index.items()}
    code = compile(f"VERSION = {text!r}", "elsewhere", "exec")
    modules["kist.version"] = (*modules["kist.version"][:4], marshal.dumps(code))
    bundle(package).write_bytes(pack(modules))


def test_it_is_made_by_the_first_command_and_used_by_the_next(package: Path) -> None:
    first = version(package)
    assert bundle(package).exists()
    with_version(package, "9.9")
    assert version(package) == "9.9" != first
    assert not [name for name in os.listdir(bundle(package).parent) if name.startswith(f"{bundle(package).name}.")]


def test_a_changed_source_counts_at_once(package: Path) -> None:
    before = version(package)
    change(package, "5.")
    assert version(package) == f"5.{before}"
    with_version(package, "9.9")  # the stamps are the changed source's: the bundle was made anew
    assert version(package) == "9.9"


@pytest.mark.parametrize("seconds", [-1, 1])
def test_a_source_of_the_same_size_with_another_time_counts(package: Path, seconds: int) -> None:
    """The time may go back: an older version was installed."""
    version(package)
    path = package / "version.py"
    info = path.stat()
    path.write_text(path.read_text().replace('VERSION = "0', 'VERSION = "7', 1))
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns + seconds * 10**9))
    assert version(package).startswith("7")


def test_a_module_that_is_gone_is_gone(package: Path) -> None:
    version(package)
    (package / "version.py").unlink()
    with pytest.raises(subprocess.CalledProcessError) as failure:
        version(package)
    assert "kist.version" in failure.value.stderr


@pytest.mark.parametrize("garbage", [
    b"", b"no bundle", b"\xff" * 50, pack({"kist": ("", 0, 0, True, b"code")})[:-1],
    b"\5" + bytes(7) + marshal.dumps(7), pack({}, "another python")])
def test_what_is_no_bundle_does_no_harm(package: Path, garbage: bytes) -> None:
    expected = version(package)
    whole = bundle(package).stat().st_size
    bundle(package).write_bytes(garbage)
    assert version(package) == expected
    assert bundle(package).stat().st_size == whole


def test_where_nothing_can_be_written_the_command_works(package: Path) -> None:
    assert version(package, "-B")
    cache = package / "runtime" / "__pycache__"
    if cache.exists():
        shutil.rmtree(cache)
    cache.write_text("no directory")
    assert version(package, "-B")
    assert cache.read_text() == "no directory"


def test_every_module_of_the_command_is_in_it(package: Path) -> None:
    """None of the verbs needs one that isn't: it would make the bundle anew each time."""
    version(package)
    modules = parts(bundle(package).read_bytes())[1]
    for part in ("runtime", "linux"):
        for path in (package / part).rglob("*.py"):
            name = ".".join(path.relative_to(package.parent).with_suffix("").parts).removesuffix(".__init__")
            assert modules[name][0] == str(path)
