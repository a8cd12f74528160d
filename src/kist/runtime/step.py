"""A step: one thing that init does, which can name itself before it is done."""

from __future__ import annotations

import abc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from kist.linux.openat2 import Root


class Context:
    """What init knows while it runs its steps. Steps leave things here for later ones."""

    __slots__ = ("bundle", "cgroup", "console", "empty_dir", "from_outside", "listener", "null", "proc", "process",
                 "program", "root", "seccomp", "slave", "sources", "spec", "stdio")

    def __init__(self, spec: dict[str, Any], process: dict[str, Any], bundle: str) -> None:
        self.spec = spec
        self.process = process
        self.bundle = bundle
        self.program = ""     # path of the program, once it was found
        self.root: Root = None  # type: ignore[assignment]  # opened by the first steps, before any use
        self.proc: Root = None  # type: ignore[assignment]  # the host's procfs, verified
        self.null = -1        # the host's /dev/null, verified
        self.empty_dir = -1   # a read-only empty directory, for masking
        self.console = -1     # master of the container's terminal
        self.slave = -1
        self.stdio: tuple[int, int, int] | None = None
        self.seccomp: bytes | None = None
        self.listener = -1     # seccomp notifications
        self.cgroup: Any = None
        self.from_outside = False           # init will be in another user namespace, and may not reach the sources
        self.sources: dict[int, int] = {}   # mount's index → tree opened by the creator; the root's are negative


class Step(abc.ABC):
    """``syscall`` and ``why`` are for `kist explain`."""

    __slots__ = ()
    syscall = ""
    why = ""

    @abc.abstractmethod
    def describe(self) -> str:
        """``mount proc on /proc``: the words that stand before the error if it fails."""

    def prepare(self, ctx: Context) -> None:  # noqa: B027
        """In the creator, before init is born: what init will not have the privilege for."""

    @abc.abstractmethod
    def run(self, ctx: Context) -> None:
        """In init. An OSError becomes a StepError with this step's words."""
