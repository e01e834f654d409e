"""Canaries: secrets are planted wherever the service meets one, everything it can say is collected
at the loudest log level, and none of them may be in it, in any of the forms bytes are written in."""

import base64

import pytest

from harness.aws import aws_environment, aws_properties
from harness.daemon import b64, unb64
from harness.store import Store
from harness.wire import at_once

ADMIN_TOKEN = "canary-admin-token-7d1f0c2b9a"
AWS_SECRET = "canaryAwsSecretKey/0123456789abcdefghijk"
SESSION_TOKEN = "canary-session-token-55ab01cd"
WRONG_TOKEN = "canary-wrong-token-31337-zz"
PLAINTEXT = b"canary plaintext: card 4111 1111 1111 1111"
PAYLOAD = b"canary payload: employee 4711 was paid 99,000"
TENANT = "tenant-that-may-be-seen"
TRACE = {
    "quarkus.log.level": "TRACE",
    'quarkus.log.category."com.betrace.kms".level': "TRACE",
    'quarkus.log.category."com.betrace.services.KeyRetrievalService".level': "TRACE",
    'quarkus.log.category."software.amazon.awssdk".level': "TRACE",
    "quarkus.log.console.json": "true",
}


def forms(secret):
    """Every way in which somebody could have printed these bytes, long enough to be no accident."""
    secret = secret.encode() if isinstance(secret, str) else secret
    found = {secret.hex(), secret.hex().upper(), secret.decode("latin-1"), repr(secret)[2:-1],
             ", ".join(map(str, secret[:12])), ",".join(map(str, secret[:12])),
             secret[:16].hex(), secret[-16:].hex()}
    for shift in range(3):  # inside a longer base64 text
        aligned = secret[shift:len(secret) - (len(secret) - shift) % 3]
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            found.add(encode(aligned).decode())
    return {form for form in found if len(form) >= 12}


class Collector:
    def __init__(self, daemon):
        self.daemon, self.said = daemon, []

    def call(self, method, path, keep=True, **options):
        """`keep`: whether the answer may hold no secret; the caller's own data may come back."""
        answer = self.daemon.call(method, path, **options)
        self.said.append(str(answer.headers))
        if keep:
            self.said.append(answer.text)
        return answer

    def everything(self):
        daemon = self.daemon
        for path in ("/q/metrics", "/q/health", "/q/health/group/serving", "/q/openapi",
                     "/api/admin/kms/status", "/api/admin/cache/config", f"/api/tenants/{TENANT}",
                     f"/api/tenants/{TENANT}/public-keys", f"/api/tenants/{TENANT}/jwks.json",
                     "/api/public-keys", "/api/tenants"):
            self.call("GET", path, token=ADMIN_TOKEN)
        self.said.append(daemon.get("/q/metrics", headers={
            "Accept": "application/openmetrics-text, text/plain;version=0.0.4"}).text)
        for words in (["config"], ["config", "--json"], ["status"], ["health", "--json"],
                      ["validate"], ["tenants", "list"]):
            done = daemon.cli(*words)
            self.said += [done.stdout, done.stderr]
        return "\n".join([*self.said, daemon.log(), daemon.text()])


def misbehave(collector):
    """Bad requests with secrets in them: error texts must not quote them."""
    sign, encrypt = f"/api/tenants/{TENANT}/sign", f"/api/tenants/{TENANT}/encrypt"
    payload, plaintext = b64(PAYLOAD), b64(PLAINTEXT)
    json_type = {"Content-Type": "application/json"}
    for path, body in (
            (encrypt, f'{{"plaintext":"{plaintext}"'), (encrypt, f'{{"plaintext":"{plaintext}!"}}'),
            (encrypt, f'{{"plaintext":"{plaintext}","plaintext":"{plaintext}"}}'),
            (encrypt, f'{{"plaintext":"{plaintext}","context":"{plaintext}"}}'),
            (sign, f'{{"payload":"{payload}","payloads":["{payload}"]}}'), (sign, payload),
            (sign, PAYLOAD.decode()), ("/api/tenants/nobody/sign", f'{{"payload":"{payload}"}}'),
            ("/api/tenants/nobody/encrypt", f'{{"plaintext":"{plaintext}"}}')):
        assert 400 <= collector.call("POST", path, token=ADMIN_TOKEN, data=body,
                                     headers=json_type).status_code < 500
    for headers in ({"Authorization": f"Bearer {WRONG_TOKEN}"},
                    {"Authorization": f"Basic {b64('admin:' + WRONG_TOKEN)}"},
                    {"Authorization": WRONG_TOKEN}, {"X-Api-Key": WRONG_TOKEN}):
        assert collector.call("POST", sign, token=None, headers=headers,
                              json={"payload": payload}).status_code == 401
    collector.call("GET", f"/nowhere?token={WRONG_TOKEN}", token=None)


def use(collector):
    """The product's verbs; what must be secret of what came back."""
    daemon, secrets = collector.daemon, {}
    path = f"/api/tenants/{TENANT}"
    collector.call("PUT", path, token=ADMIN_TOKEN)
    collector.call("POST", f"{path}/sign", token=ADMIN_TOKEN, json={"payload": b64(PAYLOAD)})
    sealed = collector.call("POST", f"{path}/encrypt", token=ADMIN_TOKEN, keep=False,
                            json={"plaintext": b64(PLAINTEXT), "context": {"a": "b"}}).json()
    secrets["ciphertext"] = sealed["ciphertext"].rsplit(":", 1)[1]
    collector.call("POST", f"{path}/decrypt", token=ADMIN_TOKEN, keep=False,
                   json=sealed | {"context": {"a": "b"}})
    collector.call("POST", f"{path}/decrypt", token=ADMIN_TOKEN, json=sealed | {"context": {}})
    key = collector.call("POST", f"{path}/data-key", token=ADMIN_TOKEN, keep=False,
                         json={"context": {}}).json()
    secrets["data key"] = unb64(key["plaintext"])
    secrets["data key's ciphertext"] = key["ciphertext"].rsplit(":", 1)[1]
    collector.call("POST", f"{path}/rotate", token=ADMIN_TOKEN)
    collector.call("POST", "/api/admin/kms/validate", token=None)
    collector.call("POST", "/api/admin/kms/test-key-retrieval", token=ADMIN_TOKEN,
                   json={"tenantId": TENANT})
    at_once(daemon, [("POST", f"{path}/sign", {"payload": b64(PAYLOAD)})] * 20)
    return secrets


def check(said, secrets):
    # The search finds what is there.
    assert TENANT in said and f'"{TENANT}"' in said
    for name, secret in secrets.items():
        for form in forms(secret):
            at = said.find(form)
            assert at < 0, f"{name} as {form!r}: …{said[max(0, at - 200):at + 60]}…"


@pytest.fixture
def credentials():
    return aws_environment("AKIACANARYMAYBESEEN", AWS_SECRET, SESSION_TOKEN) | {
        "ADMIN_TOKEN": ADMIN_TOKEN}


def test_under_aws_no_secret_is_ever_said(daemons, fake_kms, credentials, monkeypatch):
    daemon = daemons(aws_properties(fake_kms, fake_kms.key_arn) | TRACE | {
        "vault.token": "canary-vault-token-0815", "azure.keyvault.client-secret": "canary-az-4711"},
        environment=credentials)
    monkeypatch.setattr(type(daemon), "token", ADMIN_TOKEN)
    collector = Collector(daemon)
    secrets = use(collector)
    misbehave(collector)
    for fault in ({"kind": "error", "type": "AccessDeniedException", "status": 400,
                   "message": "User: x is not authorized to perform: kms:Decrypt"},
                  {"kind": "garbage"}, {"kind": "wrong_shape"}, {"kind": "half"},
                  {"kind": "wrong_key"}):
        fake_kms.faults(fault)
        collector.call("PUT", f"/api/tenants/new-{fault['kind']}", token=ADMIN_TOKEN)
        collector.call("POST", "/api/admin/kms/validate", token=None)
    fake_kms.faults()
    daemon.stop()
    daemon.start()
    said = collector.everything()
    assert "DEBUG" in said or "TRACE" in said

    kms = fake_kms.client("kms")
    for key_type in ("signing", "encryption"):
        for version in (1, 2):
            blob = Store(daemon).wrapping(TENANT, key_type, version)[2]
            secrets[f"{key_type} key {version}"] = kms.decrypt(CiphertextBlob=blob, EncryptionContext={
                "tenantId": TENANT, "keyType": key_type})["Plaintext"]
            secrets[f"wrapped {key_type} key {version}"] = blob[40:]
    check(said, secrets | {
        "admin token": ADMIN_TOKEN, "AWS secret": AWS_SECRET, "session token": SESSION_TOKEN,
        "wrong token": WRONG_TOKEN, "plaintext": PLAINTEXT, "payload": PAYLOAD,
        "vault token": "canary-vault-token-0815", "azure secret": "canary-az-4711"})


def test_under_local_no_secret_is_ever_said(daemons, monkeypatch):
    daemon = daemons(TRACE, environment={"ADMIN_TOKEN": ADMIN_TOKEN})
    monkeypatch.setattr(type(daemon), "token", ADMIN_TOKEN)
    collector = Collector(daemon)
    secrets = use(collector)
    misbehave(collector)
    daemon.stop()
    daemon.start()
    said = collector.everything()
    store = Store(daemon)
    for key_type in ("signing", "encryption"):
        secrets[f"wrapped {key_type} key"] = store.wrapping(TENANT, key_type)[2]
    check(said, secrets | {
        "master key": (daemon.data / "local-master.key").read_bytes(), "admin token": ADMIN_TOKEN,
        "wrong token": WRONG_TOKEN, "plaintext": PLAINTEXT, "payload": PAYLOAD})


def test_the_generated_token_is_in_its_file_and_nowhere_else(daemons):
    daemon = daemons(TRACE)
    daemon.create("acme")
    daemon.cli("config")
    assert len(daemon.token) >= 32
    said = daemon.log() + daemon.text() + daemon.cli("config").stdout
    assert str(daemon.data / "admin-token") in said
    assert daemon.token not in said


def test_secrets_that_are_wrong_are_not_quoted(daemons):
    daemon = daemons({"betrace.admin.token": "canary with blanks in it"}, start=False)
    daemon.start(ready=False)
    assert daemon.wait() == 2
    assert "betrace.admin.token" in daemon.text() and "canary" not in daemon.text()


def test_memory_of_the_process_is_not_for_others(daemons):
    daemon = daemons()
    status = open(f"/proc/{daemon.pid}/status").read()
    limits = open(f"/proc/{daemon.pid}/limits").read()
    core = [line for line in limits.splitlines() if line.startswith("Max core file size")][0]
    assert core.split()[4] == "0"
    # The sanitizers' runtimes turn mlock(2) into nothing.
    sanitized = "libasan" in open(f"/proc/{daemon.pid}/maps").read()
    assert sanitized or int(status.split("VmLck:")[1].split()[0]) > 0


@pytest.mark.parametrize("write", [
    bytes.hex, lambda s: base64.b64encode(s).decode(), lambda s: base64.b64encode(b"x" + s).decode(),
    lambda s: base64.urlsafe_b64encode(b"xy" + s + b"z").decode(), repr,
    lambda s: ", ".join(map(str, s))], ids=["hex", "base64", "shifted", "url", "repr", "numbers"])
def test_the_search_itself_finds_what_is_planted(write):
    secret = bytes(range(100, 132))
    said = f'{TENANT} "{TENANT}" key={write(secret)} end'
    with pytest.raises(AssertionError, match="planted as"):
        check(said, {"planted": secret})
