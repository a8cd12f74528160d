"""``resume ID``: the container's processes run again."""

from __future__ import annotations

from kist.runtime.cli.common import one
from kist.runtime.cli.options import parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from kist.runtime.cli.log import Log
    from kist.runtime.cli.options import Parsed


def main(options: Parsed, words: list[str], log: Log) -> int:
    container = one(options, parse({}, words).rest)
    container.lock()
    container.may("resume")
    container.cgroup().thaw()
    return 0
