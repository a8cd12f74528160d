"""The connections: urllib3 with an end to every wait, and its exceptions in Docker's words.

A request here is one exchange: no redirects, no retries, no authorization of its own; `client` does these.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, ClassVar
from urllib.parse import unquote, urlsplit

import urllib3
from urllib3 import exceptions
from urllib3.connection import HTTPConnection, HTTPSConnection

from kist.errors import EngineFailure, KistError, Unavailable
from kist.registry.protocol import Transient
from kist.registry.settings import ClientConfig, Patience, RegistrySettings

CHUNK = 1 << 20
SHORT = 64 << 10
Body = bytes | Iterable[bytes]


class ConnectionFailed(Transient):
    """No answer, or not a whole one. ``reached``: there was a connection (it may have been an old one)."""

    reached = True


class _Impatient:
    """Ends the wait for an answer's head: urllib3's read timeout counts each byte anew."""

    patience: ClassVar[float] = Patience().head

    def getresponse(self) -> Any:
        sock = self.sock  # type: ignore[attr-defined]
        timer = threading.Timer(self.patience, _shut, [sock])
        timer.daemon = True
        timer.start()
        try:
            return super().getresponse()  # type: ignore[misc]
        finally:
            timer.cancel()


class _PlainConnection(_Impatient, HTTPConnection):
    pass


class _TLSConnection(_Impatient, HTTPSConnection):
    pass


def _shut(sock: socket.socket) -> None:
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


class Answer:
    """One answer whose body has not been read. Use as a context manager: leaving early drops the connection."""

    def __init__(self, response: urllib3.BaseHTTPResponse, url: str, patience: Patience, method: str) -> None:
        self.status = response.status
        self.headers = response.headers
        self.url = url
        self._response = response
        self._patience = patience
        # These have no body: reading nothing of it makes the connection good for another request.
        self._finished = method == "HEAD" or self.status in (204, 304) or self.length == 0

    def __enter__(self) -> Answer:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        if self._finished:
            self._response.drain_conn()
            self._response.release_conn()
        else:
            self._response.close()

    def discard(self) -> None:
        """Close; a short body is read first, so that the connection is good for another request."""
        try:
            if not self._finished and self.length is not None and self.length <= SHORT:
                self.read(SHORT)
        except Unavailable:
            pass  # what it says is of no interest
        finally:
            self.close()

    def header(self, name: str) -> str:
        return self.headers.get(name) or ""

    @property
    def length(self) -> int | None:
        """Content-Length, None where there is none (chunked)."""
        text = self.header("Content-Length")
        return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None

    def chunks(self) -> Iterator[bytes]:
        """The body as it comes. Raises ConnectionFailed when it stops or drips; the caller counts."""
        watch = _Drip(self._patience)
        while True:
            try:
                data = self._response.read1(CHUNK, decode_content=False)
            except (exceptions.HTTPError, OSError) as error:
                raise failure(error, "Get", self.url) from None
            if not data:
                self._finished = True
                return
            watch.saw(len(data), self.url)
            yield data

    def read(self, limit: int) -> bytes:
        """The whole body of at most ``limit`` bytes; Unavailable where the registry sends more."""
        deadline = time.monotonic() + self._patience.small_body
        parts: list[bytes] = []
        total = 0
        for chunk in self.chunks():
            total += len(chunk)
            if total > limit:
                raise Unavailable(f"{self.url}: the answer is longer than {limit} bytes")
            if time.monotonic() > deadline:
                raise ConnectionFailed(f'Get "{self.url}": context deadline exceeded')
            parts.append(chunk)
        return b"".join(parts)


class _Drip:
    """Notices a body that comes too slowly to ever end."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._since = time.monotonic()
        self._bytes = 0

    def saw(self, count: int, url: str) -> None:
        self._bytes += count
        passed = time.monotonic() - self._since
        if passed < self._patience.window:
            return
        if self._bytes < self._patience.slowest * passed:
            raise ConnectionFailed(f'Get "{url}": the registry sends too slowly ({self._bytes} bytes '
                                   f"in {passed:.0f} s): context deadline exceeded")
        self._since, self._bytes = time.monotonic(), 0


class Transport:
    """Thread-safe; keeps connections per host and TLS settings."""

    def __init__(self, config: ClientConfig) -> None:
        self._config = config
        self._managers: dict[tuple[str, str], urllib3.PoolManager] = {}
        self._lock = threading.Lock()

    def close(self) -> None:
        with self._lock:
            for manager in self._managers.values():
                manager.clear()
            self._managers.clear()

    def exchange(self, method: str, url: str, headers: dict[str, str], body: Body | None = None) -> Answer:
        """Send one request; the answer's head is there when this returns."""
        patience = self._config.patience
        try:
            # Content-Length of an iterable can't be known: the caller sets it, else the body goes chunked.
            response = self._manager(url).request(
                method, url, body=body, headers={"User-Agent": self._config.user_agent, **headers},
                redirect=False, retries=False, preload_content=False, decode_content=False,
                timeout=urllib3.Timeout(connect=patience.connect, read=patience.read),
            )
        except (exceptions.HTTPError, OSError, ValueError) as error:
            raise failure(error, method.capitalize(), url) from None
        return Answer(response, url, patience, method)

    def _manager(self, url: str) -> urllib3.PoolManager:
        parts = urlsplit(url)
        key = (parts.scheme, parts.netloc)
        with self._lock:
            if key not in self._managers:
                self._managers[key] = self._make(parts.scheme, parts.netloc)
            return self._managers[key]

    def _make(self, scheme: str, host: str) -> urllib3.PoolManager:
        options: dict[str, Any] = {"num_pools": 2, "maxsize": 8}
        if scheme == "https":
            insecure = self._config.insecure(host)
            options["ssl_context"] = tls_context(self._config.settings(host), verify=not insecure)
            if insecure:  # the user has said so; urllib3 would say it again with each request
                urllib3.disable_warnings(exceptions.InsecureRequestWarning)
        proxy = self._config.proxy(scheme, host)
        manager = _behind(proxy, options) if proxy else urllib3.PoolManager(**options)
        manager.pool_classes_by_scheme = _pool_classes(self._config.patience.head)
        return manager


def _behind(proxy: str, options: dict[str, Any]) -> urllib3.PoolManager:
    user = urlsplit(proxy)
    if user.username is not None:
        pair = f"{unquote(user.username)}:{unquote(user.password or '')}"
        options["proxy_headers"] = urllib3.make_headers(proxy_basic_auth=pair)
        proxy = proxy.replace(user.netloc, user.netloc.rpartition("@")[2], 1)
    return urllib3.ProxyManager(proxy, **options)


def _pool_classes(head: float) -> dict[str, Any]:
    plain = type("PlainConnection", (_PlainConnection,), {"patience": head})
    tls = type("TLSConnection", (_TLSConnection,), {"patience": head})
    return {
        "http": type("PlainPool", (urllib3.HTTPConnectionPool,), {"ConnectionCls": plain}),
        "https": type("TLSPool", (urllib3.HTTPSConnectionPool,), {"ConnectionCls": tls}),
    }


def tls_context(settings: RegistrySettings, *, verify: bool) -> ssl.SSLContext:
    """System's CAs and the registry's own one; TLS 1.2 at least."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    path: str | None = None
    try:
        for path in (*([settings.ca] if settings.ca else []), *settings.more_cas):
            context.load_verify_locations(cafile=path)
        if path := settings.cert:
            context.load_cert_chain(settings.cert, settings.key)
    except (OSError, ssl.SSLError) as error:
        raise EngineFailure(f"can't load the registry's certificates ({path}): {error}") from None
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


# --- exceptions → Docker's (Go's) words -----------------------------------------------------------------


def failure(error: Exception, verb: str, url: str) -> KistError:
    """``Get "https://host/v2/": dial tcp: lookup host: no such host`` and its kin."""
    words = _words(error, url)
    if isinstance(error, exceptions.ProxyError) or words.startswith(("dial ", "tls: ", "http: server gave")):
        # Never got as far as the path. Docker's first request is the ping; its users know this sentence.
        problem = ConnectionFailed('Get "{0.scheme}://{0.netloc}/v2/": {1}'.format(urlsplit(url), words))
        problem.reached = False
        return problem
    return ConnectionFailed(f'{verb} "{url}": {words}')


def _words(error: Exception, url: str) -> str:
    host = urlsplit(url).hostname or ""
    address = urlsplit(url).netloc
    if isinstance(error, exceptions.ProxyError):
        return _proxy_words(error.original_error, url)
    if isinstance(error, exceptions.NameResolutionError | socket.gaierror):
        return f"dial tcp: lookup {host}: no such host"
    if isinstance(error, exceptions.ConnectTimeoutError) and not isinstance(error, exceptions.NewConnectionError):
        return f"dial tcp {address}: i/o timeout"
    if isinstance(error, exceptions.NewConnectionError):
        return f"dial tcp {address}: connect: {_reason(error)}"
    if isinstance(error, exceptions.SSLError | ssl.SSLError):
        return _tls_words(str(error))
    if isinstance(error, exceptions.ReadTimeoutError | TimeoutError):
        return "context deadline exceeded (the registry stopped sending)"
    if isinstance(error, exceptions.IncompleteRead):
        return "unexpected EOF"
    text = str(error)
    for needle, words in _PROTOCOL_WORDS:
        if needle in text:
            return words
    return f"malformed HTTP response: {text[:200]}"


def _proxy_words(error: Exception, url: str) -> str:
    """Go says what a proxy answers to CONNECT by that answer's words alone; `_TUNNEL` is http.client's text."""
    text = str(error)
    if _TUNNEL in text:
        return text.partition(_TUNNEL)[2].partition(" ")[2] or "unknown status code"
    return f"proxyconnect tcp: {_words(error, url)}"


_TUNNEL = "Tunnel connection failed: "
_PROTOCOL_WORDS = (
    ("Remote end closed", "EOF"),
    ("Connection reset", "read: connection reset by peer"),
    ("ConnectionResetError", "read: connection reset by peer"),
    ("Broken pipe", "write: broken pipe"),
    ("BrokenPipe", "write: broken pipe"),
    ("IncompleteRead", "unexpected EOF"),
    ("got more than", "net/http: HTTP/1.x transport connection broken: the head of the answer is too large"),
)


def _reason(error: Exception) -> str:
    text = str(error)
    for needle, words in (("Errno 111", "connection refused"), ("Errno 113", "no route to host"),
                          ("Errno 101", "network is unreachable")):
        if needle in text:
            return words
    return text.rsplit(": ", 1)[-1]


def _tls_words(text: str) -> str:
    if "WRONG_VERSION_NUMBER" in text or "record layer failure" in text or "HTTP_REQUEST" in text:
        return "http: server gave HTTP response to HTTPS client"
    if "CERTIFICATE_VERIFY_FAILED" in text:
        if "expired" in text:
            return "tls: failed to verify certificate: x509: certificate has expired or is not yet valid"
        if "ostname mismatch" in text or "IP address mismatch" in text:
            return "tls: failed to verify certificate: x509: certificate is not valid for this name"
        return "tls: failed to verify certificate: x509: certificate signed by unknown authority"
    if "EOF occurred" in text:
        return "EOF"
    return f"tls: {text[:200]}"
