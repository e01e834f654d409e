"""From any provider to any other: each of the thirty directed pairs, on the servers of the providers'
own tests. Old signatures verify, and old ciphertext decrypts."""

import itertools

import pytest

from harness.aws import aws_environment, aws_properties
from harness.azure import AzureVault, azure_environment, azure_properties
from harness.gcp import GcpKms, gcp_environment, gcp_properties
from harness.openbao import OpenBao, vault_properties
from test_migration import Tenants, holders, migrate
from test_pkcs11 import PIN, SoftHsm

TENANTS = 100
NAMES = ["local", "aws", "vault", "gcp", "azure", "pkcs11"]


class Everywhere:
    """A server for each provider: its settings, and the variables of them all."""

    def __init__(self, folder, aws):
        self.servers = [OpenBao(folder / "vault"), GcpKms(folder / "gcp"),
                        AzureVault(folder / "azure")]
        vault, gcp, azure = (server.start() for server in self.servers)
        hsm = SoftHsm(folder / "hsm")
        self.settings = {
            "local": {}, "aws": aws,
            "vault": vault_properties(vault, **{"vault.token": vault.token}),
            "gcp": gcp_properties(gcp), "azure": azure_properties(azure),
            "pkcs11": hsm.properties() | {"pkcs11.pin": PIN}}
        self.environment = (aws_environment() | gcp_environment(gcp) | azure_environment(azure)
                            | hsm.environment)

    def of(self, name, which=""):
        """As the first provider, or as the `previous` one."""
        own = {key: value for key, value in self.settings[name].items()
               if not key.startswith(("betrace.", "kms."))}
        if not which:
            return {"betrace.kms.provider": name, **own}
        # The local master key is found by itself.
        further = {} if name == "local" else {f"betrace.kms.{which}-provider": name}
        return further | {f"betrace.kms.{which}.{key}": value for key, value in own.items()}


@pytest.fixture(scope="module")
def everywhere(tmp_path_factory, fake_kms_process):
    made = Everywhere(tmp_path_factory.mktemp("everywhere"),
                      aws_properties(fake_kms_process, fake_kms_process.key_arn))
    yield made
    for server in made.servers:
        server.stop()


@pytest.mark.parametrize("old,new", list(itertools.permutations(NAMES, 2)))
def test_every_key_moves_and_what_was_made_before_still_works(daemons, everywhere, fake_kms, old,
                                                              new):
    daemon = daemons(everywhere.of(old), environment=everywhere.environment)
    tenants = Tenants(daemon, TENANTS)
    assert holders(daemon) == {old: tenants.keys}
    daemon.stop()
    daemon.properties = {key: value for key, value in daemon.properties.items()
                         if key not in everywhere.of(old)} | everywhere.of(new) | everywhere.of(
                             old, "previous")
    daemon.start()
    tenants.check(daemon)
    done = migrate(daemon)
    assert f"complete: {tenants.keys} of {tenants.keys} keys moved" in done.stdout, done
    assert holders(daemon) == {new: tenants.keys}
    daemon.stop()
    # The old provider may go.
    daemon.properties = {key: value for key, value in daemon.properties.items()
                         if ".previous" not in key}
    if new != "local":
        (daemon.data / "local-master.key").unlink(missing_ok=True)
    daemon.start()
    tenants.check(daemon)
    daemon.wait_health("UP")
