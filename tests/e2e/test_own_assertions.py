"""One meaning a signature: what the service asserts itself nobody has signed by `/sign`, and a key
that is slipped into the store signs for nobody."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from harness.aws import aws_environment, aws_properties
from harness.daemon import b64, problem
from harness.store import Store
from harness.waiting import until


def pae(kind, body):
    """DSSE v1 pre-authentication encoding."""
    kind = kind.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(body), body)


OWN = ["application/vnd.betrace.compliance-span.v1+json",
       "application/vnd.betrace.public-key.v1+json", "application/vnd.betrace.anything-new"]
OTHERS = ["application/vnd.in-toto+json", "application/vnd.betraced.x", "text/plain",
          "http://example.com/HelloWorld"]


@pytest.mark.parametrize("kind", OWN)
@pytest.mark.parametrize("body", [b"", b"{}", b'{"framework":"soc2"}' * 100], ids=len)
def test_sign_refuses_the_services_own_types(daemons, kind, body):
    daemon = daemons()
    daemon.create("acme")
    answer = daemon.post("/api/tenants/acme/sign", {"payload": b64(pae(kind, body))})
    assert "application/vnd.betrace." in problem(answer, 400, "reserved_payload")


@pytest.mark.parametrize("kind", OTHERS)
def test_sign_accepts_dsse_of_other_types(daemons, kind):
    daemon = daemons()
    daemon.create("acme")
    payload = pae(kind, b'{"a": 1}')
    assert daemon.verifies("acme", payload, daemon.sign("acme", payload)["signature"])["valid"]


def test_text_that_only_mentions_our_types_is_signed(daemons):
    daemon = daemons()
    daemon.create("acme")
    for payload in (b"application/vnd.betrace.compliance-span.v1+json", b"DSSEv1", b"DSSEv1 ",
                    b"DSSEv2 23 application/vnd.betrace 2 {}",
                    b"x" + pae(OWN[0], b"{}")):
        assert daemon.sign("acme", payload)["version"] == 1


@pytest.fixture
def offline(daemons, fake_kms):
    """A daemon of two tenants, restarted without its provider."""
    daemon = daemons(aws_properties(fake_kms, fake_kms.key_arn), environment=aws_environment())
    daemon.create("acme")
    daemon.create("plain")
    daemon.signed = {name: daemon.sign(name, b"evidence")["signature"]
                     for name in ("acme", "plain")}
    fake_kms.die()
    daemon.restart()
    return daemon


def test_verification_never_needs_the_provider(offline):
    for name, signature in offline.signed.items():
        assert offline.verifies(name, b"evidence", signature)["valid"]
    assert len(offline.public_keys("acme")) == 1


def test_a_public_key_swapped_in_the_store_is_noticed_without_the_provider(offline):
    forger = Ed25519PrivateKey.generate()
    forged = b64(forger.sign(b"evidence"))
    assert offline.verifies("acme", b"evidence", offline.signed["acme"])["valid"]
    assert not offline.verifies("acme", b"evidence", forged)["valid"]
    Store(offline).query("UPDATE keys SET public_key = ? WHERE tenant = 'acme' AND type = 'signing'",
                         forger.public_key().public_bytes_raw())

    def verify():
        return offline.post("/api/tenants/acme/verify",
                            {"payload": b64("evidence"), "signature": forged})
    # The daemon follows changes of the store within 250 ms; until then it knows the old key.
    until(lambda: verify().status_code != 200, 3, "the swap to be noticed")
    problem(verify(), 500, "corrupt")
    assert offline.verifies("plain", b"evidence", offline.signed["plain"])["valid"]
    offline.restart()
    problem(verify(), 500, "corrupt")
    answer = offline.get("/api/tenants/acme/public-keys")
    assert b64(forger.public_key().public_bytes_raw())[:40] not in answer.text


def test_a_key_row_added_by_hand_is_noticed(offline):
    forger = Ed25519PrivateKey.generate()
    store = Store(offline)
    store.query("INSERT INTO keys (tenant, type, version, id, state, created_at, public_key,"
                " attestation) SELECT tenant, type, 2, randomblob(16), 'rotated', created_at, ?,"
                " attestation FROM keys WHERE tenant = 'acme' AND type = 'signing'",
                forger.public_key().public_bytes_raw())
    body = {"payload": b64("evidence"), "signature": b64(forger.sign(b"evidence")), "version": 2}

    def answer():
        return offline.post("/api/tenants/acme/verify", body)
    until(lambda: answer().status_code != 404, 3, "the row to be seen")
    problem(answer(), 500, "corrupt")


def test_another_tenants_key_does_not_pass_for_ones_own(offline):
    store = Store(offline)
    other = store.query("SELECT public_key, attestation FROM keys WHERE tenant = 'plain'"
                        " AND type = 'signing'")[0]
    store.query("UPDATE keys SET public_key = ?, attestation = ? WHERE tenant = 'acme'"
                " AND type = 'signing'", *other)
    offline.restart()
    answer = offline.post("/api/tenants/acme/verify",
                          {"payload": b64("evidence"), "signature": offline.signed["plain"]})
    problem(answer, 500, "corrupt")


def test_a_swapped_public_key_never_signs(daemons):
    daemon = daemons()
    daemon.create("acme")
    daemon.stop()
    Store(daemon).query("UPDATE keys SET public_key = ? WHERE tenant = 'acme' AND type = 'signing'",
                        Ed25519PrivateKey.generate().public_key().public_bytes_raw())
    daemon.start()
    answer = daemon.post("/api/tenants/acme/sign", {"payload": b64("x")})
    problem(answer, 500, "corrupt")
    assert "signature" not in answer.json()
