"""What happened: a bus with a short memory, and filters as `docker events` has them.

Events are published on the loop's thread, one after the other, so every subscriber sees one order, which is
also the order in the ring that `--since` replays. The ring is filled from the log of earlier servers (eventlog.py).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Collection, Mapping
from typing import Any

from kist.engine import times
from kist.engine.eventlog import EventLog

Json = dict[str, Any]
Filters = Mapping[str, Collection[str]]

RING = 1024  # events kept for replay
LAG = 8192  # events that a subscriber may fall behind before it is cut off
_WITH_STATUS = frozenset({"container", "image"})  # types that also carry the API's old top-level fields


class Events:
    def __init__(self, kept: EventLog | None = None) -> None:
        """`kept`: where events outlive this server. Raises OSError."""
        self._log = kept
        self._ring: deque[Json] = deque(kept.open() if kept else (), maxlen=RING)
        self._queues: set[asyncio.Queue[Json | None]] = set()

    @property
    def listeners(self) -> int:
        return len(self._queues)

    def publish(self, kind: str, action: str, actor: str, attributes: Mapping[str, str] | None = None, *,
                at: int = 0) -> None:
        """`kind` container, image, volume, network or daemon; `actor` the object's id or name; `at` (ns) when it
        happened, if that is not now."""
        late, at = bool(at), at or times.now()
        event: Json = {
            "Type": kind,
            "Action": action,
            "Actor": {"ID": actor, "Attributes": dict(sorted((attributes or {}).items()))},
            "scope": "local",
            "time": at // 1_000_000_000,
            "timeNano": at,
        }
        if kind in _WITH_STATUS:
            event = {"status": action, "id": actor, **event}
            if kind == "container" and attributes and "image" in attributes:
                event["from"] = attributes["image"]
        self._ring.append(event)
        if late:
            self._ring = deque(sorted(self._ring, key=lambda one: one["timeNano"]), maxlen=RING)
        if self._log:
            self._log.append(event)
        for queue in self._queues:
            if queue.qsize() < LAG:
                queue.put_nowait(event)
            elif queue.qsize() == LAG:
                queue.put_nowait(None)

    def subscribe(self, *, since: int | None = None, until: int | None = None,
                  filters: Filters | None = None) -> AsyncIterator[Json]:
        """Past events from `since` on (None: none), then live ones up to `until` (None: without end), both in
        nanoseconds. Filters that don't exist choose nothing, as with Docker."""
        return self._subscribe(since or 0, until or 0, filters or {})

    async def _subscribe(self, since: int, until: int, wanted: Filters) -> AsyncIterator[Json]:
        queue: asyncio.Queue[Json | None] = asyncio.Queue()
        past = [event for event in self._ring if event["timeNano"] >= since] if since else []
        self._queues.add(queue)
        try:
            for event in past:
                if (not until or event["timeNano"] <= until) and matches(event, wanted):
                    yield event
            async for event in self._live(queue, until):
                if matches(event, wanted):
                    yield event
        finally:
            self._queues.discard(queue)

    async def _live(self, queue: asyncio.Queue[Json | None], until: int) -> AsyncIterator[Json]:
        while True:
            left = None if not until else (until - times.now()) / 1e9
            if left is not None and left <= 0 and queue.empty():
                return
            try:
                event = await asyncio.wait_for(queue.get(), left)
            except TimeoutError:
                return
            if event is None or (until and event["timeNano"] > until):
                return
            yield event

    def close(self) -> None:
        """Ends every subscription."""
        if self._log:
            self._log.close()
            self._log = None
        for queue in self._queues:
            queue.put_nowait(None)


FILTERS = frozenset({"config", "container", "daemon", "event", "image", "label", "network", "node", "plugin",
                     "scope", "secret", "service", "type", "volume"})


def matches(event: Json, filters: Filters) -> bool:
    """Values of one filter are alternatives (labels: all of them), different filters must all hold."""
    return all(_holds(event, name, values) for name, values in filters.items() if values)


def _holds(event: Json, name: str, values: Collection[str]) -> bool:
    attributes: Json = event["Actor"]["Attributes"]
    if name == "type":
        return event["Type"] in values
    if name == "event":
        return event["Action"] in values or event["Action"].partition(":")[0] in values
    if name == "scope":
        return event["scope"] in values
    if name == "label":
        return all(_label(attributes, value) for value in values)
    if name == "image":
        return any(_image(event, attributes, value) for value in values)
    kinds = {"container", "volume", "network", "daemon", "plugin", "service", "node", "secret", "config"}
    if name in kinds:
        return _actor(event, attributes, name, values)
    return True  # no such filter: Docker does not look at it


def _actor(event: Json, attributes: Json, kind: str, values: Collection[str]) -> bool:
    """The object by id prefix or name; `container` also finds the network events about that container."""
    known = [attributes.get(kind, "")]
    if event["Type"] == kind:
        known = [event["Actor"]["ID"], attributes.get("name", "")]
    return any(text and text.startswith(value.removeprefix("/")) for text in known for value in values)


def _label(attributes: Json, wanted: str) -> bool:
    key, equals, value = wanted.partition("=")
    return key in attributes and (not equals or attributes[key] == value)


def _image(event: Json, attributes: Json, wanted: str) -> bool:
    names = {event["Actor"]["ID"], attributes.get("name", "")} if event["Type"] == "image" \
        else {attributes.get("image", "")}
    return any(name in (wanted, f"{wanted}:latest") or name.rpartition(":")[0] == wanted
               for name in names if name)
