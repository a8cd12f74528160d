"""Writes docs/compatibility.md from the tables that the program itself runs by (`make docs`).

    scripts/compatibility.py [--check]     --check: exit 1 if the page is not what the tables say
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from kist.api.routes import ROUTES
from kist.cli import container_body, words
from kist.cli.container_options import CONTAINER_OPTIONS, RUN_OPTIONS
from kist.engine import hostconfig
from kist.version import API_VERSION, MIN_API_VERSION

PAGE = Path(__file__).parents[1] / "docs" / "compatibility.md"
DONE, PARTLY, NOT = "✓", "◐", "✗"

# What works with a limit that no table holds: option → the limit.
LIMITS: dict[str, str] = {}

# HostConfig field → the option of `run` that sets it, where the refusal depends on the value.
OPTION_OF = {
    "UsernsMode": "userns", "Isolation": "isolation", "Runtime": "runtime", "DeviceRequests": "gpus",
    "Links": "link", "StorageOpt": "storage-opt", "CpuRealtimePeriod": "cpu-rt-period",
    "CpuRealtimeRuntime": "cpu-rt-runtime", "CpuCount": "cpu-count", "CpuPercent": "cpu-percent",
    "IOMaximumIOps": "io-maxiops", "IOMaximumBandwidth": "io-maxbandwidth", "KernelMemory": "kernel-memory",
    "VolumeDriver": "volume-driver",
}

HEAD = f"""# Compatibility with Docker

Made from the tables that Kist runs by (`make docs`); a test holds this page against them.
{DONE} works · {PARTLY} works but for what the note says · {NOT} refused, with a clear error.

The Engine API is served in versions {MIN_API_VERSION} to {API_VERSION}. The grammar of commands, exit statuses
(125, 126, 127, 128+n) and error words are Docker's.
"""


def commands() -> Iterator[str]:
    yield "\n## Commands\n"
    yield "| command | |"
    yield "|---|---|"
    for word in sorted(words.MODULES):
        yield f"| `kist {word}` | {NOT if word in words.NOT_YET else DONE} |"
    for noun, (_, verbs) in sorted(words.NOUNS.items()):
        for verb in sorted(verbs):
            path = f"{noun} {verb}"
            if path not in words.UNLISTED:
                yield f"| `kist {path}` | {NOT if path in words.NOT_YET else DONE} |"


def _refusals() -> dict[str, tuple[str, str]]:
    """option → (mark, words)."""
    found = {name: (NOT, reason) for name, reason in container_body.REFUSED.items()}
    for field, (asked, _, text) in hostconfig.REFUSED.items():
        name = OPTION_OF.get(field)
        if name and name not in found:
            takes_some = asked is not bool
            found[name] = (PARTLY if takes_some else NOT, text.replace("{value}", "…"))
    for name, limit in LIMITS.items():
        found[name] = (PARTLY, limit)
    return found


def options() -> Iterator[str]:
    refusals = _refusals()
    yield "\n## Options of `run` and `create`\n"
    yield "| option | | note |"
    yield "|---|---|---|"
    for row in sorted((*CONTAINER_OPTIONS, *RUN_OPTIONS)):
        name, kind = row[0], row[2]
        if kind.startswith("="):
            continue
        mark, note = refusals.get(name, (DONE, ""))
        yield f"| `--{name}` | {mark} | {note} |"


def routes() -> Iterator[str]:
    yield "\n## Engine API\n"
    yield "| request | | note |"
    yield "|---|---|---|"
    for route in ROUTES:
        pattern = route.pattern.replace("*", "")
        yield f"| `{route.method} {pattern}` | {NOT if route.refusal else DONE} | {route.refusal} |"


def page() -> str:
    return "\n".join([HEAD.rstrip(), *commands(), *options(), *routes()]) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    if parser.parse_args().check:
        return int(not PAGE.is_file() or PAGE.read_text() != page())
    PAGE.write_text(page())
    return 0


if __name__ == "__main__":
    sys.exit(main())
