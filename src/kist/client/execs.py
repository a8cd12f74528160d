"""Commands run in running containers (Engine API v1.51, tag *Exec*)."""

from __future__ import annotations

from kist.client.client import Client, quote
from kist.client.containers import UPGRADE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from kist.client.transport import Response

    JSON = dict[str, Any]


class Execs:
    """`client.execs`."""

    __slots__ = ("_client",)

    def __init__(self, client: Client) -> None:
        self._client = client

    def create(self, container: str, body: JSON) -> str:
        """Prepare a command; returns the exec's id."""
        return str(self._client.call("POST", f"/containers/{quote(container)}/exec", None, body)["Id"])

    def start(self, exec_id: str, *, tty: bool = False, size: tuple[int, int] | None = None) -> Response:
        """Start it and take its streams: hijack the answer for the raw socket. `size`: (height, width)."""
        body: JSON = {"Detach": False, "Tty": tty}
        if size and tty:
            body["ConsoleSize"] = list(size)
        return self._client.request("POST", f"/exec/{quote(exec_id)}/start", None, body, UPGRADE)

    def start_detached(self, exec_id: str, *, tty: bool = False) -> None:
        """Start it and leave it alone."""
        self._client.call("POST", f"/exec/{quote(exec_id)}/start", None, {"Detach": True, "Tty": tty})

    def resize(self, exec_id: str, height: int, width: int) -> None:
        """Tell its terminal the size."""
        self._client.call("POST", f"/exec/{quote(exec_id)}/resize", {"h": height, "w": width})

    def inspect(self, exec_id: str) -> JSON:
        """What it is and how it ended: `Running`, `ExitCode`, `Pid`…"""
        return dict(self._client.call("GET", f"/exec/{quote(exec_id)}/json"))
