"""SIGKILL at random moments of a load on the evidence log, and what the log must be after it."""

import json
import os
import random
import time

from .evidence import checkpoint, export, folder_of, read_by_go, report
from .waiting import until
from .wire import Load

PATIENT = {"timeout": 300}  # a log of a torture has half a million leaves


def seeded():
    """A source of random moments that BETRACE_SEED brings back."""
    seed = int(os.environ.get("BETRACE_SEED", time.time()))
    print(f"BETRACE_SEED={seed}")
    return random.Random(seed)


class Kills:
    """Runs a load of `next_call(n)` and kills the daemon in the midst of it, again and again; no n
    is used twice. `taken(answers)` is what of them was acknowledged."""

    def __init__(self, daemon, next_call, taken, rng):
        self.daemon, self.next_call, self.taken, self.rng = daemon, next_call, taken, rng
        self.checkpoints = []  # files of some that the tenant acme was given on the way

    def each(self, kills):
        """What was acknowledged until each kill, when the daemon is there again."""
        first = 0
        for kill in range(kills):
            with Load(self.daemon, self.next_call, connections=6, first=first) as load:
                until(lambda: self.taken(load.answers[:5]), 10, "spans to be taken", every=0.002)
                if kill % 3 == 0:
                    self.checkpoints.append(checkpoint(self.daemon))
                moment = len(load.answers) + self.rng.randrange(200)
                until(lambda: len(load.answers) >= moment, 10, "the moment of the kill", every=0.0005)
                self.daemon.kill()
            first = load.next_number
            self.daemon.start()
            yield self.taken(load.answers)

    def check_checkpoints(self):
        """Those that were given were written down, and are of prefixes: ten by our verifier; all of
        them by Go's libraries, see whole_log()."""
        listed = [json.loads(line)["note"] for line in
                  (folder_of(self.daemon) / "checkpoints.jsonl").read_text().splitlines()]
        assert {path.read_text() for path in self.checkpoints} <= set(listed)
        whole, held = export(self.daemon, name="whole", **PATIENT), self.daemon.folder / "held"
        for note in self.rng.sample(listed, min(len(listed), 10)):
            held.write_text(note)
            found = report(whole, "--checkpoint", held, **PATIENT)
            assert found["held"]["consistent"], note


def whole_log(daemon, tenant, part):
    """`part(leaf)` of each leaf of the tenant's log, which has none twice, in a bundle that verifies
    and in tiles and checkpoints that Go's libraries read."""
    bundle = export(daemon, tenant=tenant, **PATIENT)
    found = report(bundle, **PATIENT)
    assert found["valid"] and found["begin"] == 0 and found["end"] == found["spans"], found
    leaves = bundle.read_bytes().splitlines()[1:]
    assert len(set(leaves)) == len(leaves)
    code, said = read_by_go(daemon, tenant)
    assert code == 0, said
    print(f"{tenant}: {said}")
    return [part(json.loads(leaf)) for leaf in leaves]
