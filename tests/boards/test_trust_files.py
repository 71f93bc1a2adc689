"""Files that mean harm: each is refused by the rule named here, quickly and in little space."""

import gzip
import json
import pickle
import struct
import sys
import time
import tracemalloc
import zlib
from datetime import UTC, datetime, timedelta

import pytest

import board_files
from board_files import broken, edited
from sleepgym_boards.submission import files, pieces
from sleepgym_boards.verification.verifier import verify, verify_file

TINY = struct.unpack("<d", bytes([1, *[0] * 7]))[0]  # 5e-324, whatever this process flushes


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    return board_files.packed("Honest", tmp_path_factory.mktemp("honest"))[0]


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    return board_files.write_board(tmp_path_factory.mktemp("board"))


def refused_by(content, board=None):
    verdict = verify(content, board)
    assert verdict.header is None
    assert verdict.results is None
    assert len(broken(verdict)) == 1
    assert [rule.ok for rule in verdict.rules].count(None) > 0
    return broken(verdict)[0]


def ten_gigabytes():
    """A gzip stream of 10 GiB of zeros in about 10 MB: one flushed block, again and again."""
    press = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    zeros = bytes(1 << 20)
    first = press.compress(zeros) + press.flush(zlib.Z_FULL_FLUSH)
    header = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03"
    return header + first * (10 << 10)


def test_a_bomb_is_not_unpacked():
    bomb = ten_gigabytes()
    assert len(bomb) < files.MAX_FILE_BYTES
    tracemalloc.start()
    started_s = time.perf_counter()
    assert refused_by(bomb) == "size"
    assert time.perf_counter() - started_s < 10
    assert tracemalloc.get_traced_memory()[1] < 2.2 * pieces.MAX_CONTENT_BYTES
    tracemalloc.stop()


def test_a_large_file_is_not_read(tmp_path):
    file = tmp_path / "large.json.gz"
    with open(file, "wb") as stream:
        stream.truncate(10 << 30)  # a hole: no byte is written
    tracemalloc.start()
    assert broken(verify_file(file)) == ["size"]
    assert tracemalloc.get_traced_memory()[1] < 2.2 * files.MAX_FILE_BYTES
    tracemalloc.stop()


START = b'{"format":"sleepgym-submission","schema_version":2,'


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'[{"":'])
def test_deep_nesting_is_not_followed(opening):
    text = START + b'"runs":' + opening * 400_000
    assert refused_by(gzip.compress(text)) == "schema"


def test_brackets_in_a_string_are_no_nesting(honest, board):
    def talk(plain):
        plain["card"]["summary"] = '\\"[[[[[[[[[[[[[[[[{{{{{{{{{{{{{{{{{{{{ "\\'

    assert verify(edited(honest, talk), board).ok


class Payload:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize(
    ("wrap", "rule"), [(bytes, "container"), (gzip.compress, "schema")], ids=["bare", "gzipped"]
)
def test_a_pickle_in_disguise_is_not_opened(tmp_path, wrap, rule):
    mark = tmp_path / "owned"
    content = pickle.dumps(Payload(mark))
    assert refused_by(wrap(content)) == rule
    assert not mark.exists()
    pickle.loads(content).close()
    assert mark.exists()  # the payload works


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.999])
def test_a_truncated_file_is_refused(honest, share):
    assert refused_by(honest[: int(share * len(honest))]) == "container"


def test_what_follows_the_stream_is_refused(honest):
    assert refused_by(honest + b"more") == "container"
    assert refused_by(honest + honest) == "container"
    assert refused_by(honest[:-1] + bytes([honest[-1] ^ 1])) == "container"  # length in the trailer


def test_a_later_schema_is_refused_in_words(honest):
    text = files.decompress(honest).replace(b'"schema_version":2,', b'"schema_version":3,', 1)
    content = gzip.compress(text)
    assert refused_by(content) == "schema"
    problem = next(r.problems[0] for r in verify(content).rules if r.problems)
    assert problem == "schema 3 is of a later SleepGym; this one reads 2: update it"


def put(path, value):
    """A change that sets one place of the content."""

    def change(plain):
        for key in path[:-1]:
            plain = plain[key]
        plain[path[-1]] = value

    return change


ANSWER = ("runs", 0, "phases", 0, "answers", 0)
NIGHT = ("runs", 0, "phases", 4)
SCHEMA_CASES = {
    "NaN score": put((*ANSWER, "score"), float("nan")),
    "infinite seconds": put((*NIGHT, "seconds"), float("inf")),
    "NaN in a log": put((*NIGHT, "ledger", "log"), {"loss": float("nan")}),
    "NaN in a setting": put(("runs", 0, "method", "settings"), {"rate": float("nan")}),
    "negative cost": put((*NIGHT, "flops"), -1.0),
    "score above 1": put((*ANSWER, "score"), 1.5),
    "score as text": put((*ANSWER, "score"), "1.0"),
    "true as a seed": put(("runs", 0, "seed"), True),
    "path in the method's name": put(("card", "name"), "../../etc/passwd"),
    "dots in the method's name": put(("card", "name"), "a..b"),
    "path in the board's name": put(("board",), "../almanac-8"),
    "script in the method's name": put(("card", "name"), "<script>alert(1)</script>"),
    "script as code address": put(("card", "code"), "javascript:alert(1)"),
    "quotes in the code address": put(("card", "code"), 'https://a.org/"onclick="x'),
    "control characters in a summary": put(("card", "summary"), "fine\x1b[2J"),
    "text turned around in a summary": put(("card", "summary"), "fine\u202egnp"),
    "empty name": put(("card", "name"), ""),
    "unknown field": put(("card", "rank"), 1),
    "unknown limit": put(("runs", 0, "limits", "patience"), 1),
    "dirty commit": put(("card", "commit"), "0123abc-dirty"),
    "no date": put(("date",), "2026-02-30"),
    "long answer": put((*ANSWER, "text"), "x" * 2001),
    "nested settings": put(("runs", 0, "method", "settings"), {"a": {"b": {"c": 1}}}),
    "no run": put(("runs",), []),
    "tuning seeds in words": put(("card", "tuning_seeds"), "some"),
    "tuning seeds that run backwards": put(("card", "tuning_seeds"), "99-0"),
    "the year 9999": put(("date",), "9999-01-01"),
    "the day after tomorrow": put(
        ("date",), (datetime.now(UTC).date() + timedelta(days=2)).isoformat()
    ),
    "a day before the project": put(("date",), "2026-11-21"),
    "line break in a setting": put(("runs", 0, "method", "settings"), {"a": "b\nc"}),
    "escape in a setting": put(("runs", 0, "method", "settings"), {"a": "\x1b]0;x\x07"}),
    "text turned around in a setting": put(("runs", 0, "method", "settings"), {"a": ["\u202ex"]}),
    "isolate in a nested setting": put(("runs", 0, "method", "settings"), {"a": {"b": "\u2066x"}}),
    "text turned around in a setting of the environment": put(
        ("runs", 0, "environment", "settings"), {"a": "\u202ex"}
    ),
    "control character in a model": put(("runs", 0, "method", "model"), "a\x7f"),
    "line separator in an author": put(("card", "authors"), ["a\u2028b"]),
    "control character in a platform": put(("runs", 0, "platform"), {"python": "3\x00"}),
    "text turned around in a log": put((*NIGHT, "ledger", "log"), {"\u202ex": 1.0}),
    "seconds of 5e-324": put((*NIGHT, "seconds"), TINY),
    "seconds of 1e308": put((*NIGHT, "seconds"), 1e308),
    "operations of 1e308": put((*NIGHT, "flops"), 1e308),
    "operations of 5e-324": put((*NIGHT, "flops"), TINY),
    "1e308 in a log": put((*NIGHT, "ledger", "log"), {"loss": 1e308}),
    "5e-324 in a setting": put(("runs", 0, "method", "settings"), {"rate": TINY}),
    "an endless number in a setting": put(("runs", 0, "method", "settings"), {"n": 10**400}),
    "1e308 in a limit": put(("runs", 0, "limits", "night_flops"), 1e308),
    "a state of 2**53 bytes": put((*NIGHT, "ledger", "state_bytes"), 2**53),
    "line break in an agent": put(("runs", 0, "method", "agent"), "a\nb"),
}


@pytest.fixture
def tiny_numbers():
    """A verifier loads no model; a worker that has loaded one flushes the smallest numbers to 0."""
    torch = sys.modules.get("torch")
    if torch:
        torch.set_flush_denormal(False)
    yield
    if torch:
        torch.set_flush_denormal(True)


@pytest.mark.usefixtures("tiny_numbers")
@pytest.mark.parametrize("case", SCHEMA_CASES)
def test_the_schema_refuses(honest, case):
    assert refused_by(edited(honest, SCHEMA_CASES[case], sign=False)) == "schema"


@pytest.mark.parametrize("text", [b"", b"[]", b"null", b"\xff\xfe", START, START + b"}", b"{}" * 9])
def test_what_is_no_submission_is_refused(text):
    assert refused_by(gzip.compress(text)) == "schema"


def test_text_that_is_no_utf8_is_refused(honest):
    text = files.decompress(honest).replace(b"Writes down", b"Writes d\xffwn")
    assert refused_by(gzip.compress(text)) == "schema"


def test_half_a_character_is_refused(honest):
    text = files.decompress(honest).replace(b"Writes down", b"Writes\\ud800")
    assert refused_by(gzip.compress(text)) == "schema"


def rewritten(honest, old, new):
    text = files.decompress(honest)
    assert old in text
    return gzip.compress(text.replace(old, new, 1))


def test_one_content_has_one_form(honest):
    plain = json.loads(files.decompress(honest))
    spaced = gzip.compress(json.dumps(plain).replace("{", "{ ").encode())
    assert refused_by(spaced) == "schema"  # it does not begin as it must
    assert refused_by(rewritten(honest, b'"board":', b' "board":')) == "canonical"
    twice = b'"board_version":1,"board_version":2'
    assert refused_by(rewritten(honest, b'"board_version":2', twice)) == "canonical"
    assert refused_by(rewritten(honest, b"Writes", b"\\u0057rites")) == "canonical"


def test_a_million_errors_stop_at_the_first():
    text = START + b'"runs":[' + b"1," * 2_000_000 + b"1]}\n"
    started_s = time.perf_counter()
    assert refused_by(gzip.compress(text)) == "schema"
    assert time.perf_counter() - started_s < 5
