"""What is on the screen, as data: rows with their history, in an order, filtered, in groups, and totals. Pure."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from kist.cli.usage import block_bytes, cpu_percent, memory_limit, memory_used, network_bytes, processes

JSON = dict[str, Any]
KEPT = 600  # samples of history
PROJECT = "com.docker.compose.project"
LIVE = frozenset(("running", "paused"))


class Figures(NamedTuple):
    """Use at one moment: CPU in per cent of one, memory in bytes, the rest in bytes a second."""

    cpu: float = 0.0
    memory: float = 0.0
    limit: float = 0.0
    received: float = 0.0
    sent: float = 0.0
    read: float = 0.0
    written: float = 0.0
    pids: int = 0

    @property
    def memory_percent(self) -> float:
        return self.memory * 100 / self.limit if self.limit else 0.0

    @property
    def network(self) -> float:
        return self.received + self.sent

    @property
    def block(self) -> float:
        return self.read + self.written

    def plus(self, other: Figures) -> Figures:
        """Both together; a limit is nothing that adds up."""
        return Figures(self.cpu + other.cpu, self.memory + other.memory, max(self.limit, other.limit),
                       self.received + other.received, self.sent + other.sent, self.read + other.read,
                       self.written + other.written, self.pids + other.pids)


NOTHING = Figures()


def figures(now: JSON, before: JSON | None, seconds: float) -> Figures:
    """What two samples, so many seconds apart, say."""
    def speed(count: Callable[[JSON, str], int], name: str) -> float:
        if before is None or seconds <= 0:
            return 0.0
        return max(0.0, (count(now, name) - count(before, name)) / seconds)

    return Figures(cpu_percent(now, before), memory_used(now), memory_limit(now), speed(network_bytes, "rx_bytes"),
                   speed(network_bytes, "tx_bytes"), speed(block_bytes, "read"), speed(block_bytes, "write"),
                   processes(now))


@dataclass(slots=True)
class Row:
    """One container."""

    id: str
    name: str = ""
    image: str = ""
    command: str = ""
    state: str = ""
    status: str = ""
    ports: str = ""
    group: str = ""
    created: int = 0
    asked: str = ""  # what was asked of it and is not done yet: "stopping"
    now: Figures = NOTHING
    history: deque[Figures] = field(default_factory=lambda: deque(maxlen=KEPT))
    sample: JSON | None = None
    at: float = 0.0

    @property
    def live(self) -> bool:
        return self.state in LIVE

    def learn(self, summary: JSON, ports: str) -> None:
        """Take over what the list says."""
        names = [str(name).removeprefix("/") for name in summary.get("Names") or ()]
        labels = summary.get("Labels") or {}
        self.name = next((name for name in names if "/" not in name), self.id[:12])
        self.image, self.command = str(summary.get("Image", "")), str(summary.get("Command", ""))
        self.state, self.status = str(summary.get("State", "")), str(summary.get("Status", ""))
        self.ports, self.created = ports, int(summary.get("Created", 0))
        self.group = str(labels.get(PROJECT, ""))
        if not self.live:
            self.now, self.sample = NOTHING, None

    def measure(self, sample: JSON, at: float) -> None:
        """Take a sample that came at the time `at` (seconds of a clock that only goes forward)."""
        self.now = figures(sample, self.sample, at - self.at)
        if self.sample is not None:  # the first one has no predecessor: it tells nothing of use over time
            self.history.append(self.now)
        self.sample, self.at = sample, at


class Group(NamedTuple):
    """A line above the rows of a group."""

    name: str
    rows: int
    now: Figures
    folded: bool


class Line(NamedTuple):
    """One line of the list: a group's, or a row's (`branch`: what leads to it)."""

    row: Row | None
    group: Group | None = None
    branch: str = ""

    @property
    def key(self) -> str:
        return self.row.id if self.row else f"group:{self.group.name}" if self.group else ""


def natural(name: str) -> list[tuple[int, str]]:
    """A name's sort key: `web2` stands before `web10`."""
    return [(int(part) if part.isdigit() else -1, part) for part in re.split(r"(\d+)", name, flags=re.ASCII)]


# Sort keys: name → (title, what is compared, whether large ones come first).
SORTS: dict[str, tuple[str, Callable[[Row], Any], bool]] = {
    "cpu": ("CPU", lambda r: r.now.cpu, True),
    "memory": ("Memory", lambda r: r.now.memory, True),
    "network": ("Network traffic", lambda r: r.now.network, True),
    "block": ("Block I/O", lambda r: r.now.block, True),
    "pids": ("Processes", lambda r: r.now.pids, True),
    "name": ("Name", lambda r: natural(r.name), False),
    "state": ("State", lambda r: (not r.live, r.state), False),
    "created": ("Age", lambda r: r.created, True),
    "image": ("Image", lambda r: r.image, False),
}


@dataclass
class View:
    """How the user wants to see it."""

    sort: str = "cpu"
    turned: bool = False
    filter: str = ""
    all: bool = True
    tree: bool = False
    folded: set[str] = field(default_factory=set)


class Model:
    """Everything that is known of the server's containers."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self.totals: deque[Figures] = deque(maxlen=KEPT)

    def listed(self, summaries: Iterable[JSON], ports: Callable[[list[JSON]], str]) -> None:
        """Take over a list of all containers."""
        rows = {}
        for summary in summaries:
            row = self.rows.get(summary["Id"]) or Row(summary["Id"])
            row.learn(summary, ports(summary.get("Ports") or []))
            rows[row.id] = row
        self.rows = rows

    def sampled(self, samples: dict[str, JSON], at: float) -> None:
        """Take over one round of samples."""
        for identity, sample in samples.items():
            row = self.rows.get(identity)
            if row is not None and row.live:
                row.measure(sample, at)
        self.totals.append(self.total(self.rows.values()))

    @staticmethod
    def total(rows: Iterable[Row]) -> Figures:
        summed = NOTHING
        for row in rows:
            summed = summed.plus(row.now)
        return summed

    def lines(self, view: View) -> list[Line]:
        """The lines of the list, in order."""
        rows = self._sorted([row for row in self.rows.values() if _wanted(row, view)], view)
        if not view.tree:
            return [Line(row) for row in rows]
        groups: dict[str, list[Row]] = {}
        for row in rows:
            groups.setdefault(row.group, []).append(row)
        lines = []
        for name, members in sorted(groups.items(), key=lambda pair: pair[0] == ""):  # those without one come last
            folded = name in view.folded
            lines.append(Line(None, Group(name, len(members), self.total(members), folded)))
            if not folded:
                lines += [Line(row, None, "└─ " if row is members[-1] else "├─ ") for row in members]
        return lines

    @staticmethod
    def _sorted(rows: list[Row], view: View) -> list[Row]:
        _, key, large_first = SORTS[view.sort]
        rows.sort(key=lambda row: natural(row.name))
        rows.sort(key=key, reverse=large_first != view.turned)
        if view.sort != "state":
            rows.sort(key=lambda row: not row.live)
        return rows


def _wanted(row: Row, view: View) -> bool:
    if not (view.all or row.live or row.asked):
        return False
    words = view.filter.lower().split()
    text = f"{row.name} {row.image} {row.state} {row.group} {row.id}".lower()
    return all(word in text for word in words)
