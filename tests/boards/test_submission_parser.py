"""Whatever bytes come, the parser gives a submission or says which rule they break."""

import gzip
import json
import lzma

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import board_files
from sleepgym_boards.submission.files import BadSubmission, compress, decompress, dump, parse
from sleepgym_boards.submission.schema import Submission
from sleepgym_boards.verification.rules import READING
from sleepgym_boards.verification.verifier import verify

START = b'{"format":"sleepgym-submission","schema_version":2,'
RELAXED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    return board_files.packed("Honest", tmp_path_factory.mktemp("honest"), "100")


def parses(content):
    """The submission, or None where a rule of reading is broken; anything else is a crash."""
    try:
        return parse(content)
    except BadSubmission as error:
        refusal = error
    assert refusal.rule in READING
    assert str(refusal)
    return None


@given(content=st.binary(max_size=300))
def test_any_bytes(content):
    assert parses(content) is None


@given(text=st.binary(max_size=300))
def test_any_bytes_in_gzip(text):
    assert parses(gzip.compress(text)) is None
    assert parses(gzip.compress(START + text)) is None
    assert parses(lzma.compress(START + text)) is None
    assert parses(lzma.compress(START)[:6] + text) is None


def test_xz_holds_what_gzip_holds_and_is_read_as_closely(honest):
    text = decompress(honest[0])
    content = compress(text, ".json.xz")
    assert decompress(content) == text
    assert parse(content) == parse(honest[0])
    for bad, says in (
        (content[:-9], "it was cut off"),
        (content + b"x", "something follows the end of the xz stream"),
        (content + content, "something follows the end of the xz stream"),
        (content[:40] + bytes(9) + content[49:], "not a xz file"),
        (lzma.compress(bytes(97 << 20), preset=0), "it holds more than"),
        (lzma.compress(text, preset=9), "not a xz file: Memory usage limit exceeded"),
    ):
        with pytest.raises(BadSubmission, match=says):
            decompress(bad)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_subnormal=False)
    | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4)
    ),
    max_leaves=8,
)
FIELDS = ["board", "board_version", "date", "card", "runs", "format"]


@given(content=st.dictionaries(st.sampled_from(FIELDS), JSON))
def test_any_json(content):
    text = json.dumps(content, separators=(",", ":"))[1:].encode()
    assert parses(gzip.compress(START + text)) is None


def places(plain, path=()):
    """Every place of some JSON."""
    yield path
    items = enumerate(plain) if isinstance(plain, list) else ()
    for key, value in plain.items() if isinstance(plain, dict) else items:
        yield from places(value, (*path, key))


@given(data=st.data(), value=JSON, delete=st.booleans())
@RELAXED
def test_any_value_at_any_place_parses_or_is_refused_and_never_crashes(honest, data, value, delete):
    content, board = honest
    plain = json.loads(decompress(content))
    path = data.draw(st.sampled_from(list(places(plain))[1:]))
    target = plain
    for key in path[:-1]:
        target = target[key]
    if delete:
        del target[path[-1]]
    else:
        target[path[-1]] = value
    text = json.dumps(plain, ensure_ascii=False, separators=(",", ":")) + "\n"
    changed = compress(text.encode("utf-8", "surrogatepass"))
    verdict = verify(changed, board)
    if parses(changed) is None:
        assert not verdict.ok
    elif verdict.ok:  # what is not signed may say what it likes; all else is as it was
        assert path[0] in ("card", "date") or changed == content


@given(data=st.data(), byte=st.integers(0, 255))
@RELAXED
def test_any_byte_changed_is_refused_or_changes_the_content(honest, data, byte):
    content, _ = honest
    text = decompress(content)
    place = data.draw(st.integers(0, len(text) - 1))
    changed = text[:place] + bytes([byte]) + text[place + 1 :]
    found = parses(gzip.compress(changed))
    assert found is None or dump(found) == changed
    place = data.draw(st.integers(0, len(content) - 1))
    flipped = parses(content[:place] + bytes([byte]) + content[place + 1 :])
    assert flipped is None or flipped == parse(content)


def test_writing_and_reading_are_inverse(honest):
    content, _ = honest
    submission = parse(content)
    assert isinstance(submission, Submission)
    assert compress(dump(submission)) == content
