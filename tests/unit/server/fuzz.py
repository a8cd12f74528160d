"""Requests at random, for every route: plausible, odd and hostile ones. The same seed gives the same ones."""

from __future__ import annotations

import json
import random
from typing import Any, get_args, get_origin, get_type_hints
from urllib.parse import quote, urlencode

from kist.api import bodies
from kist.api.routes import ROUTES, Route

TEXTS = ["", "x", "busybox", "nosuch", "/", "..", "../../etc/passwd", "a b", "é", "\x00", "-1", "0", "1", "true",
         "sha256:" + "0" * 64, "0" * 64, "ctrl-p", "SIGTERM", "9", "%", "%00", "{}", "[]", "x" * 5000, "null", "\n"]
NUMBERS = [0, 1, -1, 42, 2**31, 2**63 - 1, 2**63, -(2**63), -(2**70), 1.5]
QUERIES = ["all", "limit", "size", "filters", "name", "platform", "t", "signal", "h", "w", "condition", "stdout",
           "stderr", "stdin", "stream", "logs", "follow", "since", "until", "tail", "timestamps", "detachKeys",
           "force", "v", "link", "path", "ps_args", "fromImage", "fromSrc", "repo", "tag", "names", "term", "type",
           "noprune", "one-shot", "verbose", "scope", "digests"]
BODIES: dict[str, type[bodies.Body]] = {
    "ContainerCreate": bodies.ContainerCreate, "ContainerUpdate": bodies.ContainerUpdate,
    "ContainerExec": bodies.ExecCreate, "ExecStart": bodies.ExecStart, "NetworkCreate": bodies.NetworkCreate,
    "NetworkConnect": bodies.NetworkConnect, "NetworkDisconnect": bodies.NetworkDisconnect,
    "VolumeCreate": bodies.VolumeCreate, "SystemAuth": bodies.AuthConfig,
}
COMMANDS = [["true"], ["false"], ["nosuchprogram"], [], None, "true", [""], ["sh", "-c", "echo x; exit 3"]]
# What would reach out of the test (devices, the host's namespaces, its files) or wait for long is never asked.
KEPT_AWAY = {"Cmd", "Entrypoint", "Shell", "Binds", "Mounts", "Devices", "Privileged", "NetworkMode", "PidMode",
             "IpcMode", "UTSMode", "Healthcheck", "Test", "RestartPolicy", "PortBindings", "Sysctls"}


class Fuzz:
    def __init__(self, seed: int, ids: list[str]) -> None:
        self._random = random.Random(seed)
        self._ids = ids

    def route(self) -> Route:
        return self._random.choice(ROUTES)

    def request(self, route: Route) -> tuple[str, str, bytes]:
        """(method, target, body)."""
        return route.method, self._target(route), self._body(route)

    def headers(self) -> str:
        """Some that the server looks at, with values that it doesn't like."""
        names = ["Upgrade", "Connection", "Content-Type", "X-Registry-Auth", "X-Registry-Config", "Expect", "Accept",
                 "Sec-WebSocket-Key", "User-Agent", "If-None-Match", "X-" + "a" * 200]
        values = ["", "x", "tcp", "websocket", "Upgrade", "application/json", "text/plain; charset=\xff", "e30=",
                  "====", "eyJ1c2VybmFtZSI6MX0=", "bnVsbA==", "W10=", "\xe9" * 50, "y" * 8000, "{}"]
        chosen = self._random.sample(names, self._random.choice([0, 0, 1, 3]))
        return "".join(f"{name}: {self._random.choice(values)}\r\n" for name in chosen)

    def _target(self, route: Route) -> str:
        path = route.pattern
        while "{" in path:
            before, _, rest = path.partition("{")
            name, _, after = rest.partition("}")
            value = self._random.choice(self._ids if self._ids and self._random.random() < 0.6 else TEXTS)
            path = before + quote(value, safe="/:" if name.endswith("*") else ":") + after
        version = self._random.choice(["", "/v1.51", "/v1.24", "/v1.41"])
        query = [(self._random.choice(QUERIES), self._value()) for _ in range(self._random.choice([0, 0, 1, 2, 5]))]
        return version + path + ("?" + urlencode(query) if query else "")

    def _value(self) -> str:
        kind = self._random.randrange(4)
        if kind == 0:
            return json.dumps({self._random.choice([*TEXTS, "label", "status"]): [self._random.choice(TEXTS)]})
        return self._random.choice(TEXTS) if kind < 3 else str(self._random.choice(NUMBERS))

    def _body(self, route: Route) -> bytes:
        kind = BODIES.get(route.operation)
        if kind is None or self._random.random() < 0.1:
            return self._random.choice([b"", b"{", b"[]", b"null", b"\xff", b'{"x": 1}', b"[" * 10_000])
        body = self._struct(kind)
        if kind in (bodies.ContainerCreate, bodies.ExecCreate):
            body["Cmd"] = self._random.choice(COMMANDS)
            body.setdefault("Image", "busybox")
        return json.dumps(body).encode()

    def _struct(self, kind: type[bodies.Body]) -> dict[str, Any]:
        hints = get_type_hints(kind)
        wanted = [n for n in kind.__struct_fields__ if n not in KEPT_AWAY]
        chosen = self._random.sample(wanted, min(len(wanted), self._random.choice([0, 1, 2, 4])))
        return {name: self._typed(hints[name]) for name in chosen}

    def _typed(self, hint: Any) -> Any:
        """Mostly a value of the right type; now and then of any."""
        if self._random.random() < 0.1:
            return self._random.choice([None, True, "x", 1, 1.5, [], {}, [[]], {"": None}])
        origin, args = get_origin(hint), get_args(hint)
        if isinstance(hint, type) and issubclass(hint, bodies.Body):
            return self._struct(hint)
        if origin is list:
            return [self._typed(args[0]) for _ in range(self._random.randrange(3))]
        if origin is dict:
            return {self._random.choice(TEXTS): self._typed(args[1]) for _ in range(self._random.randrange(3))}
        if args:
            return self._typed(args[0])
        if hint is bool:
            return self._random.random() < 0.5
        return self._random.choice(NUMBERS if hint is int else TEXTS)
