"""A Hub with library images for the tests, on a loopback port of its own."""

from __future__ import annotations

import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

from support.processes import ENVIRONMENT, PYTHON, end


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Hub:
    """`python -m kist.hub` over a data folder; `url` is where it answers."""

    def __init__(self, data: Path, log: Path, *options: str) -> None:
        self.data, self.log, self.options = data, log, options
        self.port = free_port()
        self.host = f"127.0.0.1:{self.port}"
        self.url = f"http://{self.host}"
        self.start()

    def start(self) -> None:
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                [PYTHON, "-m", "kist.hub", "--data", str(self.data), "--listen", self.host, *self.options],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=ENVIRONMENT)
        self._wait()

    def kill(self) -> None:
        """What a crash does."""
        self.process.kill()
        self.process.wait(15)

    def _wait(self, timeout: float = 30) -> None:
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                urllib.request.urlopen(f"{self.url}/healthz", timeout=5).close()
                return
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.05)
        raise AssertionError(f"the hub did not start:\n{self.log.read_text(errors='replace')[-4000:]}")

    def close(self) -> None:
        end(self.process)


def fill(data: Path, *names: str, archives: Path | None = None, lock: Path | None = None) -> None:
    """Builds library images into a Hub's data folder; package files are kept in ``archives``, named in ``lock``."""
    keep = [*(["--archives", str(archives)] if archives else []), *(["--lock", str(lock)] if lock else [])]
    subprocess.run([PYTHON, "-m", "kist.hub.library", "build", "--absent", "--data", str(data), *keep, *names],
                   check=True, env=ENVIRONMENT, stdout=subprocess.DEVNULL)
