"""The websocket codec, byte by byte."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kist.server import websocket
from kist.server.websocket import BINARY, CLOSE, CONTINUATION, PING, TEXT, Codec


def masked(first: int, payload: bytes, key: bytes = b"\x11\x22\x33\x44") -> bytes:
    size = len(payload)
    if size < 126:
        length = bytes([0x80 | size])
    elif size < 1 << 16:
        length = b"\xfe" + size.to_bytes(2, "big")
    else:
        length = b"\xff" + size.to_bytes(8, "big")
    return bytes([first]) + length + key + bytes(b ^ key[i % 4] for i, b in enumerate(payload))


@given(st.lists(st.binary(max_size=300), max_size=5), st.integers(1, 40), st.binary(min_size=4, max_size=4))
def test_payloads_arrive_however_the_bytes_are_cut(payloads: list[bytes], step: int, key: bytes) -> None:
    wire = b"".join(masked(0x80 | BINARY, p, key) for p in payloads)
    codec = Codec()
    taken = [codec.decode(wire[at : at + step]) for at in range(0, len(wire), step)]
    assert b"".join(payload for payload, _ in taken) == b"".join(payloads)
    assert not any(reply for _, reply in taken)
    assert not codec.ended


def test_a_fragmented_message_with_a_ping_inside() -> None:
    codec = Codec()
    wire = masked(TEXT, b"one ") + masked(0x80 | PING, b"hey") + masked(0x80 | CONTINUATION, b"two")
    assert codec.decode(wire) == (b"one two", b"\x8a\x03hey")


def test_a_large_payload_is_handed_on_as_it_comes() -> None:
    codec = Codec()
    wire = masked(0x80 | BINARY, bytes(70_000))
    assert codec.decode(wire[:1014]) == (bytes(1000), b"")
    assert codec.decode(wire[1014:]) == (bytes(69_000), b"")


def test_close_is_echoed_and_nothing_counts_behind_it() -> None:
    codec = Codec()
    assert codec.decode(masked(0x80 | CLOSE, b"\x03\xe8bye") + masked(0x80 | BINARY, b"x")) == (
        b"", b"\x88\x02\x03\xe8")
    assert codec.ended
    assert codec.decode(masked(0x80 | BINARY, b"x")) == (b"", b"")


@pytest.mark.parametrize("wire", [
    b"\x82\x01x" + bytes(20),  # not masked
    masked(0xC0 | BINARY, b"x"),  # a reserved bit
    masked(0x83, b"x"),  # an unknown opcode
    masked(0x80 | PING, bytes(126)),  # a long control frame
    b"\x82\xff" + b"\xff" * 8 + bytes(4),  # a length of 2^64 - 1
])
def test_a_broken_rule_ends_it(wire: bytes) -> None:
    codec = Codec()
    assert codec.decode(wire) == (b"", b"\x88\x02\x03\xea")
    assert codec.ended


@pytest.mark.parametrize(("size", "head"), [
    (0, b"\x82\x00"), (125, b"\x82\x7d"), (126, b"\x82\x7e\x00\x7e"), (65536, b"\x82\x7f" + (65536).to_bytes(8, "big")),
])
def test_frames_that_are_sent(size: int, head: bytes) -> None:
    assert Codec().encode(bytes(size)) == head + bytes(size)


def test_old_clients_are_sent_text() -> None:
    assert Codec(text=True).encode(b"x") == b"\x81\x01x"


@given(st.lists(st.binary(max_size=100), max_size=10))
def test_nothing_makes_it_fail(pieces: list[bytes]) -> None:
    codec = Codec()
    for piece in pieces:
        codec.decode(piece)


def test_the_handshakes_key() -> None:
    assert websocket.accept_key("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
