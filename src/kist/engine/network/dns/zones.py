"""Who is called what, on which network, and what a container may know of it. Pure.

A container sees the names on its own networks only. A name may be several containers' (an alias, a service): all
their addresses are answered, another one first each time.
"""

from __future__ import annotations

from kist.engine.network.dns import wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Place:
    """A container's place on one network."""

    __slots__ = ("ip", "ip6", "links", "names", "network", "network_name", "pointer")

    def __init__(self, words: dict[str, Any]) -> None:
        self.network: str = words["network"]
        self.network_name: str = wire.folded(words["network_name"])
        self.names: list[str] = [wire.folded(name) for name in words["names"]]
        self.pointer = _pointer(words["names"], words["network_name"])  # for reverse look-ups
        self.ip: str = words.get("ip", "")
        self.ip6: str = words.get("ip6", "")
        self.links: dict[str, str] = {
            wire.folded(alias): wire.folded(target) for alias, target in words["links"].items()}


def _pointer(names: list[str], network: str) -> str:
    """The first name, with the network's behind if that can be said in DNS (a network may be called `..`)."""
    whole = [f"{name}.{network}" for name in names[:1]]
    return next((name for name in (*whole, *names[:1]) if wire.can_be_said(name)), "")


class Zones:
    """The places of all containers, and for each network its names."""

    def __init__(self) -> None:
        self._places: dict[str, list[Place]] = {}  # by container
        self._named: dict[str, dict[str, list[Place]]] = {}  # by network, then by name
        self._addressed: dict[str, dict[str, Place]] = {}  # by network, then by address
        self._turn = 0

    def put(self, container: str, places: list[dict[str, Any]]) -> None:
        """The container is at these places now, and at no other."""
        self.drop(container)
        self._places[container] = [Place(words) for words in places]
        for place in self._places[container]:
            names = self._named.setdefault(place.network, {})
            for name in place.names:
                names.setdefault(name, []).append(place)
            for address in (place.ip, place.ip6):
                if address:
                    self._addressed.setdefault(place.network, {})[address] = place

    def drop(self, container: str) -> None:
        for place in self._places.pop(container, ()):
            names = self._named.get(place.network, {})
            for name in place.names:
                left = [other for other in names.get(name, ()) if other is not place]
                if left:
                    names[name] = left
                else:
                    names.pop(name, None)
            for address in (place.ip, place.ip6):
                if self._addressed.get(place.network, {}).get(address) is place:
                    del self._addressed[place.network][address]

    def answer(self, container: str, question: wire.Question) -> tuple[bytes | None, bool]:
        """(the reply, whether it is the same next time); (None, …) for a question that isn't ours."""
        if question.klass != wire.IN:
            return None, True
        if question.type == wire.PTR:
            return self._reverse(container, question), True
        found = self._find(container, question.name)
        if not found:
            return None, True
        if question.type not in (wire.A, wire.AAAA):
            return wire.answer(question), True  # the name exists, and this is all there is to know of it
        addresses = [place.ip if question.type == wire.A else place.ip6 for place in found]
        addresses = list(dict.fromkeys(address for address in addresses if address))
        several = len(addresses) > 1
        if several:
            self._turn += 1
            first = self._turn % len(addresses)
            addresses = addresses[first:] + addresses[:first]
        return wire.answer(question, [wire.address_record(address) for address in addresses]), not several

    def _find(self, container: str, name: str) -> list[Place]:
        """The containers of that name on the first of the asking container's networks that knows it."""
        for mine in self._places.get(container, ()):
            names = self._named.get(mine.network, {})
            wanted = mine.links.get(name, name)
            found = names.get(wanted)
            if found is None and wanted.endswith("." + mine.network_name):
                found = names.get(wanted[: -len(mine.network_name) - 1])
            if found:
                return found
        return []

    def _reverse(self, container: str, question: wire.Question) -> bytes | None:
        address = wire.reverse_address(question.name)
        for mine in self._places.get(container, ()):
            place = self._addressed.get(mine.network, {}).get(address)
            if place is not None and place.pointer:
                return wire.answer(question, [wire.pointer_record(place.pointer)])
        return None
