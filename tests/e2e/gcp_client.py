"""Google's own client of Cloud KMS, for tests of another environment.

gcp_client.py URL TOKEN setup PROJECT LOCATION RING KEY...   makes keys, and shows that URL is right
gcp_client.py URL TOKEN encrypt NAME PLAINTEXT CONTEXT       base64 in and out, the context as text
gcp_client.py URL TOKEN decrypt NAME CIPHERTEXT CONTEXT
gcp_client.py URL TOKEN state NAME disable|enable|destroy|restore
gcp_client.py - - requests LOG                               each line against Google's description
"""

import base64
import json
import pathlib
import re
import sys

import google.oauth2.credentials
from google.api_core.exceptions import BadRequest
from google.cloud import kms_v1
from google.cloud.kms_v1.services.key_management_service.transports import (
    KeyManagementServiceRestTransport)


def client(url, token):
    return kms_v1.KeyManagementServiceClient(transport=KeyManagementServiceRestTransport(
        host=url.removeprefix("http://"), url_scheme="http",
        credentials=google.oauth2.credentials.Credentials(token)))


def setup(kms, project, location, ring, *keys):
    parent = f"projects/{project}/locations/{location}"
    kms.create_key_ring(request={"parent": parent, "key_ring_id": ring})
    for key in keys:
        made = kms.create_crypto_key(request={
            "parent": f"{parent}/keyRings/{ring}", "crypto_key_id": key,
            "crypto_key": {"purpose": kms_v1.CryptoKey.CryptoKeyPurpose.ENCRYPT_DECRYPT}})
        sealed = kms.encrypt(request={"name": made.name, "plaintext": b"x",
                                      "additional_authenticated_data": b"a"})
        asked = {"name": made.name, "ciphertext": sealed.ciphertext}
        opened = kms.decrypt(request={**asked, "additional_authenticated_data": b"a"})
        assert opened.plaintext == b"x"
        for other in (b"b", b""):
            try:
                kms.decrypt(request={**asked, "additional_authenticated_data": other})
                raise AssertionError("the stand-in binds no context")
            except BadRequest:
                pass
    return "right"


def encrypt(kms, name, plaintext, context):
    sealed = kms.encrypt(request={"name": name, "plaintext": base64.b64decode(plaintext),
                                  "additional_authenticated_data": context.encode()})
    return base64.b64encode(sealed.ciphertext).decode()


def decrypt(kms, name, ciphertext, context):
    try:
        opened = kms.decrypt(request={"name": name, "ciphertext": base64.b64decode(ciphertext),
                                      "additional_authenticated_data": context.encode()})
    except BadRequest:
        return "refused"
    return base64.b64encode(opened.plaintext).decode()


def state(kms, name, order):
    version = f"{name}/cryptoKeyVersions/1"
    states = kms_v1.CryptoKeyVersion.CryptoKeyVersionState
    if order in ("enable", "disable"):
        kms.update_crypto_key_version(request={
            "crypto_key_version": {"name": version, "state": states[order.upper() + "D"]},
            "update_mask": "state"})
    elif order == "destroy":
        kms.destroy_crypto_key_version(name=version)
    else:
        kms.restore_crypto_key_version(name=version)
    return "done"


def methods(resource):
    for it in resource.get("methods", {}).values():
        yield it
    for inner in resource.get("resources", {}).values():
        yield from methods(inner)


def pattern_of(method):
    """Of its paths: "v1/{+name}:encrypt", with the pattern of its parameter."""
    before, parameter, after = re.fullmatch(r"(.*)\{\+?(\w+)\}(.*)", method["path"]).groups()
    inner = method["parameters"][parameter]["pattern"].strip("^$")
    return re.escape(before) + inner + re.escape(after)


def faults(document, path, value, schema):
    """What is wrong with a value, by JSON schema as Google's descriptions use it."""
    schema = document["schemas"][schema["$ref"]] if "$ref" in schema else schema
    if schema["type"] == "object":
        known = schema.get("properties", {})
        for name, inner in value.items():
            if name not in known:
                yield f"{path}.{name} is unknown"
            else:
                yield from faults(document, f"{path}.{name}", inner, known[name])
        return
    right = {"string": str, "integer": int, "boolean": bool, "number": (int, float)}[schema["type"]]
    if not isinstance(value, right):
        yield f"{path} is no {schema['type']}"
    elif schema.get("format") == "byte":
        base64.b64decode(value, validate=True)
    elif schema.get("format") == "int64" and not re.fullmatch(r"-?\d+", value):
        yield f"{path} is no int64"
    if "enum" in schema and value not in schema["enum"]:
        yield f"{path} is none of {schema['enum']}"


def requests(log):
    import googleapiclient
    folder = pathlib.Path(googleapiclient.__file__).parent / "discovery_cache/documents"
    document = json.loads((folder / "cloudkms.v1.json").read_text())
    checked = {}
    for line in pathlib.Path(log).read_text().splitlines():
        seen = json.loads(line)
        path = seen["path"].lstrip("/")
        for method in methods(document):
            if method["httpMethod"] == seen["method"] and re.fullmatch(pattern_of(method), path):
                break
        else:
            return f"{seen['method']} {path} is no method"
        wrong = []
        if seen["body"]:
            wrong = list(faults(document, method["id"], json.loads(seen["body"]),
                                method["request"]))
        if wrong:
            return "; ".join(wrong)
        checked[method["id"]] = checked.get(method["id"], 0) + 1
    return json.dumps(checked)


if __name__ == "__main__":
    url, token, command, *words = sys.argv[1:]
    if command == "requests":
        print(requests(*words))
    else:
        print({"setup": setup, "encrypt": encrypt, "decrypt": decrypt,
               "state": state}[command](client(url, token), *words))
