"""Layer files that the kernel verifies (fs-verity), where the file system can: sealed when they are published, with
their digest on record; looked at before each mount, which costs some microseconds.

A file that has a digest on record and isn't sealed any more is not what was published: somebody has put another one in
its place, or has copied the store without its seals. It isn't mounted; `kist system check --repair` makes it again.
Where the store has moved to a file system without fs-verity, there is nothing to hold it against.
"""

from __future__ import annotations

import errno
import os
import tempfile
import time
from typing import Protocol

from kist.linux import verity as kernel
from kist.store.errors import StorageFailure, storage_errors

_ATTEMPTS, _PAUSE = 20, 0.01  # seconds


class Verity(Protocol):
    """`kist.linux.verity`, or a test's; both raise its OSErrors."""

    def enable(self, path: str) -> None: ...

    def measure(self, path: str) -> str: ...


class Seals:
    def __init__(self, verity: Verity = kernel) -> None:
        self._verity = verity
        self._usable: dict[str, bool] = {}

    def seal(self, path: str) -> str | None:
        """The digest of the file at *path*, which can't be changed from now on; None where that can't be had."""
        with storage_errors(f"seal {path}"):
            try:
                self._enable(path)
            except FileExistsError:
                pass
            except OSError as error:
                if error.errno in kernel.LACKING or error.errno == errno.ETXTBSY:
                    return None
                raise
            return self._verity.measure(path)

    def _enable(self, path: str) -> None:
        """A child that was forked while the file was written has it open until it executes its program."""
        for _ in range(_ATTEMPTS):
            try:
                return self._verity.enable(path)
            except OSError as error:
                if error.errno != errno.ETXTBSY:
                    raise
                time.sleep(_PAUSE)
        return self._verity.enable(path)

    def problem(self, path: str, wanted: str | None) -> str | None:
        """Why the file at *path*, which was sealed as *wanted*, must not be mounted; None if it may."""
        if wanted is None:
            return None
        try:
            found = self._verity.measure(path)
        except OSError as error:
            if error.errno in kernel.LACKING:
                return None
            return f"fs-verity: {error.strerror}"
        return None if found == wanted else f"fs-verity: its digest is {found}, not {wanted}"

    def check(self, path: str, wanted: str | None) -> None:
        """Raises `StorageFailure` if the file at *path* isn't the one that was sealed as *wanted*."""
        if (problem := self.problem(path, wanted)) is not None:
            raise StorageFailure(f"{path} is not the layer that was stored ({problem}): "
                                 "`kist system check --repair` makes it again")

    def usable(self, directory: str) -> bool:
        """Whether files in *directory* can be sealed, found out by sealing one."""
        if directory not in self._usable:
            with storage_errors("try fs-verity"), tempfile.NamedTemporaryFile(dir=directory) as file:
                os.close(os.open(probe := f"{file.name}.sealed", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
                try:
                    self._usable[directory] = self.seal(probe) is not None
                finally:
                    os.unlink(probe)
        return self._usable[directory]
