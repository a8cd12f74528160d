"""Commands of the real docker client that must succeed, or must not."""

from __future__ import annotations

from typing import Any

from support.daemon import Daemon


def ok(daemon: Daemon, *args: str, **options: Any) -> str:
    """Its standard output, stripped."""
    done = daemon.docker(*args, **options)
    assert done.returncode == 0, f"docker {' '.join(args)}: status {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout.strip()


def refused(daemon: Daemon, *args: str) -> str:
    """What it says on standard error."""
    done = daemon.docker(*args)
    assert done.returncode != 0, f"docker {' '.join(args)} was not refused:\n{done.stdout}"
    return done.stderr
