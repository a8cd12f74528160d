"""Pushing: blobs first, each only if the registry lacks it, then the manifest that names them.

    push = Push(client, "library/app")
    push.blob(descriptor, source, mount_from="library/base")     # source(offset) → chunks from there on
    push.manifest("1.0", content, media_type)

A blob goes up in one PUT; where the connection breaks, the registry is asked how far it got and the
rest is sent in PATCHes (distribution-spec 1.1, #pushing-blobs).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from urllib.parse import quote, urljoin

from kist.errors import KistError, NotFound, Unavailable
from kist.oci import digest as digests
from kist.oci.digest import Digest
from kist.oci.manifest import Descriptor
from kist.registry.client import RegistryClient, check_redirect
from kist.registry.protocol import Endpoint, Subject, uploaded_bytes
from kist.registry.pull import VerificationFailed
from kist.registry.transport import Answer, ConnectionFailed

# Gives the blob's bytes from an offset on; called again with another offset to resume.
Source = Callable[[int], Iterable[bytes]]
CHUNK = 16 << 20


class Outcome(Enum):
    """What became of a blob; the words are those of docker push's progress lines."""

    EXISTS = "Layer already exists"
    MOUNTED = "Mounted from"
    PUSHED = "Pushed"


class Push:
    """Pushes to one repository. Thread-safe: several blobs may go up side by side."""

    def __init__(self, client: RegistryClient, name: str, *, familiar: str = "") -> None:
        self._client = client
        self._name = name
        self._subject = Subject(familiar or name, action="push")
        self._scope = f"repository:{name}:pull,push"

    def has_blob(self, digest: Digest) -> bool:
        def act(endpoint: Endpoint) -> bool:
            answer = self._request(endpoint, "HEAD", endpoint.blob(self._name, digest), expect=(200, 404))
            answer.close()
            return answer.status == 200

        return self._client.ask(act, mirrors=False)

    def blob(
        self, descriptor: Descriptor, source: Source, *, mount_from: str = "",
        progress: Callable[[int], None] = lambda sent: None, chunk_size: int = 0,
    ) -> Outcome:
        """See to it that the registry has the blob. ``progress`` gets the number of bytes sent so far.

        ``chunk_size`` > 0 sends PATCHes of that size from the start, for proxies that bound requests.
        """
        if self.has_blob(descriptor.digest):
            return Outcome.EXISTS
        return self._client.ask(
            lambda endpoint: self._upload(endpoint, descriptor, source, mount_from, progress, chunk_size),
            mirrors=False)

    def manifest(self, reference: str, content: bytes, media_type: str) -> Digest:
        """Publish ``content`` under a tag or its digest. Returns the digest."""
        digest = digests.of(content)

        def act(endpoint: Endpoint) -> Digest:
            with self._request(endpoint, "PUT", endpoint.manifest(self._name, reference), body=content,
                               headers={"Content-Type": media_type}, expect=(201, 202, 200)) as answer:
                announced = answer.header("Docker-Content-Digest")
            if digests.is_digest(announced) and announced != digest and announced.startswith("sha256:"):
                raise VerificationFailed(f"the registry keeps the manifest as {announced}, it is {digest}")
            return digest

        return self._client.ask(act, mirrors=False)

    def has_manifest(self, digest: Digest) -> bool:
        def act(endpoint: Endpoint) -> bool:
            answer = self._request(endpoint, "HEAD", endpoint.manifest(self._name, digest), expect=(200, 404))
            answer.close()
            return answer.status == 200

        return self._client.ask(act, mirrors=False)

    # --- one blob -------------------------------------------------------------------------------------

    def _upload(
        self, endpoint: Endpoint, descriptor: Descriptor, source: Source, mount_from: str,
        progress: Callable[[int], None], chunk_size: int,
    ) -> Outcome:
        location = self._start(endpoint, descriptor.digest, mount_from)
        if location is None:
            return Outcome.MOUNTED
        patience = self._client.config.patience
        failures, sent, whole = 0, 0, chunk_size <= 0
        while True:
            try:
                if whole:
                    body = _counted(source(0), descriptor.size, progress, 0)
                    self._finish(endpoint, location, descriptor, body, descriptor.size)
                    return Outcome.PUSHED
                while sent < descriptor.size:
                    size = chunk_size or CHUNK
                    location = self._patch(endpoint, location, source, sent, min(sent + size, descriptor.size))
                    failures, sent = 0, min(sent + size, descriptor.size)
                    progress(sent)
                self._finish(endpoint, location, descriptor, b"", 0)
                return Outcome.PUSHED
            except ConnectionFailed:
                failures += 1
                if failures > patience.retries:
                    raise
                time.sleep(min(patience.pause * 2 ** (failures - 1), 10.0))
                if self.has_blob(descriptor.digest):
                    return Outcome.PUSHED  # it was the answer that got lost
                location, sent = self._where(endpoint, location, descriptor.digest)
                whole = False

    def _start(self, endpoint: Endpoint, digest: Digest, mount_from: str) -> str | None:
        """The upload's location, None where the registry mounted the blob from another repository."""
        query = {"mount": digest, "from_": mount_from} if mount_from and mount_from != self._name else {}
        scope = f"{self._scope} repository:{mount_from}:pull" if query else self._scope
        url = endpoint.uploads(self._name, **query)
        with self._request(endpoint, "POST", url, scope=scope, body=b"", expect=(201, 202)) as answer:
            return None if answer.status == 201 else _location(endpoint, answer)

    def _patch(self, endpoint: Endpoint, location: str, source: Source, start: int, end: int) -> str:
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(end - start),
                   "Content-Range": f"{start}-{end - 1}"}
        body = _counted(source(start), end - start, lambda sent: None, 0)
        with self._request(endpoint, "PATCH", location, body=body, headers=headers,
                           expect=(202, 201, 204)) as answer:
            return _location(endpoint, answer)

    def _finish(
        self, endpoint: Endpoint, location: str, descriptor: Descriptor, body: bytes | Iterator[bytes], size: int
    ) -> None:
        url = location + ("&" if "?" in location else "?") + "digest=" + quote(descriptor.digest, safe=":")
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
        self._request(endpoint, "PUT", url, body=body, headers=headers, expect=(201, 204)).discard()

    def _where(self, endpoint: Endpoint, location: str, digest: Digest) -> tuple[str, int]:
        """Where an interrupted upload stands; a new one where the registry has forgotten it."""
        try:
            with self._request(endpoint, "GET", location, expect=(204, 200)) as answer:
                sent = uploaded_bytes(answer.header("Range") or "0-0")
                if sent is not None:
                    return _location(endpoint, answer, location), sent
        except NotFound:
            pass
        fresh = self._start(endpoint, digest, "")
        assert fresh is not None  # nothing was asked to be mounted
        return fresh, 0

    def _request(
        self, endpoint: Endpoint, method: str, url: str, *, expect: tuple[int, ...], scope: str = "",
        headers: dict[str, str] | None = None, body: bytes | Iterator[bytes] | None = None,
    ) -> Answer:
        return self._client.request(endpoint, method, url, subject=self._subject, scope=scope or self._scope,
                                    headers=headers, body=body, expect=expect)


def _location(endpoint: Endpoint, answer: Answer, fallback: str = "") -> str:
    header = answer.header("Location") or fallback
    if not header:
        raise Unavailable(f'"{answer.url}": the registry does not say where the upload goes')
    target = urljoin(answer.url, header)
    check_redirect(endpoint, answer.url, target)
    return target


def _counted(
    chunks: Iterable[bytes], size: int, progress: Callable[[int], None], start: int
) -> Iterator[bytes]:
    """Exactly ``size`` bytes of ``chunks``."""
    left = size
    for chunk in chunks:
        part = chunk[:left] if len(chunk) > left else chunk
        left -= len(part)
        if part:
            yield part
            progress(start + size - left)
        if left == 0:
            return
    if left:
        raise KistError(f"unexpected EOF: the blob ends {left} bytes early")
