"""The whole life of a tenant under the local provider, and its signatures and keys in the hands of
others: Python's `cryptography` and the `openssl` program."""

import base64
import stat

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import load_der_public_key, load_pem_public_key

from harness.daemon import b64, problem, unb64
from harness.servers import run
from harness.store import Store

CONTEXT = {"user": "42", "purpose": "billing"}


@pytest.fixture
def daemon(daemons):
    return daemons()


def test_a_tenant_is_created_once_and_then_described(daemon):
    created = daemon.create("acme")
    again = daemon.ok("PUT", "/api/tenants/acme", 200)
    shown = daemon.ok("GET", "/api/tenants/acme")
    assert created["tenantId"] == again["tenantId"] == shown["tenantId"] == "acme"
    ids = {(key["keyType"], key["version"]): key["keyId"] for key in created["keys"]}
    assert set(ids) == {("signing", 1), ("encryption", 1)}
    assert ids == {(key["keyType"], key["version"]): key["keyId"] for key in shown["keys"]}
    assert {key["status"] for key in shown["keys"]} == {"ACTIVE"}


def test_an_unknown_tenant_is_404_and_says_how_to_create_it(daemon):
    answer = daemon.post("/api/tenants/nobody/sign", {"payload": b64("x")})
    detail = problem(answer, 404, "tenant_not_found")
    assert "PUT /api/tenants/nobody" in detail


def test_auto_create_creates_on_first_use(daemons):
    daemon = daemons({"betrace.kms.tenants.auto-create": "true"})
    signature = daemon.sign("fresh", b"first use")["signature"]
    assert daemon.verifies("fresh", b"first use", signature)["valid"]


def test_signatures_survive_a_rotation_and_are_made_by_the_new_key(daemon):
    daemon.create("acme")
    old = daemon.sign("acme", b"payload")
    assert old["algorithm"] == "Ed25519" and old["version"] == 1
    rotated = daemon.ok("POST", "/api/tenants/acme/rotate")
    assert {(key["keyType"], key["version"]) for key in rotated["keys"]} == {
        ("signing", 2), ("encryption", 2)}
    new = daemon.sign("acme", b"payload")
    assert new["version"] == 2 and new["keyId"] != old["keyId"]
    for signature in (old, new):
        for which in ({}, {"keyId": signature["keyId"]}, {"version": signature["version"]}):
            answer = daemon.verifies("acme", b"payload", signature["signature"], **which)
            assert answer["valid"] and answer["version"] == signature["version"]
            assert answer["keyId"] == signature["keyId"]
    assert daemon.verifies("acme", b"payload", old["signature"])["keyStatus"] == "DEPRECATED"
    assert daemon.verifies("acme", b"payload", new["signature"])["keyStatus"] == "ACTIVE"
    assert not daemon.verifies("acme", b"payload", old["signature"], version=2)["valid"]
    assert not daemon.verifies("acme", b"another", new["signature"])["valid"]


def test_ciphertexts_survive_a_rotation_and_a_restart(daemon):
    daemon.create("acme")
    old = daemon.encrypt("acme", b"card 4111", CONTEXT)
    daemon.ok("POST", "/api/tenants/acme/rotate")
    new = daemon.encrypt("acme", b"card 4111", CONTEXT)
    assert old.startswith("betrace:v1:") and new.startswith("betrace:v1:")
    daemon.restart()
    assert daemon.decrypt("acme", old, CONTEXT) == b"card 4111"
    assert daemon.decrypt("acme", new, dict(reversed(CONTEXT.items()))) == b"card 4111"


def test_the_same_plaintext_never_gives_the_same_ciphertext(daemon):
    daemon.create("acme")
    assert len({daemon.encrypt("acme", b"same") for _ in range(50)}) == 50


@pytest.mark.parametrize("size", [0, 1, 255, 4096, 4097, 700_000])
def test_payloads_of_any_size_are_signed_and_encrypted(daemon, size):
    daemon.create("acme")
    payload = bytes(i * 7 % 256 for i in range(size))
    assert daemon.verifies("acme", payload, daemon.sign("acme", payload)["signature"])["valid"]
    assert daemon.decrypt("acme", daemon.encrypt("acme", payload, CONTEXT), CONTEXT) == payload


def test_a_data_key_opens_with_decrypt_under_the_same_context_only(daemon):
    daemon.create("acme")
    key = daemon.ok("POST", "/api/tenants/acme/data-key", json={"context": CONTEXT})
    plaintext = unb64(key["plaintext"])
    assert len(plaintext) == 32
    sealed = AESGCM(plaintext).encrypt(bytes(12), b"a large thing", None)
    opened = daemon.decrypt("acme", key["ciphertext"], CONTEXT)
    assert AESGCM(opened).decrypt(bytes(12), sealed, None) == b"a large thing"
    answer = daemon.post("/api/tenants/acme/decrypt",
                         {"ciphertext": key["ciphertext"], "context": {"user": "43"}})
    problem(answer, 400, "invalid_ciphertext")


def test_batches_answer_in_order_with_a_problem_for_each_bad_item(daemon):
    daemon.create("acme")
    payloads = [f"payload {i}".encode() for i in range(20)]
    reserved = b"DSSEv1 28 application/vnd.betrace.span 2 {}"
    body = {"payloads": [b64(p) for p in [*payloads, reserved]]}
    results = daemon.ok("POST", "/api/tenants/acme/sign", json=body)["results"]
    assert len(results) == 21
    for payload, result in zip(payloads, results):
        assert daemon.verifies("acme", payload, result["signature"])["valid"]
    assert results[20]["error"]["code"] == "reserved_payload"

    body = {"plaintexts": [b64(p) for p in payloads], "context": CONTEXT}
    sealed = daemon.ok("POST", "/api/tenants/acme/encrypt", json=body)["results"]
    body = {"ciphertexts": [item["ciphertext"] for item in sealed[:5]] + ["betrace:v1:AAAA"],
            "context": CONTEXT}
    opened = daemon.ok("POST", "/api/tenants/acme/decrypt", json=body)["results"]
    assert [unb64(item["plaintext"]) for item in opened[:5]] == payloads[:5]
    assert opened[5]["error"]["code"] == "invalid_ciphertext"


def published_key_forms(daemon, tenant, folder):
    """The active key as SPKI, as PEM and as JWK: raw bytes of each, and a PEM file of each."""
    active = daemon.public_keys(tenant)[0]
    assert active["status"] == "ACTIVE" and active["algorithm"] == "Ed25519"
    spki = load_der_public_key(unb64(active["publicKey"]))
    pem = load_pem_public_key(active["publicKeyPem"].encode())
    jwks = daemon.ok("GET", f"/api/tenants/{tenant}/jwks.json")["keys"]
    (jwk,) = [key for key in jwks if key["kid"] == active["keyId"]]
    assert (jwk["kty"], jwk["crv"]) == ("OKP", "Ed25519") and "d" not in jwk
    x = base64.urlsafe_b64decode(jwk["x"] + "=" * (-len(jwk["x"]) % 4))
    keys = {"spki": spki, "pem": pem, "jwk": Ed25519PublicKey.from_public_bytes(x)}
    (folder / "spki.der").write_bytes(unb64(active["publicKey"]))
    (folder / "key.pem").write_text(active["publicKeyPem"])
    (folder / "jwk.der").write_bytes(bytes.fromhex("302a300506032b6570032100") + x)
    return keys


def test_others_verify_our_signatures_from_spki_pem_and_jwk(daemon, tmp_path):
    daemon.create("acme")
    payload = b"evidence \x00\xff of a control"
    signature = unb64(daemon.sign("acme", payload)["signature"])
    (tmp_path / "payload").write_bytes(payload)
    (tmp_path / "altered").write_bytes(payload + b".")
    (tmp_path / "signature").write_bytes(signature)
    for key in published_key_forms(daemon, "acme", tmp_path).values():
        key.verify(signature, payload)
        with pytest.raises(InvalidSignature):
            key.verify(signature, payload + b".")
    for name, form in (("key.pem", "PEM"), ("spki.der", "DER"), ("jwk.der", "DER")):
        for file, code in (("payload", 0), ("altered", 1)):
            done = run(["openssl", "pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", name,
                        "-keyform", form, "-in", file, "-sigfile", "signature"], cwd=tmp_path)
            assert done.returncode == code, (name, file, done.stdout, done.stderr)


def test_public_keys_keep_every_version_newest_first(daemon):
    daemon.create("acme")
    first = daemon.sign("acme", b"x")
    for _ in range(2):
        daemon.ok("POST", "/api/tenants/acme/rotate")
    keys = daemon.public_keys("acme")
    assert [key["status"] for key in keys] == ["ACTIVE", "DEPRECATED", "DEPRECATED"]
    assert keys[-1]["keyId"] == first["keyId"]
    load_der_public_key(unb64(keys[-1]["publicKey"])).verify(unb64(first["signature"]), b"x")
    assert len(daemon.ok("GET", "/api/tenants/acme/jwks.json")["keys"]) == 3


def test_the_services_own_key_is_published(daemon):
    daemon.create("acme")
    keys = daemon.ok("GET", "/api/public-keys")["keys"]
    assert len(keys) == 1 and len(unb64(keys[0]["publicKey"])) == 44
    assert keys[0]["publicKey"] not in {key["publicKey"] for key in daemon.public_keys("acme")}


def test_tenants_are_listed_in_pages(daemon):
    names = [f"tenant-{i:02}" for i in range(23)]
    for name in names:
        daemon.create(name)
    seen, after = [], None
    while True:
        path = "/api/tenants?limit=10" + (f"&after={after}" if after else "")
        page = daemon.ok("GET", path)
        seen += [tenant["tenantId"] for tenant in page["tenants"]]
        after = page.get("next")
        if not after:
            break
    assert seen == names


def test_a_restart_keeps_tenants_and_makes_no_new_master_key(daemon):
    daemon.create("acme")
    before = daemon.public_keys("acme")
    master = (daemon.data / "local-master.key").read_bytes()
    daemon.restart()
    assert daemon.public_keys("acme") == before
    assert (daemon.data / "local-master.key").read_bytes() == master


def test_what_the_data_directory_holds_is_for_its_owner_alone(daemon):
    daemon.create("acme")
    assert stat.S_IMODE(daemon.data.stat().st_mode) == 0o700
    for name in ("local-master.key", "admin-token"):
        assert stat.S_IMODE((daemon.data / name).stat().st_mode) == 0o600, name
    assert len((daemon.data / "local-master.key").read_bytes()) == 32


def test_wrapped_keys_without_their_master_key_refuse_to_start(daemon):
    daemon.create("acme")
    daemon.stop()
    master = daemon.data / "local-master.key"
    master.rename(daemon.data / "elsewhere")
    daemon.start(ready=False)
    assert daemon.wait() == 2
    assert str(master) in daemon.text()
    assert not master.exists()
    (daemon.data / "elsewhere").rename(master)
    daemon.start()
    assert daemon.sign("acme", b"x")["version"] == 1


def test_the_store_holds_wrapped_keys_only(daemon):
    daemon.create("acme")
    provider, master_key_id, blob = Store(daemon).wrapping("acme")
    assert provider == "local" and master_key_id and len(blob) >= 32 + 16
    assert Store(daemon).public_key("acme") == unb64(daemon.public_keys("acme")[0]["publicKey"])[12:]


def test_under_local_the_log_warns_and_status_says_so(daemon):
    assert daemon.log_lines("⚠️  Using LocalKmsAdapter - NOT FOR PRODUCTION USE")
    assert daemon.log_lines("Initializing KMS provider: local")
    status = daemon.status()
    assert status["provider"] == "local" and status["status"] == "WARNING"


def test_every_key_retrieval_is_counted_as_hit_or_miss(daemon):
    daemon.create("acme")
    daemon.restart()
    before = daemon.metrics()
    for _ in range(10):
        daemon.sign("acme", b"x")
    answer = daemon.ok("POST", "/api/admin/kms/test-key-retrieval", json={"tenantId": "acme"})
    assert answer["status"] == "success" and answer["latency_ms"] >= 0
    after = daemon.metrics()

    def grew(name):
        return after[f'{name}{{key_type="signing"}}'] - before[f'{name}{{key_type="signing"}}']
    assert grew("kms_cache_hit_total") + grew("kms_cache_miss_total") == 11
    assert after["kms_signatures_total"] - before["kms_signatures_total"] == 10


def test_the_openapi_document_names_every_route_we_use(daemon):
    document = daemon.ok("GET", "/q/openapi")
    assert document["openapi"].startswith("3.1")
    for path in ("/api/tenants/{id}/sign", "/api/tenants/{id}/jwks.json", "/q/health/ready"):
        assert path in document["paths"], path
