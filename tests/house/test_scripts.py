"""Every script of the repository says what it does when it is asked, and does nothing else then."""

import json
import subprocess
import sys

import pytest

from checkout import ROOT

FOLDERS = ("docs/tools", "benchmarks", "agents/tuning", "leaderboards", "pretraining/**")
MAIN = '\nif __name__ == "__main__":'
ASK = """
import contextlib, io, json, runpy, sys
from pathlib import Path

found = {}
for script in sys.argv[1:]:
    before, folder = set(sys.modules), str(Path(script).parent)
    sys.argv = [script, "--help"]
    sys.path.insert(0, folder)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        try:
            runpy.run_path(script, run_name="__main__")
            code = "none: it went to work"
        except SystemExit as ended:
            code = ended.code
    sys.path.remove(folder)
    for name in set(sys.modules) - before:  # neighbours of two scripts may have one name
        if str(getattr(sys.modules[name], "__file__", "")).startswith(folder):
            del sys.modules[name]
    found[script] = [code, printed.getvalue()]
print(json.dumps(found))
"""


def scripts():
    every = [path for folder in FOLDERS for path in ROOT.glob(f"{folder}/*.py")]
    texts = {path: path.read_text(encoding="utf-8") for path in sorted(every)}
    found = {str(path): text for path, text in texts.items() if MAIN in text}
    assert len(found) > 30
    return found


def test_every_script_reads_its_arguments():
    deaf = [path for path, text in scripts().items() if ".parse_args(" not in text]
    assert not deaf, "asked for help, these would go to work"


@pytest.mark.slow
def test_scripts_print_help_and_do_nothing():
    command = [sys.executable, "-c", ASK, *scripts()]
    asked = subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=ROOT)
    for script, (code, printed) in json.loads(asked.stdout).items():
        assert code == 0, script
        assert printed.startswith("usage: "), script
