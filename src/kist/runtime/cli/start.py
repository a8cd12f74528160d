"""``start ID``: the container's process executes the program of the user."""

from __future__ import annotations

from kist.runtime.cli.common import one
from kist.runtime.cli.lifecycle import start_container
from kist.runtime.cli.options import parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from kist.runtime.cli.log import Log
    from kist.runtime.cli.options import Parsed


def main(options: Parsed, words: list[str], log: Log) -> int:
    start_container(one(options, parse({}, words).rest), log)
    return 0
