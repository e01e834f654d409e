"""A stand-in for Azure Key Vault over Microsoft's own server, and Microsoft's own client."""

import requests

from .process import HARNESS, ROOT, free_port
from .servers import Server, python_of, run

KEY, OTHER = "betrace-master-key", "other-key"
SECRET, ASSERTION = "canary-azure-secret", "canary-assertion"


class AzureVault(Server):
    def __init__(self, folder):
        super().__init__(folder)
        self.uri = f"https://127.0.0.1:{self.port}"
        self.token_port = free_port()
        self.token_url = f"http://127.0.0.1:{self.token_port}"
        self.certificate = self.folder / "azkv.pem"

    def arguments(self):
        return [ROOT / "build/bin/azkv", self.port, self.token_port, self.certificate]

    def is_ready(self):
        return requests.get(f"{self.uri}/keys/x", timeout=2,
                            verify=str(self.certificate)).status_code == 401

    def start(self, ready=True):
        super().start(ready)
        assert self.client("setup", KEY, OTHER) == "right"
        return self

    def client(self, order, *words):
        """Microsoft's own client."""
        done = run([python_of("venv-azure"), HARNESS / "azure_client.py", self.uri, self.token_url,
                    self.certificate, order, *words], timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def control(self, **order):
        assert requests.post(f"{self.token_url}/_control", json=order, timeout=5).status_code == 200


def azure_properties(server, **more):
    return {"betrace.kms.provider": "azure", "azure.keyvault.uri": server.uri,
            "azure.keyvault.ca-file": server.certificate, "kms.retry.delay-ms": 20,
            "kms.retry.jitter-ms": 10, "kms.circuit-breaker.delay-ms": 400, **more}


def azure_environment(server):
    """Managed identity; and where secrets go."""
    return {"AZURE_POD_IDENTITY_AUTHORITY_HOST": server.token_url,
            "AZURE_AUTHORITY_HOST": server.token_url}
