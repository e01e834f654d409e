"""A service that says what a test wants it to say: bundles of docs/evidence-format.md, by keys that
the test has, so that a wrong manifest is signed as well as a right one. Shares nothing with the
verifier: the package rfc8785, and the definitions of RFC 6962 as they stand there.
"""

import base64
import hashlib

import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

VND = "application/vnd.betrace."
SPKI = bytes.fromhex("302a300506032b6570032100")
NAME = "betrace-kms-test"
SERVICE, K1, K2, K3 = (f"01a21ac6-c1af-7025-82ea-03f44809000{number}" for number in range(4))


def b64(data):
    return base64.b64encode(data).decode()


def key_of(seed):
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(seed.encode()).digest())


def raw(key):
    return key.public_key().public_bytes_raw()


def pae(kind, body):
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(body), body)


def envelope(kind, payload, key, key_id):
    body = rfc8785.dumps(payload)
    return {"payloadType": VND + kind, "payload": b64(body),
            "signatures": [{"keyid": key_id, "sig": b64(key.sign(pae(VND + kind, body)))}]}


def leaf(key, key_id, **fields):
    """The canonical form of a span that `key` signed."""
    span = {"framework": "soc2", "control": "CC6_1", "tenantId": "acme", "outcome": "success",
            "timestamp": "2026-11-26T22:00:00Z", "status": "signed", "algorithm": "Ed25519",
            "keyId": key_id} | fields
    span = {name: value for name, value in span.items() if value is not None}
    body = pae(VND + "compliance-span.v1+json", rfc8785.dumps(span))
    return rfc8785.dumps(span | {"signature": b64(key.sign(body))})


def logged_leaf(**fields):
    """Of a span for whose signature the log stands."""
    return rfc8785.dumps({"framework": "soc2", "control": "CC6_1", "tenantId": "acme",
                          "timestamp": "2026-11-26T22:00:00Z", "status": "logged"} | fields)


def tree_hash(leaves):
    """MTH of RFC 6962, section 2.1."""
    if len(leaves) <= 1:
        return hashlib.sha256(b"\0" + leaves[0] if leaves else b"").digest()
    half = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\1" + tree_hash(leaves[:half]) + tree_hash(leaves[half:])).digest()


def consistency(old, leaves, whole=True):
    """SUBPROOF of RFC 6962, section 2.1.2."""
    if old == len(leaves):
        return [] if whole else [tree_hash(leaves)]
    half = 1 << (len(leaves) - 1).bit_length() - 1
    if old <= half:
        return consistency(old, leaves[:half], whole) + [tree_hash(leaves[half:])]
    return consistency(old - half, leaves[half:], False) + [tree_hash(leaves[:half])]


def whole_subtrees(leaves, begin, end):
    """Hashes of the largest whole subtrees over leaves begin to end - 1."""
    found = []
    while begin < end:
        size = 1
        while begin % (size * 2) == 0 and begin + size * 2 <= end:
            size *= 2
        found.append(b64(tree_hash(leaves[begin:begin + size])))
        begin += size
    return found


class Maker:
    """Of one tenant, whose keys are K1, which was revoked, and K2."""

    service, log, tenant = key_of("service"), key_of("log"), "acme"
    revoked_at = "2026-11-27T00:00:00.000Z"

    def __init__(self):
        self.keys = {K1: key_of("k1"), K2: key_of("k2")}
        self.leaves = []

    def add(self, key=K2, **fields):
        self.leaves.append(leaf(self.keys[key], key, **fields))
        return self

    def checkpoint(self, size=None, time="2026-11-27T01:00:00.000Z", key=None, origin=None,
                   root=None):
        size = len(self.leaves) if size is None else size
        root = tree_hash(self.leaves[:size]) if root is None else root
        origin = origin or f"{NAME}/{self.tenant}"
        text = f"{origin}\n{size}\n{b64(root)}\ntime {time}\n"
        signature = (key or self.log).sign(text.encode())
        return f"{text}\n\u2014 {NAME} {b64(self.log_data()[1] + signature)}\n"

    def log_data(self):
        data = b"\1" + raw(self.log)
        return data, hashlib.sha256(NAME.encode() + b"\n" + data).digest()[:4]

    def log_key(self):
        data, key_hash = self.log_data()
        return f"{NAME}+{key_hash.hex()}+{b64(data)}"

    def record(self, key_id, key, status="ACTIVE", **said):
        claims = {"keyId": key_id, "tenantId": self.tenant, "publicKey": b64(raw(key)),
                  "version": "1", "createdAt": "1795745563055", "algorithm": "Ed25519"} | said
        return {"keyId": key_id, "version": 1, "publicKey": b64(SPKI + raw(key)),
                "status": status, "createdAt": "2026-11-27T00:00:00.000Z",
                "attestation": envelope("public-key.v1+json", claims, self.service, SERVICE)}

    def manifest(self, begin=0, end=None, **changed):
        size = len(self.leaves)
        end = size if end is None else end
        first = self.record(K1, self.keys[K1], "REVOKED") | {"revokedAt": self.revoked_at}
        service = {name: value for name, value in self.record(SERVICE, self.service).items()
                   if name != "attestation"}
        made = {"tenantId": self.tenant, "createdAt": "2026-11-27T02:00:00.000Z",
                "begin": str(begin), "end": str(end), "checkpoint": self.checkpoint(),
                "left": whole_subtrees(self.leaves, 0, begin),
                "right": whole_subtrees(self.leaves, end, size), "checkpoints": [],
                "keys": [self.record(K2, self.keys[K2]), first], "serviceKeys": [service],
                "logKey": self.log_key()}
        if (begin, end) != (0, size):
            made["from"] = "2026-11-26T00:00:00.000Z"
        made |= changed
        return {name: value for name, value in made.items() if value is not None}

    def bundle(self, manifest=None, leaves=None, key=None, kind="evidence-bundle.v1+json"):
        manifest = self.manifest() if manifest is None else manifest
        head = {"format": "betrace-evidence-bundle/1",
                "manifest": envelope(kind, manifest, key or self.service, SERVICE)}
        if leaves is None:
            leaves = self.leaves[int(manifest["begin"]):int(manifest["end"])]
        return b"".join(line + b"\n" for line in [rfc8785.dumps(head), *leaves])
