"""The event bus: order, replay, filters, slow readers, the end."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from kist.engine import times
from kist.engine.events import LAG, Events, matches


def publish(events: Events, *actions: str) -> None:
    for action in actions:
        events.publish("container", action, "c" * 64, {"image": "busybox", "name": "web", "a": "1"})


async def collect(events: Events, **options: Any) -> list[str]:
    return [event["Action"] async for event in events.subscribe(**options)]


async def test_the_past_is_replayed_in_order() -> None:
    events = Events()
    publish(events, "create", "start", "die")
    assert await collect(events, since=1, until=times.now()) == ["create", "start", "die"]


async def test_without_since_only_what_comes() -> None:
    events = Events()
    publish(events, "create")
    reading = asyncio.create_task(collect(events))
    await asyncio.sleep(0)
    publish(events, "start", "die")
    events.close()
    assert await asyncio.wait_for(reading, 5) == ["start", "die"]


async def test_a_subscription_ends_at_its_time() -> None:
    events = Events()
    assert await asyncio.wait_for(collect(events, until=times.now() + 50_000_000), 5) == []
    assert events.listeners == 0


async def test_a_reader_that_lags_too_far_is_cut_off() -> None:
    events = Events()
    stream = events.subscribe()
    first = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    publish(events, *["x"] * (LAG + 10))
    assert (await first)["Action"] == "x"
    assert len([event async for event in stream]) <= LAG


async def test_the_wire_form_has_the_old_fields_too() -> None:
    events = Events()
    publish(events, "start")
    event = await anext(events.subscribe(since=1))
    assert (event["status"], event["id"], event["from"]) == ("start", "c" * 64, "busybox")
    assert event["Actor"] == {"ID": "c" * 64, "Attributes": {"image": "busybox", "name": "web", "a": "1"}}
    assert event["timeNano"] // 10**9 == event["time"]


EVENT: dict[str, Any] = {"Type": "container", "Action": "exec_create: ls", "scope": "local",
                         "Actor": {"ID": "c" * 64, "Attributes": {"image": "busybox:latest", "name": "web", "a": "1"}}}


@pytest.mark.parametrize(("filters", "holds"), [
    ({}, True),
    ({"type": ["container"]}, True),
    ({"type": ["image", "container"]}, True),
    ({"type": ["image"]}, False),
    ({"event": ["exec_create"]}, True),
    ({"event": ["start"]}, False),
    ({"container": ["web"]}, True),
    ({"container": ["ccc"]}, True),
    ({"container": ["other"]}, False),
    ({"image": ["busybox"]}, True),
    ({"image": ["busybox:latest"]}, True),
    ({"image": ["redis"]}, False),
    ({"label": ["a"]}, True),
    ({"label": ["a=1"]}, True),
    ({"label": ["a=1", "b"]}, False),
    ({"type": ["container"], "event": ["start"]}, False),
    ({"network": ["bridge"]}, False),
])
def test_filters(filters: dict[str, list[str]], holds: bool) -> None:
    assert matches(EVENT, filters) is holds


def test_an_unknown_filter_chooses_nothing() -> None:
    """As with Docker: neither refused nor heeded."""
    assert matches(EVENT, {"colour": ["red"]})
