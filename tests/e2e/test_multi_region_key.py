"""A multi-region key of LocalStack, its two regions under an address each."""

import pytest

from harness.aws import aws_environment, aws_properties
from harness.relay import Relay
from harness.store import Store

HOME, OTHER = "us-east-1", "us-west-2"
COLD = {"kms.cache.warm-tenants": 0}


@pytest.fixture
def regions(localstack):
    relays = {HOME: Relay(localstack.port), OTHER: Relay(localstack.port)}
    yield relays
    for relay in relays.values():
        relay.go_down()


@pytest.fixture
def key(localstack):
    kms = localstack.client("kms")
    arn = kms.create_key(MultiRegion=True)["KeyMetadata"]["Arn"]
    kms.replicate_key(KeyId=arn, ReplicaRegion=OTHER)
    return arn


def both(regions, key):
    return aws_properties(regions[HOME], key) | COLD | {
        "aws.kms.replica-regions": f"{OTHER}={regions[OTHER].url}"}


def sign_cold(daemon, tenant):
    """After a restart, so that the key has to come from the provider."""
    daemon.restart()
    return daemon.sign(tenant, b"cold")


def test_an_outage_of_the_first_region_is_not_noticed(daemons, regions, key):
    daemon = daemons(both(regions, key), environment=aws_environment())
    assert daemon.log_lines(f"Using AWS KMS - region: {HOME}, then {OTHER}, key: {key}")
    daemon.create("before")
    regions[HOME].go_down()
    daemon.create("during")
    sign_cold(daemon, "before")
    daemon.sign("during", b"cold")
    assert daemon.log_lines(f"AWS KMS in {HOME} is down, the other regions are asked first: ")
    assert daemon.validate()["overall"] == "PASS"
    daemon.wait_health("UP")
    assert Store(daemon).query("SELECT DISTINCT master_key_id FROM wrappings") == [(key,)]

    regions[HOME].come_back()
    regions[OTHER].go_down()
    sign_cold(daemon, "during")
    daemon.sign("before", b"cold")


def test_a_service_of_the_other_region_and_boto3_open_what_the_first_wrapped(
        daemons, localstack, regions, key):
    daemon = daemons(both(regions, key), environment=aws_environment())
    daemon.create("acme")
    _, master_key_id, blob = Store(daemon).wrapping("acme")
    assert master_key_id == key
    there = localstack.client("kms", region=OTHER)
    opened = there.decrypt(CiphertextBlob=blob, KeyId=key.replace(HOME, OTHER),
                           EncryptionContext={"tenantId": "acme", "keyType": "signing"})
    assert opened["Plaintext"]

    signed = daemon.sign("acme", b"x")
    del daemon.properties["aws.kms.replica-regions"]
    daemon.properties |= aws_properties(regions[OTHER], key) | {"aws.kms.region": OTHER}
    daemon.restart()
    assert daemon.sign("acme", b"x") == signed
    assert not daemon.log_lines("serves a key only in its own region")
