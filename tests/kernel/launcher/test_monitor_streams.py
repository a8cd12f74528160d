"""Attach, terminals and exec with real processes behind them."""

from __future__ import annotations

import asyncio
import hashlib
import os

import pytest

from kist.launcher.client import LaunchError
from support.monitors import Client, House, process


async def test_both_outputs_arrive_apart_and_end(house: House) -> None:
    link, client = await house.attached("sh", "-c", "echo out; echo err >&2", stdin=False)
    assert await client.rest() == {1: b"out\n", 2: b"err\n"}
    assert (await link.exited).status == 0


async def test_half_close_ends_cat(house: House) -> None:
    link, client = await house.attached("cat")
    await client.send(b"hi\n")
    client.end_input()
    assert (await client.rest())[1] == b"hi\n"
    assert (await link.exited).status == 0


async def test_several_clients_share_a_container(house: House) -> None:
    link, first = await house.attached("sh", "-c", "read x; echo got $x; read y")
    second, attach = Client.make(stdin=True)
    await link.attach(attach)
    await second.send(b"it\n")
    await asyncio.gather(first.receive(b"got it\n"), second.receive(b"got it\n"))
    second.end_input()
    assert (await link.exited).status == 1


async def test_a_vanished_client_ends_the_input_not_the_container(house: House) -> None:
    link, client = await house.attached("sh", "-c", "cat >/dev/null; echo over; exit 5")
    client.sock.close()
    assert (await asyncio.wait_for(link.exited, 10)).status == 5


async def test_a_client_that_does_not_read_does_not_stop_the_container(house: House) -> None:
    link, client = await house.attached("seq", "1", "3000000", driver="none")
    assert (await asyncio.wait_for(link.exited, 30)).status == 0
    data = (await client.rest())[1]
    assert data.count(b"\n") == 3_000_000
    assert data.endswith(b"\n3000000\n")


async def test_a_quarter_gigabyte_both_ways(house: House) -> None:
    link, client = await house.attached("cat", driver="none")
    block = os.urandom(1 << 20)
    sent, got = hashlib.sha256(), hashlib.sha256()
    blocks = 256

    async def send() -> None:
        for _ in range(blocks):
            sent.update(block)
            await client.send(block)
        client.end_input()

    sending = asyncio.ensure_future(send())
    received = (await client.rest())[1]
    await sending
    got.update(received)
    assert len(received) == blocks << 20
    assert got.digest() == sent.digest()
    assert (await link.exited).status == 0


async def test_a_terminal(house: House) -> None:
    link, client = await house.attached("sh", terminal=True)
    await client.send(b"tty; stty size\n")
    await client.receive(b"33 77")
    await link.resize(None, 40, 100)
    await client.send(b"stty size\n")
    await client.receive(b"40 100")
    await client.send(b"sleep 100\n")
    await asyncio.sleep(0.1)
    await client.send(b"\x03echo after $?\n")  # job control: ctrl-c reaches the foreground process only
    await client.receive(b"after 130")
    await client.send(b"exit 7\n")
    await client.rest()
    assert (await link.exited).status == 7


async def test_detach_and_attach_again(house: House) -> None:
    detached: list[str | None] = []
    link, client = await house.attached("sh", terminal=True, keys=b"\x10\x11")
    link.on_detach = detached.append
    await client.send(b"\x10\x11")
    await client.rest()
    assert detached == [None]
    again, attach = Client.make(framed=False)
    await link.attach(attach)
    await again.send(b"echo back $((1+1))\n")
    await again.receive(b"back 2")
    assert not link.exited.done()


async def test_exec(house: House) -> None:
    exits: dict[str, int] = {}
    link = await house.start("sleep", "100")
    link.on_exec_exit = exits.__setitem__
    client, attach = Client.make()
    pid = await link.exec("e1", process("sh", "-c", "cat; echo err >&2; exit 4"), attach)
    assert pid in await link.pids()
    await client.send(b"through")
    client.end_input()
    assert await client.rest() == {1: b"through", 2: b"err\n"}
    assert exits == {"e1": 4}  # known before the client's connection ends


async def test_exec_with_a_terminal(house: House) -> None:
    exits: dict[str, int] = {}
    link = await house.start("sleep", "100")
    link.on_exec_exit = exits.__setitem__
    client, attach = Client.make(framed=False)
    await link.exec("e", process("sh", terminal=True), attach)
    await client.send(b"stty size\n")
    await client.receive(b"33 77")
    await link.resize("e", 50, 132)
    await client.send(b"stty size; exit 9\n")
    assert b"50 132" in (await client.rest())[1]
    assert exits == {"e": 9}


@pytest.mark.parametrize(("args", "kind"), [(["nosuch"], "not found"), (["/etc/text"], "not executable")])
async def test_exec_of_what_can_not_be_executed(house: House, args: list[str], kind: str) -> None:
    link = await house.start("sleep", "100")
    client, attach = Client.make()
    with pytest.raises(LaunchError) as caught:
        await link.exec("e", process(*args), attach)
    assert caught.value.kind == kind
    assert await client.rest() == {1: b"", 2: b""}
    assert len(await link.pids()) == 1


async def test_many_execs_at_once(house: House) -> None:
    exits: dict[str, int] = {}
    link = await house.start("sleep", "100")
    link.on_exec_exit = exits.__setitem__

    async def one(number: int) -> bytes:
        client, attach = Client.make()
        await link.exec(f"e{number}", process("sh", "-c", f"cat; exit {number}"), attach)
        await client.send(b"%d" % number)
        client.end_input()
        return (await client.rest())[1]

    assert await asyncio.gather(*map(one, range(12))) == [b"%d" % n for n in range(12)]
    assert exits == {f"e{n}": n for n in range(12)}


async def test_execs_end_with_their_container(house: House) -> None:
    exits: dict[str, int] = {}
    link = await house.start("sleep", "100")
    link.on_exec_exit = exits.__setitem__
    client, attach = Client.make()
    await link.exec("e", process("sh", "-c", "echo here; sleep 100"), attach)
    await client.receive(b"here\n")
    await link.exec("silent", process("sleep", "100"))
    await link.kill(9)
    assert (await asyncio.wait_for(link.exited, 10)).status == 137
    await client.rest()
    assert exits == {"e": 137, "silent": 137}


async def test_an_exec_ends_though_its_children_hold_its_output(house: House) -> None:
    link = await house.start("sleep", "100")
    client, attach = Client.make(stdin=False)
    await link.exec("e", process("sh", "-c", "(sleep 0.5; echo late; sleep 100) & echo now"), attach)
    assert (await asyncio.wait_for(client.rest(), 5))[1] == b"now\n"
    await asyncio.sleep(0.7)
    assert len(await link.pids()) == 2  # what it left runs on, not stopped by a closed pipe


async def test_exec_can_be_killed_by_itself(house: House) -> None:
    ended: asyncio.Future[tuple[str, int]] = asyncio.get_running_loop().create_future()
    link = await house.start("sleep", "100")
    link.on_exec_exit = lambda exec_id, status: ended.set_result((exec_id, status))
    await link.exec("e", process("sleep", "100"))
    await link.kill(9, "e")
    assert await asyncio.wait_for(ended, 10) == ("e", 137)
    with pytest.raises(LaunchError, match="No such exec"):
        await link.kill(9, "e")
    assert not link.exited.done()


async def test_a_huge_environment_gets_through(house: House) -> None:
    link = await house.start("sleep", "100")
    client, attach = Client.make(stdin=False)
    command = process("sh", "-c", "echo ${#A} ${#B}")
    command["env"] += ["A=" + "a" * 120_000, "B=" + "b" * 120_000]
    await link.exec("e", command, attach)
    assert (await client.rest())[1] == b"120000 120000\n"
