"""The provider `azure` on a stand-in over Microsoft's own server, with Microsoft's own client as the
other one."""

import json
import time

import pytest

from harness.azure import ASSERTION, KEY, SECRET, AzureVault, azure_environment, azure_properties
from harness.store import Store
from harness.waiting import until


@pytest.fixture(scope="module")
def azure_process(tmp_path_factory):
    server = AzureVault(tmp_path_factory.mktemp("azkv")).start()
    yield server
    server.stop()


@pytest.fixture
def azure(azure_process):
    azure_process.control(denied=[])
    return azure_process


@pytest.fixture
def azure_daemon(daemons, azure):
    def make(properties=None, **options):
        return daemons(azure_properties(azure) | (properties or {}),
                       environment=azure_environment(azure), **options)
    return make


def context_of(tenant, key_type="encryption"):
    return json.dumps({"keyType": key_type, "tenantId": tenant}, separators=(",", ":"))


def secret_file(folder, name, content):
    path = folder / name
    path.write_text(content)
    path.chmod(0o600)
    return path


def first_finding(daemon, wanted):
    def found():
        findings = daemon.ok("GET", "/api/admin/kms/doctor")["findings"]
        return findings and findings[0]["id"] == wanted and findings[0]
    return until(found, 40, wanted)


@pytest.mark.parametrize("login", ["managed identity", "secret", "workload"])
def test_a_tenants_keys_are_made_used_and_opened_again_after_a_restart(azure_daemon, azure,
                                                                       tmp_path, login):
    principal = {"azure.keyvault.client-id": "kms"}
    daemon = azure_daemon({
        "managed identity": {},
        "secret": principal | {
            "azure.keyvault.client-secret-file": secret_file(tmp_path, "secret", SECRET)},
        "workload": principal | {
            "azure.keyvault.federated-token-file": secret_file(tmp_path, "token", ASSERTION)},
    }[login])
    assert daemon.log_lines(f"Using Azure Key Vault - key: {azure.uri}/keys/{KEY}")
    daemon.create("acme")
    signature = daemon.sign("acme", "evidence")
    sealed = daemon.encrypt("acme", "pii", {"a": "b"})
    daemon.restart()
    assert daemon.sign("acme", "evidence") == signature
    assert daemon.decrypt("acme", sealed, {"a": "b"}) == b"pii"
    assert daemon.validate()["overall"] == "PASS"
    until(lambda: daemon.ok("GET", "/api/admin/kms/doctor")["findings"] == [], 30, "good health")
    for canary in (SECRET, ASSERTION):
        assert canary not in daemon.text() + daemon.log()


def test_microsofts_client_opens_what_we_wrapped_and_we_open_what_it_wrapped(azure_daemon, azure):
    daemon = azure_daemon()
    daemon.create("acme")
    sealed = daemon.encrypt("acme", "pii")
    store = Store(daemon)
    _, name, blob = store.wrapping("acme", "encryption")
    assert name == f"{azure.uri}/keys/{KEY}"
    opened = azure.client("open", KEY, blob[9:].hex(), context_of("acme"))
    assert len(bytes.fromhex(opened)) == 32
    assert azure.client("open", KEY, blob[9:].hex(), context_of("other")) == "refused"
    theirs = azure.client("seal", KEY, opened, context_of("acme"))
    daemon.stop()
    store.query("UPDATE wrappings SET blob = ? WHERE blob = ?", blob[:9] + bytes.fromhex(theirs),
                blob)
    daemon.start()
    assert daemon.decrypt("acme", sealed) == b"pii"


def test_what_an_older_version_wrapped_stays_readable(azure_daemon, azure):
    daemon = azure_daemon()
    daemon.create("before")
    signature = daemon.sign("before", "x")
    version = azure.client("rotate", KEY)
    daemon.create("after")
    daemon.restart()
    assert daemon.sign("before", "x") == signature
    blobs = {name: Store(daemon).wrapping(name)[2] for name in ("before", "after")}
    assert version.encode() in blobs["after"] and version.encode() not in blobs["before"]


def test_a_disabled_key_is_said_with_the_remedy(azure_daemon, azure):
    daemon = azure_daemon()
    daemon.create("acme")
    azure.client("disable", KEY)
    daemon.restart()
    it = first_finding(daemon, "key-disabled")
    assert (f"az keyvault key set-attributes --id {azure.uri}/keys/{KEY} --enabled true"
            in it["remedy"])
    azure.client("enable", KEY)
    daemon.wait_health("UP")
    assert daemon.sign("acme", "x")


@pytest.mark.parametrize("operation,permission", [
    ("wrapKey", "wrap/action"), ("unwrapKey", "unwrap/action"), ("get", "read")])
def test_doctor_names_the_permission_that_is_missing(azure_daemon, azure, operation, permission):
    daemon = azure_daemon()
    daemon.create("acme")
    azure.control(denied=[operation])
    daemon.restart()
    it = first_finding(daemon, "iam-denied")
    assert f"Microsoft.KeyVault/vaults/keys/{permission}" in it["title"]
    assert any("az role assignment create" in command for command in it["remedy"])


def test_tokens_of_a_short_life_are_renewed_in_time(azure_daemon, azure):
    azure.control(token_seconds=6)
    daemon = azure_daemon({"kms.cache.max-size": 1})
    daemon.create("one")
    daemon.create("two")
    end = time.monotonic() + 15  # more than two lives of a token
    while time.monotonic() < end:
        for tenant in ("one", "two"):
            daemon.sign(tenant, "x")
        time.sleep(0.1)
    assert not daemon.log_lines("kms_access_denied")
