"""A small engine that speaks the API over a real unix socket, for tests of the client and the command line.

Its containers are threads: `echo …` writes its words, `cat` copies stdin to stdout until it ends, `both`
writes to both outputs, `false` ends with 1, `exit N` with N, `sleep` waits for a signal, `nosuch` and
`noexec` can't be started. Every request is recorded in `requests` (method, path with query, headers, body),
so that tests can compare what two clients send. Docker's own command works against it.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

SIGNALS = {"KILL": 9, "TERM": 15, "INT": 2, "HUP": 1, "USR1": 10}


class Container:
    def __init__(self, cid: str, name: str, body: dict[str, Any]) -> None:
        self.id, self.name, self.body = cid, name, body
        self.status = "created"
        self.code = 0
        self.attached: list[tuple[socket.socket, bytes]] = []
        self.ended = threading.Event()
        self.removed = threading.Event()
        self.signal = threading.Event()
        self.signals: list[str] = []
        self.sizes: list[tuple[int, int]] = []
        self.log: list[tuple[int, bytes]] = []
        self.samples = 0

    @property
    def words(self) -> list[str]:
        return [*(self.body.get("Entrypoint") or []), *(self.body.get("Cmd") or ["sh"])]

    def write(self, stream: int, data: bytes) -> None:
        self.log.append((stream, data))
        framed = data if self.body.get("Tty") else bytes([stream, 0, 0, 0]) + len(data).to_bytes(4, "big") + data
        for link, _ in self.attached:
            try:
                link.sendall(framed)
            except OSError:
                pass

    def main(self) -> None:
        verb, *rest = self.words
        if verb == "echo":
            self.write(1, (" ".join(rest) + "\n").encode())
        elif verb == "both":
            self.write(1, b"out\n")
            self.write(2, b"err\n")
        elif verb == "cat":
            self.cat()
        elif verb == "false":
            self.code = 1
        elif verb == "exit":
            self.code = int(rest[0])
        elif verb == "sleep":
            self.signal.wait(20)
            self.code = 128 + SIGNALS.get(self.signals[-1], 9) if self.signals else 0
        self.end()

    def cat(self) -> None:
        for link, early in self.attached:
            data = early
            while True:
                if data:
                    self.write(1, data)
                if data.endswith(b"\x04") and self.body.get("Tty"):
                    return
                try:
                    data = link.recv(65536)
                except OSError:
                    data = b""
                if not data:
                    if self.body.get("Tty"):  # somebody detached: a terminal goes on
                        self.signal.wait(20)
                    return

    def end(self) -> None:
        self.status = "exited"
        for link, _ in self.attached:
            try:
                link.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            link.close()
        self.attached.clear()
        self.ended.set()


class FakeEngine:
    def __init__(self, path: str) -> None:
        self.path = path
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        self.containers: dict[str, Container] = {}
        self.images = {"busybox:latest"}
        self.pulled: list[str] = []
        self.answers: dict[tuple[str, str], tuple[int, Any]] = {}
        self.connections = 0
        self.newest = "1.51"
        self._links: list[socket.socket] = []
        self.listeners: list[socket.socket] = []  # those who wait for events
        self.begin()

    def begin(self) -> None:
        """Listen."""
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.path)
        self._listener.listen(64)
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    @property
    def host(self) -> str:
        return f"unix://{self.path}"

    def lines(self) -> list[str]:
        """The requests as `METHOD /path?query`, without the version."""
        return [f"{method} {path}" for method, path, _, _ in self.requests]

    def body_of(self, start: str) -> dict[str, Any]:
        """The JSON body of the last request whose line begins so."""
        for method, path, _, body in reversed(self.requests):
            if f"{method} {path}".startswith(start):
                return dict(json.loads(body))
        raise AssertionError(f"no request {start} among {self.lines()}")

    def close(self) -> None:
        for container in self.containers.values():
            container.signal.set()
        self.end()

    def end(self) -> None:
        """Go away, as a server that was killed: the containers stay."""
        try:
            self._listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._listener.close()
        for link in self._links:
            try:
                link.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            link.close()
        self._links.clear()
        self.listeners.clear()
        os.unlink(self.path)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                link, _ = listener.accept()
            except OSError:
                return
            self.connections += 1
            self._links.append(link)
            threading.Thread(target=self._serve, args=(link,), daemon=True).start()

    def _serve(self, link: socket.socket) -> None:
        kept = b""
        try:
            while True:
                while b"\r\n\r\n" not in kept:
                    more = link.recv(65536)
                    if not more:
                        return
                    kept += more
                head, kept = kept.split(b"\r\n\r\n", 1)
                first, *rest = head.decode().split("\r\n")
                headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in rest)}
                body, kept = self._body(link, headers, kept)
                method, target, _ = first.split(" ")
                if self._answer(link, method, target, headers, body, kept):
                    return
        except OSError:
            return

    @staticmethod
    def _body(link: socket.socket, headers: dict[str, str], kept: bytes) -> tuple[bytes, bytes]:
        if "chunked" in headers.get("transfer-encoding", ""):
            body = b""
            while True:
                while b"\r\n" not in kept:
                    kept += link.recv(65536)
                size, kept = kept.split(b"\r\n", 1)
                want = int(size, 16) + 2
                while len(kept) < want:
                    kept += link.recv(65536)
                body, kept = body + kept[:want - 2], kept[want:]
                if want == 2:
                    return body, kept
        want = int(headers.get("content-length", "0"))
        while len(kept) < want:
            kept += link.recv(65536)
        return kept[:want], kept[want:]

    def _answer(self, link: socket.socket, method: str, target: str, headers: dict[str, str], body: bytes,
                kept: bytes) -> bool:
        """Answer one request; True when the connection is no longer HTTP."""
        parts = urlsplit(target)
        version, path = "", parts.path
        if path.startswith("/v1."):
            version, _, rest = path[2:].partition("/")
            path = "/" + rest
        query = {k: v[-1] for k, v in parse_qs(parts.query, keep_blank_values=True).items()}
        self.requests.append((method, path + ("?" + parts.query if parts.query else ""), headers, body))
        if version and tuple(map(int, version.split("."))) > tuple(map(int, self.newest.split("."))):
            self._json(link, 400, {"message": f"client version {version} is too new. Maximum supported API "
                                              f"version is {self.newest}"})
            return False
        if (method, path) in self.answers:
            status, value = self.answers[(method, path)]
            if isinstance(value, bytes):
                self._send(link, status, value, "application/octet-stream")
            else:
                self._json(link, status, value)
            return False
        words = [unquote(word) for word in path.strip("/").split("/")]
        if words == ["_ping"]:
            self._send(link, 200, b"" if method == "HEAD" else b"OK", "text/plain")
        elif words == ["images", "create"]:
            self._pull(link, query)
        elif words == ["containers", "create"]:
            self._create(link, query, json.loads(body))
        elif words == ["containers", "json"]:
            self._json(link, 200, [self.summary(c) for c in self.containers.values()
                                   if "all" in query or c.status in ("running", "paused")])
        elif words == ["info"]:
            self._json(link, 200, {"Name": "fake", "ServerVersion": "28.2.2", "NCPU": 2, "MemTotal": 8 << 30})
        elif words == ["events"]:
            self._events(link)
        elif words[0] == "containers" and len(words) > 1:
            return self._container(link, method, words, query, kept)
        else:
            self._json(link, 404, {"message": "page not found"})
        return False

    def _pull(self, link: socket.socket, query: dict[str, str]) -> None:
        name = f"{query['fromImage']}:{query.get('tag') or 'latest'}"
        self.pulled.append(name)
        if "missing" in name:
            self._json(link, 404, {"message": f"pull access denied for {query['fromImage']}, repository does "
                                              "not exist or may require 'docker login'"})
            return
        self.images.add(name.removeprefix("docker.io/library/"))
        lines = [{"status": f"Pulling from {query['fromImage']}", "id": query.get("tag", "")},
                 {"status": "Pulling fs layer", "progressDetail": {}, "id": "aaaaaaaaaaaa"},
                 {"status": "Downloading", "progressDetail": {"current": 5, "total": 10}, "progress": "[==> ]",
                  "id": "aaaaaaaaaaaa"},
                 {"status": "Download complete", "progressDetail": {}, "id": "aaaaaaaaaaaa"},
                 {"status": "Pull complete", "progressDetail": {}, "id": "aaaaaaaaaaaa"},
                 {"status": "Digest: sha256:" + "0" * 64},
                 {"status": f"Status: Downloaded newer image for {name}"}]
        self._send(link, 200, b"".join(json.dumps(line).encode() + b"\r\n" for line in lines), "application/json")

    def _create(self, link: socket.socket, query: dict[str, str], body: dict[str, Any]) -> None:
        image = body["Image"] if ":" in body["Image"] else body["Image"] + ":latest"
        if image not in self.images:
            self._json(link, 404, {"message": f"No such image: {image}"})
            return
        if any(c.name == query.get("name") for c in self.containers.values() if c.name):
            self._json(link, 409, {"message": f'Conflict. The container name "/{query["name"]}" is already in use'})
            return
        cid = f"{len(self.containers) + 1:064x}"
        self.containers[cid] = Container(cid, query.get("name", ""), body)
        self._json(link, 201, {"Id": cid, "Warnings": []})

    def find(self, name: str) -> Container | None:
        return next((c for c in self.containers.values() if name in (c.id, c.name) or c.id.startswith(name)), None)

    def _container(self, link: socket.socket, method: str, words: list[str], query: dict[str, str],
                   kept: bytes) -> bool:
        found = self.find(words[1])
        verb = words[2] if len(words) > 2 else ""
        if found is None:
            self._json(link, 404, {"message": f"No such container: {words[1]}"})
        elif verb == "start":
            self._start(link, found)
        elif verb == "attach":
            found.attached.append((link, kept))  # before the answer: a start may follow it at once
            link.sendall(b"HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\n"
                         b"Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
            return True
        elif verb == "wait":
            link.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
            found.ended.wait(30)
            data = json.dumps({"StatusCode": found.code}).encode()
            link.sendall(b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data))
        elif verb == "kill":
            found.signals.append(query.get("signal", "KILL").removeprefix("SIG"))
            found.signal.set()
            self._send(link, 204, b"", "")
        elif verb == "resize":
            found.sizes.append((int(query["h"]), int(query["w"])))
            self._send(link, 200, b"", "")
        elif verb == "json":
            self._json(link, 200, self.inspection(found))
        elif verb == "stats":
            self._json(link, 200, self.sample(found))
        elif verb == "top":
            self._json(link, 200, {"Titles": ["PID", "CMD"], "Processes": [["1", " ".join(found.words)]]})
        elif verb in ("pause", "unpause"):
            found.status = "paused" if verb == "pause" else "running"
            self._send(link, 204, b"", "")
            self.tell(found, verb)
        elif verb == "logs":
            self._send(link, 200, b"".join(bytes([stream, 0, 0, 0]) + len(data).to_bytes(4, "big") + data
                                           for stream, data in found.log), "application/vnd.docker.multiplexed-stream")
        elif method == "DELETE":
            del self.containers[found.id]
            found.signal.set()
            self._send(link, 204, b"", "")
        else:
            found.signal.set()
            self._send(link, 204, b"", "")
        return False

    @staticmethod
    def summary(found: Container) -> dict[str, Any]:
        told = {"running": "Up 5 minutes", "paused": "Up 5 minutes (Paused)", "created": "Created"}
        return {"Id": found.id, "Names": ["/" + (found.name or "odd_name")], "Image": found.body["Image"],
                "Command": " ".join(found.words), "Created": 1_700_000_000, "State": found.status,
                "Status": told.get(found.status, f"Exited ({found.code}) 2 hours ago"), "Ports": [],
                "Labels": found.body.get("Labels") or {}}

    def sample(self, found: Container) -> dict[str, Any]:
        """Half a CPU is used, and between two samples 1 MiB came in and 2 MiB were written."""
        if found.status not in ("running", "paused"):
            return {"id": found.id, "name": "/" + found.name, "cpu_stats": {}, "memory_stats": {}}
        found.samples += 1
        n = found.samples
        return {"id": found.id, "name": "/" + found.name, "pids_stats": {"current": 3},
                "cpu_stats": {"cpu_usage": {"total_usage": n * 25}, "system_cpu_usage": n * 100, "online_cpus": 2},
                "memory_stats": {"usage": 96 << 20, "limit": 256 << 20, "stats": {"inactive_file": 32 << 20}},
                "networks": {"eth0": {"rx_bytes": n << 20, "tx_bytes": 0}},
                "blkio_stats": {"io_service_bytes_recursive": [{"op": "write", "value": n << 21}]}}

    def _events(self, link: socket.socket) -> None:
        """A stream that goes on until the engine is closed."""
        link.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
        self.listeners.append(link)
        link.recv(1)

    def tell(self, found: Container, action: str) -> None:
        """An event, for all who listen."""
        data = json.dumps({"Type": "container", "Action": action, "Actor": {"ID": found.id}}).encode() + b"\n"
        for link in self.listeners:
            try:
                link.sendall(b"%x\r\n%b\r\n" % (len(data), data))
            except OSError:
                pass

    @staticmethod
    def inspection(found: Container) -> dict[str, Any]:
        return {"Id": found.id, "Name": "/" + (found.name or "odd_name"), "Config": found.body,
                "HostConfig": found.body.get("HostConfig") or {},
                "State": {"Status": found.status, "Running": found.status == "running", "Paused": False,
                          "Restarting": False, "ExitCode": found.code}}

    def _start(self, link: socket.socket, found: Container) -> None:
        errors = {"nosuch": 'exec: "nosuch": executable file not found in $PATH',
                  "noexec": 'exec: "noexec": permission denied'}
        verb = found.words[0]
        if verb in errors:
            found.end()
            self._json(link, 400, {"message": "failed to create task for container: failed to create shim task: "
                               f"OCI runtime create failed: kist: container init: {errors[verb]}: unknown"})
            return
        if verb == "broken":
            found.end()
            self._json(link, 500, {"message": "it is broken"})
            return
        found.status = "running"
        found.signal.clear()
        found.ended.clear()
        self._send(link, 204, b"", "")
        threading.Thread(target=found.main, daemon=True).start()

    def _json(self, link: socket.socket, status: int, value: Any) -> None:
        self._send(link, status, json.dumps(value).encode() + b"\n", "application/json")

    def _send(self, link: socket.socket, status: int, body: bytes, kind: str) -> None:
        head = f"HTTP/1.1 {status} Word\r\nApi-Version: {self.newest}\r\nOstype: linux\r\n"
        head += "Server: Docker/28.2.2 (linux)\r\n"
        head += f"Content-Type: {kind}\r\n" if kind else ""
        if status != 204:
            head += f"Content-Length: {len(body)}\r\n"
        link.sendall(head.encode() + b"\r\n" + body)


def wait_until(true: Any, seconds: float = 10.0) -> None:
    """Wait for a condition that another thread brings about."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)
