"""The words about a container's state: `Up 2 hours (healthy)`, `Exited (0) 5 minutes ago`. Pure."""

from __future__ import annotations

from kist.engine import states
from kist.engine.records import ContainerRecord
from kist.engine.times import human_duration


def status(record: ContainerRecord, now: int) -> str:
    """What `docker ps` shows in the column STATUS (moby: State.String)."""
    state = record.state
    if state == states.CREATED:
        return "Created"
    if state == states.REMOVING:
        return "Removal In Progress"
    if state == states.DEAD:
        return "Dead"
    if state in (states.RUNNING, states.PAUSED):
        up = f"Up {_since(record.started_at, now)}"
        if state == states.PAUSED:
            return f"{up} (Paused)"
        return f"{up} ({health_word(record)})" if record.health is not None else up
    ago = f"({record.exit_code}) {_since(record.finished_at, now)} ago"
    return f"Restarting {ago}" if state == states.RESTARTING else f"Exited {ago}"


def health_word(record: ContainerRecord) -> str:
    health = record.health
    if health is None:
        return "none"
    return "health: starting" if health.status == "starting" else health.status


def _since(at: int, now: int) -> str:
    return human_duration(max(0, now - at) / 1e9)
