"""Kist: a container platform in Python. `kist.run("redis")` makes a container; all else is in `kist.client`."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from kist import client
    from kist.client import Container, connect, run


def __getattr__(name: str) -> object:
    """Nothing is imported before it is used: every start of the command line passes here."""
    if name == "client":
        return __import__("kist.client", fromlist=("connect",))
    if name in __all__:
        return getattr(__import__("kist.client", fromlist=(name,)), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["Container", "client", "connect", "run"]
