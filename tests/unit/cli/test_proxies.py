"""`proxies` of Docker's config.json: what Docker's client sends, and what Kist's."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from support import needs
from support.daemon import docker_command
from support.fake_engine import FakeEngine

DEFAULT = {"httpProxy": "http://p:1", "httpsProxy": "http://p:2", "noProxy": "a,b", "ftpProxy": "ftp://p",
           "allProxy": "x"}
OTHER = {"httpProxy": "http://other:1"}


def sent(command: list[str], words: list[str], engine: FakeEngine, environment: dict[str, str]) -> list[str]:
    done = subprocess.run([*command, "create", *words, "busybox"], capture_output=True, text=True, env=environment,
                          timeout=30, stdin=subprocess.DEVNULL, check=False)
    assert done.returncode == 0, done.stderr
    found: list[str] = sorted(engine.body_of("POST /containers/create").get("Env") or ())
    engine.containers.clear()
    return found


@needs.docker_28
@pytest.mark.parametrize("own", [False, True], ids=["default", "of this host"])
@pytest.mark.parametrize("words", [
    [], ["-e", "A=1"], ["-e", "HTTP_PROXY=mine", "-e", "no_proxy"], ["-e", "https_proxy=", "--env", "B"]], ids=str)
def test_the_variables_are_docker_s(words: list[str], own: bool, engine: FakeEngine, environment: dict[str, str],
                                    tmp_path: Path) -> None:
    config = {"proxies": {"default": DEFAULT, engine.host if own else "tcp://elsewhere:1": OTHER}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    environment |= {"DOCKER_CONFIG": str(tmp_path)}
    theirs = sent([docker_command()], words, engine, environment)
    ours = sent([sys.executable, "-m", "kist.cli"], words, engine, environment)
    assert ours == theirs
    assert ("http_proxy=http://other:1" in ours) is own


def test_without_docker_s_command(engine: FakeEngine, environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"proxies": {"default": OTHER}}))
    environment |= {"DOCKER_CONFIG": str(tmp_path)}
    assert sent([sys.executable, "-m", "kist.cli"], ["-e", "http_proxy=mine"], engine, environment) == [
        "HTTP_PROXY=http://other:1", "http_proxy=mine"]


@pytest.mark.parametrize("proxies", ['[1]', '{"default": 1}', '{"default": {"httpProxy": 5}}', "{"])
def test_nonsense_is_refused_by_name(proxies: str, environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(f'{{"proxies": {proxies}}}')
    done = subprocess.run([sys.executable, "-m", "kist.cli", "create", "busybox"], capture_output=True, text=True,
                          env={**environment, "DOCKER_CONFIG": str(tmp_path)}, timeout=30, check=False)
    assert done.returncode == 125
    assert done.stderr == f'kist: {tmp_path}/config.json: "proxies" is not what Docker\'s client keeps there\n'
