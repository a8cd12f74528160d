"""Every part of the specification's configuration for Linux (runtime-spec 1.2), by its effect inside a container."""

from __future__ import annotations

import array
import ctypes
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SRC = Path(__file__).resolve().parents[3] / "src"

IDS = [{"containerID": 0, "hostID": 200000, "size": 65536}]


def bind(source: Path, destination: str, *options: str) -> dict[str, Any]:
    return {"destination": destination, "type": "bind", "source": str(source), "options": list(options)}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    directory = tmp_path / "data"
    directory.mkdir()
    (directory / "file").write_text("content\n")
    return directory


# process


def test_rlimits(spec: dict[str, Any], sh: Any) -> None:
    spec["process"]["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200},
                                  {"type": "RLIMIT_CORE", "soft": 0, "hard": 0}]
    limits = sh("cat /proc/self/limits")
    assert ["Max", "open", "files", "100", "200", "files"] in [line.split() for line in limits.splitlines()]
    assert "Max core file size        0                    0" in limits


@pytest.mark.parametrize("no_new", [True, False])
def test_hardly_a_descriptor(spec: dict[str, Any], run: Any, no_new: bool) -> None:
    """The program, and one that is executed, have what was asked for; the runtime has what it needs until then."""
    spec["process"].update(rlimits=[{"type": "RLIMIT_NOFILE", "soft": 5, "hard": 6}], noNewPrivileges=no_new)
    probe = {**spec["process"], "args": ["sh", "-c", "ulimit -n; ulimit -Hn"]}
    report = run(spec, "sh", "-c", "ulimit -n; ulimit -Hn; sleep 1", execs=[probe])
    assert (report["stdout"], report["execs"][0]["stdout"]) == ("5\n6\n", "5\n6\n"), report


def test_rlimit_above_the_hard_one_names_the_step(spec: dict[str, Any], run: Any) -> None:
    spec["process"]["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 1, "hard": 1 << 40}]
    assert run(spec)["error"].startswith("limit nofile: EPERM")


def test_capability_sets(spec: dict[str, Any], sh: Any) -> None:
    spec["process"]["capabilities"] = {
        "bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW"], "permitted": ["CAP_CHOWN", "CAP_KILL"],
        "effective": ["CAP_CHOWN"], "inheritable": ["CAP_KILL"], "ambient": ["CAP_KILL"]}
    spec["process"]["user"] = {"uid": 1000, "gid": 1000}
    sets = dict(line.split(":\t") for line in sh("grep ^Cap /proc/self/status").splitlines())
    # the shell's child: ambient capabilities survive execve(2) of a program without file capabilities
    assert {name: int(value, 16) for name, value in sets.items()} == {
        "CapInh": 1 << 5, "CapPrm": 1 << 5, "CapEff": 1 << 5, "CapBnd": 1 | 1 << 5 | 1 << 13, "CapAmb": 1 << 5}


def test_ambient_capabilities_that_are_not_inheritable_are_passed_over(spec: dict[str, Any], sh: Any) -> None:
    """`runc spec` writes such a configuration, and runc and crun run it."""
    names = ["CAP_AUDIT_WRITE", "CAP_KILL"]
    spec["process"]["capabilities"] = {"bounding": names, "permitted": names, "effective": names, "ambient": names}
    assert sh("grep ^CapAmb /proc/self/status").split()[1] == "0" * 16


def test_no_new_privileges(spec: dict[str, Any], sh: Any) -> None:
    spec["process"]["noNewPrivileges"] = True
    assert sh("grep NoNewPrivs /proc/self/status").split()[1] == "1"


def test_oom_score(spec: dict[str, Any], sh: Any) -> None:
    spec["process"]["oomScoreAdj"] = 300
    assert sh("cat /proc/self/oom_score_adj") == "300\n"


def test_scheduler_and_io_priority(spec: dict[str, Any], sh: Any) -> None:
    spec["process"]["scheduler"] = {"policy": "SCHED_BATCH", "nice": 7}
    spec["process"]["ioPriority"] = {"class": "IOPRIO_CLASS_IDLE", "priority": 0}
    out = sh("cut -d' ' -f19,41 /proc/self/stat; ionice -p 1")
    assert out == "7 3\nidle\n" or out.startswith("7 3\nidle")


def test_exec_cpu_affinity(spec: dict[str, Any], run: Any) -> None:
    probe = {**spec["process"], "args": ["grep", "Cpus_allowed_list", "/proc/self/status"],
             "execCPUAffinity": {"initial": "0", "final": "0"}}
    report = run(spec, "sleep", "30", execs=[probe])
    assert report["execs"][0]["stdout"].split() == ["Cpus_allowed_list:", "0"]


def test_personality(spec: dict[str, Any], sh: Any) -> None:
    spec["linux"]["personality"] = {"domain": "LINUX32"}
    assert sh("cat /proc/self/personality") == "00000008\n"


def test_memory_policy(spec: dict[str, Any], sh: Any) -> None:
    if not Path("/proc/self/numa_maps").exists():
        pytest.skip("a kernel without NUMA")
    spec["linux"]["memoryPolicy"] = {"mode": "MPOL_BIND", "nodes": "0"}
    assert "bind:0" in sh("cat /proc/self/numa_maps")


def test_labels_are_refused_without_their_module(spec: dict[str, Any], run: Any) -> None:
    if Path("/proc/self/attr/apparmor/exec").exists():
        pytest.skip("this kernel has AppArmor")
    spec["process"]["apparmorProfile"] = "unconfined"
    assert "this kernel has no such security module" in run(spec)["error"]


def test_keyring_is_new(spec: dict[str, Any], sh: Any, container_id: str) -> None:
    spec["linux"]["maskedPaths"].remove("/proc/keys")
    assert f"_ses.{container_id}" in sh("cat /proc/keys")


# root, names, sysctl


def test_readonly_root(spec: dict[str, Any], sh: Any) -> None:
    spec["root"]["readonly"] = True
    assert sh("touch /x 2>/dev/null || echo refused; touch /dev/x && echo dev") == "refused\ndev\n"


def test_domainname_and_sysctl(spec: dict[str, Any], sh: Any) -> None:
    spec["domainname"] = "example"
    spec["linux"]["sysctl"] = {"net.ipv4.ip_forward": "1", "kernel.shm_rmid_forced": "1", "fs.mqueue.msg_max": "11"}
    out = sh("cat /proc/sys/kernel/domainname /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/shm_rmid_forced")
    assert out.split() == ["example", "1", "1"]
    assert Path("/proc/sys/kernel/shm_rmid_forced").read_text() == "0\n"


@pytest.mark.parametrize("key", ["kernel.panic", "vm.swappiness", "kernel.core_pattern", "kernel/core_pattern"])
def test_sysctl_of_the_machine_is_refused(spec: dict[str, Any], run: Any, key: str) -> None:
    spec["linux"]["sysctl"] = {key: "1"}
    assert "is not in a separate kernel namespace" in run(spec)["error"]


def test_sysctl_of_a_host_namespace_is_refused(spec: dict[str, Any], run: Any) -> None:
    spec["linux"]["namespaces"] = [entry for entry in spec["linux"]["namespaces"] if entry["type"] != "network"]
    spec["linux"]["sysctl"] = {"net.ipv4.ip_forward": "1"}
    assert "not allowed in the host's network namespace" in run(spec)["error"]


# mounts


def test_bind_options(spec: dict[str, Any], sh: Any, data: Path) -> None:
    spec["mounts"] += [bind(data, "/a", "rbind", "ro"), bind(data / "file", "/deep/b", "bind", "nosuid", "noexec"),
                       bind(data, "/c", "rbind", "nodev", "noatime")]
    lines = {line.split()[4]: line.split()[5] for line in sh("cat /proc/self/mountinfo").splitlines()}
    assert lines["/a"].startswith("ro")
    assert {"nosuid", "noexec"} <= set(lines["/deep/b"].split(","))
    assert {"nodev", "noatime"} <= set(lines["/c"].split(","))


def test_tmpfs_options(spec: dict[str, Any], sh: Any) -> None:
    spec["mounts"].append({"destination": "/t", "type": "tmpfs", "source": "tmpfs",
                           "options": ["size=65536", "mode=700", "noexec", "sync"]})
    assert "size=64k" in sh("grep ' /t ' /proc/self/mountinfo; stat -c %a /t")


@pytest.mark.parametrize(("option", "readonly_below"), [("rro", True), ("ro", False)])
def test_recursive_readonly(spec: dict[str, Any], sh: Any, data: Path, option: str, readonly_below: bool) -> None:
    """A mount below the source: ro is for the top one only, rro for all (kernel 5.12)."""
    (data / "below").mkdir()
    spec["mounts"] += [{"destination": "/src", "type": "tmpfs", "source": "tmpfs"}]
    subprocess.run(["mount", "-t", "tmpfs", "t", str(data / "below")], check=True)
    try:
        spec["mounts"].append(bind(data, "/r", "rbind", option))
        out = sh("touch /r/x 2>/dev/null || echo top; touch /r/below/x 2>/dev/null || echo below")
    finally:
        subprocess.run(["umount", str(data / "below")], check=True)
    assert out.split() == (["top", "below"] if readonly_below else ["top"])


@pytest.mark.parametrize(("option", "tag"), [("private", ""), ("rslave", ""), ("rshared", "shared:"),
                                             ("unbindable", "unbindable")])
def test_propagation(spec: dict[str, Any], sh: Any, data: Path, option: str, tag: str) -> None:
    spec["mounts"].append(bind(data, "/p", "rbind", option))
    line = next(line for line in sh("cat /proc/self/mountinfo").splitlines() if line.split()[4] == "/p")
    assert tag in line if tag else "shared:" not in line


def test_rootfs_propagation(spec: dict[str, Any], sh: Any) -> None:
    spec["linux"]["rootfsPropagation"] = "rshared"
    assert "shared:" in sh("cat /proc/self/mountinfo").splitlines()[0]


def mounted(mountinfo: Path) -> list[str]:
    """But for other tests' folders: with those go the mounts on them, in all namespaces."""
    return [line for line in mountinfo.read_text().splitlines() if "/pytest-of-" not in line and "/kt-" not in line]


@pytest.mark.parametrize("word", ["private", "rprivate", "slave", "rslave", "shared", "rshared", "unbindable",
                                  "runbindable"])
def test_every_rootfs_propagation_leaves_a_shared_host_alone(spec: dict[str, Any], tmp_path: Path, container_id: str,
                                                             word: str) -> None:
    """The machine's mounts being shared, as systemd has them: what the container unmounts must not go there, too."""
    spec["linux"]["rootfsPropagation"] = word
    spec["process"]["args"] = ["head", "-n", "1", "/proc/self/mountinfo"]
    (tmp_path / "config.json").write_text(json.dumps(spec))
    script = ('mount --make-rshared / && cat /proc/self/mountinfo >before && "$@"; status=$?; '
              "cat /proc/self/mountinfo >after; exit $status")
    main = [sys.executable, "-I", "-S", str(SRC / "kist/runtime/start.py"), "--root", str(tmp_path / "state")]
    done = subprocess.run(["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", *main, "run",
                           "--bundle", str(tmp_path), container_id], cwd=tmp_path, capture_output=True, text=True,
                          timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert ("shared:" in done.stdout) == (word in ("shared", "rshared"))
    assert ("unbindable" in done.stdout) == (word in ("unbindable", "runbindable"))
    assert mounted(tmp_path / "after") == mounted(tmp_path / "before") != []


def test_tmpcopyup(spec: dict[str, Any], sh: Any, rootfs: Path) -> None:
    (rootfs / "var" / "d").mkdir(parents=True)
    (rootfs / "var" / "f").write_text("kept\n")
    (rootfs / "var" / "f").chmod(0o640)
    os.chown(rootfs / "var" / "f", 12, 34)
    (rootfs / "var" / "l").symlink_to("f")
    spec["mounts"].append({"destination": "/var", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup"]})
    out = sh("cat /var/l; stat -c '%a %u %g' /var/f; test -d /var/d && echo d; echo new > /var/f")
    assert out == "kept\n640 12 34\nd\n"
    assert (rootfs / "var" / "f").read_text() == "kept\n"


@pytest.mark.parametrize(("options", "expected"), [
    (["tmpcopyup"], "750 12 34"), (["tmpcopyup", "mode=1700"], "1700 12 34"),
    (["tmpcopyup", "mode=0711", "uid=5"], "711 5 34"), (["mode=1700"], "1700 0 0"), ([""], "750 0 0"),
])
def test_a_tmpfs_looks_like_what_it_covers(spec: dict[str, Any], sh: Any, rootfs: Path, options: list[str],
                                          expected: str) -> None:
    """But where the options say otherwise; the owner is taken over with the content only."""
    (rootfs / "var").mkdir(mode=0o750)
    os.chown(rootfs / "var", 12, 34)
    spec["mounts"].append({"destination": "/var", "type": "tmpfs", "source": "tmpfs", "options": options})
    assert sh("stat -c '%a %u %g' /var").strip() == expected


@pytest.mark.parametrize("options", [[], ["tmpcopyup"]])
def test_a_tmpfs_in_a_new_place_is_open_to_all(spec: dict[str, Any], sh: Any, options: list[str]) -> None:
    spec["mounts"].append({"destination": "/new/place", "type": "tmpfs", "source": "tmpfs", "options": options})
    assert sh("stat -c %a /new /new/place").split() == ["755", "1777"]


def test_an_overlay_of_long_paths(spec: dict[str, Any], sh: Any, run: Any, tmp_path: Path) -> None:
    """Podman's `--mount type=image`: more than the 255 bytes that fsconfig(2) takes for an option."""
    layers = [tmp_path / f"{letter * 120}" for letter in "abc"]
    for layer in layers:
        layer.mkdir()
        (layer / layer.name[0]).touch()
    overlay = {"destination": "/o", "type": "overlay", "source": "overlay",
               "options": ["lowerdir=" + ":".join(map(str, layers)), "private", "ro", "nosuid"]}
    spec["mounts"].append(overlay)
    assert sh("ls /o; grep ' /o ' /proc/mounts | cut -d' ' -f4 | cut -c-9").split() == ["a", "b", "c", "ro,nosuid"]
    overlay["options"] = ["lowerdir=" + ":".join([*map(str, layers)] * 12)]
    assert "mount overlay on /o: EINVAL: its options are longer than a page" in run(spec)["error"]

def test_a_file_over_a_directory_is_refused(spec: dict[str, Any], run: Any, data: Path) -> None:
    spec["mounts"].append(bind(data / "file", "/etc", "bind"))
    assert run(spec)["error"].endswith("/etc: ENOTDIR")


def idmaps(directory: Path) -> None:
    """tmpfs, on which the virtual machine keeps everything, takes id-mapped mounts since Linux 6.3."""
    kind = subprocess.run(["stat", "-f", "-c", "%T", str(directory)], capture_output=True, text=True, check=True).stdout
    version = tuple(int(part) for part in os.uname().release.split("-")[0].split(".")[:2])
    if kind.strip() in ("tmpfs", "1021994") and version < (6, 3):
        pytest.skip("tmpfs takes no id mapping here")


def test_idmapped_bind(spec: dict[str, Any], sh: Any, data: Path) -> None:
    idmaps(data)
    os.chown(data / "file", 5000, 6000)
    spec["mounts"].append({**bind(data, "/i", "rbind"),
                           "uidMappings": [{"containerID": 5000, "hostID": 7, "size": 1}],
                           "gidMappings": [{"containerID": 6000, "hostID": 8, "size": 1}]})
    assert sh("stat -c '%u %g' /i/file") == "7 8\n"


def test_idmap_with_the_containers_own_maps(spec: dict[str, Any], sh: Any, data: Path) -> None:
    """The host's files appear as if the container's root owned them, and what it makes belongs to the host's root."""
    idmaps(data)
    in_user_namespace(spec)
    spec["mounts"].append(bind(data, "/i", "rbind", "ridmap"))
    assert sh("stat -c '%u %g' /i/file; touch /i/made").startswith("0 0\n")
    assert (data / "made").stat().st_uid == 0


def test_idmap_of_nothing(spec: dict[str, Any], run: Any, data: Path) -> None:
    spec["mounts"].append(bind(data, "/i", "rbind", "idmap"))
    assert "idmap: neither the mount nor the container has id mappings" in run(spec)["error"]


def test_mqueue_and_shm(spec: dict[str, Any], sh: Any) -> None:
    spec["mounts"] += [
        {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": ["nosuid"]},
        {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": ["mode=1777", "size=1m"]}]
    assert sh("ls /dev/mqueue; stat -c %a /dev/shm; grep -c ' mqueue ' /proc/self/mountinfo").split() == ["1777", "1"]


def test_readonly_dev_has_its_nodes(spec: dict[str, Any], sh: Any) -> None:
    for mount in spec["mounts"]:
        if mount["destination"] == "/dev":
            mount["options"].append("ro")
    assert sh("echo x > /dev/null; touch /dev/x 2>/dev/null || echo refused") == "refused\n"


# namespaces


def in_user_namespace(spec: dict[str, Any]) -> None:
    spec["linux"]["namespaces"].append({"type": "user"})
    spec["linux"]["uidMappings"] = spec["linux"]["gidMappings"] = IDS
    for mount in spec["mounts"]:
        if mount["destination"] == "/dev/pts":
            mount["options"] = [option for option in mount["options"] if option != "gid=5"]
    os.chown(spec["root"]["path"], 200000, 200000)


def test_user_namespace(spec: dict[str, Any], sh: Any) -> None:
    in_user_namespace(spec)
    out = sh("cat /proc/self/uid_map /proc/self/gid_map; id -u; stat -c %t:%T /dev/null; echo x > /dev/null; "
             "touch /made; hostname; grep CapEff /proc/self/status")
    assert out.split()[:6] == ["0", "200000", "65536", "0", "200000", "65536"]
    assert "00000000a80425fb" in out
    assert (Path(spec["root"]["path"]) / "made").stat().st_uid == 200000


def test_user_namespace_behind_a_closed_directory(spec: dict[str, Any], sh: Any, data: Path, tmp_path: Path) -> None:
    """Root and sources lie where the mapped root may not go: they are opened by the creator."""
    in_user_namespace(spec)
    spec["mounts"].append(bind(data / "file", "/f", "bind", "ro"))
    tmp_path.chmod(0o700)
    assert sh("cat /f") == "content\n"


def test_user_namespace_devices(spec: dict[str, Any], sh: Any, run: Any) -> None:
    """The machine's nodes are bound, by number where the name is another; /dev/ptmx stays this devpts' own."""
    in_user_namespace(spec)
    asked = ("/dev/sub/log", "c", 1, 11), ("/dev/ptmx", "c", 5, 2), ("/dev/pipe", "p", 0, 0)
    spec["linux"]["devices"] = [dict(zip(("path", "type", "major", "minor"), one, strict=True)) for one in asked]
    assert sh("stat -c %t:%T /dev/sub/log; readlink /dev/ptmx; stat -c %F /dev/pipe").splitlines() == [
        "1:b", "pts/ptmx", "fifo"]
    spec["linux"]["devices"] = [{"path": "/dev/null2", "type": "c", "major": 60, "minor": 200}]
    assert "/dev/null2: the machine has no node of the device c 60:200" in run(spec)["error"]


def test_user_namespace_exec(spec: dict[str, Any], run: Any) -> None:
    in_user_namespace(spec)
    probe = {**spec["process"], "args": ["sh", "-c", "id -u; cat /proc/self/uid_map"]}
    assert run(spec, "sleep", "30", execs=[probe])["execs"][0]["stdout"].split() == ["0", "0", "200000", "65536"]


def test_user_namespace_overlay(spec: dict[str, Any], sh: Any, rootfs: Path, tmp_path: Path) -> None:
    in_user_namespace(spec)
    for name in ("upper", "work", "point"):
        (tmp_path / name).mkdir()
        os.chown(tmp_path / name, 200000, 200000)
    spec["kist"] = {"rootfs": [{"type": "overlay", "source": "overlay", "options": [
        f"lowerdir={rootfs}", f"upperdir={tmp_path}/upper", f"workdir={tmp_path}/work"]}]}
    spec["root"]["path"] = str(tmp_path / "point")
    sh("touch /made")
    assert (tmp_path / "upper" / "made").stat().st_uid == 200000


@pytest.fixture
def holder(hold: Any) -> str:
    pid: str = hold("network", "uts", "ipc", "pid")
    return pid


@pytest.mark.parametrize("kinds", [("network",), ("network", "uts", "ipc"), ("pid",), ("pid", "network", "ipc", "uts")])
def test_joined_by_path(spec: dict[str, Any], run: Any, holder: str, kinds: tuple[str, ...]) -> None:
    names = {"network": "net", "uts": "uts", "ipc": "ipc", "pid": "pid"}
    for entry in spec["linux"]["namespaces"]:
        if entry["type"] in kinds:
            entry["path"] = f"/proc/{holder}/ns/{names[entry['type']]}"
    if "uts" in kinds:
        spec.pop("hostname")
    expected = [os.readlink(f"/proc/{holder}/ns/{names[kind]}") for kind in kinds]
    report = run(spec, "sh", "-c", ";".join(f"readlink /proc/self/ns/{names[kind]}" for kind in kinds))
    assert report["stdout"].split() == expected, report


def test_joined_user_namespace(spec: dict[str, Any], run: Any, hold: Any) -> None:
    """As in a pod: its user and network namespaces are joined, the rest is new."""
    pid = hold("user", "network")
    for entry in spec["linux"]["namespaces"]:
        if entry["type"] == "network":
            entry["path"] = f"/proc/{pid}/ns/net"
    spec["linux"]["namespaces"].append({"type": "user", "path": f"/proc/{pid}/ns/user"})
    report = run(spec, "sh", "-c", "readlink /proc/self/ns/user; readlink /proc/self/ns/net; id -u; echo $$")
    expected = [os.readlink(f"/proc/{pid}/ns/{kind}") for kind in ("user", "net")]
    assert report["stdout"].split() == [*expected, "0", "1"], report


def test_network_by_descriptor(spec: dict[str, Any], run: Any, holder: str) -> None:
    report = run(spec, "readlink", "/proc/self/ns/net", netns=f"/proc/{holder}/ns/net")
    assert report["stdout"].strip() == os.readlink(f"/proc/{holder}/ns/net")


def test_a_path_of_another_kind_is_refused(spec: dict[str, Any], run: Any) -> None:
    for entry in spec["linux"]["namespaces"]:
        if entry["type"] == "network":
            entry["path"] = "/proc/self/ns/uts"
    assert run(spec)["error"] == ("join the namespaces: EINVAL: network namespace /proc/self/ns/uts: it is none of "
                                  "that kind, or already joined")


def test_time_namespace(spec: dict[str, Any], sh: Any) -> None:
    spec["linux"]["namespaces"].append({"type": "time"})
    spec["linux"]["timeOffsets"] = {"boottime": {"secs": 7000000, "nanosecs": 5}, "monotonic": {"secs": 1000}}
    uptime = float(sh("cut -d' ' -f1 /proc/uptime"))
    assert 7000000 < uptime < 7000000 + 10**7
    assert sh("readlink /proc/self/ns/time").strip() != os.readlink("/proc/self/ns/time")


def test_host_namespaces_when_none_is_asked_for(spec: dict[str, Any], sh: Any) -> None:
    spec["linux"]["namespaces"] = [entry for entry in spec["linux"]["namespaces"]
                                   if entry["type"] in ("mount", "pid", "cgroup")]
    spec.pop("hostname")
    out = sh("readlink /proc/self/ns/net; readlink /proc/self/ns/ipc").split()
    assert out == [os.readlink("/proc/self/ns/net"), os.readlink("/proc/self/ns/ipc")]


# devices


def test_device_with_mode_and_owner(spec: dict[str, Any], sh: Any) -> None:
    spec["linux"]["devices"] = [{"path": "/dev/x/mine", "type": "c", "major": 10, "minor": 229, "fileMode": 0o640,
                                 "uid": 3, "gid": 4}, {"path": "/dev/pipe", "type": "p"}]
    out = sh("stat -c '%t:%T %a %u %g' /dev/x/mine; stat -c %F /dev/pipe")
    assert out == "a:e5 640 3 4\nfifo\n"


# seccomp


def filtered(names: list[str], action: str, **more: Any) -> dict[str, Any]:
    return {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": names, "action": action, **more}]}


def test_seccomp_errno(spec: dict[str, Any], run: Any) -> None:
    spec["linux"]["seccomp"] = filtered(["mkdir", "mkdirat"], "SCMP_ACT_ERRNO", errnoRet=28)
    assert "No space left on device" in run(spec, "mkdir", "/x")["stderr"]


def test_seccomp_arguments(spec: dict[str, Any], run: Any) -> None:
    """kill(2) with signal 10 is refused, with others not."""
    spec["linux"]["seccomp"] = filtered(["kill"], "SCMP_ACT_ERRNO", args=[
        {"index": 1, "value": 10, "op": "SCMP_CMP_EQ"}])
    spec["process"]["noNewPrivileges"] = True
    report = run(spec, "sh", "-c", "sleep 9 & kill -10 $! 2>/dev/null || echo refused; kill -9 $! && echo sent")
    assert report["stdout"].split() == ["refused", "sent"]


def test_seccomp_kill(spec: dict[str, Any], run: Any) -> None:
    spec["linux"]["seccomp"] = filtered(["sync"], "SCMP_ACT_KILL_PROCESS", )
    assert run(spec, "sh", "-c", "sync; echo $?")["stdout"] == "159\n"


def test_seccomp_default_profile(spec: dict[str, Any], sh: Any) -> None:
    from kist.linux.seccomp_profile import default_profile

    spec["linux"]["seccomp"] = default_profile(spec["process"]["capabilities"]["bounding"])
    out = sh("grep ^Seccomp: /proc/self/status; unshare -U true 2>&1; mount -t tmpfs t /tmp 2>&1; true")
    assert out.startswith("Seccomp:\t2\n")
    assert "Operation not permitted" in out or "not found" in out


def test_seccomp_of_other_architectures(spec: dict[str, Any], sh: Any) -> None:
    spec["linux"]["seccomp"] = {**filtered(["reboot"], "SCMP_ACT_ERRNO"), "architectures": [
        "SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"], "flags": ["SECCOMP_FILTER_FLAG_LOG"]}
    assert sh("grep ^Seccomp_filters /proc/self/status").split()[1] == "1"


def test_seccomp_notify(spec: dict[str, Any], run: Any, tmp_path: Path) -> None:
    """The engine's path gives the listener to its caller; the command sends it (config-linux.md)."""
    path = tmp_path / "notify.sock"
    spec["linux"]["seccomp"] = {**filtered(["mkdir", "mkdirat"], "SCMP_ACT_NOTIFY"), "listenerPath": str(path),
                                "listenerMetadata": "meta"}
    spec["process"]["args"] = ["mkdir", "/x"]
    (tmp_path / "config.json").write_text(json.dumps(spec))
    main = Path(__file__).resolve().parents[3] / "src" / "kist" / "runtime" / "__main__.py"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        command = [sys.executable, "-I", "-S", str(main), "--root", str(tmp_path / "st"), "run", "-b", str(tmp_path),
                   "n" + tmp_path.name[-8:]]
        child = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        connection, _address = server.accept()
        message, fds, _flags, _from = socket.recv_fds(connection, 65536, 1)
        connection.close()
    state = json.loads(message)
    assert (state["fds"], state["metadata"]) == (["seccompFd"], "meta")
    answer(fds[0], 122)
    assert child.wait(20) == 1
    assert child.stderr is not None
    assert "Disk quota exceeded" in child.stderr.read()
    child.stderr.close()


def answer(fd: int, error: int) -> None:
    """seccomp_unotify(2): one notification, answered by an errno."""
    libc = ctypes.CDLL(None, use_errno=True)
    request = array.array("Q", [0] * 10)
    assert libc.ioctl(fd, 0xC0502100, (ctypes.c_char * 80).from_buffer(request)) == 0
    response = ctypes.create_string_buffer(24)
    ctypes.memmove(response, ctypes.byref(ctypes.c_uint64(request[0])), 8)
    ctypes.memmove(ctypes.addressof(response) + 16, ctypes.byref(ctypes.c_int32(-error)), 4)
    assert libc.ioctl(fd, 0xC0182101, response) == 0
    os.close(fd)


def test_mount_label(spec: dict[str, Any], run: Any) -> None:
    """With SELinux a tmpfs carries the label; without, the kernel knows no such option and the step says so."""
    spec["linux"]["mountLabel"] = "system_u:object_r:container_file_t:s0"
    report = run(spec, "cat", "/proc/self/mountinfo")
    if Path("/sys/fs/selinux/enforce").exists():
        assert "context=system_u:object_r:container_file_t:s0" in report["stdout"]
    else:
        assert report["error"].startswith("mount tmpfs on /dev: EINVAL")
