"""Events, prune and df: the words that Docker 26 (the server) and 28 (the command) have for them."""

from __future__ import annotations

import io
import json
import os
import signal
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support import needs
from support.daemon import Daemon
from system.api_http import ask


def events(daemon: Daemon, since: float, *filters: str) -> list[dict[str, Any]]:
    words = [word for one in filters for word in ("--filter", one)]
    said = daemon.ok("events", "--since", str(since), "--until", str(time.time()), "--format", "{{json .}}", *words)
    return [json.loads(line) for line in said.splitlines()]


def told(daemon: Daemon, since: float, kind: str) -> list[tuple[str, str, dict[str, str]]]:
    return [(event["Action"], event["Actor"]["ID"], event["Actor"]["Attributes"])
            for event in events(daemon, since, f"type={kind}")]


def test_an_images_events_have_its_labels_and_its_id(daemon: Daemon, tmp_path: Path) -> None:
    daemon.ok("create", "--name", "box", "--label", "team=blue", "busybox")
    since = time.time()
    image = daemon.ok("commit", "box", "made:1")
    daemon.ok("tag", "made:1", "made:2")
    daemon.ok("save", "-o", str(tmp_path / "made.tar"), "made:1")
    daemon.ok("rmi", "made:1", "made:2")
    daemon.ok("load", "-q", "-i", str(tmp_path / "made.tar"))
    daemon.ok("rmi", "made:1")
    blue, itself = {"team": "blue"}, {"team": "blue", "name": image}
    assert told(daemon, since, "image") == [
        ("tag", image, {**blue, "name": "made:1"}), ("tag", image, {**blue, "name": "made:2"}),
        ("save", image, itself), ("untag", image, itself), ("untag", image, itself), ("delete", image, {"name": image}),
        ("load", image, itself), ("untag", image, itself), ("delete", image, {"name": image})]


def test_an_import_is_a_tag_and_an_import(daemon: Daemon, tmp_path: Path) -> None:
    content = io.BytesIO()
    tarfile.open(fileobj=content, mode="w").close()
    (tmp_path / "empty.tar").write_bytes(content.getvalue())
    since = time.time()
    image = daemon.ok("import", str(tmp_path / "empty.tar"), "imported:1")
    daemon.ok("rmi", "imported:1")
    assert told(daemon, since, "image") == [
        ("tag", image, {"name": "imported:1"}), ("import", image, {"name": image}),
        ("untag", image, {"name": image}), ("delete", image, {"name": image})]


def test_a_copy_is_told_without_its_path(daemon: Daemon, tmp_path: Path) -> None:
    daemon.ok("create", "--name", "box", "busybox")
    (tmp_path / "file").write_text("x")
    since = time.time()
    daemon.ok("cp", str(tmp_path / "file"), "box:/tmp/")
    daemon.ok("cp", "box:/tmp/file", str(tmp_path / "back"))
    assert [(action, attributes) for action, _, attributes in told(daemon, since, "container")] == [
        ("extract-to-dir", {"image": "busybox", "name": "box"}), ("archive-path", {"image": "busybox", "name": "box"})]


def test_each_prune_is_an_event(daemon: Daemon) -> None:
    since = time.time()
    for kind in ("container", "network", "volume", "image"):
        daemon.ok(kind, "prune", "-f", "--filter", "label=nosuch")
    assert [(event["Type"], event["Action"], event["Actor"]) for event in events(daemon, since, "event=prune")] == [
        (kind, "prune", {"ID": "", "Attributes": {"reclaimed": "0"}})
        for kind in ("container", "network", "volume", "image")]


@pytest.mark.parametrize("command", [needs.DOCKER_28, "kist"])
@pytest.mark.parametrize(("words", "warning"), [
    (["system", "prune"], "WARNING! This will remove:\n  - all stopped containers\n"
     "  - all networks not used by at least one container\n  - all dangling images\n  - unused build cache\n\n"),
    (["system", "prune", "-a", "--volumes", "--filter", "label=x"],
     "WARNING! This will remove:\n  - all stopped containers\n"
     "  - all networks not used by at least one container\n"
     "  - all anonymous volumes not used by at least one container\n"
     "  - all images without at least one container associated to them\n  - all build cache\n\n"
     "  Items to be pruned will be filtered with:\n  - label=x\n\n"),
    (["container", "prune"], "WARNING! This will remove all stopped containers.\n"),
    (["volume", "prune", "-a"], "WARNING! This will remove all local volumes not used by at least one container.\n"),
])
def test_prune_asks_and_a_no_is_no_failure(daemon: Daemon, command: str, words: list[str], warning: str) -> None:
    daemon.ok("create", "--name", "box", "busybox")
    done = (daemon.docker if command == "docker" else daemon.kist)(*words, input="n\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == warning + "Are you sure you want to continue? [y/N] "
    assert daemon.ok("ps", "-aq")


def test_disk_usage_by_type_has_the_others_empty(daemon: Daemon) -> None:
    status, found = ask(daemon, "GET", "/v1.51/system/df?type=volume")
    assert status == 200
    assert {name: found[name] for name in ("LayersSize", "Images", "Containers", "BuildCache")} == {
        "LayersSize": 0, "Images": None, "Containers": None, "BuildCache": None}
    assert ask(daemon, "GET", "/system/df?type=foo") == (400, {"message": "unknown object type: foo"})


def test_replay_goes_on_where_another_server_was(make_daemon: Callable[[], Daemon]) -> None:
    """Also what happened while there was none is told, at its own time and in its place."""
    daemon = make_daemon()
    since = time.time()
    id = daemon.ok("run", "-d", "--name", "box", "busybox", "sh", "-c",
                   "trap 'exit 7' TERM; while :; do sleep 0.05; done")
    recorded = daemon.data / "containers" / id / "exit.json"
    pid = int(daemon.ok("inspect", "-f", "{{.State.Pid}}", "box"))
    before = events(daemon, since)
    daemon.kill()
    ended = time.time()
    os.kill(pid, signal.SIGTERM)
    give_up = time.monotonic() + 20
    while not recorded.exists() and time.monotonic() < give_up:
        time.sleep(0.02)
    restarted = time.time()
    daemon.start()
    after = events(daemon, since)
    assert after[:len(before)] == before
    die = next(event for event in after if event["Action"] == "die")
    assert die["Actor"]["Attributes"]["exitCode"] == "7"
    assert ended <= die["timeNano"] / 1e9 <= restarted
    daemon.ok("rm", "box")
    assert [event["Action"] for event in events(daemon, ended, "container=box")] == ["die", "destroy"]
    assert [event["timeNano"] for event in events(daemon, since)] == sorted(
        event["timeNano"] for event in events(daemon, since))
