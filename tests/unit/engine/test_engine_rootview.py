"""A container's files by the number of its process."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from kist.engine import rootview, states
from kist.engine.container import Container
from kist.engine.records import ContainerRecord
from kist.errors import Conflict
from kist.store.store import Store
from support.processes import PYTHON


def running(pid: int) -> Container:
    return Container(ContainerRecord(id="ab" * 32, name="one", created=1, image="busybox", image_id="sha256:0",
                                     config={}, host={}, state=states.RUNNING, pid=pid))


async def test_a_number_that_is_anothers_by_now(tmp_path: Path) -> None:
    """It has ended, the server doesn't know yet, and a process of the host has its number: cp would write to the
    host's files. A number that nobody has is no traceback either."""
    with subprocess.Popen([PYTHON, "-c", ""]) as gone:
        pass
    with Store.open(str(tmp_path)) as store:
        for pid in (os.getpid(), gone.pid):
            with pytest.raises(Conflict, match="is not running"), rootview.of_container(store, running(pid)):
                pass
            with pytest.raises(Conflict, match="is not running"), \
                    rootview.of_container_whole(store, running(pid), [], str(tmp_path), write=True):
                pass
