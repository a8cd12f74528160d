"""The library's recipes: programs that run, layers that depend on their content alone."""

from __future__ import annotations

import io
import json
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from kist.hub.library import elf
from kist.hub.library.layer import LayerTar, settle_tar
from kist.hub.library.layout import write_image
from kist.hub.library.recipes import RECIPES, Workshop, build

EPOCH = 1_700_000_000


def _tar(path: Path, entries: dict[str, bytes | str | None], mtime: int = EPOCH + 5) -> Path:
    """Entries: bytes → file, None → directory, text → symbolic link."""
    with tarfile.open(path, "w") as tar:
        for name, value in entries.items():
            info = tarfile.TarInfo(name)
            info.mtime = mtime
            if isinstance(value, bytes):
                info.size = len(value)
            elif value is None:
                info.type, info.mode = tarfile.DIRTYPE, 0o755
            else:
                info.type, info.linkname = tarfile.SYMTYPE, value
            tar.addfile(info, io.BytesIO(value) if isinstance(value, bytes) else None)
    return path


def _names(path: Path) -> list[str]:
    with tarfile.open(path) as tar:
        return tar.getnames()


@pytest.mark.skipif(os.uname().machine not in ("x86_64", "aarch64"), reason="assembled for two machines")
def test_the_printer_prints_and_exits_with_zero(tmp_path: Path) -> None:
    program = tmp_path / "hello"
    machine = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
    program.write_bytes(elf.printer("grüß dich\n", machine))
    program.chmod(0o755)
    done = subprocess.run([program], capture_output=True, check=False)
    assert (done.returncode, done.stdout.decode(), done.stderr) == (0, "grüß dich\n", b"")


def test_the_printer_refuses_a_text_that_one_write_may_not_take() -> None:
    with pytest.raises(ValueError, match="too long"):
        elf.printer("x" * 4096, "amd64")


def test_a_settled_tar_depends_on_content_alone(tmp_path: Path) -> None:
    a = _tar(tmp_path / "a.tar", {"./b/x": b"1", "./b": None, "./a": b"2"}, mtime=EPOCH + 1)
    b = _tar(tmp_path / "b.tar", {"./a": b"2", "./b": None, "./b/x": b"1"}, mtime=EPOCH + 99)
    settle_tar(a, tmp_path / "1.tar", EPOCH)
    settle_tar(b, tmp_path / "2.tar", EPOCH)
    assert (tmp_path / "1.tar").read_bytes() == (tmp_path / "2.tar").read_bytes()


def test_what_is_dropped_is_dropped_and_its_directory_kept(tmp_path: Path) -> None:
    raw = _tar(tmp_path / "raw.tar", {"./log": None, "./log/x": b"1", "./id": b"2", "./identity": b"3"})
    settle_tar(raw, tmp_path / "out.tar", EPOCH, drop=("log/", "id"))
    assert _names(tmp_path / "out.tar") == ["identity", "log"]


def test_a_layer_over_a_base_holds_the_difference_and_whiteouts(tmp_path: Path) -> None:
    base = _tar(tmp_path / "base.tar", {"d": None, "d/same": b"1", "d/old": b"1", "d/gone": b"1", "l": "same"})
    raw = _tar(tmp_path / "raw.tar", {"d": None, "d/same": b"1", "d/old": b"2", "d/new": b"3", "l": "other"})
    settle_tar(raw, tmp_path / "out.tar", EPOCH, base=base)
    assert _names(tmp_path / "out.tar") == ["d", "d/new", "d/old", "l", "d/.wh.gone"]


def test_a_removed_directory_leaves_one_whiteout(tmp_path: Path) -> None:
    base = _tar(tmp_path / "base.tar", {"d": None, "d/e": None, "d/e/f": b"1"})
    raw = _tar(tmp_path / "raw.tar", {"d": None})
    settle_tar(raw, tmp_path / "out.tar", EPOCH, base=base)
    assert _names(tmp_path / "out.tar") == ["d/.wh.e"]


@pytest.mark.parametrize("name", ["hello-world", "busybox"])
def test_a_recipe_built_twice_gives_one_digest(name: str, tmp_path: Path) -> None:
    digests = {build(RECIPES[name], Workshop(tmp_path / f"scratch{i}", EPOCH), tmp_path / f"layout{i}") for i in (1, 2)}
    assert len(digests) == 1


def test_the_layout_names_only_blobs_that_it_holds(tmp_path: Path) -> None:
    with LayerTar(tmp_path / "l.tar", EPOCH) as layer:
        layer.file("hello", b"hi")
    digest = write_image(tmp_path / "out", "latest", [(tmp_path / "l.tar", "COPY")], {"Cmd": ["/hello"]},
                         architecture="amd64", epoch=EPOCH, annotations={})
    blobs = tmp_path / "out/blobs/sha256"
    manifest = json.loads((blobs / digest.removeprefix("sha256:")).read_text())
    for descriptor in [manifest["config"], *manifest["layers"]]:
        assert (blobs / descriptor["digest"].removeprefix("sha256:")).stat().st_size == descriptor["size"]
    config = json.loads((blobs / manifest["config"]["digest"].removeprefix("sha256:")).read_text())
    assert config["created"] == "2023-11-14T22:13:20Z"
    assert sorted(p.name for p in blobs.iterdir()) == sorted(
        {digest[7:], manifest["config"]["digest"][7:], manifest["layers"][0]["digest"][7:]})
