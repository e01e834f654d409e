"""The provider `vault` on a real OpenBao, with hvac as the other client."""

import base64
import json
import os
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import hvac
import pytest

from harness.daemon import problem
from harness.fenced import blocks
from harness.openbao import KEY, POLICY, OpenBao, bao, vault_properties
from harness.process import ROOT
from harness.store import Store
from harness.waiting import until
from harness.wire import at_once


@pytest.fixture(scope="module")
def openbao_process(tmp_path_factory):
    server = OpenBao(tmp_path_factory.mktemp("openbao")).start()
    yield server
    server.stop()


@pytest.fixture
def openbao_of_its_own(tmp_path):
    """A maker of further servers: openbao_of_its_own(prepared=…)."""
    made = []

    def make(**options):
        made.append(OpenBao(tmp_path / f"bao-{len(made)}", **options))
        return made[-1].start()
    yield make
    for server in made:
        server.stop()


@pytest.fixture
def openbao(openbao_process):
    """Unsealed, and the policy as it should be, for each test."""
    server = openbao_process
    if server.call("GET", "sys/seal-status")["sealed"]:
        server.unseal()
    server.allow()
    return server


def token_file(folder, token):
    path = folder / "vault-token"
    path.write_text(token)
    path.chmod(0o600)
    return path


@pytest.fixture
def vault_daemon(daemons, openbao, tmp_path):
    def make(properties=None, **options):
        given = properties or {"vault.token-file": token_file(tmp_path, openbao.make_token())}
        return daemons(vault_properties(openbao) | given, **options)
    return make


def context_of(tenant, key_type="encryption"):
    return json.dumps({"keyType": key_type, "tenantId": tenant}, separators=(",", ":"))


def b64(text):
    return base64.b64encode(text.encode()).decode()


def first_finding(daemon, wanted):
    """Of the command, which asks the provider itself."""
    (it, *_) = json.loads(daemon.cli("doctor", "--json").stdout)["findings"]
    assert it["id"] == wanted, it
    return it


def run_remedy(server, command):
    """Types it as an administrator of that server would."""
    environment = {**os.environ, "BAO_TOKEN": server.token,
                   "PATH": f"{bao().parent}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-euc", command], env=environment, capture_output=True,
                          text=True, timeout=30)
    assert done.returncode == 0, command + done.stdout + done.stderr


def healthy(daemon):
    until(lambda: daemon.ok("GET", "/api/admin/kms/doctor")["findings"] == [], 30,
          "a healthy doctor")


def test_a_tenants_keys_are_made_used_and_opened_again_after_a_restart(vault_daemon, openbao):
    daemon = vault_daemon()
    assert daemon.log_lines("Using Vault - address: " + openbao.url)
    daemon.create("acme")
    signature = daemon.sign("acme", "evidence")
    sealed = daemon.encrypt("acme", "pii", {"a": "b"})
    daemon.restart()
    assert daemon.sign("acme", "evidence") == signature
    assert daemon.decrypt("acme", sealed, {"a": "b"}) == b"pii"
    assert daemon.validate()["overall"] == "PASS"
    healthy(daemon)
    assert set(daemon.status()["wrappings"][0]) >= {"provider", "master_key_id"}
    assert daemon.status()["wrappings"][0]["master_key_id"] == f"transit/{KEY}"


def test_hvac_opens_what_we_wrapped_and_we_open_what_it_wrapped(vault_daemon, openbao):
    daemon = vault_daemon()
    daemon.create("acme")
    sealed = daemon.encrypt("acme", "pii")
    client = hvac.Client(url=openbao.url, token=openbao.token)
    store = Store(daemon)
    _, _, blob = store.wrapping("acme", "encryption")
    text = f"vault:v{int.from_bytes(blob[9:13], 'big')}:{base64.b64encode(blob[13:]).decode()}"
    opened = client.secrets.transit.decrypt_data(
        name=KEY, ciphertext=text, associated_data=b64(context_of("acme")))["data"]["plaintext"]
    assert len(base64.b64decode(opened)) == 32
    with pytest.raises(hvac.exceptions.InvalidRequest):
        client.secrets.transit.decrypt_data(name=KEY, ciphertext=text,
                                            associated_data=b64(context_of("other")))
    theirs = client.secrets.transit.encrypt_data(
        name=KEY, plaintext=opened, associated_data=b64(context_of("acme")))["data"]["ciphertext"]
    version, ciphertext = theirs.removeprefix("vault:v").split(":")
    daemon.stop()
    made = blob[:9] + int(version).to_bytes(4, "big") + base64.b64decode(ciphertext)
    store.query("UPDATE wrappings SET blob = ? WHERE blob = ?", made, blob)
    daemon.start()
    assert daemon.decrypt("acme", sealed) == b"pii"


def test_a_master_key_that_was_rotated_opens_what_its_older_version_wrapped(vault_daemon, openbao):
    daemon = vault_daemon()
    daemon.create("before")
    signature = daemon.sign("before", "x")
    openbao.call("POST", f"transit/keys/{KEY}/rotate")
    daemon.create("after")
    daemon.restart()
    assert daemon.sign("before", "x") == signature
    version = {name: Store(daemon).wrapping(name)[2][9:13] for name in ("before", "after")}
    assert version["before"] < version["after"]


def test_sealed_is_said_and_outlived(vault_daemon, openbao):
    daemon = vault_daemon({"vault.token": openbao.make_token(), "kms.cache.warm-tenants": 0})
    daemon.create("warm")
    daemon.sign("warm", "x")
    openbao.seal()
    assert "ealed" in problem(daemon.put("/api/tenants/new"), 503, "kms_unavailable")
    assert daemon.sign("warm", "x")
    it = first_finding(daemon, "provider-unreachable")
    assert it["cause"].startswith("Vault is sealed")
    unseal = f"BAO_ADDR={openbao.url} bao operator unseal"
    assert unseal in it["remedy"]
    assert "Vault is sealed" in daemon.wait_health("DOWN")["data"]["error"]
    run_remedy(openbao, f"{unseal} {openbao.unseal_key}")
    daemon.wait_health("UP")
    until(lambda: daemon.put("/api/tenants/new").status_code == 201, 20, "a new tenant")


@pytest.mark.parametrize("missing", POLICY)
def test_doctor_names_the_capability_that_is_missing(vault_daemon, openbao, missing):
    daemon = vault_daemon()
    daemon.create("acme")
    openbao.allow({path: may for path, may in POLICY.items() if path != missing})
    daemon.restart()
    it = first_finding(daemon, "iam-denied")
    assert it["title"] == f"Access denied: {POLICY[missing]} on {missing}"
    (grant,) = (command for command in it["remedy"] if "bao policy write betrace-kms -" in command)
    run_remedy(openbao, grant)
    assert daemon.validate()["overall"] == "PASS"


def test_a_soft_deleted_key_is_said_and_restored(vault_daemon, openbao):
    daemon = vault_daemon()
    daemon.create("acme")
    openbao.call("DELETE", f"transit/keys/{KEY}/soft-delete")
    try:
        refused = problem(daemon.put("/api/tenants/new"), 503, "kms_key_disabled")
        assert "refusing to use soft-deleted key" in refused
        it = first_finding(daemon, "key-disabled")
        assert it["cause"].startswith("Somebody has deleted it in a way that can be undone")
        (restore,) = (each for each in it["remedy"] if each.endswith("soft-delete-restore"))
        run_remedy(openbao, restore)
    finally:
        openbao.call("POST", f"transit/keys/{KEY}/soft-delete-restore", status=(200, 204, 400))
    daemon.create("new")


def test_a_rate_limit_of_vault_is_throttling(vault_daemon, openbao):
    daemon = vault_daemon()
    daemon.create("acme")
    openbao.call("POST", "sys/quotas/config", {"enable_rate_limit_response_headers": True})
    openbao.call("POST", "sys/quotas/rate-limit/kms",
                 {"path": "transit/", "rate": 1, "interval": "30s"})
    try:
        refused = daemon.put("/api/tenants/new")
        assert "rate limit quota exceeded" in problem(refused, 503, "kms_unavailable")
        it = first_finding(daemon, "provider-throttled")
        assert "rate limit quota exceeded" in it["evidence"]
    finally:
        openbao.call("DELETE", "sys/quotas/rate-limit/kms")
    until(lambda: daemon.put("/api/tenants/new").status_code in (200, 201), 20, "a new tenant")


@pytest.mark.parametrize("kind", [{"type": "rsa-2048"}, {"derived": True}])
def test_a_key_that_binds_no_context_is_refused_and_said(vault_daemon, openbao, kind):
    openbao.call("POST", "transit/keys/unfit", kind)
    daemon = vault_daemon({"vault.token": openbao.token, "vault.transit.key-name": "unfit"})
    problem(daemon.put("/api/tenants/acme"), 503, "kms_key_disabled")
    first_finding(daemon, "key-disabled")
    openbao.call("POST", "transit/keys/unfit/config", {"deletion_allowed": True})
    openbao.call("DELETE", "transit/keys/unfit")


def test_one_server_is_left_for_another_with_a_key_of_the_same_name(vault_daemon, openbao,
                                                                    openbao_of_its_own):
    daemon = vault_daemon({"vault.token": openbao.token})
    daemon.create("acme")
    signature = daemon.sign("acme", "x")
    other = openbao_of_its_own()
    daemon.properties |= vault_properties(other) | {
        "vault.token": other.token, "betrace.kms.previous-provider": "vault",
        "betrace.kms.previous.vault.addr": openbao.url,
        "betrace.kms.previous.vault.token": openbao.token}
    daemon.restart()
    assert daemon.sign("acme", "x") == signature
    refused = daemon.cli("migrate")
    assert refused.returncode != 0
    assert "leads to the same master key as new keys, transit/betrace-master-key" in refused.stderr

    daemon.properties["vault.cluster"] = "new"
    daemon.restart()
    assert daemon.cli("migrate", timeout=60).returncode == 0
    assert Store(daemon).query("SELECT DISTINCT master_key_id FROM wrappings") == [
        (f"new:transit/{KEY}",)]
    for name in [name for name in daemon.properties if ".previous" in name]:
        del daemon.properties[name]
    daemon.restart()
    assert daemon.sign("acme", "x") == signature


def test_a_token_lives_on_by_renewal_and_its_end_is_said(vault_daemon, openbao):
    token = openbao.make_token(ttl="4s")
    daemon = vault_daemon({"vault.token": token, "kms.cache.max-size": 1})
    daemon.create("one")
    daemon.create("two")
    begun = len(openbao.audited("auth/token/renew-self"))

    def renewed():
        for tenant in ("one", "two"):
            daemon.sign(tenant, "x")
        return len(openbao.audited("auth/token/renew-self")) - begun >= 2
    until(renewed, 30, "two renewals, which is more than a life")
    openbao.call("POST", "auth/token/revoke", {"token": token})
    it = first_finding(daemon, "iam-denied")
    assert it["cause"].startswith("Vault does not accept the service's token")
    assert f"BAO_ADDR={openbao.url} bao token lookup" in it["remedy"]
    problem(daemon.put("/api/tenants/new"), 503, "kms_access_denied")
    assert token not in daemon.text() + daemon.log()


def test_an_approle_logs_in_once_for_many_tenants_and_again_when_revoked(vault_daemon, openbao):
    role, secret = openbao.approle(token_ttl="1h")
    properties = {"vault.role-id": role, "vault.secret-id": secret, "kms.cache.warm-tenants": 0}
    daemon = vault_daemon(properties)
    tenants = [f"t{i}" for i in range(64)]
    assert {answer.status for answer in at_once(
        daemon, [("PUT", f"/api/tenants/{name}", None) for name in tenants])} == {201}
    begun = len(openbao.audited("auth/approle/login"))
    daemon.restart()
    cold = [("POST", f"/api/tenants/{name}/sign", {"payload": "eA=="}) for name in tenants]
    assert {answer.status for answer in at_once(daemon, cold)} == {200}
    assert len(openbao.audited("auth/approle/login")) - begun == 1
    openbao.call("PUT", "sys/leases/revoke-prefix/auth/approle", status=(200, 204))
    until(lambda: daemon.put("/api/tenants/new").status_code in (200, 201), 30, "a new log-in")
    assert secret not in daemon.text() and secret not in daemon.log()


class TokenReview(BaseHTTPRequestHandler):
    """What a Kubernetes API server answers about a service account's token."""

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        good = asked["spec"]["token"] == self.server.jwt
        user = {"username": "system:serviceaccount:betrace:kms", "uid": "1",
                "groups": ["system:serviceaccounts"]}
        body = json.dumps({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
                           "status": {"authenticated": good, "user": user if good else {}}}).encode()
        self.send_response(201)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def kubernetes():
    def part(claims):
        return base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    server = ThreadingHTTPServer(("127.0.0.1", 0), TokenReview)
    server.jwt = ".".join([part({"alg": "RS256"}), part(
        {"iss": "kubernetes/serviceaccount", "sub": "system:serviceaccount:betrace:kms",
         "kubernetes.io/serviceaccount/namespace": "betrace",
         "kubernetes.io/serviceaccount/service-account.name": "kms",
         "kubernetes.io/serviceaccount/service-account.uid": "1"}), part({"signature": 1})])
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_kubernetes_service_accounts_log_in(vault_daemon, openbao, kubernetes, tmp_path):
    openbao.call("POST", "auth/kubernetes/config", {
        "kubernetes_host": f"http://127.0.0.1:{kubernetes.server_port}",
        "token_reviewer_jwt": kubernetes.jwt, "disable_local_ca_jwt": True,
        "kubernetes_ca_cert": openbao.certificates.ca.read_text(),
        "disable_iss_validation": True})
    openbao.call("POST", "auth/kubernetes/role/kms", {
        "bound_service_account_names": ["kms"], "bound_service_account_namespaces": ["betrace"],
        "token_policies": ["betrace-kms"]})
    jwt = tmp_path / "jwt"
    jwt.write_text(kubernetes.jwt)
    daemon = vault_daemon({"vault.k8s.role": "kms", "vault.k8s.token-file": jwt})
    daemon.create("acme")
    assert daemon.sign("acme", "x")


def test_a_client_certificate_logs_in_over_tls(vault_daemon, openbao):
    tls = openbao.certificates
    openbao.call("POST", "auth/cert/certs/kms", {"certificate": tls.ca.read_text(),
                                                 "allowed_common_names": ["kms"],
                                                 "token_policies": ["betrace-kms"]})
    daemon = vault_daemon({"vault.addr": openbao.tls_url, "vault.ca-file": tls.ca,
                           "vault.client-certificate": tls.client,
                           "vault.client-key": tls.client_key})
    daemon.create("acme")
    assert daemon.sign("acme", "x")
    for name in [name for name in daemon.properties if name.startswith("vault.")]:
        del daemon.properties[name]
    daemon.more_environment = {"VAULT_ADDR": openbao.tls_url, "VAULT_CACERT": tls.ca,
                               "VAULT_CLIENT_CERT": tls.client, "VAULT_CLIENT_KEY": tls.client_key}
    daemon.restart()
    daemon.create("by-variables")


def test_a_server_whose_certificate_nobody_vouches_for_gets_no_token(vault_daemon, openbao):
    daemon = vault_daemon({"vault.addr": openbao.tls_url, "vault.token": openbao.token})
    refused = problem(daemon.put("/api/tenants/acme"), 503, "kms_unavailable")
    assert "certificate" in refused


def test_a_token_file_is_followed(vault_daemon, openbao, tmp_path):
    first = openbao.make_token()
    sink = token_file(tmp_path, first)
    daemon = vault_daemon({"vault.token-file": sink})
    daemon.create("acme")
    sink.write_text(openbao.make_token())
    openbao.call("POST", "auth/token/revoke", {"token": first})
    daemon.create("more")
    healthy(daemon)
    del daemon.properties["vault.token-file"]
    daemon.more_environment = {"VAULT_TOKEN_FILE": sink}
    daemon.restart()
    second = openbao.make_token()
    openbao.call("POST", "auth/token/revoke", {"token": sink.read_text()})
    sink.write_text(second)
    daemon.create("by-a-variable")


def test_a_namespace_is_used(vault_daemon, openbao):
    openbao.call("POST", "sys/namespaces/team", {})
    client = hvac.Client(url=openbao.url, token=openbao.token, namespace="team")
    client.sys.enable_secrets_engine("transit")
    client.secrets.transit.create_key(KEY)
    daemon = vault_daemon({"vault.token": openbao.token, "vault.namespace": "team"})
    daemon.create("acme")
    assert Store(daemon).wrapping("acme")[1] == f"team/transit/{KEY}"


def test_the_pages_commands_work_and_its_settings_start_a_daemon(daemons, tmp_path,
                                                                 openbao_of_its_own):
    server = openbao_of_its_own(prepared=False)
    page = blocks(ROOT / "docs/providers/vault.md")
    environment = {**os.environ, "BAO_ADDR": server.url, "BAO_TOKEN": server.token,
                   "PATH": f"{bao().parent}:{os.environ['PATH']}"}
    said = []
    for block in page:
        if block.language == "bash" and block.heading != "Test on a laptop":
            done = subprocess.run(["bash", "-euc", block.text], env=environment,
                                  capture_output=True, text=True, timeout=60)
            assert done.returncode == 0, block.text + done.stdout + done.stderr
            said += done.stdout.splitlines()
    # Off a terminal each prints its field without a line end: two UUIDs.
    role, secret = said[-1][:36], said[-1][36:]
    path = token_file(tmp_path, secret)
    (shown,) = (block.text for block in page if block.language == "properties")
    settings = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
    assert {"vault.addr", "vault.role-id", "vault.secret-id-file"} <= settings.keys()
    daemon = daemons(settings | {"vault.addr": server.url, "vault.role-id": role,
                                 "vault.secret-id-file": path})
    daemon.create("acme")
    healthy(daemon)
