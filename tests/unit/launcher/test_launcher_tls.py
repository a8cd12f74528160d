"""Syslog over TLS: to a receiver of the test's own, in the bytes that Docker 26 sends (RFC 5424, 5425)."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from kist.launcher.log import open_log
from kist.launcher.loop import Loop
from kist.launcher.streams import Streams
from support.pki import make_pki
from support.syslog_tls import Receiver

if TYPE_CHECKING:
    from kist.launcher.log import Log


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture
def receivers(pki: Path) -> Iterator[list[Receiver]]:
    made: list[Receiver] = []
    yield made
    for one in made:
        if one.thread.is_alive():
            one.close()


def syslog(receiver: Receiver, loop: Loop, streams: Streams, tls: dict[str, Any], **words: Any) -> Log:
    return open_log({"driver": "syslog", "address": receiver.address, "mode": "blocking", "max_buffer": 1 << 20,
                     "facility": 3, "format": "", "tag": "abc", "host": "box", "pid": 7,
                     "tls": {"ca": "", "cert": "", "key": "", "verify": True, **tls}, **words}, loop, streams)


@pytest.mark.parametrize(("form", "pattern"), [
    ("", rb"<30>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d abc\[7\]: one\n<27>.{15} abc\[7\]: two\n"),
    ("rfc3164", rb"<30>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d box abc\[7\]: one\n<27>.{15} box abc\[7\]: two\n"),
    ("rfc5424", rb"47 <30>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ box abc 7 abc - one\n47 <27>1 .{20} box abc 7 abc - two\n"),
    ("rfc5424micro", rb"54 <30>1 .{19}\.\d{6}Z box abc 7 abc - one\n54 <27>1 .{27} box abc 7 abc - two\n"),
])
def test_what_is_sent(pki: Path, loop: Loop, streams: Streams, receivers: list[Receiver], form: str,
                      pattern: bytes) -> None:
    """A length stands before a record of RFC 5424: its octets, the line's end among them."""
    receivers.append(to := Receiver(pki))
    log = syslog(to, loop, streams, {"ca": str(pki / "ca.pem")}, format=form)
    log.write("stdout", b"one\n")
    log.write("stderr", b"two\n")
    log.close()
    to.close()
    assert len(to.got) == 1 and re.fullmatch(pattern, to.got[0]), to.got


def test_it_shows_a_certificate_where_it_has_one(pki: Path, loop: Loop, streams: Streams,
                                                 receivers: list[Receiver]) -> None:
    receivers.append(to := Receiver(pki, asks=True))
    log = syslog(to, loop, streams, {"ca": str(pki / "ca.pem"), "cert": str(pki / "client.pem"),
                                     "key": str(pki / "client.key")})
    log.write("stdout", b"hi\n")
    log.close()
    to.close()
    assert to.got[0].endswith(b": hi\n") and to.who[0]["subject"] == ((("commonName", "client"),),)


@pytest.mark.parametrize(("tls", "said"), [
    ({}, "tls: failed to verify certificate: x509: "),
    ({"ca": "stranger.pem"}, "tls: failed to verify certificate: x509: "),
    ({"ca": "nosuch.pem"}, 'could not read CA certificate "PKI/nosuch.pem": no such file or directory'),
    ({"ca": "ca.key"}, 'failed to append certificates from PEM file: "PKI/ca.key"'),
    ({"ca": "ca.pem", "cert": "client.pem"}, "Could not load X509 key pair: no such file or directory"),
    ({"ca": "ca.pem", "cert": "client.pem", "key": "ca.key"}, "Could not load X509 key pair: .*KEY_VALUES_MISMATCH"),
])
def test_who_is_not_trusted_and_files_that_are_none(pki: Path, loop: Loop, streams: Streams, receivers: list[Receiver],
                                                    tls: dict[str, str], said: str) -> None:
    """They are errors of the start, and nothing is sent."""
    receivers.append(to := Receiver(pki))
    with pytest.raises(OSError, match=said.replace("PKI", str(pki))):
        syslog(to, loop, streams, {name: str(pki / file) for name, file in tls.items()})
    to.close()
    assert b"".join(to.got) == b""


def test_the_certificate_must_name_the_host(pki: Path, loop: Loop, streams: Streams, receivers: list[Receiver]) -> None:
    receivers.append(to := Receiver(pki))
    port = to.address[2]
    to.address = ["tcp", "localhost", port]
    with pytest.raises(OSError, match="failed to verify certificate: x509: Hostname mismatch"):
        syslog(to, loop, streams, {"ca": str(pki / "ca.pem")})
    log = syslog(to, loop, streams, {"verify": False})
    log.write("stdout", b"unseen\n")
    log.close()
    to.close()
    assert to.got[-1].endswith(b": unseen\n")


def test_a_receiver_that_speaks_something_else(loop: Loop, streams: Streams) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            peer, _ = server.accept()
            peer.sendall(b"220 mail.example.com\r\n")
            peer.close()

        thread = threading.Thread(target=answer)
        thread.start()
        told: Any = type("Plain", (), {"address": ["tcp", *server.getsockname()]})
        with pytest.raises(OSError, match=r"dial tcp 127\.0\.0\.1:"):
            syslog(told, loop, streams, {"verify": False})
        thread.join()


def run_until(loop: Loop, done: Any) -> None:
    def look() -> None:
        if done():
            loop.stop()
        loop.after(look, 0.02, look)

    look()
    loop.after("end", 20.0, loop.stop)
    loop.run()
    loop.cancel(look)
    loop.cancel("end")
    assert done()


def test_more_than_the_receiver_takes_at_once(pki: Path, loop: Loop, streams: Streams,
                                              receivers: list[Receiver]) -> None:
    """It waits here, and each line arrives once, in order."""
    begin = threading.Event()
    receivers.append(to := Receiver(pki, first=begin))
    log = streams.log = syslog(to, loop, streams, {"ca": str(pki / "ca.pem")}, max_buffer=64 << 20)
    lines = [b"%05d %s" % (number, b"x" * 500) for number in range(12_000)]
    for at in range(0, len(lines), 100):
        log.write("stdout", b"".join(line + b"\n" for line in lines[at:at + 100]))
    begin.set()
    run_until(loop, lambda: to.got and to.got[0].count(b"\n") == len(lines))
    log.close()
    to.close()
    assert [line.split(b": ", 1)[1] for line in to.got[0].splitlines()] == lines


def test_a_receiver_that_goes_is_looked_for_again(pki: Path, loop: Loop, streams: Streams,
                                                  receivers: list[Receiver]) -> None:
    """The handshake goes on beside the container's output; one that isn't trusted gets nothing."""
    receivers.append(to := Receiver(pki))
    log = syslog(to, loop, streams, {"ca": str(pki / "ca.pem")})
    log.write("stdout", b"first\n")
    run_until(loop, lambda: to.got and to.got[0].endswith(b"first\n"))
    to.server.shutdown(socket.SHUT_RDWR)
    to.server.close()
    to.connections[0].shutdown(socket.SHUT_RDWR)
    to.thread.join()
    receivers.append(false := Receiver(pki, port=to.address[2], name="stranger"))

    def write() -> None:
        log.write("stdout", b"again\n")
        loop.after(write, 0.1, write)

    write()
    loop.after("end", 1.5, loop.stop)
    loop.run()
    false.close()
    assert not false.got
    receivers.append(again := Receiver(pki, port=to.address[2]))
    run_until(loop, lambda: again.got and again.got[0].endswith(b"again\n"))
    loop.cancel(write)
    log.close()
    again.close()


def test_the_launcher_and_other_monitors_know_nothing_of_it() -> None:
    """ssl is megabytes: it is imported where a container asks for it."""
    source = Path(__file__).parents[3] / "src"
    said = subprocess.run([sys.executable, "-I", "-S", "-c", "import sys; sys.path.insert(0, sys.argv[1])\n"
                           "from kist.launcher import remote\nprint('ssl' in sys.modules, '_ssl' in sys.modules)",
                           str(source)], capture_output=True, text=True, check=True).stdout
    assert said == "False False\n"
