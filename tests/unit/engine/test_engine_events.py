"""The event bus: order, replay, filters, slow readers, the end."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from kist.engine import times
from kist.engine.eventlog import KEPT, EventLog
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


def kept(path: Path) -> Events:
    return Events(EventLog(str(path)))


async def test_another_server_replays_what_the_one_before_told(tmp_path: Path) -> None:
    events = kept(tmp_path / "log")
    publish(events, "create", "start")
    before = [event async for event in events.subscribe(since=1, until=times.now())]
    events.close()
    events = kept(tmp_path / "log")
    publish(events, "die")
    after = [event async for event in events.subscribe(since=1, until=times.now())]
    events.close()
    assert after[:2] == before
    assert after[2]["Action"] == "die"


async def test_what_happened_before_is_told_in_its_place(tmp_path: Path) -> None:
    for restarts in range(2):
        events = kept(tmp_path / "log")
        if not restarts:
            publish(events, "create", "start")
            events.publish("container", "die", "c" * 64, at=times.now() - 1)
            publish(events, "destroy")
            events.publish("container", "early", "c" * 64, at=1)
        assert await collect(events, since=1, until=times.now()) == ["early", "create", "start", "die", "destroy"]
        events.close()


async def test_the_log_is_bounded_and_has_the_latest(tmp_path: Path) -> None:
    events = kept(tmp_path / "log")
    publish(events, *(str(number) for number in range(2 * KEPT + 300)))
    events.close()
    events = kept(tmp_path / "log")
    assert await collect(events, since=1, until=times.now()) == [
        str(number) for number in range(KEPT + 300, 2 * KEPT + 300)]
    events.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "log.1"]


async def test_half_a_line_and_nonsense_in_the_log_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "log"
    events = kept(path)
    publish(events, "create", "start")
    events.close()
    with path.open("ab") as file:
        file.write(b'{}\n[]\n\xff\xfe\n{"Type": 1}\n{"Type":"container","Act')
    events = kept(path)
    publish(events, "die")
    events.close()
    events = kept(path)
    assert await collect(events, since=1, until=times.now()) == ["create", "start", "die"]
    events.close()


async def test_a_disk_that_is_full_costs_no_event(tmp_path: Path) -> None:
    (tmp_path / "log").symlink_to("/dev/full")
    events = kept(tmp_path / "log")
    publish(events, "create", "start")
    assert await collect(events, since=1, until=times.now()) == ["create", "start"]
    events.close()
