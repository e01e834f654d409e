"""Rightly signed bundles that no service writes, in the places where two readers of one page could
differ: both verifiers refuse each, and say the same of a checkpoint that is held.
"""

import hashlib
import json

import pytest

from bundle_maker import K2, K3, NAME, Maker, b64, consistency, key_of, leaf, logged_leaf, raw
from harness.verifier import form, run_ours, run_python, verify
from test_bundle_forgeries import SECOND, good, logged, maker, older, record_by, with_keys

SUB_MILLISECOND = "2026-11-26T23:59:59.9995Z"


def attestation_with(made, **changed):
    record = record_by(made, "service")
    return with_keys(made, record | {"attestation": record["attestation"] | changed})


def signatures_of(made):
    return record_by(made, "service")["attestation"]["signatures"]


def third_key(made, **changed):
    """No leaf is by it."""
    return with_keys(made, made.record(K3, key_of("k3")) | changed)


def service_keys(made, **changed):
    first, = made.manifest()["serviceKeys"]
    return good(made, serviceKeys=[first | changed])


def noted(made, text):
    """The newest checkpoint is another text, rightly signed."""
    signature = b64(made.log_data()[1] + made.log.sign(text.encode()))
    return good(made, checkpoint=f"{text}\n\u2014 {NAME} {signature}\n")


def text_of(note):
    return note[:note.index("\n\n") + 1]


def with_line(made, line):
    """The newest checkpoint, of which another line of signatures stands first."""
    return good(made, checkpoint=made.checkpoint().replace("\n\n", f"\n\n{line}\n", 1))


def wrong_signature(made):
    return f"\u2014 {NAME} {b64(made.log_data()[1] + bytes(64))}"


def another_log_key(made, name):
    """And the checkpoint by it, older than the revocation."""
    data = b"\1" + raw(made.log)
    key_hash = hashlib.sha256(name.encode() + b"\n" + data).digest()[:4]
    text = text_of(older(made, 12, origin=f"{name}/acme"))
    signature = b64(key_hash + made.log.sign(text.encode()))
    return made.manifest(checkpoint=f"{text}\n\u2014 {name} {signature}\n",
                         logKey=f"{name}+{key_hash.hex()}+{b64(data)}")


def of_no_tenant():
    made = Maker()
    made.tenant = ""
    return made.bundle()


def in_capitals(made):
    """The leaf's key is spelled in another way than the list of keys spells it."""
    made.leaves[7] = leaf(made.keys[K2], K2.upper())
    return good(made)


FORGERIES = {
    "an attestation with a field more": (lambda m: attestation_with(m, note="x"), "other fields"),
    "an attestation with two signatures": (
        lambda m: attestation_with(m, signatures=signatures_of(m) * 2), "other fields"),
    "an attestation by a key under another's id": (
        lambda m: with_keys(m, record_by(m, "service", SECOND)), "not signed by a key"),
    "an attestation whose signature has a field more": (
        lambda m: attestation_with(m, signatures=[signatures_of(m)[0] | {"alg": "x"}]),
        "other fields"),
    "a revoked key that signed nothing and says no time": (
        lambda m: third_key(m, status="REVOKED", revokedAt="never"), f"revokedAt of {K3} is not"),
    "a revoked key whose time is a number": (
        lambda m: third_key(m, status="REVOKED", revokedAt=7), f"revokedAt of {K3} is not"),
    "a revoked key whose time is more exact than the service's": (
        lambda m: third_key(m, status="REVOKED", revokedAt=SUB_MILLISECOND), "three decimals"),
    "a key id in capitals": (lambda m: third_key(m, keyId=K3.upper()), "is no UUID"),
    "a leaf whose key id is in capitals": (in_capitals, "Unknown key"),
    "a service key of another status": (lambda m: service_keys(m, status="LOST"), "status of a key"),
    "a service key that says it is not revoked": (
        lambda m: service_keys(m, revokedAt=None), "go together"),
    "a period from null": (
        lambda m: m.manifest(6, 8, to=m.revoked_at) | {"from": None}, "from is missing, or not"),
    "a period with an offset": (
        lambda m: m.manifest(6, 8, **{"from": "2026-11-26T00:00:00.000+01:00"}), "three decimals"),
    "a period from an empty text": (lambda m: m.manifest(6, 8, **{"from": ""}), "three decimals"),
    "a checkpoint whose time has four decimals": (
        lambda m: good(m, checkpoint=m.checkpoint(time=SUB_MILLISECOND)), "three decimals"),
    "a checkpoint whose time is a leap second": (
        lambda m: good(m, checkpoint=m.checkpoint(time="2026-11-27T01:00:60.000Z")),
        "three decimals"),
    "a checkpoint of five lines": (
        lambda m: noted(m, text_of(m.checkpoint()) + "more\n"), "not of four lines"),
    "a checkpoint with a wrong signature by its log beside the right one": (
        lambda m: with_line(m, wrong_signature(m)), "is wrong"),
    "a checkpoint with a line among its signatures that is none": (
        lambda m: with_line(m, "\u2014 nobody !"), "the signature of a checkpoint is not"),
    "a checkpoint with too many signatures": (
        lambda m: with_line(m, "\n".join(["\u2014 witness AAAAAGFiY2Q="] * 100)), "too many"),
    "a log key whose name has a plus": (lambda m: another_log_key(m, "a+b"), "log key is not"),
    "a log key without a name": (lambda m: another_log_key(m, ""), "no name"),
    "a log key with a blank in its name": (lambda m: another_log_key(m, "a b"), "no name"),
    "a consistency that is a number": (lambda m: good(m, consistency=7), "consistency is missing"),
    "a consistency without a proof": (
        lambda m: good(m, consistency={"first": "3"}), "proof is missing"),
    "a consistency from nowhere": (lambda m: good(m, consistency={"proof": []}), "whole number"),
    "a consistency of hashes that are too short": (
        lambda m: good(m, consistency={"first": "3", "proof": [b64(bytes(31))]}), "not 32 bytes"),
    "sizes of nineteen digits": (
        lambda m: m.manifest(12, 12) | {
            "begin": str(2**60), "end": str(2**60), "left": [b64(bytes(32))],
            "checkpoint": m.checkpoint(2**60, root=bytes(32))}, "whole number"),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_both_refuse_a_rightly_signed_bundle_with(name, tmp_path):
    made = maker()
    forge, reason = FORGERIES[name]
    bundle = made.bundle(forge(made))
    found = verify(bundle)
    assert any(reason in each["message"] for each in found.problems), found.problems
    (tmp_path / "bundle").write_bytes(bundle)
    assert run_python(tmp_path / "bundle").returncode == 1
    ours = run_ours(tmp_path / "bundle")
    assert ours.returncode in (1, 2), ours.stdout


def test_both_refuse_a_bundle_of_no_tenant(tmp_path):
    (tmp_path / "bundle").write_bytes(of_no_tenant())
    assert "tenantId is no tenant's name" in verify(of_no_tenant()).problems[0]["message"]
    assert run_ours(tmp_path / "bundle").returncode == 1


def test_both_pass_over_the_signatures_of_witnesses(tmp_path):
    bundle = maker().bundle(with_line(maker(), "\u2014 witness.example AAAAAGFiY2Q="))
    (tmp_path / "bundle").write_bytes(bundle)
    assert verify(bundle).problems == []
    assert run_ours(tmp_path / "bundle").returncode == 0


def test_both_say_the_same_of_a_checkpoint_that_is_held(tmp_path):
    made, bundle = maker(), maker().bundle(good(maker()))
    more = maker().add()
    proof = [b64(each) for each in consistency(3, made.leaves)]
    linked = made.bundle(made.manifest(6, 8, consistency={"first": "3", "proof": proof}))
    for data, note, said in (
            (bundle, made.checkpoint(3), True), (linked, made.checkpoint(3), True),
            (linked, made.checkpoint(4), None), (bundle, made.checkpoint(3, root=bytes(32)), False),
            (bundle, more.checkpoint(time="2026-11-27T00:30:00.000Z"), False),
            (bundle, more.checkpoint(time="2026-11-27T01:30:00.000Z"), None)):
        (tmp_path / "bundle").write_bytes(data)
        (tmp_path / "held").write_text(note)
        options = tmp_path / "bundle", "--json", "--checkpoint", tmp_path / "held"
        ours, theirs = run_ours(*options), run_python(*options)
        assert ours.returncode == theirs.returncode == (0 if said else 1)
        size = form.whole(note.split("\n")[1])
        for each in (ours, theirs):
            assert json.loads(each.stdout)["held"] == {"size": size, "consistent": said}


def test_both_count_the_same_outcomes_and_no_more_controls_than_ten_thousand(tmp_path):
    made = Maker()
    for outcome in ("success", "failure", "denied", None):
        made.add(outcome=outcome, control="CC1_1")
    made.leaves += [logged_leaf(control=f"x{number}", outcome="success") for number in range(10_001)]
    made.leaves += [logged_leaf(control="cc1.1", outcome="success")]
    (tmp_path / "bundle").write_bytes(made.bundle())
    ours, theirs = (json.loads(run(tmp_path / "bundle", "--json").stdout)
                    for run in (run_ours, run_python))
    rows = {(each["framework"], each["control"]): each for each in ours["byControl"]}
    assert len(rows) == 10_001 and ours["valid"] and theirs["valid"]
    for (framework, control), row in rows.items():
        counts = {name: row[name] for name in ("success", "failure", "other") if row[name]}
        assert theirs["byControl"][framework].pop(control) == counts
        if control in ("CC1_1", "others"):
            assert counts == ({"success": 2} if control == "others" else {
                "success": 2, "failure": 1, "other": 2})
    assert not any(theirs["byControl"].values())


def test_a_checkpoint_of_other_line_ends_or_bytes_is_none_to_both(tmp_path):
    (tmp_path / "bundle").write_bytes(logged(maker()))
    note = maker().checkpoint(5).encode()
    for bad in (note.replace(b"\n", b"\r\n"), b"\xff" + note, note.replace(b"\n\n", b"\n"), b""):
        (tmp_path / "held").write_bytes(bad)
        options = tmp_path / "bundle", "--checkpoint", tmp_path / "held"
        assert run_ours(*options).returncode == run_python(*options).returncode == 2, bad


def test_both_say_which_keys_were_given_and_are_the_bundles(tmp_path):
    made = maker()
    (tmp_path / "bundle").write_bytes(made.bundle(good(made)))
    other = b64(form.SPKI_PREFIX + raw(key_of("other")))
    ours_is = b64(form.SPKI_PREFIX + raw(made.service))
    for key, right in ((other, False), (ours_is, True)):
        options = tmp_path / "bundle", "--json", "--service-key", key
        for done in (run_ours(*options), run_python(*options)):
            assert done.returncode == (0 if right else 1)
            assert json.loads(done.stdout)["serviceKeyPinned"] is right
