"""Streams that are made on demand say the same as those made at once."""

import hashlib
import json
from dataclasses import asdict, replace

import pytest

from sleepgym.core.lazy.sequences import LazySequence
from sleepgym.core.lazy.streams import LazyDays, LazyKey, LazyStream
from sleepgym.core.schedule import SAMPLED_DAYS, schedule
from sleepgym.core.types import Phase
from toy import Toy, ToyConfig


def lazy(stream, made=None):
    """The same stream with days that are made when they are asked for."""
    known = {}

    def make(number):
        if made is not None:
            made.append(number)
        day = stream.days[number - 1]
        known.update({i.id: stream.key[i.id] for r in (*day.practice, day.exam) for i in r})
        return replace(day, documents=LazySequence(lambda: day.documents))

    days = LazyDays(len(stream.days), make)
    known.update({item.id: stream.key[item.id] for item in stream.base})
    key = LazyKey(known, lambda: list(days))
    return LazyStream(
        stream.family, stream.config, stream.seed, days, stream.base, key, plan=stream.outlines
    )


def phases(stream, exams):
    """Phases with their documents in plain tuples."""
    steps = schedule(stream, exams)
    return [replace(step, documents=tuple(step.documents)) for step in steps]


def test_the_hash_is_that_of_the_whole_content_at_once():
    stream = Toy(ToyConfig(days=5)).stream(1)
    content = [
        [asdict(day) for day in stream.days],
        [asdict(item) for item in stream.base],
        sorted(stream.key.items()),
    ]
    whole = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    assert stream.content_hash == whole == lazy(stream).full_hash()


@pytest.mark.parametrize("exams", ["full", "spaced", "sampled"])
def test_a_lazy_stream_has_the_same_phases(exams):
    stream = Toy(ToyConfig(days=SAMPLED_DAYS + 6)).stream(2)
    assert phases(lazy(stream), exams) == phases(stream, exams)


def test_phases_are_found_from_either_end_and_in_slices():
    steps = schedule(Toy(ToyConfig(days=4)).stream(0), "spaced")
    everything = list(steps)
    assert len(everything) == len(steps) == 1 + 4 * 5
    assert [steps[i] for i in range(-len(steps), 0)] == everything
    assert steps[3:9] == tuple(everything[3:9])
    for index in (len(steps), -len(steps) - 1):
        with pytest.raises(IndexError):
            steps[index]


def test_the_start_makes_the_first_day_and_no_other():
    made = []
    stream = lazy(Toy(ToyConfig(days=1000)).stream(0), made)
    steps = schedule(stream, "sampled")
    assert len(steps) == 5001
    assert {item.day for item in steps[0].items} == {0, 1}
    assert stream.content_hash
    assert made == [1]
    morning = steps[-1 - 5 * 300]
    assert (morning.night, morning.phase) == (700, Phase.EXAM)
    assert sorted(made) == [1, 188, 444, 572, 636, 668, 684, 692, 696, 698, 699, 700, 701]


def test_the_identity_depends_on_what_the_stream_is_made_from():
    stream = Toy(ToyConfig(days=3)).stream(0)
    other_text = replace(stream.days[0], documents=())
    variants = [
        stream,
        replace(stream, seed=1),
        replace(stream, family="other"),
        replace(stream, config={"days": 4}),
        replace(stream, base=()),
        replace(stream, days=stream.days[:2]),
        replace(stream, days=(other_text, *stream.days[1:])),
    ]
    assert len({lazy(variant).content_hash for variant in variants}) == len(variants)


def test_the_key_knows_all_answers_once_all_days_are_made():
    stream = Toy(ToyConfig(days=3)).stream(0)
    assert dict(lazy(stream).key) == dict(stream.key)
    assert lazy(stream).key["d3q0"] == stream.key["d3q0"]
    with pytest.raises(KeyError):
        lazy(stream).key["nothing"]
    assert "Town" not in repr(lazy(stream).key)


def test_a_lazy_sequence_is_made_anew_and_reads_like_a_tuple():
    made = []

    def make():
        made.append(1)
        return iter("abcd")

    letters = LazySequence(make)
    assert list(letters) == list(letters) == ["a", "b", "c", "d"]
    assert len(made) <= 3  # `list` may ask for the length, which is counted once
    assert (len(letters), letters[1], letters[-1], letters[1:3]) == (4, "b", "d", ("b", "c"))
    assert letters == ("a", "b", "c", "d")
    assert letters == LazySequence(lambda: iter("abcd"))
    assert letters != ("a", "b", "c")
    assert letters != ("a", "b", "c", "d", "e")
    assert letters
    assert not LazySequence(lambda: ())
    with pytest.raises(IndexError):
        letters[4]


@pytest.mark.parametrize("days", [16, 64, 256])
def test_sampled_exams_ask_the_same_days_and_cost_t_log_t(days):
    steps = schedule(Toy(ToyConfig(days=days)).stream(0), "sampled")
    last = {item.day for item in steps[-1].items} - {0}
    assert len(last) == min(days, SAMPLED_DAYS)
    assert last == {
        item.day for item in schedule(Toy(ToyConfig(days=days)).stream(0))[-1].items
    } & (last)
    asked = sum(len(step.items) for step in steps if step.closed_book)
    assert asked < 2 * days * (days.bit_length() + 3)
