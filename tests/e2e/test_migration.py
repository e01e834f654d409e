"""From one master key to another while callers go on."""

import itertools
import subprocess

from conftest import TORTURE
from harness.aws import aws_environment, aws_properties
from harness.daemon import b64, problem, program
from harness.store import Store
from harness.wire import Load, at_once

TENANTS = 10_000 if TORTURE else 300


def migrate(daemon, *words):
    return subprocess.run([program(), "migrate", *words], capture_output=True, text=True,
                          timeout=3600,
                          env={"BETRACE_KMS_URL": daemon.url, "ADMIN_TOKEN": daemon.token})


def holders(daemon):
    return {each["provider"]: each["keys"] for each in daemon.status()["wrappings"]}


def test_from_local_to_aws_under_load_with_no_failed_request(daemons, fake_kms):
    daemon = daemons()
    names = [f"tenant-{i}" for i in range(TENANTS)]
    for chunk in (names[i:i + 100] for i in range(0, TENANTS, 100)):
        at_once(daemon, [("PUT", f"/api/tenants/{name}", None) for name in chunk])
    some = names[:: max(1, TENANTS // 50)]
    signatures = {name: daemon.sign(name, name) for name in some}
    sealed = {name: daemon.encrypt(name, name, {"t": name}) for name in some}
    daemon.stop()

    # The manual's own steps: set aws, restart. The load goes through a small cache, so that keys
    # are read all the time.
    daemon.properties |= aws_properties(fake_kms, fake_kms.key_arn) | {"kms.cache.max-size": 20}
    daemon.more_environment = aws_environment()
    daemon.start()
    assert holders(daemon) == {"local": 2 * TENANTS + 1}
    number = itertools.count()

    def call(_):
        name = names[next(number) * 7 % TENANTS]
        verb, body = (("sign", {"payload": b64(name)}), ("encrypt", {"plaintext": b64(name)}))[
            next(number) % 2]
        return "POST", f"/api/tenants/{name}/{verb}", body

    with Load(daemon, call) as load:
        assert f"{2 * TENANTS + 1} keys under local" in migrate(daemon, "--dry-run").stdout
        done = migrate(daemon)
    assert done.returncode == 0, done
    assert done.stdout.startswith(f"complete: {2 * TENANTS + 1} of {2 * TENANTS + 1} keys moved")
    assert len(load.answers) > 50
    assert {answer.status for answer in load.answers} == {200}, [
        answer for answer in load.answers if answer.status != 200][:3]
    assert holders(daemon) == {"aws": 2 * TENANTS + 1}
    # The local master key may go.
    (daemon.data / "local-master.key").unlink()
    daemon.restart()
    for name in some:
        assert daemon.sign(name, name) == signatures[name]
        verified = daemon.verifies(name, name, signatures[name]["signature"])
        assert verified["valid"] and verified["trusted"]
        assert daemon.decrypt(name, sealed[name], {"t": name}) == name.encode()


def test_from_one_aws_key_to_another(aws_daemon, fake_kms):
    daemon = aws_daemon()
    daemon.create("acme")
    signature = daemon.sign("acme", "x")
    daemon.stop()
    daemon.properties["aws.kms.master-key-id"] = fake_kms.other_key_arn
    for name, value in aws_properties(fake_kms, fake_kms.key_arn).items():
        if name.startswith("aws."):
            daemon.properties[f"betrace.kms.previous.{name}"] = value
    daemon.properties["betrace.kms.previous-provider"] = "aws"
    daemon.start()
    assert daemon.sign("acme", "x") == signature
    assert migrate(daemon).returncode == 0
    assert {row[0] for row in Store(daemon).query("SELECT master_key_id FROM wrappings")} == {
        fake_kms.other_key_arn}
    daemon.restart()
    assert daemon.sign("acme", "x") == signature


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
