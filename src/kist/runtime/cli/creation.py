"""Create a container of ``kist oci``, with hooks and state: what `create` and `run` stand on."""

from __future__ import annotations

import _socket as socket
import errno
import os
import time

from kist.runtime import jsons
from kist.runtime.cgroup import open_cgroup
from kist.runtime.cli.common import check_terminal, preserved, root, rootless, warn_of_capabilities, write_pid_file
from kist.runtime.cli.options import FLAG, NUMBER, STRING, Option
from kist.runtime.cli.sending import send_console, send_fd, send_listener
from kist.runtime.create import Created, create
from kist.runtime.errors import SpecError, StepError
from kist.runtime.state import CREATED, CREATING, STOPPED, Container, start_time
from kist.runtime.validate import check

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from kist.runtime.cgroup.base import Cgroup
    from kist.runtime.cli.log import Log
    from kist.runtime.cli.options import Parsed

OPTIONS = {
    "bundle": Option("b", STRING), "console-socket": Option("", STRING), "pid-file": Option("", STRING),
    "pidfd-socket": Option("", STRING), "no-pivot": Option("", FLAG), "no-new-keyring": Option("", FLAG),
    "preserve-fds": Option("", NUMBER),
}


def read_config(bundle: str) -> dict[str, Any]:
    path = os.path.join(bundle, "config.json")
    try:
        config: dict[str, Any] = jsons.load(path)
    except FileNotFoundError:
        raise SpecError(f"JSON specification file {path} not found", errno.ENOENT) from None
    except ValueError as error:
        raise SpecError(f"{path}: {error}") from None
    check(config)
    return config


def create_container(options: Parsed, own: Parsed, container_id: str, log: Log) -> tuple[Container, Created]:
    """The container at its barrier, recorded. Whatever fails: nothing is left, not even the id."""
    bundle = os.path.realpath(own.string("bundle") or ".")
    spec = read_config(bundle)
    if not spec.get("process"):
        raise SpecError("process: it is required to start a container")
    terminal = bool(spec["process"].get("terminal"))
    check_terminal(own, terminal=terminal, detached=bool(own.given.get("detached", True)))
    warn_of_capabilities(spec["process"], log)
    container = Container.make(root(options), container_id)
    try:
        created = _create(options, own, container, spec, bundle)
    except BaseException:
        _undo(container, spec, log)
        raise
    container.unlock()
    return container, created


def _undo(container: Container, spec: dict[str, Any], log: Log) -> None:
    """What was made for it is gone already. Whoever had hooks run for it hears of the end (runtime.md#lifecycle)."""
    state = container.state(STOPPED) if container.record else {}
    container.forget()
    if state:
        from kist.runtime.cli.lifecycle import run_forgiving

        run_forgiving("poststop", (spec.get("hooks") or {}).get("poststop") or [], state, log)


def _create(options: Parsed, own: Parsed, container: Container, spec: dict[str, Any], bundle: str) -> Created:
    with open(f"{container.directory}/config.json", "w", encoding="utf-8") as file:
        file.write(jsons.dumps(spec))
    group = _cgroup(options, spec, container.id)
    if group.exists() and group.pids():
        raise StepError(f"create the control group {group.path}: it is in use", errno.EBUSY)
    container.record = {"id": container.id, "bundle": bundle, "annotations": spec.get("annotations") or {},
                        "created": time.time(), "cgroup": group.path, "pid": 0, "creating": True,
                        "rootfs": os.path.join(bundle, spec["root"]["path"]),
                        "systemd": getattr(group, "unit", None)}
    container.save()
    listener = _listen(container)
    hooks = spec.get("hooks") or {}
    if own.flag("no-new-keyring"):
        spec.setdefault("kist", {})["keyring"] = False
    created = create(spec, container_id=container.id, bundle=bundle, stdio=None, cgroup=group, barrier=listener,
                     preserve_fds=_preserved(options, own, spec), no_pivot=own.flag("no-pivot"),
                     before_pivot=_runtime_hooks(container, hooks), container_hooks=_inner(
                         "createContainer", container, hooks, CREATING),
                     start_hooks=_inner("startContainer", container, hooks, CREATED))
    try:
        listener.close()
        container.record.update(pid=created.pid, start_time=start_time(created.pid), creating=False)
        container.save()
        _hand_over(own, created, spec, container)
    except BaseException:
        created.abort()
        raise
    return created


def _cgroup(options: Parsed, spec: dict[str, Any], container_id: str) -> Cgroup:
    manager = options.string("cgroup-manager")
    if options.flag("systemd-cgroup") or manager == "systemd":
        from kist.runtime.cgroup.systemd import open_systemd
        return open_systemd(spec, container_id)
    if manager not in ("", "cgroupfs", "disabled"):
        raise SpecError(f"--cgroup-manager: {manager!r} is not cgroupfs, systemd or disabled")
    group = open_cgroup(spec, container_id)
    if manager == "disabled":  # crun's word; Podman's `--cgroups=disabled`
        return _none(group)
    return _if_allowed(group) if rootless(options) else group


def _if_allowed(group: Cgroup) -> Cgroup:
    """Of all users but root: those to whom a part of the tree is delegated."""
    there = group.exists()
    try:
        group.create()
        return group
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        if not there:
            group.remove()
    return _none(group)


def _none(group: Cgroup) -> Cgroup:
    from kist.runtime.cgroup.absent import Absent

    return Absent("", group.layout)


def _listen(container: Container) -> socket.socket:
    """By the directory's descriptor: AF_UNIX paths are short, state directories are not."""
    directory = os.open(container.directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(f"/proc/self/fd/{directory}/start.sock")
    os.chmod(container.socket_path, 0o600)
    listener.listen(1)
    os.close(directory)
    return listener


def _preserved(options: Parsed, own: Parsed, spec: dict[str, Any]) -> int:
    """LISTEN_FDS (systemd's socket activation) is passed on like ``--preserve-fds``."""
    count = preserved(own.number("preserve-fds"))
    passed = options.environment.get("LISTEN_FDS", "")
    if passed.isdigit() and int(passed):
        count += int(passed)
        spec["process"].setdefault("env", []).extend([f"LISTEN_FDS={passed}", "LISTEN_PID=1"])
    return count


def _runtime_hooks(container: Container, hooks: dict[str, Any]) -> Any:
    wanted = (("prestart", hooks.get("prestart") or []), ("createRuntime", hooks.get("createRuntime") or []))
    if not any(entries for _kind, entries in wanted):
        return None
    from kist.runtime import hooks as hook

    def run(pid: int) -> None:
        container.record["pid"] = pid
        for kind, entries in wanted:
            hook.run_all(kind, entries, container.state(CREATING))
    return run


def _inner(kind: str, container: Container, hooks: dict[str, Any], status: str) -> Any:
    """Run by init. The pid is the one that it has for itself."""
    entries = hooks.get(kind) or []
    if not entries:
        return None
    from kist.runtime import hooks as hook

    def run() -> None:
        container.record["pid"] = os.getpid()
        hook.run_all(kind, entries, container.state(status))
    return run


def _hand_over(own: Parsed, created: Created, spec: dict[str, Any], container: Container) -> None:
    if own.string("console-socket") and created.console is not None:
        send_console(own.string("console-socket"), created.console)
    if created.listener is not None:
        send_listener(spec, container.state(CREATING), created.pid, created.listener)
    if own.string("pidfd-socket"):
        send_fd(own.string("pidfd-socket"), created.pidfd, b"pidfd")
    if own.string("pid-file"):
        write_pid_file(own.string("pid-file"), created.pid)
