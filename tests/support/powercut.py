"""Works on a store until the power is cut; run by test_store_powercut.py in a mount namespace of its own.

    powercut.py DEVICE-FILE MOUNT-POINT SEED ROUNDS DRIVER

The power cut is ext4's own (EXT4_IOC_SHUTDOWN without a flush of the journal, as xfstests use it): from that
moment nothing is written any more, and what was only in memory is lost. Prints one line per round, or what is wrong.
"""

from __future__ import annotations

import fcntl
import os
import random
import select
import signal
import struct
import subprocess
import sys
import time

from kist.errors import KistError
from kist.store.check import check
from kist.store.store import Store
from support.tars import directory, file, put_image, tar

_SHUTDOWN = 0x8004587D  # _IOR('X', 125, __u32), linux/fs/ext4/ext4.h
_NO_LOG_FLUSH = struct.pack("I", 2)


def work(path: str, driver: str, out: int, chance: random.Random, number: int) -> None:
    """Put, name, remove images and snapshots for ever; tell of each when it is done."""
    def tell(line: str) -> None:
        os.write(out, f"{line}\n".encode())

    store = Store.open(path, driver)
    while True:
        number += 1
        layers = [tar(directory(f"d{number}-{index}"), *(file(f"d{number}-{index}/{i}", chance.randbytes(3000))
                                                         for i in range(chance.randrange(1, 30))))
                  for index in range(chance.randrange(1, 4))]
        name = f"docker.io/library/n{number % 7}:latest"
        tell(f"putting {name}")
        image = put_image(store, name, *layers)
        tell(f"put {name} {image.id}")
        store.snapshots.prepare(f"box{number}", image.chain_id)
        if number % 3 == 0:
            victim = chance.choice(store.images.list())
            tell(f"deleting {victim.id}")
            store.images.delete(victim.id)
            tell(f"deleted {victim.id}")
        if number % 4 == 0:
            store.snapshots.remove(f"box{number - 2}")
            store.gc(0)


def one_round(device: str, place: str, driver: str, chance: random.Random, known: dict[str, str], number: int) -> int:
    subprocess.run(["mount", "-o", "loop", device, place], check=True)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            work(f"{place}/store", driver, writer, chance, number)
        except BaseException:  # the disk is gone
            os._exit(1)
    os.close(writer)
    told = _read(reader, time.monotonic() + chance.uniform(0.2, 1.5))
    fd = os.open(place, os.O_RDONLY)
    fcntl.ioctl(fd, _SHUTDOWN, _NO_LOG_FLUSH)
    os.close(fd)
    # What is told from here on isn't known to be safe: it may have been done just before.
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    late = _read(reader, None)
    os.close(reader)
    subprocess.run(["umount", place], check=True)
    _learn(known, told)
    maybe = {line.split(" ")[1] for line in late + told if line.startswith(("deleting", "put"))
             } if late else {line.split(" ")[1] for line in told if line.startswith("deleting")}
    maybe |= _under_way(told + late)
    subprocess.run(["mount", "-o", "loop", device, place], check=True)
    with Store.open(f"{place}/store", driver) as store:
        findings = check(store)
        assert not findings, findings
        here = {name: image.id for image in store.images.list() for name in image.names}
        for name, image in known.items():
            if here.get(name) != image and image not in maybe and name not in maybe:
                raise AssertionError(f"{name}: {image} was stored, and is gone (now {here.get(name)})")
        known.clear()
        known.update(here)
    subprocess.run(["umount", place], check=True)
    return number + len(told) + len(late) + 10


def _learn(known: dict[str, str], told: list[str]) -> None:
    for line in told:
        words = line.split(" ")
        if words[0] == "put":
            known[words[1]] = words[2]
        elif words[0] == "deleted":
            for name in [name for name, image in known.items() if image == words[1]]:
                del known[name]


def _under_way(told: list[str]) -> set[str]:
    """The name that was being put at the end: that may be done, and nobody was left to tell."""
    last = next((line for line in reversed(told) if line.startswith("put")), "")
    return {last.split(" ")[1]} if last.startswith("putting ") else set()


def _read(fd: int, until: float | None) -> list[str]:
    """Whole lines until a time, or the end."""
    data = b""
    while until is None or time.monotonic() < until:
        ready, _, _ = select.select([fd], [], [], None if until is None else max(0, until - time.monotonic()))
        if not ready:
            break
        piece = os.read(fd, 65536)
        if not piece:
            break
        data += piece
    return data.decode().splitlines()


def main() -> int:
    device, place, seed, rounds, driver = sys.argv[1:]
    chance, known, number = random.Random(int(seed)), dict[str, str](), 0
    for _ in range(int(rounds)):
        number = one_round(device, place, driver, chance, known, number)
        print(f"whole: {len(known)} names", flush=True)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (AssertionError, KistError) as error:
        print(f"BROKEN: {type(error).__name__}: {error}")
        sys.exit(1)
