"""docs/evidence-format.md read by another implementation: PyPI rfc8785 and cryptography."""

import base64
import hashlib

import rfc8785
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import load_der_public_key

TYPE = b"application/vnd.betrace.compliance-span.v1+json"


def statement(span):
    body = rfc8785.dumps({name: value for name, value in span.items() if name != "signature"})
    return b"DSSEv1 %d %s %d %s" % (len(TYPE), TYPE, len(body), body)


def verifies(span, keys):
    """`keys`: public keys by key id."""
    if span.get("status") != "signed" or span.get("algorithm") != "Ed25519":
        return False
    try:
        keys[span["keyId"]].verify(base64.b64decode(span["signature"], validate=True),
                                   statement(span))
    except (InvalidSignature, KeyError, ValueError):
        return False
    return True


def is_included(leaf, index, size, proof, root):
    """RFC 9162, section 2.1.3.2; all but the numbers are bytes."""
    hashed, node, last = hashlib.sha256(b"\0" + leaf).digest(), index, size - 1
    if index >= size:
        return False
    for each in proof:
        if last == 0:
            return False
        if node & 1 or node == last:
            hashed = hashlib.sha256(b"\1" + each + hashed).digest()
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            hashed = hashlib.sha256(b"\1" + hashed + each).digest()
        node, last = node >> 1, last >> 1
    return last == 0 and hashed == root


def is_logged(daemon, span):
    """Whether a checkpoint of the log has the span where it says it is."""
    leaf = rfc8785.dumps({name: each for name, each in span.items() if name != "leafIndex"})
    found = daemon.ok("GET", f"/api/tenants/{span['tenantId']}/evidence/inclusion",
                      params={"index": span["leafIndex"]})
    lines = found["checkpoint"].split("\n")
    return span["status"] == "logged" and is_included(
        leaf, int(span["leafIndex"]), int(lines[1]),
        [base64.b64decode(each) for each in found["proof"]], base64.b64decode(lines[2]))


def public_keys(daemon, tenant):
    return {key["keyId"]: load_der_public_key(base64.b64decode(key["publicKey"]))
            for key in daemon.ok("GET", f"/api/tenants/{tenant}/public-keys")["keys"]}
