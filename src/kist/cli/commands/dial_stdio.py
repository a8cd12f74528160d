"""kist system dial-stdio: stdin and stdout as a connection to the server (what `ssh://` addresses run)."""

from __future__ import annotations

from kist.cli.attach import Streams
from kist.cli.parser import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from kist.cli.parser import Arguments
    from kist.cli.session import Session


def run(args: Arguments, session: Session) -> int:
    Streams(session.client.connect().socket, b"", framed=False, stdin=True).run()
    return 0


COMMAND = Command("Proxy STDIN and STDOUT to the server", "", run)
