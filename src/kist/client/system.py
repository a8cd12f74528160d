"""The server as a whole (Engine API v1.51, tag *System*)."""

from __future__ import annotations

from kist.client.client import Client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    JSON = dict[str, Any]
    Filters = dict[str, list[str]] | None


class System:
    """`client.system`."""

    __slots__ = ("_client",)

    def __init__(self, client: Client) -> None:
        self._client = client

    def ping(self) -> dict[str, str]:
        """The answer's headers: `api-version`, `ostype`, `server`…"""
        response = self._client.request("GET", "/_ping")
        response.read()
        return response.headers

    def version(self) -> JSON:
        """Versions of the server's parts."""
        return dict(self._client.call("GET", "/version"))

    def info(self) -> JSON:
        """The server's state and abilities."""
        return dict(self._client.call("GET", "/info"))

    def df(self, types: tuple[str, ...] = ()) -> JSON:
        """What takes how much room."""
        return dict(self._client.call("GET", "/system/df", {"type": [*types]}))

    def plugins(self) -> list[JSON]:
        """The plugins that the server has (Kist: none)."""
        return list(self._client.call("GET", "/plugins") or [])

    def events(self, *, since: str = "", until: str = "", filters: Filters = None) -> Iterator[JSON]:
        """What happens, as it happens; from `since` on and up to `until`, when told."""
        return self._client.stream("GET", "/events", {"since": since, "until": until, "filters": filters})

    def check(self, *, repair: bool = False) -> Iterator[JSON]:
        """Check the whole store; the last message's `aux` has `{"Checked", "Findings"}`. Kist's own."""
        return self._client.stream("POST", "/kist/check", {"repair": repair or None})

    def auth(self, credentials: JSON) -> JSON:
        """Check credentials with their registry: `{"Status": …, "IdentityToken": …}`."""
        return dict(self._client.call("POST", "/auth", None, credentials) or {})
