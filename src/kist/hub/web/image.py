"""An image's page, its layers' files, and the differences between two tags."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from kist.hub import anatomy, names
from kist.hub.anatomy import Difference, LayerChanges, Listing, What
from kist.hub.errors import HubError
from kist.hub.hub import Hub, hub_of, in_thread
from kist.hub.metadata import StoredManifest
from kist.hub.web.attached import KINDS, attachments
from kist.hub.web.read import image_size, images_of, parsed_manifest, read_config, readable, subject_of_proof
from kist.hub.web.render import page
from kist.oci.digest import Digest
from kist.oci.image import ImageConfig
from kist.oci.manifest import Index, Manifest

#: A page shows at most so many files, the largest first.
FILES = 400
#: Of so many entries, of all layers together, an image is taken apart; layers above that are shown as blobs only.
MOST_FILES = 400_000
WASTED = 20


@dataclass(frozen=True)
class Step:
    """One line of an image's history, beside the layer that it made."""

    command: str
    created: str
    number: int | None  # of the layer, from 0; None for a step without one
    size: int  # of the layer's blob
    changes: LayerChanges | None


@dataclass(frozen=True)
class Wasted:
    """A path whose bytes in lower layers can't be seen."""

    path: str
    bytes: int
    times: int


@dataclass(frozen=True)
class View:
    """Everything that the pages show of one image."""

    reference: str
    stored: StoredManifest
    manifest: Manifest
    config: ImageConfig | None
    layers: list[LayerChanges | None]
    platforms: list[tuple[str, str]]  # (platform, digest) of the index that the reference names
    platform: str
    index: StoredManifest | None  # which the reference names, where it is not the image itself
    proofs: list[Digest]  # digests of what the index has beside the image: BuildKit's attestations

    @property
    def size(self) -> int:
        return image_size(self.manifest)

    @property
    def known(self) -> list[LayerChanges]:
        return [layer for layer in self.layers if layer is not None]

    @property
    def unpacked(self) -> int:
        return sum(layer.size for layer in self.known)

    @property
    def wasted(self) -> int:
        return sum(layer.wasted for layer in self.known)


async def image(request: Request, name: str, reference: str) -> Response:
    hub = hub_of(request)
    view = await hub.in_slow_thread(_view, hub, request, name, reference)
    tags = await in_thread(hub.metadata.tags, name, 200)
    largest = max((entry.size for entry in view.manifest.layers), default=0)
    attached = await in_thread(attachments, hub, name, [view.stored, view.index], view.proofs)
    return await page(request, "image.html", name=name, view=view, steps=steps(view), largest=largest,
                      wasted=worst(view.known)[:WASTED], attached=attached, kinds=KINDS,
                      tags=[tag.name for tag in tags], facts=facts(view.config) if view.config else {})


async def layer(request: Request, name: str, reference: str, number: str) -> Response:
    hub = hub_of(request)
    view = await hub.in_slow_thread(_view, hub, request, name, reference)
    at = int(number) if number.isascii() and number.isdigit() and len(number) < 4 else -1
    if not 0 <= at < len(view.layers):
        raise HubError("BLOB_UNKNOWN")
    changes = view.layers[at]
    only = request.query_params.get("only", "")
    wanted = [change for change in (changes.changes if changes else []) if not only or change.what.value == only]
    return await page(request, "layer.html", name=name, view=view, number=at, descriptor=view.manifest.layers[at],
                      changes=changes, total=len(wanted), files=anatomy.largest(wanted, FILES), only=only, What=What)


async def differences(request: Request, name: str) -> Response:
    hub = hub_of(request)
    before, after = request.query_params.get("from", ""), request.query_params.get("to", "")
    old = await hub.in_slow_thread(_view, hub, request, name, before)
    new = await hub.in_slow_thread(_view, hub, request, name, after)
    found = await hub.in_slow_thread(_compare, hub, name, old, new)
    shown = sorted(found, key=lambda one: (-abs(one.growth), one.path))[:FILES]
    tags = await in_thread(hub.metadata.tags, name, 200)
    return await page(request, "differences.html", name=name, old=old, new=new, files=shown, total=len(found),
                      count={what: sum(one.what is what for one in found) for what in What}, What=What,
                      growth=sum(one.growth for one in found), settings=config_differences(old.config, new.config),
                      shared=_shared(old.manifest, new.manifest), tags=[tag.name for tag in tags])


# --- reading --------------------------------------------------------------------------------------------------


def _view(hub: Hub, request: Request, name: str, reference: str) -> View:
    readable(hub, request, name)
    stored = hub.content.manifest(name, names.tag_or_digest(reference))
    parsed = parsed_manifest(stored)
    platforms: list[tuple[str, str]] = []
    index, entries = None, []
    if isinstance(parsed, Index):
        index, entries = stored, parsed.manifests
        platforms = [(str(entry.platform or entry.digest[:19]), entry.digest) for entry in images_of(parsed)]
        wanted = request.query_params.get("platform", "")
        digest = next((digest for label, digest in platforms if label == wanted), platforms[0][1] if platforms else "")
        stored = hub.content.manifest(name, digest)
        parsed = parsed_manifest(stored)
    if not isinstance(parsed, Manifest):
        raise HubError("MANIFEST_UNKNOWN")
    config = read_config(hub, name, parsed)
    own = str(config.platform) if config else ""
    platform = next((label for label, digest in platforms if digest == stored.digest), own)
    proofs = [entry.digest for entry in entries if subject_of_proof(entry) == stored.digest]
    return View(reference, stored, parsed, config, _dissected(hub, name, parsed), platforms, platform, index, proofs)


def _dissected(hub: Hub, name: str, parsed: Manifest) -> list[LayerChanges | None]:
    listings = listings_of(hub, name, parsed)
    # A layer that can't be read leaves the others' changes right as far as they go.
    changes = anatomy.dissect([listing or Listing([]) for listing in listings])
    return [change if listing else None for change, listing in zip(changes, listings, strict=True)]


def listings_of(hub: Hub, name: str, parsed: Manifest) -> list[Listing | None]:
    """The layers' files, lowest first. A manifest may name the same great layer thousands of times: bounded."""
    found: list[Listing | None] = []
    count = 0
    for entry in parsed.layers:
        listing = hub.listings.get(name, entry.digest) if count < MOST_FILES else None
        count += len(listing.files) if listing else 0
        found.append(listing if count < MOST_FILES else None)
    return found


# --- arranging (pure) -------------------------------------------------------------------------------------------


def steps(view: View) -> list[Step]:
    """The history with the layers that its steps made; layers without history come last."""
    found, layers = [], view.manifest.layers
    number = 0
    for entry in (view.config.history if view.config else None) or []:
        has_layer = not entry.empty_layer and number < len(layers)
        found.append(Step(readable_command(entry.created_by or entry.comment or ""), entry.created or "",
                          number if has_layer else None, layers[number].size if has_layer else 0,
                          view.layers[number] if has_layer else None))
        number += has_layer
    return found + [Step("", "", at, layers[at].size, view.layers[at]) for at in range(number, len(layers))]


def readable_command(text: str) -> str:
    """Without what builders wrap around a Dockerfile's line."""
    text = text.removeprefix("/bin/sh -c ").removeprefix("#(nop)").removesuffix("# buildkit").strip()
    if text.startswith("RUN /bin/sh -c "):
        text = "RUN " + text.removeprefix("RUN /bin/sh -c ")
    return " ".join(text.split())[:2000]


def worst(layers: Sequence[LayerChanges]) -> list[Wasted]:
    """Paths that hide most bytes of lower layers."""
    sums: dict[str, tuple[int, int]] = {}
    for one in layers:
        for change in one.changes:
            if change.wasted:
                total, times = sums.get(change.path, (0, 0))
                sums[change.path] = (total + change.wasted, times + 1)
    return sorted((Wasted(path, total, times) for path, (total, times) in sums.items()),
                  key=lambda one: (-one.bytes, one.path))


def _compare(hub: Hub, name: str, old: View, new: View) -> list[Difference]:
    before, after = (anatomy.merged([listing or Listing([]) for listing in listings_of(hub, name, view.manifest)])
                     for view in (old, new))
    return anatomy.compare(before, after)


def _shared(old: Manifest, new: Manifest) -> int:
    """Bytes of blobs that both have: what a pull of the second spares after the first."""
    have = {entry.digest for entry in old.blobs}
    return sum(entry.size for entry in new.blobs if entry.digest in have)


def config_differences(old: ImageConfig | None, new: ImageConfig | None) -> list[tuple[str, str, str]]:
    """(what, before, after) of the settings that differ."""
    if old is None or new is None:
        return []
    before, after = facts(old), facts(new)
    return [(key, before.get(key, ""), after.get(key, "")) for key in dict.fromkeys([*before, *after])
            if before.get(key, "") != after.get(key, "")]


def facts(config: ImageConfig) -> dict[str, str]:
    """The configuration as lines for a table; what is empty is left out."""
    run = config.run
    lines = {
        "Platform": str(config.platform), "Created": config.created or "", "Author": config.author or "",
        "Entrypoint": _words(run.entrypoint), "Command": _words(run.cmd), "User": run.user or "",
        "Working directory": run.working_dir or "", "Ports": ", ".join(sorted(run.exposed_ports or {})),
        "Volumes": ", ".join(sorted(run.volumes or {})), "Stop signal": run.stop_signal or "",
        "Health check": _words(run.healthcheck.test) if run.healthcheck else "",
    }
    lines |= {f"Environment: {name}": value for name, _, value in (text.partition("=") for text in run.env or [])}
    lines |= {f"Label: {name}": value for name, value in sorted((run.labels or {}).items())}
    return {key: value for key, value in lines.items() if value}


def _words(words: list[str] | str | None) -> str:
    return shlex.join(words) if isinstance(words, list) else words or ""

