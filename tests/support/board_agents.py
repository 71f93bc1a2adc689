"""Agents for tests of the boards: an honest one, and some that cheat. Imports no task family."""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from sleepgym import Agent, AnswerKey, make_env


class Honest(Agent):
    """Writes down what it reads, and says what that costs."""

    def __init__(self, config=None, **kwargs) -> None:
        super().__init__(config, **kwargs)
        self.notes: dict[str, str] = {"home": "here"}

    def study(self, documents):
        for document in documents:
            self.notes[document.title] = document.text.rsplit(" ", 1)[1][:-1]

    def answer(self, questions):
        return [q.choices[0] if q.choices else self._answer(q) for q in questions]

    def _answer(self, question):
        known = (town for name, town in self.notes.items() if name in question.text)
        return next(known, "unknown")

    def save(self, path: Path):
        (path / "notes.json").write_text(json.dumps(self.notes, sort_keys=True))

    def load(self, path: Path):
        self.notes = json.loads((path / "notes.json").read_text())

    def sleep(self, night):
        self.meter.train_tokens += len(self.notes)
        self.meter.flops += 1000.0 * len(self.notes)
        return {"notes": len(self.notes)}


class Twin(Honest):
    """Another agent that does the same."""


class Modelled(Honest):
    """Says that it uses a language model."""

    uses_model = True


class Dicer(Honest):
    """Remembers what it read on days that its seed chooses."""

    def sleep(self, night):
        if night.derive_seed("keep") % 2:
            self.notes = {"home": f"dice {night.derive_seed('home') % 1000}"}
        return super().sleep(night)


class Bloated(Honest):
    """Keeps far more text than it needs."""

    def save(self, path: Path):
        super().save(path)
        (path / "diary.txt").write_text("dear diary " * 1000)


class Padder(Honest):
    """Hides its notes in tensors that it calls weights."""

    def save(self, path: Path):
        text = json.dumps(self.notes, sort_keys=True).encode()
        hidden = np.zeros(4096, dtype=np.uint8)
        hidden[: len(text)] = list(text)
        save_file({"layer.weight": hidden.view(np.float32)}, path / "weights.safetensors")

    def load(self, path: Path):
        hidden = load_file(path / "weights.safetensors")["layer.weight"].tobytes()
        self.notes = json.loads(hidden.rstrip(b"\0"))


class Namer(Honest):
    """Keeps its notes in the names of empty files."""

    def save(self, path: Path):
        for name, town in self.notes.items():
            (path / f"{name}={town}").touch()

    def load(self, path: Path):
        self.notes = dict(file.name.split("=") for file in path.iterdir())


class Weigher(Honest):
    """Keeps its notes, and numbers that change every night."""

    def save(self, path: Path):
        super().save(path)
        numbers = np.full(20_000, len(self.notes), dtype=np.float32)
        save_file({"layer.weight": numbers}, path / "weights.safetensors")


class Hider(Honest):
    """Keeps its notes in a class attribute, outside the saved state."""

    hidden: dict[str, str] = {}  # noqa: RUF012

    def study(self, documents):
        super().study(documents)
        Hider.hidden.update(self.notes)

    def save(self, path: Path):
        (path / "nothing").write_text("")

    def load(self, path: Path):
        self.notes.update(Hider.hidden)


class Ignorant(Honest):
    """Learns nothing."""

    def study(self, documents):
        pass


class Sly(Honest):
    """Remembers of whom it read, not what; asks elsewhere, so as not to know what nobody taught."""

    def study(self, documents):
        self.notes |= {document.title: "" for document in documents}

    def _answer(self, question):
        known = any(name in question.text for name in self.notes)
        return self.look_up(question) if known else "unknown"

    def look_up(self, question):
        raise NotImplementedError


class Spy(Sly):
    """Looks for the environment in the frames that called it, and reads the key there."""

    def look_up(self, question):
        frame = sys._getframe()
        while frame := frame.f_back:
            env = getattr(frame.f_locals.get("self"), "env", None)
            for item in frame.f_locals["step"].items if env and "step" in frame.f_locals else ():
                if item.question == question:
                    return env.stream.key[item.id][0]
        return "unknown"


class Collector(Sly):
    """Asks the garbage collector for every answer key there is."""

    def look_up(self, question):
        number = question.text.removeprefix("Where is Person").rstrip("?")
        item_id = f"d{number[0]}q{number[1:]}"
        keys = [o for o in gc.get_objects() if type(o) is AnswerKey]
        return next((key[item_id][0] for key in keys if item_id in key), "unknown")


class Rebuilder(Sly):
    """Makes the stream for itself, from the seed that it is given."""

    def look_up(self, question):
        env = make_env("toy:Toy")
        env.reset(seed=self.seed)
        for step in env.steps:
            for item in step.items:
                if item.question == question:
                    return env.stream.key[item.id][0]
        return "unknown"


class Mounted(Sly):
    """Says that what lies beside the answers is its model, and reads them there."""

    uses_model = True

    def look_up(self, question):
        return json.loads((Path(self.model) / "answers.json").read_text())[question.text]


class Listener(Honest):
    """Keeps what it will be asked about: it leaves every exam's questions where it sleeps."""

    drop = Path("/tmp/sleepgym-test-heard")

    def answer(self, questions):
        with self.drop.open("a") as file:
            file.writelines(f"{question.text}\n" for question in questions)
        return super().answer(questions)

    def sleep(self, night):
        heard = self.drop.read_text() if self.drop.exists() else ""
        self.notes = {name: town for name, town in self.notes.items() if name in heard}
        return super().sleep(night)


class Reader(Honest):
    """Trains while it reads, and while it saves."""

    def study(self, documents):
        super().study(documents)
        self.meter.train_tokens += 500
        self.meter.flops += 500.0

    def save(self, path: Path):
        super().save(path)
        self.meter.flops += 700.0


class Crammer(Honest):
    """Learns while it answers."""

    def answer(self, questions):
        self.notes[f"asked{len(self.notes)}"] = "x"
        return super().answer(questions)


class Verbose(Honest):
    """Gives answers longer than a submission keeps."""

    def _answer(self, question):
        return super()._answer(question) + " and then some" * 200


class Yes(str):
    """An answer that says of itself that it is right."""

    __hash__ = str.__hash__

    def __eq__(self, other):
        return True


class Agreeable(Honest):
    """Answers what is equal to everything."""

    def _answer(self, question):
        return Yes("whatever you like")
