"""A server process of a test: started, watched until it is ready, stopped by its process id."""

import os
import pathlib
import random
import signal
import socket
import subprocess

from .waiting import until

ROOT = pathlib.Path(__file__).resolve().parents[3]
HARNESS = pathlib.Path(__file__).resolve().parent.parent


def free_port():
    """A loopback port that was free a moment ago, and that no client is given meanwhile, since it is
    below those that the kernel hands out. By chance, so that two suites at once get different ones."""
    while True:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", random.SystemRandom().randrange(10_000, 32_000)))
            except OSError:
                continue
            return probe.getsockname()[1]


def clean_environment(home, **more):
    """Nothing of the caller's shell that a server could take for configuration."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "ASAN_OPTIONS", "UBSAN_OPTIONS",
                                                "TSAN_OPTIONS") if name in os.environ}
    return {**kept, "HOME": str(home), **{k: str(v) for k, v in more.items()}}


class Process:
    """Subclasses give `arguments()`, `environment()` and `is_ready()`."""

    ready_seconds = 15.0

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.output = self.folder / "output.log"
        self.process = None
        self.before_exec = None

    def start(self, ready=True):
        with open(self.output, "ab") as output:
            self.process = subprocess.Popen(
                list(map(str, self.arguments())), cwd=self.folder,
                env=self.environment(), stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                preexec_fn=self.before_exec)
        if ready:
            self.wait_ready()
        return self

    def wait_ready(self):
        def ready():
            code = self.process.poll()
            if code is not None:
                raise RuntimeError(f"{type(self).__name__} ended with {code} instead of starting:\n"
                                   f"{self.text()[-4000:]}")
            return self.is_ready()
        try:
            until(ready, self.ready_seconds, f"{type(self).__name__} to be ready", every=0.01)
        except AssertionError as error:
            self.stop()
            raise RuntimeError(f"{error}\n{self.text()[-4000:]}") from None

    @property
    def pid(self):
        return self.process.pid

    @property
    def running(self):
        return self.process is not None and self.process.poll() is None

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, seconds=15.0):
        """The exit code."""
        return self.process.wait(seconds)

    def stop(self, seconds=15.0):
        """SIGTERM, and after `seconds` SIGKILL. Answers the exit code, or None if there was no
        process to stop."""
        if not self.running:
            return None if self.process is None else self.process.poll()
        self.signal(signal.SIGTERM)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            return self.process.returncode

    def kill(self):
        if self.running:
            self.signal(signal.SIGKILL)
            self.process.wait()

    def memory(self):
        """Resident memory in MiB: now, and at the most so far."""
        with open(f"/proc/{self.pid}/status", encoding="ascii") as status:
            sizes = dict(line.split(":", 1) for line in status)
        return tuple(int(sizes[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM"))

    def text(self):
        return self.output.read_text(errors="replace") if self.output.exists() else ""
