"""Does something on an ext4 with fs-verity; run in a mount namespace of its own:

    verity_disk.py DEVICE-FILE MOUNT-POINT seal | store

Prints "whole", "lacking: …" where the kernel can't, or what is wrong.
"""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kist.errors import EngineFailure, InvalidParameter
from kist.linux import verity
from kist.store import erofs
from kist.store.check import check
from kist.store.store import Store
from support.tars import directory, file, put_image, tar
from support.verity import digest

NAME = "docker.io/library/app:v1"


@contextmanager
def refused(number: int) -> Iterator[None]:
    with pytest.raises(OSError) as caught:
        yield
    assert caught.value.errno == number, caught.value


def mount(device: Path, place: Path) -> None:
    subprocess.run(["mount", "-o", "loop", device, place], check=True)


def flip(device: Path, needle: bytes) -> None:
    """One bit of the disk, where the only copy of *needle* is."""
    data = device.read_bytes()
    assert data.count(needle) == 1, data.count(needle)
    at = data.index(needle)
    with device.open("r+b") as disk:
        disk.seek(at)
        disk.write(bytes([data[at] ^ 1]))
        os.fsync(disk.fileno())


def seal(device: Path, place: Path) -> None:
    """The wrappers against the kernel itself."""
    for size in (0, 1, 4096, 4097, 4096 * 128, 4096 * 130 + 5):
        path, data = place / f"f{size}", os.urandom(size)
        path.write_bytes(data)
        with refused(errno.ENODATA):
            verity.measure(str(path))
        with path.open("rb+"), refused(errno.ETXTBSY):
            verity.enable(str(path))
        verity.enable(str(path))
        assert verity.measure(str(path)) == digest(data), size
        assert path.read_bytes() == data
        with refused(errno.EPERM):
            path.open("rb+").close()
    marked = os.urandom(64) + bytes(3 * 4096)
    (place / "marked").write_bytes(marked)
    verity.enable(str(place / "marked"))
    subprocess.run(["umount", place], check=True)
    flip(device, marked[:64])
    mount(device, place)
    assert verity.measure(str(place / "marked")) == digest(marked)
    with refused(errno.EIO):
        (place / "marked").read_bytes()


def store(device: Path, place: Path) -> None:
    """An EROFS layer is sealed; a flipped bit of it is never read; check mends it."""
    erofs.check_usable(str(place))
    marked = os.urandom(64)
    with Store.open(f"{place}/store", "erofs") as opened:
        image = put_image(opened, NAME, tar(directory("d"), file("d/marked", marked + bytes(20000))))
        [layer] = opened.layers.stack(image.chain_id)
        assert layer.verity and layer.image and verity.measure(layer.image) == layer.verity, layer
        assert opened.verity() == "in force for 1 of 1 EROFS layers", opened.verity()
        assert check(opened) == [], check(opened)
        with opened.snapshots.view_image(image.chain_id) as root:
            assert os.stat("d/marked", dir_fd=root).st_size == 20064
    subprocess.run(["umount", place], check=True)
    flip(device, marked)
    mount(device, place)
    with Store.open(f"{place}/store", "erofs") as opened:
        with opened.snapshots.view_image(image.chain_id) as root:
            fd = os.open("d/marked", os.O_RDONLY, dir_fd=root)
            with refused(errno.EIO):
                os.read(fd, 64)
            os.close(fd)
        [finding] = check(opened, repair=True)
        assert finding.repaired and "marked" in finding.problem, finding
        assert check(opened) == [], check(opened)
        [layer] = opened.layers.stack(image.chain_id)
        assert layer.image and verity.measure(layer.image) == layer.verity, layer
        file_ = Path(layer.image)
        copy = file_.read_bytes()
        file_.unlink()
        file_.write_bytes(copy)     # another file, with the same bytes even: nobody watches over it
        with pytest.raises(EngineFailure, match="system check --repair"), \
                opened.snapshots.view_image(image.chain_id):
            pass
        assert check(opened, repair=True)[0].repaired
        assert check(opened) == []


def main() -> int:
    device, place, what = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    try:
        mount(device, place)
    except subprocess.CalledProcessError:
        print("lacking: the kernel doesn't mount an ext4 with fs-verity")
        return 0
    try:
        (place / "probe").touch()
        verity.enable(str(place / "probe"))
        {"seal": seal, "store": store}[what](device, place)
    except InvalidParameter as error:
        print(f"lacking: {error}")
    except OSError as error:
        if error.errno not in verity.LACKING:
            raise
        print("lacking: the kernel has no fs-verity")
    else:
        print("whole")
    return 0


if __name__ == "__main__":
    sys.exit(main())
