"""Servers of OpenAI's protocol: one that replies as a test says, one around a tiny model."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import torch

LISTED = {"data": [{"id": "tiny", "owned_by": "us", "root": "org/tiny", "max_model_len": 500}]}


class Server:
    """Listens while it is a context.

    Attributes:
        url: Base URL.
        model: A ``--model`` that names it.
        asked: (route, body, headers) of every POST so far.
    """

    def __init__(self, reply, listed=LISTED):
        """Start.

        Args:
            reply: Takes route, body and the number of the request, from 0; returns status, headers
                and content (bytes, or what is sent as JSON). May raise ConnectionError to hang up.
            listed: What ``/models`` answers, or the status that it has.
        """
        self.reply, self.listed, self.asked = reply, listed, []
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # head and body in one packet: the other side may wait between two

            def do_GET(self):
                known = isinstance(server.listed, dict)
                self.answer(*((200, {}, server.listed) if known else (server.listed, {}, b"")))

            def do_POST(self):
                size = int(self.headers["Content-Length"])
                body = json.loads(self.rfile.read(size))
                route = self.path.removeprefix("/v1")
                server.asked.append((route, body, dict(self.headers)))
                try:
                    self.answer(*server.reply(route, body, len(server.asked) - 1))
                except ConnectionError:
                    self.close_connection = True
                    self.connection.close()

            def answer(self, status, headers, content):
                if not isinstance(content, bytes):
                    content = json.dumps(content).encode()
                self.send_response(status)
                for name, value in {"Content-Length": str(len(content)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"
        self.model = f"openai:{self.url}#tiny"

    def __enter__(self):
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.http.shutdown()
        self.http.server_close()


def said(text, read=7, generated=3):
    """A reply in both protocols at once."""
    usage = {"prompt_tokens": read, "completion_tokens": generated}
    choice = {"message": {"role": "assistant", "content": text}, "text": text}
    return 200, {}, {"choices": [choice], "usage": usage}


class TinyModel:
    """Replies as a server around a model would, which reads by its own forward pass.

    Attributes:
        chat: How many of a chat's abilities it has: 0 none, 1 answers, 2 likelihoods as well.
        echo: Whether plain prompts come back with their likelihoods.
    """

    def __init__(self, model, tokenizer, chat, echo):
        self.model, self.tokenizer, self.chat, self.echo = model, tokenizer, chat, echo
        self.lock = threading.Lock()

    def __call__(self, route, body, number):
        chat = route.startswith("/chat")
        extra = "prompt_logprobs" in body
        if chat and self.chat < 1 + extra:
            return 400, {}, {"error": {"message": "the model has no such thing"}}
        text = self.turns(body["messages"], not extra) if chat else body["prompt"]
        ids = [1, *self.tokenizer.encode(text, add_special_tokens=False)]
        with self.lock, torch.inference_mode():
            scores = self.scores(ids) if extra or body.get("echo") else []
            written = self.continued(ids, body["max_tokens"])
        usage = {"prompt_tokens": len(ids), "completion_tokens": len(written)}
        answer = self.tokenizer.decode(written, skip_special_tokens=True)
        for stop in body.get("stop", ()):
            answer = answer.partition(stop)[0]
        choice = {"message": {"content": answer}, "text": answer, "logprobs": None}
        reply = {"choices": [choice], "usage": usage}
        if extra:
            told = [{str(i): {"logprob": s}} for i, s in zip(ids[1:], scores, strict=True)]
            reply["prompt_logprobs"] = [None, *told]
        elif body.get("echo") and self.echo:
            tokens = [str(i) for i in (*ids, *written)]
            values = [None, *scores, *[-1.0] * len(written)]
            choice["logprobs"] = {"tokens": tokens, "token_logprobs": values}
        return 200, {}, reply

    def turns(self, messages, opened):
        """A template of this server's own."""
        text = "".join(f"[{m['role']}]{m['content']}[end]" for m in messages)
        return text + ("[assistant]" if opened else "")

    def scores(self, ids):
        logits = self.model(torch.tensor([ids])).logits[0].log_softmax(-1)
        return [float(logits[i, token]) for i, token in enumerate(ids[1:])]

    def continued(self, ids, most):
        out = []
        while len(out) < most and (not out or out[-1] != self.tokenizer.eos_token_id):
            out.append(int(self.model(torch.tensor([ids + out])).logits[0, -1].argmax()))
        return out
