"""A container as an object, and a command that runs in one."""

from __future__ import annotations

import io
import os
import shlex
import tarfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from kist.client.client import Client
from kist.client.streams import RECEIVE, carry, demultiplex
from kist.client.transport import MSG_NOSIGNAL, SHUT_WR, socket
from kist.errors import EngineFailure, InvalidParameter, KistError, NotFound, Unavailable

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

Command = str | Sequence[str]
JSON = dict[str, Any]


class Result(NamedTuple):
    """How a command ended, and what it wrote."""

    exit_code: int
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        """The standard output as text."""
        return self.stdout.decode(errors="replace")

    def check(self) -> Result:
        """Itself, when the command succeeded; else EngineFailure with what it wrote on stderr."""
        if self.exit_code:
            words = self.stderr.decode(errors="replace").strip() or self.text.strip()
            raise EngineFailure(f"exit status {self.exit_code}: {words}")
        return self


class Process:
    """A command that runs in a container: its streams, and how it ends. Iterating gives (is it stderr, bytes).

    What it writes must be read while much is written to it (`communicate` does both): its pipes are of a bounded size.
    """

    def __init__(self, client: Client, exec_id: str, connection: socket, early: bytes, *, framed: bool) -> None:
        self._client, self.id = client, exec_id
        self._connection, self._early, self._framed = connection, early, framed

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    def __iter__(self) -> Iterator[tuple[bool, bytes]]:
        return demultiplex(self._received(), framed=self._framed)

    def _received(self) -> Iterator[bytes]:
        early, self._early = self._early, b""
        if early:
            yield early
        while data := self._connection.recv(RECEIVE):
            yield data

    def write(self, data: bytes) -> None:
        """Send it input; Unavailable when it has ended."""
        try:
            self._connection.sendall(data, MSG_NOSIGNAL)
        except OSError as error:
            raise Unavailable(f"the command has ended: {error.strerror}") from None

    def close_stdin(self) -> None:
        """The end of its input."""
        self._connection.shutdown(SHUT_WR)

    def resize(self, height: int, width: int) -> None:
        """Tell its terminal the size, in lines and columns."""
        self._client.execs.resize(self.id, height, width)

    def communicate(self, stdin: bytes = b"") -> Result:
        """Send input and its end, read everything, wait; how it ended, and what it wrote."""
        output: tuple[list[bytes], list[bytes]] = ([], [])
        early, self._early = self._early, b""
        for is_error, piece in demultiplex(carry(self._connection, early, stdin), framed=self._framed):
            output[is_error].append(piece)
        return Result(self.wait(), b"".join(output[0]), b"".join(output[1]))

    def wait(self) -> int:
        """Its exit status, as soon as it has ended."""
        pause = 0.002
        while (found := self._client.execs.inspect(self.id))["Running"]:  # the streams' end may come a bit before
            time.sleep(pause)
            pause = min(0.2, pause * 2)
        return int(found["ExitCode"] or 0)

    def close(self) -> None:
        """Let go of its streams; it goes on by itself."""
        self._connection.close()


class Container:
    """One container. As a context manager it is removed at the end, running or not, with its anonymous volumes."""

    def __init__(self, client: Client, container_id: str) -> None:
        self._client = client
        self.id = container_id

    def __repr__(self) -> str:
        return f"<Container {self.id[:12]}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.remove()

    def inspect(self) -> JSON:
        """Everything about it."""
        return self._client.containers.inspect(self.id)

    @property
    def name(self) -> str:
        return str(self.inspect()["Name"]).removeprefix("/")

    @property
    def status(self) -> str:
        """`created`, `running`, `paused`, `restarting`, `exited`, `removing` or `dead`."""
        return str(self.inspect()["State"]["Status"])

    @property
    def address(self) -> str:
        """Its address in its first network, "" when it has none."""
        networks = self.inspect()["NetworkSettings"]["Networks"] or {}
        return next((str(one["IPAddress"]) for one in networks.values() if one.get("IPAddress")), "")

    def port(self, port: int | str) -> tuple[str, int]:
        """Where a port of it is published: (address, port); NotFound when it isn't."""
        wanted = str(port) if "/" in str(port) else f"{port}/tcp"
        targets = (self.inspect()["NetworkSettings"]["Ports"] or {}).get(wanted)
        if not targets:
            raise NotFound(f"port {wanted} of {self.id[:12]} is not published")
        address = str(targets[0]["HostIp"])
        return "127.0.0.1" if address in ("", "0.0.0.0") else address, int(targets[0]["HostPort"])

    def start(self) -> None:
        """Start it; nothing happens when it runs already."""
        self._client.containers.start(self.id)

    def stop(self, timeout: int | None = None) -> None:
        """Ask it to end; after `timeout` seconds (10 unless the image says else) it is killed."""
        self._client.containers.stop(self.id, timeout=timeout)

    def restart(self, timeout: int | None = None) -> None:
        """Stop it as `stop` does, and start it."""
        self._client.containers.restart(self.id, timeout=timeout)

    def kill(self, signal: str = "KILL") -> None:
        """Send its first process a signal."""
        self._client.containers.kill(self.id, signal)

    def pause(self) -> None:
        """Freeze all its processes."""
        self._client.containers.pause(self.id)

    def unpause(self) -> None:
        """Let them go on."""
        self._client.containers.unpause(self.id)

    def wait(self) -> int:
        """Wait until it has ended; its exit status."""
        return int(self._client.containers.wait(self.id)["StatusCode"])

    def remove(self) -> None:
        """Remove it, running or not; no error when it is gone already."""
        try:
            self._client.containers.remove(self.id, force=True, volumes=True)
        except NotFound:
            pass

    def exec(self, command: Command, *, stdin: bytes = b"", env: Mapping[str, str] | None = None, user: str = "",
             workdir: str = "") -> Result:
        """Run one more command in it, to its end."""
        process = self.popen(command, stdin=bool(stdin), env=env, user=user, workdir=workdir)
        return process.communicate(stdin)

    def popen(self, command: Command, *, stdin: bool = True, tty: bool = False, env: Mapping[str, str] | None = None,
              user: str = "", workdir: str = "") -> Process:
        """Start one more command in it, and talk with it:

            with container.popen("cat") as cat:
                cat.write(b"hello")
                cat.close_stdin()
                for is_error, data in cat: ...
                cat.wait()
        """
        body: JSON = {"Cmd": words(command), "AttachStdout": True, "AttachStderr": True, "AttachStdin": stdin,
                      "Tty": tty, "User": user, "WorkingDir": workdir,
                      "Env": [f"{key}={value}" for key, value in (env or {}).items()]}
        execs = self._client.execs
        exec_id = execs.create(self.id, {field: value for field, value in body.items() if value})
        connection, early = execs.start(exec_id, tty=tty).hijack()
        return Process(self._client, exec_id, connection, early, framed=not tty)

    def stats(self) -> Iterator[JSON]:
        """Figures of its use, one sample a second, as long as it exists (Engine API, ContainerStatsResponse)."""
        return self._client.containers.stats(self.id)

    def top(self) -> list[dict[str, str]]:
        """Its processes, as `ps -ef` names their fields."""
        found = self._client.containers.top(self.id)
        return [dict(zip(found["Titles"], row, strict=False)) for row in found["Processes"] or ()]

    def read(self, path: str) -> bytes:
        """The bytes of a file in it, running or not; NotFound, or InvalidParameter for what is no file."""
        with tarfile.open(fileobj=io.BytesIO(self._client.containers.get_archive(self.id, path).read())) as tar:
            member = tar.next()
            file = tar.extractfile(member) if member is not None and member.isfile() else None
            if file is None:
                raise InvalidParameter(f"{path} in {self.id[:12]} is no file")
            return file.read()

    def write(self, path: str, data: bytes, *, mode: int = 0o644) -> None:
        """Put a file into it, running or not; its folder must be there. NotFound when it isn't."""
        member = tarfile.TarInfo(path.rpartition("/")[2])
        member.size, member.mode, member.mtime = len(data), mode, int(time.time())
        self.put(path.rpartition("/")[0] or "/", [(member, data)])

    def put(self, folder: str, files: Iterable[tuple[tarfile.TarInfo, bytes]] | str | os.PathLike[str]) -> None:
        """Put files, or a file or folder from here with all that is in it, into a folder in it."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as tar:
            if isinstance(files, (str, os.PathLike)):
                tar.add(files, os.path.basename(os.path.abspath(files)))
            else:
                for member, data in files:
                    tar.addfile(member, io.BytesIO(data))
        self._client.containers.put_archive(self.id, folder, [packed.getvalue()])

    def archive(self, path: str) -> Iterator[bytes]:
        """A file or folder in it as a tar archive, piece by piece."""
        return self._client.containers.get_archive(self.id, path).chunks()

    def commit(self, image: str, *, comment: str = "") -> str:
        """Make an image of it; the image's id."""
        repo, tag = image, ""
        if ":" in image.rpartition("/")[2]:
            repo, _, tag = image.rpartition(":")
        return str(self._client.containers.commit(self.id, repo=repo, tag=tag, comment=comment)["Id"])

    def logs(self, *, follow: bool = False, tail: int | None = None) -> Iterator[tuple[bool, bytes]]:
        """What it wrote so far (the last `tail` lines), and with `follow` what it writes: (is it stderr, bytes)."""
        tty = bool(self.inspect()["Config"].get("Tty"))
        answer = self._client.containers.logs(self.id, follow=follow, tail="" if tail is None else str(tail))
        try:
            yield from demultiplex(answer.chunks(), framed=not tty)
        finally:
            answer.close()

    def output(self) -> Result:
        """Wait until it has ended: its exit status, and all that it wrote."""
        status = self.wait()
        both: tuple[list[bytes], list[bytes]] = ([], [])
        for is_error, piece in self.logs():
            both[is_error].append(piece)
        return Result(status, b"".join(both[0]), b"".join(both[1]))

    def wait_until(self, ready: Callable[[Container], object], *, seconds: float = 30.0) -> Self:
        """Wait until `ready(self)` is true (an error of the server means not yet); TimeoutError after that long.

            k.run("redis").wait_until(lambda c: c.exec("redis-cli ping").exit_code == 0)
        """
        end = time.monotonic() + seconds
        problem: KistError | None = None
        while True:
            try:
                if ready(self):
                    return self
            except KistError as error:
                problem = error
            if time.monotonic() >= end:
                raise TimeoutError(f"{self!r} was not ready after {seconds:g} s" + (f": {problem}" if problem else ""))
            time.sleep(0.05)


def words(command: Command) -> list[str]:
    """A command line is split as a shell would, without the rest of what a shell does."""
    return shlex.split(command) if isinstance(command, str) else list(command)
