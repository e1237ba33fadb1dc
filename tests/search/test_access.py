"""Who may speak to the chief: addresses, secrets and sealed requests."""

from __future__ import annotations

import pytest

from tfrcp.search import access, distributed


def test_a_short_secret_is_refused(monkeypatch):
    monkeypatch.setenv(access.SECRET, "short")
    for ip in ("127.0.0.1", "0.0.0.0"):
        with pytest.raises(ValueError, match="at least 16 characters"):
            access.secret_of(ip)


@pytest.mark.parametrize("ip", ["127.0.0.1", "127.1.2.3", "::1", "[::1]", "localhost"])
def test_this_machine_needs_none(monkeypatch, ip):
    monkeypatch.delenv(access.SECRET, raising=False)
    assert access.secret_of(ip) is None


@pytest.mark.parametrize("port", ["0", "65536", "99999", "-1", "http", "", "8000 ", "1e3", "٣"])
def test_ports_that_are_none(monkeypatch, port):
    for name, value in (("TUNER_ID", "w"), ("ORACLE_IP", "127.0.0.1"), ("ORACLE_PORT", port)):
        monkeypatch.setenv(f"KERASTUNER_{name}", value)
    with pytest.raises(ValueError, match="KERASTUNER_ORACLE_PORT must be a port"):
        distributed.role()


def test_what_others_sent_is_printed_without_control_characters():
    text = access.clean("a\x1b[2Jb\rc\x07\u202ed\ne")
    assert text == "a [2Jb c  d\ne"
    assert len(access.clean("x" * 10**6)) < 5000 and access.clean(None) is None


def test_a_sealed_request_is_that_of_one_method_and_one_worker():
    secret, identity = b"s" * 32, {"model": "1"}
    sent = dict(access.metadata("GetTrial", "w", identity, secret))
    assert access.admit("GetTrial", sent, identity, secret) == "w"
    assert secret.decode() not in str(sent)
    for method, forged in (
        ("EndTrial", sent),
        ("GetTrial", sent | {"tfrcp-worker": '"x"'}),
        ("GetTrial", {k: v for k, v in sent.items() if k != "tfrcp-seal"}),
    ):
        with pytest.raises(access.Refused, match="does not know the secret"):
            access.admit(method, forged, identity, secret)
