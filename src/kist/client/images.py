"""Images (Engine API v1.51, tag *Image*)."""

from __future__ import annotations

from kist.client.client import Client, quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from kist.client.transport import Response

    JSON = dict[str, Any]
    Rows = list[JSON]
    Filters = dict[str, list[str]] | None


class Images:
    """`client.images`. An image is named by a reference (`busybox`, `host/name:tag`, `…@sha256:…`) or its id."""

    __slots__ = ("_client",)

    def __init__(self, client: Client) -> None:
        self._client = client

    def list(self, *, all: bool = False, filters: Filters = None, digests: bool = False) -> Rows:
        """Summaries of the images that are here."""
        query = {"all": all or None, "filters": filters, "digests": digests or None}
        return list(self._client.call("GET", "/images/json", query))

    def pull(self, image: str, *, platform: str = "", auth: JSON | None = None, tag: str = "") -> Iterator[JSON]:
        """Get an image from its registry; yields the progress as the server tells it."""
        query = {"fromImage": image, "tag": tag, "platform": platform}
        return self._client.stream("POST", "/images/create", query, None, auth_header(auth))

    def import_(self, source: str, *, repo: str = "", tag: str = "", message: str = "", platform: str = "",
                changes: Iterable[str] = (), tar: Iterable[bytes] | None = None) -> Iterator[JSON]:
        """Make an image of one tar archive (`source` "-": the bytes of `tar`; else a URL)."""
        query = {"fromSrc": source, "repo": repo, "tag": tag, "message": message, "platform": platform,
                 "changes": [*changes]}
        return self._client.stream("POST", "/images/create", query, tar)

    def inspect(self, image: str) -> JSON:
        """Everything about one image."""
        return dict(self._client.call("GET", f"/images/{quote(image)}/json"))

    def inspect_raw(self, image: str, *, platform: str = "") -> bytes:
        """The same as the bytes that the server sent."""
        query = {"platform": platform}
        return self._client.request("GET", f"/images/{quote(image)}/json", query).read()

    def history(self, image: str, *, platform: str = "") -> Rows:
        """How it was made, newest step first."""
        return self._client.call("GET", f"/images/{quote(image)}/history", {"platform": platform}) or []

    def push(self, image: str, *, tag: str = "", platform: str = "", auth: JSON | None = None) -> Iterator[JSON]:
        """Send it to its registry; yields the progress."""
        query = {"tag": tag, "platform": platform}
        headers = auth_header(auth) or {"X-Registry-Auth": "e30="}  # Docker's daemon wants one: {}
        return self._client.stream("POST", f"/images/{quote(image)}/push", query, None, headers)

    def tag(self, image: str, repo: str, tag: str = "") -> None:
        """Give it one more name."""
        self._client.call("POST", f"/images/{quote(image)}/tag", {"repo": repo, "tag": tag})

    def remove(self, image: str, *, force: bool = False, prune: bool = True,
               platforms: Iterable[str] = ()) -> Rows:
        """Take a name away, and with the last one the image: `[{"Untagged": …}, {"Deleted": …}]`."""
        query = {"force": force or None, "noprune": None if prune else "1", "platforms": [*platforms]}
        return self._client.call("DELETE", f"/images/{quote(image)}", query) or []

    def search(self, term: str, *, limit: int | None = None,
               filters: Filters = None) -> Rows:
        """Look for images in the registry."""
        return self._client.call("GET", "/images/search", {"term": term, "limit": limit, "filters": filters}) or []

    def manifest(self, image: str, *, auth: JSON | None = None) -> JSON:
        """What its registry has under that name: `{"Ref", "Descriptor", "Raw": base64}`. Kist's own."""
        return dict(self._client.call("GET", f"/kist/manifests/{quote(image)}", None, None, auth_header(auth)))

    def push_manifests(self, name: str, content: str, media_type: str, sources: Iterable[str], *,
                       auth: JSON | None = None) -> JSON:
        """Send a list of manifests to its registry, and those of them that another repository there has. Kist's own."""
        body = {"Content": content, "MediaType": media_type, "Sources": [*sources]}
        return dict(self._client.call("POST", f"/kist/manifests/{quote(name)}", None, body, auth_header(auth)))

    def distribution(self, image: str, *, auth: JSON | None = None) -> JSON:
        """What its registry has under that name: `{"Descriptor": …, "Platforms": […]}`."""
        return dict(self._client.call("GET", f"/distribution/{quote(image)}/json", None, None, auth_header(auth)))

    def build(self, context: Iterable[bytes], *, tags: Iterable[str] = (), dockerfile: str = "", target: str = "",
              build_args: dict[str, str] | None = None, labels: dict[str, str] | None = None, platform: str = "",
              no_cache: bool = False, pull: bool = False) -> Iterator[JSON]:
        """Build an image of a tar archive; yields the progress. Docker's daemon does it; Kist's server refuses
        (NotSupported)."""
        query = {"t": [*tags], "dockerfile": dockerfile, "target": target, "buildargs": build_args,
                 "labels": labels, "platform": platform, "nocache": no_cache or None, "pull": pull or None}
        return self._client.stream("POST", "/build", query, context, {"Content-Type": "application/x-tar"})

    def prune_builds(self, filters: Filters = None) -> JSON:
        """Empty the build cache: `{"CachesDeleted": […], "SpaceReclaimed": n}`."""
        return dict(self._client.call("POST", "/build/prune", {"filters": filters}))

    def explain(self, image: str) -> JSON:
        """What a run of it would ask of the kernel: `{"config", "layers", "plan", …}`. Kist's own."""
        return dict(self._client.call("GET", f"/kist/images/{quote(image)}/explain"))

    def prune(self, filters: Filters = None) -> JSON:
        """Remove unused ones: `{"ImagesDeleted": […], "SpaceReclaimed": n}`."""
        return dict(self._client.call("POST", "/images/prune", {"filters": filters}))

    def save(self, images: Iterable[str], *, platforms: Iterable[str] = ()) -> Response:
        """A tar archive of images, which `load` takes."""
        return self._client.request("GET", "/images/get", {"names": [*images], "platform": [*platforms]})

    def load(self, tar: Iterable[bytes], *, quiet: bool = False, platforms: Iterable[str] = ()) -> Iterator[JSON]:
        """Take images from a tar archive; yields the progress."""
        query = {"quiet": quiet, "platform": [*platforms]}
        return self._client.stream("POST", "/images/load", query, tar, {"Content-Type": "application/x-tar"})


def auth_header(auth: JSON | None) -> dict[str, str]:
    """Credentials for a registry as the API wants them: JSON in URL-safe base64."""
    if not auth:
        return {}
    from binascii import b2a_base64

    from kist.client import wirejson

    coded = b2a_base64(wirejson.dumps(auth), newline=False).decode()
    return {"X-Registry-Auth": coded.replace("+", "-").replace("/", "_")}
