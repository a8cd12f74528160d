"""AppArmor's confinement taking effect, on a machine of the tests' own that has it (tests/vm, part v2). Elsewhere it is
`test_spec_parts.py` that holds the refusal."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.box import import_box
from support.daemon import Daemon
from support.groups import OURS

HERE = Path("/sys/kernel/security/apparmor/.load")
pytestmark = pytest.mark.skipif(not (OURS and HERE.exists()), reason="no AppArmor here: the virtual machine has it")
PROFILE = """profile {name} flags=(attach_disconnected,mediate_deleted) {{
  file,
  capability,
  network,
  signal,
  deny /secret r,
}}
"""


@pytest.fixture
def profile(tmp_path: Path) -> Iterator[str]:
    name = f"kist-{tmp_path.name}"
    file = tmp_path / "profile"
    file.write_text(PROFILE.format(name=name))
    for verb in ("--replace", "--remove"):
        subprocess.run(["apparmor_parser", verb, "--skip-cache", "--quiet", str(file)], check=True)
        if verb == "--replace":
            yield name


SCRIPT = "cat /proc/self/attr/apparmor/current; cat /secret 2>&1 || true"


def test_a_profile_confines(spec: dict[str, Any], sh: Any, rootfs: Path, profile: str) -> None:
    """The name that the kernel gives for it, and a file that it denies."""
    (rootfs / "secret").write_text("told\n")
    spec["process"]["apparmorProfile"] = profile
    out = sh(SCRIPT).splitlines()
    assert out == [f"{profile} (enforce)", "cat: can't open '/secret': Permission denied"]


def test_what_is_executed_later_is_confined_too(spec: dict[str, Any], run: Any, profile: str) -> None:
    probe = {**spec["process"], "args": ["cat", "/proc/self/attr/apparmor/current"], "apparmorProfile": profile}
    report = run(spec, "sleep", "30", execs=[probe])
    assert report["execs"][0]["stdout"] == f"{profile} (enforce)\n"


def test_without_a_profile_nothing_is_denied(rootfs: Path, sh: Any) -> None:
    (rootfs / "secret").write_text("told\n")
    assert sh(SCRIPT).splitlines() == ["unconfined", "told"]


def test_a_profile_that_is_not_loaded(spec: dict[str, Any], run: Any) -> None:
    spec["process"]["apparmorProfile"] = "kist-none"
    report = run(spec)
    assert "kist-none" in report["error"]
    assert "ENOENT" in report["error"]


def test_by_the_engine(tmp_path: Path, profile: str) -> None:
    (tmp_path / "kist").mkdir()
    daemon = Daemon(tmp_path / "kist")
    try:
        import_box(daemon)
        said = daemon.ok("run", "--rm", "--network", "none", "--security-opt", f"apparmor={profile}", "box",
                         "cat", "/proc/self/attr/apparmor/current")
        assert said == f"{profile} (enforce)"
    finally:
        daemon.close()
