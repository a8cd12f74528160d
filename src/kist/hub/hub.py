"""What the routes share: one Hub's content, rules and numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import ParamSpec, TypeVar

from anyio import CapacityLimiter, to_thread
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from kist.hub.access import Access
from kist.hub.config import HubConfig
from kist.hub.content import Content
from kist.hub.listings import Listings
from kist.hub.metadata import Metadata
from kist.hub.metrics import Metrics
from kist.hub.upstream import Cache

P = ParamSpec("P")
T = TypeVar("T")


@dataclass
class Hub:
    """Lives in ``app.state.hub``."""

    config: HubConfig
    content: Content
    access: Access
    cache: Cache
    metrics: Metrics = field(default_factory=Metrics)
    _pulls: dict[tuple[str, str], int] = field(default_factory=dict)
    _slow: CapacityLimiter | None = None

    def __post_init__(self) -> None:
        self.listings = Listings(self.content)

    @property
    def metadata(self) -> Metadata:
        return self.content.metadata

    def count_pull(self, repository: str) -> None:
        """Counted in memory; `flush_pulls` writes: a pull must not cost a durable commit."""
        day = datetime.fromtimestamp(self.metadata.clock(), UTC).strftime("%Y-%m-%d")
        self._pulls[repository, day] = self._pulls.get((repository, day), 0) + 1

    async def in_slow_thread(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """For what may take seconds (reading layers): two at a time, so that pulls keep their threads."""
        if self._slow is None:
            self._slow = CapacityLimiter(2)
        return await to_thread.run_sync(partial(function, *args, **kwargs), limiter=self._slow)

    def flush_pulls(self) -> None:
        counts, self._pulls = self._pulls, {}
        if counts:
            self.metadata.add_pulls(counts)


def hub_of(request: Request) -> Hub:
    hub: Hub = request.app.state.hub
    return hub


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Disk, SQLite and hashes never run on the event loop."""
    return await run_in_threadpool(function, *args, **kwargs)
