"""Restart policies, pure (facts of moby 28's restartmanager): 100 ms, doubled per try up to a minute; a run of
ten seconds or more counts as well and begins anew."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

FIRST_DELAY = 0.1
LONGEST_DELAY = 60.0
RAN_WELL = 10.0  # seconds


@dataclass(frozen=True, slots=True)
class Decision:
    delay: float  # seconds to wait; the next call gets it as `last_delay`


def decide(policy: dict[str, Any], *, exit_code: int, restart_count: int, stopped_by_user: bool,
           ran_seconds: float, last_delay: float) -> Decision | None:
    """When to start again, or None for not at all."""
    name = policy["Name"]
    if stopped_by_user or name in ("", "no"):
        return None
    if name == "on-failure":
        most = policy.get("MaximumRetryCount", 0)
        if exit_code == 0 or (most and restart_count >= most):
            return None
    delay = FIRST_DELAY if ran_seconds >= RAN_WELL or not last_delay else min(last_delay * 2, LONGEST_DELAY)
    return Decision(delay)


def at_server_start(policy: dict[str, Any], *, exit_code: int, restart_count: int, stopped_by_user: bool,
                    was_running: bool) -> bool:
    """Whether a container that is not running is started when the server starts.

    `always` starts whatever was stopped by hand too, `unless-stopped` does not; `on-failure` only what the
    machine's end took down with a failure.
    """
    name = policy["Name"]
    if name == "always":
        return True
    if name == "unless-stopped":
        return not stopped_by_user
    if name == "on-failure":
        most = policy.get("MaximumRetryCount", 0)
        return was_running and not stopped_by_user and exit_code != 0 and not (most and restart_count >= most)
    return False
