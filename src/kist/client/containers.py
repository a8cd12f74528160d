"""Containers: one method per request of the Engine API (v1.51, tag *Container*)."""

from __future__ import annotations

from kist.client.client import Client, Exchange, quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from kist.client.transport import Response

    JSON = dict[str, Any]
    Rows = list[JSON]
    Filters = dict[str, list[str]] | None

# What turns an HTTP exchange into a raw two-way stream (attach, exec start).
UPGRADE = {"Connection": "Upgrade", "Upgrade": "tcp"}


class Containers:
    """`client.containers`. A container is named by its id, a unique prefix of it, or its name."""

    __slots__ = ("_client",)

    def __init__(self, client: Client) -> None:
        self._client = client

    def _post(self, container: str, verb: str, query: JSON | None = None, body: JSON | None = None) -> Any:
        return self._client.call("POST", f"/containers/{quote(container)}/{verb}", query, body)

    def send_post(self, container: str, verb: str, query: JSON | None = None) -> Exchange:
        """Ask for `stop`, `kill`… and leave the answer for later: many containers take no longer than one."""
        return self._client.send("POST", f"/containers/{quote(container)}/{verb}", query)

    def send_remove(self, container: str, *, force: bool = False, volumes: bool = False,
                    link: bool = False) -> Exchange:
        """As `remove`, the answer left for later."""
        query = {"force": force or None, "v": volumes or None, "link": link or None}
        return self._client.send("DELETE", f"/containers/{quote(container)}", query)

    def list(self, *, all: bool = False, limit: int | None = None, size: bool = False,
             filters: Filters = None) -> Rows:
        """Summaries of the running containers, or of all; newest first."""
        query = {"all": all or None, "limit": limit, "size": size or None, "filters": filters}
        return list(self._client.call("GET", "/containers/json", query))

    def create(self, body: JSON, *, name: str = "", platform: str = "") -> JSON:
        """Make a container of an image that is there; returns `{"Id": …, "Warnings": […]}`."""
        query = {"name": name, "platform": platform}
        return dict(self._client.call("POST", "/containers/create", query, body))

    def inspect(self, container: str, *, size: bool = False) -> JSON:
        """Everything about one container."""
        path = f"/containers/{quote(container)}/json"
        return dict(self._client.call("GET", path, {"size": size or None}))

    def inspect_raw(self, container: str, *, size: bool = False) -> bytes:
        """The same as the bytes that the server sent, its order of keys kept."""
        path = f"/containers/{quote(container)}/json"
        return self._client.request("GET", path, {"size": size or None}).read()

    def start(self, container: str, *, detach_keys: str = "") -> None:
        """Start it; nothing happens when it runs already."""
        self._post(container, "start", {"detachKeys": detach_keys})

    def stop(self, container: str, *, timeout: int | None = None, signal: str = "") -> None:
        """Ask it to end, and kill it when it hasn't after `timeout` seconds (-1: wait for ever)."""
        self._post(container, "stop", {"t": timeout, "signal": signal})

    def restart(self, container: str, *, timeout: int | None = None, signal: str = "") -> None:
        """Stop and start."""
        self._post(container, "restart", {"t": timeout, "signal": signal})

    def kill(self, container: str, signal: str = "KILL") -> None:
        """Send a signal (a name with or without SIG, or a number) to its first process."""
        self._post(container, "kill", {"signal": signal})

    def pause(self, container: str) -> None:
        """Freeze all its processes."""
        self._post(container, "pause")

    def unpause(self, container: str) -> None:
        """Let them go on."""
        self._post(container, "unpause")

    def rename(self, container: str, name: str) -> None:
        """Give it another name."""
        self._post(container, "rename", {"name": name})

    def update(self, container: str, body: JSON) -> JSON:
        """Change limits and the restart policy; returns `{"Warnings": […]}`."""
        return dict(self._post(container, "update", None, body) or {})

    def send_update(self, container: str, body: JSON) -> Exchange:
        """As `update`, the answer left for later."""
        return self._client.send("POST", f"/containers/{quote(container)}/update", None, body)

    def remove(self, container: str, *, force: bool = False, volumes: bool = False, link: bool = False) -> None:
        """Remove it (a running one only by `force`), with its anonymous volumes when told."""
        self.send_remove(container, force=force, volumes=volumes, link=link).answer().read()

    def prune(self, filters: Filters = None) -> JSON:
        """Remove all stopped ones; returns `{"ContainersDeleted": […], "SpaceReclaimed": n}`."""
        return dict(self._client.call("POST", "/containers/prune", {"filters": filters}))

    def wait(self, container: str, condition: str = "") -> JSON:
        """Wait until it has stopped; returns `{"StatusCode": n}`, with `"Error"` when waiting failed."""
        return wait_result(self.send_wait(container, condition).answer())

    def send_wait(self, container: str, condition: str = "") -> Exchange:
        """Register a wait; its answer's *head* comes as soon as it is registered, the body at the end."""
        return self._client.send("POST", f"/containers/{quote(container)}/wait", {"condition": condition})

    def attach(self, container: str, **options: Any) -> Response:
        """Take part in its streams: see `send_attach`; hijack the answer for the raw socket."""
        return self.send_attach(container, **options).answer()

    def send_attach(self, container: str, *, stdin: bool = False, stdout: bool = False, stderr: bool = False,
                    logs: bool = False, stream: bool = True, detach_keys: str = "") -> Exchange:
        """Ask to attach. Without a terminal the output comes in frames (`streams.Demultiplexer`)."""
        query = {"stream": stream or None, "stdin": stdin or None, "stdout": stdout or None,
                 "stderr": stderr or None, "logs": logs or None, "detachKeys": detach_keys}
        return self._client.send("POST", f"/containers/{quote(container)}/attach", query, None, UPGRADE)

    def resize(self, container: str, height: int, width: int) -> None:
        """Tell its terminal the size."""
        self._post(container, "resize", {"h": height, "w": width})

    def logs(self, container: str, *, stdout: bool = True, stderr: bool = True, follow: bool = False,
             since: str = "", until: str = "", timestamps: bool = False, tail: str = "",
             details: bool = False) -> Response:
        """What it wrote; the body comes in frames unless it has a terminal."""
        query = {"stdout": stdout or None, "stderr": stderr or None, "follow": follow or None, "since": since,
                 "until": until, "timestamps": timestamps or None, "tail": tail, "details": details or None}
        return self._client.request("GET", f"/containers/{quote(container)}/logs", query)

    def top(self, container: str, arguments: str = "") -> JSON:
        """Its processes: `{"Titles": […], "Processes": [[…]]}`."""
        path = f"/containers/{quote(container)}/top"
        return dict(self._client.call("GET", path, {"ps_args": arguments}))

    def explain(self, container: str) -> JSON:
        """What the kernel was asked for to make it, and what is the case: `{"plan", "now", …}`. Kist's own."""
        return dict(self._client.call("GET", f"/kist/containers/{quote(container)}/explain"))

    def changes(self, container: str) -> Rows:
        """What its file system has that its image hasn't: Kind 0 changed, 1 added, 2 deleted."""
        return self._client.call("GET", f"/containers/{quote(container)}/changes") or []

    def stats(self, container: str, *, stream: bool = True, one_shot: bool = False) -> Iterator[JSON]:
        """Figures of use, one a second, or one."""
        query = {"stream": stream, "one-shot": one_shot or None}
        return self._client.stream("GET", f"/containers/{quote(container)}/stats", query)

    def send_stats(self, container: str) -> Exchange:
        """Ask for one sample as it is now, the answer left for later."""
        return self._client.send("GET", f"/containers/{quote(container)}/stats", {"stream": False, "one-shot": True})

    def export(self, container: str) -> Response:
        """Its file system as a tar archive."""
        return self._client.request("GET", f"/containers/{quote(container)}/export")

    def stat(self, container: str, path: str) -> JSON:
        """What a path in it is: `{"name", "size", "mode", "mtime", "linkTarget"}`."""
        response = self._client.request("HEAD", f"/containers/{quote(container)}/archive", {"path": path})
        return path_stat(response)

    def get_archive(self, container: str, path: str) -> Response:
        """A path in it as a tar archive."""
        return self._client.request("GET", f"/containers/{quote(container)}/archive", {"path": path})

    def put_archive(self, container: str, path: str, tar: Iterable[bytes], *, keep_types: bool = True,
                    copy_owner: bool = False) -> None:
        """Unpack a tar archive at a folder in it; `keep_types`: no folder replaces a file, nor a file one."""
        query = {"path": path, "noOverwriteDirNonDir": "true" if keep_types else None,
                 "copyUIDGID": "true" if copy_owner else None}
        self._client.request("PUT", f"/containers/{quote(container)}/archive", query, tar,
                             {"Content-Type": "application/x-tar"}).read()

    def commit(self, container: str, *, repo: str = "", tag: str = "", comment: str = "", author: str = "",
               pause: bool = True, changes: Iterable[str] = (), config: JSON | None = None) -> JSON:
        """Make an image of it; returns `{"Id": …}`."""
        query = {"container": container, "repo": repo, "tag": tag, "comment": comment, "author": author,
                 "pause": None if pause else "0", "changes": [*changes]}
        return dict(self._client.call("POST", "/commit", query, config or {}))


def wait_result(response: Response) -> JSON:
    """The result of a registered wait, as soon as it is there."""
    from kist.client import wirejson

    return dict(wirejson.loads(response.read()))


def path_stat(response: Response) -> JSON:
    """The JSON in base64 that answers about archives carry in a header."""
    from binascii import a2b_base64

    from kist.client import wirejson

    return dict(wirejson.loads(a2b_base64(response.headers.get("x-docker-container-path-stat", "e30="))))


__all__ = ["UPGRADE", "Containers", "path_stat", "wait_result"]
