"""Folders of certificates as Docker reads them, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from kist.errors import EngineFailure
from kist.registry.certificates import completed
from kist.registry.settings import ClientConfig, RegistrySettings

HOST = "r.example:5000"


def config(top: Path, **registries: RegistrySettings) -> ClientConfig:
    return ClientConfig({name.replace("_", "."): found for name, found in registries.items()},
                        certificates=(str(top / "first"), str(top / "second")))


def folder(top: Path, *names: str, host: str = HOST) -> Path:
    path = top / "second" / host
    path.mkdir(parents=True)
    for name in names:
        (path / name).touch()
    return path


def test_all_cas_and_the_first_pair(tmp_path: Path) -> None:
    where = folder(tmp_path, "b.crt", "a.crt", "x.cert", "x.key", "y.cert", "y.key", "README")
    found = completed(config(tmp_path), HOST).settings(HOST)
    assert found.more_cas == (f"{where}/a.crt", f"{where}/b.crt")
    assert (found.cert, found.key) == (f"{where}/x.cert", f"{where}/x.key")
    assert completed(config(tmp_path), "other.example").registries == {}


def test_the_first_folder_wins_and_the_configuration_before_it(tmp_path: Path) -> None:
    folder(tmp_path, "a.crt", "x.cert", "x.key", host="r.example")
    own = config(tmp_path, r_example=RegistrySettings(ca="ca.pem", cert="mine.pem", insecure=True))
    found = completed(own, "r.example").settings("r.example")
    assert (found.ca, found.cert, found.key, found.insecure) == ("ca.pem", "mine.pem", None, True)
    assert len(found.more_cas) == 1
    (tmp_path / "first/r.example").mkdir(parents=True)
    assert completed(own, "r.example").settings("r.example").more_cas == ()


def test_a_mirror_has_its_own(tmp_path: Path) -> None:
    where = folder(tmp_path, "a.crt", host="mirror.example:8443")
    own = config(tmp_path, r_example=RegistrySettings(mirrors=("https://mirror.example:8443/v2/hub",)))
    assert completed(own, "r.example").settings("mirror.example:8443").more_cas == (f"{where}/a.crt",)


def test_a_loopback_registry_with_a_ca_is_verified(tmp_path: Path) -> None:
    folder(tmp_path, "a.crt", host="localhost:5000")
    assert config(tmp_path).insecure("localhost:5000")
    assert not completed(config(tmp_path), "localhost:5000").insecure("localhost:5000")


@pytest.mark.parametrize(("names", "words"), [
    (["x.cert"], r"missing key x\.key for client certificate x\.cert\. CA certificates must use the extension \.crt"),
    (["x.key"], r"missing client certificate x\.cert for key x\.key"),
])
def test_half_a_pair_is_told(tmp_path: Path, names: list[str], words: str) -> None:
    folder(tmp_path, *names)
    with pytest.raises(EngineFailure, match=words):
        completed(config(tmp_path), HOST)


@pytest.mark.parametrize("host", ["..", ".", "", "a/b"])
def test_no_host_leads_elsewhere(tmp_path: Path, host: str) -> None:
    (tmp_path / "second").mkdir()
    (tmp_path / "second/a.crt").touch()
    assert completed(config(tmp_path), host).registries == {}
