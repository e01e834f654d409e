"""From one master key to another while callers go on."""

import subprocess

import pytest

from conftest import TORTURE
from harness.aws import (FOUR, Account, aws_environment, aws_profiles, aws_properties,
                         previous_properties)
from harness.daemon import b64, problem, program
from harness.store import Store
from harness.waiting import until
from harness.wire import Load, at_once

TENANTS = 10_000 if TORTURE else 300
EMULATED_TENANTS = 10_000 if TORTURE else 50
ACROSS_TENANTS = 1_000 if TORTURE else 50


def migrate(daemon, *words):
    return subprocess.run([program(), "migrate", *words], capture_output=True, text=True,
                          timeout=3600,
                          env={"BETRACE_KMS_URL": daemon.url, "ADMIN_TOKEN": daemon.token})


def holders(daemon):
    return {each["provider"]: each["keys"] for each in daemon.status()["wrappings"]}


class Tenants:
    """So many tenants, and what some of them signed and encrypted before their keys moved."""

    def __init__(self, daemon, count):
        self.names = [f"tenant-{i}" for i in range(count)]
        for chunk in (self.names[i:i + 100] for i in range(0, count, 100)):
            made = at_once(daemon, [("PUT", f"/api/tenants/{name}", None) for name in chunk])
            assert {answer.status for answer in made} == {201}
        some = self.names[:: max(1, count // 50)]
        self.signatures = {name: daemon.sign(name, name) for name in some}
        self.sealed = {name: daemon.encrypt(name, name, {"t": name}) for name in some}
        self.keys = 2 * count + 1

    def call(self, number):
        """Of a load: each tenant signs and encrypts in turn, and new ones come."""
        name = self.names[number // 2 * 7 % len(self.names)]
        if number % 20 == 19:
            return "PUT", f"/api/tenants/new-{number}", None
        if number % 2 == 0:
            return "POST", f"/api/tenants/{name}/sign", {"payload": b64(name)}
        return "POST", f"/api/tenants/{name}/encrypt", {"plaintext": b64(name)}

    def check(self, daemon):
        for name, signature in self.signatures.items():
            assert daemon.sign(name, name) == signature
            verified = daemon.verifies(name, name, signature["signature"])
            assert verified["valid"] and verified["trusted"]
            assert daemon.decrypt(name, self.sealed[name], {"t": name}) == name.encode()


def migrate_under_load(daemon, tenants):
    """Moves every key while no request fails and no breaker opens."""
    with Load(daemon, tenants.call) as load:
        until(lambda: len(load.answers) > 10, 30, "the load")
        done = migrate(daemon)
    assert done.returncode == 0, done
    assert f"complete: {tenants.keys} of {tenants.keys} keys moved" in done.stdout
    print(f"{len(load.answers)} requests while {tenants.keys} keys moved")
    assert len(load.answers) > 50
    assert load.statuses.keys() <= {200, 201}, [
        answer for answer in load.answers if answer.status not in (200, 201)][:3]
    assert daemon.log_lines("is OPEN") == []


def local_to_aws(daemons, server, key, count):
    daemon = daemons()
    tenants = Tenants(daemon, count)
    daemon.stop()
    # The manual's own steps: set aws, restart. The load goes through a small cache, so that keys
    # are read all the time.
    daemon.properties |= aws_properties(server, key) | {"kms.cache.max-size": 20}
    daemon.more_environment = aws_environment()
    daemon.start()
    assert holders(daemon) == {"local": tenants.keys}
    assert f"{tenants.keys} keys under local" in migrate(daemon, "--dry-run").stdout
    migrate_under_load(daemon, tenants)
    assert holders(daemon).keys() == {"aws"}
    # The local master key may go.
    (daemon.data / "local-master.key").unlink()
    daemon.restart()
    tenants.check(daemon)


def test_from_local_to_aws_under_load_with_no_failed_request(daemons, fake_kms):
    local_to_aws(daemons, fake_kms, fake_kms.key_arn, TENANTS)


def test_from_local_to_an_emulated_aws_under_load_with_no_failed_request(daemons, ministack):
    key = ministack.client("kms").create_key()["KeyMetadata"]["Arn"]
    local_to_aws(daemons, ministack, key, EMULATED_TENANTS)


def test_from_one_aws_key_to_another(aws_daemon, fake_kms):
    daemon = aws_daemon()
    daemon.create("acme")
    signature = daemon.sign("acme", "x")
    daemon.stop()
    daemon.properties |= {"aws.kms.master-key-id": fake_kms.other_key_arn,
                          **previous_properties(fake_kms, fake_kms.key_arn)}
    daemon.start()
    assert daemon.sign("acme", "x") == signature
    assert migrate(daemon).returncode == 0
    assert {row[0] for row in Store(daemon).query("SELECT master_key_id FROM wrappings")} == {
        fake_kms.other_key_arn}
    daemon.restart()
    assert daemon.sign("acme", "x") == signature


def two_accounts(server):
    """A key of each of two accounts, and the credentials of its root. The other's key is not found,
    as MiniStack has it."""
    for number in ("111111111111", "222222222222"):
        root = {"key": number, "secret": "test"}
        yield server.client("kms", **root).create_key()["KeyMetadata"]["Arn"], root


def two_users(server):
    """Two keys, each with a user who may use no other: access is denied to the other's, which is
    AWS's answer across accounts."""
    for account in (Account(server), Account(server)):
        yield account.key, account.user(FOUR)[1]


@pytest.mark.parametrize("sides", [two_accounts, two_users])
def test_across_accounts_each_instance_has_the_credentials_of_its_profile(
        daemons, ministack, sides):
    (old_key, old), (new_key, new) = sides(ministack)
    daemon = daemons(aws_properties(ministack, old_key, **{"aws.kms.profile": "old-account"}),
                     start=False)
    aws_profiles(daemon, **{"old-account": old, "new-account": new})
    # Whose these are nobody knows: an instance that has a profile leaves them alone.
    daemon.more_environment = aws_environment()
    daemon.start()
    tenants = Tenants(daemon, ACROSS_TENANTS)
    daemon.stop()

    def go_on(previous_profile):
        daemon.properties |= aws_properties(ministack, new_key, **{
            "aws.kms.profile": "new-account", "kms.cache.max-size": 20,
            "kms.cache.warm-tenants": 0})
        daemon.properties |= previous_properties(ministack, old_key, **{
            "aws.kms.profile": previous_profile})
        daemon.start()

    go_on("new-account")
    problem(daemon.post("/api/tenants/tenant-0/sign", {"payload": b64("x")}), 503,
            "wrapped_elsewhere")
    daemon.stop()
    go_on("old-account")
    migrate_under_load(daemon, tenants)
    assert {row[0] for row in Store(daemon).query("SELECT master_key_id FROM wrappings")} == {
        new_key}
    # The old account may go.
    daemon.stop()
    daemon.properties = {name: value for name, value in daemon.properties.items()
                         if ".previous" not in name}
    aws_profiles(daemon, **{"new-account": new})
    daemon.start()
    tenants.check(daemon)


def test_rows_that_nothing_opens_are_said_and_with_strict_wrappings_end_the_start(
        daemons, aws_daemon, fake_kms):
    aws = aws_daemon()
    aws.create("acme")
    aws.stop()
    daemon = daemons({"betrace.kms.data-dir": aws.data}, start=False)
    daemon.data = aws.data
    daemon.start()
    assert daemon.log_lines("which no configured provider opens")
    problem(daemon.post("/api/tenants/acme/sign", {"payload": b64("x")}), 503, "wrapped_elsewhere")
    status = daemon.status()
    assert status["status"] == "WARNING"
    assert any("no configured provider opens" in issue for issue in status["issues"])
    daemon.stop()
    daemon.properties["betrace.kms.strict-wrappings"] = "true"
    daemon.start(ready=False)
    assert daemon.wait() == 2
    assert "betrace.kms.strict-wrappings: the store holds 3 keys wrapped by 'aws'" in daemon.text()
