"""The stream of training tokens: sequences by share, encoded, packed into rows, made by workers."""

import multiprocessing
import random
import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy
from sequences import MAKERS, Sequence
from tokenizer import PIECES
from tokenizers import Tokenizer

from sleepgym_tasks.worlds.language.seeds import derive

SHARES = {
    "reading": 0.41,
    "study": 0.30,
    "base": 0.08,
    "few_shot": 0.10,
    "intents": 0.07,
    "extract": 0.04,
}
LONG_SHARE = 0.25
CACHE_ENTRIES = 400_000
WAITING_SEQUENCES = 8
WEIGHT_STEPS = 10  # weights travel as tenths


class Encoder:
    """Encodes text as the tokenizer does, several times faster: each piece is looked up.

    Args:
        path: The `tokenizer.json`.
    """

    def __init__(self, path: Path) -> None:
        tokenizer = Tokenizer.from_file(str(path))
        self._split = re.compile(PIECES).findall
        self._known = _Pieces(tokenizer)
        self.special = {
            token.content: index for index, token in tokenizer.get_added_tokens_decoder().items()
        }

    def encode_parts(self, parts: Sequence) -> tuple[list[int], list[int]]:
        """Return the ids of a sequence and the loss weight of each, in tenths."""
        ids: list[int] = []
        weights: list[int] = []
        for marker, text, weight in parts:
            ids.append(self.special[marker])
            if text:
                ids += chain.from_iterable(map(self._known.__getitem__, self._split(" " + text)))
            weights += [int(weight * WEIGHT_STEPS + 0.5)] * (len(ids) - len(weights))
        return ids, weights


class _Pieces(dict):
    """Token ids by piece of text; what is not there yet is asked of the tokenizer."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        super().__init__()
        self._tokenizer = tokenizer

    def __missing__(self, piece: str) -> tuple[int, ...]:
        if len(self) > CACHE_ENTRIES:
            self.clear()
        symbols = self._tokenizer.pre_tokenizer.pre_tokenize_str(piece)
        tokenize = self._tokenizer.model.tokenize
        ids = self[piece] = tuple(t.id for symbol, _ in symbols for t in tokenize(symbol))
        return ids


def rows(
    encoder: Encoder, rng: random.Random, row_tokens: int, long: bool
) -> Iterator[tuple[numpy.ndarray, numpy.ndarray]]:
    """Yield packed rows of ids and weights for ever.

    A row takes the longest of a few waiting sequences that still fits, and cuts one only to fill
    its end: no question is trained on whose passage is missing. Kinds are drawn so that SHARES
    hold in tokens.
    """
    spent = dict.fromkeys(SHARES, 1.0)
    waiting: list[tuple[list[int], list[int]]] = []
    while True:
        ids: list[int] = []
        weights: list[int] = []
        while room := row_tokens - len(ids):
            while len(waiting) < WAITING_SEQUENCES:
                # the kind that is furthest behind its share, with some noise
                kind = min(SHARES, key=lambda k: spent[k] / SHARES[k] * (0.9 + 0.2 * rng.random()))
                sequence = encoder.encode_parts(MAKERS[kind](rng, long))
                spent[kind] += min(len(sequence[0]), row_tokens)
                waiting.append(sequence)
            lengths = [min(len(sequence[0]), row_tokens) for sequence in waiting]
            fitting = [length for length in lengths if length <= room]
            chosen = lengths.index(max(fitting) if fitting else min(lengths))
            more, their_weights = waiting.pop(chosen)
            ids += more[:room]
            weights += their_weights[:room]
        yield numpy.array(ids, dtype=numpy.uint16), numpy.array(weights, dtype=numpy.uint8)


def _work(path: Path, seed: int, worker: int, batch_tokens: int, queue) -> None:
    encoder = Encoder(path)
    rng = derive(seed, "mixture", worker)
    short, long = rows(encoder, rng, 1024, False), rows(encoder, rng, 2048, True)
    while True:
        source, row_tokens = (long, 2048) if rng.random() < LONG_SHARE else (short, 1024)
        batch = [next(source) for _ in range(batch_tokens // row_tokens)]
        queue.put((numpy.stack([b[0] for b in batch]), numpy.stack([b[1] for b in batch])))


class Feed:
    """Batches made by worker processes.

    Args:
        path: The `tokenizer.json`.
        seed: Seed of the stream; workers derive theirs from it.
        workers: Number of processes.
        batch_tokens: Tokens of a batch: 1,024- or 2,048-token rows, one length a batch.
    """

    def __init__(self, path: Path, seed: int, workers: int, batch_tokens: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._queue = context.Queue(maxsize=6 * workers)
        self._workers = [
            context.Process(
                target=_work, args=(path, seed, i, batch_tokens, self._queue), daemon=True
            )
            for i in range(workers)
        ]
        for worker in self._workers:
            worker.start()

    def batch(self) -> tuple[numpy.ndarray, numpy.ndarray]:
        """Return the next batch: ids and weights, rows by tokens."""
        return self._queue.get()

    def ready(self) -> int:
        """Return how many batches wait, 0 if the workers are the bottleneck."""
        return self._queue.qsize()

    def close(self) -> None:
        """End the workers."""
        for worker in self._workers:
            worker.terminate()
