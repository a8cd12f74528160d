"""fs-verity (Linux, Documentation/filesystems/fsverity.rst): a file becomes read-only for ever, and the kernel checks
each block of it against a Merkle tree when it comes from the disk. btrfs has it, ext4 and f2fs where their feature
``verity`` is on.

    enable      builds the tree: reads the file once; nobody may have it open for writing (ETXTBSY)
    measure     the digest of the tree's root and the file's size: as good as a hash of the file, and read from memory

What is read of damaged blocks is EIO from then on. OSError: EOPNOTSUPP or ENOTTY where the file system has no
fs-verity, EEXIST for a file that is sealed already, ENODATA when one is measured that isn't.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct

FS_IOC_ENABLE_VERITY, FS_IOC_MEASURE_VERITY = 0x40806685, 0xC0046686
#: What says that the file system (or the kernel) has no fs-verity.
LACKING = frozenset({errno.ENOTTY, errno.EOPNOTSUPP, errno.ENOSYS})
_SHA256, BLOCK = 1, 4096
# struct fsverity_enable_arg: version, hash_algorithm, block_size, salt_size, salt_ptr, sig_size, -, sig_ptr, -
_ENABLE = struct.Struct("=IIIIQIIQ88x")
_DIGEST = struct.Struct("=HH64s")  # struct fsverity_digest: digest_algorithm, digest_size, digest


def enable(path: str) -> None:
    """Seal the file at ``path``."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.ioctl(fd, FS_IOC_ENABLE_VERITY, _ENABLE.pack(1, _SHA256, BLOCK, 0, 0, 0, 0, 0))
    finally:
        os.close(fd)


def measure(path: str) -> str:
    """The digest of a sealed file, as ``sha256:…``."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        algorithm, size, digest = _DIGEST.unpack(fcntl.ioctl(fd, FS_IOC_MEASURE_VERITY, _DIGEST.pack(0, 64, b"")))
    finally:
        os.close(fd)
    name = {_SHA256: "sha256", 2: "sha512"}.get(algorithm, str(algorithm))
    return f"{name}:{digest[:size].hex()}"
