"""The client: one object per server, one method per API request, grouped by noun.

    with Client("unix:///run/kist/kist.sock") as k:
        made = k.containers.create({"Image": "busybox", "Cmd": ["true"]})
        k.containers.start(made["Id"])

Requests name the newest API version at once instead of asking for it (`/_ping`) first; a server that is
older refuses once and says what it speaks, and the request is sent again in that version.

Idle connections are kept and used again; a request that streams (attach, wait, logs -f…) keeps its own.
A client may be shared between threads: a connection serves one of them at a time.
"""

from __future__ import annotations

from kist.client import wirejson
from kist.client.address import Address
from kist.client.transport import Connection, ProtocolError, Response
from kist.errors import EngineFailure, InvalidParameter, KistError, Unavailable, from_status
from kist.version import API_VERSION, VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType
    from typing import Any, Self

    from kist.client.containers import Containers
    from kist.client.execs import Execs
    from kist.client.images import Images
    from kist.client.networks import Networks
    from kist.client.system import System
    from kist.client.volumes import Volumes

    Body = dict[str, Any] | bytes | Iterable[bytes] | None
    Query = dict[str, Any] | None
    Request = tuple[str, str, Query, Body, dict[str, str] | None]

_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/:@,")


class NoServer(Unavailable):
    """Nobody answers at the address; `errno` tells why."""

    def __init__(self, message: str, errno: int | None) -> None:
        super().__init__(message)
        self.errno = errno


class StreamError(EngineFailure):
    """A streaming answer (pull, push, load…) told in its middle that the work failed."""


class Exchange:
    """A request that was sent and not answered yet. An older server is asked again, in its own version."""

    __slots__ = ("_client", "_connection", "_request", "_version")

    def __init__(self, client: Client, connection: Connection, request: Request) -> None:
        self._client, self._connection, self._request = client, connection, request
        self._version = client.version

    def answer(self) -> Response:
        """The answer's head; raises the error that it tells."""
        try:
            response = self._connection.response(self._request[0])
            if response.status >= 400:
                raise _error(response)
        except InvalidParameter as error:
            self._connection.close()
            client, older = self._client, _older_version(error.message)
            if self._request[0] == "HEAD":  # its refusal has no words
                older = _lower(response.headers.get("api-version", ""), self._version)
            if not older or older == self._version or not _can_be_repeated(self._request[3]):
                raise
            client.version, client.agreed = older, True
            return client.send(*self._request).answer()
        except OSError as error:
            self._connection.close()
            raise ProtocolError(f"error during connect: {error.strerror or error}") from None
        except KistError:
            self._connection.close()
            raise
        self._client.agreed = True
        response.give_back_to(self._client.idle)
        return response


def _can_be_repeated(body: Body) -> bool:
    return body is None or isinstance(body, (dict, bytes))


class Client:
    """A server, as seen from here."""

    def __init__(self, address: Address | str, *, version: str = API_VERSION, timeout: float | None = None,
                 headers: dict[str, str] | None = None) -> None:
        self.address = Address(address) if isinstance(address, str) else address
        self.version = version
        self.agreed = not version  # the server takes this version
        self.timeout = timeout
        self.headers = {"User-Agent": f"kist/{VERSION}", **(headers or {})}
        self.idle: list[Connection] = []
        self.ahead = 0  # how many connections to open behind the next request, while its answer is made

    def connect(self) -> Connection:
        """An idle connection, or a new one; NoServer when nobody answers."""
        while self.idle:
            kept = self.idle.pop()
            if kept.is_idle():
                return kept
            kept.close()
        try:
            return self.address.open(self.timeout)
        except OSError as error:
            raise NoServer(f"error during connect: {self.address.text}: {error.strerror or error}",
                           error.errno) from None

    def send(self, method: str, path: str, query: Query = None, body: Body = None,
             headers: dict[str, str] | None = None) -> Exchange:
        """Send a request and leave its answer for later."""
        if not self.agreed and not _can_be_repeated(body):
            self._agree()
        connection = self.connect()
        sent = {**self.headers, **headers} if headers else dict(self.headers)
        data: bytes | Iterable[bytes] | None
        if isinstance(body, dict):
            data = wirejson.dumps(body)
            sent["Content-Type"] = "application/json"
        else:
            data = body
        target = f"/v{self.version}{path}" if self.version else path
        try:
            connection.send(method, target + (query_string(query) if query else ""), sent, data)
        except OSError as error:
            connection.close()
            raise ProtocolError(f"error during connect: {error.strerror or error}") from None
        if self.ahead:
            self._open_ahead()
        return Exchange(self, connection, (method, path, query, body, headers))

    def _agree(self) -> None:
        """Before something is sent that can't be sent twice: a ping, whose refusal tells the server's version."""
        self.send("GET", "/_ping").answer().read()

    def _open_ahead(self) -> None:
        count, self.ahead = self.ahead, 0
        try:
            self.idle.extend([self.address.open(self.timeout) for _ in range(count)])
        except OSError:  # whoever needs one will try again, and tell
            pass

    def request(self, method: str, path: str, query: Query = None, body: Body = None,
                headers: dict[str, str] | None = None) -> Response:
        """Send a request and read the head of its answer; raises a KistError for a status from 400 on."""
        return self.send(method, path, query, body, headers).answer()

    def call(self, method: str, path: str, query: Query = None, body: Body = None,
             headers: dict[str, str] | None = None) -> Any:
        """A request whose answer is one JSON value, or nothing (None)."""
        data = self.request(method, path, query, body, headers).read()
        return wirejson.loads(data) if data.strip() else None

    def stream(self, method: str, path: str, query: Query = None, body: Body = None,
               headers: dict[str, str] | None = None) -> Iterator[Any]:
        """A request whose answer is a stream of JSON values; yields each as it comes."""
        response = self.request(method, path, query, body, headers)
        return stream_values(response)

    def close(self) -> None:
        """Close the idle connections."""
        while self.idle:
            self.idle.pop().close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    # The nouns, loaded when they are asked for: a command needs one or two of them.

    @property
    def containers(self) -> Containers:
        from kist.client.containers import Containers

        return Containers(self)

    @property
    def execs(self) -> Execs:
        from kist.client.execs import Execs

        return Execs(self)

    @property
    def images(self) -> Images:
        from kist.client.images import Images

        return Images(self)

    @property
    def networks(self) -> Networks:
        from kist.client.networks import Networks

        return Networks(self)

    @property
    def volumes(self) -> Volumes:
        from kist.client.volumes import Volumes

        return Volumes(self)

    @property
    def system(self) -> System:
        from kist.client.system import System

        return System(self)


def stream_values(response: Response) -> Iterator[Any]:
    """The JSON values of a streaming answer; a value that tells an error is raised as one."""
    values = wirejson.Values()
    try:
        for chunk in response.chunks():
            for value in values.feed(chunk):
                yield _checked(value)
        for value in values.close():
            yield _checked(value)
    finally:
        response.close()


def _checked(value: Any) -> Any:
    if isinstance(value, dict) and (value.get("errorDetail") or value.get("error")):
        detail = value.get("errorDetail") or {}
        raise StreamError(str(detail.get("message") or value.get("error")))
    return value


def _error(response: Response) -> KistError:
    """The error that an answer tells: `{"message": …}`, or whatever text it has."""
    body = response.read(1 << 20)
    try:
        message = wirejson.loads(body)["message"]
    except (ValueError, TypeError, KeyError):
        message = body.decode("utf-8", "replace").strip() or f"the server answered with status {response.status}"
    return from_status(response.status, str(message))


def _older_version(message: str) -> str:
    """The version to fall back to: "client version 1.51 is too new. Maximum supported API version is 1.45"."""
    _, mark, rest = message.partition("Maximum supported API version is ")
    return rest.split()[0].rstrip(".") if mark and rest else ""


def _lower(version: str, asked: str) -> str:
    """`version`, if it is a lower one than was asked for."""
    try:
        return version if [*map(int, version.split("."))] < [*map(int, asked.split("."))] else ""
    except ValueError:
        return ""


def quote(text: str) -> str:
    """Percent-encoding for paths and query values (RFC 3986; the unreserved, "/", ":", "@", "," stay)."""
    data = text.encode("utf-8", "surrogateescape")
    if _PLAIN.issuperset(data):
        return text
    return "".join(chr(byte) if byte in _PLAIN else f"%{byte:02X}" for byte in data)


def query_string(query: dict[str, Any]) -> str:
    """`?a=1&b=x`: None and empty text are left out, True is 1, a list repeats, a dict is JSON (filters)."""
    pairs = []
    for name, value in query.items():
        for one in value if isinstance(value, list) else (value,):
            if one is None or one == "" or one == {}:
                continue
            if isinstance(one, bool):
                one = "1" if one else "0"
            text = wirejson.dumps(one).decode() if isinstance(one, dict) else str(one)
            pairs.append(f"{name}={quote(text)}")
    return "?" + "&".join(pairs) if pairs else ""
