"""Two threads that take turns by the system call: every interleaving of a race can be had, and had again."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any

STEPS = frozenset({"open", "stat", "fstat", "read", "pread", "write", "rename", "unlink", "listdir"})


class Actor(threading.Thread):
    """Stands still before each of its system calls (those of STEPS) until it's told to go on."""

    def __init__(self, work: Callable[[], object]) -> None:
        super().__init__(daemon=True)
        self._work = work
        self._go, self._stands = threading.Semaphore(0), threading.Semaphore(0)
        self._free = False
        self.over = False
        self.error: BaseException | None = None

    def run(self) -> None:
        sys.setprofile(self._gate)
        try:
            self._work()
        except BaseException as error:
            self.error = error
        finally:
            sys.setprofile(None)
            self.over = True
            self._stands.release()

    def _gate(self, frame: FrameType, event: str, arg: Any) -> None:
        if event == "c_call" and arg.__name__ in STEPS and not self._free:
            self._stands.release()
            self._go.acquire()

    def begin(self) -> None:
        self.start()
        self._stands.acquire()

    def steps(self, number: int) -> None:
        for _ in range(number):
            if self.over:
                return
            self._go.release()
            self._stands.acquire()

    def finish(self) -> None:
        """Let it run to its end. Raises what it raised."""
        self._free = True
        self._go.release()
        self.join(20)
        if self.error is not None:
            raise self.error
        assert self.over, "it doesn't end"


def take_turns(turns: Iterable[int], first: Actor, second: Actor) -> None:
    """So many steps of the first, of the second, of the first…; then the first one's rest, and the second one's."""
    for actor in (first, second):
        actor.begin()
    try:
        for turn, steps in enumerate(turns):
            (first, second)[turn % 2].steps(steps)
    finally:
        first.finish()
        second.finish()
