"""Microsoft's own client of Key Vault, for tests of another environment.

azure_client.py URI TOKEN_URL CA setup KEY...          makes RSA keys, and shows that URI is right
azure_client.py URI TOKEN_URL CA rotate|enable|disable KEY
azure_client.py URI TOKEN_URL CA open KEY HEX CONTEXT  opens a wrapped key as docs/providers/azure.md
                                                       describes it; what was wrapped, in hex
azure_client.py URI TOKEN_URL CA seal KEY HEX CONTEXT  makes one
"""

import os
import sys
import time

import requests
from azure.core.credentials import AccessToken
from azure.core.exceptions import HttpResponseError
from azure.keyvault.keys import KeyClient
from azure.keyvault.keys.crypto import CryptographyClient, KeyWrapAlgorithm
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

RSA = KeyWrapAlgorithm.rsa_oaep_256


class Credential:
    """A managed identity's."""

    def __init__(self, url):
        self.url = url

    def get_token(self, *scopes, **_):
        answer = requests.get(f"{self.url}/metadata/identity/oauth2/token", timeout=10,
                              params={"resource": scopes[0].removesuffix("/.default")},
                              headers={"Metadata": "true"})
        return AccessToken(answer.json()["access_token"], int(time.time()) + 3000)


def additional_data(kid, context):
    return f"betrace-kms azure 1\n{kid}\n{context}".encode()


def main(uri, token_url, ca, order, *words):
    options = {"credential": Credential(token_url), "verify_challenge_resource": False,
               "connection_verify": ca}
    keys = KeyClient(vault_url=uri, **options)

    def crypto(key):
        return CryptographyClient(key, **options)

    if order == "setup":
        for name in words:
            key = keys.create_rsa_key(name, size=2048)
            wrapped = crypto(key).wrap_key(RSA, b"x" * 32)
            assert crypto(key).unwrap_key(RSA, wrapped.encrypted_key).key == b"x" * 32
            try:
                crypto(key).unwrap_key(RSA, b"y" * 256)
                raise AssertionError("the stand-in unwraps anything")
            except HttpResponseError:
                pass
        return "right"
    if order == "rotate":
        return keys.create_rsa_key(words[0], size=2048).properties.version
    if order in ("enable", "disable"):
        keys.update_key_properties(words[0], enabled=order == "enable")
        return "done"
    name, given, context = words[0], bytes.fromhex(words[1]), words[2]
    if order == "seal":
        key = keys.get_key(name)
        kek, nonce = os.urandom(32), os.urandom(12)
        wrapped = crypto(key).wrap_key(RSA, kek).encrypted_key
        version = key.properties.version.encode()
        sealed = AESGCM(kek).encrypt(nonce, given, additional_data(key.id, context))
        return (b"\x01" + bytes([len(version)]) + version + len(wrapped).to_bytes(2, "big")
                + wrapped + nonce + sealed).hex()
    assert given[0] == 1, "RSA-OAEP-256"
    end = 2 + given[1]
    key = keys.get_key(name, given[2:end].decode())
    size = int.from_bytes(given[end:end + 2], "big")
    wrapped, rest = given[end + 2:end + 2 + size], given[end + 2 + size:]
    kek = crypto(key).unwrap_key(RSA, wrapped).key
    try:
        return AESGCM(kek).decrypt(rest[:12], rest[12:], additional_data(key.id, context)).hex()
    except InvalidTag:
        return "refused"


print(main(*sys.argv[1:]))
