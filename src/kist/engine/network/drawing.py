"""The map of networks (reach.py) as SVG: for `kist network map --svg` and for web pages. Pure.

    outside  ━━┯━━━━━━━━━━━━━━┯━━          a line down is a network, a dot a container's place on it
    host     ━━┷━━┯━━┯━━━━━━━━│━━          to the right: names, addresses, published ports, and the table
                  ◇  │        │            of who (row) reaches whom (column)
                  ●──●        │  web  10.89.0.2  8080 → 80/tcp    ● ○ –

The picture stands for itself: colours follow the reader's light or dark page, every mark has words (`<title>`).
"""

from __future__ import annotations

from html import escape
from typing import Any

from kist.api import netmap

Json = dict[str, Any]
COLOURS = ("#0e8f9c", "#b0418f", "#b8860b", "#3f8f3f", "#3b6fd4", "#c8553d", "#7a5cc0", "#5f7a1f")
LEFT, LANE, ROW, TOP = 26, 26, 30, 50
LABELS = 96  # the height of the words above the table, turned as they are
SMALL, LARGE = 7.0, 7.8  # a character's width, px: monospace 11.5, sans 13
CELL = 24
STYLE = """\
text{font:13px system-ui,sans-serif;fill:#1c2733}.m{font:11.5px ui-monospace,monospace;fill:#566}.b{font-weight:600}
.l{fill:none;stroke-width:3;stroke-linecap:round}.p{fill:#fff}.w{stroke:#1c2733;stroke-width:5;stroke-linecap:round}
.g{stroke:#8a98a5;stroke-width:5;stroke-linecap:round}.r{fill:#eef2f5}.n{stroke:#c3ccd4;stroke-width:1.5}
.y{fill:#2f8f4e}.o{fill:none;stroke:#b8860b;stroke-width:2.5}.k{fill:#2f8f4e22;stroke:#2f8f4e;stroke-width:2.5}.chip{fill:#fdf3d8;stroke:#d9b95c}
@media(prefers-color-scheme:dark){text{fill:#e8eef3}.m{fill:#9fb0bd}.p{fill:#10171d}.w{stroke:#e8eef3}.r{fill:#18222b}
.n{stroke:#3c4b57}.y{fill:#58c47c}.o{stroke:#e0b64a}.k{stroke:#58c47c}.chip{fill:#3a3115;stroke:#8a7434}svg{background:#10171d}}"""


class Sheet:
    """Where things are, and the shapes so far."""

    def __init__(self, found: Json) -> None:
        self.networks: list[Json] = found["Networks"]
        self.containers = netmap.in_order(found)
        self.ways = {(way["From"], way["To"]): way for way in found["Reach"]}
        self.words = netmap.names(self.containers)
        self.host = netmap.host_addresses(found)
        self.shapes: list[str] = []
        self.host_y = TOP + max(0, LABELS - ROW * (len(self.networks) + 1))
        self.first_y = self.host_y + ROW
        self.rows_y = self.first_y + len(self.networks) * ROW
        self.lanes = {one["Name"]: LEFT + LANE * (number + 1) for number, one in enumerate(self.networks)}
        self.names_x = LEFT + LANE * (len(self.networks) + 2)
        texts = [(one["Name"], netmap.subnets(one), netmap.notes(one)) for one in self.networks] + [
            (netmap.container_name(one), netmap.addresses(one, self.words), netmap.ports(one))
            for one in self.containers] + [("from the outside", self.host, "")]
        names, addresses, notes = (max(map(len, column)) for column in zip(*texts, strict=True))
        self.addresses_x = self.names_x + names * LARGE + 20
        self.ports_x = self.addresses_x + addresses * SMALL + 20
        self.table_x = self.ports_x + notes * SMALL + 34
        self.width = self.table_x + CELL * (len(self.words)) + 60
        self.height = self.rows_y + ROW * (len(self.containers) + 2) + 30

    def lane(self, network: str) -> tuple[float, str]:
        """Its place and its colour."""
        return self.lanes[network], COLOURS[list(self.lanes).index(network) % len(COLOURS)]

    def row(self, place: str) -> float:
        return self.rows_y + ROW * list(self.words).index(place)

    def add(self, *shapes: str) -> None:
        self.shapes += shapes

    def text(self, x: float, y: float, text: str, kind: str = "", more: str = "") -> None:
        if text:
            self.add(f'<text x="{x:g}" y="{y + 4:g}" class="{kind}"{more} xml:space="preserve">{escape(text)}</text>')


def svg(found: Json) -> str:
    """The drawing of a map, a document of its own."""
    sheet = Sheet(found)
    _stripes(sheet)
    _bars(sheet)
    for network in sheet.networks:
        _network(sheet, network)
    for container in sheet.containers:
        _container(sheet, container)
    if sheet.containers:
        _table(sheet)
    words = f"{len(sheet.networks)} networks, {len(sheet.containers)} containers: who can reach whom"
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {sheet.width:.0f} {sheet.height:.0f}" '
            f'width="{sheet.width:.0f}" height="{sheet.height:.0f}" role="img"><title>{words}</title>'
            f"<style>{STYLE}</style>\n" + "\n".join(sheet.shapes) + "\n</svg>\n")


# -- the picture ------------------------------------------------------------------------------------------------


def _stripes(sheet: Sheet) -> None:
    for number in range(0, len(sheet.words), 2):
        y = sheet.rows_y + ROW * number - ROW / 2
        sheet.add(f'<rect class="r" x="0" y="{y:g}" width="{sheet.width:g}" height="{ROW}"/>')


def _bars(sheet: Sheet) -> None:
    """The outside, and below it the host."""
    end, outside = sheet.names_x - 14, sheet.host_y - ROW
    sheet.add(f'<path class="g" d="M{LEFT - 12} {outside}H{end:g}"/>',
              f'<path class="g" style="stroke-width:3" d="M{LEFT} {outside}V{sheet.host_y}"/>',
              f'<path class="w" d="M{LEFT - 12} {sheet.host_y}H{end:g}"/>')
    sheet.text(sheet.names_x, outside, "outside", "b")
    sheet.text(sheet.names_x, sheet.host_y, "host", "b")
    sheet.text(sheet.addresses_x, sheet.host_y, sheet.host, "m")


def _network(sheet: Sheet, network: Json) -> None:
    """Its line, from where it hangs down to its last container."""
    x, colour = sheet.lane(network["Name"])
    y = sheet.first_y + ROW * sheet.networks.index(network)
    members = [one["Id"] for one in sheet.containers if network["Name"] in netmap.on(one)]
    hangs = network["Outward"] != "none"
    above = sheet.host_y - (ROW if netmap.is_on_wire(network) else 0)
    start = above if hangs else y
    end = max([y, *(sheet.row(one) for one in members)])
    words = f"{network['Name']}: {network['Driver']}, {network['Outward']} outward"
    sheet.add(f'<path class="l" stroke="{colour}" d="M{x} {start:g}V{end:g}"><title>{escape(words)}</title></path>',
              f'<path class="p" stroke="{colour}" stroke-width="2.5" d="M{x} {y - 7}l7 7l-7 7l-7-7z"/>')
    sheet.text(sheet.names_x, y, network["Name"], "b")  # as legible as all text: line and mark have the colour
    sheet.text(sheet.addresses_x, y, netmap.subnets(network), "m")
    sheet.text(sheet.ports_x, y, netmap.notes(network), "m")


def _container(sheet: Sheet, container: Json) -> None:
    y = sheet.row(container["Id"])
    places = [sheet.lane(network["Name"]) for network in container["Networks"] if network["Name"] in sheet.lanes]
    if len(places) > 1:
        sheet.add(f'<path class="n" d="M{min(x for x, _ in places)} {y}H{max(x for x, _ in places)}"/>')
    for network in container["Networks"]:
        if network["Name"] in sheet.lanes:
            x, colour = sheet.lane(network["Name"])
            words = " ".join(filter(None, (network["Interface"], network["IPv4"], network["IPv6"], network["MAC"])))
            sheet.add(f'<circle cx="{x}" cy="{y}" r="6" fill="{colour}"><title>{escape(words)}</title></circle>')
    sheet.text(sheet.names_x, y, netmap.container_name(container), "b")
    sheet.text(sheet.addresses_x, y, netmap.addresses(container, sheet.words), "m")
    ports = netmap.ports(container)
    if ports:
        sheet.add(f'<rect class="chip" x="{sheet.ports_x - 8:g}" y="{y - 10}" rx="10" height="20" '
                  f'width="{len(ports) * SMALL + 16:g}"/>')
        sheet.text(sheet.ports_x, y, ports, "m")


# -- the table --------------------------------------------------------------------------------------------------


def _table(sheet: Sheet) -> None:
    places = list(sheet.words)
    for place in places[-2:]:
        sheet.text(sheet.names_x, sheet.row(place), f"from the {place}", "b")
    for number, other in enumerate(places):
        x = sheet.table_x + CELL * number
        sheet.add(f'<text transform="translate({x + 4:g} {sheet.rows_y - ROW / 2 - 8:g}) rotate(-50)">'
                  f"{escape(_short(sheet.words[other]))}</text>")
        for place in places:
            _mark(sheet, x, place, other)
    link = "   ◐ by a link" if any(map(netmap.by_link, sheet.ways.values())) else ""
    sheet.text(sheet.names_x, sheet.height - 22, f"row reaches column:  ● directly   ○ by a published port{link}", "m")


def _mark(sheet: Sheet, x: float, place: str, other: str) -> None:
    y, way = sheet.row(place), sheet.ways.get((place, other))
    if place == other or {place, other} == {"host", "outside"}:
        return
    if way is None:
        sheet.add(f'<path class="n" d="M{x - 4:g} {y}h8"/>')
        return
    words = f"{sheet.words[place]} → {sheet.words[other]}: {netmap.way(way)}"
    kind = "k" if netmap.by_link(way) else "o" if "Ports" in way else "y"
    if kind == "k":
        sheet.add(f'<path class="y" d="M{x:g} {y - 5}a5 5 0 0 0 0 10z"/>')
    sheet.add(f'<circle class="{kind}" cx="{x:g}" cy="{y}" r="5"><title>{escape(words)}</title></circle>')


def _short(name: str) -> str:
    return name if len(name) <= 16 else name[:15] + "…"
