"""``create [--bundle DIR] [--console-socket PATH] [--pid-file FILE] … ID``: everything but execve(2)."""

from __future__ import annotations

from kist.runtime.cli.creation import OPTIONS, create_container
from kist.runtime.cli.options import Usage, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from kist.runtime.cli.log import Log
    from kist.runtime.cli.options import Parsed

FAILED = "create failed: "


def main(options: Parsed, words: list[str], log: Log) -> int:
    own = parse(OPTIONS, words)
    if len(own.rest) != 1:
        raise Usage("create needs exactly one argument, the container id")
    create_container(options, own, own.rest[0], log)
    return 0
