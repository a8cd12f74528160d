"""JSON for the command, by the interpreter's own scanner: the module `json` brings regular expressions along, which
take as long to import (6 ms) as a container takes to make."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class _Settings:
    """What the scanner reads its options from."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = float


def loads(text: str) -> Any:
    """ValueError for what is no JSON."""
    try:
        from _json import make_scanner
    except ImportError:  # an interpreter without the accelerator
        import json

        return json.loads(text)
    start = len(text) - len(text.lstrip(" \t\n\r"))
    try:
        value, end = make_scanner(_Settings)(text, start)  # type: ignore[arg-type]
    except StopIteration as error:
        raise ValueError(f"not JSON at character {error.value}") from None
    except SystemError:  # the scanner looks for the module's error class, which nobody has imported
        raise ValueError("not JSON") from None
    if text[end:].strip(" \t\n\r"):
        raise ValueError(f"something follows the JSON at character {end}")
    return value


def load(path: str) -> Any:
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        return loads(file.read())


def dumps(value: Any, indent: int | None = None, level: int = 0) -> str:
    """As `json.dumps`."""
    if isinstance(value, str):
        return _text(value)
    if value is None or value is True or value is False:
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, dict):
        return _joined("{}", [f"{_text(str(key))}: {dumps(item, indent, level + 1)}" for key, item in value.items()],
                       indent, level)
    return _joined("[]", [dumps(item, indent, level + 1) for item in value], indent, level)


def _joined(brackets: str, parts: list[str], indent: int | None, level: int) -> str:
    if indent is None or not parts:
        return brackets[0] + ", ".join(parts) + brackets[1]
    pad, end = "\n" + " " * indent * (level + 1), "\n" + " " * indent * level
    return brackets[0] + pad + ("," + pad).join(parts) + end + brackets[1]


def _text(value: str) -> str:
    try:
        from _json import encode_basestring_ascii
    except ImportError:
        import json

        return json.dumps(value)
    return encode_basestring_ascii(value)
