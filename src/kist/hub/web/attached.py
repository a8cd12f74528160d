"""What refers to an image: bills of materials, signatures; listed on the image's page, and to download."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, islice
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from kist.hub import names
from kist.hub.errors import HubError
from kist.hub.hub import Hub, hub_of, in_thread
from kist.hub.metadata import StoredManifest
from kist.hub.v2.bodies import BlobResponse
from kist.hub.web.read import parsed_manifest, readable
from kist.hub.web.render import HEADERS
from kist.oci.digest import Digest
from kist.oci.manifest import Index, Manifest

IN_TOTO = "application/vnd.in-toto+json"
MOST_ATTACHED, MOST_FILES = 50, 20
#: What people call the kinds of artifacts; others are shown by their media type.
KINDS = {
    "application/spdx+json": "Bill of materials (SPDX)",
    "application/vnd.cyclonedx+json": "Bill of materials (CycloneDX)",
    "application/vnd.dev.cosign.artifact.sig.v1+json": "Signature (cosign)",
    "application/vnd.cncf.notary.signature": "Signature (Notary)",
    IN_TOTO: "Attestation (in-toto)",
}


@dataclass(frozen=True)
class Attached:
    """Something that refers to the image: a bill of materials, a signature."""

    digest: str  # of its manifest
    kind: str
    pushed: float
    files: list[tuple[str, int]]  # name and bytes of each of its blobs


def attachments(
    hub: Hub, name: str, subjects: Sequence[StoredManifest | None], proofs: Sequence[Digest] = ()
) -> list[Attached]:
    """What refers to the ``subjects`` (an image, the index that it is in), and the ``proofs`` that the index has."""
    found = []
    referring = chain.from_iterable(hub.metadata.referrers(name, one.digest) for one in subjects if one)
    beside = (hub.metadata.manifest(name, digest) for digest in proofs)
    for one in islice((one for one in chain(referring, beside) if one), MOST_ATTACHED):
        parsed = parsed_manifest(one)
        files = ([(_file_name(parsed, at, name), entry.size) for at, entry in enumerate(parsed.layers[:MOST_FILES])]
                 if isinstance(parsed, Manifest) else [])
        found.append(Attached(one.digest, _kind(one, parsed), one.pushed, files))
    return found


def _kind(stored: StoredManifest, parsed: Manifest | Index | None) -> str:
    if isinstance(parsed, Manifest) and parsed.subject is None and parsed.layers:
        return parsed.layers[0].media_type  # an attestation of BuildKit calls itself an image
    return stored.artifact_type or stored.media_type


async def download(request: Request, name: str, digest: str, number: str) -> Response:
    """One blob of something attached, as a file to keep: never shown by the browser as a page of ours."""
    hub = hub_of(request)
    await in_thread(readable, hub, request, name)
    stored = await in_thread(hub.content.manifest, name, names.digest(digest))
    parsed = parsed_manifest(stored)
    at = int(number) if number.isascii() and number.isdigit() and len(number) < 3 else -1
    if not isinstance(parsed, Manifest) or not 0 <= at < len(parsed.layers):
        raise HubError("BLOB_UNKNOWN")
    if parsed.subject is None and parsed.layers[at].media_type != IN_TOTO:
        raise HubError("BLOB_UNKNOWN")
    entry = parsed.layers[at]
    size = await in_thread(hub.content.blob_size, name, entry.digest)
    headers = {**HEADERS, "Content-Type": "application/octet-stream",
               "Content-Disposition": f"attachment; filename*=UTF-8''{quote(_file_name(parsed, at, name), safe='')}"}
    return BlobResponse(await in_thread(hub.content.open_blob, name, entry.digest), 0, size, 200, headers)


def _file_name(parsed: Manifest, at: int, name: str) -> str:
    """What whoever attached it calls it, else one made of the repository's name and the media type."""
    entry = parsed.layers[at]
    title = (entry.annotations or {}).get("org.opencontainers.image.title", "").replace("\\", "/").rpartition("/")[2]
    if title.strip("."):
        return title[:100]
    kind = entry.media_type.partition("/")[2].partition(";")[0].replace("+", ".")
    subject = "-" + parsed.subject.digest.partition(":")[2][:12] if parsed.subject else ""
    return f"{name.rpartition('/')[2]}{subject}.{kind}"
