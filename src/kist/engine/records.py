"""What the engine must still know after it was killed: `engine.db`, and a typed record per container.

::

    <data>/engine.db   sqlite 3, WAL, synchronous=FULL; PRAGMA user_version = SCHEMA
      containers(id TEXT PRIMARY KEY, name TEXT UNIQUE, record BLOB)   record = JSON of ContainerRecord
      volumes(name TEXT PRIMARY KEY, record BLOB)                      record = JSON of VolumeRecord

One thread writes. Writes that arrive while it commits go into the next transaction together, so twenty
containers at once cost about as many fsyncs as two. What is running is not trusted from here after a
crash: the monitors and their exit files know it better (see recovery.py).
"""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import sqlite3
import threading
from typing import Any

import msgspec

from kist.engine import states
from kist.errors import Conflict, EngineFailure, Unavailable

log = logging.getLogger(__name__)
Json = dict[str, Any]


class Mount(msgspec.Struct, omit_defaults=True):
    """One mount of a container as resolved at create (`type`: bind, volume, tmpfs or image)."""

    type: str
    target: str
    source: str = ""  # host path; for volumes their data directory
    name: str = ""  # volume name
    driver: str = ""
    rw: bool = True
    mode: str = ""
    propagation: str = ""
    nocopy: bool = False  # a new volume isn't filled from the image
    anonymous: bool = False
    options: list[str] = []  # mount options, tmpfs only
    create_source: bool = False  # `-v /host:/x` makes a missing directory, `--mount` refuses
    recursion: str = ""  # "disabled": what is mounted below stays away; a read-only one's: "" it is so below as well,
    # "writable" not, "readonly" or refuse
    subpath: str = ""  # of a volume or an image: what in it is mounted
    image_id: str = ""  # of a mounted image: what `source` meant at create
    idmap: str = ""  # "": none; "owner"; or the words behind `idmap=`
    volume_labels: dict[str, str] | None = None  # of a volume that is made for it
    volume_options: dict[str, str] | None = None


class HealthResult(msgspec.Struct):
    start: int
    end: int
    exit_code: int
    output: str


class Health(msgspec.Struct):
    status: str = "starting"
    failing_streak: int = 0
    log: list[HealthResult] = []


class Pending(msgspec.Struct):
    """What an update changed that a running process can't be given: its next start takes it over."""

    config: Json  # the fields of `config` and `host` that differ
    host: Json
    mounts: list[Mount]


class ContainerRecord(msgspec.Struct, omit_defaults=True):
    """All that is kept about a container. Times are nanoseconds since 1970, 0 = never."""

    id: str
    name: str
    created: int
    image: str  # as the user named it
    image_id: str  # sha256:…
    config: Json  # API ContainerConfig, image's defaults merged in
    host: Json  # API HostConfig, all fields present
    chain_id: str = ""
    manifest: Json | None = None  # OCI descriptor
    networks: Json = {}  # API EndpointsConfig as asked for
    unplugged: bool = False  # it was taken off its last network: that its mode is "none" isn't what the user asked for
    path: str = ""
    args: list[str] = []
    mounts: list[Mount] = []
    state: str = states.CREATED
    pid: int = 0
    exit_code: int = 0
    error: str = ""
    oom_killed: bool = False
    started_at: int = 0
    finished_at: int = 0
    restart_count: int = 0
    stopped_by_user: bool = False
    was_started: bool = False
    endpoint: Json | None = None  # engine/network's own words, given back to it after a server restart
    health: Health | None = None
    restart_wanted: bool = False  # unhealthy: whatever ends this run, the next one is to begin
    pending: Pending | None = None
    apparmor: str = ""  # the profile that it was started with
    unapplied: bool = False  # limits are on record that its control group may not have yet

    @property
    def image_ids(self) -> set[str]:
        """The images that it needs: its own, and those that are mounted in it."""
        return {self.image_id, *(mount.image_id for mount in self.all_mounts if mount.image_id)}

    @property
    def all_mounts(self) -> list[Mount]:
        """Those it has, and those it is to have."""
        return [*self.mounts, *(self.pending.mounts if self.pending else ())]

    def upcoming(self) -> ContainerRecord:
        """A copy, as the next start will find it."""
        if self.pending is None:
            return msgspec.structs.replace(self)
        return msgspec.structs.replace(
            self, config={**self.config, **self.pending.config}, host={**self.host, **self.pending.host},
            mounts=self.pending.mounts, pending=None)


class VolumeRecord(msgspec.Struct, omit_defaults=True):
    name: str
    created: int
    driver: str = "local"
    labels: dict[str, str] | None = None
    options: dict[str, str] | None = None
    anonymous: bool = False
    removing: bool = False


_encode = msgspec.json.Encoder().encode
_decode_container = msgspec.json.Decoder(ContainerRecord).decode
_decode_volume = msgspec.json.Decoder(VolumeRecord).decode

# Each step brings the database from user_version i to i + 1; they are never edited, only added to.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE containers (id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, record BLOB NOT NULL)",
        "CREATE TABLE volumes (name TEXT PRIMARY KEY, record BLOB NOT NULL)",
    ),
)
SCHEMA = len(MIGRATIONS)

_Write = tuple[str, tuple[Any, ...], "asyncio.Future[None] | None"]


class Records:
    """The database. `open`, `containers` and `volumes` block; the writes are queued and awaitable."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._writes: queue.SimpleQueue[_Write | None] = queue.SimpleQueue()
        self._db = _open(path)
        self._thread = threading.Thread(target=self._write_loop, name="kist-records", daemon=True)
        self._thread.start()

    def containers(self) -> list[ContainerRecord]:
        rows = self._db.execute("SELECT record FROM containers").fetchall()
        return [_decode_container(row[0]) for row in rows]

    def volumes(self) -> list[VolumeRecord]:
        return [_decode_volume(row[0]) for row in self._db.execute("SELECT record FROM volumes").fetchall()]

    def save(self, record: ContainerRecord) -> asyncio.Future[None]:
        """Queue the record as it is now; await the answer only where durability must come first."""
        return self._put("INSERT INTO containers VALUES (?1, ?2, ?3) "
                         "ON CONFLICT (id) DO UPDATE SET name = ?2, record = ?3",
                         (record.id, record.name, _encode(record)))

    def forget(self, container_id: str) -> asyncio.Future[None]:
        return self._put("DELETE FROM containers WHERE id = ?", (container_id,))

    def save_volume(self, record: VolumeRecord) -> asyncio.Future[None]:
        return self._put("INSERT OR REPLACE INTO volumes VALUES (?, ?)", (record.name, _encode(record)))

    def forget_volume(self, name: str) -> asyncio.Future[None]:
        return self._put("DELETE FROM volumes WHERE name = ?", (name,))

    def close(self) -> None:
        """Commit what is queued, then close."""
        self._writes.put(None)
        self._thread.join()
        self._db.close()

    def _put(self, sql: str, values: tuple[Any, ...]) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.add_done_callback(_seen)
        self._writes.put((sql, values, future))
        return future

    def _write_loop(self) -> None:
        while True:
            batch = [self._writes.get()]
            while not self._writes.empty():
                batch.append(self._writes.get())
            writes = [write for write in batch if write is not None]
            if writes:
                self._commit(writes)
            if None in batch:
                return

    def _commit(self, writes: list[_Write]) -> None:
        """All in one transaction; when that fails, each alone, so that one bad write spoils no other."""
        try:
            self._transact(writes)
        except sqlite3.Error as error:
            if len(writes) > 1:
                for write in writes:
                    self._commit([write])
                return
            _settle(writes, _explain(error, self._path))
            return
        _settle(writes, None)

    def _transact(self, writes: list[_Write]) -> None:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            for sql, values, _ in writes:
                self._db.execute(sql, values)
            self._db.execute("COMMIT")
        except sqlite3.Error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise


def _settle(writes: list[_Write], error: Exception | None) -> None:
    for _, _, future in writes:
        if future is not None:
            try:
                future.get_loop().call_soon_threadsafe(_finish, future, error)
            except RuntimeError:  # the loop is closed: nobody waits any more
                pass


def _finish(future: asyncio.Future[None], error: Exception | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)


def _seen(future: asyncio.Future[None]) -> None:
    """Most writes are not awaited: their failure is for the log (a full disk: the next start will know less)."""
    if not future.cancelled() and (error := future.exception()) is not None:
        log.error("%s", error)


def _explain(error: sqlite3.Error, path: str) -> Exception:
    if "UNIQUE constraint failed: containers.name" in str(error):
        return Conflict("The container name is already in use.")
    if "full" in str(error):
        return Unavailable(f"write {path}: no space left on device")
    return EngineFailure(f"write {path}: {error}")


def _open(path: str) -> sqlite3.Connection:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=32)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA busy_timeout = 5000")
        _migrate(db, path)
    except sqlite3.Error as error:
        db.close()
        raise EngineFailure(f"open {path}: {error}") from None
    except BaseException:
        db.close()
        raise
    return db


def _migrate(db: sqlite3.Connection, path: str) -> None:
    version: int = db.execute("PRAGMA user_version").fetchone()[0]
    if version > SCHEMA:
        raise EngineFailure(f"{path} was written by a newer Kist (schema {version}, this one knows {SCHEMA})")
    for number in range(version, SCHEMA):
        db.execute("BEGIN IMMEDIATE")
        for statement in MIGRATIONS[number]:
            db.execute(statement)
        db.execute(f"PRAGMA user_version = {number + 1}")
        db.execute("COMMIT")
