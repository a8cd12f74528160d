"""The local driver's options → the arguments of mount(2)."""

from __future__ import annotations

import pytest

from kist.engine import idmaps
from kist.engine.volumes import driver
from kist.errors import EngineFailure, KistError
from kist.linux import mount as m


@pytest.mark.parametrize(("options", "plan"), [
    ({"type": "nfs", "device": ":/export/data", "o": "addr=127.0.0.1,rw,nfsvers=4,soft"},
     driver.Plan(":/export/data", "nfs", 0, "addr=127.0.0.1,nfsvers=4,soft")),
    ({"type": "nfs4", "device": "box:/x", "o": "addr=::1,ro,nosuid,noatime"},
     driver.Plan("box:/x", "nfs4", m.MS_RDONLY | m.MS_NOSUID | m.MS_NOATIME, "addr=::1")),
    ({"type": "cifs", "device": "//srv/share", "o": "addr=127.0.0.1,username=u,password=p,file_mode=0777"},
     driver.Plan("//srv/share", "cifs", 0, "addr=127.0.0.1,username=u,password=p,file_mode=0777")),
    ({"type": "none", "device": "/srv", "o": "bind"}, driver.Plan("/srv", "none", m.MS_BIND, "")),
    ({"type": "none", "device": "/srv", "o": "rbind,ro,rshared"},
     driver.Plan("/srv", "none", m.MS_BIND | m.MS_REC | m.MS_RDONLY, "", m.MS_SHARED | m.MS_REC)),
    ({"type": "tmpfs", "device": "tmpfs", "o": "size=100m,uid=1000,noexec"},
     driver.Plan("tmpfs", "tmpfs", m.MS_NOEXEC, "size=100m,uid=1000")),
    ({"type": "ext4", "device": "/dev/sdb1"}, driver.Plan("/dev/sdb1", "ext4", 0, "")),
])
def test_what_is_asked_of_mount(options: dict[str, str], plan: driver.Plan) -> None:
    driver.check("vv", options)
    assert driver.plan(options) == plan


def test_a_servers_name_becomes_its_address() -> None:
    found = driver.resolved(driver.plan({"type": "nfs", "device": ":/x", "o": "addr=localhost,soft"}))
    assert found.data in ("addr=127.0.0.1,soft", "addr=::1,soft")
    with pytest.raises(EngineFailure, match=r"in network volume address: lookup x+: no such host"):
        driver.resolved(driver.plan({"type": "cifs", "device": "//x/y", "o": f"addr={'x' * 70}"}))
    other = driver.plan({"type": "tmpfs", "device": "tmpfs", "o": "addr=localhost"})
    assert driver.resolved(other) == other


def test_a_password_is_not_told() -> None:
    said = driver._words(driver.plan({"type": "cifs", "device": "//s/x", "o": "username=u,password=p"}), "/v")
    assert said == "//s/x:/v, data: username=u,password=********"


@pytest.mark.parametrize("options", [
    {"size": "x"}, {"size": "1m"}, {"size": "1g", "type": "tmpfs", "device": "tmpfs"}, {"o": "bind", "type": "none"},
    {"foo": "1"},
])
def test_refused(options: dict[str, str]) -> None:
    with pytest.raises(KistError):
        driver.check("vv", options)


def test_the_owner_is_swapped_in_and_all_others_stay() -> None:
    found = idmaps.mappings("owner", owner=(1000, 5), user=(0, 5))
    assert found["uidMappings"] == [
        {"containerID": 1000, "hostID": 0, "size": 1}, {"containerID": 1, "hostID": 1, "size": 999},
        {"containerID": 1001, "hostID": 1001, "size": (1 << 32) - 1 - 1001}]
    assert sum(one["size"] for one in found["gidMappings"]) == (1 << 32) - 1
