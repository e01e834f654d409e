"""What each provider adds to the request it makes, on the servers of its end-to-end tests, and how
often it logs in. `row` is run.py's."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

from measure import BUILD, ROOT, median

sys.path.insert(0, str(ROOT / "tests/e2e"))
from harness.process import clean_environment  # noqa: E402
from harness.aws import FOUR, Account, aws_properties  # noqa: E402
from harness.servers import MiniStack  # noqa: E402
from test_any_to_any import Everywhere  # noqa: E402

def assume_role(account, folder):
    """In a profile of the AWS CLI's."""
    name, user = account.user(["sts:AssumeRole"])
    (folder / ".aws").mkdir()
    (folder / ".aws/config").write_text(f"""[default]
role_arn = {account.role(name, FOUR)}
source_profile = base
[profile base]
aws_access_key_id = {user["key"]}
aws_secret_access_key = {user["secret"]}
""")


def log_in(everywhere):
    """Each provider by a way that has a log-in."""
    vault = everywhere.servers[0]
    role, secret = vault.approle()
    del everywhere.settings["vault"]["vault.token"]
    everywhere.settings["vault"] |= {"vault.role-id": role, "vault.secret-id": secret}
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        del everywhere.environment[name]


def providers(row):
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        kms = MiniStack(folder / "aws").start()
        everywhere = None
        try:
            account = Account(kms)
            everywhere = Everywhere(folder, aws_properties(kms, account.key))
            assume_role(account, folder)
            log_in(everywhere)
            environment = clean_environment(folder, AWS_ENDPOINT_URL_STS=kms.url,
                                            **everywhere.environment)
            environment["PATH"] = os.environ["PATH"]
            everywhere.settings["pkcs11"]["pkcs11.key-label"] = "betrace-master-key"
            for name in ("aws", "vault", "gcp", "azure", "pkcs11"):
                measure(row, name, everywhere.of(name), environment)
        finally:
            for server in [kms, *(everywhere.servers if everywhere else [])]:
                server.stop()


def measure(row, name, settings, environment):
    done = subprocess.run([BUILD / "bench/provider_bench", name,
                           *(f"{key}={value}" for key, value in settings.items())],
                          env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(done.stderr)
    figures = {line["row"]: line for line in map(json.loads, filter(
        lambda line: line.startswith("{"), done.stdout.splitlines()))}
    ours, bare = median(figures["opens"]["ours"]), median(figures["opens"]["beside"])
    row(f"{name}: above the bare request", ours - bare, "us", None, 300,
        note=f"{ours:.0f} us beside {bare:.0f} us")
    row(f"{name}: beside the bare request", ours, "us", bare, 1.15, ours / bare)
    if "log-ins" in figures:
        row(f"{name}: log-ins during 10,000 cold misses", figures["log-ins"]["value"], "", None, 1)
