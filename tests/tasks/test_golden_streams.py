"""Streams of seed 0 stay what they are: their hashes are in ``golden_streams.json``.

A family whose streams change on purpose writes the file anew: ``python test_golden_streams.py``.
"""

import json
from pathlib import Path

import pytest

import sleepgym
from sleepgym.core import registry

FILE = Path(__file__).with_name("golden_streams.json")


def stream_hash(name, data):
    return sleepgym.make_env(name, data=data).family.stream(0).content_hash


@pytest.mark.parametrize("name", sorted(registry.envs))
def test_the_stream_of_seed_0_is_the_one_recorded(name, data_dir):
    assert stream_hash(name, data_dir) == json.loads(FILE.read_text())[name]


if __name__ == "__main__":
    import sys
    import tempfile

    sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
    import data_files

    with tempfile.TemporaryDirectory() as folder:
        data_files.write_all(Path(folder))
        hashes = {name: stream_hash(name, Path(folder)) for name in sorted(registry.envs)}
    FILE.write_text(json.dumps(hashes, indent=1) + "\n")
