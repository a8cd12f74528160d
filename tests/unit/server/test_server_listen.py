"""Where the server listens: sockets, the lock, TLS, the options that choose among them."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import stat
from pathlib import Path

import pytest

from kist.errors import Conflict, InvalidParameter
from kist.server import __main__ as kistd
from kist.server import listen
from kist.server.listen import Address
from kist.server.serve import Server
from support.pki import make_pki
from unit.server.fake_engine import FakeEngine
from unit.server.wire import Wire, connected


@pytest.mark.parametrize(("text", "address"), [
    ("unix:///run/kist/kist.sock", Address(path="/run/kist/kist.sock")),
    ("tcp://127.0.0.1:2376", Address(host="127.0.0.1", port=2376)),
    ("tcp://[::1]:2376", Address(host="::1", port=2376)),
    ("tcp://:2376", Address(port=2376)),
])
def test_addresses(text: str, address: Address) -> None:
    assert Address.parse(text) == address


@pytest.mark.parametrize("text", ["", "unix://relative", "tcp://host", "tcp://host:x", "tcp://host:70000",
                                  "fd://", "/x"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(InvalidParameter, match=r"^invalid address "):
        Address.parse(text)


async def test_the_socket_is_for_root_and_the_group(server: Server, tmp_path: Path) -> None:
    assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == 0o660
    assert sorted(os.listdir(tmp_path)) == ["s"]


async def test_a_stale_socket_is_replaced(engine: FakeEngine, tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)
    async with Server(engine, [Address(path=path)]), connected(path) as wire:
        assert (await wire.ask("GET", "/_ping")).status == 200


async def test_a_live_servers_socket_and_other_files_are_left_alone(server: Server, tmp_path: Path) -> None:
    with pytest.raises(Conflict, match="another server listens on"):
        listen.unix_socket(str(tmp_path / "s"))
    (tmp_path / "file").write_text("precious")
    with pytest.raises(Conflict, match="exists and is no socket"):
        listen.unix_socket(str(tmp_path / "file"))
    assert (tmp_path / "file").read_text() == "precious"


def test_a_path_that_no_socket_can_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidParameter, match="can't listen on"):
        listen.unix_socket(str(tmp_path / ("x" * 120)))
    assert os.listdir(tmp_path) == []


def test_one_server_per_run_directory(tmp_path: Path) -> None:
    run = str(tmp_path / "run")
    lock = listen.lock_run_dir(run)
    with pytest.raises(Conflict, match=rf"another server runs already with {run} \(process {os.getpid()}\)"):
        listen.lock_run_dir(run)
    os.close(lock)
    os.close(listen.lock_run_dir(run))


async def test_tcp_without_tls_is_refused() -> None:
    with pytest.raises(InvalidParameter, match="TCP needs --tlsverify"):
        await listen.listen(Address(host="127.0.0.1", port=0), asyncio.Protocol, None)


@pytest.mark.parametrize(("argv", "words"), [
    (["--tlscert", "x"], "need --tlsverify"),
    (["--tlsverify"], "--tlsverify needs"),
    (["-H", "tcp://x"], "invalid address"),
    (["--run", "relative"], "must be an absolute path"),
])
def test_options_that_do_not_fit_are_refused(argv: list[str], words: str, tmp_path: Path,
                                             capsys: pytest.CaptureFixture[str]) -> None:
    assert kistd.main(["--data", str(tmp_path / "data"), "--run", str(tmp_path / "run"), *argv]) == 1
    told = capsys.readouterr().err
    if os.geteuid() == 0:
        assert told.startswith("kistd: ")
        assert words in told
    else:
        assert told == "kistd: the server must run as root (try sudo kistd)\n"


# -- TLS


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_pki(tmp_path_factory.mktemp("pki"))


def _client(pki: Path, name: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(pki / "ca.pem"))
    if name is not None:
        context.load_cert_chain(pki / f"{name}.pem", pki / f"{name}.key")
    return context


async def test_tls_lets_clients_with_a_certificate_in_and_carries_attach(engine: FakeEngine, pki: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    tls = listen.Tls(str(pki / "ca.pem"), str(pki / "server.pem"), str(pki / "server.key"))
    async with Server(engine, [Address(host="127.0.0.1", port=port)], tls):
        for name in (None, "stranger"):
            assert await _said_to(_client(pki, name), port) == b""
        assert (await _said_to(_client(pki, "client"), port)).endswith(b"OK")
        wires = [Wire(*await asyncio.open_connection("127.0.0.1", port, ssl=_client(pki, "client")))
                 for _ in range(2)]
        await _attach(*wires)
        for wire in wires:
            await wire.close()


async def _said_to(client: ssl.SSLContext, port: int) -> bytes:
    """What a client is answered to a ping. (In TLS 1.3 it learns of its refusal when it reads.)"""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client)
        writer.write(b"GET /_ping HTTP/1.0\r\n\r\n")
        said = await reader.read()
        writer.close()
    except (ssl.SSLError, ConnectionError):
        return b""
    return said


async def _attach(wire: Wire, second: Wire) -> None:
    made = await wire.ask("POST", "/containers/create", {"Image": "busybox", "Cmd": ["head", "-c", "5"],
                                                         "OpenStdin": True})
    id = made.json["Id"]
    second.request("POST", f"/containers/{id}/attach?stream=1&stdin=1&stdout=1",
                   headers="Connection: Upgrade\r\nUpgrade: tcp\r\n")
    assert (await second.answer()).status == 101
    await wire.ask("POST", f"/containers/{id}/start")
    second.send(b"12345678")
    assert await second.rest() == b"\1\0\0\0\0\0\0\00512345"


def test_tls_files_that_are_missing_are_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidParameter, match=f"TLS files {tmp_path}/ca"):
        listen.tls_context(listen.Tls(f"{tmp_path}/ca", f"{tmp_path}/cert", f"{tmp_path}/key"))


async def test_a_connection_too_many_is_told_so_and_the_next_ones_are_served(
        engine: FakeEngine, tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    async with Server(engine, [Address(path=path)], most=2):
        async with connected(path) as first:
            async with connected(path) as second:
                for wire in (first, second):
                    assert (await wire.ask("GET", "/_ping")).status == 200
                async with connected(path) as third:
                    refused = await third.ask("GET", "/_ping")
                    assert refused.status == 503
                    assert b"too many connections: there are 2 already" in refused.body
            await asyncio.sleep(0)
            async with connected(path) as fourth:
                assert (await fourth.ask("GET", "/_ping")).status == 200
