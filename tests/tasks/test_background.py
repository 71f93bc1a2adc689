"""Books read sentence by sentence, facts hidden among them, and what is no book."""

from __future__ import annotations

import itertools
import random

import pytest

import data_files
from sleepgym.core.errors import BadData, MissingData
from sleepgym_tasks.datasets.background import (
    MOBY_DICK,
    Book,
    chunked,
    hide,
    noise,
    open_book,
)


def test_a_gutenberg_file_is_read_between_its_marks(data_dir):
    book = Book(data_dir / MOBY_DICK)
    sentences = list(book.sentences(0.0))
    assert sentences[:3] == [
        f"“The whale {data_files.word(0)} swam by,” said {data_files.word(100)}.",
        "Was it white?",
        f"Nobody knew {data_files.word(0)}.",
    ]
    assert len(sentences) == 180
    assert book.characters == sum(len(sentence) + 1 for sentence in sentences)
    assert "HEADER" not in " ".join(sentences)
    assert "LICENCE" not in " ".join(sentences)


@pytest.mark.parametrize("start", [0.0, 0.3, 0.999])
def test_a_book_goes_round_from_any_place(start, data_dir):
    book = Book(data_dir / MOBY_DICK)
    words = sorted(" ".join(book.sentences(0.0)).split())
    assert sorted(" ".join(book.sentences(start)).split()) == words
    assert sorted(" ".join(book.sentences(start, 2)).split()) == sorted(words * 2)


def test_the_first_line_is_read(tmp_path):
    (tmp_path / "book.txt").write_text("One. Two.\nThree.\n\nFour.")
    assert list(Book(tmp_path / "book.txt").sentences(0.0)) == ["One.", "Two.", "Three.", "Four."]


def test_sentences_are_read_when_they_are_needed(tmp_path):
    path = tmp_path / "book.txt"
    data_files.write_book(path, 1000)
    book = Book(path)
    sentences = book.sentences(0.0)
    next(sentences)
    path.write_bytes(path.read_bytes()[:3000])  # the rest was not read yet
    assert len(list(sentences)) < 1000


def test_facts_keep_their_order_and_places():
    background = [f"b{n}" for n in range(100)]
    told = list(hide(["one", "two", "three"], [0.1, 0.5, 0.5], background, 300))
    assert [told.index(fact) for fact in ("one", "two", "three")] == [10, 41, 42]
    assert len(told) == 81
    assert list(hide(["one", "two"], [0.1, 0.5], background, 0)) == ["one", "two"]


def test_chunks_are_whole_sentences():
    sentences = list(itertools.islice(noise(random.Random(0)), 200))
    chunks = list(chunked(sentences, 50))
    assert " ".join(chunks) == " ".join(sentences)
    assert max(map(len, chunks)) <= 200
    assert min(map(len, chunks[:-1])) > 100


def test_what_is_no_book_is_named(tmp_path, data_dir):
    (tmp_path / "empty.txt").write_text("\n\n")
    with pytest.raises(BadData, match=r"empty\.txt: there is no text in it"):
        Book(tmp_path / "empty.txt").sentences(0.0)
    (tmp_path / "latin.txt").write_bytes("Gut.\n\nGrün.".encode("latin-1"))
    with pytest.raises(BadData, match=r"latin\.txt: not UTF-8 at byte 8"):
        Book(tmp_path / "latin.txt")
    with pytest.raises(MissingData, match=r"no text 'nothing\.txt' under"):
        open_book("nothing.txt", data_dir, 10, False)
    with pytest.raises(BadData, match=r"about 1,\d+ tokens, not the 10,000,000 asked for"):
        open_book(MOBY_DICK, data_dir, 10_000_000, False)
    assert open_book(MOBY_DICK, data_dir, 10_000_000, True).characters > 4000
