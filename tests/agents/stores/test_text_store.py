"""The text store, where packages are installed that it must not start."""

import os
import subprocess
import sys

USE = """
import sys
from sleepgym_agents.stores.text_store import Note, TextStore

store = TextStore(500)
store.add(Note("an owl is a bird"))
assert [note.text for note in store.search("which bird?")] == ["an owl is a bird"]
assert "jax" not in sys.modules
import jax

assert jax.started
"""


def test_jax_is_not_started_and_can_be_used_after(tmp_path):
    """Importing it would take three quarters of a GPU's memory from a process without use of it."""
    (tmp_path / "jax").mkdir()
    (tmp_path / "jax" / "__init__.py").write_text("started = True\n")
    (tmp_path / "jax" / "lax.py").write_text("def top_k(*_): ...\n")
    paths = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, "-c", USE],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": paths},
    )
    assert done.returncode == 0, done.stderr
