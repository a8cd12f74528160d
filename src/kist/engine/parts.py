"""What the engine's rooms share: one of each, wired together in engine.py."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kist.engine.apparmor import AppArmor
from kist.engine.background import Background
from kist.engine.config import Config
from kist.engine.container import Register
from kist.engine.events import Events
from kist.engine.host import Host
from kist.engine.places import Places
from kist.engine.records import Records

if TYPE_CHECKING:
    from kist.engine.network import Networks
    from kist.launcher.client import Launcher
    from kist.store.store import Store


@dataclass(slots=True)
class Parts:
    config: Config
    host: Host
    places: Places
    records: Records
    register: Register
    events: Events
    background: Background
    store: Store
    networks: Networks
    launcher: Launcher
    apparmor: AppArmor
