"""Volumes (Engine API v1.51, tag *Volume*)."""

from __future__ import annotations

from kist.client.client import Client, quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    JSON = dict[str, Any]
    Filters = dict[str, list[str]] | None


class Volumes:
    """`client.volumes`."""

    __slots__ = ("_client",)

    def __init__(self, client: Client) -> None:
        self._client = client

    def list(self, filters: Filters = None) -> JSON:
        """`{"Volumes": […], "Warnings": […]}`."""
        return dict(self._client.call("GET", "/volumes", {"filters": filters}))

    def inspect(self, volume: str) -> JSON:
        """Everything about one."""
        return dict(self._client.call("GET", f"/volumes/{quote(volume)}"))

    def create(self, body: JSON) -> JSON:
        """Make one, or find the one of that name."""
        return dict(self._client.call("POST", "/volumes/create", None, body))

    def remove(self, volume: str, *, force: bool = False) -> None:
        """Remove one that no container uses; `force`: no error when there is none."""
        self._client.call("DELETE", f"/volumes/{quote(volume)}", {"force": force or None})

    def prune(self, filters: Filters = None) -> JSON:
        """Remove unused ones: `{"VolumesDeleted": […], "SpaceReclaimed": n}`."""
        return dict(self._client.call("POST", "/volumes/prune", {"filters": filters}))
