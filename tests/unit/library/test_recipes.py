"""The library's recipes: programs that run, layers that depend on their content alone."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import msgspec
import pytest

from kist.engine.config import Config
from kist.errors import InvalidParameter, Unavailable
from kist.hub.library import debian, elf, lock, sbom
from kist.hub.library.archive import AptArchive
from kist.hub.library.layer import LayerTar, settle_tar
from kist.hub.library.layout import write_image
from kist.hub.library.recipe import fill, lineage, load, load_all, tags, upstream_version
from kist.hub.library.workshop import Workshop

EPOCH = 1_700_000_000


class Dated(AptArchive):
    """What this machine's apt knows, at a date of the tests' own."""

    @property
    def epoch(self) -> int:
        return EPOCH


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
    built = [Workshop(tmp_path / f"scratch{i}", archive=Dated()).build(name, tmp_path / f"layout{i}") for i in (1, 2)]
    assert built[0] == built[1]
    assert len({(tmp_path / f"layout{i}/index.json").read_bytes() for i in (1, 2)}) == 1, "the bill of materials, too"


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


def test_a_layer_is_compressed_once_for_all_images_that_have_it(tmp_path: Path) -> None:
    with LayerTar(tmp_path / "l.tar", EPOCH) as layer:
        layer.file("hello", b"hi" * 1000)
    digests = [write_image(tmp_path / name, "latest", [(tmp_path / "l.tar", "COPY")], {"Cmd": [name]},
                           architecture="amd64", epoch=EPOCH, annotations={}) for name in ("one", "two", "one")]
    assert digests[0] == digests[2] != digests[1]
    one, two = ({path.name: path.stat().st_ino for path in (tmp_path / name / "blobs/sha256").iterdir()}
                for name in ("one", "two"))
    (shared,) = set(one) & set(two)
    assert one[shared] == two[shared], "one file"
    assert hashlib.sha256((tmp_path / "two/blobs/sha256" / shared).read_bytes()).hexdigest() == shared


# --- recipes ---------------------------------------------------------------------------------------------


def test_the_librarys_recipes_are_these_and_bases_come_first() -> None:
    names = list(load_all())
    assert sorted(names) == ["busybox", "debian", "hello-world", "kist/base", "nginx", "node", "postgres", "python",
                             "redis"]
    assert names.index("debian") < names.index("nginx")
    assert [named.repository for named in load_all().values() if named.name in ("redis", "kist/base")] == [
        "kist/base", "library/redis"]


def test_the_engine_names_the_librarys_images_when_docker_io_is_out_of_reach() -> None:
    assert sorted(name for name in load_all() if "/" not in name) == sorted(Config().hub_library)


def _recipe(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recipe.toml").write_text(text)
    return folder


@pytest.mark.parametrize(("text", "words"), [
    ("", "summary"),
    ('summary = "x"\ncolour = "red"', "colour"),
    ('summary = "x"\nput = [{path = "etc/x", text = "y"}]', "absolute"),
    ('summary = "x"\nput = [{path = "/etc/../x", text = "y"}]', "absolute"),
    ('summary = "x"\nput = [{path = "/x"}]', "needs a text"),
    ('summary = "x"\nput = [{path = "/x", source = "absent"}]', "there"),
    ('summary = "x"\nuser = [{name = "a", uid = 1}]', "packages"),
    ("summary = ", "recipe.toml"),
])
def test_a_recipe_that_is_not_right_is_refused_with_its_file(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(InvalidParameter, match=r"recipe\.toml") as caught:
        load(_recipe(tmp_path, text), "x")
    assert words in str(caught.value)


def test_bases_are_found_and_circles_are_not_followed(tmp_path: Path) -> None:
    _recipe(tmp_path / "mine", 'summary = "x"\nfrom = "debian"')
    known = load_all(tmp_path)
    assert lineage(known, "mine") == ["debian", "mine"]
    _recipe(tmp_path / "a", 'summary = "x"\nfrom = "b"')
    _recipe(tmp_path / "b", 'summary = "x"\nfrom = "a"')
    with pytest.raises(InvalidParameter, match="circle"):
        load_all(tmp_path)
    _recipe(tmp_path / "a", 'summary = "x"\nfrom = "nothing"')
    with pytest.raises(InvalidParameter, match="no recipe nothing"):
        load_all(tmp_path)


def test_a_recipe_of_ones_own_is_built_with_its_files(tmp_path: Path) -> None:
    folder = _recipe(tmp_path / "mine", '''summary = "My own"
put = [{path = "/bin/tool", source = "tool", mode = 0o755}, {path = "/etc/note", text = "for {suite}"}]
link = [{path = "/bin/alias", to = "tool"}]
directory = [{path = "/data", mode = 0o1777}]
[config]
Cmd = ["tool", "{suite}", "{other}"]''')
    (folder / "tool").write_bytes(b"#!/bin/sh\n")
    shop = Workshop(tmp_path / "scratch", archive=Dated(), recipes=load_all(tmp_path))
    shop.build("mine", tmp_path / "layout")
    with tarfile.open(shop.make("mine").layers[0][0]) as tar:
        assert [(one.name, one.mode, one.uid) for one in tar] == [
            ("bin/alias", 0o777, 0), ("bin/tool", 0o755, 0), ("data", 0o1777, 0), ("etc/note", 0o644, 0)]
        note = tar.extractfile("etc/note")
        assert note is not None and note.read().decode() == f"for {AptArchive().suite}"
    blobs = {path.name: path.read_bytes() for path in (tmp_path / "layout/blobs/sha256").iterdir()}
    (config,) = [json.loads(data) for data in blobs.values() if data.startswith(b'{"architecture"')]
    assert config["config"]["Cmd"] == ["tool", AptArchive().suite, "{other}"]


def test_versions_become_tags() -> None:
    recipe = load_all()["debian"].recipe
    assert upstream_version("5:7.0.15-1~deb12u6") == "7.0.15"
    assert upstream_version("18.20.4+dfsg-1~deb12u2") == "18.20.4"
    assert upstream_version("15+248+deb12u1") == "15"
    assert tags(recipe, "12.4", "bookworm") == ["latest", "bookworm", "12.4", "12"]
    assert tags(recipe, "", "bookworm") == ["latest", "bookworm"]
    assert fill({"a": ["{major}", {"b": "{version}"}], "c": 1}, version="1.2", major="1", suite="s") == {
        "a": ["1", {"b": "1.2"}], "c": 1}


# --- lock files ------------------------------------------------------------------------------------------------


def _locked(tmp_path: Path) -> tuple[lock.Lock, Path, tuple[str, list[str]]]:
    """The lock of busybox, the folder with its package, and what was built."""
    shop = Workshop(tmp_path / "first", tmp_path / "archives", Dated())
    built = shop.build("busybox", tmp_path / "layout")
    return shop.locked(), tmp_path / "archives", built


def test_a_lock_builds_the_same_whatever_the_archive_has_by_now(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, archives, built = _locked(tmp_path)
    lock.write(tmp_path / "l.lock", found)
    assert lock.read(tmp_path / "l.lock") == found
    assert found.images == {"busybox": ["busybox-static"]} and found.epoch == EPOCH
    (tmp_path / "bin").mkdir()
    for program in ("dpkg-deb", "tar", "rm"):  # the first has the others do its work, and tidy up
        (tmp_path / "bin" / program).symlink_to(shutil.which(program) or "")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))  # no apt: nobody is asked
    again = Workshop(tmp_path / "second", archives, lock.LockedArchive(found, load_all(), archives))
    assert again.build("busybox", tmp_path / "again") == built
    assert (tmp_path / "layout/index.json").read_bytes() == (tmp_path / "again/index.json").read_bytes()


def test_a_package_file_that_is_not_the_locks_is_refused(tmp_path: Path) -> None:
    found, archives, _ = _locked(tmp_path)
    (deb,) = archives.glob("*.deb")
    deb.write_bytes(deb.read_bytes() + b"x")
    shop = Workshop(tmp_path / "second", archives, lock.LockedArchive(found, load_all(), archives))
    with pytest.raises(InvalidParameter, match="SHA-256 differs"):
        shop.build("busybox", tmp_path / "again")
    deb.unlink()
    gone = msgspec.structs.replace(found, packages={"busybox-static": lock.Pin("0.0~gone", "optional", "0" * 64)})
    shop = Workshop(tmp_path / "third", archives, lock.LockedArchive(gone, load_all(), archives))
    with pytest.raises(Unavailable, match=r"busybox-static 0\.0~gone is neither in .* nor on the mirror"):
        shop.build("busybox", tmp_path / "again")


def test_a_lock_knows_what_is_in_it(tmp_path: Path) -> None:
    found, archives, _ = _locked(tmp_path)
    shop = Workshop(tmp_path / "second", archives, lock.LockedArchive(found, load_all(), archives))
    with pytest.raises(InvalidParameter, match="the lock file has no package base-files"):
        shop.build("kist/base", tmp_path / "again")
    with pytest.raises(InvalidParameter, match="the lock file has no debian"):
        shop.archive.sources("debian", archives, tmp_path / "x")


def test_a_user_who_can_make_no_root_is_told_what_he_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mmdebstrap").write_text("#!/bin/sh\necho 'E: unable to pick chroot mode automatically' >&2; exit 25\n")
    (tmp_path / "mmdebstrap").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(Unavailable, match="subordinate ids"):
        debian.bootstrap(tmp_path / "out.tar", debian.Supply("bookworm", EPOCH, ["deb copy:///nowhere ./"]))


@pytest.mark.parametrize("text", [
    "", "suite = 1", "[[[", "suite='x'\nepoch=1\narchitecture='amd64'\n[tools]\n[packages]\n[images]\nx=['y']",
    "suite='x'\nepoch=1\narchitecture='amd64'\n[tools]\n[packages]\n'../x'=['1','x','y']\n[images]\n"])
def test_lock_files_that_are_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "l.lock").write_text(text)
    with pytest.raises(InvalidParameter):
        lock.read(tmp_path / "l.lock")


# --- bills of materials ------------------------------------------------------------------------------------

_STATUS = b"""Package: zlib1g
Status: install ok installed
Source: zlib (1:1.2)
Version: 1:1.2.13-1
Architecture: amd64
Maintainer: Somebody <a@b>
Homepage: http://zlib.net/
Description: compression library
 with a long text: that is
 not read

Package: gone
Status: deinstall ok config-files
Version: 1
Architecture: all
Description: x

Package: apt
Status: install ok installed
Version: 2.6
Architecture: amd64
"""


def test_what_dpkg_has_installed_is_in_the_bill() -> None:
    apt, zlib = sbom.installed(_STATUS)
    assert (zlib.name, zlib.version, zlib.source, zlib.summary) == (
        "zlib1g", "1:1.2.13-1", "zlib (1:1.2)", "compression library")
    assert zlib.purl == "pkg:deb/debian/zlib1g@1%3A1.2.13-1?arch=amd64"
    assert (apt.name, apt.source) == ("apt", "apt")


def test_a_bill_is_an_spdx_document_and_the_same_bytes_each_time() -> None:
    digest = "sha256:" + "a" * 64
    text = sbom.document("redis", digest, sbom.installed(_STATUS), EPOCH)
    assert text == sbom.document("redis", digest, sbom.installed(_STATUS), EPOCH)
    value = json.loads(text)
    assert value["spdxVersion"] == "SPDX-2.3" and value["dataLicense"] == "CC0-1.0"
    assert value["creationInfo"]["created"] == "2023-11-14T22:13:20Z"
    assert value["documentNamespace"].endswith("/redis/sha256/" + "a" * 64)
    ids = [package["SPDXID"] for package in value["packages"]]
    assert ids == ["SPDXRef-Image", "SPDXRef-apt-amd64", "SPDXRef-zlib1g-amd64"] and len(ids) == len(set(ids))
    assert {row["relatedSpdxElement"] for row in value["relationships"]} == set(ids)
    for package in value["packages"]:  # required in 2.3, section 7
        assert {"SPDXID", "name", "downloadLocation"} <= set(package)


def test_the_bill_refers_to_its_image(tmp_path: Path) -> None:
    digest, _ = Workshop(tmp_path / "scratch", archive=Dated()).build("hello-world", tmp_path / "layout")
    image, bill = json.loads((tmp_path / "layout/index.json").read_text())["manifests"]
    blobs = tmp_path / "layout/blobs/sha256"
    manifest = json.loads((blobs / bill["digest"][7:]).read_text())
    assert manifest["subject"]["digest"] == image["digest"] == digest
    assert manifest["artifactType"] == bill["artifactType"] == "application/spdx+json"
    document = json.loads((blobs / manifest["layers"][0]["digest"][7:]).read_text())
    assert document["packages"][0]["checksums"][0]["checksumValue"] == digest[7:]
