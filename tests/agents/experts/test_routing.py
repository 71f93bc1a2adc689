import gc
import weakref

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from expert_models import asked, logits, make_memory, two_experts
from sleepgym import Document
from sleepgym_agents.experts.content_router import ContentRouter
from sleepgym_agents.experts.entity_router import EntityRouter
from sleepgym_agents.experts.routing import PAD, SAME, Always, ExpertSets, Markers
from sleepgym_agents.experts.state_routers import Gate, Keys
from sleepgym_agents.lm.generation import generate
from sleepgym_agents.lm.model import LanguageModel, left_padded
from sleepgym_agents.lm.prompts import Prompter, PromptFormat
from sleepgym_agents.lm.scratch import byte_tokenizer

A, B, C = (0, 0), (0, 1), (1, 0)
MARKERS = Markers(frozenset({1}), frozenset({2, 3}), frozenset({4}))
TABLE = {(5, 6): (A,), (6,): (B,), (5, 6, 7): (A, C), (8,): (C,)}


def names_router(table=None, markers=MARKERS):
    router = EntityRouter(markers)
    for expert_id in (A, B, C):
        router.unlock(expert_id)
    for name, expert_set in (TABLE if table is None else table).items():
        for expert_id in expert_set:
            router.assign(expert_id, [name])
    return router


def dense(gates, shape):
    return {expert_id: gates.get(expert_id, torch.zeros(shape)).tolist() for expert_id in (A, B, C)}


def by_hand(row, table=TABLE):
    """The active experts at each token of one row, as the docstrings say."""
    is_open, expert_set, out = False, (), []
    for at, token in enumerate(row):
        if token in (1, 2, 3):
            is_open, expert_set = token == 1, ()
        elif token == 4:  # an answer begins: entities in it change nothing
            is_open = False
        else:
            ends = [n for n in table if tuple(row[max(0, at + 1 - len(n)) : at + 1]) == n]
            if is_open and ends:
                expert_set = table[max(ends, key=len)]
        out.append(expert_set)
    return {
        expert_id: [float(expert_id in expert_set) for expert_set in out] for expert_id in (A, B, C)
    }


rows = st.lists(st.lists(st.integers(1, 9), min_size=12, max_size=12), min_size=1, max_size=3)


@settings(deadline=None, max_examples=60)
@given(rows, st.lists(st.integers(1, 5), min_size=1, max_size=12))
def test_names_in_one_pass_and_in_pieces_by_hand(found, sizes):
    router, ids = names_router(), torch.tensor(found)
    states = torch.zeros(*ids.shape, 1)
    whole, end = router.route(ids, states, None)
    wanted = [by_hand(row) for row in found]
    whole = dense(whole, ids.shape)
    assert whole == {expert_id: [row[expert_id] for row in wanted] for expert_id in (A, B, C)}
    router_state, at, pieces = None, 0, {expert_id: [[] for _ in found] for expert_id in (A, B, C)}
    for size in [*sizes, 12]:
        piece = ids[:, at : at + size]
        if piece.shape[1]:
            gates, router_state = router.route(piece, states[:, at : at + size], router_state)
            for expert_id, values in dense(gates, piece.shape).items():
                for row, more in zip(pieces[expert_id], values, strict=True):
                    row.extend(more)
        at += size
    assert pieces == whole
    assert torch.equal(router_state.active, end.active)
    assert torch.equal(router_state.in_item, end.in_item)


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=12),
    st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=9), min_size=1, max_size=3),
    st.lists(st.integers(0, 2), min_size=1, max_size=4),
)
def test_padded_rows_leave_and_share_a_beginning(begun, others, order):
    router = names_router()
    ids = torch.tensor([begun])
    _, router_state = router.route(ids, torch.zeros(*ids.shape, 1), None)  # shared by the batch
    length = max(map(len, others))
    more = torch.tensor([[PAD] * (length - len(row)) + row for row in others])
    gates, router_state = router.route(more, torch.zeros(*more.shape, 1), router_state)
    for i, row in enumerate(others):
        for expert_id, active in by_hand(begun + row).items():
            found = dense(gates, more.shape)[expert_id][i]
            assert found[length - len(row) :] == active[len(begun) :]
    kept = [i % len(others) for i in order]
    last = torch.tensor([[9]] * len(kept))
    gates, _ = router.route(
        last, torch.zeros(*last.shape, 1), router_state.rows(torch.tensor(kept))
    )
    wanted = [by_hand([*begun, *others[i], 9]) for i in kept]
    assert dense(gates, last.shape) == {p: [row[p][-1:] for row in wanted] for p in (A, B, C)}


def test_without_opening_markers_items_are_everywhere():
    router = names_router(markers=Markers(frozenset(), frozenset({2})))
    gates, _ = router.route(torch.tensor([[8, 9, 2, 9, 8, 9]]), torch.zeros(1, 6, 1), None)
    assert gates[C].tolist() == [[1, 1, 0, 0, 1, 1]]


def test_which_experts_know_an_entity():
    router = names_router()
    assert router.table[5, 6, 7] == (A, C)
    router.assign(C, [(5, 6), (5, 6)])
    assert router.table[5, 6] == (A, C)
    assert router.entities_of([A]) == [(5, 6), (5, 6, 7)]
    assert router.entities_of([B, C]) == [(5, 6), (5, 6, 7), (6,), (8,)]
    assert router.entities_in([1, 5, 6, 9, 8]) == [(5, 6), (6,), (8,)]
    router.release(C, [(5, 6)])
    assert router.table[5, 6] == (A,)
    router.assign(C, [(5, 6)])
    router.forget(C)
    assert router.table == {(5, 6): (A,), (6,): (B,), (5, 6, 7): (A,)}
    assert router.expert_ids == [A, B]


def test_which_experts_a_text_may_activate():
    router = names_router()
    assert router.experts_for([[1, 5, 6, 9], [9]]) == {*router.table[5, 6], *router.table[6,]}
    assert router.experts_for([[9]]) == set()
    assert Always(Markers(frozenset(), frozenset())).experts_for([[9]]) == set()


@pytest.mark.parametrize("router", ["names", "auto", "keys", "always"])
def test_experts_that_texts_cannot_activate_are_off_and_not_missed(router):
    memory = two_experts(router)
    asked = memory.lm.prompter.prompt("is Bo in?")
    everything = logits(memory.lm, asked)
    with memory.limited_to([asked]):
        assert memory.mask == ({(0, 1)} if router in ("names", "auto") else set())
        assert torch.equal(logits(memory.lm, asked), everything)
    with memory.limited_to([]):
        assert memory.mask == ({(0, 0), (0, 1)} if router in ("names", "auto") else set())


def test_gates_looked_up_at_once_are_those_that_are_on():
    expert_sets = ExpertSets([(A,), (A, C), (B,)])
    active = torch.tensor([[0, -1, 1, 1], [2, 2, -2, 0]])
    gates = expert_sets.gates(active)
    for expert_id in (A, B, C):
        on = [i for i, expert_set in enumerate(expert_sets.sets) if expert_id in expert_set]
        assert torch.equal(gates[expert_id], torch.isin(active, torch.tensor(on)).float())


def test_other_routers_know_no_entities():
    for router in (Always(MARKERS), Keys(MARKERS, 0.9, 2), Gate(MARKERS, 1, 2)):
        router.unlock(A)
        router.assign(A, [(5, 6)])
        router.release(A, [(5, 6)])
        assert (router.by_entity, router.entities_in([5, 6]), router.entities_of([A])) == (
            False,
            [],
            [],
        )


def test_keys_are_stored_where_a_name_ends():
    router = Keys(MARKERS, 0.9, 2)
    router.unlock(A)
    read = []

    def read_states(ids):
        read.append(ids)
        return torch.tensor([[float(i), 10.0 - i] for i in ids])

    router.assign(A, [(8, 9), (1,)], [[9, 8, 9], [5, 6], [1, 0]], read_states)
    assert read == [[9, 8, 9], [5, 6], [1, 0]]
    unit = torch.nn.functional.normalize(torch.tensor([[9.0, 1.0], [1.0, 9.0]]), dim=-1)
    torch.testing.assert_close(router.keys, unit.half().float())


def test_always_and_nobody():
    router = Always(MARKERS)
    assert router.route(torch.zeros(1, 2), torch.zeros(1, 2, 1), None) == ({}, None)
    router.unlock(A)
    assert router.route(torch.zeros(1, 2), torch.zeros(1, 2, 1), None)[0][A].tolist() == [[1, 1]]
    empty, _ = names_router({}).route(torch.tensor([[1, 5, 6]]), torch.zeros(1, 3, 1), None)
    assert empty == {}


def test_keys_threshold_and_forgetting():
    router = Keys(MARKERS, 0.9, 2)
    for expert_id in (A, B, C):
        router.unlock(expert_id)
    ids = torch.tensor([[1, 9, 9, 9]])
    states = torch.tensor([[[1.0, 0.0], [2.0, 0.0], [1.0, 0.8], [0.0, 1.0]]])
    assert router.match(ids, states).tolist() == [[SAME] * 4]
    router.store(A, torch.tensor([[3.0, 0.0], [3.0, 0.3], [0.0, -1.0]]))
    assert router.keys.tolist() == [[1, 0], [0, -1]]  # near-equal keys are kept once
    assert router.match(ids, states).tolist() == [[0, 0, SAME, SAME]]  # cosine .78 is too far
    router.store(B, torch.tensor([[0.0, 5.0]]))
    assert router.match(ids, states).tolist() == [[0, 0, SAME, 1]]
    gates, _ = router.route(torch.tensor([[9, 1, 9, 9]]), states, None)
    assert {p: g.tolist() for p, g in gates.items()} == {B: [[0, 0, 0, 1]]}
    router.store(C, torch.tensor([[1.0, 0.1]]))  # nearly A's first key: the newer expert has it
    assert router.owners.tolist() == [0, 1, 2]
    router.forget(A)
    assert (router.expert_ids, router.owners.tolist()) == ([B, C], [0, 1])
    assert router.match(ids, states).tolist() == [[1, 1, SAME, 0]]
    router.store(B, torch.empty(0, 2))
    assert len(router.keys) == 2


def test_a_gate_opens_and_shuts():
    router = Gate(MARKERS, layers=2, width=2)
    router.unlock(A)
    states = torch.tensor([[[3.0, 0.0], [0.0, 3.0]]])
    assert router.route(torch.zeros(1, 2), states, None)[0][A].tolist() == [[0.5, 0.5]]
    router.weights[A][1] = torch.tensor([2.0, -2.0, 1.0])
    gates, _ = router.route(torch.zeros(1, 2), states, None, layer=1)
    unit = 2**0.5  # root mean square 1
    wanted = torch.sigmoid(torch.tensor([[2 * unit + 1, 1 - 2 * unit]]))
    torch.testing.assert_close(gates[A], wanted)
    assert router.trained(A)[0].requires_grad
    router.forget(A)
    assert router.route(torch.zeros(1, 2), states, None)[0] == {}


def test_what_a_captured_step_reads_lies_beside_the_states():
    """A copy from the CPU cannot be captured, and what moves or grows is captured anew."""
    gate, keys = Gate(MARKERS, 1, 2, "meta"), Keys(MARKERS, 0.9, 2, "meta")
    gate.unlock(A)
    assert {gate.weights[A].device.type, keys.keys.device.type} == {"meta"}
    gate.restore({"gates": torch.zeros(1, 1, 3)})
    keys.restore({"keys": torch.zeros(1, 2), "owners": torch.zeros(1)})
    assert {gate.weights[A].device.type, keys.keys.device.type} == {"meta"}
    gate, keys = Gate(MARKERS, 1, 2), Keys(MARKERS, 0.9, 2)
    for router in (gate, keys):
        router.unlock(A)
    before = gate.key, keys.key
    gate.weights[A].data = torch.ones(1, 3)
    keys.store(A, torch.tensor([[1.0, 0.0]]))
    assert gate.key != before[0]
    assert keys.key != before[1]


def test_a_captured_step_reads_one_table_and_no_equal_one():
    """What a step read where it was may be gone when an equal table is back."""
    router = names_router()
    key, table = router.key, dict(router.table)
    router.assign(A, [(5, 6)])  # known already
    router.release(C, [])
    assert router.key == key
    router.assign(B, [(9,)])
    changed = router.key
    router.table = table
    assert len({key, changed, router.key}) == 3


def test_what_a_captured_step_reads_lives_as_long_as_its_key():
    router, ids = names_router(), torch.tensor([[1, 5, 6]])
    router.route(ids, torch.zeros(1, 3, 1), None)
    key = router.key
    matcher, sets = router._of_table().matcher(ids.device), router.expert_sets
    assert router._of_table().matcher(ids.device) is matcher
    assert router.expert_sets._on(ids.device) is sets._on(ids.device)
    read = weakref.ref(matcher), weakref.ref(sets)
    del matcher, sets
    router.assign(B, [(9,)])
    router.route(ids, torch.zeros(1, 3, 1), None)
    gc.collect()
    assert all(one() for one in read)
    del key
    gc.collect()
    assert not any(one() for one in read)


def test_an_expert_that_is_on_for_all_items_is_looked_up_in_one_place():
    router = ContentRouter(MARKERS, 2)
    router.active = A
    first = router.expert_sets
    for slot in range(20):
        router.active = (1, slot)
        assert router.expert_sets.sets == (((1, slot),),)
    router.active = A
    assert router.expert_sets is first


@pytest.mark.parametrize("router", ["names", "keys", "gate", "always"])
def test_decoding_equals_one_pass(router):
    memory = two_experts(router)
    lm = memory.lm
    prompts = asked(lm)
    for group in (prompts, [ids[40:] for ids in prompts]):  # with a shared beginning, and without
        written = generate(lm, group, 12, stop_at_answer=False)
        for ids, more in zip(group, written, strict=True):
            steps = logits(lm, [*ids, *more])[len(ids) - 1 : -1]
            assert steps.argmax(-1).tolist() == more
        with memory.masked(*memory.unlocked):
            assert generate(lm, group, 12, stop_at_answer=False) != written
        padded, real = left_padded(group, "cpu")
        theirs = lm.model.generate(
            padded,
            attention_mask=real.long(),
            max_new_tokens=12,
            do_sample=False,
            pad_token_id=0,
            eos_token_id=1,
        )
        for row, more in zip(theirs[:, padded.shape[1] :].tolist(), written, strict=True):
            assert row[: len(more)] == more


@pytest.mark.parametrize("router", ["names", "keys", "gate", "always"])
def test_static_steps_route_as_growing_ones_do(router, monkeypatch):
    memory = two_experts(router)
    lm = memory.lm
    prompts = asked(lm)
    for group in (prompts, [ids[40:] for ids in prompts]):  # with a shared beginning, and without
        written = generate(lm, group, 12, stop_at_answer=False)
        with monkeypatch.context() as patch:
            patch.setattr(lm, "captures", lambda steps: True)
            assert generate(lm, group, 12, stop_at_answer=False) == written
            with memory.masked(*memory.unlocked):  # decides what a step does: another one
                assert generate(lm, group, 12, stop_at_answer=False) != written


def test_rows_that_end_leave_the_others_as_they_are(monkeypatch):
    memory = two_experts("names")
    lm = memory.lm
    prompts = asked(lm)
    alone = [generate(lm, [ids], 12, stop_at_answer=False)[0] for ids in prompts]
    marker = next(t for t in alone[0][3:] if t not in alone[0][:3])
    cut = [ids[: ids.index(marker) + 1] if marker in ids else ids for ids in alone]
    assert len(set(map(len, cut))) > 1
    monkeypatch.setattr(lm.prompter, "start", [marker])
    assert generate(lm, prompts, 12, stop_at_answer=False) == cut


def test_experts_are_off_outside_of_items():
    memory = two_experts("names")
    lm, prompter = memory.lm, memory.lm.prompter
    memory_free = LanguageModel.load("scratch", seed=3)
    ids = asked(lm)[1]  # the question itself holds no name
    shown = len(prompter.demonstration("Who is Ada?", "Bo"))
    document = ids[: len(ids) - shown - len(prompter.question("what"))]
    assert torch.equal(logits(lm, document), logits(memory_free, document))
    seen = memory.router.route(torch.tensor([ids]), torch.zeros(1, len(ids), 1), None)[0]
    at = len(document) + 1 + len("Who is Ad")
    where = torch.arange(len(ids))
    active = (where >= at) & (where < len(document) + shown - 1)  # to the answer's end
    assert torch.equal(seen[A][0] > 0, active)
    assert torch.equal(seen[B][0] > 0, active)  # entities in the answer change nothing


def test_plain_prompts_have_items_too():
    prompter = Prompter(PromptFormat(), byte_tokenizer())  # no markers: "Question: ...\nAnswer:"
    memory = make_memory(LanguageModel(LanguageModel.load("scratch").model, prompter))
    memory.assign_entities(memory.unlock(), [tuple(prompter.encode("Ada"))], [])
    document = prompter.document(Document("Ada met Bo.", "Ada"))
    ids = [*prompter.start, *document, *prompter.demonstration("Is Ada in?", "no")]
    known = len(ids)
    ids += prompter.question("who is it?")
    gates, _ = memory.router.route(torch.tensor([ids]), torch.zeros(1, len(ids), 1), None)
    begun = len(prompter.start) + len(document) + len("Question: Is Ad")
    where = torch.arange(len(ids))
    assert torch.equal(gates[A][0] > 0, (where >= begun) & (where < known))
