"""The SDK's own sense: which server it means, what it loads, and that no request of the API is missing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import kist
from kist.api.routes import ROUTES
from kist.client import environment
from support.fake_engine import FakeEngine

CLIENT = Path(environment.__file__).parent


@pytest.mark.parametrize(("variables", "address"), [
    ({}, "unix:///run/kist/kist.sock"),
    ({"DOCKER_HOST": "unix:///a"}, "unix:///a"),
    ({"KIST_HOST": "tcp://h:1", "DOCKER_HOST": "unix:///a"}, "tcp://h:1"),
    ({"KIST_HOST": "h:1"}, "tcp://h:1"),
    ({"XDG_RUNTIME_DIR": "/nowhere"}, "unix:///run/kist/kist.sock"),
])
def test_the_environment_names_the_server(variables: dict[str, str], address: str) -> None:
    assert environment.address(variables).text == address


@pytest.mark.parametrize(("variables", "folder", "verify"), [
    ({"DOCKER_HOST": "tcp://h", "DOCKER_TLS_VERIFY": "1", "HOME": "/me"}, "/me/.docker", True),
    ({"DOCKER_HOST": "tcp://h", "DOCKER_CERT_PATH": "/c"}, "/c", False),
    ({"KIST_HOST": "tcp://h", "KIST_TLS_VERIFY": "1", "HOME": "/me"}, "/me/.config/kist", True),
])
def test_the_environment_names_certificates(variables: dict[str, str], folder: str, verify: bool) -> None:
    tls = environment.address(variables).tls
    assert tls is not None
    assert (tls.ca, tls.cert, tls.key, tls.verify) == (
        f"{folder}/ca.pem", f"{folder}/cert.pem", f"{folder}/key.pem", verify)


def test_tls_is_for_tcp() -> None:
    assert environment.address({"DOCKER_HOST": "unix:///a", "DOCKER_TLS_VERIFY": "1"}).tls is None


def test_kist_run_is_the_server_of_the_environment(engine: FakeEngine) -> None:
    code = ("import kist, sys\nassert 'kist.client' not in sys.modules\n"
            "with kist.run('busybox', 'sleep 100', name='box') as c: print(c.name, c.status)\n")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False,
                          env={"PATH": os.environ["PATH"], "KIST_HOST": engine.host})
    assert (done.stdout, done.stderr) == ("box running\n", "")
    assert engine.containers == {}


def test_an_option_that_does_not_exist_is_an_error(engine: FakeEngine) -> None:
    with kist.connect(engine.host) as k, pytest.raises(TypeError, match="colour"):
        k.run("busybox", colour="red")  # type: ignore[call-arg]
    assert engine.lines() == []


def test_the_package_has_no_other_names() -> None:
    assert kist.Container is kist.client.Container
    for module in (kist, kist.client):
        with pytest.raises(AttributeError):
            module.nonsense  # noqa: B018


def test_every_request_that_is_served_has_a_method() -> None:
    """The paths that the client's modules write, compared with the table of routes."""
    elsewhere = {"ContainerAttachWebsocket", "SystemPingHead",  # another way to the same
                 "ImageGet",  # one image of `save`
                 "PluginInspect", "PluginDelete", "PluginEnable", "PluginDisable", "PluginPush", "PluginSet"}  # no such
    written = set()
    for path in CLIENT.glob("*.py"):
        text = path.read_text()
        for method, place in re.findall(r'"(GET|POST|PUT|DELETE|HEAD)",\s*f?"(/[^"]*)"', text):
            written.add((method, re.sub(r"\{[^}]*\}", "*", place)))
        for method, place in re.findall(r'path = f"(/[^"]*)"\s*\n\s*return .*?"(GET)", path', text):
            written.add((place, re.sub(r"\{[^}]*\}", "*", method)))
        for verb in re.findall(r'(?:_post|send_post)\(container, "(\w+)"', text):
            written.add(("POST", f"/containers/*/{verb}"))
    missing = {route.operation for route in ROUTES
               if not route.refusal and route.operation not in elsewhere
               and (route.method, re.sub(r"\{[^}]*\}", "*", route.pattern)) not in written}
    assert missing == set()
