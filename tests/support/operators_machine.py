"""A machine to follow docs/hub.md on, literally: this one's files below a layer to throw away, its network its own.

`Machine` keeps a root shell in it. systemd is not there: a small `systemctl` starts what a unit's ExecStart says, as
the unit's User, with the capabilities and the log folder that the unit names.
"""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from pathlib import Path
from types import TracebackType

ROOT = Path(__file__).parents[2]
SITE = next(path for path in sys.path if path.endswith("site-packages"))
BEGIN = """\
set -e
mount -t tmpfs tmpfs "$1"; mkdir "$1/up" "$1/work" "$1/new"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/up,workdir=$1/work" "$1/new"
mount --rbind /dev "$1/new/dev"; mount -t proc proc "$1/new/proc"
install -d "$1/new/opt/kist/bin" "$1/new/opt/kist/src" "$1/new/opt/kist/site" "$1/new/img"
mount --bind "$2/src" "$1/new/opt/kist/src"; mount --bind "$3" "$1/new/opt/kist/site"; mount --bind "$4" "$1/new/img"
mkdir -p "$1/new/run/operator"; echo 192.0.2.1 hub.example.com >>"$1/new/etc/hosts"
ip link set lo up; ip address add 192.0.2.1/32 dev lo
exec chroot "$1/new" /bin/bash -c 'cd /root; exec /bin/bash --noprofile --norc'
"""
PYTHON = """\
#!/bin/sh
PYTHONPATH=/opt/kist/src:/opt/kist/site PYTHONDONTWRITEBYTECODE=1 exec {interpreter} "$@"
"""
SYSTEMCTL = r"""#!/usr/bin/python3
import configparser, os, select, shlex, signal, subprocess, sys
act, name = sys.argv[1], sys.argv[-1]
unit = configparser.ConfigParser(interpolation=None, strict=False)
unit.optionxform = str
unit.read(f"/etc/systemd/system/{name}.service")
service = unit["Service"]
pid_file = f"/run/{name}.pid"

def stop():
    if os.path.exists(pid_file):
        pid = int(open(pid_file).read())
        process = os.pidfd_open(pid)
        signal.pidfd_send_signal(process, signal.SIGTERM)
        select.select([process], [], [])
        os.unlink(pid_file)

def start():
    user = service["User"]
    for folder in service.get("LogsDirectory", "").split():
        subprocess.run(["install", "-d", "-m", "0755", "-o", user, "-g", user, f"/var/log/{folder}"], check=True)
    bounds = [word.removeprefix("CAP_").lower() for word in service["CapabilityBoundingSet"].split()]
    for cap in service["AmbientCapabilities"].split():
        assert cap.removeprefix("CAP_").lower() in bounds
    caps = ",".join("+" + cap for cap in bounds)
    command = ["setpriv", "--reuid", user, "--regid", user, "--init-groups", f"--inh-caps=-all,{caps}",
               f"--ambient-caps=-all,{caps}", f"--bounding-set=-all,{caps}", *shlex.split(service["ExecStart"])]
    if service.getboolean("NoNewPrivileges"):
        command.insert(1, "--no-new-privs")
    with open(f"/var/log/{name}.journal", "ab") as journal:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=journal, stderr=journal,
                                   env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}, start_new_session=True)
    with open(pid_file, "w") as file:
        file.write(str(process.pid))

if act in ("stop", "restart"):
    stop()
if act in ("enable", "start", "restart"):
    start()
if act == "reload":
    subprocess.run(service["ExecReload"].replace("$MAINPID", open(pid_file).read()), shell=True, check=True)
"""


def blocks(page: str) -> list[tuple[str, str]]:
    """(language, text) of every code block of a page of docs/, in order."""
    text = (ROOT / "docs" / page).read_text()
    found = re.findall(r"^( *)```(\w*)\n(.*?)^\1```$", text, re.MULTILINE | re.DOTALL)
    return [(language, textwrap.dedent(body)) for _, language, body in found]


class Machine:
    def __init__(self, folder: Path, images: Path) -> None:
        self._process = subprocess.Popen(
            [
                "unshare",
                "--mount",
                "--pid",
                "--net",
                "--fork",
                "--kill-child",
                "--propagation",
                "private",
                "/bin/bash",
                "-c",
                BEGIN,
                "bash",
                str(folder),
                str(ROOT),
                SITE,
                str(images),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={
                "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "HOME": "/root",
                "XDG_RUNTIME_DIR": "/run/operator",
            },
        )
        interpreter = Path(sys.executable).resolve()
        self.write("/opt/kist/bin/python", PYTHON.format(interpreter=interpreter), 0o755)
        self.write("/usr/local/bin/systemctl", SYSTEMCTL, 0o755)

    def __enter__(self) -> Machine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        self.run(f"install -D -m {mode:o} /dev/stdin {path} <<'END-OF-THE-FILE'\n{text}\nEND-OF-THE-FILE")

    def run(self, script: str, *, fails: bool = False) -> str:
        """What a script says, both streams; each of its lines must succeed, unless it is to fail."""
        assert self._process.stdin is not None and self._process.stdout is not None
        # In a subshell: the machine's own lives on when a line fails.
        self._process.stdin.write(f"( set -e\n{script}\n) </dev/null; s=$?; echo; echo the-status-is $s\n".encode())
        self._process.stdin.flush()
        said = b""
        while not (end := re.search(rb"\nthe-status-is (\d+)\n", said)):
            line = self._process.stdout.readline()
            assert line, said.decode(errors="replace")
            said += line
        text = said[: end.start()].decode(errors="replace").strip()
        assert (int(end.group(1)) != 0) is fails, f"{script}\n{text}"
        return text
