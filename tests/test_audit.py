"""The watch over the test run (tests/audit.py, tests/conftest.py) sees what it is there to see."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.audit import ROOT, offences

PLANTED = ROOT / "spec" / "planted.py"


@pytest.mark.parametrize(
    ("source", "event"),
    [
        ("import os\nos.system('true')", "os.system"),
        ("import subprocess\nsubprocess.run('true', shell=True)", "subprocess.Popen"),
        ("import subprocess\nsubprocess.run(['sh', '-c', 'true'])", "subprocess.Popen"),
        ("import pickle\npickle.loads(pickle.dumps(print))", "pickle.find_class"),
        ("import torch, io\nfile = io.BytesIO()\ntorch.save(torch.ones(1), file)\nfile.seek(0)\n"
         "torch.load(file, weights_only=False)", "pickle.find_class"),
        ("import ctypes\nctypes.CDLL(None)", "ctypes.dlopen"),
        ("eval('1 + 1')", "compile"),
        ("exec('x = 1')", "exec"),
        ("import marshal\nmarshal.loads(marshal.dumps(1))", "marshal.loads"),
    ],
)  # fmt: skip
def test_an_offence_in_one_of_our_files_is_seen(source: str, event: str) -> None:
    """As if it stood in a file of spec/; what is seen here is taken off the record again."""
    before = len(offences)
    exec(compile(source, str(PLANTED), "exec"), {})
    seen = [name for name, place in offences[before:] if place.startswith("spec")]
    del offences[before:]
    assert event in seen


def test_the_same_in_a_test_is_nobodys_offence() -> None:
    """Only our own files are watched."""
    before = len(offences)
    exec(compile("import os\nos.system('true')", str(Path(__file__)), "exec"), {})
    assert [] == offences[before:]
