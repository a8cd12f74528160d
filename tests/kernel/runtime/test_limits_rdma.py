"""RDMA limits in effect, on a device without hardware (rdma_rxe over a network device): tests/vm, part rdma. Elsewhere
it is the refusal that is tested."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.groups import MACHINE, V2

HERE = MACHINE == "rdma"
# A device's context is a "handle": opened, then asked for (rdma/ib_user_verbs.h: a header, the answer's address).
OPEN = """
import ctypes, os, struct
answer = ctypes.create_string_buffer(64)
for _ in range(3):
    fd = os.open("/dev/infiniband/uverbs0", os.O_RDWR)
    try:
        os.write(fd, struct.pack("=IHHQ", 0, 4, 2, ctypes.addressof(answer)))
        print("context", flush=True)
    except OSError as error:
        print(error.strerror, flush=True)
print(open("/sys/fs/cgroup/rdma.current").read(), end="", flush=True)
print(open("/sys/fs/cgroup/rdma.max").read(), end="", flush=True)
"""


@pytest.fixture
def device() -> Iterator[tuple[int, int]]:
    for words in ("modprobe rdma_rxe", "modprobe ib_uverbs", "ip link add wire type dummy", "ip link set wire up",
                  "rdma link add rxe0 type rxe netdev wire"):
        subprocess.run(words.split(), check=True)
    major, minor = Path("/sys/class/infiniband_verbs/uverbs0/dev").read_text().split(":")
    yield int(major), int(minor)
    subprocess.run(["rdma", "link", "delete", "rxe0"], check=True)
    subprocess.run(["ip", "link", "delete", "wire"], check=True)


LIMIT = {"rxe0": {"hcaHandles": 2, "hcaObjects": 10}}


@pytest.mark.skipif(not HERE, reason="the virtual machine has an RDMA device (make test-vm)")
def test_handles_run_out(spec: dict[str, Any], limits: dict[str, Any], run: Any, device: tuple[int, int]) -> None:
    major, minor = device
    limits["rdma"] = LIMIT
    limits["devices"] = [{"allow": False, "access": "rwm"},
                         {"allow": True, "type": "c", "major": major, "minor": minor, "access": "rw"}]
    spec["linux"]["devices"] = [{"path": "/dev/infiniband/uverbs0", "type": "c", "major": major, "minor": minor,
                                 "fileMode": 0o666}]
    for place in ("/usr", "/lib", "/lib64"):
        spec["mounts"].append({"destination": place, "type": "bind", "source": place, "options": ["rbind", "ro"]})
    report = run(spec, os.path.realpath("/proc/self/exe"), "-I", "-S", "-c", OPEN)
    assert [line.strip() for line in report["stdout"].splitlines()] == [
        "context", "context", "Resource temporarily unavailable", "rxe0 hca_handle=2 hca_object=0",
        "rxe0 hca_handle=2 hca_object=10"], report


def test_without_a_device(limits: dict[str, Any], spec: dict[str, Any], run: Any) -> None:
    limits["rdma"] = {"none0": {"hcaHandles": 2}}
    error = run(spec)["error"]
    assert "none0 hca_handle=2" in error if V2 and Path("/sys/fs/cgroup/cgroup.controllers").read_text().count("rdma") \
        else "rdma" in error
