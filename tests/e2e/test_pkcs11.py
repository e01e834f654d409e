"""The provider `pkcs11` on SoftHSM2 and on NSS's softokn, with PyKCS11 as the other client."""

import json
import os
import pathlib
import re
import subprocess
import time

import pytest

from harness.daemon import problem, program
from harness.process import HARNESS
from harness.servers import python_of
from harness.store import Store
from harness.waiting import until
from test_migration import Tenants, migrate

SOFTHSM = "/usr/lib/softhsm/libsofthsm2.so"
SOFTOKN = "/usr/lib/x86_64-linux-gnu/libsoftokn3.so"
PIN, TOKEN, KEY = "canary-pin-4711", "betrace", "betrace-master-key"


def sh(*command, **more):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True,
                          timeout=60, **more)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


class SoftHsm:
    module = SOFTHSM

    def __init__(self, folder):
        self.tokens = folder / "tokens"
        self.tokens.mkdir(parents=True)
        config = folder / "softhsm2.conf"
        config.write_text(f"directories.tokendir = {self.tokens}\nlog.level = ERROR\n")
        self.environment = {"SOFTHSM2_CONF": str(config)}
        self.shell = {**os.environ, **self.environment}
        self.add(TOKEN)

    def add(self, token):
        """A token with a key, made as the documentation says."""
        sh("softhsm2-util", "--init-token", "--free", "--label", token, "--pin", PIN, "--so-pin",
           PIN, env=self.shell)
        self.tool("--keygen", "--key-type", "AES:32", "--private", "--sensitive", "--label", KEY,
                  token=token)

    def tool(self, *words, token=TOKEN):
        return sh("pkcs11-tool", "--module", SOFTHSM, "--token-label", token, "--login", "--pin",
                  PIN, *words, env=self.shell)

    def properties(self, token=TOKEN):
        return {"pkcs11.module": SOFTHSM, "pkcs11.token-label": token}

    def take_away(self):
        self.tokens.rename(self.tokens.with_name("away"))
        self.tokens.mkdir()

    def bring_back(self):
        self.tokens.rmdir()
        self.tokens.with_name("away").rename(self.tokens)

    def other_client(self, order, data, context):
        return sh(python_of("venv-pkcs11"), HARNESS / "pkcs11_client.py", SOFTHSM, TOKEN, PIN, KEY,
                  order, data.hex(), context, env=self.shell).strip()


class Softokn:
    """NSS's database as a token."""

    def __init__(self, folder):
        self.folder, self.environment = folder / "nss", {}
        self.folder.mkdir(parents=True)
        pin = folder / "pin"
        pin.write_text(PIN)
        sh("certutil", "-N", "-d", f"sql:{self.folder}", "-f", pin)
        sh("symkeyutil", "-K", "-n", KEY, "-t", "aes", "-s", "32", "-d", f"sql:{self.folder}", "-f",
           pin)

    def properties(self):
        return {"pkcs11.module": SOFTOKN, "pkcs11.token-label": "NSS Certificate DB",
                "pkcs11.init-args": f"configdir='sql:{self.folder}' certPrefix='' keyPrefix='' "
                                    "secmod='' flags="}


@pytest.fixture
def pkcs11_daemon(daemons, tmp_path):
    def make(hsm, properties=None, **options):
        pin = tmp_path / "hsm-pin"
        pin.write_text(PIN)
        pin.chmod(0o600)
        waits = {"kms.retry.delay-ms": 20, "kms.retry.jitter-ms": 10,
                 "kms.circuit-breaker.delay-ms": 400}
        return daemons({"betrace.kms.provider": "pkcs11", "pkcs11.pin-file": pin, **waits,
                        **hsm.properties(), **(properties or {})}, environment=hsm.environment,
                       **options)
    return make


def context_of(tenant, key_type="encryption"):
    return json.dumps({"keyType": key_type, "tenantId": tenant}, separators=(",", ":"))


def first_finding(daemon, wanted):
    def found():
        findings = daemon.ok("GET", "/api/admin/kms/doctor")["findings"]
        return findings and findings[0]["id"] == wanted and findings[0]
    return until(found, 40, wanted)


@pytest.mark.parametrize("kind", [SoftHsm, Softokn])
def test_a_tenants_keys_are_made_used_and_opened_again_after_a_restart(pkcs11_daemon, tmp_path,
                                                                       kind):
    daemon = pkcs11_daemon(kind(tmp_path / "hsm"))
    assert daemon.log_lines("Using PKCS#11 - module: ")
    daemon.create("acme")
    signature = daemon.sign("acme", "evidence")
    sealed = daemon.encrypt("acme", "pii", {"a": "b"})
    daemon.restart()
    assert daemon.sign("acme", "evidence") == signature
    assert daemon.decrypt("acme", sealed, {"a": "b"}) == b"pii"
    assert daemon.validate()["overall"] == "PASS"
    until(lambda: daemon.ok("GET", "/api/admin/kms/doctor")["findings"] == [], 30, "good health")
    # Under another tenant's name it does not open.
    daemon.create("other")
    daemon.stop()
    store = Store(daemon)
    mine, theirs = (store.wrapping(name, "encryption")[2] for name in ("acme", "other"))
    store.query("UPDATE wrappings SET blob = ? WHERE blob = ?", mine, theirs)
    daemon.start()
    problem(daemon.post("/api/tenants/other/encrypt", json={"plaintext": "eA=="}), 500, "corrupt")
    assert PIN not in daemon.text() + daemon.log()


def test_pykcs11_opens_what_we_wrapped_and_we_open_what_it_wrapped(pkcs11_daemon, tmp_path):
    hsm = SoftHsm(tmp_path / "hsm")
    daemon = pkcs11_daemon(hsm)
    daemon.create("acme")
    sealed = daemon.encrypt("acme", "pii")
    store = Store(daemon)
    _, name, blob = store.wrapping("acme", "encryption")
    assert name == f"pkcs11:token={TOKEN};object={KEY}"
    opened = hsm.other_client("decrypt", blob[9:], context_of("acme"))
    assert len(bytes.fromhex(opened)) == 32
    assert hsm.other_client("decrypt", blob[9:], context_of("other")) == "refused"
    theirs = hsm.other_client("encrypt", bytes.fromhex(opened), context_of("acme"))
    daemon.stop()
    store.query("UPDATE wrappings SET blob = ? WHERE blob = ?", blob[:9] + bytes.fromhex(theirs),
                blob)
    daemon.start()
    assert daemon.decrypt("acme", sealed) == b"pii"


def test_a_token_that_is_taken_away_is_said_and_used_again_when_it_is_back(pkcs11_daemon, tmp_path):
    hsm = SoftHsm(tmp_path / "hsm")
    daemon = pkcs11_daemon(hsm, {"kms.cache.warm-tenants": 0, "kms.cache.max-size": 1})
    daemon.create("acme")
    signature = daemon.sign("acme", "x")
    # Away before the module is initialised.
    daemon.stop()
    hsm.take_away()
    daemon.start()
    it = first_finding(daemon, "provider-unreachable")
    assert f"no token is labelled '{TOKEN}'" in it["evidence"]
    assert f"pkcs11-tool --module {SOFTHSM} --list-token-slots" in it["remedy"]
    problem(daemon.post("/api/tenants/acme/sign", json={"payload": "eA=="}), 503,
            "kms_unavailable")
    hsm.bring_back()
    daemon.wait_health("UP")
    assert daemon.sign("acme", "x") == signature
    # Away while its sessions are in use.
    hsm.take_away()
    first_finding(daemon, "provider-unreachable")
    hsm.bring_back()
    daemon.wait_health("UP")
    daemon.create("other")
    daemon.sign("other", "x")
    assert daemon.sign("acme", "x") == signature


def test_a_module_that_hangs_holds_up_nobody_and_is_used_when_it_goes_on(pkcs11_daemon, tmp_path):
    hsm = SoftHsm(tmp_path / "hsm")
    # SoftHSM waits for its configuration in C_Initialize.
    config = pathlib.Path(hsm.environment["SOFTHSM2_CONF"])
    text = config.read_text()
    config.unlink()
    os.mkfifo(config)
    daemon = pkcs11_daemon(hsm, {"kms.timeout-ms": 500})
    it = first_finding(daemon, "provider-unreachable")
    assert "the provider 'pkcs11' did not answer in time" in it["evidence"]
    problem(daemon.put("/api/tenants/acme"), 503, "kms_timeout")
    begun = time.monotonic()
    done = subprocess.run([program(), "doctor", "--config", daemon.config], capture_output=True,
                          text=True, timeout=60, env=daemon.environment())
    assert done.returncode == 1 and "provider-unreachable" in done.stdout, done
    assert time.monotonic() - begun < 20
    begun = time.monotonic()
    assert daemon.stop() == 0
    assert time.monotonic() - begun < 5
    daemon.start()
    first_finding(daemon, "provider-unreachable")
    config.write_text(text)
    daemon.wait_health("UP")
    daemon.create("acme")


def test_keys_move_between_two_tokens_of_one_module(pkcs11_daemon, tmp_path):
    hsm = SoftHsm(tmp_path / "hsm")
    hsm.add("newer")
    daemon = pkcs11_daemon(hsm)
    tenants = Tenants(daemon, 20)
    daemon.stop()
    daemon.properties |= hsm.properties("newer") | {"betrace.kms.previous-provider": "pkcs11"} | {
        f"betrace.kms.previous.{key}": value
        for key, value in (hsm.properties() | {"pkcs11.pin": PIN}).items()}
    daemon.start()
    done = migrate(daemon)
    assert f"complete: {tenants.keys} of {tenants.keys} keys moved" in done.stdout, done
    daemon.stop()
    daemon.properties = {key: value for key, value in daemon.properties.items()
                         if ".previous" not in key}
    sh("softhsm2-util", "--delete-token", "--token", TOKEN, env=hsm.shell)
    daemon.start()
    tenants.check(daemon)
    assert "without the PIN" not in daemon.log()


def test_of_two_tokens_of_one_label_the_serial_says_which(pkcs11_daemon, tmp_path):
    hsm = SoftHsm(tmp_path / "hsm")
    slots = sh("pkcs11-tool", "--module", SOFTHSM, "--list-token-slots", env=hsm.shell)
    serial = re.search(r"serial num\s+: (\S+)", slots)[1]
    sh("softhsm2-util", "--init-token", "--free", "--label", TOKEN, "--pin", PIN, "--so-pin", PIN,
       env=hsm.shell)
    daemon = pkcs11_daemon(hsm)
    it = first_finding(daemon, "provider-unreachable")
    assert f"more than one token is labelled '{TOKEN}'" in it["evidence"]
    assert f"'{TOKEN}' (serial {serial})" in it["evidence"]
    daemon.stop()
    daemon.properties["pkcs11.token-serial"] = serial
    daemon.start()
    daemon.wait_health("UP")


def test_a_key_that_anybody_may_use_is_warned_of(pkcs11_daemon, tmp_path):
    hsm = SoftHsm(tmp_path / "hsm")
    # As pkcs11-tool makes it when nothing is said.
    hsm.tool("--keygen", "--key-type", "AES:32", "--label", "open")
    daemon = pkcs11_daemon(hsm, {"pkcs11.key-label": "open"})
    daemon.wait_health("UP")
    assert daemon.log_lines("uses the master key 'open' without the PIN: its CKA_PRIVATE is false")


def test_a_key_that_is_missing_is_said_with_the_command_that_makes_it(pkcs11_daemon, tmp_path):
    hsm = SoftHsm(tmp_path / "hsm")
    daemon = pkcs11_daemon(hsm, {"pkcs11.key-label": "misspelt"})
    it = first_finding(daemon, "key-disabled")
    assert "has no AES key labelled 'misspelt'" in it["evidence"]
    keygen = (f"pkcs11-tool --module {SOFTHSM} --token-label '{TOKEN}' --login --keygen --key-type "
              "AES:32 --private --sensitive --label 'misspelt'")
    assert "a new one opens none of them" in it["cause"]
    assert keygen in it["remedy"]
    sh("sh", "-c", f"{keygen} --pin {PIN}", env=hsm.shell)
    daemon.wait_health("UP")


def test_a_wrong_pin_is_tried_once_and_not_shown(pkcs11_daemon, tmp_path):
    hsm = SoftHsm(tmp_path / "hsm")
    wrong = tmp_path / "wrong"
    wrong.write_text("canary-wrong-pin")
    wrong.chmod(0o600)
    daemon = pkcs11_daemon(hsm, {"pkcs11.pin-file": wrong})
    it = first_finding(daemon, "iam-denied")
    assert "CKR_PIN_INCORRECT; pkcs11.pin is not tried again before a restart" in it["evidence"]
    for _ in range(5):
        assert daemon.put("/api/tenants/acme").status_code == 503
    # Had it been tried for each, the token would be locked.
    hsm.tool("--list-objects")
    assert "canary" not in daemon.text() + daemon.log()
