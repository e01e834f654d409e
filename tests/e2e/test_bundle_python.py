"""tools/verify-evidence.py, the second verifier, on bundles of the real daemon: they verify, and no
random damage to one does, nor ends in a traceback.
"""

import base64
import json
import random

import pytest
import rfc8785

from bundle_maker import envelope, key_of
from conftest import TORTURE
from harness.daemon import Daemon
from harness.verifier import form, run_ours, run_python, verify
from test_evidence import BATCH, SIGN, random_value, span

MUTATIONS = 20_000 if TORTURE else 2_000
OURS_TOO = MUTATIONS // 10


class Evidence:
    """Spans of two tenants whose keys were rotated and revoked while they came, checkpoints that a
    reader kept meanwhile (text by tenant and size), and bundles."""

    tenants = ("acme", "other")

    def __init__(self, daemon):
        self.daemon, self.rng, self.day = daemon, random.Random(20261127), 10
        self.held = {tenant: {} for tenant in self.tenants}
        for step in range(7):
            for tenant in self.tenants:
                self.sign(tenant, 50)
            if step in (1, 3):
                self.keep()
                key = self.active("acme")
                daemon.ok("POST", f"/api/tenants/acme/keys/{key}/revoke", json={"reason": "x"})
            if step in (2, 5):
                self.keep()
                for tenant in self.tenants:
                    daemon.ok("POST", f"/api/tenants/{tenant}/rotate")
            self.day += 1

    def sign(self, tenant, count):
        """A day's spans, not in the order of their timestamps."""
        asked = []
        for _ in range(count):
            time = f"{self.rng.randrange(24):02}:{self.rng.randrange(60):02}"
            asked.append(span(tenant, timestamp=f"2026-11-{self.day}T{time}:60.25Z",
                              control=self.rng.choice(["CC6_1", "CC7_2"]),
                              metadata={"value": random_value(self.rng)}))
        signed = self.daemon.ok("POST", SIGN, json={"spans": asked})["spans"]
        assert all(each["status"] == "signed" for each in signed)

    def active(self, tenant):
        return next(key["keyId"] for key in self.daemon.public_keys(tenant)
                    if key["status"] == "ACTIVE")

    def keep(self):
        for tenant in self.tenants:
            note = self.daemon.get(f"/api/tenants/{tenant}/evidence/checkpoint").text
            self.held[tenant][int(note.split("\n")[1])] = note

    def bundle(self, tenant, query=""):
        """Its lines."""
        head = self.daemon.ok("GET", f"/api/tenants/{tenant}/evidence/bundle?{query}")
        begin, end, lines = int(head["begin"]), int(head["end"]), [head["head"].encode() + b"\n"]
        while begin < end:
            path = f"/api/tenants/{tenant}/evidence/leaves?begin={begin}&end={end}"
            some = self.daemon.get(path).content.splitlines(keepends=True)
            lines, begin = lines + some, begin + len(some)
        return lines


@pytest.fixture(scope="module")
def evidence(tmp_path_factory):
    daemon = Daemon(tmp_path_factory.mktemp("evidence"),
                    {"betrace.kms.tenants.auto-create": "true"}).start()
    try:
        yield Evidence(daemon)
    finally:
        assert daemon.stop() == 0


@pytest.fixture
def written(evidence, tmp_path):
    """A maker of files: the bundle of a tenant."""
    def write(tenant="acme", query="", lines=None):
        path = tmp_path / f"{tenant}-{len(list(tmp_path.iterdir()))}"
        path.write_bytes(b"".join(lines or evidence.bundle(tenant, query)))
        return path
    return write


def messages(found):
    return [each["message"] for each in found.problems]


def test_whole_bundles_and_those_of_a_period_verify(evidence):
    for tenant in Evidence.tenants:
        for query, leaves in (("", 350), ("from=2026-11-12&to=2026-11-13", 100),
                              ("from=2026-11-16T12:00:00Z", None), ("from=2030-01-01", 0)):
            found = verify(b"".join(evidence.bundle(tenant, query)))
            assert found.problems == [], (tenant, query)
            assert found.valid_spans == found.leaves and leaves in (None, found.leaves)
            counted = sum(found.groups.values()) + found.outside
            assert counted == sum(found.signed_with.values()) == found.leaves


def test_what_the_command_exports_verifies(evidence, tmp_path):
    held, out = tmp_path / "held", tmp_path / "bundle"
    held.write_text(evidence.held["other"][150])
    for more in ([], ["--from", "2026-11-12", "--to", "2026-11-15"], ["--checkpoint", held]):
        done = evidence.daemon.cli("evidence", "export", "--tenant", "other", "-o", out, *more)
        assert done.returncode == 0, done.stderr
        done = run_python(out, *more[-2:] if held in more else [])
        assert done.returncode == 0, done.stdout


def test_the_log_continues_every_checkpoint_that_was_kept(evidence):
    for tenant in Evidence.tenants:
        other = Evidence.tenants[tenant == "acme"]
        for size, note in evidence.held[tenant].items():
            for query in ("", f"from=2026-11-16&held={size}", f"to=2026-11-11&held={size}"):
                found = verify(b"".join(evidence.bundle(tenant, query)), held=note)
                assert (found.problems, found.consistent) == ([], True), (tenant, size, query)
            found = verify(b"".join(evidence.bundle(tenant, "from=2026-11-16")), held=note)
            assert found.consistent is None or size == 300
            if size < 300:
                assert f"no proof from {size} leaves on" in messages(found)[0]
            found = verify(b"".join(evidence.bundle(other)), held=note)
            assert "of another log or tenant" in messages(found)[0]


def test_a_checkpoint_that_is_newer_than_the_bundle_is_not_called_consistent(evidence):
    old = b"".join(evidence.bundle("acme"))
    evidence.sign("acme", 1)
    note = evidence.daemon.get("/api/tenants/acme/evidence/checkpoint").text
    found = verify(old, held=note)
    assert found.consistent is None
    assert "the bundle is older than the checkpoint that was given" in messages(found)[0]


def test_leaves_of_a_key_that_was_revoked_later_verify_by_an_older_checkpoint(evidence):
    found = verify(b"".join(evidence.bundle("acme")))
    assert len(found.proven) == 2  # revoked keys
    assert sum(found.signed_with[key] for key in found.proven) == 150
    assert found.problems == []


def test_the_program_reports_to_people_and_to_programs(evidence, written, tmp_path):
    path, held = written(), tmp_path / "held"
    held.write_text(evidence.held["acme"][100])
    service = evidence.daemon.ok("GET", "/api/public-keys")["keys"][0]
    log_key = evidence.daemon.ok("GET", "/api/compliance/log-key")["key"]
    done = run_python(path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("VERIFIED: all 35")
    for said in ("tenant       acme", " soc2 CC6_1 success", "REVOKED, revoked 2026-", log_key,
                 "taken on trust", "This does not prove ", "--checkpoint", "--service-key"):
        assert said in done.stdout
    for key in (service["publicKey"], service["publicKeyPem"]):
        done = run_python(path, "--checkpoint", held, "--service-key", key, "--log-key", log_key)
        assert done.returncode == 0, done.stdout
        assert "on trust" not in done.stdout and "--checkpoint" not in done.stdout
    done = run_python(path, "--json", "--checkpoint", held, "--log-key", log_key)
    answer = json.loads(done.stdout)
    assert set(answer) == {"valid", "tenantId", "leaves", "validSpans", "loggedSpans",
                           "problems", "outsidePeriod", "checkpoint",
                           "held", "serviceKeyPinned", "logKeyPinned", "byControl"}
    assert (answer["valid"], answer["tenantId"], answer["problems"]) == (True, "acme", [])
    assert (answer["serviceKeyPinned"], answer["logKeyPinned"]) == (False, True)
    assert answer["held"] == {"size": 100, "consistent": True}
    assert sum(answer["byControl"]["soc2"]["CC7_2"].values()) + sum(
        answer["byControl"]["soc2"]["CC6_1"].values()) == answer["leaves"] == answer["validSpans"]


def test_problems_name_their_line_and_end_with_1_usage_with_2(evidence, written, tmp_path):
    lines = evidence.bundle("other")
    lines[7] = lines[7].replace(b'"success"', b'"failure"')
    bad = written("other", lines=lines)
    done = run_python(bad)
    assert done.returncode == 1 and done.stdout.startswith("NOT VERIFIED: 2 problems")
    assert "line 8: Signature invalid or tampered\n" in done.stdout
    answer = json.loads(run_python(bad, "--json").stdout)
    assert answer["problems"][0] == {"line": 8, "index": 6,
                                     "message": "Signature invalid or tampered"}
    assert (answer["leaves"], answer["validSpans"], answer["held"]) == (350, 349, None)
    many = written("other", lines=lines[:1] + [b"{}\n"] * 350)
    answer = json.loads(run_python(many, "--json").stdout)
    assert (len(answer["problems"]), answer["validSpans"]) == (100, 0)
    for wrong in ([], [tmp_path / "missing"], [bad, "--log-key", "x"], [bad, "--service-key", "x"],
                  [bad, "--checkpoint", tmp_path / "missing"], [bad, "--checkpoint", bad],
                  [tmp_path]):
        done = run_python(*wrong)
        assert done.returncode == 2 and "Traceback" not in done.stderr, wrong
    (tmp_path / "cryptography").mkdir()
    (tmp_path / "cryptography/__init__.py").write_text("raise ImportError")
    done = run_python(bad, env={"PYTHONPATH": str(tmp_path)})
    assert done.returncode == 2 and "pip install cryptography" in done.stderr


def test_keys_that_were_given_must_be_those_of_the_bundle(evidence):
    bundle = b"".join(evidence.bundle("acme", "from=2026-11-16"))
    spki = base64.b64decode(evidence.daemon.public_keys("acme")[0]["publicKey"])
    assert "another service key" in messages(verify(bundle, service_key=spki))[0]
    assert "the log key is another" in messages(verify(bundle, log_key="a+b+c"))[0]


def flip(rng, data):
    place = rng.randrange(len(data))
    return data[:place] + bytes([data[place] ^ 1 << rng.randrange(8)]) + data[place + 1:]


def resigned(line, key, change):
    """The first line with another manifest, by a key that is not the service's."""
    head = json.loads(line)
    manifest = json.loads(base64.b64decode(head["manifest"]["payload"]))
    signer = head["manifest"]["signatures"][0]["keyid"]
    change(manifest)
    head["manifest"] = envelope("evidence-bundle.v1+json", manifest, key, signer)
    return rfc8785.dumps(head) + b"\n"


def forget_revocation(manifest):
    for key in manifest["keys"]:
        key.pop("revokedAt", None)
        key["status"] = "DEPRECATED"


def otlp_span(number, depth, of_event, kind):
    """With a value in arrays or maps, as deep as asked, on the span or on an event of it."""
    value = {"stringValue": "x"}
    for _ in range(depth):
        value = {"arrayValue": {"values": [value]}} if kind == "array" else {
            "kvlistValue": {"values": [{"key": "k", "value": value}]}}
    said = {"framework": "soc2", "control": "CC6_1", "tenant_id": "acme"}
    attributes = [{"key": f"compliance.{name}", "value": {"stringValue": text}}
                  for name, text in said.items()]
    deep = [{"key": "deep", "value": value}]
    return {"traceId": "5b8efff798038103d269b633813fc60c", "spanId": f"{number + 1:016x}",
            "name": "x", "startTimeUnixNano": "1795745563158000000",
            "attributes": attributes + (deep if not of_event else []),
            "events": [{"name": "e", "attributes": deep}] if of_event else []}


def test_however_deep_the_values_of_an_otlp_span_are_a_bundle_with_it_verifies(daemons):
    daemon = daemons()
    daemon.create("acme")
    spans = [otlp_span(depth * 10 + at, depth, of_event, kind) for depth in range(20)
             for at, (of_event, kind) in enumerate(
                 (of_event, kind) for of_event in (True, False) for kind in ("array", "map"))]
    for span_ in spans:
        request = {"resourceSpans": [{"scopeSpans": [{"spans": [span_]}]}]}
        assert daemon.post("/v1/traces", json=request).status_code == 200
    head = daemon.ok("GET", "/api/tenants/acme/evidence/bundle")
    leaves = daemon.get(f"/api/tenants/acme/evidence/leaves?begin=0&end={head['end']}").content
    found = verify(head["head"].encode() + b"\n" + leaves)
    assert (found.problems, found.leaves) == ([], 13 * 4)
    answer = daemon.ok("POST", BATCH, json={"spans": [json.loads(leaf)
                                                      for leaf in leaves.splitlines()]})
    assert (answer["valid"], answer["invalid"]) == (13 * 4, 0)


class Damage:
    """Random damage to the lines of a bundle. Each method answers bytes that must not verify."""

    def __init__(self, rng, bundles, older):
        self.rng, self.bundles, self.older = rng, bundles, older
        self.kinds = [name for name in dir(self) if name.startswith("with_")]

    def some(self):
        """A bundle's lines, to be changed, and the number of one of its leaves."""
        lines = list(self.rng.choice(self.bundles))
        return lines, self.rng.randrange(1, len(lines))

    def edit(self, **fields):
        lines, at = self.some()
        leaf = json.loads(lines[at])
        for name, value in fields.items():
            leaf.pop(name)
            if value is not None:
                leaf[name] = value
        lines[at] = rfc8785.dumps(leaf) + b"\n"
        return b"".join(lines)

    def re_sign(self, change):
        lines, _ = self.some()
        lines[0] = resigned(lines[0], key_of("thief"), change)
        return b"".join(lines)

    def with_a_bit_flipped(self):
        return flip(self.rng, b"".join(self.some()[0]))

    def with_a_bit_of_the_head_flipped(self):
        lines, _ = self.some()
        return flip(self.rng, lines[0]) + b"".join(lines[1:])

    def with_a_bit_of_a_leaf_flipped(self):
        lines, at = self.some()
        lines[at] = flip(self.rng, lines[at])
        return b"".join(lines)

    def with_a_line_dropped(self):
        lines, _ = self.some()
        lines.pop(self.rng.randrange(len(lines)))
        return b"".join(lines)

    def with_a_line_twice(self):
        lines, _ = self.some()
        at = self.rng.randrange(len(lines))
        return b"".join(lines[:at] + [lines[at]] + lines[at:])

    def with_two_leaves_in_each_others_place(self):
        lines, one = self.some()
        two = self.rng.choice([at for at in range(1, len(lines)) if at != one])
        lines[one], lines[two] = lines[two], lines[one]
        return b"".join(lines)

    def with_a_leaf_instead_of_another(self):
        lines, one = self.some()
        two = self.rng.choice([at for at in range(1, len(lines)) if at != one])
        lines[one] = lines[two]
        return b"".join(lines)

    def with_its_end_cut_off(self):
        whole = b"".join(self.some()[0])
        return whole[:self.rng.randrange(len(whole))]

    def with_more_at_its_end(self):
        return b"".join(self.some()[0]) + self.rng.choice([b"\n", b" ", b"{}\n", b"\0"])

    def with_an_insertion(self):
        whole = b"".join(self.some()[0])
        at = self.rng.randrange(len(whole))
        return whole[:at] + self.rng.choice([b" ", b"\n", b"0", b"\r", b"\0", b","]) + whole[at:]

    def with_a_leaf_of_another_tenant(self):
        lines, at = self.some()
        theirs = [each for each in self.bundles if each[0] != lines[0]]
        lines[at] = self.rng.choice(self.rng.choice(theirs)[1:])
        return b"".join(lines)

    def with_the_head_of_another_bundle(self):
        lines, _ = self.some()
        lines[0] = self.rng.choice([each[0] for each in self.bundles if each[0] != lines[0]])
        return b"".join(lines)

    def with_a_signature_stripped(self):
        return self.edit(signature=None)

    def with_a_signature_of_another_leaf(self):
        lines, at = self.some()
        other = json.loads(lines[at - 1 or at + 1])
        lines[at] = rfc8785.dumps(json.loads(lines[at]) | {"signature": other["signature"]}) + b"\n"
        return b"".join(lines)

    def with_a_status_downgraded(self):
        return self.edit(status=self.rng.choice(["unsigned", "signing_failed", None]))

    def with_an_older_checkpoint(self):
        note = self.rng.choice(self.older)
        return self.re_sign(lambda manifest: manifest.update(checkpoint=note))

    def with_its_manifest_by_a_wrong_key(self):
        return self.re_sign(lambda manifest: None)

    def with_another_hash_beside_its_leaves(self):
        def change(manifest):
            hashes = manifest["left"] + manifest["right"]
            some = self.rng.randrange(len(hashes)) if hashes else 0
            hashes[some:some + 1] = [base64.b64encode(self.rng.randbytes(32)).decode()]
            manifest["left"] = hashes[:len(manifest["left"])]
            manifest["right"] = hashes[len(manifest["left"]):]
        return self.re_sign(change)

    def with_a_revocation_forgotten(self):
        return self.re_sign(forget_revocation)


def test_no_damage_to_a_bundle_goes_unseen_and_none_crashes_the_verifier(evidence, tmp_path):
    rng = random.Random(1127)
    bundles = [evidence.bundle(tenant, query) for tenant in Evidence.tenants
               for query in ("", "from=2026-11-13&to=2026-11-13", "from=2026-11-16")]
    for lines in bundles:
        assert verify(b"".join(lines)).problems == []
    damage = Damage(rng, bundles, [note for held in evidence.held.values()
                                   for note in held.values()])
    for number in range(MUTATIONS):
        kind = damage.kinds[number % len(damage.kinds)]
        bad = getattr(damage, kind)()
        if bad in (b"".join(lines) for lines in bundles):
            continue
        (tmp_path / "bad").write_bytes(bad)
        found = verify(bad)
        assert found.problem_count and found.problems, f"unseen, a bundle {kind}: {tmp_path}/bad"
        json.dumps(found.as_json())
        if number < OURS_TOO:
            done = run_ours(tmp_path / "bad")
            assert done.returncode in (1, 2), f"unseen by ours, a bundle {kind}: {tmp_path}/bad"


def test_both_verifiers_agree_on_damaged_spans(evidence):
    rng, daemon = random.Random(7), evidence.daemon
    daemon.create("agreed")
    asked = [span("agreed", metadata={"value": random_value(rng)}) for _ in range(200)]
    signed = daemon.ok("POST", SIGN, json={"spans": asked})["spans"]
    keys = {key["keyId"]: form.ed25519(key) for key in daemon.public_keys("agreed")}
    for number, one in enumerate(signed):
        name = rng.choice(list(one))
        if number % 2:
            one[name] = rng.choice([None, 1, "", [], "signed", one["signature"][:-4] + "AA=="])
        elif number % 4:
            del one[name]
    results = daemon.ok("POST", BATCH, json={"spans": signed})["results"]
    for one, theirs in zip(signed, results):
        try:
            form.check_span(one, keys)
            ours = True
        except form.Refused:
            ours = False
        assert (ours and one.get("tenantId") == "agreed") == theirs["valid"], one
