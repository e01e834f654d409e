"""docs/evidence-format.md read by another implementation: PyPI rfc8785 and cryptography."""

import base64

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


def public_keys(daemon, tenant):
    return {key["keyId"]: load_der_public_key(base64.b64decode(key["publicKey"]))
            for key in daemon.ok("GET", f"/api/tenants/{tenant}/public-keys")["keys"]}
