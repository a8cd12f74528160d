"""The store as a whole: layers, images, snapshots, collection, being killed."""

from __future__ import annotations

import gzip
import io
import itertools
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kist.errors import Conflict, InvalidParameter, NotFound
from kist.oci import image as configs
from kist.oci import manifest as manifests
from kist.oci.chainid import chain_ids
from kist.oci.digest import Digest, of
from kist.oci.manifest import Descriptor
from kist.store import assemble, ingest
from kist.store.errors import DigestMismatch, DiskFull, InvalidLayer, NoSuchContent, StoreInUse
from kist.store.images import ManifestTarget
from kist.store.store import DRIVERS, Store
from kist.store.streams import Joined
from support import needs
from support.tars import config_of, diff_id, directory, file, hardlink, put_image, raw_header, symlink, tar

BASE = tar(directory("etc"), file("etc/passwd", b"root:x:0:0::/root:/bin/sh\n"), file("etc/old"),
           directory("tmp", 0o1777))
TOP = tar(file("etc/new", b"n" * 1000), file("etc/.wh.old"))


@pytest.fixture(params=DRIVERS)
def driver(request: pytest.FixtureRequest) -> str:
    return needs.storage_driver(request.param)


@pytest.fixture
def store(tmp_path: Path, driver: str) -> Iterator[Store]:
    with Store.open(str(tmp_path / "data"), driver) as store:
        yield store


def names(path: Path) -> list[str]:
    return sorted(os.listdir(path))


def nothing_half_made(data: Path) -> bool:
    """No layer without a record, nothing staged, only whole contents."""
    with Store.open(str(data)) as store:
        store.wait_for_trash()
        assert names(data / "staging") == names(data / "trash") == []
        assert not [name for name in names(data / "content/partial") if name.startswith("spool")]
        assert len(names(data / "layers")) == len(store.layers.list())
        assert all(of(store.content.read(digest, 1 << 30)) == digest for digest in store.content.list())
        assert all(Path(layer.path).is_dir() for layer in store.layers.list())
    return True


# -- layers -----------------------------------------------------------------------------------------------


def test_layers_are_stacked_by_chain_id(store: Store) -> None:
    base = store.layers.apply(io.BytesIO(BASE), diff_id(BASE))
    top = store.layers.apply(io.BytesIO(TOP), diff_id(TOP), base)
    assert [base, top] == chain_ids([diff_id(BASE), diff_id(TOP)])
    assert [layer.chain_id for layer in store.layers.stack(top)] == [top, base]
    assert store.layers.get(top).size == 1000
    with store.snapshots.view_image(base) as root:
        assert os.stat("etc/passwd", dir_fd=root).st_size
    assert store.layers.has(base)


def test_a_layer_that_is_there_is_not_read(store: Store) -> None:
    chain = store.layers.apply(io.BytesIO(BASE), diff_id(BASE))

    class Unread:
        def read(self, size: int = -1, /) -> bytes:
            raise AssertionError

    assert store.layers.apply(Unread(), diff_id(BASE)) == chain


@pytest.mark.parametrize(("data", "claimed", "limits", "error", "words"), [
    (BASE, TOP, {}, DigestMismatch, "filesystem layer verification failed for digest sha256:"),
    (BASE[:700], BASE[:700], {}, InvalidLayer, "unexpected EOF"),
    (BASE, BASE, {"limit_bytes": len(BASE) - 1}, InvalidLayer, "layer is larger than"),
    (BASE, BASE, {"limit_entries": 3}, InvalidLayer, "more than 3 entries"),
    (b"rubbish" * 1000, b"rubbish" * 1000, {}, InvalidLayer, "invalid tar header"),
    (tar(file("../x")), tar(file("../x")), {}, InvalidLayer, "outside of the layer"),
])
def test_a_bad_layer_leaves_nothing(store: Store, data: bytes, claimed: bytes, limits: dict[str, int],
                                    error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        store.layers.apply(io.BytesIO(data), diff_id(claimed), **limits)  # type: ignore[arg-type]
    assert store.layers.list() == []
    store.wait_for_trash()
    assert names(Path(store.path) / "layers") == names(Path(store.path) / "staging") == []


def test_an_endless_layer_of_zeros_is_bounded(store: Store) -> None:
    head = raw_header(b"zeros", size=b"%011o" % (10 << 30 >> 1))
    zeros = Joined(itertools.chain([head], itertools.repeat(bytes(1 << 20))))
    with pytest.raises(InvalidLayer, match="layer is larger than 20000000 bytes"):
        store.layers.apply(zeros, diff_id(b""), limit_bytes=20_000_000)
    store.wait_for_trash()
    assert names(Path(store.path) / "staging") == []


def test_a_full_disk(tmp_path: Path, driver: str) -> None:
    small = tmp_path / "small"
    small.mkdir()
    if driver == "erofs":   # such files can't be mounted from a tmpfs
        subprocess.run(["mkfs.ext4", "-q", tmp_path / "disk", "3m"], check=True)
        made = subprocess.run(["mount", "-o", "loop", tmp_path / "disk", small], check=False)
        if made.returncode:
            needs.missing("no loop devices here")
    else:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", small], check=True)
    try:
        with Store.open(str(small / "data"), driver) as store:
            layer = tar(*(file(f"f{n}", bytes(100_000)) for n in range(50)))
            with pytest.raises(DiskFull) as caught:
                store.layers.apply(io.BytesIO(layer), diff_id(layer))
            assert str(caught.value).endswith("no space left on device")
            with pytest.raises(DiskFull, match="no space left on device"):
                store.content.put(os.urandom(3 << 20))
            store.wait_for_trash()
            assert (store.layers.list(), store.content.list()) == ([], [])
            assert names(small / "data/staging") == []
    finally:
        subprocess.run(["umount", small], check=True)


def test_many_threads_apply_the_same_layers(store: Store) -> None:
    layers = [tar(file(f"f{n}", os.urandom(20_000))) for n in range(3)]
    errors: list[BaseException] = []
    chains: set[Digest | None] = set()

    def work() -> None:
        try:
            chain = None
            for layer in layers:
                chain = store.layers.apply(io.BytesIO(layer), diff_id(layer), chain)
            chains.add(chain)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    assert len(chains) == 1
    assert len(store.layers.list()) == 3


# -- images -----------------------------------------------------------------------------------------------

NAME = "docker.io/library/busybox:latest"


def test_an_image_and_its_names(store: Store) -> None:
    image = put_image(store, NAME, BASE, TOP, Cmd=["sh"])
    store.images.tag(f"docker.io/library/busybox@{image.manifest}", image.id)
    store.images.tag("localhost:5000/team/app:v1", image.id)
    found = store.images.resolve("busybox")
    assert found.id == image.id == of(config_of([BASE, TOP], Cmd=["sh"]))
    assert found.tags == ["busybox:latest", "localhost:5000/team/app:v1"]
    assert found.digests == [f"busybox@{image.manifest}"]
    assert found.size == 1026
    assert found.created_seconds == 1714979289
    assert store.images.config(image.id).run.cmd == ["sh"]
    for text in ("busybox:latest", "docker.io/library/busybox", f"busybox@{image.manifest}", image.id, image.id[7:],
                 image.id[7:19], image.id[:20], f"busybox:other@{image.manifest}", "localhost:5000/team/app:v1"):
        assert store.images.resolve(text).id == image.id, text
    assert [image.id for image in store.images.list()] == [image.id]


@pytest.mark.parametrize(("text", "error", "words"), [
    ("nosuch", NotFound, "No such image: nosuch:latest"), ("a/b:c", NotFound, "No such image: a/b:c"),
    ("0123456789ab", NotFound, "No such image: 0123456789ab"), ("Bad", InvalidParameter, "invalid reference format"),
    ("sha256:" + "a" * 64, NotFound, "No such image: sha256:aaa"), ("f" * 64, NotFound, "No such image: fff"),
    ("", InvalidParameter, "invalid reference format"),
])
def test_images_that_are_not_there(store: Store, text: str, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        store.images.resolve(text)


def test_a_name_moves_to_the_newer_image(store: Store) -> None:
    old = put_image(store, NAME, BASE)
    new = put_image(store, NAME, BASE, TOP)
    assert store.images.resolve("busybox").id == new.id
    assert store.images.get(old.id).names == []
    assert store.images.untag(NAME).id == new.id
    with pytest.raises(NotFound, match="No such image: busybox:latest"):
        store.images.untag(NAME)


def test_the_beginning_of_an_id_must_be_of_one_image_only(store: Store) -> None:
    for number in range(17):
        put_image(store, None, BASE, Env=[f"A={number}"])
    ids = [image.id[7:8] for image in store.images.list()]
    ambiguous = next(first for first in ids if ids.count(first) > 1)
    with pytest.raises(Conflict, match="multiple IDs found with provided prefix"):
        store.images.resolve(ambiguous)


def test_an_image_needs_all_of_its_parts(store: Store) -> None:
    image = put_image(store, None, BASE, TOP)
    blob = store.images.manifest(image.id).layers[1].digest
    store.content.delete(blob)
    with pytest.raises(NoSuchContent):
        store.images.put(NAME, ManifestTarget(image.manifest))
    for bad in ("busybox", f"docker.io/library/busybox:x@{image.manifest}", "docker.io/library/busybox"):
        with pytest.raises(InvalidParameter):
            store.images.tag(bad, image.id)
    with pytest.raises(NotFound):
        store.images.tag(NAME, Digest("sha256:" + "0" * 64))


def test_deleting_an_image_frees_what_only_it_needed(store: Store) -> None:
    one = put_image(store, NAME, BASE, TOP)
    two = put_image(store, None, BASE, Env=["A=b"])
    store.images.delete(one.id)
    base, top = chain_ids([diff_id(BASE), diff_id(TOP)])
    assert store.layers.has(base)
    assert not store.layers.has(top)
    assert store.images.manifest(two.id)
    assert not store.content.has(one.manifest)
    with pytest.raises(NotFound):
        store.images.get(one.id)
    store.images.delete(two.id)
    store.wait_for_trash()
    assert (store.layers.list(), store.content.list()) == ([], [])
    assert store.size() == 0
    assert names(Path(store.path) / "layers") == []


def test_a_lease_and_a_snapshot_protect(store: Store) -> None:
    image = put_image(store, NAME, BASE, TOP)
    store.snapshots.prepare("c1", image.chain_id)
    with store.lease():
        assert store.content.has(image.manifest)
        store.images.delete(image.id)
        store.gc(0)
        assert store.content.has(image.manifest)
    store.gc(0)
    assert store.content.list() == []
    assert len(store.layers.list()) == 2
    store.snapshots.remove("c1")
    assert store.gc(0).layers == 2
    assert store.layers.list() == []


def test_young_content_waits_for_its_image(store: Store) -> None:
    store.content.put(b"part of a pull")
    assert store.gc().contents == 0
    assert store.gc(0) == (1, 0, 14)


def test_a_budget_drops_the_least_recently_used(store: Store) -> None:
    images = [put_image(store, None, tar(file("f", os.urandom(10_000))), Env=[str(n)]) for n in range(4)]
    store.images.touch(images[0].id)
    store.snapshots.prepare("c", images[1].chain_id)
    assert store.keep_within(store.size()) == []
    removed = store.keep_within(store.size() // 2, keep=frozenset({images[2].id}))
    assert [image.id for image in removed] == [images[3].id, images[0].id]


# -- getting an image --------------------------------------------------------------------------------------


class Registry:
    """Blobs by digest, as a `Source`; counts what it gave."""

    def __init__(self, *layers: bytes) -> None:
        self.layers = layers
        self.blobs = {of(blob): blob for blob in (gzip.compress(layer, 1, mtime=0) for layer in layers)}
        self.asked: list[tuple[Digest, int]] = []
        self.config = config_of(layers)
        self.manifest = manifests.Manifest(
            schema_version=2, config=manifests.descriptor(self.config, manifests.OCI_CONFIG),
            layers=[Descriptor(media_type=manifests.OCI_LAYER_GZIP, digest=digest, size=len(self.blobs[digest]))
                    for digest in (of(gzip.compress(layer, 1, mtime=0)) for layer in layers)])

    def __call__(self, blob: Descriptor, offset: int) -> Iterable[bytes]:
        self.asked.append((blob.digest, offset))
        data = self.blobs[blob.digest]
        for at in range(offset, len(data), 1000):
            yield data[at:at + 1000]

    def get(self, store: Store, **more: Any) -> Digest | None:
        with store.lease():
            chain = assemble(store, self.manifest, configs.parse(self.config), self, **more)
            store.content.put(self.config)
            store.images.put(NAME, ManifestTarget(store.content.put(manifests.encode(self.manifest))))
        return chain


def many_layers(count: int) -> list[bytes]:
    return [tar(file(f"f{n}", os.urandom(30_000)), symlink("last", str(n))) for n in range(count)]


def test_an_image_is_assembled(store: Store) -> None:
    registry = Registry(*many_layers(5), tar(hardlink("hard", "f0")), BASE, BASE)
    events: list[tuple[str, Digest]] = []
    chain = registry.get(store, report=lambda event, blob: events.append((event, blob.digest)))
    assert chain == configs.parse(registry.config).chain_id
    with store.snapshots.view_image(chain) as root:
        assert os.readlink("last", dir_fd=root) == "4"
        assert os.stat("hard", dir_fd=root).st_size == 30_000
    complete = [digest for event, digest in events if event == "complete"]
    assert complete == [blob.digest for blob in registry.manifest.layers]
    registry.asked.clear()
    assert registry.get(store) == chain
    assert registry.asked == []


def test_a_broken_off_pull_goes_on_where_it_was(store: Store) -> None:
    registry = Registry(*many_layers(1))
    blob = registry.manifest.layers[0]

    def broken(blob: Descriptor, offset: int) -> Iterator[bytes]:
        yield registry.blobs[blob.digest][:7777]
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        assemble(store, registry.manifest, configs.parse(registry.config), broken)
    assert store.layers.list() == []
    assert not store.content.has(blob.digest)
    registry.get(store)
    assert registry.asked == [(blob.digest, 7777)]
    with store.snapshots.view_image(configs.parse(registry.config).chain_id) as root:
        assert os.stat("f0", dir_fd=root).st_size == 30_000


def test_a_source_that_can_not_resume_sends_all_again(store: Store) -> None:
    registry = Registry(*many_layers(1))
    blob = registry.manifest.layers[0]
    with store.content.writer(blob.digest, blob.size) as writer:
        writer.write(registry.blobs[blob.digest][:5000])
    offsets = []

    def whole_only(blob: Descriptor, offset: int) -> Iterator[bytes]:
        offsets.append(offset)
        if offset:
            raise ingest.CannotResume
        yield registry.blobs[blob.digest]

    assemble(store, registry.manifest, configs.parse(registry.config), whole_only)
    assert offsets == [5000, 0]
    assert len(store.layers.list()) == 1


@pytest.mark.parametrize("lie", ["wrong bytes", "truncated", "endless", "wrong diff id", "hostile"])
def test_lying_registries(store: Store, lie: str) -> None:
    layers = many_layers(3)
    if lie == "hostile":
        layers[1] = tar(file("../../evil"))
    registry = Registry(*layers)
    victim = registry.manifest.layers[1].digest
    if lie == "wrong bytes":
        registry.blobs[victim] = registry.blobs[victim][:-9] + b"x" + registry.blobs[victim][-8:]
    elif lie == "truncated":
        registry.blobs[victim] = registry.blobs[victim][:-20]
    elif lie == "endless":
        registry.blobs[victim] += bytes(5_000_000)
    elif lie == "wrong diff id":
        registry.config = registry.config.replace(diff_id(layers[1]).encode(), diff_id(layers[2]).encode())
    with pytest.raises((DigestMismatch, InvalidLayer, InvalidParameter)):
        assemble(store, registry.manifest, configs.parse(registry.config), registry)
    assert len(store.layers.list()) <= 1
    store.wait_for_trash()
    assert names(Path(store.path) / "staging") == []
    if lie not in ("wrong diff id", "hostile"):
        assert not store.content.has(victim)
        good = Registry(*layers)
        good.get(store)
        assert len(store.layers.list()) == 3


def test_two_pulls_of_one_image_share_the_work(store: Store) -> None:
    registry = Registry(*many_layers(4))
    threads = [threading.Thread(target=registry.get, args=(store,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(registry.asked) == sorted((blob.digest, 0) for blob in registry.manifest.layers)
    assert len(store.layers.list()) == 4


# -- opening ----------------------------------------------------------------------------------------------


def test_a_store_is_open_once(tmp_path: Path, store: Store) -> None:
    with pytest.raises(StoreInUse, match="in use by another server"):
        Store.open(store.path)
    with pytest.raises(InvalidParameter, match="overlayfs"):
        Store.open(str(tmp_path / "a:b"))


def test_what_was_half_made_is_gone_after_opening(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with Store.open(str(data)) as store:
        image = put_image(store, NAME, BASE)
    (data / "staging/half/fs").mkdir(parents=True)
    (data / "layers/99/fs").mkdir(parents=True)
    (data / "trash/old").mkdir()
    (data / "content/partial/spool-1").touch()
    assert nothing_half_made(data)
    with Store.open(str(data)) as store:
        assert store.images.resolve("busybox").id == image.id


KILLED = """
import io, os, sys, threading
sys.path.insert(0, sys.argv[2])
from support.tars import put_image, tar, file
from kist.store.store import DRIVERS, Store
store = Store.open(sys.argv[1], sys.argv[3])
print("ready", flush=True)
number = 0
while True:
    number += 1
    layers = [tar(*(file(f"d{n}/f{n}", os.urandom(3000)) for n in range(60))) for _ in range(2)]
    image = put_image(store, f"docker.io/library/x:{number}", *layers)
    store.snapshots.prepare(f"c{number}", image.chain_id)
    if number % 2:
        store.snapshots.remove(f"c{number}")
        store.images.delete(image.id)
"""


@pytest.mark.parametrize("delay", [0.02, 0.09, 0.2, 0.33])
def test_killed_at_any_point(tmp_path: Path, driver: str, delay: float) -> None:
    data = tmp_path / "data"
    tests = str(Path(__file__).parents[2])
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(data), tests, driver], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    threading.Event().wait(delay)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert nothing_half_made(data)
    with Store.open(str(data)) as store:
        for image in store.images.list():
            assert store.images.config(image.id).chain_id == image.chain_id
            with store.snapshots.view_image(image.chain_id) as root:
                assert os.stat("d0/f0", dir_fd=root).st_size == 3000
        for key, chain in store.snapshots.chains().items():
            assert chain is not None
            assert store.snapshots.mounts(key)
            store.snapshots.remove(key)
        for image in store.images.list():
            store.images.delete(image.id)
        store.gc(0)
        assert (store.layers.list(), store.content.list()) == ([], [])


def test_collecting_while_images_come_and_go(store: Store) -> None:
    stop = threading.Event()
    errors: list[BaseException] = []

    def collect() -> None:
        while not stop.is_set():
            try:
                store.gc(0)
            except BaseException as error:
                errors.append(error)
                return

    def work(who: int) -> None:
        try:
            for number in range(6):
                registry = Registry(BASE, tar(file(f"f{who}", bytes(number * 1000))))
                registry.get(store)
                chain = configs.parse(registry.config).chain_id
                store.snapshots.prepare(f"c{who}.{number}", chain)
                with store.snapshots.view_image(chain) as root:
                    assert stat.S_ISDIR(os.stat("etc", dir_fd=root).st_mode)
                store.snapshots.remove(f"c{who}.{number}")
                store.images.delete(of(registry.config))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(who,)) for who in range(3)]
    collector = threading.Thread(target=collect)
    for thread in (*threads, collector):
        thread.start()
    for thread in threads:
        thread.join(120)
    stop.set()
    collector.join(60)
    assert errors == []
    store.gc(0)
    assert store.layers.list() == []


def test_a_store_of_the_first_format_is_taken_over(tmp_path: Path) -> None:
    with Store.open(str(tmp_path)) as store:
        image = put_image(store, "docker.io/library/app:v1", BASE)
    with sqlite3.connect(tmp_path / "store.db") as db:
        db.execute("ALTER TABLE layers DROP COLUMN verity")
        db.execute("PRAGMA user_version = 1")
    db.close()
    with Store.open(str(tmp_path)) as store:
        [layer] = store.layers.stack(store.images.get(image.id).chain_id)
        assert layer.verity is None
        put_image(store, "docker.io/library/app:v2", TOP)
