"""An OpenAI-compatible endpoint with a model that reads, answers and takes notes, for tests."""

import json
import re
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SENTENCE = re.compile(r"(Person\d+) is in (Town\d+)")


def reply(messages):
    """What a careful reader says: the toy world's sentences are all it understands."""
    text = "\n".join(str(message["content"]) for message in messages)
    known, last = dict(SENTENCE.findall(text)), str(messages[-1]["content"])
    if "The day is over" in last:
        return "\n".join(f"{name} is in {town}." for name, town in known.items())
    lines = []
    for number, question in re.findall(r"^(\d+)\. (.*)$", last.rpartition("Answer each")[2], re.M):
        name = re.search(r"Person\d+", question)
        lines.append(f"{number}. {known.get(name[0], 'unknown') if name else 'warm'}")
    return "\n".join(lines) or "Read."


class Handler(BaseHTTPRequestHandler):
    """POST /v1/chat/completions."""

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        message = {"role": "assistant", "content": reply(asked["messages"])}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        body = {"id": "1", "object": "chat.completion", "created": 0, "model": asked["model"]}
        content = json.dumps(body | {"choices": [choice], "usage": usage}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1]) if sys.argv[1:] else 0), Handler)
    print(server.server_port, flush=True)
    server.serve_forever()
