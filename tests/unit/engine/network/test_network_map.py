"""The map of networks: who reaches whom, and its two drawings. (tests/kernel/network holds it against the kernel.)"""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

from kist.cli.commands import network_map
from kist.engine.network import drawing, reach
from kist.engine.network.definitions import define, predefined
from kist.engine.network.model import Attachment, Endpoint, Network, Port, Subnet

SVG = "{http://www.w3.org/2000/svg}"


def net(name: str, subnet: str, **more: Any) -> Network:
    made = define({"Name": name, "Options": {"com.docker.network.bridge.name": f"br-{name}"}, **more})
    made.subnets = [Subnet(f"{subnet}.0/24", f"{subnet}.1")]
    return made


DEFAULT = predefined("kist0")[0]
DEFAULT.subnets = [Subnet("10.88.0.0/16", "10.88.0.1")]
FRONT, BACK = net("front", "10.89.0"), net("back", "10.89.1", Internal=True)
LAN = net("lan", "192.0.2", Driver="macvlan", Options={"parent": "eth0"})
APART = net("apart", "10.89.2", Options={"com.docker.network.bridge.enable_icc": "false",
                                         "com.docker.network.bridge.name": "br-apart"})
NETWORKS = [DEFAULT, FRONT, BACK, LAN, APART]


def container(name: str, *places: tuple[Network, str], ports: tuple[Port, ...] = (), mode: str = "",
              shared: bool = False) -> Endpoint:
    made = Endpoint(name, mode or places[0][0].name, name, ports=list(ports), shared=shared)
    for number, (network, ip) in enumerate(places):
        made.attachments.append(Attachment(
            network.id, network.name, "e", interface=f"eth{number}", ip=ip, prefixlen=24,
            host_interface="kv0" if network.driver == "bridge" else "",
            gateway="" if network.internal else network.subnets[0].gateway))
    return made


WEB = container("web", (FRONT, "10.89.0.2"), ports=(Port("tcp", 80, "0.0.0.0", 8080), Port("tcp", 80, "::", 8080)))
CONTAINERS = [
    container("old", (DEFAULT, "10.88.0.2"), ports=(Port("tcp", 53, "127.0.0.1", 5353),)), WEB,
    container("api", (FRONT, "10.89.0.3"), (BACK, "10.89.1.2")), container("db", (BACK, "10.89.1.3")),
    container("printer", (LAN, "192.0.2.9")), container("sidecar", mode="container:web", shared=True),
    container("metrics", mode="host"), container("one", (APART, "10.89.2.2")), container("two", (APART, "10.89.2.3")),
]
MAP = reach.describe(NETWORKS, CONTAINERS, ["198.51.100.1"])
WAYS = {(way["From"], way["To"]): way.get("Ports") or way["Network"] for way in MAP["Reach"]}


def test_directly_on_a_network_that_both_are_on() -> None:
    assert WAYS["api", "db"] == WAYS["db", "api"] == "back"
    assert WAYS["api", "web"] == WAYS["web", "api"] == "front"
    assert ("web", "db") not in WAYS
    assert ("one", "two") not in WAYS  # the network keeps its containers apart


def test_by_a_published_port_from_elsewhere() -> None:
    assert WAYS["old", "web"] == WAYS["outside", "web"] == ["8080/tcp"]
    assert ("db", "web") not in WAYS  # an internal network has no way out
    assert ("printer", "web") not in WAYS  # macvlan doesn't reach the host, nor what it publishes
    assert ("web", "old") not in WAYS  # published for the host's 127.0.0.1
    assert ("outside", "old") not in WAYS


def test_the_host_and_the_outside() -> None:
    everyone = {one["Id"] for one in MAP["Containers"]}
    assert {one for (one, to) in WAYS if to == "host"} == everyone - {"printer"}
    assert {to for (one, to) in WAYS if one == "host"} == everyone - {"printer"}
    assert {one for (one, to) in WAYS if to == "outside"} == everyone - {"db"}
    assert WAYS["outside", "printer"] == "lan"


LINKED = container("three", (APART, "10.89.2.4"))
LINKED.links = {"two": ["53/udp", "80/tcp"], "one": [], "web": ["80/tcp"]}


def test_links_open_what_is_exposed_one_way() -> None:
    found = reach.describe(NETWORKS, [*CONTAINERS, LINKED], [])
    ways = {(way["From"], way["To"]): way for way in found["Reach"]}
    assert ways["three", "two"] == {
        "From": "three", "To": "two", "Network": "apart", "Ports": ["53/udp", "80/tcp"]}
    assert ("two", "three") not in ways
    assert ("three", "one") not in ways  # it exposes nothing
    assert ways["three", "web"]["Ports"] == ["8080/tcp"]  # on no network with it: by what it publishes
    assert "Network" not in ways["three", "web"]
    table = "\n".join(network_map.reach(found, plain))
    assert "◐ by a link" in table.splitlines()[-1]
    assert table.count("◐") == 2
    root = ElementTree.fromstring(drawing.svg(found))
    assert "three → two: link to port 53/udp, 80/tcp on network apart" in {
        title.text for title in root.iter(f"{SVG}title")}


def test_shared_namespaces() -> None:
    assert WAYS["sidecar", "web"] == WAYS["web", "sidecar"] == ""
    assert WAYS["sidecar", "api"] == "front"
    assert WAYS["old", "sidecar"] == ["8080/tcp"]


def test_one_network_alone() -> None:
    found = reach.describe(NETWORKS, CONTAINERS, [], [BACK])
    assert [network["Name"] for network in found["Networks"]] == ["back"]
    assert [one["Name"] for one in found["Containers"]] == ["api", "db"]


PICTURE = """\
 ━┯━━━━━━━━━━┯━━━━━━━━  outside
 ━┷━┯━━┯━━━━━│━━┯━━━━━  host        198.51.100.1
    ◇  │     │  │       bridge      10.88.0.0/16            kist0
    │  ◇     │  │       front       10.89.0.0/24            br-front
    │  │  ◇  │  │       back        10.89.1.0/24            br-back  internal
    │  │  │  ◇  │       lan         192.0.2.0/24            macvlan on eth0
    │  │  │  │  ◇       apart       10.89.2.0/24            br-apart  containers apart
    ●  │  │  │  │       old         10.88.0.2               127.0.0.1:5353 → 53/tcp
       ●──●  │  │       api         10.89.0.3  10.89.1.2
       ●  │  │  │       web         10.89.0.2               8080 → 80/tcp
          │  │  │       └ sidecar   in web's network
          ●  │  │       db          10.89.1.3
             ●  │       printer     192.0.2.9
                ●       one         10.89.2.2
                ●       two         10.89.2.3
                        metrics     in the host's network
"""
TABLE = """\
 from \\ to     1  2  3  4  5  6  7  8  9  host  outside
   1  old      ·  –  ○  ○  –  –  –  –  ●     ●        ●
   2  api      –  ·  ●  ●  ●  –  –  –  ●     ●        ●
   3  web      –  ●  ·  ●  –  –  –  –  ●     ●        ●
   4  sidecar  –  ●  ●  ·  –  –  –  –  ●     ●        ●
   5  db       –  ●  –  –  ·  –  –  –  ●     ●        –
   6  printer  –  –  –  –  –  ·  –  –  –     –        ●
   7  one      –  –  ○  ○  –  –  ·  –  ●     ●        ●
   8  two      –  –  ○  ○  –  –  –  ·  ●     ●        ●
   9  metrics  ●  ●  ●  ●  ●  –  ●  ●  ·     ●        ●
      host     ●  ●  ●  ●  ●  –  ●  ●  ●     ·        ·
      outside  –  –  ○  ○  –  ●  –  –  ●     ·        ·
"""


def plain(text: str, _: str) -> str:
    return text


def test_the_picture_in_a_terminal() -> None:
    assert "\n".join(network_map.picture(MAP, plain)) + "\n" == PICTURE
    table = "\n".join(network_map.reach(MAP, plain))
    assert table.startswith(TABLE)
    assert "◐" not in table


def test_a_narrow_terminal_gets_lines() -> None:
    lines = network_map.reach(MAP, plain, 40)
    assert " old → web (8080/tcp), sidecar (8080/tcp)"[:39] in [line[:39] for line in lines]
    assert " printer → outside" in lines
    assert max(map(len, lines)) <= 40


def test_colours_change_no_shape() -> None:
    def paint(text: str, colour: str) -> str:
        return f"<{colour}>{text}</>"

    painted = "\n".join(network_map.picture(MAP, paint))
    assert painted != PICTURE
    assert re.sub(r"<[^>]*>", "", painted) + "\n" == PICTURE


def test_the_svg_says_all_of_it() -> None:
    hostile = container("<i>&", (DEFAULT, "10.88.0.9"))
    found = reach.describe(NETWORKS, [*CONTAINERS, hostile], ["198.51.100.1"])
    root = ElementTree.fromstring(drawing.svg(found))
    words = [text.text for text in root.iter(f"{SVG}text")]
    for word in ("old", "<i>&", "└ sidecar", "127.0.0.1:5353 → 53/tcp", "br-back  internal", "198.51.100.1"):
        assert word in words
    titles = {title.text for title in root.iter(f"{SVG}title")}
    assert {"outside → web: published port 8080/tcp", "db → api: network back", "web → sidecar: directly"} <= titles
    ways = [circle for circle in root.iter(f"{SVG}circle") if circle.get("class") in ("y", "o")]
    assert len(ways) == len(found["Reach"])


def test_nothing_runs() -> None:
    found = reach.describe(NETWORKS, [], [])
    assert network_map.reach(found, plain) == ["No container runs on them."]
    assert len(network_map.picture(found, plain)) == 2 + len(NETWORKS)
    ElementTree.fromstring(drawing.svg(found))
