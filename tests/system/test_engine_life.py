"""Containers' life by the real docker command: ends, policies, namespaces, volumes, files, events; kills between."""

from __future__ import annotations

import json
import subprocess
import tarfile
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from support import needs
from support.daemon import Daemon, docker_command
from support.waiting import until
from system.by_docker import ok, refused


def inspect(daemon: Daemon, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(ok(daemon, "container", "inspect", name))[0]
    return found


# Ends


def test_a_failed_start_is_recorded_and_leaves_nothing(daemon: Daemon) -> None:
    ok(daemon, "create", "--name", "broken", "busybox", "/no/such")
    assert "no such file or directory" in refused(daemon, "start", "broken")
    state = inspect(daemon, "broken")["State"]
    assert (state["Status"], state["ExitCode"], state["Pid"]) == ("created", 127, 0)
    assert "no such file or directory" in state["Error"]
    assert inspect(daemon, "broken")["NetworkSettings"]["IPAddress"] == ""
    ok(daemon, "rm", "broken")


def test_rm_is_honoured_when_the_start_fails(daemon: Daemon) -> None:
    assert "not found in $PATH" in refused(daemon, "run", "--rm", "--name", "gone", "busybox", "nonesuch")
    until(lambda: not ok(daemon, "ps", "-aq"))


def test_wait_gives_the_status_also_afterwards_and_at_removal(daemon: Daemon) -> None:
    ok(daemon, "run", "-d", "--name", "waiter", "busybox", "sh", "-c", "sleep 0.3; exit 6")
    assert ok(daemon, "wait", "waiter") == "6"
    assert ok(daemon, "wait", "waiter") == "6"


def test_start_attached_gives_input_output_and_status(daemon: Daemon) -> None:
    ok(daemon, "create", "-i", "--name", "talker", "busybox", "sh", "-c", "cat; exit 4")
    done = daemon.docker("start", "-ai", "talker", input="a\nb\n")
    assert (done.stdout, done.returncode) == ("a\nb\n", 4)


def test_restart_runs_it_again_with_the_same_files(daemon: Daemon) -> None:
    program = "echo x >> /runs; trap 'exit 0' TERM; sleep 1000 & wait"
    ok(daemon, "run", "-d", "--name", "again", "busybox", "sh", "-c", program)
    until(lambda: ok(daemon, "exec", "again", "cat", "/runs"))
    before = inspect(daemon, "again")["State"]["StartedAt"]
    ok(daemon, "restart", "-t", "5", "again")
    until(lambda: ok(daemon, "exec", "again", "cat", "/runs") == "x\nx")
    assert inspect(daemon, "again")["State"]["StartedAt"] > before


def test_a_paused_container_is_stopped_and_removed(daemon: Daemon) -> None:
    ok(daemon, "run", "-d", "--name", "frozen", "busybox", "sleep", "1000")
    ok(daemon, "pause", "frozen")
    assert "already paused" in refused(daemon, "pause", "frozen")
    assert "is paused" in refused(daemon, "exec", "frozen", "true")
    ok(daemon, "stop", "-t", "1", "frozen")
    assert inspect(daemon, "frozen")["State"]["Status"] == "exited"
    ok(daemon, "start", "frozen")
    ok(daemon, "pause", "frozen")
    ok(daemon, "rm", "-f", "frozen")


# Restart policies


def test_on_failure_tries_as_often_as_told(daemon: Daemon) -> None:
    ok(daemon, "run", "-d", "--name", "trying", "--restart", "on-failure:2", "busybox", "sh", "-c", "exit 9")
    until(lambda: inspect(daemon, "trying")["State"]["Status"] == "exited")
    found = inspect(daemon, "trying")
    assert (found["RestartCount"], found["State"]["ExitCode"]) == (2, 9)


def test_a_stop_ends_the_restarting(daemon: Daemon) -> None:
    ok(daemon, "run", "-d", "--name", "looping", "--restart", "always", "busybox", "false")
    until(lambda: inspect(daemon, "looping")["RestartCount"] >= 2)
    ok(daemon, "stop", "looping")
    count = inspect(daemon, "looping")["RestartCount"]
    time.sleep(1)
    found = inspect(daemon, "looping")
    assert (found["RestartCount"], found["State"]["Status"]) == (count, "exited")


def test_policies_hold_over_the_servers_death(make_daemon: Callable[..., Daemon]) -> None:
    box = make_daemon()
    for policy in ("always", "unless-stopped", "no"):
        ok(box, "run", "-d", "--name", policy, "--restart", policy, "busybox", "sleep", "1000")
        ok(box, "run", "-d", "--name", f"{policy}-stopped", "--restart", policy, "busybox", "sleep", "1000")
        ok(box, "kill", f"{policy}-stopped")
    pids = {policy: inspect(box, policy)["State"]["Pid"] for policy in ("always", "unless-stopped", "no")}
    box.restart()
    for policy, pid in pids.items():
        assert inspect(box, policy)["State"]["Pid"] == pid
    until(lambda: inspect(box, "always-stopped")["State"]["Running"])
    assert not inspect(box, "unless-stopped-stopped")["State"]["Running"]
    assert not inspect(box, "no-stopped")["State"]["Running"]


# Health


def test_health_goes_with_the_probe(daemon: Daemon) -> None:
    ok(daemon, "run", "-d", "--name", "ill", "--health-cmd", "cat /well", "--health-interval", "100ms",
       "--health-retries", "2", "busybox", "sleep", "1000")
    until(lambda: inspect(daemon, "ill")["State"]["Health"]["Status"] == "unhealthy")
    assert "can't open" in inspect(daemon, "ill")["State"]["Health"]["Log"][-1]["Output"]
    ok(daemon, "exec", "ill", "touch", "/well")
    until(lambda: inspect(daemon, "ill")["State"]["Health"]["Status"] == "healthy")
    assert "(healthy)" in ok(daemon, "ps", "--filter", "health=healthy", "--format", "{{.Status}}")


def test_a_probe_that_hangs_is_killed(daemon: Daemon) -> None:
    ok(daemon, "run", "-d", "--name", "hung", "--health-cmd", "sleep 1000", "--health-interval", "100ms",
       "--health-timeout", "200ms", "--health-retries", "1", "busybox", "sleep", "2000")
    until(lambda: inspect(daemon, "hung")["State"]["Health"]["Status"] == "unhealthy")
    assert "exceeded timeout" in inspect(daemon, "hung")["State"]["Health"]["Log"][-1]["Output"]
    ok(daemon, "update", "--restart", "no", "hung")
    until(lambda: "sleep 1000" not in ok(daemon, "top", "hung"))


# Namespaces


def test_containers_share_what_they_are_told_to(daemon: Daemon) -> None:
    ok(daemon, "run", "-d", "--name", "host1", "--hostname", "inner", "--ipc", "shareable", "busybox", "sleep", "1000")
    first = inspect(daemon, "host1")
    inside = ok(daemon, "run", "--rm", "--network", "container:host1", "busybox", "sh", "-c", "hostname; ip -4 addr")
    assert inside.startswith("inner\n")
    assert first["NetworkSettings"]["IPAddress"] in inside
    assert "sleep 1000" in ok(daemon, "run", "--rm", "--pid", "container:host1", "busybox", "ps")
    ok(daemon, "exec", "host1", "sh", "-c", "echo shared > /dev/shm/note")
    assert ok(daemon, "run", "--rm", "--ipc", "container:host1", "busybox", "cat", "/dev/shm/note") == "shared"
    ok(daemon, "stop", "-t", "0", "host1")
    for kind in ("ipc", "pid"):
        said = refused(daemon, "run", "--rm", f"--{kind}", "container:host1", "busybox", "true")
        assert f"failed to join {kind.upper()} namespace: container {first['Id']} is not running" in said


def test_a_private_ipc_namespace_can_not_be_joined(daemon: Daemon) -> None:
    ok(daemon, "run", "-d", "--name", "alone", "busybox", "sleep", "1000")
    assert "non-shareable IPC" in refused(daemon, "run", "--rm", "--ipc", "container:alone", "busybox", "true")


# Volumes


def test_a_new_volume_gets_what_the_image_has_there(daemon: Daemon) -> None:
    ok(daemon, "create", "--name", "maker", "busybox", "true")
    ok(daemon, "commit", "-c", "VOLUME /bin", "maker", "volumed")
    try:
        ok(daemon, "run", "--name", "filled", "volumed", "sh", "-c", "echo mine > /bin/mine")
        mount = inspect(daemon, "filled")["Mounts"][0]
        assert (mount["Type"], mount["Destination"]) == ("volume", "/bin")
        names = {path.name for path in Path(mount["Source"]).iterdir()}
        assert {"busybox", "mine"} <= names
        assert ok(daemon, "run", "--rm", "--volumes-from", "filled:ro", "busybox", "cat", "/bin/mine") == "mine"
        assert "volume is in use" in refused(daemon, "volume", "rm", mount["Name"])
        ok(daemon, "rm", "-v", "filled")
        assert mount["Name"] not in ok(daemon, "volume", "ls", "-q")
    finally:
        daemon.docker("rm", "-f", "filled")
        daemon.docker("rmi", "-f", "volumed")


def test_named_volumes_outlive_containers(daemon: Daemon) -> None:
    ok(daemon, "run", "--rm", "-v", "kept:/data", "busybox", "sh", "-c", "echo v > /data/x")
    assert ok(daemon, "run", "--rm", "-v", "kept:/data:ro", "busybox", "cat", "/data/x") == "v"
    assert "Read-only" in refused(daemon, "run", "--rm", "-v", "kept:/data:ro", "busybox", "touch", "/data/y")
    ok(daemon, "volume", "rm", "kept")


def test_a_missing_bind_source_is_made_or_refused(daemon: Daemon, tmp_path: Path) -> None:
    there, not_there = tmp_path / "made", tmp_path / "unmade"
    ok(daemon, "run", "--rm", "-v", f"{there}:/x", "busybox", "touch", "/x/y")
    assert (there / "y").exists()
    said = refused(daemon, "run", "--rm", "--mount", f"type=bind,src={not_there},dst=/x", "busybox", "true")
    assert "bind source path does not exist" in said
    assert not not_there.exists()


# Files


@needs.docker_28
def test_cp_goes_both_ways_running_and_not(daemon: Daemon, tmp_path: Path) -> None:
    source = tmp_path / "tree"
    (source / "deep").mkdir(parents=True)
    (source / "deep" / "file").write_bytes(bytes(range(256)))
    (source / "link").symlink_to("deep/file")
    ok(daemon, "create", "--name", "box", "busybox", "sleep", "1000")
    ok(daemon, "cp", str(source), "box:/in")
    ok(daemon, "start", "box")
    ok(daemon, "cp", f"{source}/.", "box:/tmp")
    ok(daemon, "cp", "box:/tmp/deep", str(tmp_path / "out"))
    assert (tmp_path / "out" / "file").read_bytes() == bytes(range(256))
    ok(daemon, "stop", "-t", "0", "box")
    ok(daemon, "cp", "-L", "box:/in/link", str(tmp_path / "one"))
    assert (tmp_path / "one").read_bytes() == bytes(range(256))
    assert "Could not find the file" in refused(daemon, "cp", "box:/none", str(tmp_path))
    assert "Could not find the file" in refused(daemon, "cp", str(source), "box:/no/where")


def test_cp_does_not_follow_links_out(daemon: Daemon, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("outside")
    ok(daemon, "run", "--name", "sly", "busybox", "sh", "-c", f"ln -s {secret} /leak; ln -s {tmp_path} /dir")
    assert daemon.docker("cp", "-L", "sly:/leak", str(tmp_path / "got")).returncode != 0
    (tmp_path / "new").write_text("new")
    daemon.docker("cp", str(tmp_path / "new"), "sly:/dir/planted")
    assert not (tmp_path / "planted").exists()


def test_export_diff_and_commit_agree(daemon: Daemon) -> None:
    ok(daemon, "run", "--name", "changed", "busybox", "sh", "-c", "echo hi > /new; rm /bin/vi; mkdir -p /a/b")
    changes = ok(daemon, "diff", "changed").splitlines()
    assert changes == ["A /a", "A /a/b", "C /bin", "D /bin/vi", "A /new"]
    done = subprocess.run([docker_command(), "export", "changed"], env=daemon.env, capture_output=True, check=True,
                          timeout=60)
    names = {member.name.rstrip("/") for member in tarfile.open(fileobj=BytesIO(done.stdout))}
    assert {"new", "a/b", "bin/sh"} <= names
    assert "bin/vi" not in names
    ok(daemon, "commit", "-m", "said", "-a", "me", "-c", "CMD [\"cat\", \"/new\"]", "changed", "made:one")
    try:
        assert ok(daemon, "run", "--rm", "made:one") == "hi"
        assert refused(daemon, "run", "--rm", "made:one", "ls", "/bin/vi")
        assert "said" in ok(daemon, "history", "made:one")
    finally:
        ok(daemon, "rmi", "made:one")


def test_images_survive_save_and_load(daemon: Daemon, tmp_path: Path) -> None:
    ok(daemon, "tag", "busybox", "copy:one")
    ok(daemon, "save", "-o", str(tmp_path / "copy.tar"), "copy:one")
    ok(daemon, "rmi", "copy:one")
    assert "Loaded image: copy:one" in ok(daemon, "load", "-i", str(tmp_path / "copy.tar"))
    assert ok(daemon, "run", "--rm", "copy:one", "echo", "loaded") == "loaded"
    ok(daemon, "rmi", "copy:one")


# Logs, stats, events, update, prune


def test_logs_by_tail_time_and_following(daemon: Daemon) -> None:
    program = "for i in 1 2 3 4 5; do echo out $i; echo err $i >&2; done"
    ok(daemon, "run", "--name", "wordy", "busybox", "sh", "-c", program)
    assert ok(daemon, "logs", "wordy") == "\n".join(f"out {n}" for n in range(1, 6))
    tail = daemon.docker("logs", "--tail", "3", "wordy")
    assert len(tail.stdout.splitlines() + tail.stderr.splitlines()) == 3
    stamped = ok(daemon, "logs", "-t", "wordy").splitlines()[0]
    assert stamped.endswith("Z out 1")
    assert ok(daemon, "logs", "--until", "2001-01-01T00:00:00Z", "wordy") == ""
    ok(daemon, "run", "-d", "--name", "talking", "busybox", "sh", "-c", "echo one; sleep 0.5; echo two")
    assert ok(daemon, "logs", "-f", "talking") == "one\ntwo"


@needs.docker_28
def test_stats_count(daemon: Daemon) -> None:
    ok(daemon, "run", "-d", "--name", "busy", "-m", "64m", "busybox", "sh", "-c", "while :; do :; done")
    found = json.loads(ok(daemon, "stats", "--no-stream", "--format", "json", "busy"))
    assert float(found["CPUPerc"].rstrip("%")) > 1
    assert found["MemUsage"].endswith("64MiB")
    assert found["PIDs"] == "1"
    ok(daemon, "rm", "-f", "busy")


@needs.docker_28
def test_an_init_forwards_signals_and_reaps(daemon: Daemon) -> None:
    """By Docker's command; without an init `sleep` would be process 1, which SIGTERM does nothing to."""
    daemon.docker("run", "-d", "--init", "--name", "box", "--read-only", "-u", "1000", "busybox", "sleep", "1000")
    assert daemon.ok("exec", "box", "sh", "-c", "tr '\\0' ' ' </proc/1/cmdline") == "/sbin/docker-init -- sleep 1000"
    daemon.ok("exec", "box", "sh", "-c", "for i in $(seq 9); do sh -c 'true &'; done")
    zombies = "ps -o stat,args | grep ^Z | wc -l"
    until(lambda: daemon.ok("exec", "box", "sh", "-c", zombies) == "0")
    assert daemon.docker("stop", "-t", "60", "box").stdout == "box\n"
    assert daemon.ok("inspect", "-f", "{{.State.ExitCode}} {{.HostConfig.Init}}", "box") == "143 true"
    done = daemon.docker("run", "--rm", "--init", "busybox", "no-such-program")
    assert (done.returncode, done.stderr) == (127, "docker-init: exec no-such-program: No such file or directory\n")
    assert daemon.docker("run", "--rm", "--init", "busybox", "sh", "-c", "exit 42").returncode == 42


@needs.docker_28
def test_update_reaches_the_running_container(daemon: Daemon) -> None:
    ok(daemon, "run", "-d", "--name", "growing", "-m", "32m", "busybox", "sleep", "1000")
    ok(daemon, "update", "-m", "48m", "--memory-swap", "96m", "growing")
    found = json.loads(ok(daemon, "stats", "--no-stream", "--format", "json", "growing"))
    assert found["MemUsage"].endswith("48MiB")
    assert inspect(daemon, "growing")["HostConfig"]["Memory"] == 48 << 20
    ok(daemon, "restart", "-t", "0", "growing")
    assert json.loads(ok(daemon, "stats", "--no-stream", "--format", "json", "growing"))["MemUsage"].endswith("48MiB")


def test_events_tell_the_story_in_order(daemon: Daemon) -> None:
    ok(daemon, "run", "--rm", "--name", "story", "--label", "mark=story", "busybox", "true")
    until(lambda: not ok(daemon, "ps", "-aq"))
    told = ok(daemon, "events", "--since", "1m", "--until", str(int(time.time()) + 1), "--filter",
              "label=mark=story", "--filter", "type=container", "--format", "{{.Action}}").splitlines()
    assert told == ["create", "attach", "start", "die", "destroy"]


def test_prune_removes_what_does_not_run(daemon: Daemon) -> None:
    ok(daemon, "run", "-d", "--name", "up", "busybox", "sleep", "1000")
    ok(daemon, "create", "--name", "down", "--label", "x=1", "busybox", "true")
    ok(daemon, "create", "--name", "spared", "busybox", "true")
    ok(daemon, "container", "prune", "-f", "--filter", "label=x")
    assert sorted(ok(daemon, "ps", "-a", "--format", "{{.Names}}").split()) == ["spared", "up"]


# Kills


@pytest.mark.parametrize("delay", [0.0, 0.004, 0.008, 0.015, 0.03, 0.06])
def test_a_server_killed_while_it_creates_and_removes_leaves_nothing_half_made(
        make_daemon: Callable[..., Daemon], delay: float) -> None:
    box = make_daemon()
    ok(box, "pull", "-q", "busybox")
    clients = [subprocess.Popen([docker_command(), "run", "--rm", "--name", f"run{n}", "busybox", "true"], env=box.env,
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for n in range(4)]
    time.sleep(0.02 + delay)
    box.kill()
    for client in clients:
        client.wait(30)
    box.start()
    until(lambda: not ok(box, "ps", "-q"))
    for name in ok(box, "ps", "-aq").split():
        ok(box, "rm", "-f", name)
    until(lambda: not list((box.data / "containers").iterdir()))
    until(lambda: not [path for path in (box.data / "snapshots").iterdir() if path.name != ".empty"])
    assert not list((box.run / "containers").iterdir())
    assert ok(box, "run", "--rm", "--name", "run0", "busybox", "echo", "fine") == "fine"
