"""Files made to cost much: each is read or refused within 256 MB of memory and ten seconds."""

import base64
import json
import lzma
import random
import subprocess
import sys
import zlib

import pytest

import board_files
from sleepgym_boards.submission.files import MAX_FILE_BYTES, decompress
from sleepgym_boards.submission.pieces import MAX_CONTENT_BYTES

MOST_MEMORY_BYTES = 256_000_000
MOST_S = 10
# The peak is of this process alone; `ru_maxrss` would carry over that of whoever started it.
READ = """
import re, sys, time
from pathlib import Path
from sleepgym_boards.submission.files import BadSubmission, parse, read_bytes
started_s, rule = time.process_time(), "read"
try:
    submission = parse(read_bytes(Path(sys.argv[1])))
except BadSubmission as error:
    rule = error.rule
took_s = time.process_time() - started_s
peak = re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())
print(rule, int(peak[1]) * 1024, took_s)
"""


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    content, _ = board_files.packed("Honest", tmp_path_factory.mktemp("honest"), "100")
    return json.loads(decompress(content))


def text(plain):
    return json.dumps(plain, ensure_ascii=False, separators=(",", ":")).encode()


def around(honest, **changes):
    """What stands before and after the phases of the only run."""
    plain = honest | {"runs": [honest["runs"][0] | {"phases": []} | changes]}
    before, after = text(plain).split(b'"phases":[')
    return before + b'"phases":[', after + b"\n"


def morning(honest, **changes):
    return next(p for p in honest["runs"][0]["phases"] if p["phase"] == "morning") | changes


def write(file, *parts):
    """Parts (bytes, or bytes with how often) compressed, cut at the limit of the content."""
    press = zlib.compressobj(9, wbits=16 + zlib.MAX_WBITS)
    if file.suffix == ".xz":  # with the largest dictionary that is read
        filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 16 << 20}]
        press = lzma.LZMACompressor(filters=filters)
    written, room = 0, MAX_CONTENT_BYTES
    with open(file, "wb") as stream:
        for part in parts:
            unit, times = part if isinstance(part, tuple) else (part, 1)
            block = max(1, (1 << 20) // max(1, len(unit)))
            while times > 0 and written < room:
                some = unit * min(times, block)
                stream.write(press.compress(some))
                written, times = written + len(some), times - block
        stream.write(press.flush())
    assert file.stat().st_size < MAX_FILE_BYTES
    return file


def exam(honest, answers, phases):
    """So many phases of such answers, given as bytes."""
    empty = text(morning(honest, answers=[])).replace(b'"answers":[]', b'"answers":[%s]')
    unit = empty % b",".join(answers)
    before, after = around(honest)
    return before, (unit + b",", phases - 1), unit, after


def answer(item, prompt, words, score="1.0"):
    return (
        f'{{"id":"{item}","prompt":"{prompt:016x}","text":"{words}","score":{score},"sha256":null}}'
    ).encode()


def many_answers(honest):
    return exam(honest, [answer("d1", 0, "")] * 10_000, 100)


def distinct_answers(honest):
    """Nothing repeats, so nothing can be shared."""
    before, after = around(honest)
    parts, number = [before], 0
    for place in range(120):
        some = [answer(f"d{n}", n, f"w{n}") for n in range(number, number + 8_000)]
        number += 8_000
        unit = text(morning(honest, answers=[]))
        parts += [
            b"," * (place > 0),
            unit.replace(b'"answers":[]', b'"answers":[%s]' % b",".join(some)),
        ]
    return (*parts, after)


def wide_characters(honest, exams=60, noise=0):
    """One character of four bytes makes all others as wide in memory; so many are random."""
    before, after = around(honest)
    parts, number, rng = [before], 0, random.Random(0)
    for place in range(exams):
        some = [
            answer("d1", 0, f"\N{GRINNING FACE}{n:07d}" + words(rng, noise).ljust(1_990, "x"))
            for n in range(number, number + 500)
        ]
        number += 500
        unit = text(morning(honest, answers=[]))
        parts += [
            b"," * (place > 0),
            unit.replace(b'"answers":[]', b'"answers":[%s]' % b",".join(some)),
        ]
    return (*parts, after)


def words(rng, count):
    """Text that hardly compresses."""
    return base64.b64encode(rng.randbytes(count * 3 // 4)).decode()


def large_in_every_way(honest):
    """Near each limit at once: of the file, of the dictionary, of what is parsed, of values."""
    *parts, after = wide_characters(honest, exams=29, noise=1_180)
    unit = text(morning(honest, answers=[]))
    zeros = unit.replace(b'"answers":[]', b'"answers":[%s]' % (b"0," * 399_000 + b"0"))
    return (*parts, b",", zeros, after)


def many_phases(honest):
    before, after = around(honest)
    unit = text(morning(honest, answers=[]))
    return before, (unit + b",", 500_000), unit, after


def many_logs(honest):
    night = next(p for p in honest["runs"][0]["phases"] if p["phase"] == "sleep")
    log = {f"entry {n}": float(n) for n in range(200)}
    unit = text(night | {"ledger": night["ledger"] | {"log": log}})
    before, after = around(honest)
    return before, (unit + b",", 40_000), unit, after


def many_settings(honest):
    settings = {f"s{n}": {f"a{m}": 1 for m in range(100)} for n in range(200)}
    method = honest["runs"][0]["method"] | {"settings": settings}
    run = text(honest["runs"][0] | {"phases": [], "method": method})
    before, after = text(honest | {"runs": []}).split(b'"runs":[')
    return before + b'"runs":[', (run + b",", 400), run, after + b"\n"


def many_values(honest):
    """An exam that a parser needs most room for, after as much as may be read."""
    *parts, after = wide_characters(honest, exams=27)
    unit = text(morning(honest, answers=[]))
    zeros = unit.replace(b'"answers":[]', b'"answers":[%s]' % (b"0," * 2_000_000 + b"0"))
    return (*parts, b",", zeros, after)


def inside(honest, place, unit):
    """Something else where a list belongs, as often as it fits."""
    plain = text(honest)
    at = plain.index(place) + len(place)
    return plain[:at], (unit, MAX_CONTENT_BYTES // len(unit))


CASES = {
    "many answers": (many_answers, "read"),
    "distinct answers": (distinct_answers, "size"),
    "wide characters": (wide_characters, "size"),
    "many phases": (many_phases, "size"),
    "many logs": (many_logs, "size"),
    "many settings": (many_settings, "size"),
    "numbers for authors": (lambda h: inside(h, b'"authors":[', b"1,"), "size"),
    "lists for runs": (lambda h: inside(h, b'"runs":[', b"[1],"), "size"),
    "objects for answers": (lambda h: inside(h, b'"answers":[', b'{"a":1},'), "size"),
    "many values": (many_values, "schema"),
    "all at once, xz": (large_in_every_way, "schema"),
    "one long answer": (lambda h: inside(h, b'"text":"', b"x"), "size"),
    "one long answer, xz": (lambda h: inside(h, b'"text":"', b"x"), "size"),
    "beginnings of runs": (lambda h: inside(h, b'"runs":[', b'{"seed":1,"stream_hash":'), "schema"),
}


SLOW = ("all at once, xz",)  # to make, not to read


@pytest.mark.parametrize(
    "case", [pytest.param(c, marks=pytest.mark.slow) if c in SLOW else c for c in CASES]
)
def test_a_file_made_to_cost_much_does_not(honest, tmp_path, case):
    make, rule = CASES[case]
    name = "x.json.xz" if case.endswith("xz") else "x.json.gz"
    found, peak_bytes, took_s = read(write(tmp_path / name, *make(honest)))
    assert found == rule
    assert peak_bytes < MOST_MEMORY_BYTES
    assert took_s < MOST_S


def read(file):
    words = [sys.executable, "-c", READ, str(file)]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=120)
    rule, peak_bytes, took_s = done.stdout.split()
    print(done.stdout, end="")
    return rule, int(peak_bytes), float(took_s)


@pytest.mark.slow
def test_the_largest_board_can_be_submitted(honest, tmp_path):
    """`lifelong-256` asks 591,350 questions in five runs of 256 days; no two answers are alike."""
    units = []
    for phase in range(154):
        days = range(phase * 25, phase * 25 + 3_840)
        some = [answer(f"day{n // 30}-{n % 30}", n, f"answer {phase} {n}") for n in days]
        unit = text(morning(honest, answers=[])).replace(
            b'"answers":[]', b'"answers":[%s]' % b",".join(some)
        )
        units += [b"," * (phase > 0), unit]
    before, after = around(honest)
    found, peak_bytes, took_s = read(write(tmp_path / "x.json.gz", before, *units, after))
    assert found == "read"
    assert peak_bytes < MOST_MEMORY_BYTES
    assert took_s < MOST_S
