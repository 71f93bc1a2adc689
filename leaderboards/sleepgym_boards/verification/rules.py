"""The rules by name, in the order in which they are checked."""

from __future__ import annotations

READING = {
    "size": "The file and what it unpacks to are within their limits.",
    "container": "It is one complete gzip or xz stream, and nothing follows it.",
    "schema": "It is JSON of a known schema: no unknown field, NaN, odd name or deep nesting.",
    "canonical": "It is written the one way that `sleepgym submit` writes it.",
}
IDENTITY = {
    "board": "It is for this board and this version of it.",
    "card": "The method was not tuned on seeds of the board; its code is one that a seal names.",
    "digest": "Each run is as it was packed: its bytes have their digest.",
    "environment": "Each run is of the board's environment, every setting and the exams included.",
    "one-method": "All runs are of one agent with the same settings and model.",
    "base-model": "The model is the board's, byte for byte.",
    "audit": "The context was wiped: a fresh instance with the saved state alone sat the mornings.",
    "seeds": "There is one run for each seed of the board, and no other.",
}
RECORDS = {
    "stream": "The stream rebuilt from the seed is the one that was run.",
    "coverage": "Every phase happened and every question was asked once, in order, as it is shown.",
    "grades": "Each answer, graded again, has the score that it is said to have.",
    "ledger": "Costs and state sizes are possible and agree with each other.",
}
NUMBERS = {
    "unseen": "Days not yet taught were not known.",
    "budget": "Every night and the saved state keep to a budget class of the board.",
}
OTHERS = {"replay": "No other submission on these streams holds the same runs."}
RERUN = {
    "rerun": "Randomly sampled nights, executed again without the answer key, reproduce the record."
}

RULES = READING | IDENTITY | RECORDS | NUMBERS | OTHERS | RERUN
