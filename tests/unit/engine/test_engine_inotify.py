"""inotify: the kernel's records, and real changes of a directory."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from kist.linux import inotify


def record(watch: int, mask: int, name: bytes, size: int) -> bytes:
    return struct.pack("=iIII", watch, mask, 0, size) + name.ljust(size, b"\0")


def test_records_are_taken_apart() -> None:
    data = record(1, inotify.IN_MODIFY, b"log", 16) + record(2, inotify.IN_DELETE_SELF, b"", 0)
    assert inotify.parse_events(data) == [(1, inotify.IN_MODIFY, "log"), (2, inotify.IN_DELETE_SELF, "")]
    assert inotify.parse_events(b"") == []


def test_a_directorys_changes_are_seen(tmp_path: Path) -> None:
    fd = inotify.inotify_init1()
    try:
        mask = inotify.IN_CREATE | inotify.IN_MODIFY | inotify.IN_MOVED_TO
        watch = inotify.inotify_add_watch(fd, str(tmp_path), mask)
        assert inotify.read_events(fd) == []
        (tmp_path / "a").write_text("x")
        (tmp_path / "a").rename(tmp_path / "b")
        seen = {(mask, name) for found, mask, name in inotify.read_events(fd) if found == watch}
        assert {(inotify.IN_CREATE, "a"), (inotify.IN_MODIFY, "a"), (inotify.IN_MOVED_TO, "b")} <= seen
        inotify.inotify_rm_watch(fd, watch)
    finally:
        os.close(fd)


def test_a_missing_path_is_named(tmp_path: Path) -> None:
    fd = inotify.inotify_init1()
    try:
        with pytest.raises(FileNotFoundError) as caught:
            inotify.inotify_add_watch(fd, str(tmp_path / "none"), inotify.IN_MODIFY)
        assert caught.value.filename == str(tmp_path / "none")
    finally:
        os.close(fd)
