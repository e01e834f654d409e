"""The provider `gcp` on a stand-in over Google's own types, with Google's own client as the other
one, and every request against Google's published description."""

import base64
import json

import pytest

from harness.gcp import KEY, GcpKms, gcp_environment, gcp_properties, key_name
from harness.store import Store
from harness.waiting import until


@pytest.fixture(scope="module")
def google_process(tmp_path_factory):
    server = GcpKms(tmp_path_factory.mktemp("gcpkms")).start()
    yield server
    server.stop()


@pytest.fixture
def google(google_process):
    google_process.control(hsms=False, denied=[])
    return google_process


@pytest.fixture
def gcp_daemon(daemons, google):
    def make(properties=None, **options):
        return daemons(gcp_properties(google) | (properties or {}),
                       environment=gcp_environment(google), **options)
    return make


def context_of(tenant, key_type="encryption"):
    return json.dumps({"keyType": key_type, "tenantId": tenant}, separators=(",", ":"))


def first_finding(daemon, wanted):
    def found():
        findings = daemon.ok("GET", "/api/admin/kms/doctor")["findings"]
        return findings and findings[0]["id"] == wanted and findings[0]
    return until(found, 40, wanted)


@pytest.mark.parametrize("hsms", [False, True])
def test_a_tenants_keys_are_made_used_and_opened_again_after_a_restart(gcp_daemon, google, hsms):
    google.control(hsms=hsms)
    daemon = gcp_daemon()
    assert daemon.log_lines(f"Using Google Cloud KMS - key: {key_name()}")
    daemon.create("acme")
    signature = daemon.sign("acme", "evidence")
    sealed = daemon.encrypt("acme", "pii", {"a": "b"})
    daemon.restart()
    assert daemon.sign("acme", "evidence") == signature
    assert daemon.decrypt("acme", sealed, {"a": "b"}) == b"pii"
    assert daemon.validate()["overall"] == "PASS"
    until(lambda: daemon.ok("GET", "/api/admin/kms/doctor")["findings"] == [], 30, "good health")
    said = daemon.log_lines("Data keys come from the operating system's random numbers")
    assert len(said) == (0 if hsms else 2)


def test_googles_client_opens_what_we_wrapped_and_we_open_what_it_wrapped(gcp_daemon, google):
    daemon = gcp_daemon()
    daemon.create("acme")
    sealed = daemon.encrypt("acme", "pii")
    store = Store(daemon)
    _, name, blob = store.wrapping("acme", "encryption")
    assert name == key_name()
    ciphertext = base64.b64encode(blob[9:]).decode()
    opened = google.client("decrypt", name, ciphertext, context_of("acme"))
    assert len(base64.b64decode(opened)) == 32
    assert google.client("decrypt", name, ciphertext, context_of("other")) == "refused"
    theirs = google.client("encrypt", name, opened, context_of("acme"))
    daemon.stop()
    store.query("UPDATE wrappings SET blob = ? WHERE blob = ?",
                blob[:9] + base64.b64decode(theirs), blob)
    daemon.start()
    assert daemon.decrypt("acme", sealed) == b"pii"


def test_a_version_that_is_disabled_or_to_be_destroyed_is_said_with_the_remedy(gcp_daemon, google):
    daemon = gcp_daemon()
    daemon.create("acme")
    google.client("state", key_name(), "disable")
    daemon.restart()
    it = first_finding(daemon, "key-disabled")
    place = "--project acme-prod --location us-east1 --keyring betrace-keyring"
    assert f'gcloud kms keys versions enable "$VERSION" --key {KEY} {place}' in it["remedy"]
    google.client("state", key_name(), "destroy")
    daemon.restart()
    it = first_finding(daemon, "key-pending-deletion")
    assert "it is deleted at 20" in it["evidence"]
    assert f'gcloud kms keys versions restore "$VERSION" --key {KEY} {place}' in it["remedy"]
    google.client("state", key_name(), "restore")
    google.client("state", key_name(), "enable")
    daemon.wait_health("UP")
    assert daemon.sign("acme", "x")


@pytest.mark.parametrize("verb,permission", [
    ("encrypt", "cloudkms.cryptoKeyVersions.useToEncrypt"),
    ("decrypt", "cloudkms.cryptoKeyVersions.useToDecrypt"), ("get", "cloudkms.cryptoKeys.get")])
def test_doctor_names_the_permission_that_is_missing(gcp_daemon, google, verb, permission):
    daemon = gcp_daemon()
    daemon.create("acme")
    google.control(denied=[verb])
    daemon.restart()
    it = first_finding(daemon, "iam-denied")
    assert permission in it["title"]
    assert any("add-iam-policy-binding" in command for command in it["remedy"])


def test_every_request_is_as_google_describes_it_and_the_token_is_nowhere_in_the_log(
        gcp_daemon, google, tmp_path):
    google.control(hsms=True)
    before = len(google.seen())
    daemon = gcp_daemon({"quarkus.log.level": "DEBUG"})
    daemon.create("acme")
    daemon.restart()
    daemon.sign("acme", "x")
    ours = tmp_path / "ours.jsonl"
    ours.write_text("".join(json.dumps(each) + "\n" for each in google.seen()[before:]))
    checked = json.loads(google.client("requests", ours))
    keys = "cloudkms.projects.locations"
    assert {f"{keys}.generateRandomBytes", f"{keys}.keyRings.cryptoKeys.encrypt",
            f"{keys}.keyRings.cryptoKeys.decrypt", f"{keys}.keyRings.cryptoKeys.get"} <= set(checked)
    assert "canary-google-token" not in daemon.text() + daemon.log()
