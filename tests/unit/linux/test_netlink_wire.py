"""The rtnetlink wire format, byte by byte: written out by hand from linux/rtnetlink.h and linux/if_link.h,
for a little-endian machine. That the kernel reads it the same way is tested in tests/kernel."""

from __future__ import annotations

import errno
import socket
import struct
import sys

import pytest

from kist.linux.netlink import conntrack, request, wire

pytestmark = pytest.mark.skipif(sys.byteorder != "little", reason="the expected bytes are little-endian")


def test_attribute_is_padded_to_four_bytes() -> None:
    assert wire.attribute(3, b"abcde") == b"\x09\x00\x03\x00abcde\0\0\0"
    assert wire.attribute(3, b"abcd") == b"\x08\x00\x03\x00abcd"
    assert wire.attribute(1, b"") == b"\x04\x00\x01\x00"


def test_nested_attribute_carries_the_flag_and_its_childrens_padding() -> None:
    assert wire.nested(18, wire.text(1, "x"), wire.u8(2, 7)) == (
        b"\x14\x00\x12\x80" b"\x06\x00\x01\x00x\0\0\0" b"\x05\x00\x02\x00\x07\0\0\0"
    )


def test_message_header() -> None:
    one = wire.Request(type=16, flags=0x600, body=b"abcde", words="")
    assert wire.message(one, 7) == b"\x15\0\0\0" b"\x10\0" b"\x05\x06" b"\x07\0\0\0" b"\0\0\0\0" b"abcde\0\0\0"
    assert wire.message(one, 7, ack=False)[6:8] == b"\x01\x06"


def test_create_bridge() -> None:
    made = request.bridge("br0", address="02:42:0a:58:00:01")
    assert (made.type, made.flags, made.words) == (16, 0x600, "create bridge br0")
    assert made.body == (
        b"\0\0\0\0\0\0\0\0\x01\0\0\0\x01\0\0\0"  # ifinfomsg: up
        b"\x08\0\x03\0br0\0"  # IFLA_IFNAME
        b"\x0a\0\x01\0\x02\x42\x0a\x58\0\x01\0\0"  # IFLA_ADDRESS
        b"\x10\0\x12\x80\x0a\0\x01\0bridge\0\0"  # IFLA_LINKINFO { IFLA_INFO_KIND }
    )


def test_create_veth_with_its_peer_in_another_namespace() -> None:
    made = request.veth("v0", peer_name="eth0", peer_netns=9, master=5, mtu=1400)
    peer = (
        b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"  # the peer's own ifinfomsg: down, or the kernel refuses
        b"\x09\0\x03\0eth0\0\0\0\0"
        b"\x08\0\x04\0\x78\x05\0\0"
        b"\x08\0\x1c\0\x09\0\0\0"  # IFLA_NET_NS_FD
    )
    data = struct.pack("<HH", 4 + 4 + len(peer), 2 | 0x8000) + struct.pack("<HH", 4 + len(peer), 1) + peer
    info = b"\x08\0\x01\0veth" + data
    assert made.body == (
        b"\0\0\0\0\0\0\0\0\x01\0\0\0\x01\0\0\0"
        b"\x07\0\x03\0v0\0\0"
        b"\x08\0\x04\0\x78\x05\0\0"
        b"\x08\0\x0a\0\x05\0\0\0"  # IFLA_MASTER
        + struct.pack("<HH", 4 + len(info), 18 | 0x8000) + info
    )


@pytest.mark.parametrize(("made", "kind", "data"), [
    (request.macvlan("m", parent=3, mode="vepa"), b"macvlan", b"\x08\0\x01\0\x02\0\0\0"),
    (request.ipvlan("m", parent=3, mode="l3", flag="private"), b"ipvlan",
     b"\x06\0\x01\0\x01\0\0\0" b"\x06\0\x02\0\x01\0\0\0"),
    (request.vlan("m", parent=3, tag=10), b"vlan", b"\x06\0\x01\0\x0a\0\0\0"),
])
def test_devices_on_a_parent(made: wire.Request, kind: bytes, data: bytes) -> None:
    found = wire.attributes(made.body, 16)
    assert bytes(found[5]) == b"\x03\0\0\0"
    info = wire.attributes(found[18])
    assert bytes(info[1]) == kind
    assert bytes(info[2]) == data


def test_set_link_changes_only_what_is_given() -> None:
    assert request.set_link(4, up=True).body == b"\0\0\0\0\x04\0\0\0\x01\0\0\0\x01\0\0\0"
    assert request.set_link(4, up=False).body == b"\0\0\0\0\x04\0\0\0\0\0\0\0\x01\0\0\0"
    assert request.set_link(4, master=0).body == b"\0\0\0\0\x04\0\0\0" + bytes(8) + b"\x08\0\x0a\0\0\0\0\0"
    assert request.set_link(4, netns=7, name="x").body == (
        b"\0\0\0\0\x04\0\0\0" + bytes(8) + b"\x06\0\x03\0x\0\0\0" b"\x08\0\x1c\0\x07\0\0\0"
    )


def test_set_bridge_port() -> None:
    body = request.set_port(4, hairpin=True, isolated=False).body
    info = wire.attributes(wire.attributes(body, 16)[18])
    assert bytes(info[4]) == b"bridge"
    assert {kind: bytes(value) for kind, value in wire.attributes(info[5]).items()} == {4: b"\1", 33: b"\0"}


def test_add_address_has_its_broadcast() -> None:
    made = request.add_address(2, "10.88.0.2", 16)
    assert (made.type, made.flags) == (20, 0x600)
    assert made.body == (
        b"\x02\x10\0\0\x02\0\0\0"
        b"\x08\0\x02\0\x0a\x58\0\x02" b"\x08\0\x01\0\x0a\x58\0\x02"
        b"\x08\0\x04\0\x0a\x58\xff\xff"
    )


def test_ipv6_address_skips_duplicate_detection() -> None:
    made = request.add_address(2, "fd00::2", 64)
    address = bytes.fromhex("fd000000000000000000000000000002")
    assert made.body == b"\x0a\x40\x02\0\x02\0\0\0" b"\x14\0\x02\0" + address + b"\x14\0\x01\0" + address


def test_host_address_has_no_broadcast() -> None:
    assert 4 not in wire.attributes(request.add_address(2, "10.0.0.1", 32).body, 8)


def test_default_route() -> None:
    made = request.add_route("0.0.0.0", 0, gateway="10.88.0.1")
    assert (made.type, made.flags) == (24, 0x600)
    assert made.body == b"\x02\0\0\0\xfe\x03\0\x01\0\0\0\0" b"\x08\0\x05\0\x0a\x58\0\x01"
    assert made.words == "add route 0.0.0.0/0 via 10.88.0.1"


def test_connected_route_has_link_scope() -> None:
    made = request.add_route("10.9.0.0", 16, index=3, metric=5)
    assert made.body == (
        b"\x02\x10\0\0\xfe\x03\xfd\x01\0\0\0\0"
        b"\x08\0\x01\0\x0a\x09\0\0" b"\x08\0\x04\0\x03\0\0\0" b"\x08\0\x06\0\x05\0\0\0"
    )


def test_route_with_an_mtu() -> None:
    body = request.add_route("0.0.0.0", 0, gateway="10.0.0.1", mtu=1450).body
    assert body[12:] == b"\x08\0\x05\0\x0a\0\0\x01" b"\x0c\0\x08\x80" b"\x08\0\x02\0\xaa\x05\0\0"


def test_local_route() -> None:
    body = request.add_local_route("::1", 128, 4).body
    assert body == (b"\x0a\x80\0\0\xff\x03\xfe\x02\0\0\0\0" b"\x14\0\x01\0" + bytes(15) + b"\x01"
                    b"\x08\0\x04\0\x04\0\0\0")


def test_rate_limit() -> None:
    made = request.limit_rate(3, 8_000_000)
    assert (made.type, made.flags) == (36, 0x500)
    assert made.body[:20] == b"\0\0\0\0\x03\0\0\0\0\0\x01\0\xff\xff\xff\xff\0\0\0\0"
    found = wire.attributes(made.body, 20)
    assert bytes(found[1]) == b"tbf\0"
    options = wire.attributes(found[2])
    assert bytes(options[1]) == (b"\0\x01\0\0\0\0\0\0" + struct.pack("<I", 1_000_000) + bytes(12)
                                 + struct.pack("<III", 170_000, 0, 0))
    assert bytes(options[6]) == struct.pack("<I", 70_000)
    assert 4 not in options
    fast = wire.attributes(wire.attributes(request.limit_rate(3, 400 * 10**9).body, 20)[2])
    assert bytes(fast[4]) == struct.pack("<Q", 50 * 10**9)


def test_permanent_neighbour() -> None:
    made = request.add_neighbour(3, "10.0.0.1", "02:00:00:00:00:09")
    assert made.body == (
        b"\x02\0\0\0\x03\0\0\0\x80\0\0\0" b"\x08\0\x01\0\x0a\0\0\x01" b"\x0a\0\x02\0\x02\0\0\0\0\x09\0\0"
    )


def test_messages_of_a_datagram_are_cut_at_their_padded_lengths() -> None:
    one = wire.Request(1, 0, b"abc", "")
    datagram = wire.message(one, 1) + wire.message(one, 2)
    found = list(wire.messages(datagram))
    assert [(message.sequence, bytes(message.body)) for message in found] == [(1, b"abc"), (2, b"abc")]


@pytest.mark.parametrize("datagram", [b"\0" * 15, struct.pack("<IHHII", 15, 0, 0, 0, 0),
                                      struct.pack("<IHHII", 17, 0, 0, 0, 0)])
def test_lengths_that_lie_are_refused(datagram: bytes) -> None:
    with pytest.raises(ValueError, match="netlink"):
        list(wire.messages(datagram))


@pytest.mark.parametrize("data", [b"\x03\0\x01\0", b"\x09\0\x01\0abcd", b"\0\0\0\0"])
def test_attribute_lengths_that_lie_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="netlink"):
        wire.attributes(data)


def error(code: int, flags: int, rest: bytes) -> wire.Message:
    request_header = struct.pack("<IHHII", 16 + 8, 24, 5, 1, 0)
    return wire.Message(2, flags, 1, memoryview(struct.pack("<i", -code) + request_header + rest))


def test_acknowledgement() -> None:
    assert wire.error_of(error(0, 0x100, b"")) == (0, "")


def test_error_with_the_kernels_sentence() -> None:
    sentence = wire.text(1, "Nexthop has invalid gateway")
    capped = error(errno.ENETUNREACH, 0x300, sentence)
    whole = error(errno.ENETUNREACH, 0x200, b"12345678" + sentence)
    assert wire.error_of(capped) == (errno.ENETUNREACH, "Nexthop has invalid gateway")
    assert wire.error_of(whole) == (errno.ENETUNREACH, "Nexthop has invalid gateway")


def test_error_without_a_sentence() -> None:
    assert wire.error_of(error(errno.EEXIST, 0, b"12345678")) == (errno.EEXIST, "")


def test_parse_link() -> None:
    body = (
        struct.pack("<BxHiII", 0, 1, 7, 0x1043, 0) + wire.text(3, "eth0") + wire.u32(4, 1500)
        + wire.attribute(1, bytes.fromhex("02420a580002")) + wire.u32(10, 5) + wire.u32(5, 2)
        + wire.nested(18, wire.text(1, "veth")) + wire.u32(37, 3) + wire.text(20, "remark")
    )
    assert wire.parse_link(memoryview(body)) == wire.Link(
        7, "eth0", "veth", 0x1043, 1500, "02:42:0a:58:00:02", 5, 2, 3, "remark")


def test_parse_address_prefers_the_local_one() -> None:
    body = struct.pack("<BBBBI", 2, 24, 0, 0, 3)
    body += wire.attribute(1, b"\x0a\0\0\x02") + wire.attribute(2, b"\x0a\0\0\x01")
    assert wire.parse_address(memoryview(body)) == wire.Address(3, socket.AF_INET, "10.0.0.1", 24, 0)


def test_parse_route_reads_the_table_beyond_one_byte() -> None:
    body = struct.pack("<BBBBBBBBI", 2, 8, 0, 0, 252, 3, 0, 1, 0)
    body += wire.attribute(1, b"\x0a\0\0\0") + wire.u32(15, 1000)
    found = wire.parse_route(memoryview(body))
    assert (found.dst, found.prefixlen, found.table) == ("10.0.0.0", 8, 1000)


@pytest.mark.parametrize("address", ["10.0.0", "10.0.0.256", "x", "", "1:2", "10.0.0.1/8"])
def test_bad_addresses_are_value_errors(address: str) -> None:
    with pytest.raises(ValueError, match="IP address"):
        wire.packed(address)


@pytest.mark.parametrize("address", ["", "02:42:0a:58:00", "02:42:0a:58:00:zz", "02420a580001", "1:2:3:4:5:678"])
def test_bad_mac_addresses_are_value_errors(address: str) -> None:
    with pytest.raises(ValueError):
        wire.mac_bytes(address)


def test_parse_connection() -> None:
    def tuple_of(source: bytes, target: bytes, ports: tuple[int, int]) -> bytes:
        return (
            wire.nested(1, wire.attribute(1, source), wire.attribute(2, target))
            + wire.nested(2, wire.u8(1, 17), wire.attribute(2, ports[0].to_bytes(2, "big")),
                          wire.attribute(3, ports[1].to_bytes(2, "big")))
        )

    original = tuple_of(b"\x0a\0\0\x09", b"\x0a\0\0\x01", (4000, 53))
    reply = tuple_of(b"\x0a\x58\0\x02", b"\x0a\0\0\x09", (5353, 4000))
    body = b"\x02\0\0\0" + wire.nested(1, original) + wire.nested(2, reply)
    assert conntrack.parse(memoryview(body)) == conntrack.Connection(2, 17, 53, "10.88.0.2", original)
