"""Fixtures of the end-to-end tests. A server that cannot start fails its tests; nothing skips."""

import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(__file__))

from harness.aws import aws_environment, aws_properties  # noqa: E402
from harness.collector import Collector  # noqa: E402
from harness.daemon import Daemon, program  # noqa: E402
from harness.fenced import Reader  # noqa: E402
from harness.next_in_line import NextInLine  # noqa: E402
from harness.process import ROOT  # noqa: E402
from harness.servers import FakeKms, LocalStack, MiniStack, Moto  # noqa: E402
from harness.store import Store  # noqa: E402

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


@pytest.fixture
def collector(tmp_path):
    """One for each test: a daemon's last spans come after the test's end."""
    server = Collector(tmp_path / "collector").start()
    yield server
    server.stop()


@pytest.fixture
def next_in_line():
    server = NextInLine().start()
    yield server
    server.stop()


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


@pytest.fixture(scope="session")
def moto(tmp_path_factory):
    server = Moto(tmp_path_factory.mktemp("moto")).start()
    yield server
    server.stop(seconds=2)


@pytest.fixture(scope="module")
def reader(tmp_path_factory, ministack, moto):
    """Of a document: beside a daemon whose tenant `acme` has a key that is 100 days old."""
    kms = ministack.client("kms")
    key = kms.create_key()["KeyMetadata"]["Arn"]
    kms.create_alias(AliasName="alias/betrace", TargetKeyId=key)
    iam = ministack.client("iam")
    iam.create_role(
        RoleName="betrace-backend-role",
        AssumeRolePolicyDocument='{"Version":"2012-10-17","Statement":[]}')
    daemon = Daemon(tmp_path_factory.mktemp("reader"), aws_properties(ministack, "alias/betrace"),
                    environment=aws_environment()).start()
    daemon.create("acme")
    assert daemon.stop() == 0
    Store(daemon).age("acme", days=100)
    daemon.start()
    daemon.wait_health("UP")
    daemon.sign("acme", b"x")
    yield Reader(daemon, program(), endpoint=ministack.url,
                 path=[ROOT / "build/venv-awscli/bin"],
                 things={"key": key, "aws": ministack.url, "moto": moto.url, "data": daemon.data})
    assert daemon.stop() == 0
    kms.delete_alias(AliasName="alias/betrace")
    for name in iam.list_role_policies(RoleName="betrace-backend-role")["PolicyNames"]:
        iam.delete_role_policy(RoleName="betrace-backend-role", PolicyName=name)
    iam.delete_role(RoleName="betrace-backend-role")


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


@pytest.fixture
def tripped_daemon(aws_daemon, fake_kms):
    """The fake KMS fails, and the loads of a dozen cold keys have opened the signing breaker."""
    daemon = aws_daemon({"kms.cache.max-size": 2, "kms.cache.warm-tenants": 0})
    for number in range(12):
        daemon.create(f"tenant-{number}")
    fake_kms.error("KMSInternalException", "as in an outage", 500)
    for number in range(12):
        daemon.post(f"/api/tenants/tenant-{number}/sign", json={"payload": "eA=="})
    return daemon
