"""A stand-in for Google Cloud KMS over Google's own types, and Google's own client."""

import json

import requests

from .process import HARNESS, ROOT
from .servers import Server, python_of, run

TOKEN = "canary-google-token-77aa"
PROJECT, LOCATION, RING, KEY, OTHER = "acme-prod", "us-east1", "betrace-keyring", \
    "betrace-master-key", "other-key"


def key_name(key=KEY):
    return f"projects/{PROJECT}/locations/{LOCATION}/keyRings/{RING}/cryptoKeys/{key}"


class GcpKms(Server):
    @property
    def log(self):
        return self.folder / "requests.jsonl"

    def arguments(self):
        return [ROOT / "build/bin/gcpkms", self.port, self.log, TOKEN]

    def is_ready(self):
        return requests.get(f"{self.url}/_control", timeout=2).status_code == 200

    def start(self, ready=True):
        super().start(ready)
        assert self.client("setup", PROJECT, LOCATION, RING, KEY, OTHER) == "right"
        return self

    def client(self, command, *words):
        """Google's own client."""
        done = run([python_of("venv-gcp"), HARNESS / "gcp_client.py", self.url, TOKEN, command,
                    *words], timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def control(self, **order):
        assert requests.post(f"{self.url}/_control", json=order, timeout=5).status_code == 200

    def seen(self):
        return [json.loads(line) for line in self.log.read_text().splitlines()]


def gcp_properties(server, **more):
    return {"betrace.kms.provider": "gcp", "gcp.kms.project-id": PROJECT,
            "gcp.kms.endpoint": server.url, "kms.retry.delay-ms": 20, "kms.retry.jitter-ms": 10,
            "kms.circuit-breaker.delay-ms": 400, **more}


def gcp_environment(server):
    """Tokens come from the metadata server."""
    return {"GCE_METADATA_HOST": server.url.removeprefix("http://")}
