"""What the engine opens for a monitor."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from kist.launcher.ends import Ends


def test_socket_and_log_are_there_and_the_last_end_is_forgotten(tmp_path: Path) -> None:
    (tmp_path / "exit.json").write_text("{}")
    (tmp_path / "monitor.sock").write_text("a dead monitor's")
    with Ends(str(tmp_path), str(tmp_path), {"driver": "json-file", "path": str(tmp_path / "log")}) as ends:
        assert ends.log is not None
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as caller:
            caller.connect(str(tmp_path / "monitor.sock"))
        assert not os.get_inheritable(ends.listener)
        assert not os.get_inheritable(ends.log)
        assert sorted(os.listdir(tmp_path)) == ["log", "monitor.sock"]
    for fd in (ends.listener, ends.log):
        with pytest.raises(OSError):
            os.fstat(fd)


def test_a_log_in_no_file_is_the_monitors_own_business(tmp_path: Path) -> None:
    with Ends(str(tmp_path), str(tmp_path), {"driver": "syslog"}) as ends:
        assert ends.log is None


def test_a_log_that_cannot_be_opened_leaves_nothing(tmp_path: Path) -> None:
    before = set(os.listdir("/proc/self/fd"))
    with pytest.raises(FileNotFoundError):
        Ends(str(tmp_path), str(tmp_path), {"driver": "local", "path": str(tmp_path / "gone/logs/log")})
    assert os.listdir(tmp_path) == []
    assert set(os.listdir("/proc/self/fd")) == before
