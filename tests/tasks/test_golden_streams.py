"""Streams of seed 0 stay what they are: their hashes are in ``golden_streams.json``.

``python test_golden_streams.py`` writes the file anew: for a new family, or one whose streams
change on purpose.
"""

import json
from pathlib import Path

import pytest

import sleepgym
from sleepgym.core import registry

FILE = Path(__file__).with_name("golden_streams.json")
RECORDED = json.loads(FILE.read_text())


def stream_hash(name, data):
    return sleepgym.make_env(name, data=data).family.stream(0).content_hash


@pytest.mark.parametrize("name", sorted(RECORDED))
def test_the_stream_of_seed_0_is_the_one_recorded(name, data_dir):
    assert stream_hash(name, data_dir) == RECORDED[name]


if __name__ == "__main__":
    import sys
    import tempfile

    sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
    import data_files

    with tempfile.TemporaryDirectory() as folder:
        data_files.write_all(Path(folder))
        hashes = {name: stream_hash(name, Path(folder)) for name in sorted(registry.envs)}
    FILE.write_text(json.dumps(hashes, indent=1) + "\n")
