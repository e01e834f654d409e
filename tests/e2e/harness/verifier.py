"""The two verifiers of evidence bundles: the Python one as modules (`verifier`, `form`) and as a
program, and ours."""

import importlib.machinery
import importlib.util
import io
import subprocess
import sys

from .daemon import program
from .process import ROOT

TOOL = ROOT / "tools/verify-evidence.py"


def _load():
    sys.path.insert(0, str(TOOL.parent))  # as Python does for a program: evidence_format is there
    loader = importlib.machinery.SourceFileLoader("verify_evidence", str(TOOL))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


verifier = _load()
form = sys.modules["evidence_format"]


def verify(bundle, **options):
    """A verifier.Bundle that has been read."""
    return verifier.Bundle(io.BytesIO(bundle), **options).verify()


def run_python(*arguments, **options):
    return subprocess.run([sys.executable, TOOL, *map(str, arguments)], capture_output=True,
                          text=True, timeout=120, **options)


def run_ours(*arguments):
    return subprocess.run([program(), "verify-evidence", *map(str, arguments)],
                          capture_output=True, text=True, timeout=120)
