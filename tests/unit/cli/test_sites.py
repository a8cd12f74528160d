"""The command line's interpreter reads no site directories until a module is missing, and then finds what any would."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.fake_engine import FakeEngine

SRC = Path(__file__).resolve().parents[3] / "src"
START = str(SRC / "kist/cli/start.py")
LIB = f"lib/python3.{sys.version_info.minor}"
PROGRAM = """
import sys
sys.path.append({src!r})
from kist.cli.sites import MissingModules
sys.path.pop()
sys.meta_path.append(MissingModules())
import kist.errors, struct
assert "site" not in sys.modules
{then}
"""


def said(then: str, *, python: str = sys.executable, **env: str) -> str:
    return subprocess.run([python, "-S", "-P", "-c", PROGRAM.format(src=str(SRC), then=then)], env=env,
                          stdout=subprocess.PIPE, text=True, check=True, timeout=60).stdout


def test_a_module_of_a_site_directory_is_found() -> None:
    assert said("import pytest, h11\nprint('site' in sys.modules, sys.prefix)") == f"True {sys.prefix}\n"


def test_what_is_nowhere_is_not_found() -> None:
    then = "for name in ('nowhere', 'nowhere.at.all', 'kist.nowhere', 'h11.nowhere', 'nowhere'):\n" \
           "    try: __import__(name)\n" \
           "    except ModuleNotFoundError as error: print(error)"
    assert said(then).splitlines() == [f"No module named '{name}'" for name in (
        "nowhere", "nowhere", "kist.nowhere", "h11.nowhere", "nowhere")]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """With a site directory of the user's, in which a file makes modules of other places known."""
    site = tmp_path / ".local" / LIB / "site-packages"
    site.mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    for path in (site / "users.py", tmp_path / "elsewhere/lies.py", tmp_path / "elsewhere/other.py",
                 tmp_path / "elsewhere/from_pth.py"):
        path.write_text("print(__name__)\n")
    (site / "a.pth").write_text(f"{tmp_path}/elsewhere\nimport absent_or_not\nimport from_pth\n")
    (site / "absent_or_not.py").touch()
    return tmp_path


def test_the_users_own_directory_and_pth_files(home: Path) -> None:
    python = os.path.realpath(sys.executable)  # a virtual environment has no user
    assert said("import lies, users, lies", python=python, HOME=str(home)) == "from_pth\nlies\nusers\n"
    with pytest.raises(subprocess.CalledProcessError):
        said("import users", python=python, HOME=str(home), PYTHONNOUSERSITE="1")


def test_a_pth_file_that_fails_does_no_harm(home: Path) -> None:
    (home / ".local" / LIB / "site-packages/absent_or_not.py").unlink()
    assert said("import users", python=os.path.realpath(sys.executable), HOME=str(home)) == "users\n"


def test_pythonpath_counts(home: Path) -> None:
    assert said("import other", PYTHONPATH=str(home / "elsewhere")) == "other\n"


def test_many_threads_miss_at_once() -> None:
    then = "import threading, _thread\n" \
           "names = ['h11', 'rich', 'msgspec', 'urllib3', 'starlette', 'nowhere'] * 3\n" \
           "found = []\n" \
           "def look(name):\n" \
           "    try: found.append(__import__(name).__name__)\n" \
           "    except ModuleNotFoundError as error: found.append(str(error))\n" \
           "threads = [threading.Thread(target=look, args=(name,)) for name in names]\n" \
           "for thread in threads: thread.start()\n" \
           "for thread in threads: thread.join()\n" \
           "print(*sorted(found), sep='\\n')"
    assert said(then).splitlines() == sorted(
        ["h11", "rich", "msgspec", "urllib3", "starlette", "No module named 'nowhere'"] * 3)


def imported(start: str, *words: str) -> set[str]:
    """By the interpreter that runs `start` (not by one that takes its place)."""
    done = subprocess.run([sys.executable, "-S", "-P", "-X", "importtime", start, *words], capture_output=True,
                          text=True, check=False, timeout=60, env={})
    assert done.returncode == 0, done.stderr
    assert done.stdout
    return {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if "|" in line}


def test_usual_commands_need_no_site_directories(engine: FakeEngine) -> None:
    run = ["run", "-d", "--name", "x", "-e", "A=1", "busybox", "true"]
    for words in (run, ["ps"], ["stop", "x"], ["rm", "x"]):
        modules = imported(START, "-H", engine.host, *words)
        assert {"kist.cli.sites", "kist.cli.__main__"} <= modules
        assert "site" not in modules, words


@pytest.mark.parametrize("minor", [sys.version_info.minor, 99])
def test_a_package_of_another_python_is_not_used(tmp_path: Path, minor: int) -> None:
    """Two Pythons may have one directory of scripts. This one's Kist is where `-m kist.cli` finds it."""
    packages = tmp_path / f"lib/python3.{minor}/site-packages"
    packages.mkdir(parents=True)
    (packages / "kist").symlink_to(SRC / "kist")
    modules = imported(str(packages / "kist/cli/start.py"), "--version")
    assert ("kist.cli.__main__" in modules) == (minor != 99)
