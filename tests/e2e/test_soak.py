"""Thousands of cold misses at each provider over a network that fails one call in a hundred: no
request is lost, and the daemon has the memory and the sockets at the end that it had near the
beginning."""

import itertools
import os

import pytest

from conftest import TORTURE
from harness.daemon import b64
from harness.relay import Relay
from harness.waiting import until
from harness.wire import Load
from test_any_to_any import everywhere  # noqa: F401  (a fixture)

CALLS = 100_000 if TORTURE else 2_000
TENANTS, CALLERS = 200, 16
COLD = {"kms.cache.max-size": 10, "kms.cache.warm-tenants": 0, "kms.retry.max-retries": 5,
        "kms.retry.delay-ms": 1, "kms.retry.jitter-ms": 1}
ADDRESSES = {"aws": "aws.kms.endpoint", "vault": "vault.addr", "gcp": "gcp.kms.endpoint",
             "azure": "azure.keyvault.uri"}


@pytest.fixture
def relays():
    made = []
    yield made.append
    for relay in made:
        relay.go_down()


def through_a_bad_network(everywhere, name, relays):
    """The provider's settings, its address being a relay that cuts one call in a hundred."""
    settings = everywhere.of(name)
    if name not in ADDRESSES:
        return settings, None
    address = str(settings[ADDRESSES[name]])
    relay = Relay(int(address.rsplit(":", 1)[1]), cut_one_in=100)
    relays(relay)
    seen = f"{address.split(':')[0]}://127.0.0.1:{relay.port}"
    if name == "azure":  # whose keys are named by their vault's address
        everywhere.servers[2].control(uri=seen)
    return settings | {ADDRESSES[name]: seen}, relay


def sockets_and_memory(daemon):
    return len(os.listdir(f"/proc/{daemon.pid}/fd")), daemon.memory()[0]


@pytest.mark.parametrize("name", ["aws", "vault", "gcp", "azure", "pkcs11"])
def test_memory_and_sockets_are_flat(daemons, everywhere, relays, name):
    settings, relay = through_a_bad_network(everywhere, name, relays)
    daemon = daemons(COLD | settings | {"quarkus.log.level": "ERROR"},
                     environment=everywhere.environment)
    for number in range(TENANTS):
        daemon.create(f"t-{number}")
    body = {"payload": b64(b"x")}
    tenants = itertools.cycle(range(TENANTS))

    def sign(_):
        return "POST", f"/api/tenants/t-{next(tenants)}/sign", body

    with Load(daemon, sign, connections=CALLERS) as load:
        def answered(count):
            return lambda: len(load.answers) >= count
        until(answered(CALLS // 5), 600, "the first fifth")
        descriptors, megabytes = sockets_and_memory(daemon)
        until(answered(CALLS), 3000, "the calls")
        at_the_end = sockets_and_memory(daemon)
    failed = [answer.body for answer in load.answers if answer.status != 200]
    assert not failed, f"{len(failed)} failed, the first: {failed[0]}"
    assert relay is None or relay.cuts >= CALLS / 200
    assert daemon.metric(
        f'kms_operation_seconds_count{{provider="{name}",operation="decrypt"}}') >= CALLS / 2
    assert at_the_end[0] <= descriptors + CALLERS, "sockets"
    assert at_the_end[1] <= megabytes + 4, "MiB"
