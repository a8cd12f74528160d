"""What can be done to containers, as data: which state allows it, which request it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from kist.client.client import Client

STOPPED = frozenset(("created", "exited", "dead"))
RUNNING = frozenset(("running", "restarting"))
ANY: frozenset[str] = frozenset()  # every state
ASKED = frozenset(("stop", "restart", "remove"))  # these want a yes first


class Action(NamedTuple):
    """`doing`: the word that stands in the list meanwhile; `do`: (client, container id, signal)."""

    name: str
    doing: str
    states: frozenset[str]
    do: Callable[[Client, str, str], object]


ACTIONS = {action.name: action for action in (
    Action("start", "starting", STOPPED, lambda c, i, _: c.containers.start(i)),
    Action("stop", "stopping", RUNNING | {"paused"}, lambda c, i, _: c.containers.stop(i)),
    Action("restart", "restarting", ANY, lambda c, i, _: c.containers.restart(i)),
    Action("kill", "killing", RUNNING | {"paused"}, lambda c, i, signal: c.containers.kill(i, signal)),
    Action("pause", "pausing", frozenset(("running",)), lambda c, i, _: c.containers.pause(i)),
    Action("unpause", "resuming", frozenset(("paused",)), lambda c, i, _: c.containers.unpause(i)),
    Action("remove", "removing", ANY, lambda c, i, _: c.containers.remove(i, force=True)),
)}

SIGNALS = (
    ("TERM", "15 SIGTERM   end, please"), ("KILL", " 9 SIGKILL   end, at once"), ("HUP", " 1 SIGHUP    read again"),
    ("INT", " 2 SIGINT    as Ctrl-C"), ("QUIT", " 3 SIGQUIT   end with a core"), ("USR1", "10 SIGUSR1"),
    ("USR2", "12 SIGUSR2"), ("STOP", "19 SIGSTOP"), ("CONT", "18 SIGCONT"),
)

# A shell that is there; most images have one of them.
SHELL = ("sh", "-c", "command -v bash >/dev/null 2>&1 && exec bash; exec sh")
