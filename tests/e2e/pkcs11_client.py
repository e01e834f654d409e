"""PyKCS11, the other client of a token: pkcs11_client.py MODULE TOKEN PIN KEY encrypt|decrypt HEX CONTEXT

What is sealed is nonce | ciphertext | tag."""

import os
import sys

import PyKCS11


def session_of(module, label, pin):
    library = PyKCS11.PyKCS11Lib()
    library.load(module)
    for slot in library.getSlotList(tokenPresent=True):
        if library.getTokenInfo(slot).label.strip() == label:
            session = library.openSession(slot)
            session.login(pin)
            return session
    raise SystemExit(f"no token {label}")


def main(module, label, pin, name, order, text, context):
    session = session_of(module, label, pin)
    (key,) = session.findObjects([(PyKCS11.CKA_CLASS, PyKCS11.CKO_SECRET_KEY),
                                  (PyKCS11.CKA_LABEL, name)])
    given = bytes.fromhex(text)
    nonce = os.urandom(12) if order == "encrypt" else given[:12]
    gcm = PyKCS11.AES_GCM_Mechanism(nonce, context.encode(), 128)
    try:
        if order == "encrypt":
            print((nonce + bytes(session.encrypt(key, given, gcm))).hex())
        else:
            print(bytes(session.decrypt(key, given[12:], gcm)).hex())
    except PyKCS11.PyKCS11Error:
        print("refused")


main(*sys.argv[1:])
