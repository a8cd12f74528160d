"""Container networking: bridges, addresses, the packet filter, published ports, names.

Start with `networks.py` (the story), then `model.py` (the words), `host.py` (what is done to the kernel)
and `firewall.py` (the rules). `docs/networking.md` has the picture.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from kist.engine.network.model import Endpoint
    from kist.engine.network.networks import Networks

__all__ = ["Endpoint", "Networks"]


def __getattr__(name: str) -> object:
    """Loaded when they are asked for: the resolver's process needs `dns/` and none of these."""
    if name == "Networks":
        from kist.engine.network.networks import Networks

        return Networks
    if name == "Endpoint":
        from kist.engine.network.model import Endpoint

        return Endpoint
    raise AttributeError(name)
