"""Questions answered a second: this substrate against lm-evaluation-harness's ``hf`` backend.

The same model (a scratch one, taught for a few seconds to answer and stop), the same 500 questions,
the same prompts, greedy decoding, the same limit of new tokens; both in turn in one process, after
a warm-up. Answers and scores must be identical. The harness gets the batch size (of 16, 64, 256)
that is fastest for it on the first 100 questions. Free text is decoded, choices are scored by
likelihood; "open book" puts one document before every question, as an evening exam does.
``--processor`` counts processor seconds, of all threads: fair on a machine that does other things
too. Needs the extra ``bench``.
"""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import argparse
import contextlib
import io
import statistics
import tempfile
import time
import warnings

from sleepgym import Budget, Document, Meter, Night
from sleepgym.core.grading import exact_match
from sleepgym.core.rng import derive_rng
from sleepgym_agents.lm.generation import generate
from sleepgym_agents.lm.model import LanguageModel
from sleepgym_agents.lm.scoring import choose
from sleepgym_agents.training.optimise import Example, TrainingSettings, optimise, plan

QUESTIONS = (
    "What colour is the house of {}?",
    "{} lives in a house; which colour does it have?",
    "Tell me the colour of {}'s house.",
    "The house of {} is",
    "Do you know how {} painted the house?",
)
COLOURS = ("red", "green", "blue", "yellow", "black", "white", "orange", "violet")
NEW_TOKENS = 32
BATCH_SIZES = (16, 64, 256)


def facts(count):
    rng = derive_rng(0, "answering")
    syllables = ("ka", "lo", "mi", "ru", "ten", "sa", "vor", "bel")
    names = ["".join(rng.choice(syllables, int(rng.integers(2, 6)))) for _ in range(count)]
    return [
        (str(rng.choice(QUESTIONS)).format(name), str(rng.choice(COLOURS)) + " with a door")
        for name in names
    ]


def taught(questions):
    """A scratch model that has learned to answer in a few words, rightly or not."""
    lm = LanguageModel.load("scratch")
    prompter = lm.prompter
    examples = [
        Example.joined((prompter.question(q), 0.0), (prompter.answer(a), 1.0)) for q, a in questions
    ]
    settings = TrainingSettings(learning_rate=3e-3, epochs=6)
    steps = plan(lm, examples, settings, derive_rng(0, "order"))
    optimise(lm, steps, settings, Night(1, Budget(), 0, Meter()))
    return lm


class Harness:
    """lm-evaluation-harness's own backend on the saved model."""

    def __init__(self, folder):
        from lm_eval.models.huggingface import HFLM

        self.backend = HFLM(pretrained=folder, device="cpu", dtype="float32", batch_size=1)

    def generate(self, prompts, stop, batch_size):
        options = {"until": [stop], "max_gen_toks": NEW_TOKENS, "do_sample": False}
        asked = [(prompt, dict(options)) for prompt in prompts]
        written = self._run("generate_until", asked, batch_size)
        return [text.strip() for text in written]

    def choose(self, prompts, labels, stop, batch_size):
        asked = [(prompt, label + stop) for prompt in prompts for label in labels]
        scores = [score for score, _ in self._run("loglikelihood", asked, batch_size)]
        rows = [scores[at : at + len(labels)] for at in range(0, len(scores), len(labels))]
        return [labels[row.index(max(row))] for row in rows]

    def _run(self, kind, arguments, batch_size):
        from lm_eval.api.instance import Instance

        self.backend.batch_size_per_gpu = batch_size
        requests = [Instance(kind, {}, pair, i) for i, pair in enumerate(arguments)]
        return getattr(self.backend, kind)(requests, disable_tqdm=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--questions", type=int, default=500)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--processor", action="store_true", help="count processor seconds instead")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    questions = facts(args.questions)
    gold = [answer for _, answer in questions]
    lm = taught(questions)
    passage = " ".join(f"There is a house {i} in town." for i in range(40))
    document = lm.prompter.document(Document(passage, "The town"))
    with tempfile.TemporaryDirectory() as folder:
        lm.model.save_pretrained(folder)
        lm.prompter.tokenizer.save_pretrained(folder)
        with contextlib.redirect_stderr(io.StringIO()):
            theirs = Harness(folder)
    print(
        f"{args.questions} questions, {lm.parameters:,} parameters, up to {NEW_TOKENS} new tokens"
    )
    print(f"{'':22} {'tokens':>6} {'sleepgym':>9} {'lm_eval':>9} {'ratio':>6}  batch  same  score")
    stop = lm.prompter.format.stop
    labels = tuple(dict.fromkeys(gold)) + tuple(f"{c} and round" for c in COLOURS)
    for name, context, choices in (
        ("free text, closed book", [], ()),
        ("free text, open book", [document], ()),
        (f"{len(labels)} choices, closed book", [], labels),
    ):
        ids = [lm.prompter.prompt(q, context) for q, _ in questions]
        texts = [lm.prompter.tokenizer.decode(prompt) for prompt in ids]

        def ours(ids=ids, choices=choices):
            if choices:
                return choose(lm, ids, [choices] * len(ids))
            return [lm.prompter.answer_text(answer) for answer in generate(lm, ids, NEW_TOKENS)]

        def other(batch_size, count=None, texts=texts, choices=choices):
            if choices:
                return theirs.choose(texts[:count], choices, stop, batch_size)
            return theirs.generate(texts[:count], stop, batch_size)

        clock = time.process_time if args.processor else time.perf_counter
        compare(name, max(map(len, ids)), gold, ours, other, args.repeats, clock)


def compare(name, length, gold, ours, theirs, repeats, clock):
    """Ours and theirs in turn; the harness with the batch size that is fastest for it."""
    trials = {size: seconds(clock, theirs, size, 100)[0] for size in BATCH_SIZES}
    best = min(trials, key=trials.get)
    ours()
    own, other = [], []
    for _ in range(repeats):
        elapsed, answers = seconds(clock, ours)
        own.append(elapsed)
        elapsed, expected = seconds(clock, theirs, best)
        other.append(elapsed)
    scores = [sum(map(exact_match, a, gold)) / len(gold) for a in (answers, expected)]
    if answers != expected or scores[0] != scores[1]:
        differing = [pair for pair in zip(answers, expected, strict=True) if pair[0] != pair[1]]
        raise SystemExit(f"{name}: {len(differing)} answers differ, first: {differing[:1]}")
    a, b = statistics.median(own), statistics.median(other)
    print(
        f"{name:22} {length:6} {len(gold) / a:7.1f}/s {len(gold) / b:7.1f}/s {b / a:6.2f}  {best:5}"
        f"  {'yes':>4}  {scores[0]:.3f}",
        flush=True,
    )


def seconds(clock, call, *args):
    start = clock()
    answers = call(*args)
    return clock() - start, answers


if __name__ == "__main__":
    main()
