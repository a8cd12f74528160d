"""Registries behind a forward proxy: names that only the proxy knows, TLS through CONNECT, a proxy's password."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.daemon import Daemon
from support.hub import Hub
from support.processes import end
from support.proxy import ForwardProxy
from system.test_hub_tls import PASSWORD, SecureHub


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[SecureHub]:
    hub = SecureHub(tmp_path / "secure")
    yield hub
    end(hub.process)


def test_plain_http_by_the_servers_proxy(hub: Hub, make_daemon: Callable[..., Daemon]) -> None:
    proxy = ForwardProxy({"registry.invalid:80": hub.host, "registry.invalid": hub.host}, "us:er", "p@ss")
    address = f"http://us%3Aer:p%40ss@{proxy.host}"
    try:
        own = make_daemon(mirror=None, settings=f'[proxies]\nhttp-proxy = "{address}"\nhttps-proxy = "{address}"\n'
                                                'no-proxy = ".direct.invalid"\n'
                                                '[registries."registry.invalid"]\ninsecure = true\n')
        proxy.places.pop("registry.invalid:80")
        own.ok("pull", "-q", "registry.invalid/library/busybox")
        assert "GET registry.invalid" in proxy.seen
        assert "CONNECT registry.invalid:443" in proxy.seen
        own.ok("tag", "registry.invalid/library/busybox", "registry.invalid/by/proxy:1")
        own.ok("push", "-q", "registry.invalid/by/proxy:1")
        proxy.seen.clear()
        refused = own.kist("pull", "x.direct.invalid/app")
        assert "lookup x.direct.invalid: no such host" in refused.stderr
        assert proxy.seen == []
        info = json.loads(own.ok("info", "--format", "json"))
        assert info["HttpProxy"] == f"http://xxxxx:xxxxx@{proxy.host}"
        assert info["NoProxy"] == ".direct.invalid"
        proxy.wanted = "Basic other"
        assert own.kist("pull", "registry.invalid/library/hello-world").stderr.strip() == (
            "Error response from daemon: received unexpected HTTP status: 407 Proxy Authentication Required")
    finally:
        proxy.close()


def test_tls_by_one_registrys_proxy(secure: SecureHub, daemon: Daemon, make_daemon: Callable[..., Daemon]) -> None:
    proxy = ForwardProxy({secure.host: f"127.0.0.1:{secure.port}"})
    try:
        own = make_daemon(settings=f'[registries."{secure.host}"]\nca = "{secure.ca}"\nproxy = "{proxy.host}"\n')
        own.ok("pull", "-q", "busybox")
        own.ok("login", "-u", "alice", "--password-stdin", secure.host, input=PASSWORD)
        name = f"{secure.host}/alice/box:1"
        own.ok("tag", "busybox", name)
        own.ok("push", "-q", name)
        own.ok("rmi", name)
        assert own.ok("pull", "-q", name) == name
        assert set(proxy.seen) == {f"CONNECT {secure.host}"}
        proxy.places.clear()
        refused = own.kist("pull", name)
        assert refused.returncode == 1
        assert f'Get "https://{secure.host}/v2/": Forbidden' in refused.stderr
    finally:
        proxy.close()
