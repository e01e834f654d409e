"""The rotation of many tenants: how long beside the least it could cost, and what it does to those
who sign meanwhile. `row` is run.py's."""

import json
import pathlib
import shutil
import sqlite3
import subprocess
import tempfile
import time

from measure import BUILD, Daemon, median, until

TENANTS, ROUNDS = 100_000, 3
QUICK_TENANTS = 5_000
BATCH = 100          # kms.rotation.batch-size, whose default is left alone
RATE, CALLERS, WARM = 1000, 16, 200
SECONDS = 10         # of signatures, without a rotation and in the midst of one


def bench(*arguments):
    out = subprocess.run([BUILD / "bench/rotation_bench", *map(str, arguments)], check=True,
                         capture_output=True, text=True).stdout
    return json.loads(out)


class Signers:
    """Signs for the warm tenants at a steady pace until the with-block ends; then `.figures`."""

    def __init__(self, daemon, tenants):
        self.process = subprocess.Popen(
            [BUILD / "bench/paced_client", str(daemon.port), str(RATE), str(CALLERS),
             daemon.data / "admin-token", "x" * 340],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.process.stdin.write("\n".join(tenants) + "\n\n")
        self.process.stdin.flush()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.figures = json.loads(self.process.communicate()[0])


def begin_rotation(daemon):
    daemon.call("POST", "/api/admin/kms/rotate-all-keys", {"force": True})


def status_of(daemon):
    return daemon.call("GET", "/api/admin/kms/rotation-status")


def rotate_all(daemon):
    """Tenants a second by the daemon's own account of the run, and its processor seconds."""
    spent = daemon.cpu_seconds()
    begin_rotation(daemon)
    status = {}

    def ended():
        nonlocal status
        status = status_of(daemon)
        return status["status"] != "RUNNING"

    began = time.monotonic()
    until(ended, "the end of the rotation", seconds=1800, pause=0.02)
    took = time.monotonic() - began
    if status["failed"] or status["status"] != "COMPLETE":
        raise RuntimeError(f"the rotation did not end well: {status}")
    return {"seconds": took, "rate": status["rotated"] / took,
            "cpu_us": (daemon.cpu_seconds() - spent) / status["rotated"] * 1e6}


def one_round(seeded, tenants):
    """The floor and the product, each on a fresh copy of the same store."""
    with tempfile.TemporaryDirectory() as floor, tempfile.TemporaryDirectory() as ours:
        for folder in (floor, ours):
            shutil.copytree(seeded, folder, dirs_exist_ok=True)
        least = bench("floor", floor, BATCH)
        shutil.rmtree(floor, ignore_errors=True)
        pathlib.Path(floor).mkdir()
        with Daemon(ours, {"kms.cache.warm-tenants": 0}) as daemon:
            alone = rotate_all(daemon)
            with sqlite3.connect(f"file:{ours}/betrace-kms.db?mode=ro", uri=True) as store:
                warm = [row[0] for row in store.execute(
                    "SELECT id FROM tenants ORDER BY id LIMIT ?", (min(WARM, tenants),))]
            with Signers(daemon, warm):
                time.sleep(2)
            with Signers(daemon, warm) as quiet:
                time.sleep(SECONDS)
            with Signers(daemon, warm) as meanwhile:
                begin_rotation(daemon)
                time.sleep(SECONDS)
                status = status_of(daemon)
            if status["failed"] or status["status"] != "RUNNING" or not status["rotated"]:
                raise RuntimeError(f"no rotation went on meanwhile: {status}")
        return {"floor": least, "ours": alone, "quiet": quiet.figures,
                "meanwhile": meanwhile.figures | {"rate": status["rotated"] / SECONDS}}


def rotation(row, quick=False):
    tenants = QUICK_TENANTS if quick else TENANTS
    rounds = []
    with tempfile.TemporaryDirectory() as seeded:
        print(f"  filling a store with {tenants:,} tenants …", flush=True)
        bench("seed", seeded, tenants)
        for _ in range(ROUNDS):
            rounds.append(one_round(seeded, tenants))
            print("  " + json.dumps(rounds[-1]), flush=True)
    figure = lambda which, name: median([each[which][name] for each in rounds])
    least = median([each["floor"]["tenants"] / each["floor"]["seconds"] for each in rounds])
    ratio = median([each["ours"]["seconds"] / each["floor"]["seconds"] for each in rounds])
    floor_cpu = median([each["floor"]["cpu_seconds"] / tenants * 1e6 for each in rounds])
    row(f"rotation of {tenants:,} tenants", figure("ours", "rate"), "tenants/s", least, 1.5, ratio,
        note=f"CPU a tenant {figure('ours', 'cpu_us'):.0f} us, the floor's {floor_cpu:.0f} us")
    row("p99 of signatures while tenants rotate", figure("meanwhile", "p99_ms"), "ms",
        figure("quiet", "p99_ms"), 2,
        median([each["meanwhile"]["p99_ms"] / each["quiet"]["p99_ms"] for each in rounds]),
        note=f"{RATE} signatures a second, {figure('meanwhile', 'rate'):.0f} tenants; the longest "
             f"{max(each['meanwhile']['max_ms'] for each in rounds):.0f} ms")
    row("failed signatures while tenants rotate",
        sum(each["meanwhile"]["failed"] for each in rounds), "of "
        f"{sum(each['meanwhile']['requests'] for each in rounds):,}", None, 0)
