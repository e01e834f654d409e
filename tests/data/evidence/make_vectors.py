#!/usr/bin/env python3
"""Vectors of docs/evidence-format.md by an implementation that shares nothing with ours: PyPI `rfc8785`
0.1.4 for the canonical form, `cryptography` for Ed25519. Writes vectors.json beside it.

Each vector: a span as it comes, the seed and id of the key, and the signed span's text. `mutations`
are signed spans that must not verify, and why. `logged`: the same spans as leaves that stand for
signatures, the tree over them, and its checkpoint, by a log's key from the same seed.
"""

import base64
import copy
import hashlib
import json
import pathlib

import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

TYPE = b"application/vnd.betrace.compliance-span.v1+json"
KEY_ID = "01a219eb-c6a1-7d62-b0dd-a85f6c46ab9e"
SEED = hashlib.sha256(b"a seed for vectors, and for nothing else").digest()
PLAIN = {"framework": "soc2", "control": "CC6_1", "evidenceType": "AUDIT_TRAIL",
         "tenantId": "acme", "timestamp": "2026-11-26T22:00:00Z", "outcome": "success",
         "traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": "b7ad6b7169203331",
         "metadata": {"user": "alice"}}
SPANS = {
    "as in the contract": PLAIN,
    "the least": {"framework": "hipaa", "control": "164.312(b)", "tenantId": "a.b_c:d-1",
                  "timestamp": "2026-11-26T22:00:00.123456789+02:00"},
    "unknown fields are signed": PLAIN | {"zeta": None, "Alpha": [True, {"b": 1, "a": 2}], "": ""},
    "numbers": PLAIN | {"metadata": {"n": [0, -0.0, 1.0, 1.5, 1e21, 1e-7, 0.000001, 5e-324,
                                           9007199254740991, -9007199254740991, 333333333.33333329,
                                           1.7976931348623157e308]}},
    "unicode": PLAIN | {"metadata": {"\u20ac": "\u00e9e\u0301", "\U0001f511": "\ud83d\ude00"
                                     .encode("utf-16", "surrogatepass").decode("utf-16"),
                                     "\ufb33": "\u2028\u007f\u0001\b\t\n\f\r\"\\/", "\r": 1}},
    "fields that sort around ours": PLAIN | {"a": 1, "algorithms": 2, "key": 3, "keyIdentity": 4,
                                             "signatur": 5, "signatures": 6, "statu": 7,
                                             "status2": 8},
    "deep": PLAIN | {"metadata": {"a": [[[[{"b": [{}, []]}]]]]}},
}


def sign(span, seed=SEED, key_id=KEY_ID, status="signed"):
    whole = span | {"status": status, "algorithm": "Ed25519", "keyId": key_id}
    body = rfc8785.dumps(whole)
    statement = b"DSSEv1 %d %s %d %s" % (len(TYPE), TYPE, len(body), body)
    signature = Ed25519PrivateKey.from_private_bytes(seed).sign(statement)
    return whole | {"signature": base64.b64encode(signature).decode()}


def mutations():
    signed = sign(PLAIN)
    tampered = "Signature invalid or tampered"

    def changed(why, message=tampered, **fields):
        return {"name": why, "message": message, "span": signed | fields}

    def without(field, message=tampered):
        rest = {name: value for name, value in signed.items() if name != field}
        return {"name": f"without {field}", "message": message, "span": rest}

    moved = copy.deepcopy(signed)
    moved["metadata"], moved["user"] = {}, "alice"
    yield changed("another control", control="CC6_2")
    yield changed("another time", timestamp="2026-11-26T22:00:01Z")
    yield changed("one field more", extra=0)
    yield {"name": "a field moved out", "message": tampered, "span": moved}
    yield without("outcome")
    yield without("signature", "Span is not signed")
    yield changed("status downgraded", "Malformed: status is not 'signed'", status="unsigned")
    yield without("status", "Malformed: status is not 'signed'")
    yield changed("another algorithm", "Malformed: algorithm is not 'Ed25519'", algorithm="HS256")
    yield changed("short signature", "Malformed: signature is not 64 bytes in base64",
                  signature=signed["signature"][:-4])
    yield {"name": "signed as unsigned", "message": "Malformed: status is not 'signed'",
           "span": sign(PLAIN, status="unsigned")}
    yield {"name": "by another key", "message": tampered,
           "span": sign(PLAIN, seed=hashlib.sha256(b"another").digest())}


def root_of(leaves):
    """MTH of RFC 6962, section 2.1."""
    if len(leaves) == 1:
        return hashlib.sha256(b"\0" + leaves[0]).digest()
    half = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\1" + root_of(leaves[:half]) + root_of(leaves[half:])).digest()


def logged():
    spans = [span | {"tenantId": "acme", "status": "logged"} for span in SPANS.values()]
    leaves = [rfc8785.dumps(span) for span in spans]
    secret = Ed25519PrivateKey.from_private_bytes(SEED)
    key = b"\1" + secret.public_key().public_bytes_raw()
    name = "vectors.example"
    key_hash = hashlib.sha256(name.encode() + b"\n" + key).digest()[:4]
    text = (f"{name}/acme\n{len(leaves)}\n{base64.b64encode(root_of(leaves)).decode()}\n"
            "time 2026-11-26T22:00:00.000Z\n")
    signature = base64.b64encode(key_hash + secret.sign(text.encode())).decode()
    return {"logKey": f"{name}+{key_hash.hex()}+{base64.b64encode(key).decode()}",
            "spans": [span | {"leafIndex": str(index)} for index, span in enumerate(spans)],
            "leaves": [leaf.decode() for leaf in leaves],
            "checkpoint": f"{text}\n\u2014 {name} {signature}\n"}


def main():
    public = Ed25519PrivateKey.from_private_bytes(SEED).public_key().public_bytes_raw()
    written = {
        "type": TYPE.decode(), "keyId": KEY_ID, "seed": SEED.hex(), "publicKey": public.hex(),
        "vectors": [{"name": name, "span": span, "signed": rfc8785.dumps(sign(span)).decode()}
                    for name, span in SPANS.items()],
        "mutations": list(mutations()), "logged": logged()}
    path = pathlib.Path(__file__).with_name("vectors.json")
    path.write_text(json.dumps(written, indent=1) + "\n")


if __name__ == "__main__":
    main()
