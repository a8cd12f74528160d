"""Reading for the pages: what may be seen, parsed manifests, image configurations."""

from __future__ import annotations

from starlette.requests import Request

from kist.errors import KistError
from kist.hub.errors import HubError
from kist.hub.hub import Hub
from kist.hub.metadata import Repository, StoredManifest
from kist.oci import image as images
from kist.oci import manifest as manifests
from kist.oci.image import ImageConfig
from kist.oci.manifest import Descriptor, Index, Manifest


def readable(hub: Hub, request: Request, name: str) -> Repository:
    """The repository, if whoever asks may see it; raises HubError. What one may not see is not there."""
    found = hub.metadata.repository(name)
    if found is None or not hub.access.may_pull(request, name) or not hub.metadata.has_manifests(name):
        raise HubError("NAME_UNKNOWN")
    return found


def parsed_manifest(stored: StoredManifest | None) -> Manifest | Index | None:
    return manifests.parse(stored.content, stored.media_type) if stored else None


def subject_of_proof(entry: Descriptor) -> str:
    """Of which image of the same index this entry is BuildKit's attestation; "" for an image."""
    found = entry.annotations or {}
    is_proof = found.get("vnd.docker.reference.type") == "attestation-manifest"
    return found.get("vnd.docker.reference.digest", "?") if is_proof else ""


def images_of(index: Index) -> list[Descriptor]:
    """What an index is for: its entries without those that say something about others."""
    return [entry for entry in index.manifests if not subject_of_proof(entry)]


def image_size(parsed: Manifest) -> int:
    return sum(entry.size for entry in parsed.blobs)


def read_config(hub: Hub, name: str, parsed: Manifest) -> ImageConfig | None:
    """The image's configuration; None for artifacts, and where the repository hasn't got it or it is broken."""
    if not parsed.is_image or parsed.config.size > images.MAX_CONFIG:
        return None
    try:
        with hub.content.open_blob(name, parsed.config.digest) as file:
            return images.parse(file.read(images.MAX_CONFIG + 1))  # whatever size the manifest claims
    except (OSError, KistError, HubError):
        return None
