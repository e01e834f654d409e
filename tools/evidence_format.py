"""What tools/verify-evidence.py knows of docs/evidence-format.md: I-JSON and its canonical form,
envelopes, checkpoints, the Merkle tree, and how one span is verified.

Written from that page and what it cites, without a look at the service: that both agree is the
proof that the page suffices. Needs Python 3.11 and the package `cryptography`, and nothing else.
"""

import base64
import datetime
import hashlib
import json
import re
import sys
from collections import namedtuple
from json.encoder import encode_basestring

try:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
except ImportError:
    sys.stderr.write("The package is missing: python3 -m pip install cryptography\n")
    sys.exit(2)

SPAN_TYPE = "application/vnd.betrace.compliance-span.v1+json"
SPKI_PREFIX = bytes.fromhex("302a300506032b6570032100")  # RFC 8410: Ed25519; 32 bytes follow
INTEGER_MAX, DEPTH_MAX, NOTE_MAX, SIGNATURES_MAX = 2**53 - 1, 32, 64 << 10, 100
Checkpoint = namedtuple("Checkpoint", "size root time")


class Refused(Exception):
    """Why something did not verify, in a sentence."""


def need(condition, message):
    if not condition:
        raise Refused(message)


# --- I-JSON (RFC 7493) and its canonical form (RFC 8785) ------------------------------------------

def _object(pairs):
    made = dict(pairs)
    need(len(made) == len(pairs), "a field is twice in an object")
    return made


def _integer(text):
    need(len(text) <= 17 and abs(int(text)) <= INTEGER_MAX, "an integer is beyond 2^53 - 1")
    return int(text)


def _float(text):
    size = abs(float(text))  # which takes NaN and Infinity as well
    need(size <= INTEGER_MAX or 1e21 <= size < float("inf"), f"{text[:32]} is beyond 2^53 - 1")
    return float(text)


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_int=_integer, parse_float=_float,
                            parse_constant=_float)


def read_json(data, exact=False):
    """The value of bytes that are I-JSON (RFC 7493); with `exact` in their canonical form."""
    try:
        value = _DECODER.decode(data.decode("utf-8"))
        same = canonical(value) == data  # refuses lone surrogates, and what is too deep
    except RecursionError:
        raise Refused("nested too deeply") from None
    except ValueError as error:
        raise Refused(f"no I-JSON: {str(error)[:120]}") from None
    need(same or not exact, "the line is not in its canonical form")
    return value


def number_text(number):
    """As ECMAScript writes it (Number::toString); repr() has the same shortest digits."""
    if number == 0:
        return "0"
    mantissa, _, exponent = repr(abs(number)).partition("e")
    before, _, behind = mantissa.partition(".")
    digits = (before + behind).lstrip("0")
    point = len(digits) - len(behind) + int(exponent or 0)
    digits = digits.rstrip("0")
    sign, count = "-" if number < 0 else "", len(digits)
    if count <= point <= 21:
        return sign + digits + "0" * (point - count)
    if 0 < point <= 21:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    return f"{sign}{digits[0]}{'.' * (count > 1)}{digits[1:]}e{point - 1:+d}"


def _text(value, depth=1):
    kind = type(value)
    if kind is str:
        return encode_basestring(value)  # of json: the shortest escapes, nothing else escaped
    if kind is dict or kind is list:
        need(depth <= DEPTH_MAX, "nested too deeply")
        if kind is list:
            return "[%s]" % ",".join([_text(each, depth + 1) for each in value])
        names = sorted(value, key=lambda name: name.encode("utf-16-be"))
        return "{%s}" % ",".join(
            [f"{encode_basestring(name)}:{_text(value[name], depth + 1)}" for name in names])
    if kind is bool or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return str(value) if kind is int else number_text(value)


def canonical(value):
    """Bytes. A lone surrogate is a UnicodeEncodeError, which is a ValueError."""
    return _text(value).encode("utf-8")


# --- what bundles are made of ---------------------------------------------------------------------

def field(record, name, kind, optional=False):
    value = record.get(name) if isinstance(record, dict) else None
    need(type(value) is kind or optional and name not in record,
         f"{name} is missing, or not of the type it has to be")
    return value


def whole(text):
    need(isinstance(text, str) and re.fullmatch(r"0|[1-9][0-9]{0,17}", text),
         "what has to be a whole number is none")
    return int(text)


def unb64(text, what, size=None):
    """RFC 4648 section 4, padded, unused bits zero: bytes have one spelling."""
    try:
        data = base64.b64decode(text, validate=True)
        good = base64.b64encode(data).decode() == text
    except (ValueError, TypeError):
        good = False
    need(good and size in (None, len(data)), f"{what} is not {size or 'some'} bytes in base64")
    return data


RFC3339 = re.compile(r"(\d{4})-(\d\d)-(\d\d)T([01]\d|2[0-3]):([0-5]\d):([0-5]\d|60)(?:\.(\d+))?"
                     r"(?:Z|([+-])([01]\d|2[0-3]):([0-5]\d))", re.ASCII)


def moment(text, what="timestamp"):
    """A pair to compare: seconds, and the decimals without trailing zeros. Second 60 is the next
    minute's first."""
    match = RFC3339.fullmatch(text) if isinstance(text, str) else None
    need(match, f"{what} is not RFC 3339")
    year, month, day, hour, minute, second = map(int, match.groups()[:6])
    decimals, sign, hours, minutes = match.groups(default="")[6:]
    try:  # datetime has no year 0; the calendar repeats itself every 400 years
        days = datetime.date(2000 + year % 400, month, day).toordinal() + year // 400 * 146_097
    except ValueError:
        raise Refused(f"{what} is not RFC 3339") from None
    offset = int(f"{sign}1") * (int(hours) * 60 + int(minutes)) if sign else 0
    return days * 86_400 + (hour * 60 + minute - offset) * 60 + second, decimals.rstrip("0")


def own_time(text, what):
    """A moment that the service itself wrote down: in UTC, to the millisecond."""
    need(isinstance(text, str) and re.fullmatch(r"[^.]{17}[0-5]\d\.\d{3}Z", text, re.ASCII),
         f"{what} is not RFC 3339 in UTC with three decimals")
    return moment(text, what)


def signed_by(key, signature, data):
    try:
        key.verify(signature, data)
        return True
    except InvalidSignature:
        return False


def pae(kind, body):
    """The pre-authentication encoding of DSSE v1."""
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(body), body)


def open_envelope(envelope, kind, keys, what):
    """The payload of a DSSE envelope, and the id of the key that signed it."""
    need(field(envelope, "payloadType", str) == kind, f"{what} is not of type {kind}")
    body = unb64(field(envelope, "payload", str), f"the payload of {what}")
    signatures = field(envelope, "signatures", list)
    need(len(envelope) == 3 and len(signatures) == 1 and isinstance(signatures[0], dict)
         and len(signatures[0]) == 2, f"{what} has other fields, or signatures, than it has to have")
    signer = field(signatures[0], "keyid", str)
    signature = unb64(field(signatures[0], "sig", str), "sig", 64)
    need(signer in keys and signed_by(keys[signer], signature, pae(kind, body)),
         f"{what} is not signed by a key of the service")
    return read_json(body), signer


def spki(text):
    """The bytes of a SubjectPublicKeyInfo in base64."""
    der = unb64(text, "a public key", 44)
    need(der.startswith(SPKI_PREFIX), "a public key is not Ed25519")
    return der


def ed25519(record):
    return Ed25519PublicKey.from_public_bytes(spki(field(record, "publicKey", str))[-32:])


def key_id(record):
    key = field(record, "keyId", str)
    need(re.fullmatch("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", key), "a keyId is no UUID")
    return key


def is_revoked(record):
    status = field(record, "status", str)
    need(status in ("ACTIVE", "DEPRECATED", "REVOKED", "DESTROYED"), "the status of a key is none")
    need((status == "REVOKED") == ("revokedAt" in record), "REVOKED and revokedAt go together")
    if status == "REVOKED":
        own_time(record["revokedAt"], f"revokedAt of {record['keyId']}")
    return status == "REVOKED"


def control_form(text):
    """What has one form is one control."""
    lower = text.translate({upper: upper + 32 for upper in range(65, 91)})
    return re.sub("[._\\- ()/]+", ".", lower).strip(".")


def framework_form(text):
    return control_form(text).replace(".", "")


class LogKey:
    """A verifier key of signed-note: name+hash+base64."""

    def __init__(self, text):
        self.text, (self.name, said, data) = text, (text.split("+", 2) + ["", ""])[:3]
        data = unb64(data, "the log key", 33)
        self.hash = hashlib.sha256(self.name.encode() + b"\n" + data).digest()[:4]
        need(data[0] == 1 and self.hash.hex() == said, "the log key is not what its hash says")
        need(re.fullmatch(r"[^+\0-\x20]+", self.name), "the log key has no name, or blanks in it")
        self.key = Ed25519PublicKey.from_public_bytes(data[1:])


def read_checkpoint(note, log_key, tenant, what="a checkpoint"):
    need(isinstance(note, str) and len(note.encode()) <= NOTE_MAX, f"{what} is no text, or long")
    text, _, signatures = note.rpartition("\n\n")
    good, lines = False, signatures.split("\n")[:-1]
    need(len(lines) <= SIGNATURES_MAX, f"{what} has too many signatures")
    for line in lines:
        mark, name, data = (line.split(" ", 2) + ["", ""])[:3]
        data = unb64(data, f"the signature of {what}")
        need(mark == "\u2014" and len(data) > 4, f"{what} is no signed note")
        if (name, data[:4]) == (log_key.name, log_key.hash):  # others are for others to verify
            good = signed_by(log_key.key, data[4:], text.encode() + b"\n")
            need(good, f"the signature of {what} is wrong")
    need(good and note.endswith("\n"), f"{what} is not signed by the log key")
    lines = text.split("\n")
    need(len(lines) == 4 and lines[3].startswith("time "), f"{what} is not of four lines")
    need(lines[0] == f"{log_key.name}/{tenant}", f"{what} is of another log or tenant")
    own_time(lines[3][5:], f"the time of {what}")
    return Checkpoint(whole(lines[1]), unb64(lines[2], "a root", 32), lines[3][5:])


# --- the tree of RFC 6962 -------------------------------------------------------------------------

def node(left, right):
    return hashlib.sha256(b"\x01" + left + right).digest()


def subtrees(begin, end):
    """The levels of the largest whole subtrees over leaves begin to end - 1, from left to right."""
    while begin < end:
        level = (end - begin).bit_length() - 1
        if begin:
            level = min(level, (begin & -begin).bit_length() - 1)
        yield level
        begin += 1 << level


class Tree:
    """A tree that grows at its right edge, as the whole subtrees that it is made of."""

    def __init__(self):
        self.size, self.stack = 0, []

    def push(self, level, subtree):
        self.size += 1 << level
        while self.stack and self.stack[-1][0] == level:
            subtree, level = node(self.stack.pop()[1], subtree), level + 1
        self.stack.append((level, subtree))

    def fill(self, end, hashes, what):
        levels = list(subtrees(self.size, end))
        need(len(levels) == len(hashes), f"{what}: {len(hashes)} hashes instead of {len(levels)}")
        for level, each in zip(levels, hashes):
            self.push(level, unb64(each, f"a hash of {what}", 32))

    def root(self):
        hashes = [each for _, each in self.stack] or [hashlib.sha256().digest()]
        root = hashes.pop()
        while hashes:
            root = node(hashes.pop(), root)
        return root


def continues(first, second, proof):
    """Whether the log of checkpoint `first` grew into that of `second`: both roots are made again
    by the recursion of RFC 6962, section 2.1.2."""
    proof = list(proof)

    def roots(old, new, first_is_whole):
        if old == new:
            return (first.root,) * 2 if first_is_whole else (proof.pop(0),) * 2
        half = 1 << (new - 1).bit_length() - 1
        if old <= half:
            left = roots(old, half, first_is_whole)
            return left[0], node(left[1], proof.pop(0))
        right, left = roots(old - half, new - half, False), proof.pop(0)
        return node(left, right[0]), node(left, right[1])

    try:
        if first.size == 0:
            return first.root == Tree().root()
        return roots(first.size, second.size, True) == (first.root, second.root) and not proof
    except IndexError:
        return False


# --- spans ----------------------------------------------------------------------------------------

def check_span(span, keys):
    """That a leaf verifies by one of `keys`, Ed25519PublicKey by id; answers that id, or None for
    one without a signature, for which the tree stands."""
    need(isinstance(span, dict), "Malformed: it is no object")
    if span.get("status") == "logged":
        need(not {"signature", "keyId", "algorithm", "leafIndex"} & span.keys(),
             "Malformed: its status is 'logged', and it has what such a leaf has not")
        return None
    need("signature" in span, "Span is not signed")
    need(span.get("status") == "signed", "Malformed: status is not 'signed'")
    need(span.get("algorithm") == "Ed25519", "Malformed: algorithm is not 'Ed25519'")
    signature = unb64(span["signature"], "Malformed: signature", 64)
    key = span.get("keyId")
    need(isinstance(key, str), "Malformed: keyId is no string")
    need(key in keys, f"Unknown key: {key[:64]}")
    body = canonical({name: value for name, value in span.items() if name != "signature"})
    need(signed_by(keys[key], signature, pae(SPAN_TYPE, body)), "Signature invalid or tampered")
    return key
