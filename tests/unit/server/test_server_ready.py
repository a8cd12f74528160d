"""The server says that it listens: by a byte, and to systemd as sd_notify(3) has it."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from kist.server.ready import Ready


def test_a_byte_and_the_end() -> None:
    reader, writer = os.pipe()
    Ready(fd=writer).tell()
    assert os.read(reader, 10) == b"\n"
    assert os.read(reader, 10) == b""
    os.close(reader)


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_is_told(tmp_path: Path, *, abstract: bool) -> None:
    name = f"kist-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(f"\0{name}" if abstract else name)
        Ready(notify_socket=f"@{name}" if abstract else name).tell()
        assert systemd.recv(100) == b"READY=1"


def test_nobody_is_there(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Not a reason to end."""
    Ready(notify_socket=str(tmp_path / "gone")).tell()
    assert "gone" in caplog.text
