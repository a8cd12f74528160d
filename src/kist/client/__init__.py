"""The Python SDK for Kist's server, and for Docker's daemon. The command line is built on it.

    import kist

    with kist.run("redis", ports={"6379": None}) as redis:
        assert redis.exec("redis-cli ping").text == "PONG\\n"
        host, port = redis.port(6379)

    with kist.client.connect("ssh://root@example.org") as k:
        k.containers.list(all=True)

`k.containers`, `k.images`, `k.networks`, `k.volumes`, `k.execs` and `k.system` have one method per request of
the Engine API (`client.py`); `k.run` (`sdk.py`) and `Container` (`container.py`) are the comfortable way. Errors
are those of `kist.errors`. Everything is synchronous; nothing is imported before it is used (docs/sdk.md).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Unpack

    from kist.client.address import TLS
    from kist.client.client import NoServer, StreamError
    from kist.client.container import Command, Container, Process, Result
    from kist.client.sdk import Kist, Options

DEFAULT_HOST = "unix:///run/kist/kist.sock"
_PLACES = {"Container": "container", "Process": "container", "Result": "container", "Kist": "sdk", "Options": "sdk",
           "NoServer": "client", "StreamError": "client", "TLS": "address"}
_usual: list[Kist] = []


def connect(host: str = "", *, tls: TLS | None = None, timeout: float | None = None) -> Kist:
    """A client for the server at `host` (`unix://…`, `tcp://…`, `ssh://…`); it connects with the first request.

    Without a host it is the one that the environment means: KIST_HOST, else DOCKER_HOST, else Kist's own place.
    `timeout` bounds every wait on a socket, in seconds: leave it out where containers are waited for.
    """
    from kist.client import environment
    from kist.client.address import Address
    from kist.client.sdk import Kist

    return Kist(Address(host, tls) if host else environment.address(), timeout=timeout)


def run(image: str, command: Command | None = None, **options: Unpack[Options]) -> Container:
    """`connect().run(…)`: a container of that image, started; see `Kist.create` for the options."""
    if not _usual:
        _usual.append(connect())
    return _usual[0].run(image, command, **options)


def __getattr__(name: str) -> object:
    if name in _PLACES:
        module = __import__(f"kist.client.{_PLACES[name]}", fromlist=(name,))
        return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["DEFAULT_HOST", "TLS", "Container", "Kist", "NoServer", "Options", "Process", "Result", "StreamError",
           "connect", "run"]
