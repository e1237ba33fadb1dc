"""What this process is in a search by several, and where its chief listens: the environment."""

from __future__ import annotations

import os

from keras_tuner.src.distribute import utils as distribution


def role() -> str | None:
    """What this process is, from the environment: "chief", "worker", or `None` for neither.

    Raises:
        ValueError: If only some of the three variables are set, or one cannot be used.
    """
    try:
        if not distribution.has_chief_oracle():
            return None
    except RuntimeError as error:
        raise ValueError(str(error)) from None
    port = os.environ["KERASTUNER_ORACLE_PORT"]
    if not (port.isascii() and port.isdecimal() and 1 <= int(port[:9]) <= 65535):
        raise ValueError(
            f"KERASTUNER_ORACLE_PORT must be a port, a number from 1 to 65535. Received: {port!r}"
        )
    for name in ("KERASTUNER_TUNER_ID", "KERASTUNER_ORACLE_IP"):
        if not os.environ[name].strip():
            raise ValueError(f"{name} must not be empty.")
    return "chief" if distribution.is_chief_oracle() else "worker"


def address() -> str:
    """Where the chief listens, "HOST:PORT", from the environment."""
    host, port = (os.environ[f"KERASTUNER_ORACLE_{name}"] for name in ("IP", "PORT"))
    return f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"
