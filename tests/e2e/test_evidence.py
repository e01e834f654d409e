"""Compliance spans through the real daemon, read by another implementation of the format."""

import json
import random
import struct

import pytest
import rfc8785

from conftest import TORTURE
from evidence_verifier import public_keys, statement, verifies
from harness.daemon import b64, problem

SIGN, VERIFY, BATCH = ("/api/compliance/spans/sign", "/api/compliance/verify/span",
                       "/api/compliance/verify/batch")
DOCUMENTS = 100_000 if TORTURE else 5_000


def span(tenant="acme", **more):
    return {"framework": "soc2", "control": "CC6_1", "evidenceType": "AUDIT_TRAIL",
            "tenantId": tenant, "timestamp": "2026-11-26T22:00:00.5Z", "outcome": "success",
            "traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": "b7ad6b7169203331", **more}


@pytest.fixture
def daemon(daemons):
    daemon = daemons()
    for tenant in ("acme", "other"):
        daemon.create(tenant)
    return daemon


def sign(daemon, *spans):
    return daemon.ok("POST", SIGN, json={"spans": list(spans)})["spans"]


def verdict(daemon, one):
    return daemon.ok("POST", VERIFY, json={"span": one})


def test_another_implementation_verifies_what_was_signed_of_many_tenants(daemon):
    asked = [span(tenant, n=n, metadata={"note": "Zo\u00eb \U0001f511", "n": n / 7})
             for n in range(50) for tenant in ("acme", "other")]
    signed = sign(daemon, *asked)
    keys = {tenant: public_keys(daemon, tenant) for tenant in ("acme", "other")}
    for before, after in zip(asked, signed):
        assert {name: after[name] for name in before} == before
        assert verifies(after, keys[after["tenantId"]])
        assert not verifies(after | {"n": -1}, keys[after["tenantId"]])
    answer = daemon.ok("POST", BATCH, json={"spans": signed + [signed[0] | {"n": -1}, span(), 7]})
    assert (answer["valid"], answer["invalid"]) == (100, 3)
    assert [each["message"] for each in answer["results"][100:]] == [
        "Signature invalid or tampered", "Span is not signed", "Malformed: it is no object"]


def test_one_bad_span_does_not_sink_the_rest(daemon):
    answers = sign(daemon, span(), span("nobody"), span(control="CC99"), span(timestamp="now"),
                   span("other"))
    codes = [answer.get("error", {}).get("code") for answer in answers]
    assert codes == [None, "tenant_not_found", "invalid_argument", "invalid_argument", None]
    assert answers[3]["error"]["detail"].startswith("spans[3]: timestamp: accepted is RFC 3339")
    metric = 'kms_compliance_spans_total{{result="{}"}}'.format
    assert daemon.metric(metric("signed")) == 2
    assert daemon.metric(metric("refused")) == 2
    assert daemon.metric(metric("failed")) == 1
    assert "nobody" in daemon.log_lines("compliance span of tenant")[0]


def test_a_signed_span_comes_back_as_it_is_and_a_changed_one_is_refused(daemon):
    signed = daemon.ok("POST", SIGN, json={"span": span()})["span"]
    assert daemon.ok("POST", SIGN, json={"span": signed})["span"] == signed
    answer = daemon.post(SIGN, json={"span": signed | {"outcome": "failure"}})
    assert "Signature invalid or tampered" in problem(answer, 400, "invalid_argument")
    for field in ("status", "keyId", "algorithm"):
        answer = daemon.post(SIGN, json={"span": span(**{field: "x"})})
        assert "the service's to write" in problem(answer, 400, "invalid_argument")


def test_nobody_has_evidence_forged_by_signing_its_bytes(daemon):
    whole = span(status="signed", algorithm="Ed25519", keyId=next(iter(public_keys(daemon, "acme"))))
    answer = daemon.post("/api/tenants/acme/sign", json={"payload": b64(statement(whole))})
    problem(answer, 400, "reserved_payload")


def test_spans_verify_through_rotation_and_restart_and_after_a_revocation_what_is_older(daemon):
    first = sign(daemon, span())[0]
    daemon.ok("POST", "/api/tenants/acme/rotate")
    second = sign(daemon, span())[0]
    daemon.restart()
    assert first["keyId"] != second["keyId"]
    assert verdict(daemon, first) == {
        "valid": True, "message": "Signature valid", "tenantId": "acme",
        "timestamp": "2026-11-26T22:00:00.5Z", "keyId": first["keyId"], "keyStatus": "DEPRECATED"}
    daemon.ok("POST", f"/api/tenants/acme/keys/{first['keyId']}/revoke", json={"reason": "stolen"})
    assert verdict(daemon, second)["message"] == "Signature valid"
    third = sign(daemon, span(n=3))[0]
    daemon.ok("POST", f"/api/tenants/acme/keys/{third['keyId']}/revoke", json={"reason": "stolen"})
    # Of the first the daemon made a checkpoint when it stopped, of the third before it revoked.
    for revoked in (verdict(daemon, first), verdict(daemon, third)):
        assert (revoked["valid"], revoked["keyStatus"]) == (True, "REVOKED")
        assert revoked["message"].startswith("Signature valid: the key was revoked at 2")


def test_another_tenants_span_does_not_pass_for_ones_own(daemon):
    signed = sign(daemon, span())[0]
    assert verdict(daemon, signed | {"tenantId": "other"})["message"].startswith("Unknown key: ")
    theirs = sign(daemon, span("other"))[0]
    mixed = signed | {"keyId": theirs["keyId"], "tenantId": "other"}
    assert verdict(daemon, mixed)["message"] == "Signature invalid or tampered"


def test_the_older_form_of_a_verification_works(daemon):
    signed = sign(daemon, span())[0]
    attributes = {name: value for name, value in signed.items() if name != "signature"}
    answer = daemon.ok("POST", VERIFY, json={"spanAttributes": attributes,
                                             "signature": signed["signature"]})
    assert answer["valid"]


def test_an_outage_fails_what_needs_the_provider_and_says_so(aws_daemon, fake_kms):
    daemon = aws_daemon({"kms.cache.warm-tenants": 0})
    daemon.create("acme")
    signed = sign(daemon, span())[0]
    daemon.restart()
    fake_kms.error("KMSInternalException", "as in an outage", 500)
    problem(daemon.post(SIGN, json={"span": span()}), 503, "kms_unavailable")
    assert sign(daemon, span())[0]["error"]["code"] in ("kms_unavailable", "circuit_open")
    assert verdict(daemon, signed)["valid"]
    assert daemon.log_lines("1 compliance span of tenant acme not signed: ")
    fake_kms.faults()


def test_a_tenant_is_made_for_its_first_span_where_that_is_allowed(daemons):
    daemon = daemons({"betrace.kms.tenants.auto-create": "true"})
    assert verdict(daemon, sign(daemon, span("fresh"))[0])["valid"]
    assert daemon.log_lines("verb=create-tenant tenant=fresh outcome=ok")


def test_a_user_adds_controls(daemons):
    daemon = daemons({"betrace.evidence.controls": "acme:*, soc2:CC6.9"})
    daemon.create("acme")
    signed = sign(daemon, span(framework="acme", control="anything"), span(control="CC6_9"),
                  span(framework="sox"))
    assert [one.get("status") for one in signed] == ["signed", "signed", None]
    daemon.stop()
    daemon.properties["betrace.evidence.controls"] = "acme"
    daemon.start(ready=False)
    assert daemon.wait() == 2
    assert "betrace.evidence.controls: 'acme': accepted is FRAMEWORK:CONTROL" in daemon.text()


def random_number(rng):
    kind = rng.randrange(4)
    if kind == 0:
        return rng.randint(-(2**53) + 1, 2**53 - 1)
    if kind == 1:
        return rng.uniform(-1, 1) * 10.0 ** rng.randint(-30, 15)
    if kind == 2:
        return rng.choice([0.0, -0.0, 1e21, 1e-7, 5e-324, 1.7976931348623157e308, 0.1, 1e22])
    while True:
        number = struct.unpack("<d", rng.randbytes(8))[0]
        if number == number and abs(number) != float("inf") and not (
                2**53 <= abs(number) < 1e21 and number == int(number)):
            return number


def random_text(rng):
    pool = ["a", "Z", "\u00e9", "\u20ac", "\U0001f511", "\ufb33", "\u2028", "\x00", "\x1f", "\x7f",
            "\"", "\\", "/", "\n", "\t", "e\u0301", "\uffff", "\ud7ff", "\U00010000"]
    return "".join(rng.choice(pool) for _ in range(rng.randrange(6)))


def random_value(rng, depth=0):
    kind = rng.randrange(8 if depth < 4 else 5)
    if kind == 0:
        return rng.choice([None, True, False])
    if kind in (1, 2):
        return random_number(rng)
    if kind in (3, 4):
        return random_text(rng)
    if kind == 5:
        return [random_value(rng, depth + 1) for _ in range(rng.randrange(4))]
    return {random_text(rng): random_value(rng, depth + 1) for _ in range(rng.randrange(5))}


def test_the_canonical_form_of_random_documents_is_that_of_another_implementation(daemon):
    rng = random.Random(20261126)
    done = 0
    while done < DOCUMENTS:
        asked = [span(metadata={"value": random_value(rng)}) for _ in range(500)]
        answer = daemon.post(SIGN, data=json.dumps({"spans": asked}).encode()).content
        body = answer.removeprefix(b'{"spans":[').removesuffix(b"]}")
        signed = json.loads(answer)["spans"]
        assert b",".join(rfc8785.dumps(one) for one in signed) == body
        for before, after in zip(asked, signed):
            assert rfc8785.dumps(before["metadata"]) == rfc8785.dumps(after["metadata"])
        done += len(asked)
