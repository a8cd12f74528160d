"""Log lines as runc writes them; Podman and containerd read the JSON ones to tell what went wrong.

    {"level":"error","msg":"…","time":"2026-01-02T03:04:05Z"}
    time="2026-01-02T03:04:05Z" level=error msg="…"
"""

from __future__ import annotations

import os
import sys
import time

from kist.runtime import jsons


class Log:
    def __init__(self, path: str, form: str) -> None:
        self.path = path
        self.form = form

    def error(self, message: str) -> None:
        """Into the log file, and for people on standard error."""
        if self.path:
            self._append("error", message)
        sys.stderr.write(self._line("error", message) if not self.path else f"{message}\n")

    def warning(self, message: str) -> None:
        if self.path:
            self._append("warning", message)
        else:
            sys.stderr.write(self._line("warning", message))

    def _append(self, level: str, message: str) -> None:
        try:
            fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            sys.stderr.write(f"can't open the log {self.path}: {error.strerror}\n")
            return
        os.write(fd, self._line(level, message).encode(errors="replace"))
        os.close(fd)

    def _line(self, level: str, message: str) -> str:
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        if self.form == "json":
            return jsons.dumps({"level": level, "msg": message, "time": now}) + "\n"
        return f'time="{now}" level={level} msg={jsons.dumps(message)}\n'
