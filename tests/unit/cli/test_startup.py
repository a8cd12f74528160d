"""Start-up is the user's wait: the modules that `kist run` loads are these, and no others."""

from __future__ import annotations

import subprocess
import sys

from support.fake_engine import FakeEngine

# docs/decisions/client-start-up.md tells what each of the usual modules costs.
OURS = {
    "kist", "kist.api", "kist.api.frames", "kist.cli", "kist.cli.__main__", "kist.cli.attach", "kist.cli.commands",
    "kist.cli.commands.run", "kist.cli.container_body", "kist.cli.container_options", "kist.cli.creating",
    "kist.cli.interactive", "kist.cli.names", "kist.cli.parser", "kist.cli.session", "kist.cli.settings",
    "kist.cli.words", "kist.client", "kist.client.address", "kist.client.client", "kist.client.containers",
    "kist.client.transport", "kist.client.wirejson", "kist.errors", "kist.version",
}
STANDARD = {"__future__", "_json", "_socket", "_struct", "select", "struct"}

CODE = """
import sys
before = set(sys.modules)
from kist.cli.__main__ import run
from kist.cli.settings import Settings
status = run(sys.argv[1:], Settings.from_process())
print(status, *sorted(set(sys.modules) - before))
"""


def loaded(engine: FakeEngine, *words: str) -> set[str]:
    done = subprocess.run([sys.executable, "-I", "-c", CODE, "-H", engine.host, *words], capture_output=True, text=True,
                          timeout=30, check=True)
    status, *modules = done.stdout.split("\n")[-2].split()
    assert status == "0", done.stderr
    return set(modules)


def test_run_loads_what_it_needs(engine: FakeEngine) -> None:
    assert loaded(engine, "run", "--rm", "-e", "A=1", "--network", "none", "busybox", "true") == OURS | STANDARD


def test_no_command_loads_the_heavy_ones(engine: FakeEngine) -> None:
    loaded(engine, "run", "-d", "--name", "x", "busybox", "sleep")
    heavy = {"argparse", "asyncio", "dataclasses", "email", "enum", "http", "json", "pathlib", "re", "rich", "socket",
             "ssl", "subprocess", "textual", "typing", "urllib"}
    for words in (["ps"], ["logs", "x"], ["stop", "x"], ["wait", "x"], ["kill", "x"], ["rm", "x"]):
        assert not loaded(engine, *words) & heavy, words


def test_textual_is_for_the_ui_alone(engine: FakeEngine) -> None:
    modules = loaded(engine, "help")
    assert "kist.cli.commands.ui" in modules, "the help asks each command for its summary"
    assert not {name.partition(".")[0] for name in modules} & {"textual", "rich"}
