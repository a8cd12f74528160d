"""The schema's checks: every pattern by hand says what the regular expression says; null stands for nothing."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kist.runtime import validate
from kist.runtime.errors import SpecError

MINIMAL: dict[str, Any] = {"ociVersion": "1.2.0", "root": {"path": "r"}, "process": {"cwd": "/", "args": ["x"]}}
TEXTS = st.text(alphabet="cbupRLIMT_AZaz019, -\n", max_size=12) | st.sampled_from(["RLIMIT_CPU", "c", "0-3,7"])


@given(TEXTS, st.sampled_from(sorted(validate._PATTERNS)))
def test_patterns(text: str, pattern: str) -> None:
    if not text.endswith("\n"):  # "$" also matches before a last newline, which nobody means
        assert validate._matches(pattern, text) == (re.search(pattern, text) is not None)


def test_what_is_fine() -> None:
    validate.check(MINIMAL)
    validate.check({**MINIMAL, "mounts": None, "linux": {"devices": None}, "unknown": {"x": 1}})
    validate.check({**MINIMAL, "linux": {"rootfsPropagation": "rslave"}})  # the schema has "slave" only
    validate.check({**MINIMAL, "linux": {"devices": [{"path": "/d", "type": "c", "fileMode": 0o20644}]}})


@pytest.mark.parametrize(("change", "words"), [
    ({"ociVersion": 1}, "ociVersion: 1 is not of type string"),
    ({"ociVersion": "2.0.0"}, "is not supported"),
    ({"root": {}}, "root.path"),
    ({"mounts": [{"type": "x"}]}, "mounts[0].destination: it is required"),
    ({"process": {"cwd": "/", "args": []}}, "process.args"),
    ({"annotations": {"a": 1}}, "annotations.a"),
    ({"linux": {"rootfsPropagation": "rx"}}, "linux.rootfsPropagation"),
    ({"linux": {"resources": {"pids": {"limit": 1.5}}}}, "linux.resources.pids.limit"),
    ({"linux": {"resources": {"pids": {"limit": True}}}}, "linux.resources.pids.limit"),
    ({"linux": {"uidMappings": [{"containerID": 0, "hostID": -1, "size": 1}]}}, "hostID: -1 is out of range"),
    ({"linux": {"netDevices": {"eth0": {}}}}, "linux.netDevices"),
    ({"windows": {"layerFolders": []}}, "this runtime is for Linux"),
    ({"hooks": {"poststop": [{"args": []}]}}, "hooks.poststop[0].path"),
])
def test_what_is_not(change: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError) as caught:
        validate.check({**MINIMAL, **change})
    assert words in str(caught.value)
