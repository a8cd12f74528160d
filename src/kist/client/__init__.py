"""The Python SDK for Kist's server, and for Docker's daemon. The command line is built on it.

    import kist.client

    with kist.client.connect() as k:
        with k.run("redis", ports={"6379/tcp": None}) as redis:
            assert redis.exec(["redis-cli", "ping"]).text == "PONG\n"
            host, port = redis.port(6379)

`k.containers`, `k.images`, `k.networks`, `k.volumes`, `k.execs` and `k.system` have one method per request of
the Engine API (`client.py`); `k.run` and `Container` (`sdk.py`) are the comfortable way. Errors are those of
`kist.errors`. Everything is synchronous; nothing is imported before it is used.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from kist.client.address import TLS
    from kist.client.sdk import Container, Kist, Result

DEFAULT_HOST = "unix:///run/kist/kist.sock"


def connect(host: str = DEFAULT_HOST, *, tls: TLS | None = None, timeout: float | None = None) -> Kist:
    """A client for the server at `host` (`unix://…`, `tcp://…`, `ssh://…`); it connects with the first request.

    `timeout` bounds every wait on a socket, in seconds: leave it out where containers are waited for.
    """
    from kist.client.address import Address
    from kist.client.sdk import Kist

    return Kist(Address(host, tls), timeout=timeout)


def __getattr__(name: str) -> object:
    if name in ("Container", "Kist", "Result"):
        from kist.client import sdk

        return getattr(sdk, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["DEFAULT_HOST", "Container", "Kist", "Result", "connect"]
