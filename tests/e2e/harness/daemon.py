"""betrace-kms as a process, and what a test asks of it over HTTP."""

import base64
import os
import pathlib
import re
import threading

import requests

from .process import ROOT, Process, clean_environment, free_port
from .servers import run
from .waiting import until

JSON_PROBLEM = "application/problem+json"
# Exactly one sample a line: a name, labels, a plain decimal.
SAMPLE = re.compile(r"^([a-zA-Z_:][\w:]*(?:\{.*\})?) ([-+]?(?:[\d.]+(?:e[-+]?\d+)?|Inf|NaN))$")


def program():
    path = pathlib.Path(os.environ.get("BETRACE_KMS", ROOT / "build/release/betrace-kms"))
    if not path.exists():
        raise RuntimeError(f"{path} is missing: build it, or say where it is by BETRACE_KMS")
    return path


def b64(data):
    return base64.b64encode(data.encode() if isinstance(data, str) else data).decode()


def unb64(text):
    return base64.b64decode(text, validate=True)


def problem(answer, status, code):
    """Asserts an RFC 9457 document of that status and code; answers its detail."""
    assert answer.status_code == status, f"{answer.status_code}: {answer.text[:500]}"
    assert answer.headers["content-type"].split(";")[0] == JSON_PROBLEM
    document = answer.json()
    assert document["code"] == code, document
    assert document["status"] == status, document
    assert document["title"], document
    return document.get("detail", "")


def parse_metrics(text):
    samples = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            match = SAMPLE.match(line)
            assert match, f"not a plain sample: {line!r}"
            samples[match[1]] = float(match[2])
    return samples


class Daemon(Process):
    """A daemon with a folder of its own: application.properties, data/, daemon.log."""

    def __init__(self, folder, properties=None, environment=None, arguments=()):
        super().__init__(folder)
        self.port = free_port()
        self.data = self.folder / "data"
        self.log_path = self.folder / "daemon.log"
        self.config = self.folder / "application.properties"
        self.more_environment = dict(environment or {})
        self.more_arguments = list(arguments)
        self.properties = {
            "quarkus.http.port": self.port,
            "betrace.kms.data-dir": self.data,
            "quarkus.log.file.enable": "true",
            "quarkus.log.file.path": self.log_path,
            **(properties or {}),
        }
        self.scheme, self.verify = "http", None
        self._sessions = threading.local()

    # --- the process ------------------------------------------------------------------------------

    def arguments(self):
        return [program(), "serve", "--config", self.config, *self.more_arguments]

    def environment(self):
        return clean_environment(self.folder, **self.more_environment)

    def start(self, ready=True):
        lines = (f"{key}={value}\n" for key, value in self.properties.items())
        self.config.write_text("".join(lines))
        return super().start(ready)

    def is_ready(self):
        # 503 is an answer: the provider may be down at start-up.
        return self.get("/q/health/started", token=None).status_code in (200, 503)

    def restart(self):
        assert self.stop() == 0
        return self.start()

    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def log_lines(self, containing):
        return [line for line in self.log().splitlines() if containing in line]

    # --- HTTP -------------------------------------------------------------------------------------

    @property
    def url(self):
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @property
    def token(self):
        return (self.data / "admin-token").read_text().strip()

    @property
    def session(self):
        """One a thread."""
        if not hasattr(self._sessions, "session"):
            self._sessions.session = requests.Session()
            self._sessions.session.trust_env = False
        return self._sessions.session

    def call(self, method, path, token="own", headers=None, timeout=30, **options):
        headers = dict(headers or {})
        if token is not None:
            headers["Authorization"] = f"Bearer {self.token if token == 'own' else token}"
        return self.session.request(method, self.url + path, headers=headers, timeout=timeout,
                                    verify=self.verify, **options)

    def get(self, path, **options):
        return self.call("GET", path, **options)

    def post(self, path, json=None, **options):
        return self.call("POST", path, json=json, **options)

    def put(self, path, **options):
        return self.call("PUT", path, **options)

    def ok(self, method, path, status=200, **options):
        """The JSON of an answer that must have this status."""
        answer = self.call(method, path, **options)
        assert answer.status_code == status, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    # --- the product's verbs ----------------------------------------------------------------------

    def create(self, tenant):
        return self.ok("PUT", f"/api/tenants/{tenant}", 201)

    def sign(self, tenant, payload):
        return self.ok("POST", f"/api/tenants/{tenant}/sign", json={"payload": b64(payload)})

    def verifies(self, tenant, payload, signature, **which):
        return self.ok("POST", f"/api/tenants/{tenant}/verify",
                       json={"payload": b64(payload), "signature": signature, **which})

    def encrypt(self, tenant, plaintext, context=None):
        body = {"plaintext": b64(plaintext), "context": context or {}}
        return self.ok("POST", f"/api/tenants/{tenant}/encrypt", json=body)["ciphertext"]

    def decrypt(self, tenant, ciphertext, context=None):
        body = {"ciphertext": ciphertext, "context": context or {}}
        return unb64(self.ok("POST", f"/api/tenants/{tenant}/decrypt", json=body)["plaintext"])

    def public_keys(self, tenant):
        return self.ok("GET", f"/api/tenants/{tenant}/public-keys")["keys"]

    # --- what it says of itself -------------------------------------------------------------------

    def health(self, group="ready"):
        """(status code, the check `kms`)."""
        answer = self.get(f"/q/health/{group}", token=None)
        checks = {check["name"]: check for check in answer.json()["checks"]}
        return answer.status_code, checks.get("kms")

    def wait_health(self, status, seconds=25.0):
        """Until the background probe has seen it; answers the check `kms`."""
        until(lambda: self.get("/q/health/started", token=None).status_code == 200, 15,
              "the first probe")
        return until(lambda: (check := self.health()[1]) and check["status"] == status and check,
                     seconds, f"health to be {status}")

    def validate(self):
        return self.ok("POST", "/api/admin/kms/validate", token=None)

    def status(self):
        return self.ok("GET", "/api/admin/kms/status", token=None)

    def metrics(self):
        return parse_metrics(self.get("/q/metrics", token=None).text)

    def metric(self, name):
        return self.metrics()[name]

    def breaker(self, keys="signing"):
        """0 closed, 1 open, 2 half open."""
        return self.metric(f'circuit_breaker_state{{name="kms-{keys}-key"}}')

    def wait_breaker(self, state, keys="signing", seconds=15.0):
        until(lambda: self.breaker(keys) == state, seconds, f"breaker {keys} to be {state}")

    # --- the command line -------------------------------------------------------------------------

    def cli(self, *words, **options):
        """A client command run in the daemon's folder, where it finds the configuration."""
        options.setdefault("cwd", self.folder)
        options.setdefault("env", self.environment())
        return run([program(), *words], **options)
