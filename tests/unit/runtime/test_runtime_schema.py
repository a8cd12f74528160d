"""The runtime's own small validator beside a whole one (jsonschema, draft 4), each time with one thing wrong."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import referencing
from referencing.jsonschema import DRAFT4

from kist.runtime import validate
from kist.runtime.cli.features import features
from kist.runtime.errors import SpecError

SHIPPED = Path(validate.__file__).parent / "schema"
SHARED = Path(__file__).resolve().parents[4] / "shared" / "specs" / "runtime-spec"

LIMIT = {"major": 8, "minor": 0, "rate": 10}
SECTIONS: dict[str, dict[str, Any]] = {
    "": {"ociVersion": "1.2.0", "hostname": "h", "domainname": "d", "annotations": {"a": "b"},
         "root": {"path": "rootfs", "readonly": True},
         "mounts": [{"destination": "/x", "source": "s", "type": "bind", "options": ["ro"],
                     "uidMappings": [{"containerID": 0, "hostID": 1, "size": 2}],
                     "gidMappings": [{"containerID": 0, "hostID": 1, "size": 2}]}],
         "hooks": {"createRuntime": [{"path": "/h", "args": ["h"], "env": ["A=b"], "timeout": 3}], "poststop": []}},
    "process": {"args": ["sh"], "cwd": "/", "env": ["A=b"], "terminal": True, "consoleSize": {"height": 2, "width": 3},
                "user": {"uid": 1, "gid": 2, "umask": 3, "additionalGids": [4]}, "noNewPrivileges": True,
                "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 1, "hard": 2}], "oomScoreAdj": 5, "apparmorProfile": "p",
                "selinuxLabel": "l", "capabilities": {"bounding": ["CAP_KILL"], "ambient": []},
                "scheduler": {"policy": "SCHED_FIFO", "priority": 1, "flags": ["SCHED_FLAG_RESET_ON_FORK"], "nice": 1},
                "ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 3},
                "execCPUAffinity": {"initial": "0-1", "final": "0"}},
    "linux": {"namespaces": [{"type": "network", "path": "/n"}], "uidMappings": [],
              "devices": [{"type": "c", "path": "/dev/x", "major": 1, "minor": 2, "uid": 3, "gid": 4}],
              "sysctl": {"net.x": "1"}, "cgroupsPath": "/g", "rootfsPropagation": "shared", "maskedPaths": ["/m"],
              "readonlyPaths": ["/r"], "mountLabel": "l", "timeOffsets": {"monotonic": {"secs": 1, "nanosecs": 2}},
              "personality": {"domain": "LINUX", "flags": []},
              "seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1,
                          "architectures": ["SCMP_ARCH_X86_64"],
                          "flags": ["SECCOMP_FILTER_FLAG_LOG"], "listenerPath": "/l", "listenerMetadata": "m",
                          "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1, "args": [
                              {"index": 0, "value": 1, "valueTwo": 2, "op": "SCMP_CMP_EQ"}]}]}},
    "linux.resources": {
        "devices": [{"allow": True, "type": "c", "major": 1, "minor": 2, "access": "rwm"}],
        "memory": {"limit": 1, "reservation": 2, "swap": -1, "kernel": 3, "swappiness": 4, "disableOOMKiller": True,
                   "useHierarchy": True, "checkBeforeUpdate": True},
        "cpu": {"shares": 1, "quota": -1, "burst": 2, "period": 3, "realtimePeriod": 4, "realtimeRuntime": 5,
                "cpus": "0", "mems": "0", "idle": 1},
        "pids": {"limit": 1}, "hugepageLimits": [{"pageSize": "2MB", "limit": 1}], "unified": {"a.b": "c"},
        "network": {"classID": 1, "priorities": [{"name": "eth0", "priority": 1}]}, "rdma": {"d": {"hcaHandles": 1}},
        "blockIO": {"weight": 10, "leafWeight": 11, "weightDevice": [{"major": 8, "minor": 0, "weight": 10}],
                    "throttleReadBpsDevice": [LIMIT], "throttleWriteIOPSDevice": [LIMIT]}},
}
# (place, value) where the runtime takes more than the schema, on purpose: each has its reason in `validate`.
WIDER = {("linux.rootfsPropagation", '"rshared"')}
WRONG: tuple[Any, ...] = (7, -1, 1 << 65, 1.5, "x", "", "CAP_NOPE", True, [], [1], ["x"], {}, {"x": 1})


def whole() -> dict[str, Any]:
    config = copy.deepcopy(SECTIONS[""])
    config.update(process=copy.deepcopy(SECTIONS["process"]), linux=copy.deepcopy(SECTIONS["linux"]))
    config["linux"]["resources"] = copy.deepcopy(SECTIONS["linux.resources"])
    return config


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in entries:
        yield from places(item, (*path, key))


NOT_SHIPPED = "config-solaris.json", "config-windows.json", "config-vm.json", "config-zos.json", "config-freebsd.json"


def validator(folder: Path, name: str) -> jsonschema.Draft4Validator:
    files = {file.name: json.loads(file.read_text()) for file in folder.glob("*.json")}
    for other in NOT_SHIPPED:
        files.setdefault(other, {})
    registry: referencing.Registry[Any] = referencing.Registry()
    return jsonschema.Draft4Validator(files[name], registry=registry.with_resources(
        (file, DRAFT4.create_resource(content)) for file, content in files.items()))


@pytest.fixture(scope="module")
def other() -> jsonschema.Draft4Validator:
    return validator(SHIPPED, "config-schema.json")


def _ours(config: Any) -> str:
    try:
        validate._check(config, validate._load("config-schema.json"), "config-schema.json", "")
    except SpecError as error:
        return str(error)
    return ""


def test_the_whole_is_right(other: jsonschema.Draft4Validator) -> None:
    assert (_ours(whole()), list(other.iter_errors(whole()))) == ("", [])


def parts() -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """(where it is, a configuration with little else): each field of `linux` and `process`, and what is beside."""
    config = whole()
    for top, section in config.items():
        if top not in ("linux", "process"):
            yield (top,), {"ociVersion": "1.2.0", top: section}
            continue
        for key, item in section.items():
            yield (top, key), {"ociVersion": "1.2.0", top: {"cwd": "/", key: item} if top == "process" else {key: item}}


@pytest.mark.parametrize(("start", "config"), [*parts()],
                         ids=lambda value: ".".join(value) if type(value) is tuple else "")
def test_both_find_the_same_things_wrong(other: jsonschema.Draft4Validator, start: tuple[str, ...],
                                         config: dict[str, Any]) -> None:
    item: Any = config
    for key in start:
        item = item[key]
    text, differ = json.dumps(config), []
    for path in places(item, start):
        for wrong in (*WRONG, None):
            parent: Any = (changed := json.loads(text))
            for key in path[:-1]:
                parent = parent[key]
            if wrong is not None:
                parent[path[-1]] = wrong
            elif isinstance(parent, dict):
                del parent[path[-1]]  # a null is Go's for an empty slice or map: it is taken
            place = ".".join(map(str, path))
            mine, theirs = _ours(changed), next(iter(other.iter_errors(changed)), None)
            if bool(mine) != bool(theirs) and (place, json.dumps(wrong)) not in WIDER:
                differ.append((place, wrong, mine, theirs and theirs.message[:100]))
    assert differ == []


@pytest.mark.skipif(not SHARED.exists(), reason="the schema of features is not shipped")
def test_features_are_what_their_schema_says() -> None:
    assert list(validator(SHARED, "features-schema.json").iter_errors(features())) == []
