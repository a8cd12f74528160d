"""What a creator plans while it waits: nothing is left of it, and it is what the engine asks for."""

from __future__ import annotations

import json
import os
from _socket import AF_UNIX, SOCK_SEQPACKET, socketpair
from typing import Any

from kist.api import bodies
from kist.engine import hostconfig
from kist.engine.config import Config
from kist.engine.limits import Machine
from kist.engine.records import ContainerRecord
from kist.engine.spec import Facts, compile_spec
from kist.launcher import channel
from kist.launcher.practice import SPEC, play, practise
from kist.runtime.cgroup import detect
from kist.runtime.namespaces import Namespaces
from kist.runtime.plan import plan


def descriptors() -> list[str]:
    return sorted(os.listdir("/proc/self/fd"))


def test_it_leaves_nothing() -> None:
    play()
    before = descriptors()
    play()
    assert descriptors() == before
    layout = detect()
    for point in [*layout.v1.values(), *([layout.v2] if layout.v2 else [])]:
        assert not os.path.exists(f"{point}/practice")


def test_a_request_is_left_for_whoever_serves_it() -> None:
    here, there = socketpair(AF_UNIX, SOCK_SEQPACKET)
    practise(there)
    channel.send(here, {"a": "request"})
    practise(there)
    assert channel.receive(there) == ({"a": "request"}, [])
    here.close()
    practise(there)  # the engine has gone
    assert channel.receive(there) is None
    there.close()


def kinds(spec: dict[str, Any]) -> set[str]:
    made = plan(spec, Namespaces(spec["linux"], None), container_id="x", bundle="/b", terminal=False)
    return {type(step).__name__ for step in made.steps()}


def test_it_has_the_steps_of_a_container_of_the_engines() -> None:
    """Else it would touch something else than what is wanted later."""
    machine = Machine(cpus=4, online_cpus=frozenset(range(4)), memory_nodes=frozenset({0}))
    host = hostconfig.normalize(bodies.decode(bodies.HostConfig, b"{}"), Config(), machine)
    record = ContainerRecord(
        id="c" * 64, name="n", created=1, image="i", image_id="sha256:1", path="sh", args=[],
        config={"Hostname": "box", "Tty": False, "Env": [], "WorkingDir": "", "User": ""}, host=host, mounts=[])
    facts = Facts(root="/r", rootfs=[{"type": "overlay", "source": "overlay", "options": ["lowerdir=/l"]}],
                  etc={"hosts": "/d/hosts"}, cgroup="/kist/c", machine="x86_64", kernel="6.1.0")
    assert kinds(compile_spec(record, facts)) == kinds(json.loads(SPEC))
