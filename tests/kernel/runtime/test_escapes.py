"""One test per known class of container escape. Each shows the effect of the guard from inside; the class and the guard
are named in the docstring. `test_without_its_guard_the_attack_succeeds` carries out every one of them again, on a copy
of the runtime that lacks the guard, where it has to fail."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kist.linux.capabilities import NAMES as CAPABILITIES


def test_overwrite_of_the_interpreter(tmp_path: Path, source: Path) -> None:
    """CVE-2019-5736: /proc/self/exe of the runtime, opened for writing once it runs something else.
    Guard: `linux.sealed` (a read-only clone of the mount)."""
    victim = tmp_path / "sleep"
    victim.write_bytes(Path("/bin/busybox").read_bytes())
    victim.chmod(0o755)
    code = (f"import sys, os; sys.path.insert(0, {str(source)!r})\n"
            "from kist.linux.sealed import open_executable\n"
            f"fd = open_executable({str(victim)!r})\n"
            "os.execve(f'/proc/self/fd/{fd}', ['sleep', '30'], {})")
    child = subprocess.Popen([sys.executable, "-I", "-S", "-c", code])
    try:
        while not Path(f"/proc/{child.pid}/comm").read_text().startswith(("sleep", "3", "4", "5", "exe")):
            os.sched_yield()
        while "python" in os.readlink(f"/proc/{child.pid}/exe"):
            os.sched_yield()
        handle = os.open(f"/proc/{child.pid}/exe", os.O_PATH)
    finally:
        child.kill()
        child.wait()
    with pytest.raises(OSError, match="Read-only file system"):
        os.open(f"/proc/self/fd/{handle}", os.O_WRONLY)
    os.close(handle)


def _runs_sealed(spec: dict[str, Any], folder: Path, container_id: str, command: list[str]) -> None:
    """A hook of it looks at its parent's interpreter, and at that of the container's first process, a fork of it."""
    probe = ("import json, os, sys; pid = json.load(sys.stdin)['pid']\n"
             "sealed = [bool(os.statvfs(f'/proc/{one}/exe').f_flag & os.ST_RDONLY) for one in (os.getppid(), pid)]\n"
             f"open({str(folder / 'seen')!r}, 'w').write(repr(sealed))")
    spec["hooks"] = {"createRuntime": [{"path": sys.executable, "args": ["python", "-I", "-S", "-c", probe]}]}
    (folder / "config.json").write_text(json.dumps(spec))
    run = ["--root", str(folder / "state"), "run", "--bundle", str(folder), container_id]
    subprocess.run([*command, *run], check=True, timeout=60)
    assert (folder / "seen").read_text() == "[True, True]"
    (folder / "seen").unlink()


def test_the_runtime_command_runs_sealed(spec: dict[str, Any], tmp_path: Path, container_id: str,
                                         source: Path) -> None:
    """CVE-2019-5736, the command: whoever makes containers runs an interpreter on a read-only mount."""
    for entry in ("__main__.py", "start.py"):  # by hand and as `kist oci`
        command = [sys.executable, "-I", "-S", str(source / "kist/runtime" / entry)]
        _runs_sealed(spec, tmp_path, container_id, command)


LEAVING = """
import sys
sys.path.insert(0, sys.argv[1])
from kist.runtime.sealer import leave
leave(sys.argv[2], sys.argv[3])
"""


def test_the_command_that_a_sealer_starts_runs_sealed(spec: dict[str, Any], tmp_path: Path, container_id: str,
                                                      source: Path) -> None:
    """CVE-2019-5736 again, the way that kist-runtime goes as a rule. Two guards, each of which is enough: the sealer,
    and the interpreter that looks whether it is sealed. There is no other way out for it here: no `kist` beside it."""
    cache, script = str(tmp_path / "sealers"), str(tmp_path / "kist-runtime")
    Path(script).touch()
    subprocess.run([sys.executable, "-I", "-S", "-c", LEAVING, str(source), script, cache], check=True, timeout=60)
    _runs_sealed(spec, tmp_path, container_id, [f"{cache}{script}"])


def test_working_directory_through_a_descriptor(spec: dict[str, Any], run: Any) -> None:
    """CVE-2024-21626: cwd=/proc/self/fd/N of a leaked directory. Three guards, each of which is enough:
    it is not made, RESOLVE_NO_MAGICLINKS, and getcwd(2) afterwards."""
    for number in range(3, 16):
        spec["process"]["cwd"] = f"/proc/self/fd/{number}"
        report = run(spec, "ls")
        assert "error" in report, f"fd {number}: {report}"


def test_working_directory_through_a_link_of_the_image(spec: dict[str, Any], run: Any, rootfs: Path) -> None:
    """CVE-2024-21626 again, the link being the image's."""
    (rootfs / "here").symlink_to("/proc/self/cwd")
    spec["process"]["cwd"] = "/here"
    assert "error" in run(spec, "ls")


def test_no_descriptor_of_the_runtime_is_left(spec: dict[str, Any], run: Any) -> None:
    """CVE-2024-21626: leaked descriptors, one of the host's root among them. Guard: close_range(2) before execve(2)."""
    probe = {**spec["process"], "args": ["sh", "-c", "ls /proc/self/fd; ls /proc/1/fd"]}
    report = run(spec, "sleep", "30", execs=[probe], leak=True)
    assert report["execs"][0]["stdout"].split() == ["0", "1", "2", "3", "0", "1", "2"]


def test_masked_path_that_is_a_link(spec: dict[str, Any], run: Any, rootfs: Path, tmp_path: Path) -> None:
    """CVE-2025-31133: /dev/null replaced by a link, so that masking binds something else. Guard: the host's null
    device, opened and verified before. With no /dev mounted the image's own /dev is what is there."""
    (rootfs / "dev").mkdir()
    (rootfs / "dev" / "null").symlink_to("/proc/sys/kernel/core_pattern")
    spec["mounts"] = [mount for mount in spec["mounts"] if not mount["destination"].startswith("/dev")]
    report = run(spec, "sh", "-c", "cat /proc/keys; echo end")
    assert "something else is in its place" in report.get("error", "") or report.get("stdout") == "end\n"


def test_masked_path_shows_nothing_of_the_image(spec: dict[str, Any], sh: Any, rootfs: Path) -> None:
    """CVE-2025-31133: what covers a masked file is the null device itself: 1:3."""
    assert sh("stat -L -c %t:%T /proc/keys") == "1:3\n"


def test_a_mask_is_no_way_to_the_null_device(spec: dict[str, Any], sh: Any) -> None:
    """The class of CVE-2025-31133, the other way round: what covers a masked file is the machine's null device, and
    root of a container owns it: chmod 0 would take it from everybody. Guard: the mask is read-only. (That 0666 is
    tried changes nothing where there is no guard.)"""
    assert "Read-only file system" in sh("chmod 666 /proc/keys 2>&1; true")
    assert "Read-only file system" in sh("chown 0:0 /proc/keys 2>&1; true")
    assert sh("echo x >/proc/keys; wc -c </proc/keys") == "0\n"


@pytest.mark.parametrize("broken", ["true", "rm /dev/null", "rm /dev/null; mknod /dev/null p"])
def test_a_stream_is_no_way_to_the_null_device(spec: dict[str, Any], run: Any, broken: str) -> None:
    """The class of CVE-2024-21626: a descriptor of the machine's, standard input of most containers, with which root
    did chmod 0 /proc/self/fd/0. Guard: the container's own null device in its place, or one that nobody else has."""
    look = ["sh", "-c", "stat -Lc %t:%T,%d:%i /proc/self/fd/0; cat; cat /proc/self/fd/0"]
    execs = [{**spec["process"], "args": args} for args in (["sh", "-c", broken], look)]
    of_exec = run(spec, "sleep", "30", execs=execs, null=True)["execs"][1]["stdout"]
    of_init = run(spec, *look, null=True)["stdout"]
    machines = os.stat("/dev/null")
    for seen in (of_init, of_exec):
        numbers, place = seen.strip().split(",")
        assert numbers == "1:3"
        assert place != f"{machines.st_dev}:{machines.st_ino}"


def test_console_that_is_a_link(spec: dict[str, Any], run: Any, rootfs: Path) -> None:
    """CVE-2025-52565: /dev/console a link to a file of procfs, the terminal is bound over that.
    Guard: openat2 without links, relative to /dev."""
    (rootfs / "dev").mkdir()
    (rootfs / "dev" / "console").symlink_to("/proc/sysrq-trigger")
    spec["mounts"] = [mount for mount in spec["mounts"] if mount["destination"] != "/dev"]
    spec["process"]["terminal"] = True
    report = run(spec, "sh", "-c", "stat -c %F /proc/sysrq-trigger")
    assert "ELOOP" in report.get("error", "")


def test_ptmx_that_is_none(spec: dict[str, Any], run: Any, rootfs: Path) -> None:
    """CVE-2025-52565: /dev/pts/ptmx of the image instead of devpts'. Guard: the file system's magic number."""
    (rootfs / "dev" / "pts").mkdir(parents=True)
    (rootfs / "dev" / "pts" / "ptmx").touch()
    spec["mounts"] = [mount for mount in spec["mounts"] if not mount["destination"].startswith("/dev")]
    spec["process"]["terminal"] = True
    assert "not devpts' multiplexer" in run(spec).get("error", "")


def test_procfs_writes_are_redirected_nowhere(spec: dict[str, Any], run: Any, tmp_path: Path) -> None:
    """CVE-2025-52881: something mounted over procfs files that the runtime writes to. Guard: nothing may be mounted
    inside /proc, and the runtime writes through the host's procfs, verified."""
    (tmp_path / "fake").mkdir()
    for destination in ("/proc/self/attr", "/proc/sys/kernel", "/proc/1"):
        trial = {**spec, "mounts": [*spec["mounts"], {"destination": destination, "type": "bind", "options": ["rbind"],
                                                      "source": str(tmp_path / "fake")}]}
        assert "nothing may be mounted inside /proc" in run(trial).get("error", "")


def test_a_tmpfs_over_proc_is_refused(spec: dict[str, Any], run: Any) -> None:
    """CVE-2025-52881, by another kind of mount."""
    spec["mounts"].append({"destination": "/proc/self/attr", "type": "tmpfs", "source": "tmpfs"})
    assert "nothing may be mounted inside /proc" in run(spec).get("error", "")


def test_a_link_to_proc_is_no_way_into_it(spec: dict[str, Any], run: Any, rootfs: Path, tmp_path: Path) -> None:
    """CVE-2019-19921: the destination's name is harmless, and the image has a link there."""
    (rootfs / "way").symlink_to("/proc")
    for destination in ("/way", "/way/self/attr", "/way/sys"):
        for mount in ({"type": "tmpfs", "source": "tmpfs"},
                      {"type": "bind", "options": ["rbind"], "source": str(tmp_path)}):
            trial = {**spec, "mounts": [*spec["mounts"], {"destination": destination, **mount}]}
            assert "nothing may be mounted inside /proc" in run(trial).get("error", "")


def test_sysctl_goes_to_the_kernel(spec: dict[str, Any], run: Any, rootfs: Path) -> None:
    """CVE-2025-52881: with a /proc of the image that is not procfs the value must not land in its files."""
    (rootfs / "proc" / "sys" / "net" / "ipv4").mkdir(parents=True)
    fake = rootfs / "proc" / "sys" / "net" / "ipv4" / "ip_forward"
    fake.write_text("untouched")
    spec["mounts"] = [mount for mount in spec["mounts"] if mount["destination"] != "/proc"]
    spec["linux"]["sysctl"] = {"net.ipv4.ip_forward": "1"}
    report = run(spec, "cat", "/proc/sys/net/ipv4/ip_forward")
    assert report.get("stdout") == "untouched"


def test_proc_on_a_link(spec: dict[str, Any], run: Any, rootfs: Path) -> None:
    """CVE-2019-16884: /proc a link to elsewhere, so that masks miss. Guard: RESOLVE_NO_SYMLINKS."""
    (rootfs / "evil").mkdir()
    (rootfs / "proc").symlink_to("evil")
    assert run(spec).get("error") == "mount proc on /proc: ELOOP"


def test_dev_is_a_link_out(spec: dict[str, Any], run: Any, rootfs: Path, tmp_path: Path) -> None:
    """CVE-2026-41579: /dev a link to a directory of the host. Guard: RESOLVE_IN_ROOT."""
    (tmp_path / "hostdev").mkdir()
    (rootfs / "dev").symlink_to(tmp_path / "hostdev")
    report = run(spec, "sh", "-c", f"touch /dev/made; ls {tmp_path}/hostdev")
    assert {"made", "null"} <= set(report.get("stdout", "").split()), report  # the same path, but inside of the root
    assert list((tmp_path / "hostdev").iterdir()) == []


def test_device_node_that_is_a_link(spec: dict[str, Any], run: Any, rootfs: Path, tmp_path: Path) -> None:
    """CVE-2026-47766: a device's name taken by a link of the image. Guard: nothing but the same node is accepted."""
    (rootfs / "dev").mkdir()
    (rootfs / "dev" / "zero").symlink_to("/etc/passwd")
    spec["mounts"] = [mount for mount in spec["mounts"] if not mount["destination"].startswith("/dev")]
    assert "make the device zero: something else is in its place" in run(spec).get("error", "")


def test_mount_destination_leads_out(spec: dict[str, Any], run: Any, rootfs: Path, tmp_path: Path) -> None:
    """CVE-2021-30465: the destination is a link to the host. Guard: RESOLVE_IN_ROOT, by descriptor."""
    (tmp_path / "victim").mkdir()
    (tmp_path / "data").mkdir()
    (rootfs / "mnt").symlink_to(tmp_path / "victim")
    spec["mounts"].append({"destination": "/mnt/x", "type": "bind", "source": str(tmp_path / "data"),
                           "options": ["rbind"]})
    mounts = run(spec, "cat", "/proc/self/mountinfo").get("stdout", "")
    assert f" {tmp_path}/victim/x " in mounts  # the same path, but inside of the root
    assert list((tmp_path / "victim").iterdir()) == []


@pytest.mark.parametrize("uid", [-1, (1 << 32) - 1, 1.5, "0"])
def test_odd_user_ids(spec: dict[str, Any], run: Any, uid: Any) -> None:
    """CVE-2026-30892: setresuid(-1) changes nothing, and the process stays root. Guard: the id is checked."""
    spec["process"]["user"]["uid"] = uid
    assert "is not an id" in run(spec, "id").get("error", "")


RESOLVING = """
import sys
sys.path.insert(0, {src!r})
from kist.engine.users import parse_group, parse_passwd, resolve
try:
    print(resolve({word!r}, parse_passwd("{word}:x:0:0::/root:\\n"), parse_group("")).uid)
except Exception as error:
    print(error)
"""


def test_a_number_that_is_a_name(source: Path) -> None:
    """CVE-2026-46680: too large for an id, a number is taken for a name, and the image's passwd file says that this is
    root. Guard: digits are a number, whatever their size."""
    code = RESOLVING.format(src=str(source), word="4294967296")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert "must be in range" in done.stdout, done.stdout + done.stderr


WATCHER = ("while :; do for p in /proc/[0-9]*; do e=$(readlink $p/exe) && [ $e != /bin/busybox ] && "
           "echo reached $p $e; done; done")


def test_the_joining_process_is_out_of_reach(spec: dict[str, Any], run: Any) -> None:
    """CVE-2016-9962: a process of the container looks into one that joins, which holds things of the host.
    In a user namespace the container's root has every privilege over it. Guard: PR_SET_DUMPABLE 0 before it joins."""
    spec["linux"]["namespaces"].append({"type": "user"})
    spec["linux"]["uidMappings"] = spec["linux"]["gidMappings"] = [{"containerID": 0, "hostID": 0, "size": 65536}]
    spec["process"]["capabilities"] = {kind: [*CAPABILITIES] for kind in ("bounding", "effective", "permitted")}
    report = run(spec, "sh", "-c", WATCHER, execs=[{**spec["process"], "args": ["true"]}] * 6)
    assert report.get("stdout") == ""


def test_the_joining_process_is_out_of_reach_without_a_user_namespace(spec: dict[str, Any], run: Any) -> None:
    """There the kernel wants the privilege of the host's root for it, too."""
    report = run(spec, "sh", "-c", WATCHER, execs=[{**spec["process"], "args": ["true"]}] * 6)
    assert report["stdout"] == ""


IMPORTING = """
import json, sys
sys.path.insert(0, {src!r})
sys.path.append({planted!r})
from kist.runtime.create import create
from kist.runtime.exec import exec_process
def hook():
    try:
        import planted
    except ImportError:
        return
    planted.escape()
spec = json.load(open({bundle!r} + "/config.json"))
created = create(spec, container_id="importing", bundle={bundle!r}, stdio=None, start_hooks=hook)
created.start()
created.abort()
print("fine")
"""


def test_nothing_is_imported_from_the_image(spec: dict[str, Any], tmp_path: Path, rootfs: Path, container_id: str,
                                            source: Path) -> None:
    """The runtime's own modules looked for after the root has changed: an image that has a directory of the same path
    would have its code run with all privilege. Guard: no finder but for what the interpreter has built in."""
    place = f"/tmp/{container_id}"
    (rootfs / place[1:]).mkdir(parents=True)
    (rootfs / place[1:] / "planted.py").write_text("def escape():\n    raise RuntimeError('code of the image runs')\n")
    (tmp_path / "config.json").write_text(json.dumps(spec))
    code = IMPORTING.format(src=str(source), planted=place, bundle=str(tmp_path))
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, timeout=60,
                          check=False)
    assert done.stdout == "fine\n", done.stderr


# Guards, as changes that take them out: file, what is there, what is there instead.
Change = tuple[str, str, str]
UNSEALED: Change = ("linux/sealed.py", '_call("syscall", real, SYS_MOUNT_SETATTR, fd, b"", AT_EMPTY_PATH, '
                    'READ_ONLY, len(READ_ONLY))', "pass")
NEVER_SEALED: Change = ("runtime/start.py", "if os.geteuid() != 0 or", "if True or")
SEALER_THAT_DOES_NOT: Change = (
    "runtime/sealer.py", 'm.call("mount_setattr", "r2", m.address("word "), AT_EMPTY_PATH, m.address("read-only"), '
    "len(READ_ONLY), result=3)", "m.set(3, 0)")
MAGIC_LINKS: tuple[Change, ...] = (
    ("runtime/process.py", "if error.errno not in (30, 13):", "if False:"),
    ("runtime/process.py", "RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)", "0)"),
    ("runtime/process.py", "if not inside:", "if False:"))
LEAKS: tuple[Change, ...] = (
    ("runtime/init.py", "p.close_range(3 + init.preserve_fds, flags=p.CLOSE_RANGE_CLOEXEC)", "pass"),
    ("runtime/exec.py", "p.close_range(3 + preserve_fds, flags=p.CLOSE_RANGE_CLOEXEC)", "pass"))
ANY_NODE: Change = ("runtime/devices.py", "if stat.S_IFMT(there.st_mode) != kind or there.st_rdev != number:",
                    "if False:")
THEIR_NULL: Change = ("runtime/paths.py", "m.open_tree(ctx.null, ", "m.open_tree(ctx.root.resolve('/dev/null'), ")
MASK_TO_WRITE: Change = ("runtime/paths.py", "m.mount_setattr(tree, set=m.MOUNT_ATTR_RDONLY)  # else", "#")
NULL_AS_GIVEN: Change = ("runtime/streams.py", "    _take_own_null(ctx)\n", "")
NO_MASK: Change = ("runtime/paths.py", "            _mask(ctx, target)", "            pass")
CONSOLE_BY_PATH: Change = ("runtime/console.py", "def take_terminal(", """def _bind_console(ctx: Context) -> None:
    target = ctx.root.resolve("/dev/console")
    tree = m.open_tree(ctx.slave, "", m.OPEN_TREE_CLONE | m.AT_EMPTY_PATH)
    m.move_mount(tree, target)


def take_terminal(""")
ANY_PTMX: Change = ("runtime/console.py", "if magic(master) != DEVPTS_SUPER_MAGIC or", "if False and")
INSIDE_PROC: Change = ("runtime/mounts.py", 'if destination.startswith("/proc/") and destination not in PROC_FILES:',
                       "if False:")
BEHIND_A_LINK: Change = ("runtime/mounts.py", "if magic(target) == PROC_SUPER_MAGIC:", "if False:")
THEIR_PROC: Change = ("runtime/kernel.py", """        fd = openat2(ctx.proc.fd, self.path, os.O_WRONLY, 0,
                     RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS)
        try:
            if magic(fd)""", """        fd = os.open(f"{ctx.spec['root']['path']}/proc/{self.path}", os.O_WRONLY)
        try:
            if False and magic(fd)""")
PROC_BY_LINK: Change = ("runtime/mounts.py", "RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS)", "RESOLVE_IN_ROOT)")
BY_PATH: tuple[Change, ...] = (  # below the root as a prefix, as if no link ever led out of it
    ("linux/openat2.py", "return openat2(self.fd, path, flags, mode, _IN_ROOT)",
     "return openat2(self.fd, path.lstrip('/') or '.', flags, mode, 0)"),
    ("linux/openat2.py", "return openat2(self.fd, path, os.O_PATH | (0 if follow else os.O_NOFOLLOW), 0, _IN_ROOT)",
     "return openat2(self.fd, path.lstrip('/') or '.', os.O_PATH | (0 if follow else os.O_NOFOLLOW), 0, 0)"))
LARGE_IS_A_NAME: Change = ("engine/users.py", "return int(text) if len(text) < 12 else MAX_ID + 1",
                           "return int(text) if int(text) <= MAX_ID else None")
ANY_ID: Change = ("runtime/process.py", "if not isinstance(value, int) or not 0 <= value < (1 << 32) - 1:", "if False:")
# The process that joins waits a moment, so that who looks for it finds it.
SLOWLY: Change = ("runtime/exec.py", "    run(todo.inside, ctx)\n",
                  "    select.select([], [], [], 0.3)\n    run(todo.inside, ctx)\n")
DUMPABLE: Change = ("runtime/exec.py", "p.prctl(p.PR_SET_DUMPABLE, 0)", "pass")
ANY_IMPORT: Change = ("runtime/init.py", "    trust_no_files()\n", "")


@pytest.mark.parametrize(("attack", "source"), [
    (test_overwrite_of_the_interpreter, (UNSEALED,)),
    (test_the_runtime_command_runs_sealed, (NEVER_SEALED,)),
    (test_the_command_that_a_sealer_starts_runs_sealed, (SEALER_THAT_DOES_NOT, NEVER_SEALED)),
    (test_working_directory_through_a_descriptor, MAGIC_LINKS),
    (test_working_directory_through_a_link_of_the_image, MAGIC_LINKS),
    (test_no_descriptor_of_the_runtime_is_left, LEAKS),
    (test_masked_path_that_is_a_link, (ANY_NODE, THEIR_NULL)),
    (test_masked_path_shows_nothing_of_the_image, (NO_MASK,)),
    (test_a_mask_is_no_way_to_the_null_device, (MASK_TO_WRITE,)),
    (test_a_stream_is_no_way_to_the_null_device, (NULL_AS_GIVEN,)),
    (test_console_that_is_a_link, (CONSOLE_BY_PATH,)),
    (test_ptmx_that_is_none, (ANY_PTMX,)),
    (test_procfs_writes_are_redirected_nowhere, (INSIDE_PROC, BEHIND_A_LINK)),
    (test_a_tmpfs_over_proc_is_refused, (INSIDE_PROC, BEHIND_A_LINK)),
    (test_a_link_to_proc_is_no_way_into_it, (BEHIND_A_LINK,)),
    (test_sysctl_goes_to_the_kernel, (THEIR_PROC,)),
    (test_proc_on_a_link, (PROC_BY_LINK,)),
    (test_dev_is_a_link_out, BY_PATH),
    (test_device_node_that_is_a_link, (ANY_NODE,)),
    (test_mount_destination_leads_out, BY_PATH),
    (test_odd_user_ids, (ANY_ID,)),
    (test_a_number_that_is_a_name, (LARGE_IS_A_NAME,)),
    (test_the_joining_process_is_out_of_reach, (SLOWLY, DUMPABLE)),
    (test_nothing_is_imported_from_the_image, (ANY_IMPORT,)),
], indirect=["source"], ids=lambda value: getattr(value, "__name__", "").removeprefix("test_") or "guards")
def test_without_its_guard_the_attack_succeeds(attack: Callable[..., None], source: Path,
                                               request: pytest.FixtureRequest) -> None:
    assert source.name == "changed"
    own = {"uid": -1, "broken": "true"}  # what the attacks are parametrized with
    asked = {name: own.get(name) or request.getfixturevalue(name) for name in inspect.signature(attack).parameters}
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        attack(**asked)


@pytest.mark.parametrize("source", [(SLOWLY,)], indirect=True)
def test_out_of_reach_however_slowly_it_joins(spec: dict[str, Any], run: Any) -> None:
    test_the_joining_process_is_out_of_reach(spec, run)


@pytest.mark.parametrize("source", [(SEALER_THAT_DOES_NOT,), (NEVER_SEALED,)], indirect=True)
def test_sealed_by_either_guard(spec: dict[str, Any], tmp_path: Path, container_id: str, source: Path) -> None:
    test_the_command_that_a_sealer_starts_runs_sealed(spec, tmp_path, container_id, source)


def test_every_attack_is_tried_without_its_guard() -> None:
    marks = test_without_its_guard_the_attack_succeeds.pytestmark
    tried = {row[0] for row in marks[0].args[1]}
    attacks = {thing for name, thing in globals().items() if name.startswith("test_") and "CVE" in str(thing.__doc__)}
    assert attacks <= tried
