"""Volumes (Engine API v1.51, tag *Volume*)."""

from __future__ import annotations

from kist.client.client import Client, quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from kist.client.transport import Response

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

    def export(self, volume: str) -> Response:
        """Everything in it; `.chunks()` are a tar archive's bytes."""
        return self._client.request("GET", f"/kist/volumes/{quote(volume)}/export")

    def import_(self, volume: str, tar: Iterable[bytes]) -> None:
        """Unpack a tar archive (also a compressed one) in it; a volume that isn't there is made."""
        self._client.request("POST", f"/kist/volumes/{quote(volume)}/import", None, tar,
                             {"Content-Type": "application/x-tar"}).read()

    def snapshot(self, volume: str, name: str = "", *, pause: bool = True) -> JSON:
        """A new volume with its present content; `Cloned` and `Copied` count the files by how they got there."""
        query = {"name": name or None, "pause": None if pause else "0"}
        return dict(self._client.call("POST", f"/kist/volumes/{quote(volume)}/snapshot", query))

    def restore(self, volume: str, source: str) -> JSON:
        """Its content becomes that of the volume `source`."""
        return dict(self._client.call("POST", f"/kist/volumes/{quote(volume)}/restore", {"from": source}))

    def remove(self, volume: str, *, force: bool = False) -> None:
        """Remove one that no container uses; `force`: no error when there is none."""
        self._client.call("DELETE", f"/volumes/{quote(volume)}", {"force": force or None})

    def prune(self, filters: Filters = None) -> JSON:
        """Remove unused ones: `{"VolumesDeleted": […], "SpaceReclaimed": n}`."""
        return dict(self._client.call("POST", "/volumes/prune", {"filters": filters}))
