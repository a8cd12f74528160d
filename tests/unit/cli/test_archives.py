"""Archives from containers are hostile; archives for containers hold what is there."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from kist.cli.pack import pack
from kist.cli.parser import CliError
from kist.cli.unpack import unpack


def archive(*entries: tuple[str, bytes, str]) -> list[bytes]:
    """(name, type, content or link's target)…"""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name, kind, content in entries:
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = kind, 0o755 if kind == tarfile.DIRTYPE else 0o644
            data = b""
            if kind == tarfile.REGTYPE:
                data = content.encode()
                entry.size = len(data)
            else:
                entry.linkname = content
            tar.addfile(entry, io.BytesIO(data))
    data = file.getvalue()
    return [data[at:at + 777] for at in range(0, len(data), 777)]


FILE, FOLDER, LINK, HARD = tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path]:
    """The folder to unpack in, and a folder outside of it that must stay as it is."""
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "secret").write_text("secret")
    return tmp_path / "in", tmp_path / "out"


def outside_is_untouched(out: Path) -> bool:
    return [path.name for path in out.iterdir()] == ["secret"] and (out / "secret").read_text() == "secret"


@pytest.mark.parametrize("name", ["../out/x", "top/../../out/x", "/../out/x", "top/sub/../../../out/x"])
def test_names_that_lead_out_are_refused(places: tuple[Path, Path], name: str) -> None:
    with pytest.raises(CliError, match="leads out"):
        unpack(archive((name, FILE, "x")), str(places[0]), "top", "top")
    assert outside_is_untouched(places[1])


def test_links_are_made_but_never_walked_through(places: tuple[Path, Path]) -> None:
    inside, out = places
    with pytest.raises(CliError):
        unpack(archive(("top", FOLDER, ""), ("top/l", LINK, str(out)), ("top/l/x", FILE, "x")), str(inside), "top",
               "top")
    assert outside_is_untouched(out)
    assert (inside / "top" / "l").is_symlink()


def test_a_file_behind_a_link_replaces_the_link(places: tuple[Path, Path]) -> None:
    inside, out = places
    unpack(archive(("top", FOLDER, ""), ("top/l", LINK, str(out / "secret")), ("top/l", FILE, "new")), str(inside),
           "top", "top")
    assert (inside / "top" / "l").read_text() == "new"
    assert outside_is_untouched(out)


@pytest.mark.parametrize("target", ["../out/secret", "top/l/secret", "/etc/passwd"])
def test_hard_links_lead_nowhere_else(places: tuple[Path, Path], target: str) -> None:
    inside, out = places
    with pytest.raises(CliError):
        unpack(archive(("top", FOLDER, ""), ("top/l", LINK, str(out)), ("top/hard", HARD, target)), str(inside),
               "top", "top")
    assert outside_is_untouched(out)
    assert not (inside / "top" / "hard").exists()


def test_devices_are_left_out(places: tuple[Path, Path]) -> None:
    unpack(archive(("top", FOLDER, ""), ("top/null", tarfile.CHRTYPE, ""), ("top/pipe", tarfile.FIFOTYPE, "")),
           str(places[0]), "top", "top")
    assert [path.is_fifo() for path in (places[0] / "top").iterdir()] == [True]


def test_a_folder_is_shut_when_all_is_in_it_and_a_later_link_in_its_place_is_not_followed(
        places: tuple[Path, Path]) -> None:
    inside, out = places
    before = out.stat().st_mode
    unpack(archive(("top", FOLDER, ""), ("top/shut", FOLDER, ""), ("top/shut/x", FILE, "x")), str(inside), "top", "top")
    assert (inside / "top" / "shut" / "x").read_text() == "x"
    with pytest.raises(CliError):  # a folder can't be replaced by a link
        unpack(archive(("top", FOLDER, ""), ("top/d", FOLDER, ""), ("top/d", LINK, str(out))), str(inside), "top",
               "top")
    assert out.stat().st_mode == before and outside_is_untouched(out)


def test_what_is_cut_off_is_an_error(places: tuple[Path, Path]) -> None:
    with pytest.raises(CliError):
        unpack([b"".join(archive(("top", FILE, "x" * 5000)))[:2000]], str(places[0]), "top", "top")


def test_the_top_gets_another_name(places: tuple[Path, Path]) -> None:
    unpack(archive(("top", FOLDER, ""), ("top/a", FILE, "A"), ("top/h", HARD, "top/a")), str(places[0]), "top", "new")
    assert (places[0] / "new" / "a").read_text() == "A"
    assert (places[0] / "new" / "h").stat().st_nlink == 2


def test_packed_and_unpacked_is_the_same(places: tuple[Path, Path], tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    (source / "sub" / "x").write_bytes(os.urandom(3 << 20))
    (source / "empty").touch(0o600)
    (source / "link").symlink_to("nowhere")
    os.link(source / "empty", source / "hard")
    os.mkfifo(source / "sub" / "pipe")
    unpack(pack(str(source), "copy"), str(places[0]), "copy", "copy")
    copy = places[0] / "copy"
    assert (copy / "sub" / "x").read_bytes() == (source / "sub" / "x").read_bytes()
    assert (copy / "empty").stat().st_mode == (source / "empty").stat().st_mode
    assert (copy / "link").readlink() == Path("nowhere")
    assert sorted(path.name for path in copy.iterdir()) == ["empty", "hard", "link", "sub"]


NONSENSE: dict[str, dict[str, object]] = {
    "time that is no number": {"pax_headers": {"mtime": "nan"}},
    "time without end": {"pax_headers": {"mtime": "1" + 30 * "0"}},
    "NUL in a name": {"pax_headers": {"path": "top/a\0b"}},
    "link to the folder": {"type": HARD, "linkname": "top"},
    "device beyond all": {"type": tarfile.CHRTYPE, "devmajor": 0o7777777, "devminor": 0o7777777},
}


@pytest.mark.parametrize("nonsense", NONSENSE)
def test_nonsense_is_an_error_not_a_traceback(places: tuple[Path, Path], nonsense: str) -> None:
    """A server that lies: ours would not pass these on."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
        entry = tarfile.TarInfo("top/x")
        for name, value in NONSENSE[nonsense].items():
            setattr(entry, name, value)
        tar.addfile(entry)
    with pytest.raises(CliError):
        unpack([file.getvalue()], str(places[0]), "top", "", keep_owner=True)
    assert outside_is_untouched(places[1])
