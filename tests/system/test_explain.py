"""`kist explain`: held against the kernel's own words, not against ours."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from support.daemon import Daemon


def explained(daemon: Daemon, name: str) -> dict[str, Any]:
    found = json.loads(daemon.ok("explain", "--json", name))
    assert len(found) == 1
    return dict(found[0])


def steps(told: dict[str, Any]) -> list[str]:
    return [step["step"] for step in told["plan"]["steps"]]


def test_a_running_container(daemon: Daemon) -> None:
    daemon.ok("run", "-d", "--name", "web", "-m", "64m", "--pids-limit", "77", "--cap-add", "NET_ADMIN", "-v", "/data",
              "--storage-opt", "size=16m", "--network-rate", "1mbit", "busybox", "sleep", "1000")
    pid = daemon.ok("inspect", "-f", "{{.State.Pid}}", "web")
    told = explained(daemon, "web")
    now = told["now"]
    assert (told["kind"], told["state"], str(now["pid"])) == ("container", "running", pid)
    # each namespace's inode, as the kernel's links have it
    for entry in now["namespaces"]:
        kind = {"mount": "mnt", "network": "net"}.get(entry["type"], entry["type"])
        assert os.readlink(f"/proc/{pid}/ns/{kind}") == f"{kind}:[{entry['inode']}]"
        assert entry["own"] == (os.readlink(f"/proc/{pid}/ns/{kind}") != os.readlink(f"/proc/self/ns/{kind}"))
    # each control group file: that file
    files = {Path(entry["file"]).name: entry for entry in now["cgroup"]}
    limit = files.get("memory.max") or files["memory.limit_in_bytes"]
    assert limit["limit"] == str(64 << 20) == Path(limit["file"]).read_text().strip()
    assert int(limit["use"]) > 0
    assert (files["pids.max"]["limit"], files["pids.max"]["use"]) == ("77", "1")
    assert pid in Path(files["pids.max"]["file"]).with_name("cgroup.procs").read_text().split()
    # each mount, the capabilities, the filter
    kernels = [line.split()[4] for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines()]
    assert [mount["on"] for mount in now["mounts"]] == kernels
    assert "/data" in kernels
    status = dict(line.split(":\t") for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    assert len(now["capabilities"]["CapEff"]) == int(status["CapEff"], 16).bit_count() == 15
    assert "CAP_NET_ADMIN" in now["capabilities"]["CapEff"]
    assert now["seccomp"] == {"mode": status["Seccomp"], "filters": status["Seccomp_filters"]}
    assert told["plan"]["seccomp"]["counts"]["SCMP_ACT_ALLOW"] > 300
    order = [steps(told).index(step) for step in (
        "make the process", "join the network namespace", "limit the network to 125000 bytes/s egress, "
        "125000 bytes/s ingress", f"mount the writable layer of {16 << 20} bytes", "mount overlay on the root",
        "mount proc on /proc", "pivot_root into the container's root", "load the seccomp filter", "execute sleep 1000")]
    assert order == sorted(order)
    assert all(step["syscall"] and step["why"] for step in told["plan"]["steps"])
    text = daemon.ok("explain", "web")
    for words in (f"process {pid} of this machine", "clone3(2) CLONE_NEWNS CLONE_NEWPID CLONE_NEWIPC CLONE_NEWUTS",
                  "64MiB", "now 1", "net_admin", "/data", str(now["namespaces"][0]["inode"])):
        assert words in text
    assert max(map(len, text.splitlines())) < 200


def test_a_container_that_does_not_run(daemon: Daemon) -> None:
    daemon.ok("create", "--name", "idle", "--cpus", "0.5", "-u", "7:8", "--read-only", "busybox", "true")
    told = explained(daemon, "idle")
    assert (told["state"], told["now"]) == ("created", None)
    assert told["plan"]["limits"]["cpu.quota"] == 50000
    assert "become user 7:8" in steps(told)
    daemon.ok("start", "-a", "idle")
    again = explained(daemon, "idle")
    assert (again["state"], again["now"], steps(again)) == ("exited", None, steps(told))
    assert "will be asked for" in daemon.ok("explain", "idle")
    daemon.ok("run", "-d", "--name", "free", "--privileged", "--network", "host", "busybox", "sleep", "1000")
    told = explained(daemon, "free")
    assert told["plan"]["seccomp"]["default"] == "none"
    assert "join the network namespace" not in steps(told)
    assert {entry["type"] for entry in told["now"]["namespaces"] if not entry["own"]} >= {"network", "user"}
    daemon.ok("run", "-d", "--name", "guest", "--pid", "container:free", "busybox", "sleep", "1000")
    assert "join the pid namespace" in steps(explained(daemon, "guest"))


def test_an_image(daemon: Daemon) -> None:
    """What a run of it would do; nothing is made for it."""
    daemon.ok("run", "--name", "made", "busybox", "true")
    image = f"explained-{daemon.tag}"
    daemon.ok("commit", "-c", "ENTRYPOINT [\"/bin/sh\", \"-c\"]", "-c", "CMD echo hi", "-c", "VOLUME /data", "-c",
              "ENV A=1", "-c", "EXPOSE 80", "-c", "USER 5", "made", image)
    before = sorted(os.listdir(daemon.data / "snapshots")), daemon.ok("volume", "ls", "-q"), daemon.ok("ps", "-aq")
    told = explained(daemon, image)
    assert (told["kind"], told["now"]) == ("image", None)
    assert told["config"]["entrypoint"] == ["/bin/sh", "-c"]
    assert "A=1" in told["config"]["env"]
    assert list(told["config"]["volumes"]) == ["/data"]
    inspected = json.loads(daemon.ok("inspect", image))[0]
    assert [layer["diff_id"] for layer in told["layers"]] == inspected["RootFS"]["Layers"]
    assert told["id"] == inspected["Id"]
    assert "become user 5:0" in steps(told)
    assert any(step.startswith("bind ") and step.endswith(" on /data") for step in steps(told))
    text = daemon.ok("explain", image)
    for words in ("entrypoint /bin/sh -c", "ports      80/tcp", "What the kernel will be asked for"):
        assert words in text
    assert before == (sorted(os.listdir(daemon.data / "snapshots")), daemon.ok("volume", "ls", "-q"),
                      daemon.ok("ps", "-aq"))
    daemon.ok("rm", "made")
    daemon.ok("rmi", image)


def test_several_and_unknown_ones(daemon: Daemon) -> None:
    daemon.ok("create", "--name", "one", "busybox", "true")
    done = daemon.kist("explain", "one", "nothing-like-it", "busybox", "--json")
    assert done.returncode == 1
    assert [row["kind"] for row in json.loads(done.stdout)] == ["container", "image"]
    assert "No such container or image: nothing-like-it" in done.stderr
