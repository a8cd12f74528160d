"""kist server, kist hub, kist oci: other programs of Kist, under this command's roof."""

from __future__ import annotations

import os
import sys

from kist.cli.parser import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from kist.cli.parser import Arguments
    from kist.cli.session import Session


def _replaced_by(module: str) -> Callable[[Arguments, Session], int]:
    def run(args: Arguments, session: Session) -> int:
        words = ["--config", session.settings.config] if session.settings.config and module == "kist.server" else []
        session.flush()
        os.execv(sys.executable, [sys.executable, "-m", module, *words, *args.words])

    return run


def _runtime(args: Arguments, session: Session) -> int:
    """With a global option before the word, or by `python -m kist.cli`: the script `kist` is faster (src/bin/kist)."""
    import kist

    session.flush()
    start = f"{kist.__path__[0]}/runtime/start.py"
    os.execv(sys.executable, [sys.executable, "-I", "-S", start, *args.words])


def _program(summary: str, usage: str, module: str) -> Command:
    return Command(summary, usage, _replaced_by(module), arity=(0, None), verbatim=True)


SERVER = _program("Run the server (the Docker Engine API)", "[OPTIONS]", "kist.server")
HUB = _program("Run a Hub (an image registry)", "[OPTIONS]", "kist.hub")
OCI = Command("Run containers as an OCI runtime does", "COMMAND [ARG...]", _runtime, arity=(0, None), verbatim=True)
