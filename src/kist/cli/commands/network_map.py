"""kist network map: who can reach whom.

     ━┯━━━━━━━━━━  outside
     ━┷━┯━━┯━━━━━  host     192.0.2.1
        ◇  │       bridge   10.88.0.0/16  kist0
        │  ◇       front    10.89.0.0/24  kb3fa9c20d71e4
        │  │  ◇    back     10.89.1.0/24  kb81d2c60fe3a7  internal
        ●  │  │    old      10.88.0.2
           ●  │    web      10.89.0.2                8080 → 80/tcp
           ●──●    api      10.89.0.3  10.89.1.2

A line down is a network; it hangs on the host when the host is on it (always, but for macvlan and ipvlan, which
hang on the outside) and has a way out. Below is the table of who reaches whom.
"""

from __future__ import annotations

import os
import sys

from kist.api import netmap
from kist.cli.output import ellipsis
from kist.cli.parser import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from kist.cli.parser import Arguments
    from kist.cli.session import Session

    JSON = dict[str, Any]
    Ways = dict[tuple[str, str], JSON]
    Paint = Callable[[str, str], str]  # text, colour

LANES = ("36", "35", "33", "32", "34", "31")  # SGR colours, one network after the other
BOLD, DIM = "1", "2"
OWN, DIRECT, BY_PORT, BY_LINK, NOT = "·", "●", "○", "◐", "–"


def run(args: Arguments, session: Session) -> int:
    if args.flag("svg"):
        session.write(session.client.networks.map_svg(*args.words))
        return 0
    found = session.client.networks.map(*args.words)
    if args.flag("json"):
        import json

        session.out(json.dumps(found, indent=4, ensure_ascii=False))
        return 0
    coloured = sys.stdout.isatty() and not session.settings.no_color
    paint: Paint = (lambda text, colour: f"\x1b[{colour}m{text}\x1b[0m") if coloured else (lambda text, _: text)
    width = os.get_terminal_size().columns if coloured else 0
    session.write("\n".join([*picture(found, paint), "", *reach(found, paint, width)]) + "\n")
    return 0


# -- the picture ------------------------------------------------------------------------------------------------


def picture(found: JSON, paint: Paint) -> list[str]:
    lanes = [Lane(network, LANES[number % len(LANES)]) for number, network in enumerate(found["Networks"])]
    containers = netmap.in_order(found)
    for row, container in enumerate(containers):
        for lane in lanes:
            if lane.name in netmap.on(container):
                lane.last = row
    rest = "━" * 3
    wire, host = "".join(lane.on_outside() for lane in lanes), "".join(lane.on_host() for lane in lanes)
    called = netmap.names(containers)
    heads = [["outside"], ["host", netmap.host_addresses(found)],
             *([lane.name, netmap.subnets(lane.network), netmap.notes(lane.network)] for lane in lanes)]
    bodies = [[netmap.container_name(one), netmap.addresses(one, called), netmap.ports(one)] for one in containers]
    wide = _widths([*heads, *bodies])
    lines = [f"{shape}  {_line(cells, wide, paint)}" for shape, cells in
             zip((f" ━┯━{wire}{rest}", f" ━┷━{host}{rest}"), heads, strict=False)]
    for number, (lane, cells) in enumerate(zip(lanes, heads[2:], strict=True)):
        shape = "".join(other.beside(number, at, paint) for at, other in enumerate(lanes))
        lines.append(f"    {shape}     {_line(cells, wide, paint, lane.colour)}")
    for row, (container, cells) in enumerate(zip(containers, bodies, strict=True)):
        lines.append(f"    {_stations(container, row, lanes, paint)}     {_line(cells, wide, paint)}")
    return [line.rstrip() for line in lines]


class Lane:
    """A network in the picture; three columns wide."""

    def __init__(self, network: JSON, colour: str) -> None:
        self.network, self.colour, self.last = network, colour, -1
        self.name: str = network["Name"]
        self.wire = netmap.is_on_wire(network)
        self.hangs: bool = network["Outward"] != "none"

    def on_outside(self) -> str:
        return "┯━━" if self.wire and self.hangs else "━━━"

    def on_host(self) -> str:
        if self.wire:
            return "│━━" if self.hangs else "━━━"
        return "┯━━" if self.hangs else "━━━"

    def beside(self, number: int, at: int, paint: Paint) -> str:
        """Its three columns in the row that names lane `number`; it is lane `at` itself."""
        if number == at:
            return paint("◇", self.colour) + "  "
        goes_on = self.hangs if number < at else self.last >= 0
        return (paint("│", self.colour) if goes_on else " ") + "  "


def _stations(container: JSON, row: int, lanes: Sequence[Lane], paint: Paint) -> str:
    """●──●: the networks that it is on, and those that pass by."""
    on = [at for at, lane in enumerate(lanes) if lane.name in netmap.on(container)]
    first, last = (on[0], on[-1]) if on else (0, -1)
    text = ""
    for at, lane in enumerate(lanes):
        passes = row <= lane.last
        inside = first <= at < last
        if at in on:
            text += paint("●", lane.colour)
        elif passes and first < at < last:
            text += paint("│", lane.colour)  # on its way behind the line
        else:
            text += paint("│", lane.colour) if passes else "─" if first < at < last else " "
        text += "──" if inside else "  "
    return text


def _widths(rows: Sequence[Sequence[str]]) -> list[int]:
    names = max((len(row[0]) for row in rows), default=0)
    addresses = max((len(row[1]) for row in rows if len(row) > 2), default=0)
    return [names, addresses]


def _line(cells: Sequence[str], wide: Sequence[int], paint: Paint, colour: str = BOLD) -> str:
    head, *rest = cells
    text = paint(head, colour) + " " * (wide[0] - len(head))
    for cell, width in zip(rest, (*wide[1:], 0), strict=False):
        text += "   " + cell.ljust(width)
    return text


# -- the table --------------------------------------------------------------------------------------------------


def reach(found: JSON, paint: Paint, width: int = 0) -> list[str]:
    """Who (rows) reaches whom (columns); a terminal that is too narrow gets lines instead."""
    containers = netmap.in_order(found)
    if not containers:
        return ["No container runs on them."]
    names = netmap.names(containers)
    ways = {(way["From"], way["To"]): way for way in found["Reach"]}
    places = [*names]
    margin = max(map(len, names.values())) + 6
    if width and margin + 3 * len(containers) + 18 > width:
        return _sentences(places, names, ways, width)
    numbers = "".join(f"{number:>3}" for number in range(1, len(containers) + 1))
    lines = [" from \\ to".ljust(margin) + numbers + "  host  outside"]
    for number, place in enumerate(places, 1):
        shown = f"{number:>3}  " if number <= len(containers) else "     "
        cells = [_mark(place, other, ways, paint) for other in places]
        lines.append(f" {shown}{names[place]}".ljust(margin) + "".join(f"  {cell}" for cell in cells[:-2])
                     + f"     {cells[-2]}        {cells[-1]}")
    link = f"{BY_LINK} by a link   " if any(map(netmap.by_link, ways.values())) else ""
    key = f" {DIRECT} directly   {BY_PORT} by a published port   {link}{NOT} not"
    return [line.rstrip() for line in (*lines, "", key)]


def _mark(place: str, other: str, ways: Ways, paint: Paint) -> str:
    if place == other or {place, other} == {"host", "outside"}:
        return paint(OWN, DIM)
    way = ways.get((place, other))
    if way is None:
        return paint(NOT, DIM)
    if netmap.by_link(way):
        return paint(BY_LINK, "32")
    return paint(BY_PORT, "33") if "Ports" in way else paint(DIRECT, "32")


def _sentences(places: Sequence[str], names: JSON, ways: Ways, width: int) -> list[str]:
    lines = []
    for place in places:
        reached = [names[other] + (f" ({', '.join(way['Ports'])})" if "Ports" in way else "")
                   for other in places if (way := ways.get((place, other)))]
        lines.append(ellipsis(f" {names[place]} → {', '.join(reached) or 'nobody'}", width))
    return lines


COMMAND = Command(
    "Show who can reach whom", "[OPTIONS] [NETWORK...]", run, arity=(0, None), options=(
        ("json", "", "", "Show it as JSON"),
        ("svg", "", "", "Draw it as SVG"),
    ), requests=("KistNetworkMap",))
