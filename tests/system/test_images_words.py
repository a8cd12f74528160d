"""Images by Docker's command, by docker-py and by Kist's: the same words and statuses as Docker's."""

from __future__ import annotations

import io
import json
import re
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import docker
import pytest

from support import needs
from support.daemon import Daemon
from support.hub import Hub

Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(params=[pytest.param("docker", marks=needs.docker_28), "kist"])
def command(request: pytest.FixtureRequest, daemon: Daemon) -> Command:
    found: Command = getattr(daemon, request.param)
    return found


def said(done: subprocess.CompletedProcess[str]) -> tuple[int, str]:
    return done.returncode, re.sub(r"[0-9a-f]{64}", "ID", done.stdout + done.stderr)


@pytest.fixture
def name(daemon: Daemon, hub: Hub, command: Command) -> str:
    """busybox in the Hub under a name of the test's own, and not in the cache by it."""
    found = f"{hub.host}/words/{abs(hash(command)) % 10**8}"
    daemon.ok("tag", "busybox", f"{found}:1")
    daemon.ok("push", f"{found}:1")
    daemon.ok("rmi", f"{found}:1")
    return found


def test_pull_says_what_docker_says(command: Command, daemon: Daemon, hub: Hub, name: str) -> None:
    path = name.partition("/")[2]
    status, text = said(command("pull", f"{name}:1"))
    assert (status, text) == (0, f"1: Pulling from {path}\nDigest: sha256:ID\n"
                              f"Status: Downloaded newer image for {name}:1\n{name}:1\n")
    assert said(command("pull", f"{name}:1"))[1].splitlines()[2] == f"Status: Image is up to date for {name}:1"
    status, text = said(command("pull", f"{name}:none"))
    assert status == 1
    assert text.startswith(f"Error response from daemon: manifest for {name}:none not found: manifest unknown")
    status, text = said(command("pull", "--platform", "linux/s390x", f"{name}:1"))
    assert status == 1
    assert "does not match the specified platform" in text or "no matching manifest" in text
    daemon.ok("rmi", f"{name}:1")


def test_another_platform_is_no_missing_image(daemon: Daemon) -> None:
    """It is in Kist's library, but to build it there would be no help."""
    done = daemon.kist("pull", "-q", "--platform", "linux/s390x", "busybox")
    assert done.returncode == 1
    assert done.stderr == ("image with reference busybox:latest was found but its platform (linux/amd64) does not "
                           "match the specified platform (linux/s390x)\n")


def test_every_tag_of_a_repository_comes_and_goes(command: Command, daemon: Daemon, name: str) -> None:
    daemon.ok("tag", "busybox", f"{name}:2")
    daemon.ok("tag", "busybox", f"{name}:3")
    status, text = said(command("push", "--all-tags", name))
    assert status == 0
    assert [line.partition(":")[0] for line in text.splitlines() if "digest: " in line] == ["2", "3"]
    daemon.ok("rmi", f"{name}:2", f"{name}:3")
    status, text = said(command("pull", "-a", name))
    assert status == 0
    assert [line.partition(":")[0] for line in text.splitlines() if "Pulling from" in line] == ["1", "2", "3"]
    assert command("images", "--format", "{{.Tag}}", name).stdout.split() == ["1", "2", "3"]
    assert command("rmi", f"{name}:1", f"{name}:2", f"{name}:3").returncode == 0


def test_by_digest(command: Command, daemon: Daemon, name: str) -> None:
    digest = daemon.ok("manifest", "inspect", "-v", f"{name}:1")
    by_digest = f"{name}@{json.loads(digest)['Descriptor']['digest']}"
    status, text = said(command("pull", by_digest))
    assert (status, text.splitlines()[0]) == (0, f"{name}@sha256:ID: Pulling from {name.partition('/')[2]}")
    shown = command("images", "--digests", "--format", "{{.Repository}}@{{.Digest}} {{.Tag}}", name)
    assert shown.stdout.split() == [by_digest, "<none>"]
    ids = {command("inspect", "-f", "{{.Id}}", one).stdout for one in (by_digest, "busybox")}
    assert len(ids) == 1
    assert said(command("rmi", by_digest)) == (0, f"Untagged: {name}@sha256:ID\n")


def test_removing_follows_docker_s_rules(command: Command, daemon: Daemon) -> None:
    base = make(daemon, "rules", b"rules")
    daemon.ok("tag", "rules:1", "rules:2")
    id = base.removeprefix("sha256:")[:12]
    assert said(command("rmi", id)) == (1, f"Error response from daemon: conflict: unable to delete {id} "
                                        "(must be forced) - image is referenced in multiple repositories\n")
    assert said(command("rmi", "rules:2")) == (0, "Untagged: rules:2\n")
    container = daemon.ok("create", "rules:1", "/x")[:12]
    assert said(command("rmi", "rules:1")) == (
        1, 'Error response from daemon: conflict: unable to remove repository reference "rules:1" (must force) - '
        f"container {container} is using its referenced image {id}\n")
    assert said(command("rmi", id)) == (1, f"Error response from daemon: conflict: unable to delete {id} "
                                        f"(must be forced) - image is being used by stopped container {container}\n")
    daemon.ok("rm", container)
    status, text = said(command("rmi", "rules:1"))
    assert (status, text) == (0, "Untagged: rules:1\nDeleted: sha256:ID\nDeleted: sha256:ID\n")
    assert said(command("rmi", "rules:1")) == (1, "Error response from daemon: No such image: rules:1\n")


def test_a_running_container_s_image_loses_its_name_only(command: Command, daemon: Daemon) -> None:
    daemon.ok("tag", "busybox", "held:1")
    container = daemon.ok("run", "-d", "busybox", "sleep", "1000")[:12]
    id = daemon.ok("inspect", "-f", "{{.Id}}", "busybox")[7:19]
    assert said(command("rmi", "held:1")) == (0, "Untagged: held:1\n")
    status, text = said(command("rmi", "-f", id))
    assert (status, text) == (1, f"Error response from daemon: conflict: unable to delete {id} (cannot be forced) - "
                              f"image is being used by running container {container}\n")


def test_a_container_shows_a_name_only_while_it_is_its_image_s(command: Command, daemon: Daemon) -> None:
    old = make(daemon, "shown", b"old").removeprefix("sha256:")[:12]
    box = daemon.ok("create", "shown:1", "/x")

    def image() -> str:
        return command("ps", "-a", "--filter", f"id={box}", "--format", "{{.Image}}").stdout.strip()

    assert image() == "shown:1"
    make(daemon, "shown", b"new")
    assert image() == old
    daemon.ok("rmi", "shown:1")
    assert image() == old
    daemon.ok("tag", old, "shown:1")
    assert image() == "shown:1"
    daemon.ok("rmi", "-f", old)
    assert image() == old
    daemon.ok("rm", box)


def test_dangling(command: Command, daemon: Daemon) -> None:
    old, new = make(daemon, "dang", b"old"), make(daemon, "dang", b"new")
    listed = command("images", "-q", "--no-trunc", "--filter", "dangling=true").stdout.split()
    assert old in listed and new not in listed
    status, text = said(command("image", "prune", "-f"))
    assert status == 0
    assert text.startswith("Deleted Images:\ndeleted: sha256:ID\n")
    assert "Total reclaimed space: " in text
    assert command("inspect", old).returncode == 1
    daemon.ok("rmi", "dang:1")
    assert said(command("images", "--filter", "dangling=maybe")) == (
        1, "Error response from daemon: invalid filter 'dangling=[maybe]'\n")


def test_history_and_commit(command: Command, daemon: Daemon) -> None:
    box = daemon.ok("create", "busybox", "sh", "-c", "echo hello > /file")
    daemon.ok("start", "-a", box)
    assert command("commit", "-m", "note", "-a", "me", "-c", 'CMD ["cat", "/file"]', box, "made:1").returncode == 0
    rows = command("history", "--format", "{{.CreatedBy}}|{{.Size}}|{{.Comment}}", "made:1").stdout.splitlines()
    assert rows[0] == "sh -c 'echo hello > /file'|6B|note" or rows[0] == "sh -c echo hello > /file|6B|note"
    assert not rows[1].split("|")[1].startswith("6B")
    assert daemon.ok("run", "--rm", "made:1") == "hello"
    unchanged = daemon.ok("create", "busybox", "true")
    daemon.ok("start", "-a", unchanged)  # what its start has made for its own mounts is no change
    assert command("commit", unchanged, "same:1").returncode == 0
    layers = [json.loads(daemon.ok("inspect", one))[0]["RootFS"]["Layers"] for one in ("busybox", "made:1", "same:1")]
    assert (layers[2], layers[1][:-1]) == (layers[0], layers[0])
    daemon.clean()
    daemon.ok("rmi", "made:1", "same:1")


def test_search_and_login(command: Command, daemon: Daemon, hub: Hub) -> None:
    for term in ("busybox", f"{hub.host}/busybox"):
        rows = command("search", "--format", "{{.Name}} {{.IsOfficial}}", term).stdout.split()
        assert rows[0].removeprefix("library/") == "busybox"
    assert said(command("search", "--limit", "1000", "x"))[0] == 1
    assert command("login", "-u", "somebody", "--password-stdin", hub.host, input="secret").returncode == 0


def test_the_tree_of_layers(daemon: Daemon) -> None:
    shown = daemon.ok("image", "tree", "busybox").splitlines()
    assert shown[0] == f"Image ID: {daemon.ok('inspect', '-f', '{{.Id}}', 'busybox')[7:19]}"
    assert shown[1] == "Tags:     busybox:latest"
    assert shown[4].startswith("└── ")


def test_docker_py(daemon: Daemon, hub: Hub) -> None:
    client = docker.DockerClient(base_url=f"unix://{daemon.socket}")
    try:
        image = client.images.get("busybox")
        name = f"{hub.host}/words/py"
        assert image.tag(name, "1")
        last = list(client.api.push(name, "1", stream=True, decode=True))[-1]
        assert last["aux"]["Tag"] == "1"
        assert client.images.get_registry_data(f"{name}:1").id == last["aux"]["Digest"]
        assert client.images.get_registry_data(f"{name}:1").has_platform("linux/amd64")
        client.images.remove(f"{name}:1")
        assert client.images.pull(name, "1").id == image.id
        archive = b"".join(image.save(named=True))
        client.images.remove(f"{name}:1")
        assert [one.id for one in client.images.load(archive)] == [image.id]
        assert {row["name"] for row in client.images.search("busybox")} >= {"busybox"}
        assert client.login("somebody", "secret", registry=hub.host)["Status"] == "Login Succeeded"
        assert image.history()[0]["Id"] == image.id
    finally:
        client.close()


def make(daemon: Daemon, name: str, content: bytes) -> str:
    """An image of one file; its id."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        entry = tarfile.TarInfo("x")
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
    path = Path(daemon.folder) / "made.tar"
    path.write_bytes(out.getvalue())
    return daemon.ok("import", str(path), f"{name}:1")


def test_refusals_say_what_docker_says(command: Command, hub: Hub, name: str, tmp_path: Path) -> None:
    assert said(command("manifest", "inspect", "--insecure", f"{name}:none")) == (1, f"no such manifest: {name}:none\n")
    status, text = said(command("pull", "-a", f"{hub.host}/never/seen"))
    assert status == 1
    assert text.startswith(f"Error response from daemon: repository {hub.host}/never/seen not found: ")
    with tarfile.open(tmp_path / "root.tar", "w"):
        pass
    assert said(command("import", "-c", "RUN x", str(tmp_path / "root.tar"))) == (
        1, "Error response from daemon: RUN is not a valid change command\n")


@pytest.mark.parametrize(("words", "before"), [
    (("tag", "BAD", "x"), 'Error parsing reference: "BAD" is not a valid repository/tag: '),
    (("tag", "busybox", "BAD"), 'Error parsing reference: "BAD" is not a valid repository/tag: '),
    (("pull", "BAD"), ""), (("push", "BAD"), ""), (("import", "-", "BAD"), ""),
    (("rmi", "BAD"), "Error response from daemon: "), (("save", "BAD"), "Error response from daemon: "),
    (("history", "BAD"), "Error response from daemon: "), (("image", "inspect", "BAD"), "Error response from daemon: "),
])
def test_a_name_that_is_none(command: Command, words: tuple[str, ...], before: str) -> None:
    """Some commands of Docker's parse the name themselves, others leave it to the daemon."""
    status, text = said(command(*words))
    wanted = f"{before}invalid reference format: repository name (library/BAD) must be lowercase\n"
    assert (status, text.removeprefix("[]\n")) == (1, wanted)


def test_more_refusals(command: Command, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "root.tar", "w"):
        pass
    root = str(tmp_path / "root.tar")
    for words, wanted in (
            (("pull", "scratch"), "'scratch' is a reserved name"),
            (("import", "--platform", "windows/amd64", root), "operating system is not supported"),
            (("search", "--filter", "is-official=maybe", "x"), "invalid filter 'is-official=[maybe]'")):
        status, text = said(command(*words))
        assert (status, text.splitlines()[-1]) == (1, f"Error response from daemon: {wanted}")


def test_a_digest_is_no_tag(command: Command) -> None:
    """Whoever finds it out."""
    status, text = said(command("tag", "busybox", "x@sha256:" + "0" * 64))
    assert (status, text.removeprefix("Error response from daemon: ")) == (
        1, "refusing to create a tag with a digest reference\n")


def test_a_repository_is_saved_with_all_of_its_tags(command: Command, daemon: Daemon, tmp_path: Path) -> None:
    first = make(daemon, "many", b"first")
    daemon.ok("tag", "many:1", "many:2")
    daemon.ok("tag", "many:1", "manyother:1")
    make(daemon, "many", b"second")  # many:1
    assert command("save", "-o", str(tmp_path / "many.tar"), "many", "many:2").returncode == 0
    with tarfile.open(tmp_path / "many.tar") as tar:
        listed = json.load(tar.extractfile("manifest.json") or io.BytesIO())
    assert sorted(row["RepoTags"] for row in listed) == [["many:1"], ["many:2"]]
    daemon.ok("rmi", "many:1", "many:2", "manyother:1")
    assert daemon.ok("load", "-i", str(tmp_path / "many.tar")).splitlines() == [
        "Loaded image: many:1", "Loaded image: many:2"]
    assert daemon.ok("inspect", "-f", "{{.Id}}", "many:2") == first
    daemon.ok("rmi", "many:1", "many:2")


def test_an_image_of_another_machine_is_warned_of(command: Command, daemon: Daemon, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "root.tar", "w"):
        pass
    daemon.ok("import", "--platform", "linux/s390x", str(tmp_path / "root.tar"), "foreign:1")
    made = command("create", "foreign:1", "/x")
    assert made.returncode == 0
    assert made.stderr.startswith("WARNING: The requested image's platform (linux/s390x) does not match the detected "
                                  "host platform (linux/")
    assert made.stderr.endswith(") and no specific platform was requested\n")
    asked = command("create", "--platform", "linux/s390x", "foreign:1", "/x")
    assert (asked.returncode, asked.stderr) == (0, "")
    daemon.clean()
    daemon.ok("rmi", "foreign:1")


def test_a_time_that_is_none(command: Command) -> None:
    assert said(command("image", "prune", "-f", "--filter", "until=xx")) == (
        1, 'Error response from daemon: failed to parse value as time or duration: "xx"\n')


def test_an_import_keeps_its_message(command: Command, daemon: Daemon, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "root.tar", "w"):
        pass
    image = command("import", "-m", "by hand", str(tmp_path / "root.tar")).stdout.strip()
    assert command("image", "inspect", "-f", "{{.Comment}}", image).stdout == "by hand\n"
    assert command("history", "--format", "{{.Comment}}", image).stdout == "by hand\n"
    daemon.ok("rmi", image)
