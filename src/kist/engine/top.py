"""`docker top`: the host's ps, its lines filtered by the container's processes. Blocking."""

from __future__ import annotations

import shlex
import subprocess
from typing import Any

from kist.errors import EngineFailure, InvalidParameter, Unavailable

Json = dict[str, Any]


def top(pids: list[int], ps_args: str) -> Json:
    """`{"Titles", "Processes"}` as the API has it. The arguments are ps's own; a shell is never involved."""
    try:
        words = shlex.split(ps_args)
    except ValueError as error:
        raise InvalidParameter(f"invalid ps arguments: {error}") from None
    try:
        done = subprocess.run(["ps", *words], capture_output=True, text=True, errors="replace", timeout=20,
                              stdin=subprocess.DEVNULL, check=False)
    except FileNotFoundError:
        raise Unavailable("docker top needs the command ps on the server's machine: install the package procps"
                          ) from None
    except subprocess.TimeoutExpired:
        raise EngineFailure("ps did not answer") from None
    if done.returncode != 0:
        said = done.stderr.strip()
        raise InvalidParameter(f"ps: {said.splitlines()[0] if said else f'status {done.returncode}'}")
    return parse(done.stdout, set(pids))


def parse(output: str, pids: set[int]) -> Json:
    lines = output.splitlines()
    titles = lines[0].split() if lines else []
    if "PID" not in titles:
        raise InvalidParameter("Couldn't find PID field in ps output")
    column = titles.index("PID")
    rows = []
    for line in lines[1:]:
        fields = line.split(None, len(titles) - 1)
        if len(fields) > column and fields[column].isdecimal() and int(fields[column]) in pids:
            rows.append(fields)
    return {"Titles": titles, "Processes": rows}
