"""Whole volumes out and in, snapshots, and a server that is killed in the midst of each."""

from __future__ import annotations

import hashlib
import io
import os
import socket
import subprocess
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from support.daemon import KIST, Daemon
from support.waiting import until

MAKE = """cd /v; echo one > one; chmod 4751 one; chown 5:6 one; ln one same; ln -s /etc/passwd link; mkfifo pipe
mkdir -p deep/er; chmod 1770 deep; echo x > deep/.wh.name; touch -d '2020-02-02 02:02:02' deep/er
dd if=/dev/zero of=holes bs=1 count=0 seek=32M 2>/dev/null; echo end >> holes"""


def data(server: Daemon, name: str) -> Path:
    return Path(server.ok("volume", "inspect", "-f", "{{.Mountpoint}}", name))


def in_volume(server: Daemon, name: str, do: str) -> str:
    return server.ok("run", "--rm", "-v", f"{name}:/v", "busybox", "sh", "-c", do)


def listing(server: Daemon, name: str) -> str:
    return in_volume(server, name, "cd /v; find . -type d | sort | xargs stat -c '%n %A %u %g'; "
                                   "find . ! -type d | sort | xargs stat -c '%n %A %u %g %h %s'; cat one; ls -l link; "
                                   "stat -c %Y deep/er; tail -c 4 holes")


def piped(server: Daemon, *args: str, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([str(KIST), *args], input=data, capture_output=True, env=server.env, check=False, timeout=60)


def archive(*entries: tuple[str, bytes | None], **more: str) -> bytes:
    """name → content (None: a folder); `more`: name → target of a link."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in entries:
            info = tarfile.TarInfo(name)
            info.type = tarfile.REGTYPE if content is not None else tarfile.DIRTYPE
            info.size = len(content or b"")
            tar.addfile(info, io.BytesIO(content or b""))
        for name, target in more.items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            tar.addfile(info)
    return out.getvalue()


@pytest.mark.parametrize("bound", [False, True])
def test_out_and_in_again_is_the_same(server: Daemon, tmp_path: Path, bound: bool) -> None:
    option = ["-o", "size=64m"] if bound else []
    server.ok("volume", "create", *option, "from")
    in_volume(server, "from", MAKE)
    if not bound:
        os.setxattr(data(server, "from") / "one", "user.note", b"kept")
    server.ok("volume", "export", "-o", str(tmp_path / "out.tar"), "from")
    by_pipe = piped(server, "volume", "export", "from").stdout
    assert len(by_pipe) < 1 << 20  # the 32 MB of holes are no data
    assert hashlib.sha256(by_pipe).digest() == hashlib.sha256((tmp_path / "out.tar").read_bytes()).digest()
    assert server.ok("volume", "import", "to", str(tmp_path / "out.tar")) == "to"
    server.ok("volume", "create", *option, "piped")
    assert piped(server, "volume", "import", "piped", data=by_pipe).returncode == 0
    subprocess.run(["gzip", "-k", str(tmp_path / "out.tar")], check=True)
    server.ok("volume", "import", "packed", str(tmp_path / "out.tar.gz"))
    wanted = listing(server, "from")
    assert "./deep/.wh.name" in wanted
    for name in ("to", "piped", "packed"):
        assert listing(server, name) == wanted, name
    if not bound:
        assert os.getxattr(data(server, "to") / "one", "user.note") == b"kept"
    assert (data(server, "to") / "holes").stat().st_blocks * 512 < 1 << 20


def test_what_gnu_tar_calls_sparse(server: Daemon, tmp_path: Path) -> None:
    """Out: a plain `tar -x` makes the same files. In: `tar -S` in its default form; through cp as well."""
    in_volume(server, "vol", MAKE)
    server.ok("volume", "export", "-o", str(tmp_path / "out.tar"), "vol")
    (tmp_path / "to").mkdir()
    subprocess.run(["tar", "-xf", tmp_path / "out.tar", "-C", tmp_path / "to"], check=True)
    wanted = (data(server, "vol") / "holes").read_bytes()
    assert (tmp_path / "to" / "holes").read_bytes() == wanted and wanted.endswith(b"end\n")
    again = subprocess.run(["tar", "-cS", "-C", tmp_path / "to", "."], capture_output=True, check=True).stdout
    assert len(again) < 1 << 20
    assert piped(server, "volume", "import", "again", data=again).returncode == 0
    server.ok("create", "--name", "box", "-v", "cp:/v", "busybox")
    assert piped(server, "cp", "-", "box:/v", data=again).returncode == 0
    for name in ("again", "cp"):
        holes = data(server, name) / "holes"
        assert holes.read_bytes() == wanted and holes.stat().st_blocks * 512 < 1 << 20, name


def test_an_import_lies_over_what_is_there(server: Daemon) -> None:
    in_volume(server, "vol", "echo old > /v/kept; echo old > /v/changed; mkdir /v/dir; ln -s /etc /v/link")
    given = archive(("changed", b"new\n"), ("dir/added", b"new\n"), ("link/passwd", b"inside\n"))
    assert piped(server, "volume", "import", "vol", data=given).returncode == 0
    assert in_volume(server, "vol", "cd /v; cat kept changed dir/added etc/passwd") == "old\nnew\nnew\ninside"


@pytest.mark.parametrize("entries", [
    [("../../out", b"x")], [("/../out", b"x")], [("a" * 300, b"x")], [("deep/" * 1500 + "x", b"x")],
])
def test_a_hostile_archive_changes_nothing(server: Daemon, entries: list[tuple[str, bytes]]) -> None:
    in_volume(server, "vol", "echo old > /v/kept")
    done = piped(server, "volume", "import", "vol", data=archive(("kept", b"new\n"), *entries))
    assert done.returncode == 1 and done.stderr and b"the layer" not in done.stderr, done
    assert in_volume(server, "vol", "ls /v; cat /v/kept") == "kept\nold"
    assert piped(server, "volume", "import", "fresh", data=archive(*entries)).returncode == 1
    assert server.ok("volume", "ls", "-q") == "vol"
    assert piped(server, "volume", "import", "vol", data=b"no tar at all" * 100).returncode == 1
    assert piped(server, "volume", "import", "vol", data=archive(("big", bytes(99999)))[:40000]).returncode == 1
    assert in_volume(server, "vol", "ls /v; cat /v/kept") == "kept\nold"


def test_a_volume_that_lies_elsewhere_is_written_where_it_is(server: Daemon, tmp_path: Path) -> None:
    """An import can't be taken back there, and says so; a restore isn't begun."""
    server.ok("volume", "create", "-o", "type=none", "-o", "o=bind", "-o", f"device={tmp_path}", "there")
    in_volume(server, "there", "echo old > /v/kept; echo old > /v/changed")
    given = archive(("changed", b"new\n"), ("dir/added", b"new\n"))
    assert piped(server, "volume", "import", "there", data=given).returncode == 0
    assert in_volume(server, "there", "cd /v; cat kept changed dir/added") == "old\nnew\nnew"
    done = piped(server, "volume", "import", "there", data=archive(("changed", b"newer\n"), ("../up", b"x")))
    assert done.returncode == 1 and (b"(volume there lies elsewhere, type=none: what was unpacked until then stays in "
                                     b"it)") in done.stderr
    assert (tmp_path / "changed").read_text() == "newer\n" and not (tmp_path.parent / "up").exists()
    server.ok("volume", "snapshot", "there", "snap")
    done = piped(server, "volume", "restore", "there", "snap")
    assert done.returncode == 1 and (
        b"volume there is mounted from elsewhere: import an export of snap into it") in done.stderr
    assert not any(str(server.data) in line for line in Path("/proc/self/mountinfo").read_text().splitlines())


def test_links_of_an_archive_stay_inside(server: Daemon, tmp_path: Path) -> None:
    given = archive(up="../../../../../../etc", root="/etc")
    assert piped(server, "volume", "import", "vol", data=given).returncode == 0
    over = archive(("up/one", b"1\n"), ("root/two", b"2\n"))
    assert piped(server, "volume", "import", "vol", data=over).returncode == 0
    assert in_volume(server, "vol", "cat /v/etc/one /v/etc/two") == "1\n2"
    assert not os.path.exists("/etc/one") and not os.path.exists("/etc/two")


@pytest.mark.parametrize("bound", [False, True])
def test_a_snapshot_and_the_way_back(server: Daemon, bound: bool) -> None:
    server.ok("volume", "create", "--label", "a=b", *(["-o", "size=64m"] if bound else []), "vol")
    in_volume(server, "vol", MAKE)
    wanted = listing(server, "vol")
    assert server.ok("volume", "snapshot", "-q", "vol", "before") == "before"
    named = server.ok("volume", "snapshot", "-q", "vol")
    assert named.startswith("vol-")
    assert server.ok("volume", "inspect", "-f", "{{json .Labels}}", "before") == (
        '{"a":"b","kist.volume.snapshot-of":"vol"}')
    in_volume(server, "vol", "rm -rf /v/*; echo later > /v/later")
    assert listing(server, "before") == wanted
    assert server.ok("volume", "restore", "-q", "vol", "before") == "vol"
    assert listing(server, "vol") == wanted == listing(server, "before")
    assert (data(server, "vol") / "later").exists() is False
    done = server.kist("volume", "snapshot", "vol", "before")
    assert done.returncode == 1 and "volume before already exists" in done.stderr


def test_a_snapshot_of_what_is_written_right_now_is_of_one_moment(server: Daemon) -> None:
    """Two files that always change one after the other: never more than one step apart, in either order."""
    write = "i=0; while true; do i=$((i+1)); echo $i > /v/a; echo $i > /v/b; done"
    box = server.ok("run", "-d", "-v", "vol:/v", "busybox", "sh", "-c", write)
    for number in range(5):
        server.ok("volume", "snapshot", "-q", "vol", f"snap{number}")
        found = in_volume(server, f"snap{number}", "cat /v/a; echo; cat /v/b").split()
        a, b = (int(word) for word in found) if len(found) == 2 else (0, 0)
        assert len(found) < 2 or a - b in (0, 1)
    assert server.ok("inspect", "-f", "{{.State.Status}}", box) == "running"
    first = server.ok("exec", box, "cat", "/v/a")
    assert any(server.ok("exec", box, "cat", "/v/a") != first for _ in range(50))
    done = server.kist("volume", "restore", "vol", "snap0")
    assert done.returncode == 1 and "it is in use by running containers" in done.stderr
    done = server.kist("volume", "import", "vol", "-", input="")
    assert done.returncode == 1 and "it is in use by running containers" in done.stderr
    server.ok("rm", "-f", box)
    server.ok("volume", "restore", "-q", "vol", "snap0")


def test_words_when_files_must_be_copied(server: Daemon) -> None:
    """The tests' file system may share blocks or not: what the server says must be what it did."""
    in_volume(server, "vol", "echo x > /v/x")
    done = server.kist("volume", "snapshot", "vol", "snap")
    assert done.returncode == 0 and done.stdout == "snap\n"
    probe = server.folder / "probe"
    probe.write_text("x")
    shares = subprocess.run(["cp", "--reflink=always", str(probe), f"{probe}2"], capture_output=True,
                            check=False).returncode == 0
    assert ("Copied 1 file:" in done.stderr) is not shares


# Killed in the midst


def test_killed_in_an_import(make_daemon: Callable[..., Daemon]) -> None:
    server = make_daemon()
    server.ok("pull", "-q", "busybox")
    in_volume(server, "vol", "echo old > /v/kept")
    given = archive(("kept", b"new\n"), ("big", bytes(1 << 20)))
    staged = server.data / "volumes.new"
    for name in ("vol", "fresh"):
        with socket.socket(socket.AF_UNIX) as sock:  # half of an archive, then nothing
            sock.connect(str(server.socket))
            sock.sendall(f"POST /kist/volumes/{name}/import HTTP/1.1\r\nHost: x\r\nContent-Length: {len(given)}\r\n\r\n"
                         .encode() + given[:500_000])
            until(lambda: any((stage / "_data" / "big").exists() for stage in staged.iterdir()))
            server.restart()
        assert os.listdir(staged) == [] and server.ok("volume", "ls", "-q") == "vol"
    assert in_volume(server, "vol", "ls /v; cat /v/kept") == "kept\nold"
    server.clean_volumes()


def test_killed_in_a_snapshot_with_the_users_paused(make_daemon: Callable[..., Daemon]) -> None:
    server = make_daemon()
    server.ok("pull", "-q", "busybox")
    in_volume(server, "vol", "mkdir /v/d; for i in $(seq 3000); do echo $i > /v/d/$i; done")
    box = server.ok("run", "-d", "-v", "vol:/v", "busybox", "sh", "-c",
                    "while true; do date +%s > /v/now; usleep 10000; done")
    taking = threading.Thread(target=server.kist, args=("volume", "snapshot", "vol", "snap"))
    taking.start()
    staged = server.data / "volumes.new"
    until(lambda: any((stage / "_data" / "d").exists() for stage in staged.iterdir()))
    server.restart()
    taking.join()
    assert server.ok("inspect", "-f", "{{.State.Status}}", box) == "running"
    assert os.listdir(staged) == [] and server.ok("volume", "ls", "-q") == "vol"
    now = data(server, "vol") / "now"
    before = now.stat().st_mtime_ns
    until(lambda: now.stat().st_mtime_ns != before)
    server.ok("volume", "snapshot", "-q", "vol", "snap")
    server.ok("rm", "-f", box)
    server.clean_volumes()


def test_killed_with_volumes_mounted_and_half_removed(make_daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    """What a server that dies at the worst moment leaves, made by hand where the moment can't be hit."""
    server = make_daemon()
    server.ok("pull", "-q", "busybox")
    server.ok("volume", "create", "-o", "size=16m", "bounded")
    server.ok("volume", "create", "-o", "type=none", "-o", "o=bind", "-o", f"device={tmp_path}", "bound")
    box = server.ok("run", "-d", "-v", "bounded:/a", "-v", "bound:/b", "busybox", "sh", "-c",
                    "while true; do date +%s%N > /a/now; touch /b/seen; usleep 10000; done")
    server.kill()
    server.start()  # the container runs on, on the same mounts
    assert server.ok("exec", box, "sh", "-c", "grep -c ' /[ab] ' /proc/mounts") == "2"
    other = server.ok("run", "--rm", "-v", "bounded:/x", "busybox", "ls", "/x")
    assert other == "now"
    program = int(server.ok("inspect", "-f", "{{.State.Pid}}", box))
    server.kill()
    os.kill(program, 9)
    until((server.data / "containers" / box / "exit.json").exists)
    server.start()  # it has ended meanwhile: nobody needs the mounts any more
    assert not [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(server.data) in line]
    server.ok("rm", "-f", box)

    (server.data / "volumes" / "fresh" / "_data").mkdir(parents=True)  # create: no record yet
    lost = server.data / "volumes" / "lost" / "_data"
    lost.mkdir(parents=True)
    (lost / "precious").write_text("x")  # published, no record yet
    half = data(server, "bound").parents[1] / "half"
    server.ok("volume", "create", "half")
    (half / "_data" / "part").write_text("x")
    (half / "filling").touch()  # a copy-up
    server.restart()
    assert server.ok("volume", "ls", "-q").split() == ["bound", "bounded", "half", "lost"]
    assert os.listdir(half / "_data") == [] and not (half / "filling").exists()
    assert in_volume(server, "lost", "ls /v") == "precious"
    server.clean_volumes()
    assert (tmp_path / "seen").exists()

