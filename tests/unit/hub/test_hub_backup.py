"""A copy of a Hub that goes on running: consistent, cheap to renew, good to run over."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from kist.errors import InvalidParameter
from kist.hub import admin
from kist.hub.app import open_content, open_hub
from kist.hub.backup import backup
from kist.hub.config import HubConfig
from unit.hub.images import Image, sha256
from unit.hub.served import Client, serving


def test_a_copy_serves_what_was_there(start: Callable[..., Client], tmp_path: Path) -> None:
    client = start(accounts=False)
    data, target = client.hub.config.data, tmp_path / "copy"
    image = Image([b"layer" * 1000])
    image.push(client, "app", "v1")
    assert backup(data, target).blobs == 2
    Image([b"later"]).push(client, "app", "v2")
    assert (os.stat(target / "hub.db").st_mode & 0o777, os.stat(target).st_mode & 0o777) == (0o600, 0o700)
    with serving(open_hub(HubConfig(data=target, access_log=""))) as copy:
        assert copy.get("/v2/app/tags/list").json["tags"] == ["v1"]
        assert copy.get(f"/v2/app/manifests/{image.digest}").body == image.manifest
        for blob in (image.config, *image.layers):
            assert copy.get(f"/v2/app/blobs/{sha256(blob)}").body == blob


def test_the_next_copy_writes_what_is_new(start: Callable[..., Client], tmp_path: Path) -> None:
    client = start()
    data, target = client.hub.config.data, tmp_path / "copy"
    Image([b"one"]).push(client, "app", "v1")
    backup(data, target)
    Image([b"two"]).push(client, "app", "v2")
    assert backup(data, target).blobs == 1
    assert backup(data, target).blobs == 0
    content = open_content(target)
    try:
        assert [tag.name for tag in content.metadata.tags("app", 9)] == ["v1", "v2"]
    finally:
        content.metadata.close()
    assert not list(target.rglob("*.part"))


def test_a_copy_that_was_broken_off_is_mended_by_the_next(start: Callable[..., Client], tmp_path: Path) -> None:
    client = start()
    data, target = client.hub.config.data, tmp_path / "copy"
    Image([b"some bytes"]).push(client, "app", "v1")
    backup(data, target)
    largest = max((target / "blobs").glob("*/??/*"), key=lambda path: path.stat().st_size)
    largest.write_bytes(b"short")
    assert backup(data, target).blobs == 1


def test_not_into_the_data_itself(tmp_path: Path) -> None:
    open_content(tmp_path / "data").metadata.close()
    with pytest.raises(InvalidParameter, match="inside of the data"):
        backup(tmp_path / "data", tmp_path / "data" / "copy")


def test_the_admins_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    open_content(tmp_path / "data").metadata.close()
    assert admin.main(["--data", str(tmp_path / "data"), "backup", str(tmp_path / "copy")]) == 0
    assert capsys.readouterr().out == "0 blobs, 0 bytes copied\n"
    assert (tmp_path / "copy/hub.db").is_file()
