"""Volumes and mounts, read from inside of containers: `--mount` and `-v` with every option, driver options, quotas."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import docker
import pytest

from support import needs
from support.daemon import Daemon
from system.api_http import ask


def inside(server: Daemon, *args: str, do: str = "true", by: str = "kist") -> str:
    """What a shell in a container with these options prints."""
    done = getattr(server, by)("run", "--rm", *args, "busybox", "sh", "-c", do)
    assert done.returncode == 0, (args, done.stdout, done.stderr)
    return str(done.stdout).strip()


def refused(server: Daemon, *args: str, by: str = "kist") -> str:
    """The status is 125, but 127 for what a client takes for a missing program by the words (as Docker's does)."""
    done = getattr(server, by)("run", "--rm", *args, "busybox", "true")
    assert done.returncode == (127 if "no such file or directory" in done.stderr else 125), (args, done)
    return str(done.stderr)


def inspected(server: Daemon, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(server.ok("volume", "inspect", name))[0]
    return found


# Options of mounts


@pytest.mark.parametrize("by", ["kist", needs.DOCKER_28])
def test_a_bind_takes_what_is_mounted_below_along_and_read_only_is_so_all_the_way(
        server: Daemon, tmp_path: Path, by: str) -> None:
    (tmp_path / "src" / "below").mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(tmp_path / "src" / "below")], check=True)
    try:
        (tmp_path / "src" / "below" / "mark").touch()
        src = f"type=bind,source={tmp_path}/src,target=/x"
        write = ("touch /x/a 2>/dev/null && echo top; touch /x/below/a 2>/dev/null && echo below; ls /x/below; "
                 "rm -f /x/a")
        assert inside(server, "--mount", src, do=write, by=by).split() == ["top", "below", "a", "mark"]
        assert inside(server, "--mount", f"{src},readonly", do=write, by=by).split() == ["a", "mark"]
        assert inside(server, "-v", f"{tmp_path}/src:/x:ro", do=write, by=by).split() == ["a", "mark"]
        assert inside(server, "--mount", f"{src},readonly,bind-recursive=writable", do=write, by=by).split() == [
            "below", "a", "mark"]
        assert inside(server, "--mount", f"{src},readonly,bind-recursive=readonly,bind-propagation=rprivate", do=write,
                      by=by).split() == ["a", "mark"]
        assert inside(server, "--mount", f"{src},bind-recursive=disabled", do=write, by=by).split() == [
            "top", "below", "a"]
    finally:
        subprocess.run(["umount", str(tmp_path / "src" / "below")], check=True)


def test_propagation_of_binds_both_ways(server: Daemon, tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(base)], check=True)
    subprocess.run(["mount", "--make-shared", str(base)], check=True)
    try:
        (base / "in").mkdir()
        (base / "out").mkdir()
        for word, sees, shows in (("rprivate", False, False), ("rslave", True, False), ("rshared", True, True)):
            for option in (["-v", f"{base}:/x:{word}"],
                           ["--mount", f"type=bind,source={base},target=/x,bind-propagation={word}"]):
                box = server.ok("run", "-d", "--privileged", *option, "busybox", "sleep", "1000")
                subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(base / "in")], check=True)
                try:
                    (base / "in" / "mark").touch()
                    assert (server.kist("exec", box, "test", "-e", "/x/in/mark").returncode == 0) is sees, option
                finally:
                    subprocess.run(["umount", str(base / "in")], check=True)
                server.ok("exec", box, "sh", "-c", "mount -t tmpfs t /x/out && touch /x/out/mark")
                assert (base / "out" / "mark").exists() is shows, option
                server.ok("exec", box, "umount", "/x/out")
                server.ok("rm", "-f", box)
    finally:
        subprocess.run(["umount", str(base)], check=True)


@pytest.mark.parametrize("by", ["kist", needs.DOCKER_28])
def test_a_part_of_a_volume(server: Daemon, by: str) -> None:
    inside(server, "-v", "parts:/v", do="mkdir -p /v/a/b; echo deep > /v/a/b/file; ln -s /etc /v/out; ln -s a /v/in")
    option = "type=volume,source=parts,target=/x,volume-subpath="
    assert inside(server, "--mount", option + "a/b", do="cat /x/file", by=by) == "deep"
    assert inside(server, "--mount", option + "a/b/file", do="cat /x", by=by) == "deep"
    assert inside(server, "--mount", option + "in", do="ls /x", by=by) == "b"
    said = refused(server, "--mount", option + "none", by=by)
    path = f"{inspected(server, 'parts')['Mountpoint']}/none"
    assert f"cannot access path {path}: lstat {path}: no such file or directory" in said
    # A link in the volume leads to the volume's own /etc, which isn't there.
    assert "/out: no such file or directory" in refused(server, "--mount", option + "out", by=by)
    for bad in ("../x", "/x"):
        said = refused(server, "--mount", option + bad, by=by)
        assert "subpath must be a relative path within the volume" in said


def test_files_of_another_image(server: Daemon) -> None:
    server.ok("pull", "-q", "hello-world")
    option = "type=image,source=hello-world,target=/other"
    assert "hello" in inside(server, "--mount", option, do="ls /other")
    assert inside(server, "--mount", option, do="touch /other/x 2>&1 || true").endswith("Read-only file system")
    assert inside(server, "--mount", "type=image,source=busybox,target=/b,image-subpath=bin", "--mount", option,
                  do="/b/busybox echo yes; ls /other/hello") == "yes\n/other/hello"
    assert "No such image: none" in refused(server, "--mount", "type=image,source=none,target=/x")
    box = server.ok("create", "--mount", option, "busybox", "/other/hello")
    assert "hello" in server.ok("start", "-a", box).lower()
    server.ok("rm", box)
    server.ok("rmi", "hello-world")


@pytest.mark.parametrize("by", ["kist", needs.DOCKER_28])
def test_an_image_that_is_mounted_in_a_container_is_in_use(server: Daemon, by: str) -> None:
    """In the words for a container's own image."""
    def rmi(*args: str) -> subprocess.CompletedProcess[str]:
        done: subprocess.CompletedProcess[str] = getattr(server, by)("rmi", *args)
        return done

    server.ok("pull", "-q", "hello-world")
    image = server.ok("inspect", "-f", "{{.Id}}", "hello-world").removeprefix("sha256:")
    option = "type=image,source=hello-world,target=/other"
    box = server.ok("run", "-d", "--mount", option, "busybox", "sleep", "1000")
    done = rmi("hello-world")
    assert done.returncode == 1 and (
        f'conflict: unable to remove repository reference "hello-world" (must force) - container {box[:12]} is using '
        f"its referenced image {image[:12]}") in done.stderr
    done = rmi("-f", image)
    assert done.returncode == 1 and (f"conflict: unable to delete {image[:12]} (cannot be forced) - image is being used"
                                     f" by running container {box[:12]}") in done.stderr
    server.ok("stop", "-t", "0", box)
    assert f"(must be forced) - image is being used by stopped container {box[:12]}" in rmi(image).stderr
    assert server.ok("image", "prune", "-af") == "Total reclaimed space: 0B"
    server.ok("start", box)
    assert server.ok("exec", box, "ls", "/other/hello") == "/other/hello"
    server.ok("rm", "-f", box)
    assert rmi("hello-world").returncode == 0


def test_a_place_on_the_host_is_made_when_asked_for(server: Daemon, tmp_path: Path) -> None:
    option = f"type=bind,source={tmp_path}/new/dir,target=/x"
    assert f"bind source path does not exist: {tmp_path}/new/dir" in refused(server, "--mount", option)
    for word in ("create-mountpoint=true", "bind-create-src=true"):
        inside(server, "--mount", f"{option},{word}", do="touch /x/made")
        assert (tmp_path / "new" / "dir" / "made").exists()


@pytest.mark.parametrize("by", ["kist", needs.DOCKER_28])
def test_tmpfs_and_read_only_roots(server: Daemon, by: str) -> None:
    mount = "grep ' /t ' /proc/mounts; stat -c %a /t"
    found = inside(server, "--mount", "type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=1770", do=mount, by=by)
    assert "size=1024k" in found and found.endswith("1770")
    found = inside(server, "--tmpfs", "/t:size=2m,exec,mode=700,uid=5", do=mount, by=by)
    assert "size=2048k" in found and "noexec" not in found and "uid=5" in found and found.endswith("700")
    assert "dd: " in inside(server, "--tmpfs", "/t:size=64k", do="dd if=/dev/zero of=/t/f bs=128k count=1 2>&1||true",
                            by=by)
    found = inside(server, "--read-only", "--tmpfs", "/t", "-v", "/v", by=by,
                   do="for d in / /t /v /etc /dev/shm; do touch $d/x 2>/dev/null && echo $d; done; true")
    assert found.split() == ["/t", "/v", "/dev/shm"]


@pytest.mark.parametrize("by", ["kist", needs.DOCKER_28])
def test_volumes_of_another_container(server: Daemon, tmp_path: Path, by: str) -> None:
    donor = server.ok("create", "-v", "named:/n", "-v", f"{tmp_path}:/b:ro", "-v", "/anonymous", "busybox")
    write = "for d in /n /b /anonymous; do touch $d/x 2>/dev/null && echo $d; done; true"
    assert inside(server, "--volumes-from", donor, do=write, by=by).split() == ["/n", "/anonymous"]
    assert inside(server, "--volumes-from", f"{donor}:ro", do=write, by=by) == ""
    assert inside(server, "--volumes-from", donor, "-v", "other:/n", do="ls /n", by=by) == ""


@pytest.mark.parametrize("by", ["kist", needs.DOCKER_28])
def test_anonymous_volumes_go_with_their_last_container(server: Daemon, by: str) -> None:
    """By `rm -v` and `--rm` alone; never a named one, nor one that was asked for by name."""
    run = getattr(server, by)
    nameless = server.ok("volume", "create")
    mounts = ["-v", "/a", "-v", "named:/n", "-v", f"{nameless}:/b", "--mount", "type=volume,target=/c"]

    def left() -> set[str]:
        return set(server.ok("volume", "ls", "-q").split())

    assert run("run", "--rm", *mounts, "busybox", "true").returncode == 0
    assert left() == {"named", nameless}
    assert run("create", "--name", "one", *mounts, "busybox", "true").returncode == 0
    assert run("create", "--name", "two", "--volumes-from", "one", "busybox", "true").returncode == 0
    every = left()
    assert len(every) == 4
    assert run("rm", "-v", "one").returncode == 0 and left() == every  # the other has them, too
    assert run("rm", "-v", "two").returncode == 0 and left() == {"named", nameless}
    assert run("create", "--name", "one", "-v", "/a", "busybox", "true").returncode == 0
    assert run("rm", "one").returncode == 0 and len(left()) == 3


# What real Docker 26 answers to each, word for word.
REFUSALS = [
    (["-v", "/tmp:/x:ro,rw"], "invalid mode: ro,rw"),
    (["-v", "/tmp:/x:z,Z"], "invalid mode: z,Z"),
    (["--mount", "type=volume,source=v,target=/x"],
     "create v: volume name is too short, names should be at least two alphanumeric characters"),
    (["-v", "vv :/x"], 'create vv : "vv " includes invalid characters for a local volume name, only '
                       '"[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed'),
    (["-v", "/tmp:/x", "--tmpfs", "/x"], "Duplicate mount point: /x"),
    (["--volumes-from", ""], "volumes-from specification cannot be an empty string"),
    (["-v", "/tmp:/x:rshared,slave"], "invalid mode: rshared,slave"),
    (["-v", "/tmp:/x:nocopy"], "invalid volume specification: '/tmp:/x:nocopy': invalid mount config for type "
                               '"bind": field VolumeOptions must not be specified'),
    (["-v", "vv:/x:rshared"], "invalid volume specification: 'vv:/x:rshared': invalid mount config for type "
                              '"volume": field BindOptions must not be specified'),
    (["-v", "/tmp:/"], "invalid volume specification: '/tmp:/': invalid mount config for type \"bind\": invalid "
                       "specification: destination can't be '/'"),
    (["-v", "vv:x"], "invalid volume specification: 'vv:x': invalid mount config for type \"volume\": invalid mount "
                     "path: 'x' mount path must be absolute"),
    (["-v", "vv:/x/../.."], "invalid volume specification: 'vv:/x/../..': invalid mount config for type \"volume\": "
                            "invalid specification: destination can't be '/'"),
    (["-v", "/tmp:/x:ro:rw"], "invalid spec: /tmp:/x:ro:rw: too many colons"),
    (["-v", ":/x"], "invalid spec: :/x: empty section between colons"),
    (["--mount", "type=bind,source=/tmp,target=/x,bind-propagation=foo"],
     'invalid mount config for type "bind": invalid propagation mode: foo'),
    (["--mount", "type=bind,source=/tmp,target=/x,bind-recursive=readonly"],
     "option 'bind-recursive=readonly' requires 'readonly' to be specified in conjunction"),
    (["--mount", "type=bind,source=/tmp,target=/x,ro,bind-recursive=readonly"],
     "option 'bind-recursive=readonly' requires 'bind-propagation=rprivate' to be specified in conjunction"),
    (["--mount", "type=bind,source=/tmp,target=/x,bind-recursive=writable"],
     "option 'bind-recursive=writable' requires 'readonly' to be specified in conjunction"),
    (["--mount", "type=bind,source=/tmp,target=/x,volume-nocopy"],
     "cannot mix 'volume-*' options with mount type 'bind'"),
    (["--mount", "type=bind,target=/x"], 'invalid mount config for type "bind": field Source must not be empty'),
    (["--mount", "type=bind,source=/tmp"], "target is required"),
    (["--mount", "type=bind,source=/tmp,target=x"],
     "invalid mount config for type \"bind\": invalid mount path: 'x' mount path must be absolute"),
    (["--mount", "type=volume,target=/x,volume-subpath=a"],
     'invalid mount config for type "volume": must not set Subpath when using anonymous volumes'),
    (["--mount", "type=volume,source=vo,target=/x,volume-opt=foo=tmpfs"], 'create vo: invalid option: "foo"'),
    (["--mount", "type=volume,source=v/v,target=/x"],
     'create v/v: "v/v" includes invalid characters for a local volume name, only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are '
     "allowed. If you intended to pass a host directory, use absolute path"),
    (["--mount", "type=tmpfs,target=/x,source=/x"],
     'invalid mount config for type "tmpfs": field Source must not be specified'),
    (["--mount", "type=foo,target=/x"], 'invalid mount config for type "foo": mount type unknown'),
    (["--mount", "type=bind,source=/tmp,target=/x", "-v", "vv:/x"], "Duplicate mount point: /x"),
    (["--tmpfs", "/x:foo"], 'invalid tmpfs option "foo"'),
    (["--tmpfs", "x"], "invalid mount path: 'x' mount path must be absolute"),
    (["--tmpfs", "/"], "invalid specification: destination can't be '/'"),
    (["--volumes-from", "nope"], "No such container: nope"),
    (["--volumes-from", "nope:foo"], "invalid mode: foo"),
]


# By the API, before v1.44 and since.
MOUNTS = [
    ({"Type": "bind", "Source": "/tmp", "Target": "/x", "VolumeOptions": {}},
     'VolumeOptions must not be specified on mount type "bind"'),
    ({"Type": "tmpfs", "Target": "/x", "BindOptions": {}}, 'BindOptions must not be specified on mount type "tmpfs"'),
    ({"Type": "volume", "Source": "vv", "Target": "/x", "VolumeOptions": {"DriverConfig": {"Name": "nope"}}},
     'create vv: error looking up volume plugin nope: plugin "nope" not found'),
    ({"Type": "volume"}, 'invalid mount config for type "volume": field Target must not be empty'),
    ({"Target": "/x"}, 'invalid mount config for type "": mount type unknown'),
]


@pytest.mark.parametrize(("mount", "words"), MOUNTS, ids=[words[:40] for _, words in MOUNTS])
def test_the_words_of_refusals_of_the_api(server: Daemon, mount: dict[str, Any], words: str) -> None:
    body = {"Image": "busybox", "HostConfig": {"Mounts": [mount]}}
    status, answer = ask(server, "POST", "/v1.45/containers/create", body)
    assert answer == {"message": words} and status == (404 if "plugin" in words else 400)


def test_of_a_read_only_mount_before_api_1_44_what_is_below_may_be_written(server: Daemon, tmp_path: Path) -> None:
    """As real Docker: by -v and by --mount, unless the request itself says what it wants."""
    (tmp_path / "src" / "below").mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(tmp_path / "src" / "below")], check=True)
    try:
        write = "touch /x/a 2>/dev/null && echo top; touch /x/below/a 2>/dev/null && echo below; rm -f /x/below/a"
        entry = {"Type": "bind", "Source": f"{tmp_path}/src", "Target": "/x", "ReadOnly": True}
        for version, found in (("1.43", "below"), ("1.44", "")):
            for host in ({"Binds": [f"{tmp_path}/src:/x:ro"]}, {"Mounts": [entry]},
                         {"Mounts": [{**entry, "BindOptions": {"NonRecursive": True}}]}):
                body = {"Image": "busybox", "Cmd": ["sh", "-c", write], "HostConfig": host}
                status, made = ask(server, "POST", f"/v{version}/containers/create", body)
                assert status == 201, made
                assert server.ok("start", "-a", made["Id"]) == ("" if "NonRecursive" in str(host) else found)
                shown = ask(server, "GET", f"/v{version}/containers/{made['Id']}/json")[1]
                asked = (shown["HostConfig"].get("Mounts") or [{}])[0].get("BindOptions") or {}
                assert not asked.get("ReadOnlyNonRecursive")
                assert shown["Mounts"][0]["Mode"] == ("ro" if "Binds" in host else "")
    finally:
        server.clean()
        subprocess.run(["umount", str(tmp_path / "src" / "below")], check=True)
    part = {"Type": "volume", "Source": "vv", "Target": "/x", "VolumeOptions": {"Subpath": "a"}}
    status, answer = ask(server, "POST", "/v1.44/containers/create", {"Image": "busybox", "HostConfig": {
        "Mounts": [part]}})
    assert (status, answer["message"]) == (400, "VolumeOptions.Subpath needs API v1.45 or newer")


@pytest.mark.parametrize("by", ["kist", needs.DOCKER_28])
def test_the_words_of_refusals(server: Daemon, by: str) -> None:
    for args, words in REFUSALS:
        done = getattr(server, by)("run", "--rm", *args, "busybox", "true")
        assert done.returncode == 125, (args, done)
        assert words in done.stderr, args


# Options of the driver


def test_a_volume_with_a_bound(server: Daemon) -> None:
    server.ok("volume", "create", "-o", "size=8m", "small")
    fill = "dd if=/dev/zero of=/v/big bs=1M count=64 2>&1; rm /v/big; echo kept > /v/kept; df -m /v | tail -1"
    found = inside(server, "-v", "small:/v", do=fill)
    assert "No space left on device" in found
    assert 7 <= int(found.splitlines()[-1].split()[1]) <= 9
    assert not any("/volumes/small/_data" in line and str(server.data) in line for line in _mounts())
    assert inside(server, "-v", "small:/v", do="ls -A /v; cat /v/kept") == "kept\nkept"
    seen = inspected(server, "small")
    assert seen["Options"] == {"size": "8m"} and seen["Status"]["Quota"] == 8 << 20
    assert 0 < seen["Status"]["OnDisk"] < 8 << 20  # it takes what it holds
    assert server.kist("volume", "create", "-o", "size=1k", "less").stderr.strip().endswith("a quota is at least 4m")
    assert "create xx: invalid size: 'abc'" in server.docker("volume", "create", "-o", "size=abc", "xx").stderr


def test_two_containers_share_a_bounded_volume_and_a_copy_up_fills_it(server: Daemon) -> None:
    client = docker.DockerClient(base_url=server.env["DOCKER_HOST"])
    try:
        client.volumes.create("shared", driver_opts={"size": "16m"})
        one = client.containers.run("busybox", "sleep 1000", volumes=["shared:/bin"], detach=True)
        two = client.containers.run("busybox", "sleep 1000", volumes=["shared:/v"], detach=True)
        assert one.exec_run("sh -c 'echo hi > /bin/new'").exit_code == 0
        assert server.ok("exec", two.id, "cat", "/v/new") == "hi"
        assert two.exec_run("test -x /v/busybox").exit_code == 0
        one.remove(force=True)
        assert server.ok("exec", two.id, "cat", "/v/new") == "hi"
        two.remove(force=True)
    finally:
        client.close()


def test_bind_and_tmpfs_by_the_drivers_options(server: Daemon, tmp_path: Path) -> None:
    (tmp_path / "there").write_text("yes\n")
    server.ok("volume", "create", "-o", "type=none", "-o", "o=bind,ro", "-o", f"device={tmp_path}", "bound")
    assert inside(server, "-v", "bound:/v", do="cat /v/there; touch /v/x 2>&1 || true").splitlines() == [
        "yes", "touch: /v/x: Read-only file system"]
    server.ok("volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "o=size=1m,uid=7", "ram")
    box = server.ok("run", "-d", "-v", "ram:/v", "busybox", "sleep", "1000")
    server.ok("exec", box, "touch", "/v/mark")
    assert inside(server, "-v", "ram:/w", do="ls /w; stat -c %u /w; grep ' /w ' /proc/mounts").split()[:2] == [
        "mark", "7"]
    assert any("/volumes/ram/_data" in line for line in _mounts())
    server.ok("rm", "-f", box)
    assert not any("/volumes/ram/_data" in line for line in _mounts())
    server.ok("volume", "rm", "bound")
    assert (tmp_path / "there").read_text() == "yes\n"


# Real Docker 26's answers.
DRIVER_REFUSALS = [
    (["foo=1"], 'create vv: invalid option: "foo"'),
    (["type=tmpfs"], 'create vv: missing required option: "device"'),
    (["device=tmpfs"], 'create vv: missing required option: "type"'),
    (["o=bind"], 'create vv: missing required option: "device"'),
]
MOUNT_REFUSALS = [
    (["type=none", "o=bind", "device=/nope"],
     "failed to mount local volume: mount /nope:{path}, flags: 0x1000: no such file or directory"),
    (["type=tmpfs", "device=tmpfs", "o=size=1m,foo"],
     "failed to mount local volume: mount tmpfs:{path}, data: size=1m,foo: invalid argument"),
    (["type=ext4", "device=/dev/nope"],
     "failed to mount local volume: mount /dev/nope:{path}: no such file or directory"),
]


# The kernel of the machine may have NFS and SMB or not: the words up to mount(2)'s own answer are the same.
NETWORK_REFUSALS = [
    (["type=nfs", "device=:/x", "o=addr=nope.invalid,nfsvers=4,rw"],
     "error resolving passed in network volume address: lookup nope.invalid: "),
    (["type=nfs", "device=:/x", "o=nfsvers=nonsense,addr=localhost"],
     "failed to mount local volume: mount :/x:{path}, data: nfsvers=nonsense,addr=127.0.0.1: "),
    (["type=cifs", "device=//nope.invalid/x", "o=username=u,password=hush"],
     "error resolving passed in network volume address: lookup nope.invalid: "),
    (["type=cifs", "device=//localhost/x", "o=username=u,password=hush,nonsense"],
     "failed to mount local volume: mount //127.0.0.1/x:{path}, data: username=u,password=********,nonsense: "),
    (["type=cifs", "device=//some/x", "o=addr=localhost,pass=hush,password2=hush,nonsense"],
     "mount //some/x:{path}, data: addr=127.0.0.1,pass=********,password2=********,nonsense: "),
]


def test_servers_are_looked_up_and_passwords_stay_secret(server: Daemon) -> None:
    """`volume inspect` shows the options as they were given, as Docker does; messages and the log have no password."""
    for options, words in NETWORK_REFUSALS:
        server.ok("volume", "create", *[part for option in options for part in ("-o", option)], "vv")
        path = inspected(server, "vv")["Mountpoint"]
        server.ok("create", "--name", "box", "-v", "vv:/x", "busybox", "true")
        done = server.kist("start", "box")
        assert done.returncode == 1, options
        assert f"error while mounting volume '{path}': " in done.stderr and words.format(path=path) in done.stderr
        state = server.ok("inspect", "-f", "{{.State.Error}}", "box")
        said = done.stderr + state + server.ok("logs", "box") + server.log.read_text()
        assert words.format(path=path) in state and "hush" not in said
        server.ok("rm", "box")
        server.ok("volume", "rm", "vv")
    server.ok("volume", "create", "-o", "type=", "-o", "device=", "-o", "o=", "vv")
    assert inside(server, "-v", "vv:/x", do="touch /x/a; ls /x") == "a"


def test_the_words_of_the_drivers_refusals(server: Daemon) -> None:
    for options, words in DRIVER_REFUSALS:
        done = server.docker("volume", "create", *[part for option in options for part in ("-o", option)], "vv")
        assert done.returncode == 1 and words in done.stderr, (options, done)
    for options, words in MOUNT_REFUSALS:
        server.ok("volume", "create", *[part for option in options for part in ("-o", option)], "vv")
        path = inspected(server, "vv")["Mountpoint"]
        said = refused(server, "-v", "vv:/x", by="docker")
        assert f"error while mounting volume '{path}': " + words.format(path=path) in said
        server.ok("volume", "rm", "vv")


def _mounts() -> list[str]:
    return Path("/proc/self/mountinfo").read_text().splitlines()
