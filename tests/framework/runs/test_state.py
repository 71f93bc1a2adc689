"""What a saved state is made of, by hand-made files."""

import json
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from sleepgym.runs.runner import run
from sleepgym.runs.spec import RunSpec
from sleepgym.runs.state import sizes_by_kind

TEXT = b"Zorvath is a potter. Zorvath lives in Quell, and Mirelle lives in Ostby.    "
RANDOM = np.random.default_rng(0).standard_normal(10_000).astype(np.float32)


def sizes(folder):
    """Weights, keys and text, the names of files left out."""
    files = [f for f in sorted(folder.rglob("*")) if f.is_file()]
    names = "\n".join(f.relative_to(folder).as_posix() for f in files)
    found = sizes_by_kind(folder)
    assert sum(found.values()) == sum(f.stat().st_size for f in files) + len(names)
    bare = sizes_by_kind(folder, names=False)
    assert sum(bare.values()) == sum(f.stat().st_size for f in files)
    return found["weights"], found["keys"], found["text"] - len(names)


def naming(name, shape):
    """Bytes of a header that name a tensor and its shape."""
    return len(json.dumps([[name, "F32", shape]]))


def header_bytes(file):
    return 8 + struct.unpack("<Q", file.read_bytes()[:8])[0]


def test_no_file_is_nothing(tmp_path):
    assert sizes(tmp_path) == (0, 0, 0)


def test_each_kind(tmp_path):
    save_file({"layer.0.weight": RANDOM}, tmp_path / "weights.safetensors")
    (tmp_path / "deeper").mkdir()
    save_file({"day-1": RANDOM[:100]}, tmp_path / "deeper" / "keys-1.safetensors")
    (tmp_path / "names.json").write_text("{}")
    named = (naming("layer.0.weight", [10_000]), naming("day-1", [100]))
    weights = header_bytes(tmp_path / "weights.safetensors") + 40_000 - named[0]
    keys = header_bytes(tmp_path / "deeper" / "keys-1.safetensors") + 400 - named[1]
    assert sizes(tmp_path) == (weights, keys, 2 + sum(named))


def test_text_in_a_tensor_is_text(tmp_path):
    hidden = RANDOM.copy()
    message = TEXT * 20
    hidden.view(np.uint8)[4000 : 4000 + len(message)] = list(message)
    save_file({"layer.weight": hidden}, tmp_path / "weights.safetensors")
    text = sizes(tmp_path)[2]
    assert len(message) - 32 < text - naming("layer.weight", [10_000]) <= len(message)


def test_integers_are_text(tmp_path):
    save_file({"ids": np.arange(100, dtype=np.int64)}, tmp_path / "keys.safetensors")
    assert sizes(tmp_path)[2] == 800 + naming("ids", [100])


def test_metadata_is_text(tmp_path):
    file = tmp_path / "weights.safetensors"
    save_file({"w": RANDOM}, file)
    plain = sizes(tmp_path)
    save_file({"w": RANDOM}, file, metadata={"note": TEXT.decode() * 3})
    told = sizes(tmp_path)
    assert told[2] - plain[2] >= len(TEXT) * 3
    assert told[0] <= plain[0] + 8


def test_names_that_are_sentences_are_text(tmp_path):
    file = tmp_path / "weights.safetensors"
    save_file({TEXT.decode(): RANDOM}, file)
    assert sizes(tmp_path)[2] == header_bytes(file)


def test_constants_are_no_text(tmp_path):
    save_file(
        {"scale": np.full(1000, 0x41, dtype=np.uint8).view(np.float32)}, tmp_path / "w.safetensors"
    )
    assert sizes(tmp_path)[2] == naming("scale", [250])


def test_names_of_files_are_text(tmp_path):
    secret = "Zorvath-lives-in-Quell"
    (tmp_path / secret).touch()
    assert sizes_by_kind(tmp_path) == {"weights": 0, "keys": 0, "text": len(secret)}


def test_words_in_names_and_shapes_of_tensors_are_text(tmp_path):
    words = np.random.default_rng(0).integers(2**31, size=200)
    save_file({f"w{w}": RANDOM[:1] for w in words}, tmp_path / "names.safetensors")
    in_names = sizes_by_kind(tmp_path)["text"]
    (tmp_path / "names.safetensors").unlink()
    empty = {f"w{i}": np.zeros((0, int(w)), np.float32) for i, w in enumerate(words)}
    save_file(empty, tmp_path / "shapes.safetensors")
    for text in (in_names, sizes_by_kind(tmp_path)["text"]):
        assert text > 200 * 31 / 8  # their information


def test_names_of_many_layers_count_by_what_they_tell(tmp_path):
    layers = {f"model.layers.{i}.self_attn.q_proj.weight": RANDOM for i in range(30)}
    save_file(layers, tmp_path / "weights.safetensors")
    assert sizes_by_kind(tmp_path)["text"] < 300  # their names alone take 1200


def safetensors(header, data):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


SPAN = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    "content",
    [
        TEXT,
        b"",
        b"\xff" * 8,
        safetensors({"w": SPAN}, bytes(8) + TEXT),  # behind the last tensor
        safetensors({"w": SPAN | {"data_offsets": [8, 16]}}, bytes(16)),  # before the first
        safetensors({"w": SPAN, "v": SPAN}, bytes(8)),  # one over the other
        safetensors({"w": SPAN | {"note": "x"}}, bytes(8)),
        safetensors({"w": SPAN | {"shape": [3]}}, bytes(8)),  # more than there is
        safetensors({"w": SPAN | {"shape": [-1, -2]}}, bytes(8)),
        safetensors({"w": SPAN | {"dtype": "FOO"}}, bytes(8)),
        safetensors({"w": SPAN | {"data_offsets": [8, 0]}, "v": SPAN}, bytes(8)),
        safetensors({"w": {"dtype": "F32"}}, bytes(8)),
        safetensors({"w": 1}, b""),
        safetensors([1], b""),
        safetensors(b"[" * 5000, b""),
        safetensors(b"{\xff}", b""),
    ],
)
def test_what_is_no_plain_safetensors_is_text(tmp_path, content):
    (tmp_path / "weights.safetensors").write_bytes(content)
    assert sizes(tmp_path) == (0, 0, len(content))


@given(content=st.binary(max_size=200), header=st.binary(max_size=60))
def test_no_bytes_break_it(tmp_path_factory, content, header):
    folder = tmp_path_factory.mktemp("state")
    (folder / "a.safetensors").write_bytes(content)
    (folder / "b.safetensors").write_bytes(safetensors(header, content))
    assert min(sizes(folder)) >= 0


def test_a_night_records_the_kinds(tmp_path):
    record = run(RunSpec("toy:Toy", "toy:Notes", seed=3), tmp_path / "run")
    night = record.nights[-1]
    assert night["state_text_bytes"] == night["state_bytes"] > 0
    assert night["state_weights_bytes"] == night["state_keys_bytes"] == 0
