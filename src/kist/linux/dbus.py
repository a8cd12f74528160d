"""A small D-Bus client: call methods of a service on the system bus, wait for a signal (D-Bus specification 0.43).

    message   endian:y type:y flags:y version:y  body length:u  serial:u  header fields:a(yv)   (pad to 8)  body

Values are marshalled by their signature. Enough of the type system for systemd's manager: y b n q i u x t d s o g
a ( ) v and a{..}.
"""

from __future__ import annotations

import os
import socket
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SYSTEM_BUS = "/run/dbus/system_bus_socket"
SYSTEMD_PRIVATE = "/run/systemd/private"
CALL, RETURN, ERROR, SIGNAL = 1, 2, 3, 4
PATH, INTERFACE, MEMBER, ERROR_NAME, REPLY_SERIAL, DESTINATION, SENDER, SIGNATURE = 1, 2, 3, 4, 5, 6, 7, 8
_FIXED = {"y": "B", "b": "I", "n": "h", "q": "H", "i": "i", "u": "I", "x": "q", "t": "Q", "d": "d"}
_ALIGN = {"y": 1, "g": 1, "v": 1, "n": 2, "q": 2, "b": 4, "i": 4, "u": 4, "s": 4, "o": 4, "a": 4,
          "x": 8, "t": 8, "d": 8, "(": 8, "{": 8}
MAX_MESSAGE = 1 << 27


class BusError(OSError):
    """The service answered with an error; ``name`` is D-Bus' name of it."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(71, f"{name}: {text}")
        self.name = name


class Variant:
    """A value with its signature."""

    __slots__ = ("signature", "value")

    def __init__(self, signature: str, value: Any) -> None:
        self.signature = signature
        self.value = value


def split(signature: str) -> list[str]:
    """"a(sv)us" → ["a(sv)", "u", "s"]."""
    parts = []
    position = 0
    while position < len(signature):
        end = _end(signature, position)
        parts.append(signature[position:end])
        position = end
    return parts


def _end(signature: str, position: int) -> int:
    char = signature[position]
    if char == "a":
        return _end(signature, position + 1)
    if char not in "({":
        return position + 1
    depth = 0
    for index in range(position, len(signature)):
        depth += {"(": 1, "{": 1, ")": -1, "}": -1}.get(signature[index], 0)
        if depth == 0:
            return index + 1
    raise ValueError(f"unbalanced signature {signature!r}")


class Writer:
    def __init__(self) -> None:
        self.data = bytearray()

    def align(self, size: int) -> None:
        self.data += b"\0" * (-len(self.data) % size)

    def write(self, signature: str, value: Any) -> None:
        kind = signature[0]
        self.align(_ALIGN[kind])
        if kind in _FIXED:
            self.data += struct.pack("<" + _FIXED[kind], value)
        elif kind in "so":
            raw = value.encode()
            self.data += struct.pack("<I", len(raw)) + raw + b"\0"
        elif kind == "g":
            self.data += bytes([len(value)]) + value.encode() + b"\0"
        elif kind == "v":
            self.write("g", value.signature)
            self.write(value.signature, value.value)
        elif kind == "a":
            self._array(signature[1:], value)
        else:
            for part, item in zip(split(signature[1:-1]), value, strict=True):
                self.write(part, item)

    def _array(self, element: str, values: Any) -> None:
        """The length counts the elements, not the padding before the first."""
        place = len(self.data)
        self.data += b"\0\0\0\0"
        self.align(_ALIGN[element[0]])
        start = len(self.data)
        for item in values.items() if element[0] == "{" else values:
            self.write(element, item)
        struct.pack_into("<I", self.data, place, len(self.data) - start)


class Reader:
    def __init__(self, data: bytes, order: str = "<") -> None:
        self.data = data
        self.order = order
        self.position = 0

    def _take(self, form: str) -> Any:
        size = struct.calcsize(form)
        value = struct.unpack_from(self.order + form, self.data, self.position)[0]
        self.position += size
        return value

    def read(self, signature: str) -> Any:
        kind = signature[0]
        self.position += -self.position % _ALIGN[kind]
        if kind in _FIXED:
            return self._take(_FIXED[kind])
        if kind in "sog":
            length = self._take("B" if kind == "g" else "I")
            raw = self.data[self.position:self.position + length]
            self.position += length + 1
            return raw.decode()
        if kind == "v":
            return self.read(self.read("g"))
        if kind == "a":
            return self._array(signature[1:])
        return tuple(self.read(part) for part in split(signature[1:-1]))

    def _array(self, element: str) -> Any:
        length = self._take("I")
        self.position += -self.position % _ALIGN[element[0]]
        end = self.position + length
        items = []
        while self.position < end:
            items.append(self.read(element))
        return dict(items) if element[0] == "{" else items


class Message:
    __slots__ = ("body", "fields", "kind", "serial")

    def __init__(self, kind: int, serial: int, fields: dict[int, Any], body: list[Any]) -> None:
        self.kind = kind
        self.serial = serial
        self.fields = fields
        self.body = body


def encode(serial: int, path: str, interface: str, member: str, destination: str, signature: str,
           arguments: tuple[Any, ...]) -> bytes:
    body = Writer()
    for part, value in zip(split(signature), arguments, strict=True):
        body.write(part, value)
    fields = [(PATH, Variant("o", path)), (INTERFACE, Variant("s", interface)), (MEMBER, Variant("s", member)),
              (DESTINATION, Variant("s", destination))]
    if signature:
        fields.append((SIGNATURE, Variant("g", signature)))
    head = Writer()
    head.data += struct.pack("<BBBBII", ord("l"), CALL, 0, 1, len(body.data), serial)
    head.write("a(yv)", fields)
    head.align(8)
    return bytes(head.data + body.data)


def decode(data: bytes) -> Message:
    order = "<" if data[0] == ord("l") else ">"
    reader = Reader(data, order)
    kind = data[1]
    reader.position = 4
    _length, serial = reader.read("u"), reader.read("u")
    fields = dict(reader.read("a(yv)"))
    reader.position += -reader.position % 8
    body = Reader(data[reader.position:], order)
    return Message(kind, serial, fields, [body.read(part) for part in split(fields.get(SIGNATURE, ""))])


class Bus:
    """A connection. One call at a time; signals that arrive meanwhile are kept. With ``direct`` the other end is the
    service itself and no bus: nobody needs to be greeted, and no signal asked for."""

    def __init__(self, address: str = SYSTEM_BUS, timeout: float = 30.0, *, direct: bool = False) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(timeout)
        self.buffer = b""
        self.serial = 0
        self.direct = direct
        self.signals: list[Message] = []
        try:
            self.sock.connect(address)
            self._authenticate()
            if not direct:
                self.call("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "Hello")
        except OSError as error:
            self.sock.close()
            raise OSError(error.errno, error.strerror or str(error), address) from None

    def close(self) -> None:
        self.sock.close()

    def _authenticate(self) -> None:
        """SASL EXTERNAL: the socket's credentials say who we are. BEGIN goes along with it, and the first call only
        after the answer: systemd (252) takes all that has come when it looks for BEGIN, and a call that came just
        behind lies in its buffer until there is more to read."""
        uid = str(os.geteuid()).encode().hex()
        self.sock.sendall(f"\0AUTH EXTERNAL {uid}\r\nBEGIN\r\n".encode())
        line = b""
        while not line.endswith(b"\r\n"):
            chunk = self.sock.recv(1)
            if not chunk:
                raise OSError(111, "the bus closed the connection")
            line += chunk
        if not line.startswith(b"OK"):
            raise OSError(13, f"the bus refuses: {line.decode(errors='replace').strip()}")

    def call(self, destination: str, path: str, interface: str, member: str, signature: str = "",
             *arguments: Any) -> list[Any]:
        self.serial += 1
        serial = self.serial
        self.sock.sendall(encode(serial, path, interface, member, destination, signature, arguments))
        while True:
            message = self._next()
            if message.kind == SIGNAL:
                self.signals.append(message)
            elif message.fields.get(REPLY_SERIAL) == serial:
                if message.kind == ERROR:
                    raise BusError(message.fields.get(ERROR_NAME, ""), str((message.body or [""])[0]))
                return message.body

    def signal(self, member: str) -> Message:
        """The next signal of that name; earlier others are dropped."""
        while True:
            message = self.signals.pop(0) if self.signals else self._next()
            if message.kind == SIGNAL and message.fields.get(MEMBER) == member:
                return message

    def _next(self) -> Message:
        head = self._read(16, keep=True)
        order = "<" if head[0] == ord("l") else ">"
        body, fields = struct.unpack_from(order + "I", head, 4)[0], struct.unpack_from(order + "I", head, 12)[0]
        total = 16 + fields + -(16 + fields) % 8 + body
        if total > MAX_MESSAGE:
            raise OSError(90, "a message of the bus is too long")
        return decode(self._read(total))

    def _read(self, size: int, *, keep: bool = False) -> bytes:
        while len(self.buffer) < size:
            try:
                chunk = self.sock.recv(65536)
            except TimeoutError:  # it has no number of its own
                raise OSError(110, f"no answer within {self.sock.gettimeout():.0f} s") from None
            if not chunk:
                raise OSError(104, "the bus closed the connection")
            self.buffer += chunk
        data = self.buffer[:size]
        if not keep:
            self.buffer = self.buffer[size:]
        return data
