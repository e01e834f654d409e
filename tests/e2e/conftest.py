"""Fixtures of the end-to-end tests. A server that cannot start fails its tests; nothing skips."""

import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(__file__))

from harness.aws import aws_environment, aws_properties  # noqa: E402
from harness.daemon import Daemon  # noqa: E402
from harness.servers import FakeKms, LocalStack, MiniStack  # noqa: E402

TORTURE = bool(os.environ.get("BETRACE_TORTURE"))


@pytest.fixture
def daemons(tmp_path):
    """A maker of daemons: daemons(properties, environment=…) starts one and it is stopped at the
    test's end; with start=False the test starts it."""
    made = []

    def make(properties=None, start=True, name=None, **options):
        daemon = Daemon(tmp_path / (name or f"daemon-{len(made)}"), properties, **options)
        made.append(daemon)
        return daemon.start() if start else daemon

    yield make
    for daemon in made:
        code = daemon.stop()
        for report in ("AddressSanitizer", "ThreadSanitizer", "runtime error:"):
            assert report not in daemon.text(), daemon.text()[-6000:]
        # Killed by a test, refused to start, or ended well; never a crash.
        assert code in (None, 0, 1, 2, -9), f"ended with {code}:\n{daemon.text()[-4000:]}"


@pytest.fixture(scope="session")
def fake_kms_process(tmp_path_factory):
    server = FakeKms(tmp_path_factory.mktemp("fake-kms")).start()
    yield server
    server.stop()


@pytest.fixture
def fake_kms(fake_kms_process):
    """All well, nothing counted, for each test."""
    server = fake_kms_process
    if not server.running:
        server.start()
    server.control(faults=[], reset=True, aliases={"alias/betrace": server.key_id},
                   states={server.key_id: "Enabled", server.other_key_id: "Enabled"})
    return server


@pytest.fixture(scope="session")
def ministack(tmp_path_factory):
    server = MiniStack(tmp_path_factory.mktemp("ministack")).start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def localstack(tmp_path_factory):
    server = LocalStack(tmp_path_factory.mktemp("localstack")).start()
    yield server
    server.stop(seconds=1)  # it keeps nothing, and takes its time


@pytest.fixture
def aws_daemon(daemons, fake_kms):
    """A maker of daemons on the fake KMS, with short waits unless told otherwise."""
    def make(properties=None, key=None, environment=None, **options):
        waits = {"kms.retry.delay-ms": 20, "kms.retry.jitter-ms": 10,
                 "kms.circuit-breaker.delay-ms": 400}
        return daemons(aws_properties(fake_kms, key or fake_kms.key_arn) | waits
                       | (properties or {}), environment=environment or aws_environment(),
                       **options)
    return make
