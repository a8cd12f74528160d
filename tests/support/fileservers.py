"""An NFS server (the kernel's) and an SMB server (Samba's), on a machine of the tests' own (tests/vm, part files)."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.processes import end

EXPORT = "rw,fsid=0,no_root_squash,no_subtree_check,insecure"
SMB = """[global]
server role = standalone server
interfaces = 127.0.0.1
bind interfaces only = yes
smb ports = 445
disable netbios = yes
load printers = no
rpc start on demand helpers = no
passdb backend = smbpasswd:{state}/smbpasswd
private dir = {state}
lock directory = {state}
state directory = {state}
cache directory = {state}
pid directory = {state}
ncalrpc dir = {state}
log file = {state}/log
[{share}]
path = {path}
read only = no
force user = root
"""


def run(*words: str, **options: str) -> None:
    done = subprocess.run(words, text=True, capture_output=True, **options)  # type: ignore[call-overload]
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"


@contextmanager
def nfs(directory: Path) -> Iterator[None]:
    """Version 4.2 on 127.0.0.1:2049, with the directory as its root."""
    control = Path("/proc/fs/nfsd")
    for folder in ("/var/lib/nfs/v4recovery", "/var/lib/nfs/rpc_pipefs", "/run/rpcbind"):
        Path(folder).mkdir(parents=True, exist_ok=True)
    for name in ("/var/lib/nfs/etab", "/var/lib/nfs/rmtab", "/etc/exports"):
        Path(name).touch()
    run("modprobe", "nfsd")
    run("mount", "-t", "nfsd", "nfsd", str(control))
    run("exportfs", "-o", EXPORT, f"127.0.0.1:{directory}")
    mountd = subprocess.Popen(["rpc.mountd", "--foreground", "--no-nfs-version", "3", "--no-udp"])
    try:
        run("rpc.nfsd", "--no-nfs-version", "3", "--no-udp", "--host", "127.0.0.1", "2")
        (control / "v4_end_grace").write_text("Y")  # nobody has anything to reclaim
        yield
    finally:
        run("rpc.nfsd", "0")
        end(mountd)
        run("exportfs", "-au")
        run("umount", str(control))


@contextmanager
def smb(directory: Path, state: Path, *, share: str, user: str, password: str) -> Iterator[None]:
    """Samba's on 127.0.0.1:445, with the directory as the share; `user` is one of the machine's."""
    state.mkdir()
    configuration = state / "smb.conf"
    configuration.write_text(SMB.format(state=state, share=share, path=directory))
    run("smbpasswd", "-c", str(configuration), "-s", "-a", user, input=f"{password}\n{password}\n")
    server = subprocess.Popen(["smbd", "--foreground", "-s", str(configuration)])
    try:
        _wait_for(445, server)
        yield
    finally:
        end(server)


def _wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            assert server.poll() is None and time.monotonic() < deadline, "the server does not listen"
            time.sleep(0.05)
