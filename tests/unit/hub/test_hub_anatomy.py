"""What layers add, change, remove and waste; reading layers; Markdown and plots (all pure)."""

from __future__ import annotations

import gzip
import io
import re
import tarfile
from datetime import date

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from kist.errors import KistError
from kist.hub import anatomy
from kist.hub.anatomy import File, Listing, What, clean_path, compare, dissect, merged
from kist.hub.listings import read_listing
from kist.hub.web import markdown, plot
from kist.hub.web.image import readable_command
from kist.hub.web.render import ago, mode, number, percent, size


def f(path: str, size: int = 1, mark: int = 0, kind: str = "f") -> File:
    return File(path, kind, 0o644, 0 if kind == "d" else size, mark)


def changes(*layers: list[File]) -> list[tuple[str, str, int]]:
    last = dissect([Listing(files) for files in layers])[-1]
    return sorted((change.what.value, change.path, change.wasted) for change in last.changes)


def test_adding_changing_removing() -> None:
    below = [f("etc", kind="d"), f("etc/a", 10), f("etc/b", 20), f("bin/x", 5)]
    assert changes(below, [f("etc", kind="d"), f("etc/a", 11), f("etc/c", 3), f("bin/.wh.x", 0)]) == [
        ("added", "etc/c", 0), ("changed", "etc/a", 10), ("removed", "bin/x", 5)]


def test_removing_a_folder_and_an_opaque_one() -> None:
    below = [f("d", kind="d"), f("d/a", 10), f("d/e", kind="d"), f("d/e/b", 20)]
    assert changes(below, [f(".wh.d", 0)]) == [("removed", "d/a", 10), ("removed", "d/e/b", 20)]
    assert changes(below, [f("d/new", 1), f("d/.wh..wh..opq", 0)]) == [
        ("added", "d/new", 0), ("removed", "d/a", 10), ("removed", "d/e/b", 20)]


def test_a_file_in_place_of_a_folder() -> None:
    below = [f("d", kind="d"), f("d/a", 10)]
    assert merged([Listing(below), Listing([f("d", 3)])]) == {"d": f("d", 3)}


def test_what_is_wasted_adds_up() -> None:
    layers = dissect([Listing([f("a", 100)]), Listing([f("a", 50)]), Listing([f(".wh.a", 0)])])
    assert [layer.wasted for layer in layers] == [0, 100, 50]


def test_whiteouts_of_nothing() -> None:
    assert changes([f("a")], [f(".wh.zzz", 0), f("x/.wh..wh..opq", 0)]) == []


def test_comparing_images() -> None:
    before = merged([Listing([f("same", 5, 1), f("gone", 7), f("other", 5, 1), f("d", kind="d")])])
    after = merged([Listing([f("same", 5, 1), f("new", 9), f("other", 5, 2)])])
    found = compare(before, after)
    assert [(one.what, one.path, one.growth) for one in found] == [
        (What.REMOVED, "gone", -7), (What.ADDED, "new", 9), (What.CHANGED, "other", 0)]


ANY_FILE = st.builds(f, st.sampled_from(["a", "a/b", "a/b/c", ".wh.a", "a/.wh.b", "a/.wh..wh..opq", "a/b/.wh.c"]),
                     kind=st.sampled_from("fdl"))


@given(st.lists(st.lists(ANY_FILE, max_size=6), max_size=4))
def test_no_layers_break_it(layers: list[list[File]]) -> None:
    listings = [Listing(files) for files in layers]
    tree = merged(listings)
    assert not any(".wh." in path for path in tree)
    assert compare(tree, tree) == []
    assert all(layer.wasted >= 0 for layer in dissect(listings))


@pytest.mark.parametrize(("name", "path"), [
    ("./etc/passwd", "etc/passwd"), ("/etc/passwd", "etc/passwd"), ("../../x", "x"), ("dir/", "dir"), ("./", "")])
def test_paths(name: str, path: str) -> None:
    assert clean_path(name) == path


def tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, kind, data in (("./", tarfile.DIRTYPE, b""), ("etc/", tarfile.DIRTYPE, b""),
                                 ("etc/motd", tarfile.REGTYPE, b"hello"), ("bin", tarfile.SYMTYPE, b"")):
            member = tarfile.TarInfo(name)
            member.type, member.size, member.linkname = kind, len(data), "usr/bin" if name == "bin" else ""
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress])
def test_listing_a_layer(pack: object) -> None:
    listing = read_listing(io.BytesIO(pack(tar())))  # type: ignore[operator]
    assert [(file.path, file.kind, file.size, file.target) for file in listing.files] == [
        ("etc", "d", 0, ""), ("etc/motd", "f", 5, ""), ("bin", "l", 0, "usr/bin")]
    assert not listing.truncated


def test_listings_are_bounded() -> None:
    assert read_listing(io.BytesIO(tar()), max_entries=1) == Listing(
        [File("etc", "d", 0o644, 0, 0)], truncated=True)
    assert read_listing(io.BytesIO(tar()), max_bytes=100).truncated
    with pytest.raises(KistError):
        read_listing(io.BytesIO(b"no tar at all" * 100))


# --- Markdown -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [
    "<script>alert(1)</script>", "[x](javascript:alert(1))", "[x](JaVaScRiPt:alert(1))", "[x](data:text/html,x)",
    "<img src=x onerror=alert(1)>", "![x](javascript:alert(1))", '[x](http://a "onmouseover=alert(1)")',
    "[x](//evil.example)", "<javascript:alert(1)>", "`<b>`", "[x]: javascript:alert(1)\n[x]", "[x](vbscript:x)",
    '![a"onerror="x](http://x)', "[x](\\\\evil.example)", "[x](&#106;avascript:alert(1))"])
def test_markdown_does_no_harm(text: str) -> None:
    html = str(markdown.render(text)).lower()
    for wrong in ("<script", "<img", "<b>", 'href="javascript', 'href="data', 'href="vbscript', 'href="//', 'onerror="',
                  'href="\\', 'href="&#'):
        assert wrong not in html
    assert ' onmouseover="' not in html


@pytest.mark.parametrize(("text", "tags"), [
    ("# A\n## B\n# C", "343"), ("## A\n### B\n## C", "343"), ("# A\n#### B", "34"), ("### A\n# B\n## C", "334"),
    ("###### A\nB\n---\n", "33"), ("# 1\n## 2\n### 3\n#### 4\n##### 5\n###### 6", "345666")])
def test_headings_of_a_description_stand_below_the_pages_own_and_leave_no_level_out(text: str, tags: str) -> None:
    html = str(markdown.render(text))
    assert "".join(re.findall(r"<h(\d)>", html)) == "".join(re.findall(r"</h(\d)>", html)) == tags


def test_markdown_does_its_work() -> None:
    html = markdown.render("# Title\n\n**bold** [link](https://example.com)\n\n|a|b|\n|-|-|\n|1|2|\n\n![logo](https://x/y.png)")
    assert "<h3>Title</h3>" in html
    assert "<strong>bold</strong>" in html
    assert '<a href="https://example.com" rel="nofollow ugc noopener">link</a>' in html
    assert "<td>1</td>" in html
    assert '<a href="https://x/y.png" rel="nofollow ugc noopener">logo</a>' in html


@given(st.text(max_size=300))
def test_no_text_breaks_markdown(text: str) -> None:
    html = str(markdown.render(text))
    assert "<script" not in html
    assert "<img" not in html


# --- plots and numbers ------------------------------------------------------------------------------------------


def test_a_plot() -> None:
    svg = plot.bars({"2026-01-02": 5, "2026-01-03": 10, "1999-01-01": 99}, date(2026, 1, 3), 3)
    assert svg.count("<rect") == 2
    assert "<title>15 pulls in 3 days, at most 10 a day</title>" in svg
    assert "<title>2026-01-02: 5</title>" in svg
    assert plot.bars({}, date(2026, 1, 3), 3).count("<rect") == 0


def test_numbers() -> None:
    assert [size(n) for n in (0, 999, 1000, 1_500_000, 2e9, 3.21e12)] == [
        "0 B", "999 B", "1 kB", "1.5 MB", "2 GB", "3.21 TB"]
    assert number(1234567) == "1\u202f234\u202f567"
    assert [ago(0, now) for now in (5, 60, 7200, 86400 * 3, 86400 * 400)] == [
        "just now", "1 minute ago", "2 hours ago", "3 days ago", "1 year ago"]
    assert mode(0o754) == "rwxr-xr--"
    assert percent(1, 0) == "0 %"


def test_commands_read_as_in_the_dockerfile() -> None:
    assert readable_command('/bin/sh -c #(nop)  CMD ["sh"]') == 'CMD ["sh"]'
    assert readable_command("RUN /bin/sh -c make # buildkit") == "RUN make"


def test_the_largest_come_first() -> None:
    layer = dissect([Listing([f("a", 1), f("b", 3), f("c", 2)])])[0]
    assert [change.path for change in anatomy.largest(layer.changes, 2)] == ["b", "c"]
