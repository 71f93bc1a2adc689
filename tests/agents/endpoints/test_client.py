"""A server that is down, slow, busy or talks nonsense: waited for, then one line."""

import threading
import time

import pytest

from model_server import LISTED, Server, said
from sleepgym.core.errors import BadSetting, EndpointError, UnknownName
from sleepgym_agents.endpoints import client as clients
from sleepgym_agents.endpoints.address import Address
from sleepgym_agents.endpoints.client import Client

KEY = "sk-of-a-test-0123456789"


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    monkeypatch.setattr(clients, "FIRST_WAIT_S", 0.001)
    for name in ("OPENAI_API_KEY", "SLEEPGYM_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def text(reply):
    return reply["choices"][0]["message"]["content"]


def ask(server, count=1):
    client = Client(Address.parse(server.model))
    return client.ask("/chat/completions", [{"number": i} for i in range(count)], text)


def fails(server, match, error=EndpointError):
    with pytest.raises(error, match=match) as caught:
        ask(server)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_replies_come_in_the_order_of_the_requests_and_side_by_side(monkeypatch):
    monkeypatch.setenv("SLEEPGYM_CONNECTIONS", "4")
    under_way, most, four = set(), [], threading.Barrier(4)

    def reply(route, body, number):
        under_way.add(number)
        most.append(len(under_way))
        if number < 4:
            four.wait(timeout=30)  # answered when all four are under way
        time.sleep(0.05 if body["number"] == 0 else 0.01)
        under_way.remove(number)
        return said(f"answer {body['number']}")

    with Server(reply) as server:
        replies = ask(server, 12)
    assert [r.value for r in replies] == [f"answer {i}" for i in range(12)]
    assert (replies[0].read_tokens, replies[0].generated_tokens) == (7, 3)
    assert max(most) == 4


def test_a_busy_server_is_asked_again_when_it_says(monkeypatch):
    times = []

    def reply(route, body, number):
        times.append(time.perf_counter())
        return (429, {"Retry-After": "0.2"}, b"slow down") if number == 0 else said("yes")

    with Server(reply) as server:
        assert ask(server)[0].value == "yes"
    assert times[1] - times[0] >= 0.2


@pytest.mark.parametrize(
    "first",
    [(500, {}, b"oops"), (503, {}, b""), (200, {}, b"<html>"), (200, {}, {"a": 1}), None],
    ids=["500", "503", "html", "other json", "hangs up"],
)
def test_a_passing_failure_is_passed_over(first):
    def reply(route, body, number):
        if number == 0 and first is None:
            raise ConnectionError
        return first if number == 0 else said("yes")

    with Server(reply) as server:
        assert ask(server)[0].value == "yes"


@pytest.mark.parametrize(
    ("reply", "match"),
    [
        (
            (500, {}, {"error": {"message": "out of\nmemory"}}),
            r"answered 500: out of memory \(8 tr",
        ),
        ((429, {}, b"{}"), r"429.*SLEEPGYM_CONNECTIONS says how many requests go at once"),
        ((429, {"Retry-After": "86400"}, b""), r"429.*\(1 tries .* asks to wait 86400 s\)"),
        ((200, {}, b"\xff\xfe not JSON"), r"its answer is none of this protocol \(8 tries"),
        ((200, {}, b"[" * 100_000), r"none of this protocol"),
        ((200, {"Content-Length": "900"}, b"{}"), r"no answer within 0.1 s.*3 tries"),
        (
            (401, {}, {"error": {"message": f"bad key {KEY}"}}),
            r"401: bad key \*\*\*; put a key into",
        ),
        ((400, {}, {"detail": "context too long"}), r"400: context too long \(model 'tiny'\)"),
    ],
    ids=["500", "429", "long wait", "no json", "deep json", "cut short", "key", "400"],
)
def test_a_lasting_failure_is_one_line(reply, match, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("SLEEPGYM_TIMEOUT_S", "0.1")
    with Server(lambda *_: reply) as server:
        assert KEY not in fails(server, match)


def test_a_server_that_hangs_is_not_waited_for_for_ever(monkeypatch):
    monkeypatch.setenv("SLEEPGYM_TIMEOUT_S", "0.05")

    def reply(*_):
        time.sleep(0.3)
        return said("too late")

    with Server(reply) as server:
        fails(server, r"no answer within 0\.05 s \(SLEEPGYM_TIMEOUT_S\) \(3 tries")


def test_a_server_that_is_down():
    with Server(lambda *_: said("")) as server:
        pass
    fails(server, r"endpoint http://127.*(refused|reset).*the run goes on when it is resumed")
    with pytest.raises(EndpointError, match=r"\(3 tries"):
        Client(Address.parse(server.model)).listed()


def test_a_name_that_the_server_does_not_know():
    with Server(lambda *_: (404, {}, {"error": "no model"})) as server:
        server.model = server.model.replace("#tiny", "#tinny")
        fails(server, r"404: no model; 'tinny' is none of the models it lists: tiny", UnknownName)
        server.listed = 500  # some servers have no such list
        fails(server, r"no model \(model 'tinny'\); a base URL mostly ends in /v1")


def test_the_key_goes_to_the_server_and_nowhere_else(monkeypatch, caplog):
    monkeypatch.setenv("OPENAI_API_KEY", "another")
    monkeypatch.setenv("SLEEPGYM_API_KEY", KEY)
    with Server(lambda *_: said("yes"), LISTED) as server:
        ask(server)
    assert server.asked[0][2]["Authorization"] == f"Bearer {KEY}"
    assert KEY not in caplog.text
    monkeypatch.setenv("SLEEPGYM_API_KEY", "no\nheader")
    with pytest.raises(BadSetting, match="the key in SLEEPGYM_API_KEY") as caught:
        ask(server)
    assert "header" not in str(caught.value).removesuffix("is no header value")


@pytest.mark.parametrize(
    "model",
    [
        *("openai:", "openai:#a", "openai:http://h", "openai:http://h#", "openai:ftp://h#a"),
        *(
            "openai:h:8000/v1#a",
            "openai:http://[h#a",
            "openai:http://h:99999/v1#a",
            "openai:http://#a",
        ),
        "openai:http://h /v1#a",
    ],
)
def test_an_address_of_another_form(model):
    with pytest.raises(BadSetting, match=r"must be of the form openai:URL#NAME") as caught:
        Client(Address.parse(model))
    assert repr(model) in str(caught.value)


@pytest.mark.parametrize(
    "url", ["http://me:secret@h/v1", "http://secret@h/v1", "http://h/?k=secret"]
)
def test_credentials_do_not_belong_into_an_address(url):
    with pytest.raises(BadSetting, match="put the key into the environment variable") as caught:
        Address.parse(f"openai:{url}#a")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("value", ["0", "-1", "many", "nan", "inf"])
def test_settings_that_are_none(value, monkeypatch):
    monkeypatch.setenv("SLEEPGYM_CONNECTIONS", value)
    with pytest.raises(BadSetting, match=f"SLEEPGYM_CONNECTIONS={value}: must be a number above 0"):
        Client(Address.parse("openai:http://h/v1#a"))
