"""Where the server listens: a unix socket, or TCP with mutual TLS and nothing less."""

from __future__ import annotations

import asyncio
import fcntl
import grp
import os
import socket
import ssl
import stat
from collections.abc import Callable
from dataclasses import dataclass

from kist.errors import Conflict, InvalidParameter
from kist.server.tls import TlsConnection

GROUP = "kist"
BACKLOG = 512

ProtocolFactory = Callable[[], asyncio.Protocol]


@dataclass(frozen=True, slots=True)
class Tls:
    """Paths of PEM files: the authority that signs clients, and the server's own pair."""

    ca: str
    cert: str
    key: str


@dataclass(frozen=True, slots=True)
class Address:
    """``unix:///path`` or ``tcp://host:port``."""

    path: str = ""
    host: str = ""
    port: int = 0

    @classmethod
    def parse(cls, text: str) -> Address:
        scheme, _, rest = text.partition("://")
        if scheme == "unix" and rest.startswith("/"):
            return cls(path=rest)
        host, _, port = rest.rpartition(":")
        if scheme == "tcp" and port.isascii() and port.isdigit() and int(port) < 65536:
            return cls(host=host.strip("[]"), port=int(port))
        raise InvalidParameter(f"invalid address {text!r}: expected unix:///path or tcp://host:port")

    def __str__(self) -> str:
        return f"unix://{self.path}" if self.path else f"tcp://{self.host}:{self.port}"


def tls_context(tls: Tls) -> ssl.SSLContext:
    """Clients without a certificate of that authority are turned away in the handshake."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.verify_mode = ssl.CERT_REQUIRED
    try:
        context.load_cert_chain(tls.cert, tls.key)
        context.load_verify_locations(tls.ca)
    except (OSError, ssl.SSLError) as exc:
        raise InvalidParameter(f"TLS files {tls.ca}, {tls.cert}, {tls.key}: {exc}") from None
    return context


async def listen(address: Address, make: ProtocolFactory, tls: Tls | None) -> asyncio.Server:
    loop = asyncio.get_running_loop()
    if address.path:
        return await loop.create_unix_server(make, sock=unix_socket(address.path), backlog=BACKLOG)
    if tls is None:
        raise InvalidParameter(f"{address}: TCP needs --tlsverify with --tlscacert, --tlscert and --tlskey "
                               "(whoever reaches the API is root on this machine)")
    context = tls_context(tls)
    return await loop.create_server(lambda: TlsConnection(make, context), address.host or None, address.port,
                                    backlog=BACKLOG)


def unix_socket(path: str) -> socket.socket:
    """A bound socket at ``path``, 0660, the group ``kist``'s if there is one.

    It is bound under another name and renamed, so at no time is there a socket that is open to more, or a
    stale one in the way.
    """
    os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
    if os.path.lexists(path) and not stat.S_ISSOCK(os.lstat(path).st_mode):
        raise Conflict(f"{path} exists and is no socket")
    if _answers(path):
        raise Conflict(f"another server listens on {path} already")
    fresh = f"{path}.{os.getpid()}"
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _bind(bound, fresh)
        os.chmod(fresh, 0o660)
        try:
            os.chown(fresh, 0, grp.getgrnam(GROUP).gr_gid)
        except KeyError:
            pass  # no such group: root alone
        os.rename(fresh, path)
    except BaseException:
        bound.close()
        _remove(fresh)
        raise
    return bound


def _answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except OSError:
            return False
        return True


def _bind(sock: socket.socket, path: str) -> None:
    mask = os.umask(0o177)
    try:
        sock.bind(path)
    except OSError as exc:  # among them: longer than 107 bytes (unix(7))
        raise InvalidParameter(f"can't listen on {path}: {exc}") from None
    finally:
        os.umask(mask)


def remove_socket(path: str) -> None:
    _remove(path)


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def lock_run_dir(run: str) -> int:
    """The descriptor that holds the lock while it is open; raises Conflict when another server has it."""
    os.makedirs(run, 0o711, exist_ok=True)
    path = os.path.join(run, "kistd.lock")
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(fd, 32).decode("ascii", "replace").strip()
        os.close(fd)
        raise Conflict(f"another server runs already with {run} (process {holder or 'unknown'})") from None
    os.ftruncate(fd, 0)
    os.write(fd, f"{os.getpid()}\n".encode())
    return fd
