"""A reader against the writer that rotates and puts compressed copies in place, interleaved by the system call."""

from __future__ import annotations

import os
import random
import shutil
from contextlib import closing
from pathlib import Path

import pytest

from kist.engine.logfiles import LogFiles
from kist.engine.logformats import FORMATS, Format
from kist.engine.logpress import press, rotated_files
from kist.launcher.log import LogFile
from support.turns import Actor, take_turns

PLAYS = 15
SIZE = 250  # bytes of a file: three records of json-file


class Play:
    """A writer of ``lines`` lines, and a reader that follows; ``before`` of them are there when both begin."""

    def __init__(self, folder: Path, driver: str, *, files: int, lines: int, before: int = 0,
                 tail: int | None = None) -> None:
        folder.mkdir()
        self.path, self._form, self._lines, self._tail = folder / "x.log", FORMATS[driver], lines, tail
        self._log = LogFile().open({"driver": driver, "path": str(self.path), "max_size": SIZE, "max_file": files})
        self._write(0, before)
        self._at = before  # lines that are written, or being written
        self.at_start = 0  # … when the reader had found its place
        self.read: list[int] = []
        self.writer, self.reader = Actor(self._go_on), Actor(self._follow)

    def _write(self, first: int, last: int) -> None:
        self._log.write("stdout", b"".join(b"line %d\n" % n for n in range(first, last)))

    def _go_on(self) -> None:
        """One line, or several files' at once; now the newest rotated file is compressed, now an older one."""
        number = 0
        for batch in (1, 2, 3, 7, 1, 1, 10, 3) * self._lines:
            first, self._at = self._at, min(self._at + batch, self._lines)
            if first == self._lines:
                break
            self._write(first, self._at)
            number = number % 3 + 1
            self._press(f"{self.path}.{number}")
        self._log.close()

    def _press(self, name: str) -> None:
        try:
            source = open(name, "rb")
        except FileNotFoundError:
            return
        with source:
            press(source, f"{self.path}.press")
            self._log.settle(os.fstat(source.fileno()).st_ino, f"{self.path}.press")

    def _follow(self) -> None:
        with closing(LogFiles(str(self.path), self._form)) as files:
            files.start(tail=self._tail, since=0)
            self.at_start = self._at
            ended = False
            while not ended:
                ended = self.writer.over
                self.read += numbers(files, self._form)

    def left(self) -> list[int]:
        return left(self.path, self._form)


def numbers(files: LogFiles, form: Format) -> list[int]:
    """Of the lines that there are to read now."""
    found = []
    while (block := files.read()) is not None:
        found += [int(record.data.split()[1]) for record in form.parse(block)]
    return found


def left(path: Path, form: Format) -> list[int]:
    """What a reader finds who comes afterwards."""
    with closing(LogFiles(str(path), form)) as files:
        files.start(tail=None, since=0)
        return numbers(files, form)


def turns(seed: int, scale: int) -> list[int]:
    """Steps of the writer, of the reader, in turns."""
    chance = random.Random(seed)
    return [min(1 + int(chance.expovariate(1 / scale)), 10 * scale) for _ in range(600)]


@pytest.mark.parametrize("scale", [3, 12, 40])
@pytest.mark.parametrize("driver", ["json-file", "local"])
def test_a_follower_misses_nothing(tmp_path: Path, driver: str, scale: int) -> None:
    for seed in range(PLAYS):
        play = Play(tmp_path / "play", driver, files=16, lines=40)
        take_turns(turns(seed, scale), play.writer, play.reader)
        assert play.read == list(range(40)), f"turns({seed}, {scale})"
        assert play.left() == list(range(40))
        shutil.rmtree(tmp_path / "play")


@pytest.mark.parametrize("scale", [3, 12, 40])
def test_the_tail_is_whole(tmp_path: Path, scale: int) -> None:
    for seed in range(PLAYS):
        play = Play(tmp_path / "play", "json-file", files=16, lines=40, before=15, tail=10)
        take_turns(turns(seed, scale), play.writer, play.reader)
        assert play.read == list(range(play.read[0], 40)), f"turns({seed}, {scale})"
        assert 15 - 10 <= play.read[0] <= play.at_start - 10, f"turns({seed}, {scale})"
        shutil.rmtree(tmp_path / "play")


@pytest.mark.parametrize("files", [1, 2, 3])
def test_who_is_too_slow_misses_what_was_rotated_out_and_nothing_else(tmp_path: Path, files: int) -> None:
    lost = 0
    for seed in range(PLAYS):
        play = Play(tmp_path / "play", "json-file", files=files, lines=40)
        take_turns(turns(seed, 12), play.writer, play.reader)
        assert play.read == sorted(set(play.read)), f"turns({seed}, 12)"
        there = play.left()
        assert play.read[-len(there):] == there == list(range(there[0], 40)), f"turns({seed}, 12)"
        lost += len(play.read) < 40
        shutil.rmtree(tmp_path / "play")
    assert lost


def test_what_a_killed_server_left_is_removed_and_compressed_anew(tmp_path: Path) -> None:
    """Half a copy in the making; and a monitor that was killed between the two steps of putting one in place."""
    path = tmp_path / "x.log"
    with closing(LogFile().open({"driver": "json-file", "path": str(path), "max_size": SIZE, "max_file": 9})) as log:
        log.write("stdout", b"".join(b"line %d\n" % n for n in range(10)))
        Path(f"{path}.press123").write_bytes(b"half")
        with open(f"{path}.2", "rb") as source:
            press(source, f"{path}.2.gz")
        assert left(path, FORMATS["json-file"]) == list(range(10))
        assert [name.rpartition(".")[2] for name in rotated_files(str(path))] == ["3", "2", "1"]
        assert not list(tmp_path.glob("*.press*"))
        with open(f"{path}.2", "rb") as source:
            press(source, f"{path}.press")
            log.settle(os.fstat(source.fileno()).st_ino, f"{path}.press")
        assert [name.rpartition(".")[2] for name in rotated_files(str(path))] == ["3", "1"]
        assert left(path, FORMATS["json-file"]) == list(range(10))
