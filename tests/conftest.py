"""For all tests: what was inherited from the shell that started them must not decide what they find."""

from __future__ import annotations

import signal


def _go_on(number: int, frame: object) -> None:
    """As if it were ignored."""


# A shell without job control lets what it runs in the background (`make test &`, many a CI) ignore SIGINT and SIGQUIT,
# nohup SIGHUP. That is inherited, also over exec, and a shell that began so can't trap them (POSIX, trap): tests of
# signals waited for ever. What is handled isn't inherited, and the run itself goes on as whoever started it wants.
for _number, _handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGQUIT, _go_on),
                          (signal.SIGHUP, _go_on)):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _handler)
