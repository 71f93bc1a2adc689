"""Ways to tamper with the records of a submission: each changes a parsed file in place."""

import copy

from board_files import phases
from sleepgym import make_env


def copy_the_key(plain):
    """Every answer is the accepted one."""
    for run in plain["runs"]:
        env = make_env("toy:Toy", days=3, facts=2)
        env.reset(seed=run["seed"])
        for phase in run["phases"]:
            for answer in phase["answers"]:
                answer |= {"text": env.stream.key[answer["id"]][0], "score": 1.0}


def raise_a_score(plain):
    answers = phases(plain, "morning")[0]["answers"]
    next(answer for answer in answers if answer["score"] == 0.0)["score"] = 1.0


def raise_all_scores_of_a_seed(plain):
    for phase in plain["runs"][1]["phases"]:
        for answer in phase["answers"]:
            answer["score"] = 1.0


def change_an_answer(plain):
    phases(plain, "evening")[0]["answers"][0] |= {"text": "elsewhere", "score": 0.0}


def swap_streams(plain):
    """The run of one seed passes for that of another."""
    easy = copy.deepcopy(plain["runs"][0])
    plain["runs"][3] = easy | {"seed": 103}


def change_the_stream_hash(plain):
    plain["runs"][0]["stream_hash"] = "0" * 64


def drop_a_hard_question(plain):
    del phases(plain, "morning")[1]["answers"][0]


def drop_a_whole_exam(plain):
    phases(plain, "morning")[-1]["answers"].clear()


def drop_a_phase(plain):
    del plain["runs"][0]["phases"][3]


def end_early(plain):
    del plain["runs"][0]["phases"][-1]


def go_on_for_ever(plain):
    plain["runs"][0]["phases"].append(plain["runs"][0]["phases"][0])


def repeat_an_easy_question(plain):
    answers = phases(plain, "morning")[-1]["answers"]
    answers[0] = answers[1]


def answer_twice(plain):
    answers = phases(plain, "morning")[-1]["answers"]
    answers.append(answers[1])


def answer_out_of_order(plain):
    phases(plain, "morning")[-1]["answers"].reverse()


def ask_in_other_words(plain):
    phases(plain, "evening")[0]["answers"][0]["prompt"] = "0" * 16


def shop_for_a_seed(plain):
    plain["runs"][4]["seed"] = 117


def leave_out_a_seed(plain):
    del plain["runs"][2]


def count_a_seed_twice(plain):
    plain["runs"].append(plain["runs"][4])


def tune_by_seed(plain):
    plain["runs"][1]["method"]["settings"] = {"rate": 0.5}


def take_another_agent_for_a_seed(plain):
    plain["runs"][1]["method"]["agent"] = "board_agents:Twin"


def shorten_the_stream(plain):
    for run in plain["runs"]:
        run["environment"]["settings"]["days"] = 2


def space_the_exams(plain):
    for run in plain["runs"]:
        run["environment"]["exams"] = "spaced"


MEASURED = ("setup_", "processor_", "gpu_", "saving_", "declared_")


def be_old(plain):
    """The form of before 0.2: an audit, no level, no salt."""
    plain["schema_version"] = 1
    for run in plain["runs"]:
        del run["method"]["isolation"]
        run.pop("salt", None)
        run["method"]["audit"] = "instance"
        for phase in run["phases"]:
            for part in (phase, phase["ledger"] or {}):
                for name in [name for name in part if name.startswith(MEASURED)]:
                    del part[name]


def keep_the_context(plain):
    be_old(plain)
    for run in plain["runs"]:
        run["method"]["audit"] = "off"


def work_for_nothing(plain):
    for phase in phases(plain, "sleep"):
        phase["flops"] = 0.0


def work_in_no_time(plain):
    for phase in phases(plain, "sleep"):
        phase |= {"seconds": 0.0, "flops": 2e12}


def hide_text_from_the_kinds(plain):
    for phase in phases(plain, "sleep"):
        phase["ledger"]["state_text_bytes"] = 0


def have_no_ledger(plain):
    phases(plain, "sleep")[0]["ledger"] = None


def exceed_the_budget(plain):
    for phase in phases(plain, "sleep", run=2):
        phase |= {"flops": 2e9, "seconds": 1.0}


def exceed_the_state(plain):
    """By night, in the middle of the run; on the last morning it is small again."""
    ledger = phases(plain, "sleep", run=2)[1]["ledger"]
    ledger |= {"state_text_bytes": 400, "state_bytes": 400}


def tune_on_ranked_seeds(plain):
    plain["card"]["tuning_seeds"] = "0-99,104-110"


def answer_another_board(plain):
    plain["board"] = "almanac-8"


def answer_an_old_board(plain):
    plain["board_version"] = 1


def use(model, digest):
    def change(plain):
        for run in plain["runs"]:
            run["method"] |= {"model": model, "model_digest": digest}

    return change
