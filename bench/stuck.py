"""What the service says of itself while every provider thread waits for a provider that takes calls
and answers none. `row` is run.py's."""

import concurrent.futures
import contextlib
import socket
import tempfile
import threading
import time
import urllib.error

from measure import Daemon, http, until

PROVIDER_THREADS = 16
ROUTES = ("/q/health", "/q/metrics", "/api/admin/kms/doctor")
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench"}


class BlackHole:
    """Accepts, and holds what it accepted until the with-block ends."""

    def __enter__(self):
        self.held, self.listener = [], socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()
        return self

    def accept(self):
        with contextlib.suppress(OSError):  # closed
            while True:
                self.held.append(self.listener.accept()[0])

    def __exit__(self, *_):
        self.listener.close()
        for each in self.held:
            each.close()


def stuck(row):
    took, end = [], time.monotonic() + 5
    with tempfile.TemporaryDirectory() as folder, BlackHole() as hole, Daemon(
            folder, {"betrace.kms.provider": "aws", "aws.kms.master-key-id": "bench",
                     "aws.kms.endpoint": f"http://127.0.0.1:{hole.port}"},
            environment=CREDENTIALS, ready="/q/health/live") as daemon:

        def validate(_):
            while time.monotonic() < end:
                daemon.call("POST", "/api/admin/kms/validate")

        with concurrent.futures.ThreadPoolExecutor(2 * PROVIDER_THREADS) as callers:
            waiting = [callers.submit(validate, n) for n in range(2 * PROVIDER_THREADS)]
            until(lambda: len(hole.held) >= PROVIDER_THREADS, "every provider thread's call")
            while time.monotonic() < end:
                for route in ROUTES:
                    began = time.monotonic()
                    with contextlib.suppress(urllib.error.HTTPError):  # health says DOWN
                        http("GET", f"http://127.0.0.1:{daemon.port}{route}")
                    took.append((time.monotonic() - began) * 1000)
                time.sleep(0.01)
            still = sum(not each.done() for each in waiting)
    if still < len(waiting):
        raise RuntimeError(f"only {still} calls were waiting to the end")
    row("health, metrics, doctor while the provider hangs, slowest", max(took), "ms", None, 100,
        note=f"{len(took)} answers, {len(hole.held)} connections held")
