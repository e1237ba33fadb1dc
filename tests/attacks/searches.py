"""Searches whose processes are killed, and whose chief hears from strangers."""

from __future__ import annotations

import json
import os
import signal
import socket
import time

import grpc
from keras_tuner.src import protos

import tfrcp
from tests.attacks.damages import generator
from tests.attacks.tally import require
from tests.search.kill_search import disturbed, fork, free_port, search, stored
from tests.search.small_search import network

_METHODS = ("GetSpace", "UpdateSpace", "CreateTrial", "UpdateTrial", "EndTrial", "GetBestTrials")
_NOISE = (
    b"",
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 300,
    b"\x00" * 100_000,
)
#: Connections that say nothing more and stay.
_held: list[socket.socket] = []


def kills(tally, seed, folder):
    """Chief and workers are killed; the search ends as an undisturbed one. 25 kills a search."""
    graph = tfrcp.trace(network())
    traced = graph, tfrcp.CostModel(graph)
    search(folder / "quiet", traced, 150)
    expected = stored(folder / "quiet")
    for number in tally:
        place, wanted = folder / f"search{number}", min(25, tally.most - tally.tries)
        try:
            killed, _ = disturbed(
                place, traced, kills=wanted, workers=2, trials=150, seed=seed + number
            )
            require(stored(place) == expected, "it ended otherwise")
        except AssertionError as error:
            tally.tries += wanted
            tally.wrong.append(f"search {number}, seed {seed + number}: {error}")
            continue
        tally.tries += killed
        tally.survived += killed
        if not killed:
            break


def strangers(tally, seed, folder):
    """Noise, forged requests and random messages while a search is running."""
    graph = tfrcp.trace(network())
    traced, port = (graph, tfrcp.CostModel(graph)), free_port()
    trials = max(30, 4 * tally.most)
    search(folder / "quiet", traced, trials)
    place = folder / "attacked"
    processes = {
        name: fork(name, port, lambda: search(place, traced, trials, seconds=0.02))
        for name in ("chief", "worker")
    }
    address = f"127.0.0.1:{port}"
    methods = protos.get_service_grpc().OracleStub(grpc.insecure_channel(address))
    paths = {name: getattr(methods, name)._method for name in _METHODS}
    channel = grpc.insecure_channel(address)
    grpc.channel_ready_future(channel).result(60)
    _held.clear()
    for number in tally:
        if os.waitpid(processes["chief"], os.WNOHANG)[0]:
            tally.wrong.append("the chief ended before the attacks did")
            break
        random = generator(seed, number)
        what = f"seed {seed}, stranger {number}"
        tally.count(what, lambda random=random: _attack(random, channel, paths, port))
    limit = time.monotonic() + 300
    for name, process in processes.items():
        ended = 0
        while not ended and time.monotonic() < limit:
            try:
                ended, _ = os.waitpid(process, os.WNOHANG)
            except ChildProcessError:
                break
            time.sleep(0.05)
        if not ended and time.monotonic() >= limit:
            os.kill(process, signal.SIGKILL)
            tally.wrong.append(f"the {name} did not come to an end")
    if stored(place) != stored(folder / "quiet"):
        tally.wrong.append("the search ended otherwise than an undisturbed one")
    if tally.wrong:
        tally.survived = min(tally.survived, tally.tries - 1)


def _attack(random, channel, paths, port):
    kind = random.integers(6)
    if kind == 5:
        for _ in range(30):
            _held.append(socket.create_connection(("127.0.0.1", port), timeout=5))
            _held[-1].sendall(_NOISE[3][: int(random.integers(30))])
        return
    if kind == 0:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(_NOISE[random.integers(len(_NOISE))])
            connection.sendall(random.bytes(int(random.integers(5000))))
        return
    sent = ()
    if kind > 1:
        worker = ("stranger", "worker", "chief", "\x1b[2J", "x" * 300, "")[random.integers(6)]
        identity = ({}, [], {"seed": "0" * 12}, {"x" * 500: "y"}, 3)[random.integers(5)]
        sent = (
            ("tfrcp-worker", json.dumps(worker)),
            ("tfrcp-identity", json.dumps(identity)),
            ("tfrcp-nonce", "00"),
            ("tfrcp-seal", random.bytes(16).hex()),
        )[: int(random.integers(1, 5))]
    method = _METHODS[random.integers(len(_METHODS))]
    most = 20_000_000 if kind == 4 else 2_000_000
    body = b"" if random.integers(2) else random.bytes(int(random.integers(1, most)))
    try:
        channel.unary_unary(paths[method])(body, timeout=10, metadata=sent)
    except grpc.RpcError as error:
        slow = error.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        require(not slow, f"{method} hangs")
        require("Traceback" not in str(error.details()), "a traceback was sent")
    else:
        require(False, f"{method} was answered")
