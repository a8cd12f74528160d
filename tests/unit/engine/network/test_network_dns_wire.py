"""DNS messages byte by byte."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kist.engine.network.dns import wire

QUERY = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" b"\x03WeB\x05front\x00" b"\x00\x01\x00\x01"


def test_question() -> None:
    question = wire.parse(QUERY + b"\x00\x00\x29\x10\x00\x00\x00\x00\x00\x00\x00")  # with an EDNS record behind
    assert question == wire.Question(0x1234, 0x0100, "web.front", wire.A, wire.IN, QUERY[12:])


def test_answer() -> None:
    reply = wire.answer(wire.parse(QUERY), [wire.address_record("10.89.0.2")])
    assert reply == (
        b"\x12\x34\x85\x80\x00\x01\x00\x01\x00\x00\x00\x00" + QUERY[12:]
        + b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x05\x00\x04\x0a\x59\x00\x02"
    )


def test_ipv6_and_pointer_records() -> None:
    assert wire.address_record("fd00::2") == (
        b"\xc0\x0c\x00\x1c\x00\x01\x00\x00\x00\x05\x00\x10" + bytes.fromhex("fd000000000000000000000000000002"))
    assert wire.pointer_record("web.front") == (
        b"\xc0\x0c\x00\x0c\x00\x01\x00\x00\x00\x05\x00\x0b\x03web\x05front\x00")


def test_empty_answer_and_failure() -> None:
    question = wire.parse(QUERY)
    assert wire.answer(question)[2:8] == b"\x85\x80\x00\x01\x00\x00"
    assert wire.answer(question, code=wire.SERVFAIL)[3] & 0x0F == 2
    assert wire.refusal(QUERY, wire.NOTIMP) == b"\x12\x34\x81\x84" + bytes(8)


@pytest.mark.parametrize("data", [
    b"", QUERY[:11], QUERY[:-1], QUERY[:20], b"\x12\x34\x81" + QUERY[3:], QUERY[:4] + b"\x00\x02" + QUERY[6:],
    QUERY[:12] + b"\xc0\x0c" + QUERY[12:], QUERY[:12] + b"\x3f" * 400,
])
def test_other_messages_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        wire.parse(data)


@given(st.binary(max_size=600))
def test_any_bytes_are_a_question_or_a_value_error(data: bytes) -> None:
    try:
        question = wire.parse(data)
    except ValueError:
        return
    assert wire.parse(wire.HEADER.pack(1, 0, 1, 0, 0, 0) + question.raw).name == question.name


@pytest.mark.parametrize(("name", "address"), [
    ("2.0.88.10.in-addr.arpa", "10.88.0.2"), ("10.in-addr.arpa", ""), ("256.0.0.10.in-addr.arpa", ""),
    ("x.0.0.10.in-addr.arpa", ""), ("web", ""),
    ("2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa", "fd00::2"),
    ("z.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa", ""),
])
def test_reverse_names(name: str, address: str) -> None:
    assert wire.reverse_address(name) == address


OPT = b"\0\0\x29\x10\0\0\0\0\0\0\0"  # EDNS, 4096 bytes


@pytest.mark.parametrize(("extra", "count", "size"), [(b"", 0, 512), (OPT, 1, 4096), (OPT[:5], 1, 512),
                                                      (b"\0\0\x29\0\x40" + OPT[5:], 1, 512)])
def test_the_size_that_an_asker_takes(extra: bytes, count: int, size: int) -> None:
    query = wire.HEADER.pack(7, wire.RD, 1, 0, 0, count) + wire.encode_name("app") + b"\0\1\0\1" + extra
    assert wire.udp_size(query, wire.parse(query)) == size


def test_what_does_not_fit_is_left_for_tcp() -> None:
    question = wire.parse(wire.HEADER.pack(7, wire.RD, 1, 0, 0, 0) + wire.encode_name("app") + b"\0\1\0\1")
    whole = wire.answer(question, [wire.address_record(f"10.0.0.{n}") for n in range(40)])
    short = wire.fitting(whole, question, 512)
    _, flags, _, count, _, _ = wire.HEADER.unpack_from(short)
    assert flags & wire.TC
    assert len(short) == 12 + len(question.raw) + count * 16 <= 512 < len(short) + 16
    assert whole[12:].startswith(short[12:])
    assert wire.fitting(whole, question, 4096) == whole


@pytest.mark.parametrize("name", ["", "a..b", "x" * 64, ".".join(["x" * 60] * 5), "é" * 32])
def test_what_is_no_name(name: str) -> None:
    assert not wire.can_be_said(name)
    with pytest.raises(ValueError, match="bad name"):
        wire.pointer_record(name)
