"""Elements of nftables sets, byte by byte as `nft --debug=netlink,mnl` (1.0.6) shows what it sends itself."""

from __future__ import annotations

import errno
import sys

import pytest

from kist.linux.netlink import nfelements, nfnetlink
from kist.linux.netlink.nfelements import Element

pytestmark = pytest.mark.skipif(sys.byteorder != "little", reason="the expected bytes are little-endian")

NAME = (("ifname", "kv0123"),)
MAC = (("ifname", "kv0123"), ("ether_addr", "02:42:0a:58:00:02"))
PORT = (("ipv4_addr", "192.0.2.1"), ("inet_proto", "6"), ("inet_service", "80"))
BEHIND = (("ipv4_addr", "10.88.0.2"), ("inet_service", "8080"))


def test_a_transaction_of_one_element() -> None:
    assert nfnetlink.batch(nfelements.requests([Element(True, "bridge", "t", "b", MAC)]), 7) == (
        b"\x14\0\0\0" b"\x10\0" b"\x01\0" b"\x07\0\0\0" b"\0\0\0\0" b"\0\0\0\x0a"  # BATCH_BEGIN
        b"\x4c\0\0\0" b"\x0c\x0a" b"\x05\x04" b"\x08\0\0\0" b"\0\0\0\0" b"\x07\0\0\0"  # NEWSETELEM, CREATE | ACK
        b"\x06\0\x01\0t\0\0\0"
        b"\x06\0\x02\0b\0\0\0"
        b"\x28\0\x03\x80" b"\x24\0\x01\x80" b"\x20\0\x01\x80" b"\x1c\0\x01\0"
        b"kv0123\0\0\0\0\0\0\0\0\0\0" b"\x02\x42\x0a\x58\0\x02\0\0"
        b"\x14\0\0\0" b"\x11\0" b"\x01\0" b"\x09\0\0\0" b"\0\0\0\0" b"\0\0\0\x0a"  # BATCH_END
    )


def test_a_maps_element_carries_its_data_when_it_is_added_only() -> None:
    added = nfnetlink.batch(nfelements.requests([Element(True, "ip", "t", "p", PORT, BEHIND)]), 1)
    key = b"\x14\0\x01\x80" b"\x10\0\x01\0" b"\xc0\0\x02\x01" b"\x06\0\0\0" b"\0\x50\0\0"
    data = b"\x10\0\x02\x80" b"\x0c\0\x01\0" b"\x0a\x58\0\x02" b"\x1f\x90\0\0"
    assert b"\x2c\0\x03\x80" b"\x28\0\x01\x80" + key + data in added
    deleted = nfnetlink.batch(nfelements.requests([Element(False, "ip", "t", "p", PORT, BEHIND)]), 1)
    assert b"\x0e\x0a" b"\x05\0" in deleted  # DELSETELEM, ACK
    assert b"\x1c\0\x03\x80" b"\x18\0\x01\x80" + key in deleted
    assert data not in deleted


@pytest.mark.parametrize(("parts", "expected"), [
    (NAME, b"kv0123".ljust(16, b"\0")),
    ((("inet_service", "80"),), b"\0\x50"),  # alone, it isn't padded
    ((("inet_proto", "17"), ("inet_service", "53")), b"\x11\0\0\0\0\x35\0\0"),
    ((("ifname", "a"), ("ipv6_addr", "fd00::2")), b"a".ljust(16, b"\0") + b"\xfd".ljust(15, b"\0") + b"\x02"),
])
def test_values(parts: tuple[tuple[str, str], ...], expected: bytes) -> None:
    assert nfelements.value_of(parts) == expected


@pytest.mark.parametrize("part", [("ifname", "x" * 17), ("ether_addr", "02:42"), ("inet_service", "65536")])
def test_what_does_not_fit_is_refused(part: tuple[str, str]) -> None:
    with pytest.raises((ValueError, OverflowError)):
        nfelements.value_of((part,))


def test_neighbours_of_one_set_share_a_message() -> None:
    one, other = Element(True, "ip", "t", "a", NAME), Element(True, "ip", "t", "b", NAME)
    deleted = Element(False, "ip", "t", "a", NAME)
    assert nfelements.grouped([one, one, other, one, deleted]) == [[one, one], [other], [one], [deleted]]
    assert [len(group) for group in nfelements.grouped([one] * 600)] == [256, 256, 88]


def test_missing_deletions_are_left_out_and_other_failures_raised() -> None:
    deleted, added = Element(False, "ip", "t", "a", NAME), Element(True, "ip", "t", "b", PORT)
    groups = [[deleted], [added], [deleted, deleted]]
    assert nfelements.without_missing(groups, {0: errno.ENOENT}) == groups[1:]
    assert nfelements.without_missing(groups, {2: errno.ENOENT}) == [[deleted], [added], [deleted], [deleted]]
    with pytest.raises(FileNotFoundError, match=r"add element ip t b { 192.0.2.1 . 6 . 80 }"):
        nfelements.without_missing(groups, {1: errno.ENOENT})
    with pytest.raises(OSError, match=r"delete element ip t a { kv0123 }") as caught:
        nfelements.without_missing(groups, {0: errno.EBUSY})
    assert caught.value.errno == errno.EBUSY
    with pytest.raises(PermissionError):
        nfelements.without_missing(groups, {-1: errno.EPERM})
