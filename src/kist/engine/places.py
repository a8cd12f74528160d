"""Where a container's files are, and making and removing them. Blocking: called in threads.

::

    <data>/                   root's alone, at its top: what is below needs no modes of its own
    <data>/containers/<id>/   hostname hosts resolv.conf exit.json, log        lives as long as the record
    <run>/containers/<id>/    config.json monitor.sock state.json                      vanishes with a reboot
    <run>/containers/<id>/shm a tmpfs, while a container with --ipc shareable runs: the one mount on the host
    <run>/images/<n>/         empty; an image that is mounted into a container lies there, in that namespace
    <run>/root/               empty; each container's init mounts its root there, in its own mount namespace

A directory here without a record in the database is a leftover of a create or remove that was cut short.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from typing import Any

import msgspec

from kist.engine.config import Config
from kist.engine.records import ContainerRecord
from kist.linux import inode_flags, mount
from kist.store.trash import Trash

Json = dict[str, Any]
_encode = msgspec.json.Encoder().encode


class Places:
    def __init__(self, config: Config) -> None:
        self.containers = config.containers_dir
        self.runs = config.containers_run_dir
        self.root = os.path.join(config.run, "root")
        self._images = os.path.join(config.run, "images")
        self.log_of_launcher = os.path.join(config.run, "launcher.log")
        os.makedirs(config.run, 0o711, exist_ok=True)
        _keep_others_out(config.data)
        for path in (self.containers, self.runs, self.root, config.volumes_dir):
            os.makedirs(path, 0o711, exist_ok=True)
        for path in (self.containers, self.runs):
            # Each container's directory in another part of the disk, as the store's layers are (store/layers.py): ext4
            # would put all of them into one, where without a journal each new file then steps over all inodes that were
            # freed there in the last minutes. The last of 500 starts took 1.6 times as long as the first.
            inode_flags.add(path, inode_flags.FS_TOPDIR_FL)
        self.trash = Trash(os.path.join(config.data, "containers.trash"))

    def data_dir(self, container_id: str) -> str:
        return f"{self.containers}/{container_id}"

    def run_dir(self, container_id: str) -> str:
        return f"{self.runs}/{container_id}"

    def log_path(self, record: ContainerRecord) -> str:
        """The newest file of a log that is kept in files, under Docker's names."""
        if record.host["LogConfig"]["Type"] == "json-file":
            return f"{self.containers}/{record.id}/{record.id}-json.log"
        return f"{self.containers}/{record.id}/local-logs/container.log"

    def make(self, container_id: str) -> None:
        os.mkdir(self.data_dir(container_id), 0o710)
        self.make_run(container_id)

    def make_run(self, container_id: str) -> None:
        os.makedirs(self.run_dir(container_id), 0o700, exist_ok=True)

    def write_spec(self, container_id: str, spec: Json) -> None:
        """config.json; a half-written one is never read: the engine remembers which ones it finished."""
        with open(f"{self.run_dir(container_id)}/config.json", "wb") as file:
            file.write(_encode(spec))

    def write_etc(self, container_id: str, files: dict[str, str]) -> None:
        for name, text in files.items():
            with open(f"{self.data_dir(container_id)}/{name}", "w", encoding="utf-8") as file:
                file.write(text)

    def image_root(self, number: int) -> str:
        path = f"{self._images}/{number}"
        os.makedirs(path, 0o711, exist_ok=True)
        return path

    def shm(self, container_id: str) -> str:
        return f"{self.run_dir(container_id)}/shm"

    def mount_shm(self, container_id: str, size: int) -> None:
        """/dev/shm that other containers may join, which no namespace of its own can be given to."""
        os.makedirs(self.shm(container_id), 0o711, exist_ok=True)
        mount.mount("shm", self.shm(container_id), "tmpfs", mount.MS_NOSUID | mount.MS_NODEV | mount.MS_NOEXEC,
                    f"mode=1777,size={size}")

    def unmount_shm(self, container_id: str) -> None:
        """Who has it mounted inside keeps it; nothing if there is none."""
        try:
            mount.umount2(self.shm(container_id), mount.MNT_DETACH)
            os.rmdir(self.shm(container_id))
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.EINVAL):
                raise

    def discard(self, container_id: str) -> None:
        """Both directories away: renamed at once, deleted in the background (the trash is on the data's disk)."""
        self.trash.throw(self.data_dir(container_id))
        run = self.run_dir(container_id)
        if os.path.isdir(self.shm(container_id)):
            self.unmount_shm(container_id)
        _remove_flat(run)

    def known(self) -> set[str]:
        """Ids of all containers that have a directory."""
        return set(os.listdir(self.containers)) | set(os.listdir(self.runs))


def _keep_others_out(data: str) -> None:
    """The machine's other users have no way in, also where the directory was there before: else one who is root in a
    container leaves a set-user-ID program in it for himself (CVE-2021-41091), and anybody reads what the records hold
    of environments and passwords."""
    os.makedirs(data, 0o700, exist_ok=True)
    if stat.S_IMODE(os.stat(data).st_mode) & 0o077:
        os.chmod(data, 0o700)


def _remove_flat(directory: str) -> None:
    """A directory of files. A monitor that ends takes its own names away, or is writing its last one: at the
    same time."""
    while True:
        try:
            for name in os.listdir(directory):
                with suppress(FileNotFoundError):
                    os.unlink(f"{directory}/{name}")
            os.rmdir(directory)
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:
                raise
        else:
            return
