"""The record database: what is written is there after a kill, together or each alone."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from kist.engine.records import SCHEMA, ContainerRecord, Health, HealthResult, Mount, Records, VolumeRecord
from kist.errors import Conflict, EngineFailure


def record(name: str, number: int = 1) -> ContainerRecord:
    return ContainerRecord(id=f"{number:064x}", name=name, created=number, image="busybox", image_id="sha256:0",
                           config={"Env": ["A=1"]}, host={"Memory": 5},
                           mounts=[Mount(type="bind", target="/x", source="/y", rw=False)],
                           health=Health(log=[HealthResult(1, 2, 0, "ok")]))


async def test_records_come_back_whole(tmp_path: Path) -> None:
    records = Records(str(tmp_path / "engine.db"))
    await records.save(record("one"))
    await records.save_volume(VolumeRecord(name="v", created=1, labels={"a": "b"}))
    records.close()
    again = Records(str(tmp_path / "engine.db"))
    assert again.containers() == [record("one")]
    assert again.volumes() == [VolumeRecord(name="v", created=1, labels={"a": "b"})]
    again.close()


async def test_what_nobody_awaited_is_written_before_close(tmp_path: Path) -> None:
    records = Records(str(tmp_path / "engine.db"))
    for number in range(50):
        records.save(record(f"n{number}", number))
    records.forget(f"{7:064x}")
    records.close()
    again = Records(str(tmp_path / "engine.db"))
    assert len(again.containers()) == 49
    again.close()


async def test_one_bad_write_spoils_no_other(tmp_path: Path) -> None:
    records = Records(str(tmp_path / "engine.db"))
    await records.save(record("taken", 1))
    writes = [records.save(record(f"n{number}", number)) for number in range(2, 6)]
    bad = records.save(record("taken", 9))
    writes.append(records.save(record("after", 10)))
    await asyncio.gather(*writes)
    with pytest.raises(Conflict):
        await bad
    assert {found.name for found in records.containers()} == {"taken", "n2", "n3", "n4", "n5", "after"}
    records.close()


async def test_a_newer_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "engine.db"
    db = sqlite3.connect(path)
    db.execute(f"PRAGMA user_version = {SCHEMA + 1}")
    db.close()
    with pytest.raises(EngineFailure, match="written by a newer Kist"):
        Records(str(path))


async def test_no_database_but_noise_is_refused_with_its_path(tmp_path: Path) -> None:
    path = tmp_path / "engine.db"
    path.write_bytes(b"noise" * 1000)
    with pytest.raises(EngineFailure, match=r"engine\.db"):
        Records(str(path))
