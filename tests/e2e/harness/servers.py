"""The servers that stand in for AWS. One that cannot start fails the test that needs it."""

import subprocess
import sys

import boto3
import requests
from botocore.config import Config

from .process import HARNESS, ROOT, Process, clean_environment, free_port

REGION = "us-east-1"


def aws_client(service, endpoint, key="test", secret="test", token=None, region=REGION):
    """boto3 without retries, as the independent client."""
    return boto3.client(service, endpoint_url=endpoint, region_name=region, aws_access_key_id=key,
                        aws_secret_access_key=secret, aws_session_token=token,
                        config=Config(retries={"total_max_attempts": 1}))


def python_of(environment):
    path = ROOT / "build" / environment / "bin" / "python"
    if not path.exists():
        raise RuntimeError(f"{path} is missing: run tools/install-test-deps")
    return path


class Server(Process):
    def __init__(self, folder, port=None):
        super().__init__(folder)
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"

    def environment(self):
        return clean_environment(self.folder)

    def client(self, service, **credentials):
        return aws_client(service, self.url, **credentials)


class FakeKms(Server):
    """fake_kms.py: scripted faults, counted calls."""

    key_id = "11111111-2222-3333-4444-555555555555"
    other_key_id = "66666666-7777-8888-9999-000000000000"
    key_arn = f"arn:aws:kms:{REGION}:123456789012:key/{key_id}"
    other_key_arn = f"arn:aws:kms:{REGION}:123456789012:key/{other_key_id}"

    def arguments(self):
        return [sys.executable, HARNESS / "fake_kms.py", "--port", self.port]

    def is_ready(self):
        return requests.get(f"{self.url}/_control", timeout=2).status_code == 200

    def control(self, **order):
        answer = requests.post(f"{self.url}/_control", json=order, timeout=5)
        assert answer.status_code == 200, answer.text

    def faults(self, *faults):
        """Replaces the script; without an argument all is well again."""
        self.control(faults=list(faults))

    def error(self, kind, message=None, status=400, **more):
        self.faults({"kind": "error", "type": kind, "message": message, "status": status, **more})

    def report(self):
        return requests.get(f"{self.url}/_control", timeout=5).json()

    def calls(self, action=None):
        counts = self.report()["calls"]
        return sum(counts.values()) if action is None else counts.get(action, 0)

    def tries(self, tenant, action=None):
        """The calls made under this tenant's encryption context, oldest first."""
        return [call for call in self.report()["requests"]
                if call["tenant"] == tenant and action in (None, call["action"])]

    def die(self):
        """As a machine that loses power: the port is closed."""
        self.kill()


class MiniStack(Server):
    """AWS with signatures, IAM policies and session tokens checked."""

    def arguments(self):
        python_of("venv-ministack")
        return [ROOT / "build/venv-ministack/bin/ministack"]

    def environment(self):
        return clean_environment(self.folder, AUTH="true", BIND_HOST="127.0.0.1",
                                 IOT_MTLS_ENABLED="0", GATEWAY_PORT=self.port,
                                 STATE_DIR=self.folder / "state")

    def is_ready(self):
        return requests.get(f"{self.url}/_ministack/health", timeout=2).status_code == 200


class Moto(Server):
    """AWS in its breadth, for commands of documents. Knows no key states."""

    ready_seconds = 60.0  # it is large, and the machine may be busy

    def arguments(self):
        python_of("venv-moto")
        return [ROOT / "build/venv-moto/bin/moto_server", "-H", "127.0.0.1", "-p", self.port]

    def is_ready(self):
        return requests.get(f"{self.url}/moto-api/data.json", timeout=2).status_code == 200


class LocalStack(Server):
    """AWS KMS' own behaviour: key states, aliases, contexts. Checks no signatures."""

    ready_seconds = 90.0

    def arguments(self):
        return [python_of("venv-localstack"), HARNESS / "localstack_loopback.py"]

    def environment(self):
        return clean_environment(
            self.folder, SERVICES="kms,iam,sts", EAGER_SERVICE_LOADING="1",
            GATEWAY_LISTEN=f"127.0.0.1:{self.port}", FILESYSTEM_ROOT=self.folder / "state",
            DISABLE_EVENTS="1", SKIP_SSL_CERT_DOWNLOAD="1", DNS_ADDRESS="0",
            LOCALSTACK_HOST=f"localhost:{self.port}", OVERRIDE_IN_DOCKER="0",
            GATEWAY_SERVER="twisted")

    def is_ready(self):
        health = requests.get(f"{self.url}/_localstack/health", timeout=2).json()
        return health["services"].get("kms") in ("running", "available")


def run(command, **options):
    """A client program: answers the finished process with text output."""
    return subprocess.run(list(map(str, command)), capture_output=True, text=True,
                          timeout=options.pop("timeout", 30), **options)
