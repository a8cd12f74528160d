"""Networks (Engine API v1.51, tag *Network*)."""

from __future__ import annotations

from kist.client.client import Client, quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    JSON = dict[str, Any]
    Filters = dict[str, list[str]] | None


class Networks:
    """`client.networks`. A network is named by its id, a unique prefix of it, or its name."""

    __slots__ = ("_client",)

    def __init__(self, client: Client) -> None:
        self._client = client

    def list(self, filters: Filters = None) -> list[JSON]:
        """All networks."""
        return list(self._client.call("GET", "/networks", {"filters": filters}))

    def inspect(self, network: str, *, verbose: bool = False, scope: str = "") -> JSON:
        """Everything about one."""
        query = {"verbose": verbose or None, "scope": scope}
        return dict(self._client.call("GET", f"/networks/{quote(network)}", query))

    def map(self, *networks: str) -> JSON:
        """Who can reach whom, on these networks or on all (Kist's own)."""
        return dict(self._client.call("GET", "/kist/networks/map", {"network": list(networks) or None}))

    def map_svg(self, *networks: str) -> str:
        """The same as a drawing: SVG."""
        query = {"network": list(networks) or None, "format": "svg"}
        return self._client.request("GET", "/kist/networks/map", query).read().decode()

    def create(self, body: JSON) -> JSON:
        """Make one; returns `{"Id": …, "Warning": …}`."""
        return dict(self._client.call("POST", "/networks/create", None, body))

    def remove(self, network: str) -> None:
        """Remove one that no container uses."""
        self._client.call("DELETE", f"/networks/{quote(network)}")

    def connect(self, network: str, container: str, endpoint: JSON | None = None) -> None:
        """Give a container one more network."""
        body: JSON = {"Container": container, "EndpointConfig": endpoint or {}}
        self._client.call("POST", f"/networks/{quote(network)}/connect", None, body)

    def disconnect(self, network: str, container: str, *, force: bool = False) -> None:
        """Take it away again."""
        body = {"Container": container, "Force": force}
        self._client.call("POST", f"/networks/{quote(network)}/disconnect", None, body)

    def prune(self, filters: Filters = None) -> JSON:
        """Remove unused ones: `{"NetworksDeleted": […]}`."""
        return dict(self._client.call("POST", "/networks/prune", {"filters": filters}))
