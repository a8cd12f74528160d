"""Writes docs/compatibility.md from the tables that the program itself runs by (`make docs`).

    scripts/compatibility.py [--check]     --check: exit 1 if the page is not what the tables say
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from kist.api.routes import ROUTES
from kist.cli import container_body, missing, words
from kist.cli.container_options import CONTAINER_OPTIONS, RUN_OPTIONS
from kist.version import API_VERSION, MIN_API_VERSION

PAGE = Path(__file__).parents[1] / "docs" / "compatibility.md"
DONE, PARTLY, NOT, SAME = "✓", "◐", "✗", "–"

# What is to be said of an option that works, or works in part: option → (mark, note).
NOTES: dict[str, tuple[str, str]] = {
    "blkio-weight": (DONE, "by bfq's weights, too; where the kernel has none: warned of and dropped, as by Docker"),
    "cpu-rt-period": (DONE, "as Docker's: cgroup v1 with real-time groups only"),
    "cpu-rt-runtime": (DONE, "as Docker's: of the server's own `cpu-rt-runtime`"),
    "gpus": (SAME, "could not select device driver: as a Docker without GPU drivers; use `--device`"),
    "isolation": (DONE, "as Docker on Linux: `default` only"),
    "kernel-memory": (SAME, "Linux has no such limit any more: warned of and dropped (Docker drops it in silence)"),
    "runtime": (PARTLY, "`kist` only: the server has one runtime (any engine can use `kist oci` as its own)"),
    "security-opt": (DONE, "SELinux labels: taken where the host has no SELinux, as by Docker; else only `disable`"),
    "log-driver": (PARTLY, "`json-file`, `local`, `syslog`, `journald`, `none`"),
    "log-opt": (PARTLY, "all of these drivers'"),
    "storage-opt": (DONE, "`size`, on any file system (Docker's overlay2 needs XFS with project quotas)"),
    "use-api-socket": (DONE, ""),
    "userns": (DONE, "as a Docker without `userns-remap`: `host` or nothing"),
    "volume-driver": (DONE, "as a Docker without volume plugins: `local`, else plugin not found"),
    **dict.fromkeys(container_body.WINDOWS, (SAME, "Windows only")),
}

# What a user of Docker 26 may notice elsewhere: what, how it is here, why.
DIFFERENCES = (
    ("A registry that can't be reached", "503", "Docker has 500, which says that the server is at fault"),
    ("A request that makes no sense", "400 and a message, where Docker's start answers 500 for some",
     "it is the client's mistake"),
    ("`exec` of a program that is not there", "status 127",
     "as Docker 28 (moby/moby#48552); Docker 26 overwrote it with 126"),
    ("`-v x:/data`, a volume's name of one letter", "the volume `x`",
     "Docker's client takes `x:/data` for a Windows path"),
    ("`--mac-address`, `--link-local-ip` with `--network container:…`", "refused by `kist`",
     "Docker drops them in silence (so does the server for Docker's clients)"),
    ("Values of `--log-opt`, and `--gpus` without GPU drivers", "refused by `create`",
     "Docker says so when the container starts"),
    ("`--log-opt syslog-tls-skip-verify=false`", "the certificate is looked at", "Docker skips that for any value"),
    ("`create --network container:NAME`", "refused if there is no such container", "Docker says so at the start"),
    ("Names of networks", "up to 255 characters that can be printed",
     "control characters would move the terminal's cursor, others can't be seen"),
    ("`network inspect` of a network with `--subnet` and no `--gateway`", "names the gateway",
     "it is there; Docker 26 leaves it out"),
    ("`--ip` on a network without `--subnet`", "works", "the address is free or it isn't"),
    ("`network connect` of a container that doesn't run, to a network that isn't there", "404",
     "Docker answers 200, and the container's start fails"),
    ("`network connect` of a container that doesn't run, again", "with the new settings",
     "Docker answers 200 and keeps the old ones"),
    ("`NetworkMode` of a container that left its first network", "the next of its networks, or `none`",
     "it is what the next start does; Docker goes on naming the one that was left"),
    ("Options of a network named `com.docker.network.…` that are unknown", "refused",
     "a protection that somebody relies on isn't ignored in silence"),
    ("`GraphDriver.Data.MergedDir`", "of running containers, as `/proc/PID/root`",
     "the file system is mounted for the container alone"),
    ("`/etc/mtab`, and `export` of what Docker lays below each container", "only what the image and the container have",
     "Docker adds a link to /proc/mounts, and empty files and folders to mount on"),
    ("Texts of `--help`", "in words of our own", "the options, their values and their order are Docker's"),
    ("`--hostname`", "no line ends and the like", "each line of /etc/hosts is an entry"),
    ("`--cgroupns` when it is not given", "private on cgroup v1, too", "Docker has host there, private on v2"),
    ("Error words of the runtime", "`kist: container init: STEP: ERRNO`", "they name the step that failed"),
    ("`commit` of a running container", "paused without pause and unpause events", "no client asked for them"),
    ("`-p` without an address", "on `[::]` only if the container has an IPv6 address",
     "nothing stands between client and container (Docker's proxy would)"),
    ("`cp` and tmpfs", "a running container's tmpfs and /proc are seen", "Docker sees what is below them"),
    ("`cp -a` into a container with a user", "works without `getent` in the image", "its passwd file is read"),
    ("`-v` words", "`rro` and `idmap` as well", "recursive read-only that must be; the host user's files"),
    ("`size` of the local driver", "works on any file system", "Docker needs xfs with project quotas"),
    ("`-e a.b`, a name that no shell can set, without a value", "refused where the whole environment exceeds 75 kB",
     "`kist` is a script, and dash, Debian's `/bin/sh`, drops such variables: they are read from /proc/PID/environ"),
    ("`--hostname a.b` with `--domainname`", "`a.b` is in /etc/hosts as well", "else `hostname -f` fails"),
    ("`--tmpfs` with `bind`, `rbind`, `remount`", "refused by `create`", "Docker says so when the container starts"),
    ("Memory that runs out", "one `oom` event when the container has ended", "cgroup v1: Docker tells each kill"),
    ("`login` without a name", "asks for name and password", "Docker 28's sign-in in a browser is its own Hub's only"),
    ("Non-distributable (foreign) layers", "`push` skips those with URLs; `pull` takes them from the registry only",
     "Docker on Linux pulls as much; a server that asks a manifest's URLs asks whatever it can reach"),
    ("`rmi` of an image that others were built on", "allowed, what they need stays",
     "as Docker's containerd store; its older one refuses"),
    ("`update --memory` without `--memory-swap`", "allowed where swap is not limited", "nothing contradicts it"),
)

HEAD = f"""# Compatibility with Docker

Made from the tables that Kist runs by (`make docs`); a test holds this page against them.
{DONE} works · {PARTLY} works but for what the note says · {NOT} refused, with a clear error · {SAME} not to be had on
Linux: Docker refuses it, or takes no notice of it, likewise.

The Engine API is served in versions {MIN_API_VERSION} to {API_VERSION}. The grammar of commands, exit statuses
(125, 126, 127, 128+n) and error words are Docker's.
"""


def commands() -> Iterator[str]:
    yield "\n## Commands\n"
    yield "| | |"
    yield "|---|---|"
    for noun, verbs in (("", words.MODULES), *((noun, verbs) for noun, (_, verbs) in sorted(words.NOUNS.items()))):
        there = [verb for verb in sorted(verbs) if f"{noun} {verb}".strip() not in words.NOT_YET | words.UNLISTED]
        yield f"| `{f'kist {noun}'.strip()}` | {DONE} {' '.join(there)} |"
    for path in sorted(words.NOT_YET):
        yield f"| `kist {path}` | {NOT} |"
    for instead in dict.fromkeys(missing.INSTEAD.values()):
        others = " ".join(word for word, said in missing.INSTEAD.items() if said == instead)
        yield f"| `kist` {others} | {NOT} {instead} |"


def options() -> Iterator[str]:
    yield "\n## Options of `run` and `create`\n"
    yield "| option | | note |"
    yield "|---|---|---|"
    for row in sorted((*CONTAINER_OPTIONS, *RUN_OPTIONS)):
        name, kind = row[0], row[2]
        if kind.startswith("="):
            continue
        mark, note = NOTES.get(name, (DONE, ""))
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
