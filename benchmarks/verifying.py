"""Seconds to verify a full almanac-8 submission of five seeds.

Its runs are made by an agent without a model: verification reads answers and rebuilds streams, and
which agent gave the answers does not matter.
"""

import argparse
import tempfile
import time
from pathlib import Path

from sleepgym.runs.runner import run
from sleepgym.runs.spec import RunSpec
from sleepgym_boards.board import load_board
from sleepgym_boards.packing import CARD_TEMPLATE, pack
from sleepgym_boards.submission.files import compress, dump, parse
from sleepgym_boards.verification.verifier import verify

LIMIT_S = 20


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    board = load_board("almanac-8")
    filled = CARD_TEMPLATE.replace('""', '"benchmark"', 2).replace('[""]', '["benchmark"]')
    filled = filled.replace('"https://"', '"https://example.org"').replace('""', '"0000000"')
    with tempfile.TemporaryDirectory() as folder:
        for seed in board.public_seeds() or ():
            run(RunSpec(board.environment.id, "nearest", seed=seed), Path(folder) / str(seed))
        card = Path(folder) / "card.toml"
        card.write_text(filled)
        content = compress(dump(pack([Path(folder)], board, card)))
    started_s = time.perf_counter()
    verdict = verify(content, board)
    seconds = time.perf_counter() - started_s
    assert verdict.ok, [rule for rule in verdict.rules if not rule.ok]
    answers = sum(len(phase.answers) for run in parse(content).runs for phase in run.phases)
    print("| file | answers | verified in | limit |\n|---|---|---|---|")
    print(f"| {len(content):,} bytes | {answers:,} | {seconds:.1f} s | {LIMIT_S} s |")


if __name__ == "__main__":
    main()
