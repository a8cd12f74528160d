"""`import URL`: the server fetches it, within bounds, and says what Docker says."""

from __future__ import annotations

import gzip
import io
import tarfile
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from support import needs
from support.daemon import Daemon


def archive() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        entry = tarfile.TarInfo("hello")
        entry.size = 5
        tar.addfile(entry, io.BytesIO(b"world"))
    return gzip.compress(out.getvalue(), mtime=0)


class Web(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        data = archive()
        if self.path == "/root.tgz":
            self._answer(200, data)
        elif self.path == "/moved":
            self._answer(302, b"", ("Location", "/root.tgz"))
        elif self.path == "/round":
            self._answer(302, b"", ("Location", "/round"))
        elif self.path == "/away":
            self._answer(302, b"", ("Location", "file:///etc/passwd"))
        elif self.path == "/short":
            self._answer(200, data[:-20], ("Content-Length", str(len(data))))
        elif self.path == "/text":
            self._answer(200, b"no archive at all\n" * 100)
        else:
            self._answer(404, b"nothing \x1b[31mhere\x00" + b"x" * 100_000)

    def _answer(self, status: int, body: bytes, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for name, value in headers or (("Content-Length", str(len(body))),):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def web() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Web)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize("client", [needs.DOCKER_28, "kist"])
def test_the_server_fetches_it(daemon: Daemon, web: str, client: str, tmp_path: Path) -> None:
    command: Callable[..., object] = getattr(daemon, client)
    done = daemon.ok if client == "kist" else lambda *args: daemon.docker(*args).stdout.strip()
    first, image = done("import", "-c", "CMD /hello", f"{web}/root.tgz", "fetched:1").split("\n")
    assert first == f"Downloading from {web}/root.tgz"
    assert daemon.ok("image", "inspect", "-f", "{{.Id}} {{.Comment}} {{.Config.Cmd}}", "fetched:1") == (
        f"{image} Imported from {web}/root.tgz [/bin/sh -c /hello]")
    assert done("import", "-m", "moved", f"{web}/moved").split("\n")[0] == f"Downloading from {web}/moved"
    box = daemon.ok("create", "fetched:1")
    daemon.ok("cp", f"{box}:/hello", str(tmp_path / "hello"))
    assert (tmp_path / "hello").read_text() == "world"
    daemon.ok("rm", box)
    daemon.ok("rmi", "fetched:1")
    daemon.ok("image", "prune", "-f")
    assert callable(command)


@pytest.mark.parametrize(("path", "words"), [
    ("/nosuch", "failed to GET {web}/nosuch with status 404 Not Found: nothing ?[31mhere?xxx"),
    ("/round", 'Get "{web}/round": stopped after 10 redirects'),
    ("/away", 'Get "file:///etc/passwd": unsupported protocol scheme "file"'),
    ("/text", "invalid layer: archive/tar: invalid tar header"),
])
def test_what_can_not_be_fetched_leaves_nothing(daemon: Daemon, web: str, path: str, words: str) -> None:
    before = daemon.ok("images", "-aq")
    done = daemon.kist("import", web + path, "fetched:1")
    assert done.returncode == 1
    assert done.stderr.startswith("Error response from daemon: " + words.replace("{web}", web)) \
        or done.stderr.startswith(words.replace("{web}", web)), done.stderr
    assert len(done.stderr) < 2000
    assert daemon.ok("images", "-aq") == before
    assert not list((daemon.data / "content/partial").iterdir())


def test_a_download_that_breaks_off(daemon: Daemon, web: str) -> None:
    done = daemon.kist("import", f"{web}/short", "fetched:1")
    assert done.returncode == 1
    assert "unexpected EOF" in done.stderr
    assert daemon.kist("image", "inspect", "fetched:1").returncode == 1
    refused = daemon.kist("import", "http://127.0.0.1:1/x")
    assert refused.stderr == ('Error response from daemon: Get "http://127.0.0.1:1/x": dial tcp 127.0.0.1:1: connect: '
                              "connection refused\n")
