"""What the log's files hold, by driver: json-file (launcher/lines.py draws a record) and local (launcher/localfile.py).

A record that is broken (a power cut, a bad disk) is skipped, the rest is shown. Blocking: called in threads.
"""

from __future__ import annotations

import json
import os
import re
import struct
from typing import Any, Protocol

import msgspec

from kist.engine import times

BLOCK = 1 << 20
LARGEST = 1 << 20  # bytes of a record of driver "local": 16 KiB and little more, if nothing is broken


class Record(msgspec.Struct, gc=False):
    """A line, or a piece of a long one, as json-file has it."""

    log: str
    stream: str = "stdout"
    time: str = ""
    attrs: dict[str, str] | None = None

    @property
    def at(self) -> int:
        """Nanoseconds since the epoch; 0 if nobody can tell."""
        try:
            return times.parse_rfc3339(self.time)
        except ValueError:
            return 0

    @property
    def data(self) -> bytes:
        try:
            return self.log.encode()
        except UnicodeEncodeError:
            return self.log.encode("utf-8", "surrogateescape")


class LocalRecord(msgspec.Struct, gc=False):
    """The same, as local has it."""

    data: bytes
    stream: str
    at: int
    attrs: None = None


class Format(Protocol):
    def split(self, data: bytes) -> tuple[bytes, bytes]:
        """Whole records, and what comes before the next ones."""
        ...

    def parse(self, block: bytes) -> list[Any]:
        """The records (Record or LocalRecord) of what `split` gave."""
        ...

    def seek_back(self, fd: int, records: int) -> int:
        """Place the descriptor that many records before the end (or at the start); answers how many were missing."""
        ...


class JsonFormat:
    """One JSON object a line."""

    def __init__(self) -> None:
        self._decoder = msgspec.json.Decoder(Record)

    def split(self, data: bytes) -> tuple[bytes, bytes]:
        whole, newline, rest = data.rpartition(b"\n")
        return whole + newline, rest

    def parse(self, block: bytes) -> list[Record]:
        try:
            return self._decoder.decode_lines(block)
        except (msgspec.DecodeError, UnicodeDecodeError):
            found = (self._parse_line(line) for line in block.split(b"\n") if line)
            return [record for record in found if record is not None]

    def _parse_line(self, line: bytes) -> Record | None:
        try:
            return self._decoder.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            pass
        try:  # lone surrogates: the standard library takes them, msgspec does not
            return msgspec.convert(json.loads(line), Record)
        except (ValueError, msgspec.ValidationError, RecursionError):
            return None

    def seek_back(self, fd: int, records: int) -> int:
        """Lines are counted backwards, block by block."""
        end = os.lseek(fd, 0, os.SEEK_END)
        if records == 0:
            return 0
        at, ending = end, True
        while at > 0:
            size = min(BLOCK // 4, at)
            at -= size
            block = os.pread(fd, size, at)
            cut = len(block)
            if ending and block.endswith(b"\n"):
                cut -= 1  # the newline that ends the last line begins no other
            ending = False
            while (found := block.rfind(b"\n", 0, cut)) >= 0:
                records -= 1
                if records == 0:
                    os.lseek(fd, at + found + 1, os.SEEK_SET)
                    return 0
                cut = found
        os.lseek(fd, 0, os.SEEK_SET)
        return records - 1 if end else records


class LocalFormat:
    """Length, protobuf message, length."""

    def split(self, data: bytes) -> tuple[bytes, bytes]:
        at, following, total, frame = 0, 0, len(data), _FRAME.unpack_from
        while at + 4 <= total:
            following = at + 8 + frame(data, at)[0]
            if following > total:
                break
            at = following
        if following - at > LARGEST:  # no such record: what follows can't be told apart any more
            return data, b""
        return data[:at], data[at:]

    def parse(self, block: bytes) -> list[LocalRecord]:
        """Most records begin like others: with a stream and a time that were decoded already (a batch shares them)."""
        found: list[LocalRecord] = []
        heads: dict[bytes, LocalRecord] = {}
        at, total, frame = 0, len(block), _FRAME.unpack_from
        while at + 8 <= total:
            end = at + 4 + frame(block, at)[0]
            if end + 4 > total:
                break
            like = heads.get(block[at + 4 : at + 22])
            # (A size of two bytes can't be mistaken for one: its first byte is never one more than its value.)
            if like is not None and block[at + 22] == 0x1A and at + 24 + block[at + 23] == end:
                found.append(LocalRecord(block[at + 24 : end] + b"\n", like.stream, like.at))
            elif block[at : at + 4] != block[end : end + 4]:
                break
            elif (record := _message(block[at + 4 : end])) is not None:
                found.append(record)
                if _HEAD.match(block, at + 4, end):
                    heads[block[at + 4 : at + 22]] = record
            at = end + 4
        return found

    def seek_back(self, fd: int, records: int) -> int:
        """By the lengths behind the records."""
        at = os.lseek(fd, 0, os.SEEK_END)
        while records and at > 0:
            frame = os.pread(fd, 4, at - 4) if at >= 8 else b""
            start = at - 8 - int.from_bytes(frame, "big")
            if not frame or start < 0 or os.pread(fd, 4, start) != frame:
                return self._count(fd, records)
            at, records = start, records - 1
        os.lseek(fd, at, os.SEEK_SET)
        return records

    def _count(self, fd: int, records: int) -> int:
        """The end is broken: the records are found from the start."""
        starts, at, size = [], 0, os.lseek(fd, 0, os.SEEK_END)
        while at + 8 <= size and (following := at + 8 + int.from_bytes(os.pread(fd, 4, at), "big")) <= size:
            starts.append(at)
            at = following
        os.lseek(fd, starts[-records] if len(starts) >= records else 0, os.SEEK_SET)
        return max(0, records - len(starts))


_FRAME = struct.Struct(">I")
# A record's first 18 bytes: its stream, and a time after 1972 (a varint of nine bytes).
_HEAD = re.compile(rb"\x0a\x06std(?:out|err)\x10[\x80-\xff]{8}[\x00-\x7f]", re.DOTALL)


def _message(body: bytes) -> LocalRecord | None:
    """A LogEntry; None if it is none."""
    stream, line, at, partial = "", b"", 0, False
    place = 0
    while place < len(body):
        tag, start = body[place], place + 1
        place = _past_varint(body, start)
        word = body[start:place]
        if tag & 7 == _LENGTH:
            value = body[place : place + _number(word)]
            place += _number(word)
            if tag == 0x0A:
                stream = value.decode("ascii", "replace")
            elif tag == 0x1A:
                line = value
            elif tag == 0x2A:  # Docker's own: the last piece of a line (its field 1) ends it
                partial = partial and not value.startswith(b"\x08\x01")
        elif tag & 7 == _VARINT:
            if tag == 0x10:
                at = _number(word)
            elif tag == 0x20:
                partial = word == b"\x01"
        else:
            return None
    return LocalRecord(line if partial else line + b"\n", stream, at) if place == len(body) else None


_VARINT, _LENGTH = 0, 2  # wire types, the lowest three bits of a tag


def _past_varint(body: bytes, at: int) -> int:
    """Where it ends; beyond the end of a body that ends in the midst of it."""
    while at < len(body) and body[at] & 0x80:
        at += 1
    return at + 1


def _number(word: bytes) -> int:
    """A varint: seven bits a byte, the lowest first."""
    if len(word) == 1:
        return word[0]
    return sum((byte & 0x7F) << 7 * place for place, byte in enumerate(word[:10]))


FORMATS: dict[str, Format] = {"json-file": JsonFormat(), "local": LocalFormat()}
