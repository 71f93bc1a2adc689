"""Where a served model is: ``openai:URL#NAME``."""

from __future__ import annotations

import os
from dataclasses import dataclass
from urllib.parse import urlsplit

from sleepgym.core.errors import BadSetting
from sleepgym.runs.models.base_model import KEYS, SERVED

FORM = "openai:URL#NAME, for example openai:http://127.0.0.1:8000/v1#qwen3-8b"


@dataclass(frozen=True)
class Address:
    """A model of a server.

    Attributes:
        url: Base URL, without credentials, to which routes like ``/chat/completions`` are added.
        name: What the server calls the model.
    """

    url: str
    name: str

    @classmethod
    def parse(cls, model: str) -> Address:
        """Read a ``--model`` that :func:`~sleepgym.runs.models.base_model.is_served`.

        Raises:
            BadSetting: If it is not of that form, or carries credentials, which would be recorded.
        """
        url, _, name = model.removeprefix(SERVED).partition("#")
        try:
            parts = urlsplit(url)
            whole = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:  # a port that is no number, a host in one bracket
            parts, whole = urlsplit(""), False
        if "@" in url or parts.query:  # before anything is shown
            raise BadSetting(
                f"model {SERVED}...#{name:.60}: the URL is recorded, so it must hold no user, "
                f"password or query: put the key into the environment variable {KEYS[0]}"
            )
        if not whole or not name.strip() or any(c.isspace() for c in url):
            raise BadSetting(f"model {model!r:.200}: must be of the form {FORM}")
        return cls(url.rstrip("/"), name)


def api_key() -> str:
    """The key of ``SLEEPGYM_API_KEY``, else of ``OPENAI_API_KEY``; empty where there is none."""
    found = (os.environ.get(name, "").strip() for name in KEYS)
    return next((key for key in found if key), "")
