"""Registries that refuse for a while, or are stood in for by mirrors; certificates; a full disk: seen from the command
line, through a real server."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from support import needs
from support.daemon import Daemon
from support.processes import end
from support.slow_registry import SlowRegistry
from system.test_hub_tls import PASSWORD, SecureHub

FILES = {"x": b"#!/bin/sh\n" + bytes(range(256)) * 2000}


class Front(ThreadingHTTPServer):
    """Answers 429 to the first *refusals* requests for paths with *word* in them, redirects the others."""

    daemon_threads = True

    def __init__(self, behind: str, word: str, refusals: int, wait: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.behind, self.word, self.left, self.wait_for = behind, word, refusals, wait
        self.seen: list[str] = []
        self.host = f"127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: Front

    def do_GET(self) -> None:
        self.server.seen.append(self.path)
        body = b""
        if self.server.word in self.path and self.server.left > 0:
            self.server.left -= 1
            body = b'{"errors": [{"code": "TOOMANYREQUESTS", "message": "You have reached your pull rate limit"}]}'
            self.send_response(429)
            self.send_header("Retry-After", self.server.wait_for)
        else:
            self.send_response(307)
            self.send_header("Location", f"http://{self.server.behind}{self.path}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body if self.command == "GET" else b"")

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def registry() -> Iterator[SlowRegistry]:
    with SlowRegistry(FILES) as found:
        yield found


@pytest.mark.parametrize("word", ["/manifests/", "/blobs/"])
def test_a_rate_limit_is_waited_for(daemon: Daemon, registry: SlowRegistry, word: str) -> None:
    front = Front(registry.name.partition("/")[0], word, 2, "0")
    try:
        name = f"{front.host}/app:1"
        daemon.ok("pull", "-q", name)
        assert front.left == 0
        daemon.ok("rmi", name)
    finally:
        front.close()


def test_one_that_asks_to_wait_too_long_is_explained(daemon: Daemon, registry: SlowRegistry) -> None:
    front = Front(registry.name.partition("/")[0], "/manifests/", 99, "3600")
    try:
        done = daemon.kist("pull", f"{front.host}/app:1")
        assert done.returncode == 1
        assert done.stderr == (
            "Error response from daemon: toomanyrequests: You have reached your pull rate limit (it asks to wait "
            "3600 s). Signing in raises the limit of most registries; a mirror avoids it.\n")
        assert len([path for path in front.seen if "/manifests/" in path]) <= 2
    finally:
        front.close()


def test_mirrors_are_asked_in_order_and_passed_over(make_daemon: Callable[..., Daemon], registry: SlowRegistry) -> None:
    host = registry.name.partition("/")[0]
    refusing = Front(host, "/v2/", 10**6, "3600")
    try:
        own = make_daemon(mirror=None, settings='[registries."registry.invalid"]\nmirrors = ["http://127.0.0.1:1", '
                                                f'"http://{refusing.host}", "http://{host}"]\n')
        own.ok("pull", "-q", "registry.invalid/app:1")
        assert refusing.seen
        assert all("ns=registry.invalid" in path for path in refusing.seen)
        mirror = own.ok("image", "inspect", "-f", "{{.Metadata.Mirror}}", "registry.invalid/app:1")
        assert mirror.startswith(f"http://{host}")
        gone = own.kist("pull", "registry.invalid/app:none")
        assert gone.returncode == 1
        assert "lookup registry.invalid: no such host" in gone.stderr
    finally:
        refusing.close()


def test_certificates_where_docker_has_them(make_daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    """A CA that is put there is seen by the next pull, without a restart."""
    secure = SecureHub(tmp_path / "secure")
    try:
        own = make_daemon(settings=f'certificates = ["{tmp_path}/certs.d"]\n')
        own.ok("pull", "-q", "busybox")
        own.ok("tag", "busybox", f"{secure.host}/alice/box:1")
        (tmp_path / f"certs.d/{secure.host}").mkdir(parents=True)
        half = tmp_path / f"certs.d/{secure.host}/client.cert"
        half.touch()
        refused = own.kist("push", f"{secure.host}/alice/box:1")
        assert "missing key client.key for client certificate client.cert" in refused.stderr
        half.unlink()
        shutil.copy(secure.ca, tmp_path / f"certs.d/{secure.host}/hub.crt")
        own.ok("login", "-u", "alice", "--password-stdin", secure.host, input=PASSWORD)
        own.ok("push", "-q", f"{secure.host}/alice/box:1")
    finally:
        end(secure.process)


def test_a_disk_that_is_full(registry: SlowRegistry, tmp_path: Path) -> None:
    """The pull fails with its reason, leaves nothing, and goes well once there is room."""
    place, device, folder = tmp_path / "place", tmp_path / "disk", tmp_path / "kept"
    place.mkdir()
    folder.mkdir()
    (folder / "data").symlink_to(place)
    subprocess.run(["mkfs.ext4", "-q", "-O", "^has_journal", device, "120m"], check=True)
    if subprocess.run(["mount", "-o", "loop", device, place], check=False).returncode:
        needs.missing("no loop devices here")
    try:
        own = Daemon(folder)
        try:
            (place / "filler").write_bytes(bytes(60 << 20))
            done = own.kist("pull", registry.name)
            assert done.returncode == 1
            assert "no space left on device" in done.stderr
            assert own.ok("images", "-q") == ""
            assert not list((place / "content/partial").iterdir())
            assert not list((place / "layers").iterdir())
            (place / "filler").unlink()
            own.ok("pull", "-q", registry.name)
            assert own.ok("system", "check", "-q") == ""
        finally:
            own.close()
    finally:
        subprocess.run(["umount", place], check=True)
