"""Credential helpers, honest and hostile; what is kept where."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from kist.cli import api_socket, credentials, credhelper
from kist.cli.parser import CliError
from kist.cli.settings import Settings
from support.processes import ended

Make = Callable[[str, str], None]
#: Keeps what it is told in a folder beside it.
HONEST = """
folder=$(dirname "$0"); read -r line
case $1 in
    store) echo "$line" > "$folder/kept" ;;
    get) cat "$folder/kept" 2>/dev/null || { echo "credentials not found in native keychain"; exit 1; } ;;
    erase) rm "$folder/kept" 2>/dev/null || { echo "credentials not found in native keychain"; exit 1; } ;;
esac
"""


@pytest.fixture
def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """helper(name, script): a program in PATH."""
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    def make(name: str, script: str) -> None:
        path = tmp_path / f"docker-credential-{name}"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    return make


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "docker").mkdir()
    return Settings({"HOME": str(tmp_path), "DOCKER_CONFIG": f"{tmp_path}/docker"}, 0)


def of_docker(settings: Settings, **config: object) -> None:
    Path(settings.docker_auth_file).write_text(json.dumps(config))


@pytest.mark.parametrize("where", [{"credsStore": "mine"}, {"credHelpers": {"r.example": "mine"}, "credsStore": "not"}])
def test_a_helper_keeps_gives_and_forgets(helper: Make, settings: Settings, where: dict[str, object]) -> None:
    helper("mine", HONEST)
    of_docker(settings, **where)
    assert credentials.for_registry(settings, "r.example") is None
    assert credentials.keep(settings, "r.example", "me", "secret", "") == ""
    assert credentials.for_registry(settings, "r.example") == {
        "serveraddress": "r.example", "username": "me", "password": "secret"}
    assert "secret" not in Path(settings.auth_file).read_text()
    credentials.keep(settings, "r.example", "me", "secret", "token")
    assert credentials.for_registry(settings, "r.example") == {"serveraddress": "r.example", "identitytoken": "token"}
    complaints: list[str] = []
    credentials.forget(settings, "r.example", complaints.append)
    credentials.forget(settings, "r.example", complaints.append)
    assert credentials.for_registry(settings, "r.example", complaints.append) is None
    assert complaints == []


def test_without_a_helper_the_file_has_them(settings: Settings) -> None:
    of_docker(settings, auths={"other.example": {"auth": "bWU6cHc="}})
    assert credentials.keep(settings, "r.example", "me", "pw", "") == settings.auth_file
    assert Path(settings.auth_file).stat().st_mode & 0o777 == 0o600
    for registry in ("r.example", "other.example"):
        found = credentials.for_registry(settings, registry)
        assert found == {"serveraddress": registry, "username": "me", "password": "pw"}


def test_other_keys_of_the_file_stay(settings: Settings) -> None:
    Path(settings.auth_file).parent.mkdir(parents=True)
    Path(settings.auth_file).write_text('{"credHelpers": {"x.example": "x"}, "mine": 1}')
    credentials.keep(settings, "r.example", "me", "pw", "")
    kept = json.loads(Path(settings.auth_file).read_text())
    assert (kept["credHelpers"], kept["mine"], list(kept["auths"])) == ({"x.example": "x"}, 1, ["r.example"])


@pytest.mark.parametrize(("script", "words"), [
    ("echo something; exit 3", "err: exit status 3, out: `something`"),
    ("echo not json", "not a helper's answer"),
    ("echo '{\"Username\": 1, \"Secret\": []}'", "not a helper's answer"),
    ("echo []", "not a helper's answer"),
    ("head -c 200000 /dev/zero; sleep 1000", "more than 65536 bytes"),
    ("kill -9 $$", "exit status -9"),
])
def test_a_helper_that_fails_is_complained_of(helper: Make, settings: Settings, script: str, words: str) -> None:
    helper("bad", script)
    of_docker(settings, credsStore="bad")
    complaints: list[str] = []
    assert credentials.for_registry(settings, "r.example", complaints.append) is None
    assert [words in text for text in complaints] == [True], complaints


def test_a_helper_that_never_ends_is_ended(helper: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(credhelper, "PATIENCE", 0.3)
    monkeypatch.setattr(os, "isatty", lambda _fd: False)
    helper("slow", f"sleep 1000 & echo $! > {tmp_path}/child; wait")
    with pytest.raises(credhelper.HelperFailed, match="it takes too long"):
        credhelper.get("slow", "r.example")
    assert ended(int((tmp_path / "child").read_text()), 30)


@pytest.mark.parametrize("name", ["missing", "../evil", "a b", "a/b", "x;y"])
def test_a_helper_that_is_not_there(settings: Settings, name: str) -> None:
    of_docker(settings, credsStore=name)
    with pytest.raises(CliError, match=r'Error saving credentials: error storing credentials - err: exec: "docker'):
        credentials.keep(settings, "r.example", "me", "pw", "")
    assert not os.path.exists(settings.auth_file)


@pytest.mark.parametrize("text", ["no json", "[]", '{"auths": 1}'])
def test_a_file_that_is_none(settings: Settings, text: str) -> None:
    Path(settings.docker_auth_file).write_text(text)
    with pytest.raises(CliError, match="not a file of credentials"):
        credentials.for_registry(settings, "r.example")


LISTING = """
case $1 in
    list) echo '{"a.example": "me", "https://index.docker.io/v1/": "me too"}' ;;
    get) read -r line; echo "{\\"ServerURL\\": \\"$line\\", \\"Username\\": \\"me\\", \\"Secret\\": \\"of $line\\"}" ;;
esac
"""


def test_what_a_helper_lists_is_known(helper: Make, settings: Settings) -> None:
    """A helper's registries need no entry in the file: a container with the API's socket gets them, too."""
    helper("mine", LISTING)
    of_docker(settings, credsStore="mine", auths={"b.example": {}}, credHelpers={"c.example": "mine"})
    assert credentials.known(settings) == ["a.example", "b.example", "c.example", "https://index.docker.io/v1/"]
    handed = json.loads(api_socket._config(settings))["auths"]
    assert base64.b64decode(handed["a.example"]["auth"]) == b"me:of a.example"
    assert handed.keys() == {"a.example", "b.example", "c.example", "https://index.docker.io/v1/"}


@pytest.mark.parametrize("script", ["exit 1", "echo '[]'", "echo nothing", "yes"])
def test_a_helper_that_lists_nonsense(helper: Make, settings: Settings, script: str) -> None:
    helper("mine", script)
    of_docker(settings, credsStore="mine", auths={"b.example": {}})
    said: list[str] = []
    assert credentials.known(settings, said.append) == ["b.example"]
    assert said[0].startswith("error listing credentials - ")
