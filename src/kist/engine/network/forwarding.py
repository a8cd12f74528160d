"""Whether the host forwards packets: switched on when it was off, and put back at the end.

    <run>/network.json   {"ipv4/ip_forward": "0", …}: what each switch was before, until it is put back
"""

from __future__ import annotations

import json
import os

from kist.engine.network.sysctl import Sysctls
from kist.linux.netlink import Netlink


class Forwarding:
    """Synchronous; the network thread's own."""

    def __init__(self, netlink: Netlink, sysctls: Sysctls, state_file: str) -> None:
        self._netlink, self._sysctls, self._state_file = netlink, sysctls, state_file

    def ensure(self, *, ipv6: bool) -> None:
        """Let the host forward packets. What it was before is written down first."""
        wanted = {"ipv4/ip_forward": "1"}
        if ipv6:
            # A host that forwards no longer listens to routers (and loses its own default route) unless this is 2.
            wanted |= dict.fromkeys(self._listening_to_routers(), "2") | {"ipv6/conf/all/forwarding": "1"}
        for name, value in wanted.items():
            if self._sysctls.read(name) not in (value, ""):
                before = self._read_state()
                before.setdefault(name, self._sysctls.read(name))
                self._write_state(before)
                self._sysctls.write(name, value)

    def _listening_to_routers(self) -> list[str]:
        names = [f"ipv6/conf/{link.name}/accept_ra" for link in self._netlink.links()]
        return [name for name in names if self._sysctls.read(name) == "1" and "/lo/" not in name]

    def restore(self) -> None:
        for name, value in self._read_state().items():
            try:
                self._sysctls.write(name, value)
            except FileNotFoundError:
                pass  # of a device that is gone
        if os.path.exists(self._state_file):
            os.unlink(self._state_file)

    def _read_state(self) -> dict[str, str]:
        try:
            with open(self._state_file) as file:
                found: dict[str, str] = json.load(file)
                return found
        except (FileNotFoundError, ValueError):
            return {}

    def _write_state(self, state: dict[str, str]) -> None:
        os.makedirs(os.path.dirname(self._state_file), exist_ok=True)
        temporary = f"{self._state_file}.new"
        with open(temporary, "w") as file:
            json.dump(state, file)
        os.replace(temporary, self._state_file)
