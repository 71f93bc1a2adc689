"""Where the files of a language model are: with us, in a folder, or on the hub."""

from __future__ import annotations

import socket
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies

from sleepgym.core.errors import MissingData, UnknownName, unknown_name

EMBEDDED = Path(__file__).parents[1] / "base"
TIMEOUT_S = 5.0


def locate(name: str) -> tuple[str, str]:
    """What transformers is to load, and at which revision.

    Args:
        name: ``"embedded"``, a folder, or a hub id ``org/name`` or ``org/name@revision``.

    Raises:
        MissingData: If the hub is asked for and neither it nor the cache has the model.
        UnknownName: If there is no such folder, or the name is of no known form.
    """
    if name == "embedded":
        if not (EMBEDDED / "model.safetensors").is_file():
            raise MissingData(
                f"the embedded model is not there ({EMBEDDED.name}/model.safetensors): "
                "use --model scratch, a folder or a hub id"
            )
        return str(EMBEDDED), "main"
    if Path(name).expanduser().is_dir():
        return str(Path(name).expanduser()), "main"
    if name.startswith((".", "/", "~")):
        raise UnknownName(f"model {name!r}: there is no such folder")
    hub_id, _, revision = name.partition("@")
    if hub_id.count("/") != 1:
        raise unknown_name("model", name, ["embedded", "scratch", "a folder", "a hub id org/name"])
    return _cached_or_hub(hub_id, revision or "main")


def _cached_or_hub(hub_id: str, revision: str) -> tuple[str, str]:
    """The hub if it answers, else its cached snapshot: transformers would retry for a minute."""
    from huggingface_hub import try_to_load_from_cache

    if _hub_answers():
        return hub_id, revision
    cached = try_to_load_from_cache(hub_id, "config.json", revision=revision)
    if not isinstance(cached, str):
        raise MissingData(
            f"model {hub_id!r} is not in the cache and the hub does not answer: "
            "use a folder, or --model embedded"
        )
    return str(Path(cached).parent), "main"


def _hub_answers() -> bool:
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
