"""Prometheus as the tests' independent reader of metrics, and promtool as the judge of rules."""

import os
import pathlib
import shutil

from .process import ROOT
from .servers import run

MONITORING = ROOT / "monitoring"


def tool(name):
    """`prometheus` or `promtool`: the one that tools/install-prometheus brought, else the
    system's."""
    path = shutil.which(name, path=os.pathsep.join([str(ROOT / "build/bin"), os.environ["PATH"]]))
    if path is None:
        raise RuntimeError(f"{name} is missing: run tools/install-test-deps")
    return pathlib.Path(path)


def promtool(*words):
    """Its output; a verdict against us fails the test."""
    done = run([tool("promtool"), *words], timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
