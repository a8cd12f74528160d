"""The server's own log: one line an event on stderr, ``key=value`` behind the message.

``time=2026-11-23T14:16:48.123Z level=info msg="listening" socket=/run/kist/kist.sock``
"""

from __future__ import annotations

import logging
import sys
import time

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warn": logging.WARNING, "error": logging.ERROR}


class _Line(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        text = record.getMessage()
        if record.exc_info:  # many lines become one, to be read with `sed 's/\\n/\n/g'`
            text += "\n" + self.formatException(record.exc_info)
        level = record.levelname.lower()
        return f"time={when}.{int(record.msecs):03d}Z level={level} logger={record.name} msg={_quoted(text)}"


def _quoted(text: str) -> str:
    """In double quotes, control characters escaped: a client's text must not forge lines."""
    safe = "".join(_ESCAPES.get(char, char) if char >= " " else _ESCAPES.get(char, f"\\x{ord(char):02x}")
                   for char in text)
    return f'"{safe}"'


_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t", '"': '\\"', "\\": "\\\\"}


def set_up(level: str) -> None:
    """Log to stderr from ``level`` (a name in LEVELS) on; asyncio's own notes from warnings on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Line())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(LEVELS[level])
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    logging.raiseExceptions = False  # a stderr that is gone must not take the server along
