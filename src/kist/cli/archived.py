"""`kist run ./app.tar`: an image that is one file. It is loaded, and the container is made of what it holds."""

from __future__ import annotations

from kist.cli.files import read_pieces
from kist.cli.parser import CliError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from kist.cli.session import Session

_LOADED = ("Loaded image: ", "Loaded image ID: ")


def load(session: Session, path: str) -> str:
    """Load the archive; the name (or id) of its image."""
    found: list[str] = []
    for step in session.client.images.load(read_pieces(path), quiet=True):
        found += _names(step)
    if len(found) != 1:
        raise CliError(f"{path} holds {len(found)} images ({', '.join(found)}): load it, and run one of them")
    return found[0]


def _names(step: dict[str, Any]) -> list[str]:
    line = str(step.get("stream") or "").strip()
    return [line.removeprefix(words) for words in _LOADED if line.startswith(words)]
