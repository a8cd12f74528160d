"""`kist network map` says what is so: each way that it draws is tried, and each that it doesn't."""

from __future__ import annotations

import itertools

from kist.engine.network import Endpoint, Networks
from support.network import HOST4, World, container_id, netns

NETWORKS = (
    {"Name": "front"}, {"Name": "back", "Internal": True},
    {"Name": "apart", "Options": {"com.docker.network.bridge.enable_icc": "false"}},
    {"Name": "routed", "Options": {"com.docker.network.bridge.gateway_mode_ipv4": "routed"}},
    {"Name": "open", "Options": {"com.docker.network.bridge.gateway_mode_ipv4": "nat-unprotected"}},
    {"Name": "alone", "Internal": True, "Options": {"com.docker.network.bridge.gateway_mode_ipv4": "isolated"}},
)
CONTAINERS = {
    "old": ("bridge",), "web": ("front",), "api": ("front", "back"), "db": ("back",), "one": ("apart",),
    "two": ("apart",), "own": ("routed",), "bare": ("open",), "lone": ("alone",),
}
PORTS = {"web": 8080, "two": 8081, "db": 8082}
LINKS = {"two": "one"}


async def start(networks: Networks, world: World, name: str, made_before: dict[str, Endpoint]) -> Endpoint:
    on = CONTAINERS[name]
    ports = {"80/tcp": [{"HostPort": str(PORTS[name])}]} if name in PORTS else {}
    links = {made_before[LINKS[name]].container_id: ["80/tcp"]} if name in LINKS else {}
    made = await networks.connect(container_id(), on[0], name=name, endpoints={one: {} for one in on}, ports=ports,
                                  links=links)
    world.serve(netns(made), "tcp:80")
    return made


async def test_the_map_is_true(world: World, networks: Networks) -> None:
    for body in NETWORKS:
        await networks.create(dict(body))
    made: dict[str, Endpoint] = {}
    for name in CONTAINERS:
        made[name] = await start(networks, world, name, made)
    world.serve(None, "tcp:99")
    world.serve(world.outside.netns_fd, "tcp:98")
    for one in made.values():  # not even somebody who routes the subnets to this host reaches more
        for place in one.attachments:
            world.run("ip", "route", "replace", f"{place.ip}/32", "via", HOST4, on=world.outside.netns_fd)
    drawn = await networks.map()
    called = {one.container_id: name for name, one in made.items()} | {"host": "host", "outside": "outside"}
    ways = {(called[way["From"]], called[way["To"]]): "direct" if "Network" in way else "ports"
            for way in drawn["Reach"]}
    assert [way for way in drawn["Reach"] if "Network" in way and "Ports" in way] == [
        {"From": made["two"].container_id, "To": made["one"].container_id, "Network": "apart", "Ports": ["80/tcp"]}]
    for start_, end in itertools.permutations([*made, "host", "outside"], 2):
        if {start_, end} == {"host", "outside"}:
            continue
        assert ways.get((start_, end), "") == tried(world, made, start_, end), (start_, end)


def tried(world: World, made: dict[str, Endpoint], start: str, end: str) -> str:
    """What a program at `start` finds when it calls `end` at each of its addresses, and by its published port."""
    on = {"host": None, "outside": world.outside.netns_fd}[start] if start not in made else netns(made[start])
    if end == "host":
        places = [one.gateway or f"{one.ip.rpartition('.')[0]}.1" for one in made[start].attachments]
        return "direct" if any(reaches(world, f"tcp:{place}:99", on) for place in places) else ""
    if end == "outside":
        return "direct" if reaches(world, "tcp:198.51.100.2:98", on) else ""
    if any(reaches(world, f"tcp:{one.ip}:80", on) for one in made[end].attachments):
        return "direct"
    return "ports" if end in PORTS and reaches(world, f"tcp:{HOST4}:{PORTS[end]}", on) else ""


def reaches(world: World, place: str, on: int | None) -> bool:
    answer = world.ask(place, on, timeout=0.6)
    return answer not in ("refused", "silence") and "unreachable" not in answer.lower()
