"""A container's states, and what may be done in each: one table, the words for the rest in another.

::

    created ──start──▶ running ⇄ paused          restarting = ended, waits for its next start
       │                │  ▲  │
       │              exit │  └──policy──▶ restarting ──start──▶ running
       │                ▼  │start
       └──remove──▶   exited ──remove──▶ removing (─▶ dead, when the removal failed)
"""

from __future__ import annotations

from kist.errors import Conflict, KistError, NotModified

CREATED, RUNNING, PAUSED, RESTARTING = "created", "running", "paused", "restarting"
EXITED, REMOVING, DEAD = "exited", "removing", "dead"

ALL = (CREATED, RUNNING, PAUSED, RESTARTING, EXITED, REMOVING, DEAD)
# "restarting" counts as running for users: `State.Running` is true while the policy waits (moby does so).
ALIVE = frozenset({RUNNING, PAUSED})
COUNTED_AS_RUNNING = frozenset({RUNNING, PAUSED, RESTARTING})

MAY: dict[str, frozenset[str]] = {
    "start": frozenset({CREATED, EXITED}),
    "stop": frozenset({RUNNING, PAUSED, RESTARTING}),
    "kill": frozenset({RUNNING, PAUSED}),
    "restart": frozenset({CREATED, RUNNING, PAUSED, RESTARTING, EXITED}),
    "pause": frozenset({RUNNING}),
    "unpause": frozenset({PAUSED}),
    "exec": frozenset({RUNNING}),
    "attach": frozenset({CREATED, RUNNING, EXITED}),
    "resize": frozenset({RUNNING, PAUSED}),
    "top": frozenset({RUNNING, PAUSED}),
    "rename": frozenset({CREATED, RUNNING, PAUSED, RESTARTING, EXITED}),
    "update": frozenset({CREATED, RUNNING, PAUSED, RESTARTING, EXITED}),
    "remove": frozenset({CREATED, EXITED, DEAD}),
    "remove by force": frozenset({CREATED, RUNNING, PAUSED, RESTARTING, EXITED, DEAD}),
    "read": frozenset({CREATED, RUNNING, PAUSED, RESTARTING, EXITED}),  # cp, diff, export, commit
}

# The refusals, Docker's words: (action, state) -> (error, text). {id} and {name} are filled in.
_NOT_RUNNING = (Conflict, "container {id} is not running")
_RESTARTING = (Conflict, "Container {id} is restarting, wait until the container is running")
_PAUSED = "Container {id} is paused, unpause the container before "
_GOING = (Conflict, 'container is marked for removal and cannot be "{action}"')

_WORDS: dict[tuple[str, str], tuple[type[KistError], str]] = {
    ("start", RUNNING): (NotModified, ""),
    ("start", RESTARTING): (NotModified, ""),
    ("start", PAUSED): (Conflict, "cannot start a paused container, try unpause instead"),
    ("start", REMOVING): (Conflict, "container is marked for removal and cannot be started"),
    ("start", DEAD): (Conflict, "container is marked for removal and cannot be started"),
    ("stop", CREATED): (NotModified, ""),
    ("stop", EXITED): (NotModified, ""),
    ("stop", DEAD): (NotModified, ""),
    ("stop", REMOVING): (NotModified, ""),
    ("pause", PAUSED): (Conflict, "Container {id} is already paused"),
    ("pause", RESTARTING): _RESTARTING,
    ("exec", PAUSED): (Conflict, _PAUSED + "exec"),
    ("exec", RESTARTING): _RESTARTING,
    ("attach", PAUSED): (Conflict, _PAUSED + "attach"),
    ("attach", RESTARTING): _RESTARTING,
    ("top", RESTARTING): _RESTARTING,
    ("remove", RUNNING): (Conflict, 'cannot remove container "/{name}": container is running: '
                                    "stop the container before removing or force remove"),
    ("remove", PAUSED): (Conflict, 'cannot remove container "/{name}": container is paused and must be '
                                   "unpaused first"),
    ("remove", RESTARTING): (Conflict, 'cannot remove container "/{name}": container is restarting: '
                                       "stop the container before removing or force remove"),
    ("remove", REMOVING): (Conflict, "removal of container {name} is already in progress"),
    ("remove by force", REMOVING): (Conflict, "removal of container {name} is already in progress"),
}
_ELSE: dict[str, tuple[type[KistError], str]] = {
    "unpause": (Conflict, "Container {id} is not paused"),
    "rename": _GOING,
    "update": _GOING,
    "restart": _GOING,
    "attach": _GOING,
    "read": _GOING,
}


def check(action: str, state: str, *, id: str, name: str) -> None:
    """Raise the refusal that Docker's users know unless `action` may be done in `state`."""
    if state in MAY[action]:
        return
    error, text = _WORDS.get((action, state)) or _ELSE.get(action, _NOT_RUNNING)
    raise error(text.format(id=id, name=name, action=action))
