"""AppArmor: what a container may not do to the kernel's files even as root with capabilities (apparmor.d(5)).

The profile is this server's own and is loaded at its start, by AppArmor's parser. A machine that has AppArmor and no
parser runs containers without, and says so. As with Docker `--privileged` has none, `--security-opt apparmor=NAME`
another one, which somebody has loaded, and `apparmor=unconfined` none.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import subprocess
from typing import Any

from kist.engine.spec import security_options

Json = dict[str, Any]
log = logging.getLogger(__name__)
NAME, UNCONFINED = "kist-default", "unconfined"
PARSER, PLACES = "apparmor_parser", "/usr/sbin:/sbin:/usr/bin:/bin"
KERNEL = "/sys/kernel/security/apparmor"
SECONDS = 30.0  # the parser takes half of one

PROFILE = f"""
profile {NAME} flags=(attach_disconnected,mediate_deleted) {{
  # What capabilities, namespaces and mounts already decide.
  capability,
  file,
  network,
  unix,
  umount,

  # Signals come from outside, and go between containers' processes; the same for looking at each other.
  signal (receive) peer=unconfined,
  signal (send, receive) peer={NAME},
  ptrace (read, readby, trace, tracedby) peer={NAME},
  ptrace (readby, tracedby) peer=unconfined,

  # No mounting, whatever capability there is.
  deny mount,

  # Of /proc only the processes' own files can be written, and of the switches those of shared memory.
  deny /proc/* w,
  deny /proc/[^0-9s]*/** w,
  deny /proc/s[^y]*/** w,
  deny /proc/sys/[^k]** w,
  deny /proc/sys/kernel/[^s]** w,
  deny /proc/sys/kernel/s[^h]** w,
  deny /proc/sys/kernel/sh[^m]** w,
  deny /proc/{{kcore,kmem,mem}} rwkl,
  deny /proc/sysrq-trigger rwkl,

  # Of /sys nothing but the container's control groups can be written.
  deny /sys/[^f]** wkl,
  deny /sys/f[^s]** wkl,
  deny /sys/fs/[^c]** wkl,
  deny /sys/fs/c[^g]** wkl,
  deny /sys/firmware/** rwkl,
  deny /sys/kernel/security/** rwkl,
}}
"""


class AppArmor:
    """One per server. `begin`, and `ready` before the first container needs to know."""

    def __init__(self) -> None:
        self.enabled = os.path.isdir(KERNEL)
        self.warning = ""
        self._default = ""
        self._loading: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Loading goes on while the server opens."""
        if self.enabled:
            self._loading = asyncio.create_task(self._load())

    async def ready(self) -> None:
        if self._loading is not None:
            await self._loading

    @property
    def settled(self) -> bool:
        return self._loading is None or self._loading.done()

    def profile(self, host: Json) -> str:
        """Of a container with that HostConfig; "" where there is no AppArmor."""
        if not self.enabled:
            return ""
        if host["Privileged"]:
            return UNCONFINED
        return security_options(host.get("SecurityOpt")).apparmor or self._default or UNCONFINED

    async def _load(self) -> None:
        failure = await asyncio.to_thread(load)
        if failure:
            self.warning = f"WARNING: containers are not confined by AppArmor: {failure}"
            log.warning("%s", self.warning.removeprefix("WARNING: "))
        else:
            self._default = NAME


def load() -> str:
    """Why it failed; "" if the profile is in the kernel now (it replaces an older one). Blocking."""
    parser = shutil.which(PARSER, path=PLACES)
    if parser is None:
        return f"{PARSER} (package apparmor) is not installed"
    try:
        done = subprocess.run([parser, "--replace", "--skip-cache"], input=PROFILE, capture_output=True, text=True,
                              timeout=SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return "" if done.returncode == 0 else done.stderr.strip()[:500] or f"{PARSER} ended with {done.returncode}"
