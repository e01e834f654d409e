#!/usr/bin/env python3
"""A second verifier of evidence bundles: this file, evidence_format.py beside it, the package
`cryptography`, and nothing of the service. Does what docs/evidence-format.md says under *To verify
a bundle*, with one leaf in memory at a time.

Exit codes: 0 all verified, 1 something did not, 2 usage, or a file that cannot be read.
"""

import argparse
import base64
import hashlib
import json
import pathlib
import re
import signal
import sys

from evidence_format import (SPKI_PREFIX, LogKey, Refused, Tree, check_span, continues,
                             control_form, ed25519, field, framework_form, is_revoked, key_id,
                             moment, need, open_envelope, own_time, read_checkpoint, read_json,
                             spki, unb64, whole)

FORMAT = "betrace-evidence-bundle/1"
KEY_TYPE = "application/vnd.betrace.public-key.v1+json"
BUNDLE_TYPE = "application/vnd.betrace.evidence-bundle.v1+json"
LEAF_MAX, HEAD_MAX, PROBLEMS_MAX, GROUPS_MAX = 65_535, 64 << 20, 100, 10_000


class Bundle:
    """A bundle, and what was found in it. `held` is the text of a checkpoint, `service_key` a
    SubjectPublicKeyInfo, `log_key` a verifier key. The steps are those of the page."""

    def __init__(self, file, held=None, service_key=None, log_key=None):
        self.file, self.held_note, self.pins = file, held, (service_key, log_key)
        self.problems, self.problem_count, self.leaves, self.valid_spans = [], 0, 0, 0
        self.tenant = self.checkpoint = self.held = self.consistent = self.tree = None
        self.groups, self.spelling, self.signed_with = {}, {}, {}
        self.outside, self.agreed = 0, None

    def problem(self, message, line=None, index=None):
        self.problem_count += 1
        if len(self.problems) < PROBLEMS_MAX:
            self.problems.append({"line": line, "index": index, "message": message})

    def verify(self):
        try:
            self.read_manifest()
            self.read_keys()
            self.read_checkpoints()
            if self.read_leaves():
                self.tree.fill(self.checkpoint.size, self.right, "right")
                self.compare()
                self.look_at_held()
        except Refused as refused:
            self.problem(str(refused), 1)
        if not self.checkpoint or self.agreed != self.checkpoint.size:  # nothing stands for these
            self.valid_spans -= self.signed_with.pop(None, 0)
        return self

    def read_manifest(self):
        """Step 1. Whose keys sign is in what they sign: read first, believed when they did."""
        line = self.file.readline(HEAD_MAX + 1)
        need(line.endswith(b"\n"), "the first line has no end")
        head = read_json(line[:-1], exact=True)
        need(field(head, "format", str) == FORMAT, f"the format is not {FORMAT}")
        envelope = field(head, "manifest", dict)
        need(len(head) == 2, "the first line has other fields than it has to have")
        body = read_json(unb64(field(envelope, "payload", str), "the payload of the manifest"))
        records = {key_id(each): each for each in field(body, "serviceKeys", list)}
        need(len(records) == len(body["serviceKeys"]), "a service key is there twice")
        keys = {key: ed25519(record) for key, record in records.items()}
        self.service_keys = {key: keys[key] for key in records if not is_revoked(records[key])}
        self.manifest, signer = open_envelope(envelope, BUNDLE_TYPE, self.service_keys,
                                              "the manifest")
        self.tenant, self.signer = field(body, "tenantId", str), spki(records[signer]["publicKey"])
        need(re.fullmatch(r"[A-Za-z0-9._:-]{1,128}", self.tenant), "tenantId is no tenant's name")
        need(self.pins[0] in (None, self.signer),
             "the manifest is signed by another service key than the one that was given")

    def read_keys(self):
        """Step 2."""
        self.keys, self.records = {}, {}
        for each in field(self.manifest, "keys", list):
            key = key_id(each)
            need(key not in self.keys, f"key {key} is there twice")
            self.keys[key], self.records[key], what = ed25519(each), each, f"attestation of {key}"
            said, _ = open_envelope(field(each, "attestation", dict), KEY_TYPE, self.service_keys,
                                    what)
            raw = unb64(field(said, "publicKey", str), "publicKey", 32)
            need(SPKI_PREFIX + raw == spki(each["publicKey"]) and said.get("keyId") == key
                 and said.get("tenantId") == self.tenant, f"{what} is of another key")

    def read_checkpoints(self):
        """Step 3, and what of it is for steps 5 to 7."""
        manifest = self.manifest
        self.log_key = LogKey(field(manifest, "logKey", str))
        need(self.pins[1] in (None, self.log_key.text),
             "the log key is another than the one that was given")
        self.checkpoint = newest = self.note(field(manifest, "checkpoint", str))
        self.begin, self.end = whole(manifest.get("begin")), whole(manifest.get("end"))
        need(self.begin <= self.end <= newest.size, "begin, end and the size are not in order")
        self.period = [field(manifest, name, str, optional=True) for name in ("from", "to")]
        self.bounds = [None if text is None else own_time(text, "from or to")
                       for text in self.period]
        need(self.period != [None, None] or (self.begin, self.end) == (0, newest.size),
             "there is no period, and yet leaves are left out")
        self.expected, self.agreed = {newest.size: [newest]}, self.begin
        for each in field(manifest, "checkpoints", list):
            older = self.note(each)
            need(self.begin <= older.size <= self.end or older.size == newest.size,
                 f"a checkpoint of {older.size} leaves cannot be compared: they are not all here")
            self.expected.setdefault(older.size, []).append(older)
        self.proven = {}  # of a revoked key: before which leaf a checkpoint proves the age
        for key, record in self.records.items():
            if is_revoked(record):
                limit = moment(record.get("revokedAt"), f"revokedAt of {key}")
                self.proven[key] = max((each.size for same in self.expected.values()
                                        for each in same if moment(each.time) < limit), default=0)
        if self.held_note is not None:
            self.held = self.note(self.held_note, "the checkpoint that was given")
        said = field(manifest, "consistency", dict, optional=True)
        self.proof = None if said is None else (whole(said.get("first")), [
            unb64(each, "a hash of the proof", 32) for each in field(said, "proof", list)])
        self.right, self.tree = field(manifest, "right", list), Tree()
        self.tree.fill(self.begin, field(manifest, "left", list), "left")

    def note(self, note, what="a checkpoint"):
        return read_checkpoint(note, self.log_key, self.tenant, what)

    def read_leaves(self):
        """Steps 4 to 6; answers whether there were as many as there have to be."""
        self.compare()
        for index in range(self.begin, self.end):
            number = index - self.begin + 2
            line = self.file.readline(LEAF_MAX + 1)
            if not line.endswith(b"\n"):
                self.problem("the leaf is too long" if len(line) > LEAF_MAX else
                             "the file ends before this leaf does", number, index)
                return False
            self.leaves += 1
            try:
                self.read_leaf(line[:-1], index)
                self.valid_spans += 1
            except Refused as refused:
                self.problem(str(refused), number, index)
            self.tree.push(0, hashlib.sha256(b"\x00" + line[:-1]).digest())
            self.compare()
        if self.file.read(1):
            self.problem("there is more behind the last leaf", self.end - self.begin + 2)
        return True

    def read_leaf(self, leaf, index):
        span = read_json(leaf, exact=True)
        key = check_span(span, self.keys)
        need(span.get("tenantId") == self.tenant, "the span is another tenant's")
        for name in ("framework", "control", "outcome", "evidenceType"):
            need(field(span, name, str, optional=name in ("outcome", "evidenceType")) != "",
                 f"{name} is empty")
            need(name not in span or span[name] is not None, f"{name} is null")
        group = span["framework"], span["control"]
        time, (begin, end) = moment(span.get("timestamp")), self.bounds
        need(index < self.proven.get(key, self.end), "Key revoked at "
             f"{self.records.get(key, {}).get('revokedAt')}, and nothing proves the span older than"
             " that")
        self.signed_with[key] = self.signed_with.get(key, 0) + 1
        if begin and time < begin or end and time >= end:
            self.outside += 1
            return
        form = framework_form(group[0]), control_form(group[1])
        if form in self.spelling or len(self.spelling) < GROUPS_MAX:
            group = self.spelling.setdefault(form, group)
        else:
            group = "others", "others"
        outcome = span.get("outcome")
        group += (outcome if outcome in ("success", "failure") else "other",)
        self.groups[group] = self.groups.get(group, 0) + 1

    def compare(self):
        """Step 6, and of step 7 what the tree can tell."""
        size, held = self.tree.size, self.held
        if held and size == held.size:
            self.consistent = self.tree.root() == held.root
        for each in self.expected.pop(size, ()):
            if self.tree.root() == each.root:
                self.agreed = size
            elif self.agreed is not None:  # what follows cannot agree
                self.problem(f"from leaf {self.agreed} on these are not those of the checkpoint of"
                             f" {size} leaves, {each.time}", min(size, self.end) - self.begin + 1)
                self.agreed = None

    def look_at_held(self):
        """Step 7."""
        held, newest = self.held, self.checkpoint
        if held and held.size > newest.size:
            need(moment(held.time) < moment(newest.time), "the bundle is older than the checkpoint"
                 f" that was given, of {held.size} leaves: they cannot be compared")
            self.consistent = False  # the log had these leaves, and later had fewer
        elif held and self.consistent is None:
            need(self.proof and self.proof[0] == held.size, "the bundle has no proof from"
                 f" {held.size} leaves on: have it exported with the checkpoint that was given")
            self.consistent = continues(held, newest, self.proof[1])
        need(self.consistent is not False, "the log does not continue the checkpoint that was"
             " given: spans were changed or dropped before it")

    def as_json(self):
        by_control = {}
        for (framework, control, outcome), count in sorted(self.groups.items()):
            by_control.setdefault(framework, {}).setdefault(control, {})[outcome] = count
        newest, pinned = self.checkpoint, [self.tree and pin is not None for pin in self.pins]
        return {
            "valid": not self.problem_count, "tenantId": self.tenant, "leaves": self.leaves,
            "validSpans": self.valid_spans, "loggedSpans": self.signed_with.get(None, 0),
            "outsidePeriod": self.outside, "problems": self.problems,
            "checkpoint": newest and {"size": newest.size, "time": newest.time,
                                      "root": base64.b64encode(newest.root).decode()},
            "held": self.held and {"size": self.held.size, "consistent": self.consistent},
            "serviceKeyPinned": bool(pinned[0]), "logKeyPinned": bool(pinned[1]),
            "byControl": by_control}


def report(bundle):
    """Lines for people."""
    good, newest = not bundle.problem_count, bundle.checkpoint
    yield (f"VERIFIED: all {bundle.leaves:,} spans" if good else
           f"NOT VERIFIED: {bundle.problem_count:,} problems; {bundle.valid_spans:,} of the"
           f" {bundle.leaves:,} spans that were read are valid by themselves")
    if bundle.tree:
        start, stop = bundle.period
        trust = ["taken on trust: compare it with what the service published" if pin is None
                 else "the one that was given" for pin in bundle.pins]
        yield f"tenant       {bundle.tenant}"
        yield f"period       from {start or 'the beginning'} until {stop or 'the end'}"
        yield f"leaves       {bundle.begin} until {bundle.end} of {newest.size}"
        yield f"checkpoint   {newest.time}, root {base64.b64encode(newest.root).decode()}"
        if bundle.held:
            verdict = {True: "the log continues it", False: "the log does NOT continue it"}.get(
                bundle.consistent, "not compared")
            yield f"given        {bundle.held.size} leaves, {bundle.held.time}: {verdict}"
        for group, count in sorted(bundle.groups.items()):
            yield f"spans        {count:9,} {' '.join(group)}"
        yield f"outside      {bundle.outside:9,} more, by their timestamp, of the period"
        for key, record in bundle.records.items():
            revoked = f", revoked {record.get('revokedAt')}" if key in bundle.proven else ""
            count = bundle.signed_with.get(key, 0)
            yield f"key          {key} {record['status']}{revoked}: {count:,} spans"
        if None in bundle.signed_with:
            yield f"no signature {bundle.signed_with[None]:,} spans, for which the log stands"
        fingerprint = hashlib.sha256(bundle.signer).hexdigest()
        yield f"service key  SHA-256 {fingerprint}, {trust[0]}"
        yield f"log key      {bundle.log_key.text}, {trust[1]}"
    yield from (f"line {each['line']}: {each['message']}" for each in bundle.problems)
    if bundle.problem_count > PROBLEMS_MAX:
        yield f"and {bundle.problem_count - PROBLEMS_MAX:,} more"
    limits = ["that what the spans say is true, or that whatever happened became a span"]
    if not bundle.consistent:
        limits.append("that the service dropped or rewrote nothing before it made this checkpoint"
                      " (give one that you keep: --checkpoint)")
    if bundle.tree and any(bundle.period):
        limits.append("that no leaf which was left out is of the period, which the service says")
    if None in bundle.signed_with:
        limits.append("that the tenant's key signed each span: for some the log's key stands")
    if None in bundle.pins:
        limits.append("whose service and log this is (--service-key, --log-key)")
    yield f"This does not prove {'; nor '.join(limits)}."


def text_or_file(text):
    return pathlib.Path(text[1:]).read_text(encoding="utf-8") if text.startswith("@") else text


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="verify-evidence.py", description=(
        "Verifies an evidence bundle. Exit codes: 0 all verified, 1 something did not, 2 usage."))
    parser.add_argument("file", metavar="FILE")
    parser.add_argument("--checkpoint", metavar="FILE", help="one that you keep: a signed note")
    parser.add_argument("--service-key", metavar="KEY|@FILE",
                        help="as in GET /api/public-keys, PEM or base64")
    parser.add_argument("--log-key", metavar="KEY|@FILE", help="as in GET /api/compliance/log-key")
    parser.add_argument("--json", action="store_true", help="a JSON object, not a report")
    options = parser.parse_args(arguments)
    held, service_key, log_key = options.checkpoint, options.service_key, options.log_key
    try:
        if held is not None:
            held = pathlib.Path(held).read_bytes().decode()
            need("\n\n\u2014 " in held, f"there is no checkpoint in {options.checkpoint}")
        if service_key is not None:
            text = re.sub("-----[A-Z ]+-----", "", text_or_file(service_key))
            service_key = spki("".join(text.split()))
        if log_key is not None:
            log_key = LogKey(text_or_file(log_key).strip()).text
        with open(options.file, "rb") as file:
            bundle = Bundle(file, held, service_key, log_key).verify()
    except (OSError, ValueError, Refused) as error:
        print(f"verify-evidence: {error}", file=sys.stderr)
        return 2
    sys.stdout.reconfigure(errors="backslashreplace")
    if options.json:
        print(json.dumps(bundle.as_json(), indent=1))
    else:  # what a span says can hold anything, and goes to a terminal
        for line in report(bundle):
            print("".join(c if c.isprintable() else ascii(c)[1:-1] for c in line))
    return 1 if bundle.problem_count else 0


if __name__ == "__main__":
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    sys.exit(main())
