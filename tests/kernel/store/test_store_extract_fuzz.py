"""Any sequence of entries: either a layer, or `InvalidLayer`; the host's files are never touched."""

from __future__ import annotations

import io
import os
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kist.store.errors import InvalidLayer
from kist.store.extract import Extractor
from kist.store.tarread import TarReader
from kist.store.trash import remove_tree
from support.tars import directory, file, hardlink, node, symlink, tar

PART = st.sampled_from(["a", "b", "c", ".", "..", "", ".wh.a", ".wh.b", ".wh..wh..opq"])
PATH = st.lists(PART, min_size=1, max_size=4).map("/".join)


@st.composite
def any_entry(draw: Any, host: str) -> Any:
    target = draw(PATH | st.sampled_from([host, f"{host}/secret", "..", "../..", "../host", "../../host",
                                          "/proc/self/root", "/proc/self/cwd", f"/proc/self/root{host}"]))
    name = draw(PATH)
    return draw(st.sampled_from([file(name, b"evil"), directory(name), symlink(name, target), symlink(name, target),
                                 hardlink(name, target), node(name, "p"), node(name, "c")]))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.data())
def test_no_sequence_of_entries_leads_out(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as top:
        host = Path(top, "host")
        host.mkdir()
        (host / "secret").write_text("secret")
        lower = Path(top, "lower")
        lower.mkdir()
        (lower / "a").mkdir()
        (lower / "a/b").write_text("below")
        (lower / "c").symlink_to(host)
        root = Path(top, "root")
        root.mkdir()
        entries = data.draw(st.lists(any_entry(str(host)), max_size=12))
        before = sorted(os.listdir("/"))
        try:
            with Extractor(str(root)) as extractor:
                extractor.unpack(TarReader(io.BytesIO(tar(*entries))))
                extractor.finish([str(lower)])
        except InvalidLayer:
            pass
        assert os.listdir(host) == ["secret"]
        assert (host / "secret").read_text() == "secret"
        assert (host / "secret").stat().st_nlink == 1
        assert (lower / "a/b").read_text() == "below"
        assert sorted(os.listdir(lower)) == ["a", "c"]
        assert sorted(os.listdir(top)) == ["host", "lower", "root"]
        assert sorted(os.listdir("/")) == before
        remove_tree(str(root))
        assert os.listdir(host) == ["secret"]


def test_a_hard_link_to_itself_in_a_lower_layer_is_that_file(tmp_path: Path) -> None:
    root, lower = tmp_path / "root", tmp_path / "lower"
    root.mkdir()
    lower.mkdir()
    (lower / "c").write_text("below")
    with Extractor(str(root)) as extractor:
        extractor.unpack(TarReader(io.BytesIO(tar(hardlink("c", "c")))))
        extractor.finish([str(lower)])
    assert (root / "c").read_text() == "below"
