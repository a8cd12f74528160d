"""The script `src/bin/kist`: it finds interpreter and package where pip puts them, and hands on what it was given."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kist.cli.settings import Settings

SCRIPTS = Path(__file__).resolve().parents[3] / "src" / "bin"
SITE = f"lib/python3.{sys.version_info.minor}/site-packages"
# In place of what the script starts: how it was started, and with what.
REPORT = """
import json, os, sys
print(json.dumps([{way!r}, sys.orig_argv[1:], dict(os.environ)]))
sys.exit(7)
"""
WAYS = {"lean": "kist/cli/start.py", "ordinary": "kist/cli/__main__.py", "runtime": "kist/runtime/start.py"}


class Layout:
    """What pip leaves in `prefix`: the scripts, and a package in `site`."""

    def __init__(self, prefix: Path, site: str = SITE, shebang: str = f"#!{sys.executable}\n") -> None:
        self.bin, self.packages = prefix / "bin", prefix / site
        self.bin.mkdir(parents=True)
        for name in ("kist", "kist-runtime"):
            (self.bin / name).write_bytes((SCRIPTS / name).read_bytes())
            (self.bin / name).chmod(0o755)
        (self.bin / "kistd").write_text(shebang + "import sys\n")
        package(self.packages)

    def __call__(self, *words: str, name: str | os.PathLike[str] = "", way: str = "lean",
                 env: dict[str, str] | None = None, **options: Any) -> Any:
        """The words that arrived, and the environment."""
        done = run(name or self.bin / "kist", *words, env={"PYTHONPATH": str(self.packages), **(env or {})}, **options)
        assert done.returncode == 7, done.stderr
        taken, command, environment = json.loads(done.stdout)
        assert taken == way
        start = {"lean": ["-S", "-P", str(self.packages / WAYS[way])], "ordinary": ["-P", "-m", "kist.cli"],
                 "runtime": ["-I", "-S", str(self.packages / WAYS[way])]}[way]
        assert [os.path.realpath(word) if word[0] == "/" else word for word in command[:len(start)]] == [
            os.path.realpath(word) if word[0] == "/" else word for word in start]
        return command[len(start):], environment


def package(packages: Path) -> None:
    for way, name in WAYS.items():
        path = packages / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(REPORT.format(way=way))
        (path.parent / "__init__.py").touch()
    (packages / "kist" / "__init__.py").touch()


def run(*words: str | os.PathLike[str], env: dict[str, str], **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=60,
                          env={"PATH": os.environ["PATH"], **env}, **options)


WORDS = ("two words", "*", "", "$0", "-x", "--", "a\nb", "\\n", "'")


@pytest.mark.parametrize("site", [SITE, "lib/python3/dist-packages", f"{SITE[:-13]}dist-packages"])
def test_words_arrive_as_they_are(tmp_path: Path, site: str) -> None:
    assert Layout(tmp_path, site)(*WORDS)[0] == list(WORDS)


def test_the_environment_arrives_as_it_was(tmp_path: Path) -> None:
    """`kist run -e lib` hands it on."""
    names = {"lib": "1", "bin": "2", "package": "3", "python": "4", "found": "5", "script": "6", "n": "\n",
             "ENV": "/nonexistent", "A": "\u00e9 *"}
    environment = Layout(tmp_path)(env=names)[1]
    assert {name: environment.get(name) for name in names} == names
    assert not [name for name in environment if name.startswith("kist")]


@pytest.mark.parametrize("words", [
    ("run", "-e", "a.b", "x"), ("run", "-ea.b"), ("run", "--env", "1A"), ("exec", "-ite", "a.b"), ("run", "--env=a.b"),
    ("create", "--env-file", "f"), ("create", "--env-file=f")])
def test_variables_that_no_shell_can_name_arrive_where_they_may_be_asked_for(tmp_path: Path,
                                                                             words: tuple[str, ...]) -> None:
    environment = Layout(tmp_path)(*words, env={"a.b": "1\n2", "1A": "=\u00e9"})[1]
    settings = Settings(environment, 0)
    assert [settings.dropped(name) for name in ("a.b", "1A", "a")] == ["1\n2", "=\u00e9", None]


@pytest.mark.parametrize("words", [
    ("run", "-e", "a.b=c"), ("run", "-ea.b=c"), ("run", "--env", "A", "-e", "_B1", "a.b"), ("run", "--env=a.b=c"),
    ("run", "--name", "a.b"), ("ps", "-a.b")])
def test_and_nowhere_else(tmp_path: Path, words: tuple[str, ...]) -> None:
    """It takes a process."""
    assert "kist_environ" not in Layout(tmp_path)(*words, env={"a.b": "1"})[1]


def test_more_than_a_variable_can_hold_is_left_out(tmp_path: Path) -> None:
    environment = Layout(tmp_path)("-e", "a.b", env={"a.b": "1", "LONG": "x" * 80_000})[1]
    assert environment["LONG"] == "x" * 80_000 and "kist_environ" not in environment


def test_few_descriptors(tmp_path: Path) -> None:
    """dash needs the numbers 10 and 11. With fewer it says so, and nothing else is tried."""
    layout = Layout(tmp_path)
    limited = ("sh", "-c", 'ulimit -n "$0" && exec "$@"')
    done = run(*limited, "12", layout.bin / "kist", "a", env={"PYTHONPATH": str(layout.packages)})
    assert done.returncode == 7, done.stderr
    done = run(*limited, "11", layout.bin / "kist", "a", env={"PYTHONPATH": str(layout.packages)})
    assert done.returncode in (2, 7, 126) and "Permission denied" not in done.stderr


@pytest.mark.parametrize("way", ["link", "link to a link", "link to the folder", "link to the prefix", "relative",
                                 "no slash", "search", "search in .", "descriptor", "dots", "another name"])
def test_however_it_is_called(tmp_path: Path, way: str) -> None:
    layout = Layout(tmp_path / "a" / "prefix")
    (tmp_path / "ln").symlink_to(layout.bin / "kist")
    (tmp_path / "ln2").symlink_to("ln")
    (tmp_path / "folder").symlink_to(layout.bin)
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/prefix").symlink_to(layout.bin.parent)
    script = os.open(layout.bin / "kist", os.O_RDONLY)
    ways: dict[str, tuple[list[str], dict[str, Any]]] = {
        "link": ([str(tmp_path / "ln")], {}),
        "link to a link": ([str(tmp_path / "ln2")], {}),
        "link to the folder": ([str(tmp_path / "folder/kist")], {}),
        "link to the prefix": ([str(tmp_path / "deep/prefix/bin/kist")], {}),
        "relative": (["./kist"], {"cwd": layout.bin}),
        "no slash": (["sh", "kist"], {"cwd": layout.bin}),
        "search": (["kist"], {"env": {"PATH": f"{layout.bin}:{os.environ['PATH']}"}}),
        "search in .": (["kist"], {"cwd": layout.bin, "env": {"PATH": f":{os.environ['PATH']}"}}),
        "descriptor": ([f"/dev/fd/{script}"], {"pass_fds": (script,)}),  # as sudo may
        "dots": ([str(tmp_path / "deep/prefix/../prefix/bin/kist")], {}),  # a/prefix, not deep/prefix
        "another name": (["bash", "-c", 'exec -a name "$0" "$@"', str(layout.bin / "kist")], {}),
    }
    (name, *more), options = ways[way]
    try:
        assert layout(*more, "a", "b", name=name, **options)[0] == ["a", "b"]
        assert layout(*more, "oci", "a", "b", name=name, way="runtime", **options)[0] == [
            "--script", str(layout.bin / "kist-runtime"), "a", "b"]
    finally:
        os.close(script)


@pytest.mark.parametrize("folder", ["two words", "-x", "$HOME `x` \\n", "*[a]?", "it's", "a\nb", "x" * 120])
def test_odd_names_of_folders(tmp_path: Path, folder: str) -> None:
    layout = Layout(tmp_path / folder)
    assert layout("a", "b")[0] == ["a", "b"]
    assert layout("a", name="bin/kist", cwd=tmp_path / folder)[0] == ["a"]
    assert layout("oci", "a", way="runtime")[0] == ["--script", str(layout.bin / "kist-runtime"), "a"]


@pytest.mark.parametrize("quote", ['"', "'", ""])
def test_an_interpreter_that_fits_in_no_first_line(tmp_path: Path, quote: str) -> None:
    """What pip (distlib) and uv write then."""
    folder = tmp_path / ("two words" if quote else "x" * 120)
    folder.mkdir()
    (folder / "python").symlink_to(sys.executable)
    layout = Layout(tmp_path, shebang=f"#!/bin/sh\n'''exec' {quote}{folder}/python{quote} \"$0\" \"$@\"\n' '''\n")
    assert layout("a")[0] == ["a"]


@pytest.mark.parametrize("line", ["#! {python}", "#!{python} -sP", "#!/usr/bin/env python-of-mine"])
def test_an_interpreter_in_another_packager_s_words(tmp_path: Path, line: str) -> None:
    (tmp_path / "python-of-mine").symlink_to(sys.executable)
    layout = Layout(tmp_path, shebang=line.format(python=sys.executable) + "\n")
    assert layout("a", env={"PATH": f"{tmp_path}:{os.environ['PATH']}"})[0] == ["a"]


def test_an_editable_install(tmp_path: Path) -> None:
    layout = Layout(tmp_path, "a checkout/src")
    site = tmp_path / SITE
    site.mkdir(parents=True)
    (site / "__editable__.kist-0.1.0.pth").write_text(f"{layout.packages}\n")
    assert layout("a")[0] == ["a"]
    (site / "__editable__.kist-0.1.0.pth").write_text("import __editable___kist_0_1_0_finder\n")
    assert layout("a", way="ordinary")[0] == ["a"]


@pytest.mark.parametrize("words", [(), ("oci", "--script", "/x/kist-runtime"), ("oci-x",)])
def test_two_packages_and_none(tmp_path: Path, words: tuple[str, ...]) -> None:
    """The interpreter knows which one is its own."""
    layout = Layout(tmp_path)
    package(tmp_path / "lib/python3.99/site-packages")
    assert layout(*words, way="ordinary")[0] == list(words)
    for folder in ("lib/python3.99", SITE):
        (tmp_path / folder).rename(tmp_path / folder.replace("/", "-"))
    layout.packages = tmp_path / SITE.replace("/", "-")
    assert layout(*words, way="ordinary")[0] == list(words)


def test_oci_is_the_runtime(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    script = str(layout.bin / "kist-runtime")
    assert layout("oci", *WORDS, way="runtime")[0] == ["--script", script, *WORDS]
    assert layout("oci", "--script", "x", "y", way="runtime")[0] == ["--script", "x", "y"]
    assert layout("--debug", "oci", "x")[0] == ["--debug", "oci", "x"]
    (layout.bin / "kist-runtime").unlink()
    assert layout("oci", "x", way="runtime")[0] == ["x"]


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    layout = Layout(tmp_path, shebang="#!/nonexistent/python\n")
    done = run(layout.bin / "kist", "ps", env={})
    assert (done.returncode, done.stdout) == (127, "")
    assert "/nonexistent/python: not found" in done.stderr or "No such file" in done.stderr
    (layout.bin / "kistd").unlink()
    done = run(layout.bin / "kist", "ps", env={})
    assert (done.returncode, done.stdout) == (127, "")
    assert done.stderr == f"kist: no kistd beside {layout.bin}/kist: install Kist again\n"
