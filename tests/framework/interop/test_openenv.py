"""The OpenEnv server, tried with OpenEnv's own client."""

import asyncio
import gc
import json
import threading
import time
import urllib.error
import urllib.request
import weakref
from contextlib import contextmanager

import pytest

from sleepgym.cli import run_command
from sleepgym.core.env import make_env
from sleepgym.interop.playing import Learner
from toy import Notes

pytest.importorskip("openenv", reason="openenv is not installed: pip install 'sleepgym[openenv]'")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

made = []  # weak references to every environment that the server made


@contextmanager
def served(sessions=64, idle_limit_s=1000.0, **settings):
    import uvicorn

    from sleepgym.interop.openenv_server import make_app

    def make():
        env = make_env("toy:Toy", **settings)
        made.append(weakref.ref(env))
        return env

    made.clear()
    app = make_app(make, "toy:Toy", sessions, idle_limit_s, secret=7)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}", app.state.server
    finally:
        server.should_exit = True
        thread.join(10)


def client(url):
    from openenv.core import GenericEnvClient

    return GenericEnvClient(base_url=url)


def wait_until(true):
    for _ in range(1000):
        gc.collect()
        if true():
            return True
        time.sleep(0.01)
    return False


async def play(url, act, seed=None):
    """A whole stream; its first observation, rewards and last metadata."""
    async with client(url) as env:
        result = await env.reset(**({} if seed is None else {"seed": seed}))
        first, rewards = result.observation, []
        while not result.done:
            result = await env.step(act(result.observation))
            rewards.append(result.reward)
        return first, rewards, result.metadata


def idle(seen):
    return {"answers": ["?"] * len(seen["questions"])}


def documents(url, seed=None):
    async def studied():
        async with client(url) as env:
            result = await env.reset(**({} if seed is None else {"seed": seed}))
            return (await env.step(idle(result.observation))).observation["documents"]

    return asyncio.run(studied())


def test_an_agent_learns_over_the_wire(tmp_path):
    learner = Learner(lambda: Notes(seed=1), tmp_path)
    with served(days=3) as (url, _):
        _, rewards, last = asyncio.run(play(url, learner.act))
    assert rewards[-1] == 1.0
    assert last["scores"]["average_accuracy"] == last["scores"]["consolidation"] == 1.0
    assert last["audit"]["clean"]
    assert len(last["audit"]["handles"]) == 3


def test_64_sessions_at_once_have_streams_of_their_own_and_give_their_memory_back():
    async def all_at_once(url, server):
        clients = [client(url) for _ in range(64)]
        await asyncio.gather(*(env.connect() for env in clients))
        first = await asyncio.gather(*(env.reset() for env in clients))
        studied = await asyncio.gather(
            *(env.step(idle(r.observation)) for env, r in zip(clients, first, strict=True))
        )
        texts = {json.dumps(result.observation["documents"]) for result in studied}
        assert len(texts) == 64
        assert server.active_sessions == 64
        with pytest.raises(Exception, match=r"(?i)capacity|64/64"):
            async with client(url) as one_more:
                await one_more.reset()
        assert sum(ref() is not None for ref in made) == 64
        for env in clients[:32]:
            await env.close()
        for env in clients[32:]:  # these die without a word
            env._ws.transport.abort()

    with served() as (url, server):
        asyncio.run(all_at_once(url, server))
        assert wait_until(lambda: server.active_sessions == 0)
        assert wait_until(lambda: not any(ref() is not None for ref in made))


def test_a_seed_names_a_stream_of_this_server_and_is_not_the_streams_own():
    with served() as (url, _):
        assert documents(url, 3) == documents(url, 3) != documents(url, 4)
        assert documents(url) != documents(url)
        stream = make_env("toy:Toy").family.stream(3)
        own = [{"title": d.title, "text": d.text} for d in stream.days[0].documents]
        assert documents(url, 3) != own


def test_a_wrong_shape_is_one_line_and_the_session_goes_on():
    async def misbehave(url):
        async with client(url) as env:
            with pytest.raises(RuntimeError, match="no stream yet: reset before step"):
                await env.step({"answers": []})
            for wrong, line in [
                ({"seed": "x"}, "seed='x': must be a whole number"),
                ({"seed": -1}, "seed=-1"),
                ({"episode_id": 3}, "episode_id=3: must be text"),
                ({"days": 3}, "reset: 'days' is unknown"),
            ]:
                with pytest.raises(RuntimeError, match=line) as caught:
                    await env.reset(**wrong)
                assert "\n" not in str(caught.value)
            first = (await env.reset(seed=1)).observation
            for wrong, line in [
                ({}, "answers: 0 to 7 questions"),
                ({"answers": "yes"}, "must be a list of strings"),
                ({"answers": [1] * 7}, "answers: 1 is no string"),
                ({"answer": ["x"] * 7}, "action: 'answer' is unknown"),
                ({"answers": ["x"] * 7, "state": "s"}, "state='s': must be an object"),
                ({"answers": ["x"] * 7, "night": {"x": 1}}, "night.x: unknown"),
            ]:
                with pytest.raises(RuntimeError, match=line) as caught:
                    await env.step(wrong)
                assert "\n" not in str(caught.value)
            state = await env.state()
            assert (state["step_count"], state["ended"]) == (0, False)
            assert "seed" not in json.dumps([state, first])
            result = await env.step(idle(first))
            assert result.observation["phase"] == "study"

    with served() as (url, server):
        asyncio.run(misbehave(url))
        request = urllib.request.Request(
            f"{url}/step", b'{"action": {"answers": []}}', {"Content-Type": "application/json"}
        )
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request)
        assert caught.value.code == 400
        assert json.loads(caught.value.read()) == {"detail": "no stream yet: reset before step"}
        schema = json.loads(urllib.request.urlopen(f"{url}/schema").read())
        answers = schema["action"]["properties"]["answers"]
        assert answers["items"] == {"type": "string"}
        assert wait_until(lambda: server.active_sessions == 0)


def test_a_session_that_never_ends_gives_its_memory_back():
    async def sleep_in(url, server):
        async with client(url) as env:
            await env.reset()
            assert made[-1]() is not None
            async with asyncio.timeout(15):
                while server.active_sessions:
                    await asyncio.sleep(0.1)
            assert wait_until(lambda: not any(ref() is not None for ref in made))
            with pytest.raises(RuntimeError, match="closed, as it was idle for too long"):
                await env.step({"answers": []})

    with served(idle_limit_s=0.5) as (url, server):
        asyncio.run(sleep_in(url, server))


def test_a_port_that_is_taken_is_one_line(capsys):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert run_command(["serve-env", "--env", "toy:Toy", "--port", str(port)]) == 2
    assert f"127.0.0.1:{port}: cannot listen there" in capsys.readouterr().err
