"""`manifest create`, `annotate`, `push`, `rm`: a list that Docker's command and Kist's make alike, byte by byte."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from support import needs
from support.daemon import Daemon
from support.hub import Hub


@pytest.fixture
def images(daemon: Daemon, hub: Hub) -> list[str]:
    """Two images in repositories of their own."""
    names = [f"{hub.host}/lists/one:1", f"{hub.host}/lists/two:1"]
    box = daemon.ok("create", "busybox", "true")
    daemon.ok("tag", "busybox", names[0])
    daemon.ok("commit", "-m", "another", box, names[1])
    for name in names:
        daemon.ok("push", "-q", name)
        daemon.ok("rmi", name)
    daemon.ok("rm", box)
    return names


@needs.docker_28
def test_as_docker_s(daemon: Daemon, hub: Hub, images: list[str], tmp_path: Path) -> None:
    one, two = images
    named = f"{hub.host}/lists/whole:1"
    said: list[list[tuple[int, str, str]]] = []
    for command, home in ((daemon.docker, "docker"), (daemon.kist, "kist")):
        env = {**daemon.env, "DOCKER_CONFIG": str(tmp_path / home),
               "KIST_AUTH_FILE": str(tmp_path / home / "auth.json")}
        (tmp_path / home).mkdir()

        def run(*words: str, run=command, env=env) -> tuple[int, str, str]:  # type: ignore[no-untyped-def]
            done: subprocess.CompletedProcess[str] = run("manifest", *words, env=env)
            # Docker's client sorts the documents' fields in its own way.
            shown = json.dumps(json.loads(done.stdout), sort_keys=True) if done.stdout.startswith("[") else done.stdout
            return done.returncode, shown, done.stderr

        said.append([run(*words) for words in (
            ("create", "--insecure", named, one, two), ("create", "--insecure", named, one),
            ("create", "--amend", "--insecure", named, one), ("create", "--insecure", f"{named}x", f"{one}x"),
            ("annotate", named, two, "--os", "linux", "--arch", "arm64", "--variant", "v8", "--os-features", "a,b"),
            ("annotate", named, two, "--arch", "pdp11"), ("annotate", named, f"{one}x"), ("annotate", f"{named}x", one),
            ("inspect", named), ("inspect", named, two), ("inspect", "-v", named), ("inspect", named, f"{two}x"),
            ("push", "--insecure", f"{named}x"), ("push", "--insecure", "-p", named), ("rm", named),
            ("rm", f"{named}x", f"{named}y"), ("create", f"{named}z"), ("push",), ("create", "BAD", "X"))])
    for theirs, ours in zip(*said, strict=True):
        assert (ours[0], ours[1], ours[2].replace("kist", "docker").replace("Kist", "Docker")) == (
            theirs[0], theirs[1], theirs[2])


def test_a_pushed_list_is_pulled_by_platform(daemon: Daemon, hub: Hub, images: list[str], tmp_path: Path) -> None:
    one, two = images
    named = f"{hub.host}/lists/pulled:1"
    env = {**daemon.env, "KIST_AUTH_FILE": str(tmp_path / "auth.json")}
    daemon.ok("manifest", "create", named, one, two, env=env)
    daemon.ok("manifest", "annotate", named, two, "--arch", "arm64", env=env)
    assert list(tmp_path.glob("manifests/*.json"))
    pushed = daemon.ok("manifest", "push", "--purge", named, env=env).split("\n")
    assert [line.split("@")[0] for line in pushed[:-1]] == [f"Pushed ref {hub.host}/lists/pulled"] * 2
    assert not list(tmp_path.glob("manifests/*"))
    told = json.loads(daemon.ok("manifest", "inspect", named, env=env))
    assert [entry["platform"]["architecture"] for entry in told["manifests"]] == ["amd64", "arm64"]
    daemon.ok("pull", "-q", named)
    assert daemon.ok("image", "inspect", "-f", "{{index .RepoDigests 0}}", named).endswith(f"@{pushed[-1]}")
    assert "another" not in daemon.ok("history", "--format", "{{.Comment}}", named)
    daemon.ok("rmi", named)


def test_what_can_not_be_one_list(daemon: Daemon, hub: Hub, images: list[str], tmp_path: Path) -> None:
    env = {**daemon.env, "KIST_AUTH_FILE": str(tmp_path / "auth.json")}
    elsewhere = "127.0.0.1:1/lists/whole:1"
    daemon.ok("manifest", "create", elsewhere, images[0], env=env)
    done = daemon.kist("manifest", "push", elsewhere, env=env)
    assert done.stderr == ("Error response from daemon: cannot use source images from a different registry than the "
                           f"target image: {hub.host} != 127.0.0.1:1\n")
    nested = f"{hub.host}/lists/nested:1"
    daemon.ok("manifest", "create", nested, images[0], env=env)
    daemon.ok("manifest", "push", nested, env=env)
    done = daemon.kist("manifest", "create", f"{nested}a", nested, env=env)
    assert (done.returncode, done.stderr) == (1, f"{nested} is a manifest list\n")
    [file] = tmp_path.glob("manifests/*whole-1.json")
    file.write_text("[]")
    assert "not a list of manifests" in daemon.kist("manifest", "inspect", elsewhere, env=env).stderr
