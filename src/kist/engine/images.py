"""Images: what is in the local cache, by whatever name, and getting more of it."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from kist.api import bodies
from kist.api.options import Filters
from kist.engine import selection
from kist.engine.commit import Commit
from kist.engine.housekeeping import Housekeeping
from kist.engine.imageevents import ImageEvents
from kist.engine.imageremoval import ImageRemoval
from kist.engine.parts import Parts
from kist.engine.views import images as views
from kist.errors import Conflict, InvalidParameter, KistError, NotFound
from kist.oci import platform as platforms
from kist.oci import reference
from kist.oci.digest import Digest
from kist.oci.image import ImageConfig
from kist.oci.platform import Platform
from kist.store import images as stored
from kist.store.errors import NoSuchContent
from kist.store.layers import Layer

if TYPE_CHECKING:
    from kist.engine.pull import Pull
    from kist.engine.push import Pusher
    from kist.engine.search import Search
    from kist.engine.transfer import Transfer

Json = dict[str, Any]
Rows = list[Json]
Texts = list[str]
LayerList = list[Layer]
Progress = Callable[[Json], None]
KEPT_CONFIGS = 256
FILTERS = frozenset({"before", "dangling", "label", "label!", "reference", "since", "until"})


@dataclass(frozen=True, slots=True)
class Image:
    """What create needs to know."""

    id: str
    chain: Digest | None
    config: ImageConfig
    descriptor: Json

    @property
    def chain_id(self) -> str:
        return self.chain or ""


class Images:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._commit = Commit(parts)
        self._events = ImageEvents(parts.store.images, parts.events)
        self.housekeeping = Housekeeping(parts)
        self._configs: OrderedDict[str, ImageConfig] = OrderedDict()
        self._here = platforms.from_uname("Linux", parts.host.machine)
        self._changing = threading.Lock()  # names and removals are one step each: two of one image don't mix
        self._removal = ImageRemoval(parts, self._events, self._changing, layers=self._layers_or_none,
                                     config=self._config_or_none)

    # Registries and archives cost 40 ms and 8 MB to load: only servers that use them pay.

    @cached_property
    def _pull(self) -> Pull:
        from kist.engine.pull import Pull

        return Pull(self._parts.config, self._parts.store)

    @cached_property
    def _pusher(self) -> Pusher:
        from kist.engine.push import Pusher

        return Pusher(self._parts, self._pull, self._events)

    @cached_property
    def _search(self) -> Search:
        from kist.engine.search import Search

        return Search(self._pull)

    @cached_property
    def _transfer(self) -> Transfer:
        from kist.engine.transfer import Transfer

        return Transfer(self._parts, self._pull, self._events)

    # Looking up

    async def resolve(self, name: str, platform: str = "") -> Image:
        """The image for a new container; raises NotFound so that the client pulls."""
        if not name:
            raise InvalidParameter("no image specified")
        return await asyncio.to_thread(self._resolve, name, platform)

    def _resolve(self, name: str, platform: str) -> Image:
        with self._found(name) as found:
            config = self._config(found.id)
            if platform:
                views.check_platform(name, config, platforms.parse_any(platform, self._here))
            self.housekeeping.used(found.id)
            return Image(found.id, found.chain_id, config, self._descriptor(found))

    @contextmanager
    def _found(self, name: str) -> Iterator[stored.Image]:
        """What *name* means. Where that is removed while it is looked at, it is no such image, not missing content."""
        found = self._parts.store.images.resolve(name)
        try:
            yield found
        except NoSuchContent:
            self._parts.store.images.get(found.id)
            raise

    def _platform(self, text: str) -> Platform | None:
        return platforms.parse_any(text, self._here) if text else None

    def _config(self, image_id: str) -> ImageConfig:
        config = self._configs.get(image_id) or self._parts.store.images.config(Digest(image_id))
        self._configs[image_id] = config
        self._configs.move_to_end(image_id)
        while len(self._configs) > KEPT_CONFIGS:
            self._configs.popitem(last=False)
        return config

    def _descriptor(self, found: stored.Image) -> Json:
        size = self._parts.store.content.size(found.manifest)
        return {"mediaType": found.manifest_type, "digest": found.manifest, "size": size}

    def _layers(self, image: stored.Image) -> LayerList:
        """The lowest first."""
        return self._parts.store.layers.stack(image.chain_id)[::-1]

    def _layers_or_none(self, image: stored.Image) -> LayerList:
        """For who looks at many images: one may be removed meanwhile, or be damaged."""
        try:
            return self._layers(image)
        except NoSuchContent:
            return []

    def _config_or_none(self, image: stored.Image) -> ImageConfig | None:
        """None for an image that is gone by now; an empty one where its configuration is (`kist system check`)."""
        try:
            return self._config(image.id)
        except (KistError, OSError):
            return ImageConfig() if self._parts.store.images.has(image.id) else None

    def ids_for(self, name: str) -> set[str]:
        """The image that a name means and those built on its layers (`ps --filter ancestor=`)."""
        try:
            wanted = self._parts.store.images.resolve(name)
        except (InvalidParameter, NotFound):
            return set()
        chain = [layer.chain_id for layer in self._layers_or_none(wanted)]
        found = {str(wanted.id)}
        for image in self._parts.store.images.list():
            stack = [layer.chain_id for layer in self._layers_or_none(image)]
            if chain and stack[:len(chain)] == chain:
                found.add(image.id)
        return found

    def meant(self, names: set[str]) -> dict[str, str]:
        """Name → the id of the image that it means now; without those that mean none. Blocking."""
        found = {}
        for name in names:
            with suppress(InvalidParameter, NotFound, Conflict):
                found[name] = str(self._parts.store.images.resolve(name).id)
        return found

    # The API

    async def pull(self, ref: str, *, platform: str, auth: bodies.AuthConfig | None, progress: Progress) -> None:
        wanted = reference.parse(ref)
        if wanted.name == "docker.io/library/scratch":
            raise InvalidParameter("'scratch' is a reserved name")
        where = platforms.parse_any(platform, self._here) if platform else self._here
        await self._pull.run(wanted, where, auth, progress, strict=bool(platform))
        self.housekeeping.grown()
        await self._events.moved("pull", wanted)

    async def list(self, *, all: bool = False, digests: bool = False, shared_size: bool = False, counted: bool = False,
                   filters: Filters | None = None) -> Rows:
        """`counted`: with how many containers each has; Docker tells that only with the disk usage."""
        selection.check(filters or {}, FILTERS)
        return await asyncio.to_thread(self._list, filters or {}, shared=shared_size, counted=counted)

    def _list(self, filters: Filters, *, shared: bool, counted: bool) -> Rows:
        store = self._parts.store.images
        found = store.list()
        for name, later in (("before", False), ("since", True)):
            for value in filters.get(name, ()):
                bound = store.resolve(value)
                found = [image for image in found if image.id != bound.id
                         and (image.created_seconds > bound.created_seconds) == later]
        users = self._users()
        sizes = self._shared_sizes() if shared else {}
        rows = []
        for image, config in ((image, self._config_or_none(image)) for image in found):
            named = views.by_name(image, filters)
            if config is not None and named is not None and views.matches(image, config, filters):
                rows.append(views.summary(named, config, containers=len(users.get(image.id, ())) if counted else -1,
                                          shared=sizes.get(str(image.id), -1)))
        return rows

    def _shared_sizes(self) -> dict[str, int]:
        """Image id → bytes of its layers that other images have, too."""
        stacks = {str(image.id): self._layers_or_none(image) for image in self._parts.store.images.list()}
        holders = Counter(layer.chain_id for stack in stacks.values() for layer in stack)
        return {image_id: sum(layer.size for layer in stack if holders[layer.chain_id] > 1)
                for image_id, stack in stacks.items()}

    async def inspect(self, name: str, *, platform: str = "") -> Json:
        def look() -> Json:
            with self._found(name) as found:
                layers = [layer.path for layer in self._layers(found)]
                mirror = found.source if self._is_mirror(found) else ""
                return views.inspect(found, self._config(found.id), layers=layers, mirror=mirror,
                                     descriptor=self._descriptor(found))
        return await asyncio.to_thread(look)

    def _is_mirror(self, found: stored.Image) -> bool:
        """Whether the image came from somewhere else than the registry that its name says."""
        hosts = {reference.parse_full(name).domain for name in found.names}
        return bool(found.source) and not any(host in found.source for host in hosts)

    async def history(self, name: str) -> Rows:
        def look() -> Rows:
            with self._found(name) as found:
                sizes = [layer.size for layer in self._layers(found)]
                return views.history(found, self._config(found.id), sizes)
        return await asyncio.to_thread(look)

    async def tag(self, name: str, repo: str, tag: str) -> None:
        wanted = reference.parse(f"{repo}:{tag}" if tag else repo)
        if wanted.digest:
            raise InvalidParameter("refusing to create a tag with a digest reference")
        full = wanted.with_default_tag()

        def work() -> str:
            with self._changing:
                found = self._parts.store.images.resolve(name)
                self._parts.store.images.tag(str(full), found.id)
            return found.id

        image_id = await asyncio.to_thread(work)
        await self._events.tell("tag", image_id, name=full.familiar)

    def _users(self) -> dict[str, Texts]:
        found: dict[str, Texts] = {}
        for container in self._parts.register.all():
            for image_id in container.record.image_ids:
                found.setdefault(image_id, []).append(container.id)
        return found

    async def remove(self, name: str, *, force: bool = False, prune: bool = True) -> Rows:
        return await self._removal.remove(name, force=force, prune=prune)

    async def prune(self, filters: Filters) -> Json:
        return await self._removal.prune(filters)

    async def commit(self, container: str, *, repo: str, tag: str, comment: str, author: str, pause: bool,
                     changes: Texts, config: bodies.ContainerConfig | None) -> Json:
        found = self._parts.register.get(container)
        image_id = await self._commit.run(found, repo=repo, tag=tag, comment=comment, author=author, pause=pause,
                                          changes=changes, config=config)
        name = reference.parse(f"{repo}:{tag}" if tag else repo).with_default_tag().familiar if repo else ""
        if name:
            await self._events.tell("tag", image_id, name=name)
        self._parts.events.publish("container", "commit", found.id,
                                   found.attributes(comment=comment, imageID=image_id, imageRef=name))
        self.housekeeping.grown()
        return {"Id": image_id}

    async def push(self, name: str, tag: str, *, auth: bodies.AuthConfig | None, progress: Progress,
                   platform: str = "") -> None:
        wanted = reference.parse(f"{name}:{tag}" if tag else name)
        await self._pusher.run(wanted, auth, progress, self._platform(platform))

    async def search(self, term: str, limit: int, filters: Filters, *, auth: bodies.AuthConfig | None = None) -> Rows:
        return await self._search.run(term, limit, filters, auth)

    async def save(self, names: Texts, *, platform: str) -> AsyncIterator[bytes]:
        return await self._transfer.save(names, self._platform(platform))

    async def load(self, chunks: AsyncIterator[bytes], *, platform: str, progress: Progress) -> None:
        where = platforms.parse_any(platform, self._here) if platform else self._here
        await self._transfer.load(chunks, where, progress)
        self.housekeeping.grown()

    async def import_(self, chunks: AsyncIterator[bytes], *, url: str, repo: str, tag: str, message: str,
                      changes: Texts, platform: str, progress: Progress) -> None:
        where = platforms.parse_any(platform, self._here) if platform else self._here
        if where.os != "linux":
            raise InvalidParameter("operating system is not supported")
        await self._transfer.import_(chunks, url=url, repo=repo, tag=tag, message=message, changes=changes,
                                     platform=where, tell=progress)
        self.housekeeping.grown()

    async def manifest(self, name: str, *, auth: bodies.AuthConfig | None) -> Json:
        return await self._transfer.manifest(name, auth)

    async def push_manifests(self, name: str, body: bodies.ManifestListPush, *,
                             auth: bodies.AuthConfig | None) -> Json:
        from kist.engine import manifestlist

        return await manifestlist.push(self._pull, name, body, auth)

    async def login(self, auth: bodies.AuthConfig) -> Json:
        return await self._search.login(auth)

    async def distribution(self, name: str, *, auth: bodies.AuthConfig | None) -> Json:
        return await self._transfer.distribution(name, auth)


__all__ = ["Image", "Images"]
