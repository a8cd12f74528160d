"""Stream frames: bytes in, events out, split at every place."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kist.api.frames import (
    HEADER_SIZE,
    STDERR,
    STDOUT,
    BadFrame,
    FrameDecoder,
    frame,
    header,
)


def test_header_is_the_one_of_the_specification() -> None:
    assert header(STDOUT, 0x01020304) == bytes([1, 0, 0, 0, 1, 2, 3, 4])
    assert header(STDERR, 5) == b"\x02\0\0\0\0\0\0\x05"
    assert frame(STDOUT, b"hi\n") == b"\x01\0\0\0\0\0\0\x03hi\n"


def _collect(decoder: FrameDecoder, pieces: list[bytes]) -> list[tuple[int, bytes]]:
    """What the decoder says, with neighbours of one stream joined."""
    out: list[tuple[int, bytes]] = []
    for piece in pieces:
        for stream, data in decoder.feed(piece):
            if out and out[-1][0] == stream:
                out[-1] = (stream, out[-1][1] + bytes(data))
            else:
                out.append((stream, bytes(data)))
    return out


FRAMES = st.lists(st.tuples(st.sampled_from([0, 1, 2, 3]), st.binary(max_size=40)), max_size=8)


@given(FRAMES, st.lists(st.integers(min_value=0, max_value=400), max_size=10))
def test_any_split_gives_the_same(frames: list[tuple[int, bytes]], cuts: list[int]) -> None:
    wire = b"".join(frame(stream, data) for stream, data in frames)
    places = sorted({min(cut, len(wire)) for cut in cuts} | {0, len(wire)})
    split = FrameDecoder()
    got = _collect(split, [wire[a:b] for a, b in itertools.pairwise(places)])
    split.close()
    whole = FrameDecoder()
    assert got == _collect(whole, [wire])
    assert b"".join(data for _, data in got) == b"".join(data for _, data in frames)


def test_byte_by_byte() -> None:
    wire = frame(STDOUT, b"abc") + frame(STDERR, b"") + frame(STDERR, b"de")
    decoder = FrameDecoder()
    assert _collect(decoder, [wire[i : i + 1] for i in range(len(wire))]) == [(1, b"abc"), (2, b"de")]
    decoder.close()


def test_a_piece_does_not_wait_for_the_rest_of_a_huge_frame() -> None:
    decoder = FrameDecoder()
    assert _collect(decoder, [header(STDOUT, 2**32 - 1) + b"x"]) == [(1, b"x")]
    with pytest.raises(BadFrame):
        decoder.close()


@pytest.mark.parametrize("wire", [b"\x01", frame(1, b"ab")[:-1], frame(1, b"ab")[:HEADER_SIZE]])
def test_an_end_in_the_middle_is_an_error(wire: bytes) -> None:
    decoder = FrameDecoder()
    _collect(decoder, [wire])
    with pytest.raises(BadFrame):
        decoder.close()


def test_unknown_stream_is_an_error() -> None:
    with pytest.raises(BadFrame, match="unknown stream 72"):
        _collect(FrameDecoder(), [b"HTTP/1.1 500"])
