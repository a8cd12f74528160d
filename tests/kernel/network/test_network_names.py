"""The name service in real namespaces, asked by real resolvers' means."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from kist.engine.network import Endpoint, Networks
from kist.engine.network.dns import wire
from kist.linux.netlink import Netlink
from support.network import HOST4, World, container_id, eventually, netns

LOOKUP = """
import socket, struct, sys
kind, name, proto = int(sys.argv[1]), sys.argv[2], sys.argv[3]
labels = b"".join(bytes((len(label),)) + label.encode() for label in name.split("."))
query = struct.pack("!HHHHHH", 77, 0x100, 1, 0, 0, 0) + labels + b"\\0" + struct.pack("!HH", kind, 1)
one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM if proto == "udp" else socket.SOCK_STREAM)
one.settimeout(8)
one.connect(("127.0.0.11", 53))
if proto == "udp":
    one.send(query)
    answer = one.recv(4096)
else:
    one.send(struct.pack("!H", len(query)) + query)
    answer = one.recv(4096)[2:]
identity, flags, _, count = struct.unpack_from("!HHHH", answer)
assert identity == 77
print(flags & 15, *[socket.inet_ntop(socket.AF_INET, answer[-16 * n - 4 : len(answer) - 16 * n]) for n in range(count)]
      if kind == 1 else [answer[-40:]])
"""


def lookup(world: World, on: Endpoint, name: str, kind: int = wire.A, proto: str = "udp") -> str:
    done = world.run(sys.executable, "-I", "-S", "-c", LOOKUP, str(kind), name, proto, on=netns(on))
    return done.stdout.strip() or done.stderr[-200:]


@pytest.fixture
def upstream() -> Iterator[Callable[[str], None]]:
    """Makes resolvers on the host's addresses that say 192.0.2.99 to everything."""
    sockets: list[socket.socket] = []

    def serve(address: str) -> None:
        one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        one.bind((address, 53))
        sockets.append(one)

        def answer() -> None:
            while True:
                try:
                    data, sender = one.recvfrom(4096)
                except OSError:
                    return
                one.sendto(wire.answer(wire.parse(data), [wire.address_record("192.0.2.99")]), sender)

        threading.Thread(target=answer, daemon=True).start()

    yield serve
    for one in sockets:
        one.close()


async def pair(networks: Networks) -> tuple[Endpoint, Endpoint]:
    await networks.create({"Name": "front"})
    nobody = ["127.0.0.78"]  # refuses at once: no question leaves the test's world
    one = await networks.connect(container_id(), "front", "host-one", name="one", upstreams=nobody)
    two = await networks.connect(container_id(), "front", name="two", endpoints={"front": {"Aliases": ["app"]}},
                                 upstreams=nobody)
    return one, two


async def test_names_aliases_and_reverse(world: World, networks: Networks) -> None:
    one, two = await pair(networks)
    assert one.resolver == "127.0.0.11"
    for name in ("two", "app", two.container_id[:12], "TWO", "two.front"):
        assert lookup(world, one, name) == f"0 {two.ip}", name
    assert lookup(world, two, "host-one") == f"0 {one.ip}"
    assert lookup(world, one, "two", proto="tcp") == f"0 {two.ip}"
    assert "two\\x05front" in lookup(world, one, ".".join(reversed(two.ip.split("."))) + ".in-addr.arpa", wire.PTR)
    assert lookup(world, one, "two", wire.AAAA).startswith("0 ")


async def test_the_c_librarys_resolver(world: World, networks: Networks) -> None:
    one, two = await pair(networks)
    (world.tmp_path / "resolv.conf").write_text("nameserver 127.0.0.11\noptions ndots:0\n")
    done = subprocess.run(["nsenter", f"--net=/proc/{os.getpid()}/fd/{netns(one)}", "unshare", "-m", "sh", "-c",
                           f"mount --bind {world.tmp_path}/resolv.conf /etc/resolv.conf && getent ahosts app"],
                          capture_output=True, text=True, check=False, timeout=30)
    assert two.ip in done.stdout


def dig(world: World, on: Endpoint, *words: str) -> str:
    done = world.run("dig", "@127.0.0.11", "+tries=1", "+time=5", *words, on=netns(on), timeout=30)
    assert done.returncode == 0, done.stdout
    return done.stdout


async def test_dig_and_forty_containers_of_one_name(world: World, networks: Networks) -> None:
    """More than 512 bytes hold: by TCP, or at once for those that say that they take it (EDNS)."""
    await networks.create({"Name": "front"})
    settings = {"front": {"Aliases": ["app"]}}
    made = [await networks.connect(container_id(), "front", name=f"c{number}", endpoints=settings)
            for number in range(40)]
    everyone = sorted(one.ip for one in made)
    plain = dig(world, made[0], "+noedns", "app")
    assert "Truncated, retrying in TCP mode" in plain
    assert "ANSWER: 40" in plain
    for how in ("+tcp", "+bufsize=4096"):
        told = dig(world, made[0], how, "+short", "app").split()
        assert sorted(told) == everyone
    assert "flags: qr aa tc" in dig(world, made[0], "+noedns", "+ignore", "app")
    starts = {dig(world, made[0], "+bufsize=4096", "+short", "app").split()[0] for _ in range(5)}
    assert len(starts) == 5  # another one first each time
    assert dig(world, made[0], "-x", made[7].ip, "+short").strip() == "c7.front."
    assert "status: NOERROR" in dig(world, made[0], "app", "MX")


async def test_dig_and_names_as_people_write_them(world: World, networks: Networks) -> None:
    """Case doesn't matter and is kept; a name without an address of the family exists (NOERROR: no search goes on)."""
    await networks.create({"Name": "Front", "EnableIPv6": True})
    await networks.create({"Name": "four"})
    both: dict[str, dict[str, str] | None] = {"Front": {}, "four": {}}
    one = await networks.connect(container_id(), "Front", name="Web_App", endpoints=both)
    other = await networks.connect(container_id(), "four", name="v4", endpoints={"four": {"Links": ["Web_App:DB_1"]}})
    six = next(place.ip6 for place in one.attachments if place.ip6)
    for name in ("web_app", "Web_App", "WEB_APP.front", "web_app.four"):
        assert dig(world, one, "+short", name, "A").split() != []
    assert dig(world, one, "+short", "WEB_app.FRONT", "AAAA").split() == [six]
    assert dig(world, one, "+short", "-x", six).split() == ["Web_App.Front."]
    assert dig(world, other, "+short", "db_1").split() == [one.attachments[1].ip]
    nothing = dig(world, one, "v4", "AAAA")
    assert "status: NOERROR" in nothing
    assert "ANSWER: 0" in nothing


async def test_servers_that_say_nothing_are_given_up(world: World, networks: Networks) -> None:
    """SERVFAIL, before dig's own five seconds are over."""
    await networks.create({"Name": "front"})
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:  # the host's: the resolver asks from there
        silent.bind((HOST4, 53))
        one = await networks.connect(container_id(), "front", upstreams=[HOST4])
        assert "status: SERVFAIL" in dig(world, one, "example.org")


async def test_the_default_network_has_no_names(networks: Networks) -> None:
    endpoint = await networks.connect(container_id(), "default", name="x")
    assert endpoint.resolver == ""


async def test_other_networks_names_are_unknown(world: World, networks: Networks) -> None:
    one, two = await pair(networks)
    await networks.create({"Name": "inner", "Internal": True})
    far = await networks.connect(container_id(), "inner", name="far")
    assert lookup(world, far, "two").split()[0] == "2"  # an internal network: nobody outside is asked
    await networks.attach(two.container_id, "inner", {})
    assert lookup(world, far, "two") == f"0 {two.attachments[1].ip}"
    assert lookup(world, one, "far").split()[0] != "0"
    await networks.detach(two.container_id, "front")
    assert lookup(world, one, "two").split()[0] != "0"


async def test_a_container_that_left_is_forgotten(world: World, networks: Networks) -> None:
    one, _ = await pair(networks)
    plain = await networks.connect(container_id(), "default", name="plain", upstreams=["127.0.0.78"])
    await networks.attach(plain.container_id, "front", {"Aliases": ["late"]})
    assert lookup(world, one, "late") == f"0 {plain.attachments[1].ip}"
    await networks.detach(plain.container_id, "front")
    assert lookup(world, plain, "one") == "2"
    assert lookup(world, one, "late").split()[0] != "0"


async def test_port_53_stays_the_containers_own(world: World, networks: Networks) -> None:
    one, two = await pair(networks)
    world.serve(netns(one), "udp:53", "tcp:53")
    assert lookup(world, one, "two") == f"0 {two.ip}"
    assert world.ask("udp:127.0.0.1:53", netns(one)) == "127.0.0.1"


async def test_other_questions_go_to_the_users_resolvers(
    world: World, networks: Networks, upstream: Callable[[str], None],
) -> None:
    upstream("127.0.0.77")
    await networks.create({"Name": "front"})
    one = await networks.connect(container_id(), "front", name="one", upstreams=["127.0.0.78", "127.0.0.77"])
    assert lookup(world, one, "example.test") == "0 192.0.2.99"  # the first one refuses
    assert lookup(world, one, "one") == f"0 {one.ip}"
    silent = await networks.connect(container_id(), "front", name="silent", upstreams=["127.0.0.78"])
    assert lookup(world, silent, "example.test") == "2"


async def test_the_resolver_outlives_the_server(world: World, make_networks: Callable[..., Networks]) -> None:
    old = make_networks()
    await old.open()
    await old.ready()
    one, two = await pair(old)
    inits = [subprocess.Popen(["nsenter", f"--net=/proc/{os.getpid()}/fd/{netns(each)}", "sleep", "60"])
             for each in (one, two)]
    try:
        inode = os.stat(netns(two)).st_ino
        assert eventually(lambda: os.stat(f"/proc/{inits[1].pid}/ns/net").st_ino == inode)
        keep = os.dup(netns(one))
        record_one, record_two = one.record(), two.record()
        resolver = old._names._process
        await old.close()
        one.netns_fd = keep
        assert lookup(world, one, "two") == f"0 {two.ip}"
        new = make_networks()
        await new.open()
        await new.adopt(one.container_id, record_one, inits[0].pid)
        await new.adopt(two.container_id, record_two, inits[1].pid)
        await new.ready()
        assert new._names._process is None  # the same resolver
        assert lookup(world, one, "two") == f"0 {two.ip}"
        three = await new.connect(container_id(), "front", name="three")
        assert lookup(world, one, "three") == f"0 {three.ip}"
        os.close(keep)
        assert resolver is not None
        assert resolver.poll() is None
        await new.close(remove=True)
        assert resolver.wait(10) == 0
    finally:
        for init in inits:
            init.kill()
            init.wait()


async def test_a_resolver_that_dies_is_started_again(world: World, networks: Networks) -> None:
    one, two = await pair(networks)
    process = networks._names._process
    assert process is not None
    process.kill()
    process.wait()
    three = await networks.connect(container_id(), "front", name="three")
    assert lookup(world, one, "two") == f"0 {two.ip}"
    assert lookup(world, one, "three") == f"0 {three.ip}"


async def test_a_released_containers_namespace_is_let_go(world: World, networks: Networks) -> None:
    one, _ = await pair(networks)
    veth = one.first.host_interface
    await networks.release(one.container_id)
    with Netlink() as netlink:
        assert eventually(lambda: veth not in {link.name for link in netlink.links()})
