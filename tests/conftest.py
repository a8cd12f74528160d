"""For all tests: what was inherited from the shell that started them must not decide what they find."""

from __future__ import annotations

import signal

# A shell without job control lets what it runs in the background (`make test &`, nohup, many a CI) ignore SIGINT. That
# is inherited, also over exec, and a shell that began so can't trap it (POSIX, trap): tests of signals waited for ever.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
