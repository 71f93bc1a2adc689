"""Requests to a server: side by side, again after a failure, and only so often."""

from __future__ import annotations

import json
import os
import ssl
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import cache, partial
from typing import Any, Generic, TypeVar

import httpx2

from sleepgym.core.errors import BadSetting, EndpointError, UnknownName
from sleepgym.runs.models.base_model import KEYS
from sleepgym_agents.endpoints.address import Address, api_key

T = TypeVar("T")
CONNECTIONS, CONNECTIONS_VARIABLE = 8, "SLEEPGYM_CONNECTIONS"
TIMEOUT_S, TIMEOUT_VARIABLE = 300.0, "SLEEPGYM_TIMEOUT_S"
CONNECT_S = 10.0
TRIES, FIRST_TRIES, LATE_TRIES = 8, 3, 3  # in a run; at first contact; of no answer in time
FIRST_WAIT_S, MOST_WAIT_S = 1.0, 60.0  # doubled after every failure
LONGEST_WAIT_S = 300.0  # that a server may ask for
MOST_BYTES = 64 << 20  # of a reply
AGAIN = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})


class Refused(Exception):
    """A request that the server does not answer, however often it is sent.

    Attributes:
        status: The HTTP status.
        of_the_kind: Whether it may be for the kind of request, which this server does not know;
            some answer 500 to that, and to a name they do not know.
    """

    def __init__(self, status: int, reason: str, effort: str = "") -> None:
        """Tell of it.

        Args:
            status: The HTTP status.
            reason: What the server said, in one line.
            effort: How often it was tried, in words; for a status that may pass.
        """
        super().__init__(f"it answered {status}: {reason}{effort}")
        self.status = status
        self.of_the_kind = status == 500 or status not in {401, 403, *AGAIN}


@dataclass(frozen=True)
class Reply(Generic[T]):
    """What was read from a reply.

    Attributes:
        value: What the reader made of it.
        read_tokens: Prompt tokens, as the server counts them; None where it does not.
        generated_tokens: Tokens written, likewise.
    """

    value: T
    read_tokens: int | None
    generated_tokens: int | None


class Client:
    """Sends requests to one server.

    Attributes:
        address: The server and the model.
    """

    def __init__(self, address: Address) -> None:
        self.address = address
        self._key = api_key()
        self._connections = int(_positive(CONNECTIONS_VARIABLE, CONNECTIONS, int))
        self._timeout_s = _positive(TIMEOUT_VARIABLE, TIMEOUT_S, float)
        if not (self._key.isascii() and self._key.isprintable()):
            raise BadSetting(f"the key in {' or '.join(KEYS)} is no header value")

    def _open(self) -> httpx2.Client:
        return httpx2.Client(
            headers={"Authorization": f"Bearer {self._key}"} if self._key else {},
            timeout=httpx2.Timeout(self._timeout_s, connect=min(CONNECT_S, self._timeout_s)),
            limits=httpx2.Limits(max_connections=self._connections),
            verify=_certificates(),
        )

    def listed(self) -> list[dict[str, Any]]:
        """The models that ``/models`` lists; empty where the server has no such list.

        Raises:
            EndpointError: If the server cannot be reached, or refuses the key.
        """
        try:
            with self._open() as http:
                return self._send(http, "GET", "/models", None, _models, FIRST_TRIES, 1).value
        except Refused as refusal:
            if not refusal.of_the_kind:
                raise self.refusal(refusal) from refusal
            return []

    def try_out(self, route: str, body: Mapping[str, Any], read: Callable[[Any], T]) -> Reply[T]:
        """Send a request of which it is open whether the server knows its like.

        Raises:
            Refused: If it does not; with a status of 500 or of 4xx.
            EndpointError: If the server cannot be reached, or is too busy to tell.
        """
        try:
            with self._open() as http:
                return self._send(http, "POST", route, body, read, TRIES, 2)
        except Refused as refusal:
            if not refusal.of_the_kind:
                raise self.refusal(refusal) from refusal
            raise

    def ask(
        self, route: str, bodies: Sequence[Mapping[str, Any]], read: Callable[[Any], T]
    ) -> list[Reply[T]]:
        """Send requests, some side by side, and read the replies in the order of the requests.

        Args:
            route: Behind the base URL.
            bodies: JSON objects.
            read: Takes a reply apart; whatever it raises makes the reply garbage.

        Raises:
            EndpointError: If the server stays down, slow or unintelligible, or refuses a request.
            UnknownName: If it does not know the model.
        """
        stop = threading.Event()
        pool = ThreadPoolExecutor(self._connections)
        with self._open() as http:
            send = partial(self._send, http, "POST", route, read=read, tries=TRIES, stop=stop)
            try:
                futures = [pool.submit(send, body) for body in bodies]
                return [future.result() for future in futures]
            except Refused as refusal:
                raise self.refusal(refusal) from refusal
            finally:
                stop.set()
                pool.shutdown(wait=False, cancel_futures=True)

    def refusal(self, refusal: Refused) -> EndpointError | UnknownName:
        """A refusal as an error for the user, with what to do."""
        where = f"endpoint {self.address.url}: {refusal}"
        if refusal.status == 429:
            return EndpointError(
                f"{where}; {CONNECTIONS_VARIABLE} says how many requests go at once"
            )
        if refusal.status in (401, 403):
            return EndpointError(f"{where}; put a key into {' or '.join(KEYS)}")
        if not refusal.of_the_kind:
            return EndpointError(where)
        known, name = [model["id"] for model in self.listed()], self.address.name
        if known and name not in known:
            return UnknownName(
                f"{where}; {name!r:.80} is none of the models it lists: {', '.join(known):.200}"
            )
        hint = "; a base URL mostly ends in /v1" if refusal.status == 404 and not known else ""
        return EndpointError(f"{where} (model {name!r:.80}){hint}")

    def _send(
        self,
        http: httpx2.Client,
        method: str,
        route: str,
        body: Mapping[str, Any] | None,
        read: Callable[[Any], T],
        tries: int,
        failing: int | None = None,
        stop: threading.Event | None = None,
    ) -> Reply[T]:
        """Send a request until it is answered, at most ``tries`` times.

        Args:
            http: An open client.
            method: Of HTTP.
            route: Behind the base URL.
            body: A JSON object.
            read: Takes a reply apart.
            tries: Most trials.
            failing: Most trials where the status is 500; None is as many.
            stop: Set where the answer is wanted no longer.

        Raises:
            Refused: If the last answer was a refusal.
            EndpointError: If there was none that can be read.
        """
        stop = stop or threading.Event()
        wait_s, began_s = FIRST_WAIT_S, time.monotonic()
        for trial in range(1, tries + 1):
            asked_s, status, most = None, 0, tries
            try:
                status, headers, content = self._exchange(http, method, route, body)
                if status == 200:
                    plain = json.loads(content)
                    return Reply(read(plain), *_usage(plain))
                reason = self._words(content)
                if status not in AGAIN:
                    raise Refused(status, reason)
                asked_s = _retry_after_s(headers.get("retry-after"))
            except httpx2.TimeoutException:
                most = min(tries, LATE_TRIES)
                reason = f"no answer within {self._timeout_s:g} s ({TIMEOUT_VARIABLE})"
            except httpx2.HTTPError as error:
                reason = self._words(str(error).encode()) or type(error).__name__
            except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError):
                reason, status = "its answer is none of this protocol", 0
            if status == 500:
                most = failing or tries
            if trial >= most or (asked_s or 0) > LONGEST_WAIT_S:
                break
            if stop.wait(max(wait_s, asked_s or 0)):
                break
            wait_s = min(2 * wait_s, MOST_WAIT_S)
        effort = f" ({trial} tries in {time.monotonic() - began_s:.0f} s"
        effort += f"; it asks to wait {asked_s:.0f} s" if asked_s else ""
        effort += "); the run goes on when it is resumed"
        if status:
            raise Refused(status, reason, effort)
        raise EndpointError(f"endpoint {self.address.url}: {reason}{effort}")

    def _exchange(
        self, http: httpx2.Client, method: str, route: str, body: Mapping[str, Any] | None
    ) -> tuple[int, httpx2.Headers, bytes]:
        content = bytearray()
        with http.stream(method, self.address.url + route, json=body) as response:
            for chunk in response.iter_bytes():
                content += chunk
                if len(content) > MOST_BYTES:
                    raise ValueError("a reply of this size is none")
        return response.status_code, response.headers, bytes(content)

    def _words(self, content: bytes) -> str:
        """What an error says, in one short line, without the key."""
        text = content[:4000].decode("utf-8", "replace")
        try:
            plain = json.loads(content)
            while isinstance(plain, dict):
                plain = next((plain[k] for k in ("error", "message", "detail") if k in plain), text)
            text = plain if isinstance(plain, str) else text
        except (ValueError, RecursionError):
            pass
        if self._key:
            text = text.replace(self._key, "***")
        return "".join(c if c.isprintable() else " " for c in " ".join(text.split()))[:200]


@cache
def _certificates() -> ssl.SSLContext:
    """Reading them takes longer than a request."""
    return httpx2.create_ssl_context()


def _models(plain: Any) -> list[dict[str, Any]]:
    return [dict(model) for model in plain["data"] if isinstance(model["id"], str)]


def _usage(plain: Any) -> tuple[int | None, int | None]:
    usage = plain.get("usage")
    if not isinstance(usage, dict):
        return None, None
    counts = [usage.get(name) for name in ("prompt_tokens", "completion_tokens")]
    read, generated = (n if isinstance(n, int) and n >= 0 else None for n in counts)
    return read, generated


def _retry_after_s(value: str | None) -> float | None:
    """Seconds that a server asks to wait, given as a number or as a date."""
    if not value:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


def _positive(variable: str, default: float, kind: type) -> float:
    text = os.environ.get(variable) or str(default)
    try:
        value = kind(text)
    except ValueError:
        value = 0
    if not 0 < value <= 1e6:
        raise BadSetting(f"{variable}={text:.40}: must be a number above 0")
    return value
