"""Removal in two steps: a rename into the trash, which is at once, and the slow deletion in the background.

What is in the trash has no name in the store any more; a server that dies in between finds it at the next
start and goes on.
"""

from __future__ import annotations

import logging
import os
import secrets
import threading

log = logging.getLogger(__name__)


class Trash:
    """The trash directory at *path*, and the thread that empties it while there is something in it."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._worker: threading.Thread | None = None
        self._closed = False
        self._again = False
        os.makedirs(path, 0o700, exist_ok=True)

    def throw(self, path: str) -> bool:
        """Move the file or directory *path* here; False if there is none."""
        try:
            os.rename(path, f"{self._path}/{secrets.token_hex(12)}")
        except FileNotFoundError:
            return False
        self.empty()
        return True

    def empty(self) -> None:
        """See to it that everything in the trash gets deleted in the background."""
        with self._lock:
            self._again = True
            if not self._closed and self._worker is None:
                self._worker = threading.Thread(target=self._work, name="kist-trash", daemon=True)
                self._worker.start()

    def wait(self) -> None:
        """Return when the trash is empty, or can't be emptied."""
        worker = self._worker
        if worker is not None:
            worker.join()

    def close(self) -> None:
        """Stop after the tree that is being deleted; the rest waits for the next start."""
        with self._lock:
            self._closed = True
        self.wait()

    def _work(self) -> None:
        while True:
            with self._lock:
                if self._closed or not self._again:
                    self._worker = None
                    return
                self._again = False
            for name in os.listdir(self._path):
                if self._closed:
                    break
                try:
                    remove_tree(f"{self._path}/{name}")
                except OSError as error:
                    log.warning("trash: %s", error)


def remove_tree(name: str | bytes, dir_fd: int | None = None) -> None:
    """Delete *name* with everything below it; links are removed, never followed."""
    try:
        os.unlink(name, dir_fd=dir_fd)
    except FileNotFoundError:
        pass
    except (IsADirectoryError, PermissionError):
        _remove_directory(name, dir_fd)


def _remove_directory(name: str | bytes, dir_fd: int | None) -> None:
    # An explicit stack: a stranger's tree may be deeper than Python's own goes. The way up is "..", which
    # is safe here: nothing but this thread changes the tree.
    fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)
    path: list[bytes] = []
    try:
        left = [_unlink_files(fd)]      # per level, the directories that are still to be removed
        while True:
            if left[-1]:
                path.append(left[-1].pop())
                fd = _move(fd, path[-1])
                left.append(_unlink_files(fd))
            elif path:
                left.pop()
                fd = _move(fd, b"..")
                os.rmdir(path.pop(), dir_fd=fd)
            else:
                break
    finally:
        os.close(fd)
    os.rmdir(name, dir_fd=dir_fd)


def _move(fd: int, name: bytes) -> int:
    new = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
    os.close(fd)
    return new


def _unlink_files(fd: int) -> list[bytes]:
    """Delete what isn't a directory in *fd*; the directories' names are returned."""
    directories = []
    with os.scandir(fd) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                directories.append(os.fsencode(entry.name))
            else:
                os.unlink(entry.name, dir_fd=fd)
    return directories
