"""Requests at random to a real server: no 500 for a client's fault, no hang, nothing left."""

from __future__ import annotations

import socket

import pytest

from support.daemon import Daemon
from system.api_http import ask
from unit.server.fuzz import Fuzz

LISTENER = "trap 'exit 0' TERM; while :; do sleep 1000 & wait; done"


@pytest.mark.parametrize("seed", range(4))
def test_no_request_breaks_the_server(daemon: Daemon, seed: int) -> None:
    box = ask(daemon, "POST", "/containers/create", {"Image": "busybox", "Cmd": ["sh", "-c", LISTENER]})[1]["Id"]
    ask(daemon, "POST", f"/containers/{box}/start")
    ids = [box, box[:12], "busybox"]
    fuzz = Fuzz(seed, ids)
    for _ in range(150):
        route = fuzz.route()
        if route.operation == "ImageDelete":
            continue  # the other tests' image
        method, target, body = fuzz.request(route)
        status, content = _first(daemon, method, target, body)
        assert status in (101, 200, 201, 204, 304, 400, 401, 403, 404, 409, 501, 503), (
            method, target, body, content, daemon.log.read_text()[-4000:])
        if status == 201 and b'"Id":"' in content:
            ids.append(content.split(b'"Id":"')[1].split(b'"')[0].decode())
    assert ask(daemon, "GET", "/_ping")[0] == 200
    assert "Traceback" not in daemon.log.read_text()
    for volume in ask(daemon, "GET", "/volumes")[1]["Volumes"] or []:
        ask(daemon, "DELETE", f"/volumes/{volume['Name']}?force=1")
    for network in ask(daemon, "GET", "/networks")[1]:
        if network["Name"] not in ("bridge", "host", "none"):
            ask(daemon, "DELETE", f"/networks/{network['Id']}")


def _first(daemon: Daemon, method: str, target: str, body: bytes) -> tuple[int, bytes]:
    """The status and what follows at once; a stream is left after its head."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(20)
        client.connect(str(daemon.socket))
        client.sendall(f"{method} {target} HTTP/1.1\r\nHost: d\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        data = b""
        while b"\r\n\r\n" not in data:
            more = client.recv(65536)
            assert more, (method, target, body, data)
            data += more
        head, _, rest = data.partition(b"\r\n\r\n")
        return int(head.split(b" ")[1]), rest
