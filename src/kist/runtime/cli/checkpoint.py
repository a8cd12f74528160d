"""``checkpoint`` is refused: this runtime does not freeze containers to disk."""

from __future__ import annotations

from kist.runtime.errors import RuntimeFailure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from kist.runtime.cli.log import Log
    from kist.runtime.cli.options import Parsed


def main(options: Parsed, words: list[str], log: Log) -> int:
    raise RuntimeFailure("checkpoint is not supported by this runtime")
