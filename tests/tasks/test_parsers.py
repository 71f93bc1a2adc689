"""Strict reading of the original formats: what is malformed is refused, by file and record."""

from __future__ import annotations

import json
import string
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sleepgym.core.errors import BadData
from sleepgym_tasks.data import parsing
from sleepgym_tasks.datasets import banking77, clinc150, dbpedia, squad_files

PASSAGES = [
    {"title": "A", "context": "in May", "questions": [{"question": "q", "answer": "May"}]},
    {"title": "B", "context": "it is 7", "questions": [{"question": "q", "answer": "7"}]},
]
TREE = {
    "data": [
        {
            "title": "A_b",
            "paragraphs": [
                {
                    "context": "in May",
                    "qas": [{"question": "q", "answers": [{"text": "May", "answer_start": 3}]}],
                }
            ],
        }
    ]
}
CLINC = {
    "train": [["x", "a"], ["y", "b"]],
    "test": [["z", "a"], ["w", "b"]],
    "oos_train": [["o", "oos"]],
    "oos_test": [["p", "oos"]],
}
RECORDS = [{"label": "a", "sentence": f"s{i}"} for i in range(5)]
ASKED = {**TREE["data"][0]["paragraphs"][0]["qas"][0], "id": "q"}
ARTICLE = {"title": "T", "paragraphs": [{**TREE["data"][0]["paragraphs"][0], "qas": [ASKED]}]}
TWICE = {"data": [ARTICLE, ARTICLE]}
PARSERS = {
    "seal": (squad_files.parse, PASSAGES),
    "tree": (squad_files.parse, TREE),
    "clinc": (lambda path: clinc150.parse_data(path, (("a",), ("b",))), CLINC),
    "domains": (clinc150.parse_domains, {"one": ["a", "b"], "two": ["c"]}),
    "categories": (banking77.parse_categories, ["a", "b"]),
    "records": (lambda path: dbpedia.parse_records(path, ("a",)), RECORDS),
    "banking": (lambda path: list(banking77.parse_rows(path, ("a", "b"), "train")), None),
    "dbpedia": (lambda path: dbpedia.parse_rows(path, "train"), None),
}
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_subnormal=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


def damaged(content, choose, value):
    """``content`` with one node, somewhere, replaced by ``value``."""
    if not isinstance(content, (list, dict)) or not content or choose(st.booleans()):
        return value
    keys = list(content) if isinstance(content, dict) else list(range(len(content)))
    key = choose(st.sampled_from(keys))
    copy = content.copy()
    copy[key] = damaged(content[key], choose, value)
    return copy


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("parsers") / "file"


@pytest.mark.parametrize("name", [name for name, (_, valid) in PARSERS.items() if valid])
def test_the_valid_examples_are_read(name, file):
    parser, valid = PARSERS[name]
    file.write_text(json.dumps(valid))
    assert parser(file)


@pytest.mark.parametrize("name", PARSERS)
@settings(max_examples=60, deadline=None, derandomize=True)
@given(drawn=st.data())
def test_malformed_input_is_refused_and_nothing_else(name, file, drawn):
    parser, valid = PARSERS[name]
    if valid is None:
        rows = drawn.draw(st.text(alphabet='ab,"\n\r\0\ud7ff' + string.digits, max_size=60))
        header = drawn.draw(st.sampled_from(["text,category\n", "text,l2\n", ""]))
        file.write_bytes((header + rows).encode())
    else:
        content = damaged(valid, drawn.draw, drawn.draw(JSON))
        file.write_text(json.dumps(content))
    check(parser, file)


@pytest.mark.parametrize("name", PARSERS)
@settings(max_examples=30, deadline=None, derandomize=True)
@given(content=st.binary(max_size=40) | st.just(b"[" * 100_000) | st.just(b'["\\ud800"]'))
def test_any_bytes_are_refused_and_nothing_else(name, file, content):
    file.write_bytes(content)
    check(PARSERS[name][0], file)


def check(parser, path: Path) -> None:
    message = str(path)
    try:
        parser(path)
    except BadData as error:
        message = str(error)
    assert str(path) in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("name", "content", "where"),
    [
        ("seal", [PASSAGES[0], {**PASSAGES[1], "context": "x"}], r"\[1\]\.questions\[0\]: .*'7'"),
        ("seal", [PASSAGES[0], {"title": "B"}], r"\[1\]: no 'context'"),
        ("seal", {"rows": []}, "neither a list of passages"),
        ("tree", {**TREE, "version": "v2.0"}, r"SQuAD of version 'v2\.0', not 1\.1"),
        (
            "tree",
            TWICE,
            r"data\[1\]\.paragraphs\[0\]\.qas\[0\]: the id 'q' occurs before, in data\[0\]",
        ),
        ("clinc", {**CLINC, "test": [["z", "a"], ["w"]]}, r"test\[1\]: not a pair"),
        ("clinc", {**CLINC, "test": [["z", "c"]]}, r"test\[0\]: the label 'c'"),
        ("clinc", {**CLINC, "train": [["z", "a"]]}, "no example of the label 'b'"),
        ("clinc", {**CLINC, "oos_test": [["z", "a"]]}, r"oos_test\[0\]: the label 'a'"),
        ("domains", {"one": ["a"], "two": ["a"]}, "domain 'two': the intent 'a' is taken"),
        ("categories", ["a", "b", "a"], r"\[2\]: the name 'a' occurs twice"),
        ("records", [*RECORDS, {"label": "z", "sentence": "s"}], r"\[5\]: the label 'z'"),
        ("records", [{"label": "a", "sentence": 3}], r"\[0\]: the sentence is 3, not text"),
    ],
)
def test_the_error_names_file_and_record(name, content, where, file):
    file.write_text(json.dumps(content))
    with pytest.raises(BadData, match=where) as caught:
        PARSERS[name][0](file)
    assert str(file) in str(caught.value)


def test_a_wrong_offset_is_found(file):
    content = json.loads(json.dumps(TREE))
    content["data"][0]["paragraphs"][0]["qas"][0]["answers"][0]["answer_start"] = 2
    file.write_text(json.dumps(content))
    with pytest.raises(BadData, match=r"qas\[0\]: the answer 'May' is not at answer_start=2"):
        squad_files.parse(file)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("text\nx\n", "no single column 'category'"),
        ("text,category\nx,a\ny\n", "row 2: 1 fields, not 2"),
        ("text,category\nx,a\ny,c\n", "row 2: the label 'c'"),
        ('text,category\nx,a\n"y,b\n', "row 2: not CSV"),
    ],
)
def test_bad_csv_is_named_by_row(text, what, file):
    file.write_text(text)
    with pytest.raises(BadData, match=what):
        PARSERS["banking"][0](file)


def test_a_file_that_cannot_be_read_is_bad_data(tmp_path):
    with pytest.raises(BadData, match="cannot be read"):
        parsing.read_json(tmp_path)
