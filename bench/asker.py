"""Puts one question to a resolver again and again: `asker.py ADDRESS NAME SECONDS`, in the asker's network namespace.

Prints answers per second with 32 questions under way, and the median and the 99th percentile of the time, in
milliseconds, that one at a time waits for its answer. Standard library only.
"""

from __future__ import annotations

import socket
import statistics
import struct
import sys
import time

UNDER_WAY = 32


def question(number: int, name: str) -> bytes:
    labels = b"".join(bytes((len(label),)) + label.encode() for label in name.split("."))
    return struct.pack("!HHHHHH", number, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!HH", 1, 1)


def rate(one: socket.socket, questions: list[bytes], seconds: float) -> float:
    send, receive, clock = one.send, one.recv, time.perf_counter
    for data in questions:
        send(data)
    answers, begun = 0, clock()
    end = begun + seconds
    while clock() < end:
        for data in questions:  # as many as are under way: the clock is looked at seldom
            receive(512)
            send(data)
        answers += len(questions)
    took = clock() - begun
    for _ in questions:
        receive(512)
    return answers / took


def waits(one: socket.socket, data: bytes, count: int) -> list[float]:
    found = []
    for _ in range(count):
        begun = time.perf_counter()
        one.send(data)
        one.recv(512)
        found.append((time.perf_counter() - begun) * 1000)
    return sorted(found)


def main() -> None:
    address, name, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.settimeout(5)
        one.connect((address, 53))
        one.send(question(0, name))
        answer = one.recv(512)
        if answer[3] & 15 or not struct.unpack_from("!H", answer, 6)[0]:
            sys.exit(f"{address} has no address for {name}")
        single = waits(one, question(1, name), 2000)
        print(rate(one, [question(number, name) for number in range(UNDER_WAY)], seconds),
              statistics.median(single), single[len(single) * 99 // 100])


if __name__ == "__main__":
    main()
