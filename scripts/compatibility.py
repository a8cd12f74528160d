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
LIMITS: dict[str, str] = {
    "cpu-rt-period": "cgroup v1 with real-time groups only, as Docker's",
    "cpu-rt-runtime": "the same; of the server's own `cpu-rt-runtime`, which is dockerd's",
    "cgroup-parent": "a path with `..` is refused",
    "hostname": "no spaces: each word of /etc/hosts is a name",
    "storage-opt": "`size` only; on any file system, where Docker needs XFS with project quotas",
    "stop-signal": "a signal that Linux has (Docker takes any number)",
    "blkio-weight": "checked even where the kernel has no weights (Docker warns and ignores it)",
}

# What a user of Docker 26 may notice elsewhere: what, how it is here, why.
DIFFERENCES = (
    ("A request that makes no sense", "400 and a message, where Docker's start answers 500 for some",
     "it is the client's mistake"),
    ("`exec` of a program that is not there", "status 127", "as `run` has it; Docker 26 gives 126"),
    ("`--cgroupns` when it is not given", "private on cgroup v1, too", "Docker has host there, private on v2"),
    ("Error words of the runtime", "`kist: container init: STEP: ERRNO`", "they name the step that failed"),
    ("`commit` of a running container", "paused without pause and unpause events", "no client asked for them"),
    ("`-p` without an address", "on `[::]` only if the container has an IPv6 address",
     "nothing stands between client and container (Docker's proxy would)"),
    ("`cp` and tmpfs", "a running container's tmpfs and /proc are seen", "Docker sees what is below them"),
    ("`cp -a` into a container with a user", "works without `getent` in the image", "its passwd file is read"),
    ("`-v` words", "`rro` and `idmap` as well", "recursive read-only that must be; the host user's files"),
    ("`size` of the local driver", "works on any file system", "Docker needs xfs with project quotas"),
    ("Memory that runs out", "one `oom` event when the container has ended", "cgroup v1: Docker tells each kill"),
    ("`login` without a name", "asks for name and password", "Docker 28's sign-in in a browser is its own Hub's only"),
    ("`update --memory` without `--memory-swap`", "allowed where swap is not limited", "nothing contradicts it"),
)

# HostConfig field → the option of `run` that sets it, where the refusal depends on the value.
OPTION_OF = {
    "UsernsMode": "userns", "Isolation": "isolation", "Runtime": "runtime", "DeviceRequests": "gpus",
    "Links": "link", "CpuCount": "cpu-count", "CpuPercent": "cpu-percent",
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


def differences() -> Iterator[str]:
    yield "\n## Other differences\n"
    yield "| what | here | why |"
    yield "|---|---|---|"
    for row in DIFFERENCES:
        yield f"| {' | '.join(row)} |"


def page() -> str:
    return "\n".join([HEAD.rstrip(), *commands(), *options(), *differences(), *routes()]) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    if parser.parse_args().check:
        return int(not PAGE.is_file() or PAGE.read_text() != page())
    PAGE.write_text(page())
    return 0


if __name__ == "__main__":
    sys.exit(main())
