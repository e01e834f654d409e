"""Bundles whose signatures are right and whose contents are not: both verifiers refuse each. The
vectors of spans, and what is no I-JSON, are here as well.
"""

import hashlib
import json
import random

import pytest
import rfc8785

from bundle_maker import (K1, K2, K3, SERVICE, SPKI, Maker, b64, consistency, envelope, key_of,
                          leaf, logged_leaf, raw, tree_hash, whole_subtrees)
from harness.process import ROOT
from harness.verifier import form, run_ours, run_python, verifier, verify

SECOND = "01a219eb-c6a1-7d62-b0dd-a85f6c46ab00"
VECTORS = json.loads((ROOT / "tests/data/evidence/vectors.json").read_text())


def maker():
    """Twelve leaves: 0 to 4 by k1, which was revoked, the others by k2, each on its own day."""
    made = Maker()
    for day in range(12):
        made.add(K1 if day < 5 else K2, timestamp=f"2026-11-{10 + day}T12:00:00Z")
    return made


def older(made, size=5, time="2026-11-26T23:59:59.999Z", **options):
    return made.checkpoint(size, time, **options)


def good(made, **changed):
    return made.manifest(**{"checkpoints": [older(made)]} | changed)


def with_keys(made, *records):
    return good(made, keys=[*records, *made.manifest()["keys"]])


def leaves_with(made, at, **fields):
    """The leaf `at` is another one, in the tree too: the manifest is made after it."""
    key = K1 if at < 5 else K2
    made.leaves[at] = leaf(made.keys[key], key, **fields)
    return made.bundle(good(made))


def logged(made, **fields):
    """Leaf 7 has no signature, in the tree too."""
    made.leaves[7] = logged_leaf(**fields)
    return made.bundle(good(made))


def not_canonical(made):
    made.leaves[7] = made.leaves[7].replace(b'","', b'", "', 1)
    return made.bundle(good(made))


def raw_leaf(made, text):
    made.leaves[7] = text
    return made.bundle(good(made))


def revoked(made, **changed):
    records = made.manifest()["keys"]
    return good(made, keys=[records[0], {name: value for name, value in (records[1] | changed)
                                         .items() if value is not None}])


def attested(made, **said):
    return with_keys(made, made.record(K3, key_of("k3"), **said))


def record_by(made, signer, signer_id=SERVICE):
    record = made.record(K3, key_of("k3"))
    claims = {"keyId": K3, "tenantId": "acme", "publicKey": b64(raw(key_of("k3")))}
    return record | {"attestation": envelope("public-key.v1+json", claims, key_of(signer),
                                             signer_id)}


def second_service(made, manifest, **changed):
    """Lists another service key before the one that signs."""
    second = made.record(SECOND, key_of("second")) | changed
    return manifest | {"serviceKeys": [second, *manifest["serviceKeys"]]}


def head_with(made, **changed):
    head, rest = made.bundle(good(made)).split(b"\n", 1)
    return rfc8785.dumps(json.loads(head) | changed) + b"\n" + rest


def envelope_with(made, **changed):
    head = json.loads(made.bundle(good(made)).split(b"\n", 1)[0])
    return head_with(made, manifest=head["manifest"] | changed)


def signature_of(made):
    head = json.loads(made.bundle(good(made)).split(b"\n", 1)[0])
    return head["manifest"]["signatures"][0]


FORGERIES = {
    # What the manifest's envelope and its keys say.
    "the manifest is another type's": (
        lambda m: m.bundle(good(m), kind="evidence-bundle.v2+json"), "is not of type"),
    "the manifest is by a stranger": (
        lambda m: m.bundle(good(m), key=key_of("thief")), "not signed by a key of the service"),
    "the service key that signs is revoked": (
        lambda m: m.bundle(good(m, serviceKeys=[m.record(SERVICE, m.service, "REVOKED") | {
            "revokedAt": m.revoked_at}])), "not signed by a key of the service"),
    "no service key": (lambda m: m.bundle(good(m, serviceKeys=[])), "not signed by a key"),
    "an attestation by a stranger": (
        lambda m: m.bundle(with_keys(m, record_by(m, "thief"))), "not signed by a key"),
    "an attestation of another tenant's key": (
        lambda m: m.bundle(attested(m, tenantId="other")), "is of another key"),
    "an attestation of another key id": (
        lambda m: m.bundle(attested(m, keyId=K1)), "is of another key"),
    "an attestation of other bytes": (
        lambda m: m.bundle(attested(m, publicKey=b64(raw(key_of("k4"))))), "is of another key"),
    "an attestation by a service key that is revoked": (
        lambda m: m.bundle(second_service(m, with_keys(m, record_by(m, "second", SECOND)),
                                          status="REVOKED", revokedAt=m.revoked_at)),
        "not signed by a key"),
    "an attestation that is missing": (
        lambda m: m.bundle(with_keys(m, m.record(K3, key_of("k3")) | {"attestation": None})),
        "attestation is missing"),
    "a key twice": (
        lambda m: m.bundle(with_keys(m, m.record(K2, m.keys[K2]))), "is there twice"),
    "a public key of another algorithm": (
        lambda m: m.bundle(with_keys(m, m.record(K3, key_of("k3")) | {
            "publicKey": b64(SPKI[:8] + b"\x6f" + SPKI[9:] + bytes(32))})), "is not Ed25519"),
    # Checkpoints.
    "a checkpoint by a stranger": (
        lambda m: m.bundle(good(m, checkpoint=m.checkpoint(key=key_of("thief")))), "is wrong"),
    "a checkpoint of another tenant": (
        lambda m: m.bundle(good(m, checkpoint=m.checkpoint(origin="betrace-kms-test/other"))),
        "of another log or tenant"),
    "an older checkpoint of another log": (
        lambda m: m.bundle(good(m, checkpoints=[older(m, origin="other/acme")])),
        "of another log or tenant"),
    "a checkpoint of another root": (
        lambda m: m.bundle(good(m, checkpoint=m.checkpoint(root=bytes(32)))), "are not those of"),
    "an older checkpoint of another root": (
        lambda m: m.bundle(good(m, checkpoints=[older(m, root=bytes(32))])), "are not those of"),
    "an older checkpoint of a size that is not here": (
        lambda m: m.bundle(m.manifest(6, 8, checkpoints=[m.checkpoint(9)])), "cannot be compared"),
    "an older checkpoint before the leaves": (
        lambda m: m.bundle(m.manifest(6, 8, checkpoints=[m.checkpoint(3)])), "cannot be compared"),
    "a checkpoint that is smaller than its leaves": (
        lambda m: m.bundle(good(m, checkpoint=m.checkpoint(11))), "not in order"),
    "a log key that is not what its hash says": (
        lambda m: m.bundle(good(m, logKey=m.log_key().replace("test+", "test2+"))), "its hash"),
    "a checkpoint whose time is not in UTC": (
        lambda m: m.bundle(good(m, checkpoint=m.checkpoint(time="2026-11-27T02:00:00+01:00"))),
        "in UTC"),
    "a checkpoint without its time": (
        lambda m: m.bundle(good(m, checkpoint=m.checkpoint(time="yesterday"))), "not RFC 3339"),
    "checkpoints that are no list": (lambda m: m.bundle(good(m, checkpoints={})), "checkpoints"),
    "no list of checkpoints": (lambda m: m.bundle(good(m, checkpoints=None)), "checkpoints"),
    "no list of keys, and no leaves": (
        lambda m: m.bundle(m.manifest(12, 12, keys=None)), "keys is missing"),
    "no list of the tree on the left": (lambda m: m.bundle(good(m, left=None)), "left is missing"),
    "a period from no time": (
        lambda m: m.bundle(m.manifest(6, 8, **{"from": "yesterday"})), "from or to is not RFC"),
    "a period to a number": (lambda m: m.bundle(m.manifest(6, 8, to=7)), "to is missing, or not"),
    # Revoked keys.
    "no checkpoint is older than the revocation": (
        lambda m: m.bundle(m.manifest()), "nothing proves"),
    "the checkpoint is as old as the revocation": (
        lambda m: m.bundle(good(m, checkpoints=[older(m, time=m.revoked_at)])), "nothing proves"),
    "the older checkpoint has one leaf less": (
        lambda m: m.bundle(good(m, checkpoints=[older(m, size=4)])), "nothing proves"),
    "a revoked key that does not say when": (
        lambda m: m.bundle(revoked(m, revokedAt=None)), "go together"),
    "a revoked key whose time is none": (
        lambda m: m.bundle(revoked(m, revokedAt="never")), f"revokedAt of {K1} is not RFC 3339"),
    "a key of another status": (lambda m: m.bundle(revoked(m, status="LOST")), "status of a key"),
    "an active key that says it is not revoked": (
        lambda m: m.bundle(with_keys(m, m.record(K3, key_of("k3")) | {"revokedAt": None})),
        "go together"),
    "a revoked key that is called active": (
        lambda m: m.bundle(m.manifest(keys=[m.record(K2, m.keys[K2]), m.record(
            K1, m.keys[K1]) | {"revokedAt": m.revoked_at}])), "go together"),
    # Leaves.
    "a leaf of another tenant": (
        lambda m: leaves_with(m, 7, tenantId="other"), "another tenant's"),
    "a leaf with another status": (
        lambda m: leaves_with(m, 7, status="unsigned"), "status is not 'signed'"),
    "a leaf with another algorithm": (
        lambda m: leaves_with(m, 7, algorithm="Ed448"), "algorithm is not"),
    "a leaf of a key that is not here": (
        lambda m: leaves_with(m, 7, keyId=K3), f"Unknown key: {K3}"),
    "a leaf of no framework": (lambda m: leaves_with(m, 7, framework=""), "framework is empty"),
    "a leaf of no control": (lambda m: leaves_with(m, 7, control=""), "control is empty"),
    "a leaf of an outcome that is none": (
        lambda m: leaves_with(m, 7, outcome=""), "outcome is empty"),
    "a leaf whose type of evidence is a number": (
        lambda m: leaves_with(m, 7, evidenceType=7), "evidenceType is missing, or not"),
    "a leaf without its time": (lambda m: leaves_with(m, 7, timestamp="now"), "not RFC 3339"),
    "a leaf that is not in its canonical form": (not_canonical, "not in its canonical form"),
    "a leaf with a field twice": (lambda m: raw_leaf(m, b'{"a":1,"a":1}'), "twice"),
    "a leaf that is no object": (lambda m: raw_leaf(m, b"[]"), "it is no object"),
    "a leaf that is nothing": (lambda m: raw_leaf(m, b""), "no I-JSON"),
    "a leaf that is too long": (
        lambda m: leaves_with(m, 7, metadata={"x": "y" * 65_536}), "too long"),
    "a leaf that is too deep": (
        lambda m: raw_leaf(m, b'{"a":' * 32 + b"{}" + b"}" * 32), "too deep"),
    "a leaf that is far too deep": (lambda m: raw_leaf(m, b"[" * 60_000), "too deep"),
    "a leaf less": (lambda m: m.bundle(good(m), m.leaves[:-1]), "the file ends before"),
    "a leaf more": (lambda m: m.bundle(good(m), m.leaves * 2), "more behind the last leaf"),
    "a logged leaf with a key": (lambda m: logged(m, keyId=K2), "its status is 'logged'"),
    "a logged leaf with a signature": (
        lambda m: logged(m, signature=b64(bytes(64))), "its status is 'logged'"),
    "a logged leaf that says its place": (
        lambda m: logged(m, leafIndex="7"), "its status is 'logged'"),
    "a logged leaf of another tenant": (
        lambda m: logged(m, tenantId="other"), "another tenant's"),
    "a logged leaf that the tree has not": (
        lambda m: m.bundle(good(m), m.leaves[:7] + [logged_leaf()] + m.leaves[8:]), "not those of"),
    "a leaf in another's place": (
        lambda m: m.bundle(good(m), m.leaves[:6] + m.leaves[7:5:-1] + m.leaves[8:]),
        "not those of"),
    # The tree.
    "left has another hash": (
        lambda m: m.bundle(m.manifest(6, 8, left=whole_subtrees(m.leaves, 1, 7))), "left: "),
    "left has hashes of other leaves": (
        lambda m: m.bundle(m.manifest(6, 8, left=[b64(bytes(32))] * 2)), "are not those of"),
    "right has hashes of other leaves": (
        lambda m: m.bundle(m.manifest(6, 8, right=[b64(bytes(32))])), "are not those of"),
    "right has a hash more": (
        lambda m: m.bundle(m.manifest(6, 8, right=[b64(bytes(32))] * 2)), "right: "),
    "right has a hash that is too short": (
        lambda m: m.bundle(m.manifest(6, 8, right=[b64(bytes(31))])), "not 32 bytes"),
    "leaves are left out and there is no period": (
        lambda m: m.bundle({name: value for name, value in m.manifest(6, 8).items()
                            if name != "from"}), "there is no period"),
    "begin is behind end": (
        lambda m: m.bundle(good(m) | {"begin": "9", "end": "3"}), "not in order"),
    "end is not in its shortest form": (
        lambda m: m.bundle(good(m) | {"end": "012"}), "whole number"),
    "end is a number": (lambda m: m.bundle(good(m) | {"end": 12}), "whole number"),
    # The first line, of which the manifest's signature says nothing.
    "another format": (lambda m: head_with(m, format="betrace-evidence-bundle/2"), "the format is"),
    "a field beside the manifest": (lambda m: head_with(m, note="x"), "other fields"),
    "a field in the manifest's envelope": (lambda m: envelope_with(m, note="x"), "other fields"),
    "a second signature": (lambda m: envelope_with(m, signatures=[signature_of(m)] * 2), "other"),
    "a field beside the signature": (
        lambda m: envelope_with(m, signatures=[signature_of(m) | {"alg": "x"}]), "other fields"),
    "a signature that is a number": (lambda m: envelope_with(m, signatures=[7]), "other fields"),
    "another key's id beside the signature": (
        lambda m: envelope_with(m, signatures=[signature_of(m) | {"keyid": K2}]), "not signed by"),
    "bytes in another spelling of base64": (
        lambda m: envelope_with(m, signatures=[signature_of(m) | {
            "sig": signature_of(m)["sig"][:-3] + "x=="}]), "not 64 bytes in base64"),
    "blanks in the first line": (
        lambda m: m.bundle(good(m)).replace(b'":', b'": ', 1), "not in its canonical form"),
}

@pytest.mark.parametrize("name", FORGERIES)
def test_a_rightly_signed_bundle_is_refused_because(name, tmp_path):
    forge, reason = FORGERIES[name]
    bundle = forge(maker())
    found = verify(bundle)
    assert found.problem_count and any(reason in each["message"] for each in found.problems), (
        found.problems)
    (tmp_path / "bundle").write_bytes(bundle)
    assert run_python(tmp_path / "bundle").returncode == 1
    assert run_ours(tmp_path / "bundle").returncode in (1, 2), "ours takes it"


def test_right_bundles_of_any_range_verify_by_both(tmp_path):
    made = maker()
    ranges = [(0, 12), (5, 12), (6, 8), (7, 8), (5, 5), (12, 12), (8, 12), (11, 12)]
    for begin, end in ranges:
        changed = {} if (begin, end) == (0, 12) else made.manifest(begin, end)
        checkpoints = [older(made)] if begin <= 5 else [made.checkpoint(end)]
        bundle = made.bundle(made.manifest() | changed | {"checkpoints": checkpoints})
        (tmp_path / "bundle").write_bytes(bundle)
        found, ours = verify(bundle), run_ours(tmp_path / "bundle")
        assert (found.problems, found.valid_spans) == ([], end - begin), (begin, end)
        assert ours.returncode == 0, (begin, end, ours.stdout)


def test_each_service_key_may_sign_and_attest(tmp_path):
    made = maker()
    for manifest in (second_service(made, good(made)),
                     second_service(made, with_keys(made, record_by(made, "second", SECOND)))):
        (tmp_path / "bundle").write_bytes(made.bundle(manifest))
        assert verify(made.bundle(manifest)).problems == []
        ours = run_ours(tmp_path / "bundle", "--service-key", b64(SPKI + raw(made.service)))
        assert ours.returncode == 0, ours.stdout


def test_both_count_by_control_whatever_its_spelling_and_in_the_period(tmp_path):
    made = Maker()
    for day, framework, control in ((10, "SOC 2", "cc6-1"), (11, "soc2", "CC6.1"),
                                    (12, "soc2", "CC6_1"), (13, "soc2", "CC7_1")):
        made.add(K2, timestamp=f"2026-11-{day}T12:00:00Z", framework=framework, control=control)
    bundle = made.bundle(made.manifest(**{"from": "2026-11-11T00:00:00.000Z"}))
    (tmp_path / "bundle").write_bytes(bundle)
    ours, theirs = json.loads(run_ours(tmp_path / "bundle", "--json").stdout), verify(bundle).as_json()
    assert ours["byControl"] == [
        {"framework": "soc2", "control": control, "success": count, "failure": 0, "other": 0}
        for control, count in (("CC6.1", 2), ("CC7_1", 1))]
    assert theirs["byControl"] == {"soc2": {"CC6.1": {"success": 2}, "CC7_1": {"success": 1}}}
    assert ours["outsidePeriod"] == theirs["outsidePeriod"] == 1


def test_a_logged_leaf_verifies_by_the_tree_and_is_counted(tmp_path):
    (tmp_path / "bundle").write_bytes(logged(maker()))
    found, ours = verify(logged(maker())), run_ours(tmp_path / "bundle", "--json")
    said = json.loads(ours.stdout)
    assert found.problems == said["problems"] == []
    for each in (found.as_json(), said):
        assert (each["valid"], each["validSpans"], each["loggedSpans"]) == (True, 12, 1)
    # Where the tree is another one, nothing stands for it.
    wrong = maker().bundle(good(maker()), maker().leaves[:7] + [logged_leaf()] + maker().leaves[8:])
    (tmp_path / "bundle").write_bytes(wrong)
    for each in (verify(wrong).as_json(), json.loads(run_ours(tmp_path / "bundle", "--json").stdout)):
        assert (each["valid"], each["validSpans"], each["loggedSpans"]) == (False, 11, 0)


def test_a_checkpoint_that_is_held_shows_that_the_log_was_made_anew(tmp_path):
    made, other = maker(), maker()
    other.leaves[2] = leaf(other.keys[K1], K1, outcome="failure")
    for size in range(13):
        for begin, end in ((0, 12), (6, 8)):
            proof = consistency(size, made.leaves) if 0 < size < 12 else []
            said = {"first": str(size), "proof": [b64(each) for each in proof]}
            manifest = made.manifest(begin, end, consistency=said)
            if begin == 0:
                manifest |= {"checkpoints": [older(made)]}
            bundle = made.bundle(manifest)
            (tmp_path / "bundle").write_bytes(bundle)
            for log, right in ((made, True), (other, size < 3)):
                note = log.checkpoint(size)
                (tmp_path / "held").write_text(note)
                found = verify(bundle, held=note)
                ours = run_ours(tmp_path / "bundle", "--checkpoint", tmp_path / "held")
                assert found.consistent is right, (size, begin, found.problems)
                assert (found.problem_count == 0) is right
                assert ours.returncode == (0 if right else 1), (size, begin, ours.stdout)


def test_a_log_that_has_fewer_leaves_than_it_had_is_refused():
    made = maker()
    more = maker().add().checkpoint(time="2026-11-27T00:30:00.000Z")
    found = verify(made.bundle(good(made)), held=more)
    assert found.consistent is False and found.problem_count == 1


def test_wrong_proofs_of_consistency_are_refused():
    made, rng = maker(), random.Random(5)
    for size in range(1, 12):
        right = consistency(size, made.leaves)
        wrong = [right[:-1], right + [bytes(32)], right[1:], right[::-1] if len(right) > 1 else [],
                 *([*right[:at], rng.randbytes(32), *right[at + 1:]] for at in range(len(right)))]
        first = form.Checkpoint(size, tree_hash(made.leaves[:size]), "")
        second = form.Checkpoint(12, tree_hash(made.leaves), "")
        assert form.continues(first, second, right)
        for proof in wrong:
            assert not form.continues(first, second, proof), (size, proof)


def replaced(rng, value):
    """`value` with something else in one random place."""
    if isinstance(value, (dict, list)) and value and rng.random() < 0.8:
        some = rng.choice(list(value) if isinstance(value, dict) else range(len(value)))
        copy = value.copy()
        if rng.random() < 0.1:
            copy.pop(some)
        else:
            copy[some] = replaced(rng, value[some])
        return copy
    return rng.choice([None, True, -1, 1.5, "", "0", "AAAA", "a\n\nb\n", [], {}, [[]], {"a": []},
                       "9" * 30, "\u2014", "2026-11-27T00:00:00Z"])


def test_no_signed_manifest_however_odd_crashes_the_verifier():
    made, rng = maker(), random.Random(9)
    right = good(made)
    for _ in range(1_500):
        found = verify(made.bundle(replaced(rng, right), made.leaves))
        json.dumps(found.as_json())
        list(verifier.report(found))


def test_vectors_of_spans_verify_and_their_mutations_do_not():
    key = bytes.fromhex(VECTORS["publicKey"])
    keys = {VECTORS["keyId"]: form.ed25519({"publicKey": b64(SPKI + key)})}
    for vector in VECTORS["vectors"]:
        signed = form.read_json(vector["signed"].encode(), exact=True)
        assert form.check_span(signed, keys) == VECTORS["keyId"], vector["name"]
        spaced = json.dumps(signed, indent=1, ensure_ascii=True).encode()
        assert form.canonical(form.read_json(spaced)) == vector["signed"].encode()
    for mutation in VECTORS["mutations"]:
        with pytest.raises(form.Refused) as refused:
            form.check_span(mutation["span"], keys)
        assert str(refused.value) == mutation["message"], mutation["name"]
    logged, tree = VECTORS["logged"], form.Tree()
    for leaf_text in logged["leaves"]:
        assert form.check_span(form.read_json(leaf_text.encode(), exact=True), keys) is None
        tree.push(0, hashlib.sha256(b"\0" + leaf_text.encode()).digest())
    stood_for = form.read_checkpoint(logged["checkpoint"], form.LogKey(logged["logKey"]), "acme")
    assert (stood_for.size, stood_for.root) == (len(logged["leaves"]), tree.root())


@pytest.mark.parametrize("text", [
    '{"a":1,"a":1}', '{"a":{"b":1,"\\u0062":2}}', '"\\ud800"', '{"\\udc00":1}', "9007199254740992",
    "-9007199254740992", "9007199254740992.0", "1e20", "-1e20", "1e400", "NaN", "-Infinity", "01",
    "1.", "+1", "[1,]", "'a'", '"\t"', "\ufeff1", "", "nul", "[" * 33 + "]" * 33, "[" * 50_000,
    "1" * 5_000, '{"a":1}x', '"\\x"'])
def test_what_is_no_i_json_is_refused(text):
    with pytest.raises(form.Refused):
        form.read_json(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(form.Refused):
        form.read_json(b"\xff" + text.encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize("text, canonical", [
    ("1e21", "1e+21"), ("-0", "0"), ("-0.0", "0"), ("9007199254740991.0", "9007199254740991"),
    ("1.50", "1.5"), ("1e-7", "1e-7"), ("0.000001", "0.000001"), ("5e-324", "5e-324"),
    ("123456789.125e3", "123456789125"), ("[" * 32 + "]" * 32, "[" * 32 + "]" * 32),
    ('{"\\ufb33":1,"\\ud83d\\ude00":2}', '{"\U0001f600":2,"\ufb33":1}'),
    ('"\\u001F\\u007f\\/\\u0008"', '"\\u001f\x7f/\\b"'), ('"\uffff"', '"\uffff"')])
def test_the_canonical_form_is_that_of_rfc_8785(text, canonical):
    assert form.canonical(form.read_json(text.encode())) == canonical.encode()


def test_numbers_are_written_as_another_implementation_writes_them():
    rng = random.Random(3)
    for _ in range(20_000):
        number = rng.uniform(-1, 1) * 10.0 ** rng.randint(-310, 15)
        for each in (number, number * 1e30, round(number, 3)):
            if abs(each) < 2**53 or abs(each) >= 1e21:
                assert form.canonical(each) == rfc8785.dumps(each)


def test_times_are_compared_to_the_last_decimal_and_across_offsets():
    moments = ["0000-02-29T00:00:00Z", "1969-12-31T23:59:59.9Z", "2026-11-26T23:59:59.4999999999Z",
               "2026-11-27T00:59:59.5+01:00", "2026-11-26T22:59:60-01:00",
               "2026-11-27T00:00:00.00001Z"]
    assert sorted(moments, key=form.moment) == moments
    assert form.moment("2026-11-26T23:59:60Z") == form.moment("2026-11-27T00:00:00.000Z")
    for wrong in ("2026-02-29T00:00:00Z", "2026-11-26T24:00:00Z", "2026-11-26T23:60:00Z", "",
                  "2026-11-26T23:59:61Z", "2026-11-26t23:59:59Z", "2026-11-26T23:59:59", None, 7,
                  "2026-11-26T23:59:59.Z", "2026-11-26T23:59:59+24:00", "2026-11-26T23:59:59Z\n"):
        with pytest.raises(form.Refused):
            form.moment(wrong)
