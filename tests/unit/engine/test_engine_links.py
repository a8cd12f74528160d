"""Legacy links: their grammar, variables and lines of /etc/hosts. What is expected was printed by Docker 26."""

from __future__ import annotations

from typing import Any

import pytest

from kist.engine import links, states
from kist.engine.container import Container, Register
from kist.engine.network.model import Attachment, Endpoint
from kist.engine.records import ContainerRecord
from kist.errors import Conflict, EngineFailure, InvalidParameter, NotFound


def container(name: str, *, ip: str = "", links_: list[str] | None = None, mode: str = "bridge",
              **config: Any) -> Container:
    record = ContainerRecord(
        id=name * 8, name=name, created=0, image="busybox", image_id="", chain_id="", config={
            "Hostname": f"{name}host", "Env": [], "ExposedPorts": {}, **config},
        host={"NetworkMode": mode, "Links": links_}, networks={}, path="", args=[])
    made = Container(record)
    if ip:
        record.state = states.RUNNING
        made.endpoint = Endpoint(record.id, mode, name, [Attachment("n", "bridge", "e", ip=ip)])
    return made


def register(*containers: Container) -> Register:
    found = Register()
    for one in containers:
        found.add(one)
    return found


@pytest.mark.parametrize(("text", "found"), [
    ("db:data", ("db", "data")), ("db", ("db", "db")), ("/db:/web/data", ("db", "data")), ("/db", ("db", "db")),
])
def test_grammar(text: str, found: tuple[str, str]) -> None:
    assert links.parse(text) == found


@pytest.mark.parametrize("text", ["", "a:b:c", ":b", "a:"])
def test_nonsense(text: str) -> None:
    with pytest.raises(InvalidParameter, match="links"):
        links.parse(text)


async def test_a_link_is_kept_by_id_and_shown_by_name() -> None:
    db = container("db")
    known = register(db)
    host: dict[str, Any] = {"NetworkMode": "bridge", "Links": ["db:data"]}
    host["Links"] = links.resolve(host, known)
    assert host["Links"] == [f"{db.id}:data"]
    web = container("web", links_=host["Links"])
    known.add(web)
    assert links.shown(web.record, known) == ["/db:/web/data"]
    assert links.names(known) == {db.id: ["/web/data"]}


@pytest.mark.parametrize(("mode", "name", "words"), [
    ("host", "db", "conflicting options: host type networking can't be used with links. This would result in "
     "undefined behavior"),
    ("container:x", "db", "container type network"),
    ("bridge", "nosuch", "could not get container for nosuch: No such container: nosuch"),
    ("bridge", "onhost", "host type networking"),
])
async def test_what_cant_be_linked(mode: str, name: str, words: str) -> None:
    known = register(container("db"), container("onhost", mode="host"))
    with pytest.raises(InvalidParameter, match=words):
        links.resolve({"NetworkMode": mode, "Links": [name]}, known)


async def test_on_user_networks_it_is_the_endpoints_matter() -> None:
    assert links.resolve({"NetworkMode": "front", "Links": ["nosuch:x"]}, register()) is None


async def test_variables_are_docker_s() -> None:
    db = container("db", Env=["SECRET=x", "PATH=/bin", "HOME=/root"],
                   ExposedPorts={"80/tcp": {}, "5000/tcp": {}, "5001/tcp": {}, "5002/tcp": {}, "53/udp": {}})
    found = links._variables("web", "my-data", "10.88.0.2", db.record.config)
    assert found[:2] == ["MY_DATA_NAME=/web/my-data", "MY_DATA_PORT=tcp://10.88.0.2:80"]
    assert set(found[2:]) == {
        "MY_DATA_PORT_5000_TCP_START=tcp://10.88.0.2:5000", "MY_DATA_PORT_5000_TCP_END=tcp://10.88.0.2:5002",
        "MY_DATA_PORT_5000_TCP_PORT_START=5000", "MY_DATA_PORT_5000_TCP_PORT_END=5002", "MY_DATA_ENV_SECRET=x",
        *(f"MY_DATA_PORT_{port}_{proto.upper()}{word}" for port, proto in
          ((80, "tcp"), (5000, "tcp"), (5001, "tcp"), (5002, "tcp"), (53, "udp"))
          for word in (f"={proto}://10.88.0.2:{port}", "_ADDR=10.88.0.2", f"_PORT={port}", f"_PROTO={proto}"))}


async def test_each_must_run_and_be_on_the_default_network() -> None:
    web = container("web", links_=["dbdbdbdbdbdbdbdb:data"])
    with pytest.raises(EngineFailure, match="Cannot link to a non running container: /db AS /web/data"):
        links.linked(web.record, register(container("db")))
    away = container("db", ip="10.88.0.2", mode="front")
    assert away.endpoint is not None
    away.endpoint.attachments[0].network_name = "front"
    with pytest.raises(EngineFailure, match="as it does not belong to the default network"):
        links.linked(web.record, register(away))
    (one,) = links.linked(web.record, register(container("db", ip="10.88.0.2")))
    assert (one.addresses, one.names) == (["10.88.0.2"], "data dbhost db")


def test_hosts_follow_another_address() -> None:
    hosts = "127.0.0.1\tlocalhost\n10.88.0.2\tdata dbhost db\n10.88.0.2\tdata\nfd00::2\tdata dbhost db\n"
    found = links.renewed(hosts, "data dbhost db", ["10.88.0.9", "fd00::9"])
    assert found == "127.0.0.1\tlocalhost\n10.88.0.9\tdata dbhost db\n10.88.0.2\tdata\nfd00::9\tdata dbhost db\n"


async def test_who_is_told_of_another_address() -> None:
    db, other = container("db", ip="10.88.0.9"), container("x", ip="10.88.0.3")
    web = container("web", ip="10.88.0.2", links_=[f"{db.id}:data", f"{other.id}:more"])
    known = register(db, other, container("alone", ip="10.88.0.4"), web, container("off", links_=[f"{db.id}:data"]))
    assert links.moved(db, known) == [(web, "data dbhost db", ["10.88.0.9"])]
    assert links.moved(web, known) == []
    known.discard(web)
    assert links.moved(db, known) == []
    assert links.names(known) == {db.id: ["/off/data"]}


async def test_unlink() -> None:
    web = container("web", links_=["x:data", "y:more"])
    known = register(web)
    assert links.unlink("/web/data", known) == (web, ["y:more"])
    with pytest.raises(NotFound):
        links.unlink("web/nosuch", known)
    with pytest.raises(NotFound):
        links.unlink("nosuch/data", known)
    with pytest.raises(Conflict, match="cannot remove the default link name"):
        links.unlink("web", known)
