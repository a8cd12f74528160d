"""A server that tells its callers who they are, and the caller. Standard library only; run as a program.

    talker.py serve tcp:80 udp:53 …          prints "ready", answers each caller with its address as text
    talker.py ask tcp:198.51.100.1:80 3      prints the answer, "refused", "unreachable" or "silence"
"""

from __future__ import annotations

import select
import socket
import sys
from typing import Any

KINDS = {"tcp": (socket.SOCK_STREAM, 0), "udp": (socket.SOCK_DGRAM, 0),
         "sctp": (socket.SOCK_STREAM, socket.IPPROTO_SCTP)}


def serve(ports: list[str]) -> None:
    listening = {}
    for port in ports:
        kind, number = port.split(":")
        one = socket.socket(socket.AF_INET6, *KINDS[kind])
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        one.bind(("::", int(number)))
        if kind != "udp":
            one.listen(64)
        listening[one] = kind
    print("ready", flush=True)
    while True:
        for one in select.select(list(listening), [], [])[0]:
            if listening[one] == "udp":
                _, caller = one.recvfrom(2048)
                one.sendto(plain(caller), caller)
            else:
                connection, caller = one.accept()
                connection.sendall(plain(caller))
                connection.close()


def plain(caller: Any) -> bytes:
    return str(caller[0]).removeprefix("::ffff:").encode()


def ask(where: str, timeout: float) -> None:
    kind, _, rest = where.partition(":")
    address, _, port = rest.rpartition(":")
    address = address.strip("[]")
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, *KINDS[kind]) as one:
        one.settimeout(timeout)
        try:
            one.connect((address, int(port)))
            if kind == "udp":
                one.send(b"hello")
            print(one.recv(100).decode())
        except TimeoutError:
            print("silence")
        except ConnectionRefusedError:
            print("refused")
        except OSError as error:
            print("unreachable", error)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2:])
    else:
        ask(sys.argv[2], float(sys.argv[3]))
