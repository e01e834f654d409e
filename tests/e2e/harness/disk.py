"""A disk with little room: a file system of its own, or, where nobody may mount one, a daemon whose
files may not grow further."""

import contextlib
import os
import resource
import signal

from .servers import run


class SmallDisk:
    """`folder` has room for `megabytes`. `says`: the system's words when there is none left."""

    def __init__(self, folder, megabytes):
        self.folder, self.megabytes = folder, megabytes
        folder.mkdir(parents=True, mode=0o700)
        self.mounted = os.geteuid() == 0 and run(
            ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0700", "none",
             folder]).returncode == 0
        self.says = "No space left on device" if self.mounted else "File too large"

    def hold(self, daemon):
        """Before the daemon starts."""
        if not self.mounted:
            daemon.before_exec = self.limit_files

    def limit_files(self):
        """Half of it each: a daemon writes several."""
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        half = self.megabytes << 19
        resource.setrlimit(resource.RLIMIT_FSIZE, (half, half))

    def grow(self, megabytes, daemon):
        """Room for a daemon that is not running."""
        self.remount(f"size={megabytes}m")
        daemon.before_exec = None

    def remount(self, options):
        if self.mounted:
            done = run(["mount", "-o", f"remount,{options}", self.folder])
            assert done.returncode == 0, done.stderr


@contextlib.contextmanager
def small_disk(folder, megabytes):
    disk = SmallDisk(folder, megabytes)
    try:
        yield disk
    finally:
        if disk.mounted:
            run(["umount", "-l", folder])
