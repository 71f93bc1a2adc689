"""Miniature files in every original format, with invented content: ``write_all(folder)``.

They stand in for the third-party data sets, so that every family runs without them. Sizes are a
fraction of the originals; the layouts are the originals'.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

SYLLABLES = ("ba", "de", "fi", "go", "lu", "ma", "ne", "pi", "ro", "tu", "va", "zo")


def word(number: int) -> str:
    """A made-up word; a different one for every number below 1,728."""
    return "".join(SYLLABLES[number // 12**expert_id % 12] for expert_id in range(3))


def write_all(folder: Path) -> None:
    """Write every miniature data set under ``folder``, as ``--data`` expects them."""
    write_clinc150(folder / "clinc150")
    write_banking77(folder / "banking77")
    write_dbpedia(folder / "dbpedia")
    write_olora(folder / "olora_cl_benchmark" / "CL_Benchmark" / "TC" / "dbpedia")
    write_squad(folder)
    write_classification(folder / "olora_cl_benchmark" / "CL_Benchmark")
    write_book(folder / "gutenberg_moby_dick" / "2701-0.txt")
    write_ruler(folder / "ruler_niah_words")
    write_babi(folder / "babi" / "tasks_1-20_v1-2" / "en-10k")
    write_mtob(folder / "kalamang")
    write_long_documents(folder)
    write_own(folder)
    write_edits(folder)
    write_arc(folder / "arc_agi_1")


def write_json(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def utterances(label: str, first: int, count: int) -> list[str]:
    """Different short texts about one label."""
    return [f"please {word(first + i)} my {label.lower()} and {word(i)}" for i in range(count)]


def write_clinc150(folder: Path) -> None:
    """Ten domains of three intents; 12 training and 6 test queries an intent; 20 out of scope."""
    domains = {
        f"domain_{word(d)}": [f"{word(100 + 3 * d + i)}_intent" for i in range(3)]
        for d in range(10)
    }
    intents = [intent for own in domains.values() for intent in own]

    def part(first: int, count: int) -> list[list[str]]:
        return [[text, label] for label in intents for text in utterances(label, first, count)]

    def oos(first: int, count: int) -> list[list[str]]:
        return [[f"who knows about {word(first + i)}", "oos"] for i in range(count)]

    data = {"train": part(200, 12), "val": part(300, 2), "test": part(400, 6)}
    data |= {"oos_train": oos(500, 20), "oos_val": oos(600, 5), "oos_test": oos(700, 20)}
    write_json(folder / "data_full.json", data)
    write_json(folder / "domains.json", domains)


def write_csv(path: Path, rows: list[list[str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


def write_banking77(folder: Path) -> None:
    """Fourteen intents; texts with commas, quotation marks and a line break."""
    labels = [f"{word(150 + i)}_request" for i in range(14)]
    for name, first, count in (("train", 200, 12), ("test", 400, 6)):
        rows = [
            [f'{text}, or "{word(first)}"\nsoon?', label]
            for label in labels
            for text in utterances(label, first, count)
        ]
        write_csv(folder / f"{name}.csv", [["text", "category"], *rows])
    write_json(folder / "categories.json", labels)


def write_dbpedia(folder: Path) -> None:
    """Twenty classes of level 2 under four of level 1."""
    labels = [word(170 + i).capitalize() for i in range(20)]
    for name, first, count in (("train", 200, 12), ("test", 400, 6)):
        rows = [
            [text, f"Top{index % 4}", label, f"{label}Kind"]
            for index, label in enumerate(labels)
            for text in utterances(label, first, count)
        ]
        write_csv(folder / f"DBPEDIA_{name}.csv", [["text", "l1", "l2", "l3"], *rows])


def write_olora(folder: Path) -> None:
    """Fourteen classes, 20 records each, interleaved."""
    labels = [f"{word(230 + i).capitalize()} Thing" for i in range(14)]
    records = [
        {"label": label, "sentence": f"Title: {word(i)}\nText:  {utterances(label, i, 1)[0]}\n"}
        for i in range(20)
        for label in labels
    ]
    write_json(folder / "labels.json", labels)
    write_json(folder / "test.json", records)


def passage(number: int) -> dict:
    """A passage in SEAL's layout; the answers are words that no question holds."""
    river, town, year = word(300 + number), word(600 + number), 1000 + number
    context = (
        f"The river {river} meets the sea at {town}. Its bridge was built in {year}, after all."
    )
    questions = [
        {"question": f"Where does the river {river} meet the sea?", "answer": town},
        {"question": f"When was the bridge over the {river} built?", "answer": str(year)},
    ]
    return {"title": f"{river.capitalize()} (river)", "context": context, "questions": questions}


def tree(passages: list[dict]) -> dict:
    """The same passages in the layout of SQuAD v1.1, with a second accepted answer each."""
    articles = []
    for number, one in enumerate(passages):
        context = one["context"]
        qas = []
        for which, entry in enumerate(one["questions"]):
            start = context.index(entry["answer"])
            longer = context[start - 3 : start + len(entry["answer"])]
            answers = [
                {"text": entry["answer"], "answer_start": start},
                {"text": entry["answer"], "answer_start": start},
                {"text": longer, "answer_start": start - 3},
            ]
            qas.append({"id": f"{number:x}-{which}", "question": entry["question"]})
            qas[-1]["answers"] = answers
        paragraphs = [{"context": context, "qas": qas}]
        articles.append({"title": one["title"].replace(" ", "_"), "paragraphs": paragraphs})
    return {"version": "1.1", "data": articles}


def write_squad(folder: Path) -> None:
    """Sixty passages in either layout; SEAL's evaluation file carries prompt and completions."""
    passages = [passage(number) for number in range(60)]
    seal = [{**one, "prompt": "p", "completions": ["c"]} for one in passages]
    write_json(folder / "squad_seal" / "base_val.json", seal)
    write_json(folder / "squad_seal" / "iter0_train.json", seal[::-1])
    write_json(folder / "squad_seal" / "squad_val.json", passages)
    write_json(folder / "squad" / "dev-v1.1.json", tree(passages))
    write_json(folder / "squad" / "train-v1.1.json", tree(passages[::-1]))
    write_json(folder / "squad_xquad_en" / "xquad.en.json", tree(passages[:55]))


def write_jsonl(path: Path, records: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(record, ensure_ascii=False) + "\n" for record in records]
    path.write_text("".join(lines), encoding="utf-8")


def own_questions(day: int) -> list[dict]:
    """Four questions of a day: free, several answers, choices, practice."""
    river, town = word(300 + day), word(600 + day)
    return [
        {"day": day, "question": f"Where does the {river} end?", "answers": [town]},
        {
            "day": day,
            "question": f"Where is the mouth of the {river}?",
            "answers": [f"at {town}", town],
            "kind": "paraphrase",
        },
        {
            "day": day,
            "question": f"Does the {river} reach the sea?",
            "answers": ["yes"],
            "choices": ["yes", "no"],
        },
        {"day": day, "question": f"Name the {river}'s town.", "answers": [town], "practice": True},
    ]


def write_own(folder: Path) -> None:
    """Three days of one's own documents and questions, and one question about day 0."""
    documents = [
        {"day": day, "title": f"River {day}", "text": passage(day)["context"]} for day in (1, 2, 3)
    ]
    questions = [one for day in (1, 2, 3) for one in own_questions(day)]
    questions.append({"day": 0, "question": "Is water wet?", "answers": ["yes"], "kind": "base"})
    write_jsonl(folder / "documents.jsonl", documents)
    write_jsonl(folder / "questions.jsonl", questions)
    shown = [passage(number) for number in (50, 51)]
    pairs = [[[asked["question"], asked["answer"]] for asked in one["questions"]] for one in shown]
    exemplars = [
        {"title": one["title"], "text": one["context"], "questions": asked}
        for one, asked in zip(shown, pairs, strict=True)
    ]
    write_jsonl(folder / "exemplars.jsonl", exemplars)


def edit(number: int) -> dict[str, str]:
    """The words of an edit: who, what it is now and was, and a neighbour that keeps it."""
    return {
        "who": word(number).capitalize(),
        "new": word(500 + number),
        "old": word(800 + number),
        "other": word(1100 + number).capitalize(),
        "kept": word(1400 + number),
    }


def write_edits(folder: Path) -> None:
    """Thirty edits in each of EasyEdit's layouts; zsRE has an empty target among them."""
    counterfact, mend, knowedit = [], [], []
    for number in range(30):
        e = edit(number)
        counterfact.append(
            {
                "case_id": number,
                "prompt": f"The capital of {e['who']} is",
                "target_new": e["new"],
                "subject": e["who"],
                "ground_truth": e["old"],
                "rephrase_prompt": f"{e['who']} is ruled from the city of",
                "locality_prompt": f"The capital of {e['other']} is",
                "locality_ground_truth": e["kept"],
            }
        )
        mend.append(
            {
                "subject": e["who"],
                "src": f"What is the capital of {e['who']}?",
                "pred": e["old"],
                "rephrase": f"From which city is {e['who']} ruled?",
                "alt": e["new"] if number != 7 else "",
                "answers": [e["old"]],
                "loc": f"nq question: where is {e['other'].lower()}",
                "loc_ans": e["kept"],
                "cond": f"{e['old']} >> {e['new']} || What is the capital of {e['who']}?",
                "portability": {
                    "Recalled Relation": f"({e['new']}, river, {word(1600 + number)})",
                    "New Question": f"What river runs through the capital of {e['who']}?",
                    "New Answer": word(1600 + number),
                },
            }
        )
        knowedit.append(
            {
                "subject": e["who"],
                "prompt": f"What is the capital of {e['who']}?",
                "target_new": e["new"],
                "ground_truth": [e["old"]],
                "rephrase_prompt": f"From which city is {e['who']} ruled?",
                "locality": {
                    "Relation_Specificity": [
                        {"prompt": f"{e['other']} lies in", "ground_truth": [[e["kept"], "x"]]}
                    ]
                },
                "portability": {
                    "Reasoning": [
                        {"prompt": f"The river of {e['who']}'s capital is", "ground_truth": ["ru"]}
                    ],
                    "Subject_Aliasing": None,
                },
            }
        )
    write_json(folder / "counterfact" / "counterfact-edit.json", counterfact)
    write_json(folder / "counterfact" / "counterfact-val.json", counterfact[:12])
    write_json(folder / "zsre" / "zsre_mend_eval.json", mend)
    write_json(folder / "zsre" / "ZsRE-test-all.json", knowedit)


SEAL_IDS = {
    "training": [
        "6150a2bd",
        "8d5021e8",
        "5614dbcf",
        "8be77c9e",
        "4be741c5",
        "6d0aefbc",
        "44f52bb0",
        "67e8384a",
        "6e02f1e3",
        "5582e5ca",
    ],
    "evaluation": [
        "903d1b4a",
        "c7d4e6ad",
        "66e6c45b",
        "ce8d95cc",
        "b1fc8b8e",
        "59341089",
        "bc4146bd",
        "68b67ca3",
    ],
}


TWO_TESTS = ("44f52bb0", "b1fc8b8e", "6150a2bd", "903d1b4a")  # SEAL uses both of the first two


def write_arc(folder: Path) -> None:
    """SEAL's task ids and four more in ARC's Kaggle layout: a 2 x 2 grid is mirrored."""
    for part, ids in SEAL_IDS.items():
        challenges, solutions = {}, {}
        for number, name in enumerate([*ids, "00000000", "00000001", "00000002", "00000003"]):
            grids = [[[number % 10, c], [c + 1, 0]] for c in range(1, 6)]
            pairs = [{"input": g, "output": [row[::-1] for row in g]} for g in grids]
            train, test = pairs[:3], pairs[3:] if name in TWO_TESTS else pairs[3:4]
            challenges[name] = {"train": train, "test": [{"input": p["input"]} for p in test]}
            solutions[name] = [p["output"] for p in test]
        write_json(folder / f"arc-agi_{part}_challenges.json", challenges)
        write_json(folder / f"arc-agi_{part}_solutions.json", solutions)


def write_classification(folder: Path) -> None:
    """BoolQA, COPA and MNLI in O-LoRA's layout; MNLI's test part has records without a label."""
    tasks = {
        "BoolQA/BoolQA": ["True", "False"],
        "COPA/COPA": ["A", "B"],
        "NLI/MNLI": ["neutral", "entailment", "contradiction"],
    }
    for place, (name, labels) in enumerate(tasks.items()):
        write_json(folder / name / "labels.json", labels)
        for part, first in (("train", 200), ("test", 400)):
            records = [
                {"label": label, "sentence": f"passage: {text}. {word(place)}\n"}
                for label in labels
                for text in utterances(f"{name} {label}", first, 20)
            ]
            if part == "test" and "MNLI" in name:
                records.insert(3, {"label": "-", "sentence": "nobody knows"})
            write_json(folder / name / f"{part}.json", records)


def write_book(path: Path, paragraphs: int = 60) -> None:
    """A Project Gutenberg file: a byte-order mark, a header, wrapped paragraphs, a licence."""
    mark = "THIS PROJECT GUTENBERG EBOOK MOBY DICK ***"
    body = [
        f"“The whale {word(n)} swam by,” said {word(n + 100)}. Was it\nwhite? "
        f"Nobody knew {word(n)}."
        for n in range(paragraphs)
    ]
    text = "\n\n".join(["HEADER", f"*** START OF {mark}", *body, f"*** END OF {mark}", "LICENCE"])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"\ufeff{text}\n", encoding="utf-8")


def write_ruler(folder: Path) -> None:
    """Forty adjectives and forty nouns, two of them with spaces."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, first in (("adjective", 100), ("noun", 200)):
        words = [word(first + n) for n in range(40)] + [f"{word(first)} two"]
        (folder / f"{name}list.txt").write_text("\n".join(words) + "\n", encoding="utf-8")


BABI = {
    "qa1_single-supporting-fact": ("{who} went to the {place}.", "Where is {who}?", "{place}"),
    "qa2_two-supporting-facts": (
        "{who} took the cup to the {place}.",
        "Where is the cup?",
        "{place}",
    ),
    "qa3_three-supporting-facts": ("{who} left the {place}.", "What was left?", "{place}"),
    "qa4_two-arg-relations": (
        "The {place} is north of {who}.",
        "What is north of {who}?",
        "{place}",
    ),
    "qa5_three-arg-relations": (
        "{who} gave the {place} to Fred.",
        "What did {who} give?",
        "{place}",
    ),
}


def write_babi(folder: Path) -> None:
    """Ten stories of two questions in bAbI's original format, qa1 to qa5."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (fact, question, answer) in BABI.items():
        for part, first in (("train", 0), ("test", 200)):
            lines = []
            for story in range(10):
                for turn in range(2):
                    words = {"who": "John", "place": word(first + 2 * story + turn)}
                    number = 3 * turn + 1
                    lines += [
                        f"{number} Mary sat down.",
                        f"{number + 1} {fact.format(**words)}",
                        f"{number + 2} {question.format(**words)} \t{answer.format(**words)}"
                        f"\t{number + 1}",
                    ]
            (folder / f"{name}_{part}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_mtob(folder: Path) -> None:
    """A language in MTOB's layout: canaries, thirty pairs, five tests either way, resources."""
    canary = {"big-bench-canary": "do not train on this"}

    def pair(number: int) -> dict[str, str]:
        return {
            "original": f"{word(number)} {word(number + 700)}",
            "translation": f"the {word(number + 900)} eats {word(number + 1200)}",
        }

    def test(number: int, flip: bool) -> dict[str, str]:
        one, other = pair(number).values()
        source, target = (other, one) if flip else (one, other)
        return {"original": source, "translation": "----", "ground_truth": target}

    train = [pair(number) for number in range(30)]
    write_json(folder / "splits" / "train_examples.json", [canary, *train, pair(40)])
    for name, flip in (("ke", False), ("ek", True)):
        tests = [test(number, flip) for number in range(40, 45)]
        write_json(folder / "splits" / f"test_examples_{name}.json", [canary, *tests])
    words = {word(number): ["n", word(number + 900)] for number in range(30)}
    write_json(folder / "resources" / "wordlist.json", {"ke": words, "ek": {}})
    (folder / "resources" / "grammar_book.txt").write_text("Verbs come last.\n\nNouns first.\n")


def patient(number: int) -> dict:
    """A patient of LongHealth: three texts, four questions with five answers."""
    drug = word(600 + number)
    questions = [
        {
            "No": which,
            "question": f"Which drug was given on day {which}?",
            **{f"answer_{letter}": f"{drug}{letter}{which}" for letter in "abcde"},
            "correct": f"{drug}c{which}",
            "answer_location": {"text_0": {"start": [0.1], "end": [0.2]}},
        }
        for which in range(4)
    ]
    return {
        "name": f"{word(number).capitalize()} Doe",
        "birthday": f"01.02.19{40 + number}",
        "diagnosis": word(number + 50),
        "texts": {
            f"text_{n}": f"**Dear colleague,**\nwe saw {word(n)} a week ago.\n{drug}c{n} was given."
            for n in range(3)
        },
        "questions": questions,
    }


def paper(number: int) -> dict:
    """A paper of QASPER with a question of every type of answer."""
    answers = [
        {"unanswerable": True, "extractive_spans": [], "yes_no": None, "free_form_answer": ""},
        {"unanswerable": False, "extractive_spans": ["BLEU", "chrF"], "yes_no": None}
        | {"free_form_answer": ""},
        {"unanswerable": False, "extractive_spans": [], "yes_no": False, "free_form_answer": ""},
        {"unanswerable": False, "extractive_spans": [], "yes_no": None}
        | {"free_form_answer": f"They train {word(number)}."},
    ]
    return {
        "title": f"On {word(number)}",
        "abstract": f"We study {word(number)}.",
        "full_text": [
            {"section_name": "Introduction", "paragraphs": [f"It is {word(n)}.", ""]}
            for n in range(2)
        ],
        "figures_and_tables": [],
        "qas": [
            {
                "question": f"What about {word(which)}?",
                "question_id": f"{number}-{which}",
                "answers": [{"answer": answer}, {"answer": answers[(which + 1) % 4]}],
            }
            for which, answer in enumerate(answers)
        ],
    }


def write_long_documents(folder: Path) -> None:
    """Twelve patients of LongHealth, twelve papers of QASPER, as published."""
    patients = {f"patient_{n:02}": patient(n) for n in range(12)}
    papers = {f"1909.{n:05}": paper(n) for n in range(12)}
    write_json(folder / "longhealth" / "benchmark_v5.json", patients)
    write_json(folder / "qasper" / "qasper-dev-v0.3.json", papers)
