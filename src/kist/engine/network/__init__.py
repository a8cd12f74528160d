"""Container networking: bridges, addresses, the packet filter, published ports, names.

Start with `networks.py` (the story), then `model.py` (the words), `host.py` (what is done to the kernel)
and `firewall.py` (the rules). `docs/networking.md` has the picture.
"""

from __future__ import annotations

from kist.engine.network.model import Endpoint
from kist.engine.network.networks import Networks

__all__ = ["Endpoint", "Networks"]
