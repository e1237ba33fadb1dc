"""Who may speak to the chief of a search: workers of the same search, who know the same secret.

What is sent is not encrypted, and what the chief answers is not signed: see docs/reliability.md for
what that defends and what it does not.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import json
import os
import secrets
import socket
from collections.abc import Mapping
from typing import Any

import grpc

SECRET = "TFRCP_SECRET"
"""The environment variable of the shared secret."""

_LEAST = 16  # characters of a secret
_WORKER, _IDENTITY, _NONCE, _SEAL = (f"tfrcp-{n}" for n in ("worker", "identity", "nonce", "seal"))
_LONGEST = 200  # characters of a worker's name
_TEXT = 4000  # characters of a message


class Refused(Exception):
    """A request that is not answered."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code


def clean(text: str | None) -> str | None:
    """A text of another process, safe to print: without control characters, of bounded length."""
    if text is None:
        return None
    text = "".join(c if c.isprintable() or c == "\n" else " " for c in str(text))
    return text if len(text) <= _TEXT else f"{text[: _TEXT // 2]} ... {text[-_TEXT // 2 :]}"


def digests(settings: Mapping[str, Any]) -> dict[str, str]:
    """What a search is, entry by entry: short digests of nested plain values."""
    return {
        name: hashlib.sha256(
            json.dumps(
                value, sort_keys=True, default=lambda v: getattr(v, "tolist", v.__str__)()
            ).encode()
        ).hexdigest()[:12]
        for name, value in settings.items()
    }


def secret_of(address: str) -> bytes | None:
    """The shared secret; `None` where there is none, and none is needed.

    Args:
        address: IP or name at which the chief listens.

    Raises:
        ValueError: If others than this machine can reach the address and no secret is set, or it is
            too short.
    """
    secret = os.environ.get(SECRET, "").strip()
    if secret and len(secret) < _LEAST:
        raise ValueError(
            f"{SECRET} must have at least {_LEAST} characters. Received: {len(secret)}"
        )
    if not secret and not is_loopback(address):
        raise ValueError(
            f"The chief would listen at {address}, which other machines can reach: set {SECRET} to "
            "the same random text for the chief and its workers, such as that of `openssl rand "
            "-hex 32`, or KERASTUNER_ORACLE_IP to 127.0.0.1. Received: no secret"
        )
    return secret.encode() or None


def is_loopback(address: str) -> bool:
    """Whether an address, or all that a name stands for, is this machine's own."""
    try:
        return ipaddress.ip_address(address.strip("[]")).is_loopback
    except ValueError:
        pass
    try:
        found = {entry[4][0] for entry in socket.getaddrinfo(address, None)}
    except OSError:
        return False
    return bool(found) and all(ipaddress.ip_address(ip.split("%")[0]).is_loopback for ip in found)


def metadata(
    method: str, worker: str, identity: Mapping[str, str], secret: bytes | None
) -> list[tuple[str, str]]:
    """What a worker sends along with a request."""
    entries = {
        _WORKER: json.dumps(worker),
        _IDENTITY: json.dumps(dict(identity)),
        _NONCE: secrets.token_hex(16),
    }
    if secret:
        entries[_SEAL] = _seal(secret, method, entries)
    return list(entries.items())


def admit(
    method: str,
    sent: Mapping[str, Any],
    identity: Mapping[str, str],
    secret: bytes | None,
) -> str:
    """The name of the worker that sent a request.

    Args:
        method: Name of the request.
        sent: What it sent along.
        identity: Of the chief's search, as `digests` gives it.
        secret: The chief's.

    Raises:
        Refused: If it is none of this search.
    """
    denied = grpc.StatusCode.UNAUTHENTICATED
    try:
        worker, theirs = json.loads(sent[_WORKER]), json.loads(sent[_IDENTITY])
        sound = isinstance(worker, str) and isinstance(theirs, dict) and bool(sent[_NONCE])
    except (KeyError, ValueError, TypeError, RecursionError):
        sound = False
    if not sound or not 0 < len(worker) <= _LONGEST or not worker.isprintable():
        raise Refused(denied, "This is no worker of tfrcp, or one of another version.")
    if secret and not hmac.compare_digest(str(sent.get(_SEAL)), _seal(secret, method, sent)):
        raise Refused(
            denied, f"The worker '{worker}' does not know the secret of the chief: see {SECRET}."
        )
    wrong = [n for n in dict.fromkeys((*identity, *theirs)) if identity.get(n) != theirs.get(n)]
    if wrong:
        raise Refused(
            grpc.StatusCode.FAILED_PRECONDITION,
            f"The worker '{worker}' has another search than the chief: its {', '.join(wrong[:8])} "
            f"{'differ' if len(wrong) > 1 else 'differs'}. Start it with the same configuration, "
            "model and data.",
        )
    return worker


def _seal(secret: bytes, method: str, entries: Mapping[str, Any]) -> str:
    text = "\n".join((method, *(str(entries[name]) for name in (_WORKER, _IDENTITY, _NONCE))))
    return hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()
