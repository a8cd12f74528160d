"""kist stats: how much of the machine containers use, once or as it changes."""

from __future__ import annotations

import sys
import time

from kist.cli.listing import FORMAT, NO_TRUNC, show
from kist.cli.output import binary_size, human_size
from kist.cli.parser import Command
from kist.cli.usage import block_bytes, cpu_percent, memory_limit, memory_used, network_bytes, processes
from kist.client import wirejson
from kist.client.client import NoServer
from kist.errors import KistError, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from kist.cli.parser import Arguments
    from kist.cli.session import Session

    JSON = dict[str, Any]

COLUMNS = ("ID", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs")
CLEAR = "\033[2J\033[H"


def run(args: Arguments, session: Session) -> int:
    """One sample of each per second; the share of the CPUs is what two samples in a row differ by."""
    live = not args.flag("no-stream")
    on_terminal = live and sys.stdout.isatty()
    before: dict[str, JSON] = {}
    rounds = 0
    while True:
        samples = _sample(args, session)
        if rounds:
            if on_terminal:
                session.write(CLEAR)
            rows = [{**sample, "before": before.get(sample["id"])} for sample in samples]
            show(session, _fields(wide=args.flag("no-trunc")), COLUMNS, rows, form=args.text("format"),
                 type_="*container.statsContext")
            session.flush()
            if not live or not (samples or not args.words):
                return 0
        before = {sample["id"]: sample for sample in samples}
        rounds += 1
        time.sleep(1)


def _sample(args: Arguments, session: Session) -> list[JSON]:
    """What each container uses now: all are asked at once."""
    client = session.client
    names = args.words or [c["Id"] for c in client.containers.list(all=args.flag("all"))]
    samples = []
    for name, sent in [(name, client.containers.send_stats(name)) for name in names]:
        try:
            samples.append({"asked": name, **wirejson.loads(sent.answer().read())})
        except NoServer:
            raise
        except NotFound:
            if name in args.words:
                raise
        except KistError:  # it ends as we look
            continue
    return samples


def _fields(*, wide: bool) -> dict[str, tuple[str, Any]]:
    return {
        "Container": ("CONTAINER", lambda s: s["asked"]),
        "ID": ("CONTAINER ID", lambda s: s["id"] if wide else s["id"][:12]),
        "Name": ("NAME", lambda s: s.get("name", "").removeprefix("/")),
        "CPUPerc": ("CPU %", lambda s: f"{cpu_percent(s, s.get('before')):.2f}%"),
        "MemUsage": ("MEM USAGE / LIMIT", lambda s: f"{binary_size(memory_used(s))} / {binary_size(memory_limit(s))}"),
        "MemPerc": ("MEM %", lambda s: f"{memory_used(s) * 100 / (memory_limit(s) or 1):.2f}%"),
        "NetIO": ("NET I/O", lambda s: _both(network_bytes(s, "rx_bytes"), network_bytes(s, "tx_bytes"))),
        "BlockIO": ("BLOCK I/O", lambda s: _both(block_bytes(s, "read"), block_bytes(s, "write"))),
        "PIDs": ("PIDS", processes),
    }


def _both(first: int, second: int) -> str:
    return f"{human_size(first)} / {human_size(second)}"


COMMAND = Command(
    "Display a live stream of container(s) resource usage statistics", "[OPTIONS] [CONTAINER...]", run,
    arity=(0, None),
    options=(
        ("all", "a", "", "Show all containers, not only running ones"),
        FORMAT,
        ("no-stream", "", "", "Show it once"),
        NO_TRUNC,
    ),
    requests=("ContainerStats", "ContainerList"))
