"""One search on several processes or machines: keras-tuner's chief and workers, made robust.

keras-tuner starts a gRPC server in the process whose KERASTUNER_TUNER_ID contains "chief", at
KERASTUNER_ORACLE_IP and KERASTUNER_ORACLE_PORT, and workers elsewhere. What it lacks stands here:
trials of workers that were killed are given to others, the chief does not wait for the dead, a
chief that was restarted resumes with workers that run, workers do not wait for a chief that has
left, scores and messages travel unabridged, and the chief listens to workers of the same search
alone (`access`) and takes from them what can be (`reports`). This file knows keras-tuner's inside;
it was tested with version 1.4.8.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Mapping
from concurrent import futures
from typing import Any

import grpc
import keras_tuner
from keras_tuner.src import protos
from keras_tuner.src.distribute import oracle_client
from keras_tuner.src.engine import trial as trial_module

from tfrcp.search import access
from tfrcp.search.access import clean
from tfrcp.search.reports import NOTE
from tfrcp.search.role import address, role
from tfrcp.search.serving import Servicer

HEARTBEAT = 1.0  # seconds between two signs of life of a worker that runs a trial
LEASE = 10.0  # seconds without one after which its trial is given to another
OUTAGE = 60.0  # seconds that a worker waits for a chief that does not answer
_IDLE = 0.2  # seconds until a worker for whom there is nothing to do asks again
_AWAY = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


class _Done(keras_tuner.errors.FatalError):
    """The chief has left because all is done."""


class _Away(keras_tuner.errors.FatalError):
    """The chief does not answer, or refuses to."""


class DistributedTuner(keras_tuner.Tuner):
    """A `keras_tuner.Tuner` whose chief and workers may be killed at any time and started again.

    Use it as the base of a tuner of your own, with one of tfrcp's oracles. All processes run the
    same script. `search` returns in the chief when all trials are done, and in the workers when
    there is nothing left to do.

    Attributes:
        store: The oracle of this process. In a worker, `oracle` is a proxy of the chief's, and the
            store reads the trials from the project folder, if that is shared.
        role: "chief", "worker", or `None` in a search of one process.
    """

    def __init__(self, oracle: Any, *args: Any, **kwargs: Any) -> None:
        self.store, self.role = oracle, role()
        if self.role == "worker":
            kwargs["overwrite"] = False  # The trials are the chief's.
        super().__init__(oracle, *args, **kwargs)
        if self.role == "worker":
            self.oracle = _Client(oracle, self.identity)

    def identity(self) -> dict[str, Any]:
        """What makes this search the one it is, nested plain values; the same in all processes.

        The chief refuses workers that have another one, and names the entries that differ.
        """
        return self.store.sampler.get_config()

    def search(self, *args: Any, **kwargs: Any) -> None:
        """Runs trials, or serves them.

        Args:
            *args: Passed to `run_trial`.
            **kwargs: Likewise.

        Raises:
            RuntimeError: If trials fail, with the cause, or the chief cannot be reached.
            ValueError: If the chief cannot listen at its address.
        """
        if self.role == "chief":
            serve(self.store, self.on_trial_served, self.identity())
        elif self.role == "worker":
            self._work(*args, **kwargs)
        else:
            super().search(*args, **kwargs)

    def on_trial_served(self) -> None:
        """Called in the chief when a worker has ended a trial."""

    def _work(self, *args: Any, **kwargs: Any) -> None:
        self.store.reload()
        if self.store.finished:
            return
        try:
            with self.oracle.heartbeats():
                super().search(*args, **kwargs)
        except _Done:
            pass
        except _Away as error:
            raise RuntimeError(str(error)) from None
        self.store.reload()

    def save(self) -> None:
        """Does nothing: the oracle stores each trial."""

    def reload(self) -> None:
        """Restores the trials of the project folder."""
        self.store.reload()


def serve(
    oracle: Any, on_trial_end: Callable[[], None], identity: Mapping[str, Any] | None = None
) -> None:
    """Hands out trials until all are done. Waits for the workers to hear so, if they live.

    Args:
        oracle: A `ChannelOracle`.
        on_trial_end: Called after each trial.
        identity: What the search is; see `DistributedTuner.identity`.

    Raises:
        RuntimeError: If trials fail, with the cause.
        ValueError: If the address is taken, or can be reached by others and there is no secret.
    """
    secret = access.secret_of(os.environ["KERASTUNER_ORACLE_IP"])
    oracle.lease = LEASE
    oracle.reload()
    if oracle.finished:
        return
    own = address()
    # One thread: the oracle is called by one worker at a time.
    server = grpc.server(
        futures.ThreadPoolExecutor(1),
        options=[("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", 1 << 24)],
    )
    servicer = Servicer(oracle, on_trial_end, access.digests(identity or {}), secret)
    protos.get_service_grpc().add_OracleServicer_to_server(servicer, server)
    try:
        server.add_insecure_port(own)
    except RuntimeError:
        raise ValueError(
            f"The chief cannot listen at {own}. Is another one running, or is this not an "
            "address of this machine? See KERASTUNER_ORACLE_IP and KERASTUNER_ORACLE_PORT."
        ) from None
    server.start()
    try:
        while not (oracle.finished or oracle.failure):
            time.sleep(0.1)
        until = time.monotonic() + LEASE
        while oracle.tuner_ids and time.monotonic() < until:
            time.sleep(0.1)
    finally:
        server.stop(grace=1).wait()
    if oracle.failure:
        raise RuntimeError(oracle.failure)


class _Client(oracle_client.OracleClient):
    """A worker's proxy of the chief's oracle."""

    def __init__(self, oracle: Any, identity: Callable[[], Mapping[str, Any]]) -> None:
        super().__init__(oracle)
        self._identity = identity
        self._secret = os.environ.get(access.SECRET, "").strip().encode() or None
        options = [
            ("grpc.initial_reconnect_backoff_ms", 200),
            ("grpc.max_reconnect_backoff_ms", 1000),
        ]
        channel = grpc.insecure_channel(address(), options=options)
        self._stub = protos.get_service_grpc().OracleStub(channel)
        self.stub = _Patient(self._stub, oracle, self._sent_along)
        self._metrics: dict[str, Any] = {}
        self._running: str | None = None

    def _sent_along(self, method: str) -> list[tuple[str, str]]:
        identity = access.digests(self._identity())
        return access.metadata(method, self.tuner_id, identity, self._secret)

    def create_trial(self, tuner_id: str) -> Any:
        """The next trial; waits a little where there is none now."""
        trial = super().create_trial(tuner_id)
        if trial.status == trial_module.TrialStatus.IDLE:
            time.sleep(_IDLE)
        elif trial.status == trial_module.TrialStatus.RUNNING:
            self._running, self._metrics = trial.trial_id, {}
        return trial

    def update_trial(self, trial_id: str, metrics: Any, step: int = 0) -> Any:
        """Reports metrics."""
        self._metrics = {"step": step, **{name: float(value) for name, value in metrics.items()}}
        return super().update_trial(trial_id, metrics, step)

    def end_trial(self, trial: Any) -> None:
        """Reports the end of a trial."""
        self._end(trial, message=trial.message, metrics=self._metrics)

    def fail(self, trial: Any, message: str) -> None:
        """Reports that no trial can be run, and why: the search ends."""
        self._end(trial, failure=message)

    def _end(self, trial: Any, **note: Any) -> None:
        self._running = None
        trial.hyperparameters.values[NOTE] = json.dumps(note)
        try:
            super().end_trial(trial)
        finally:
            del trial.hyperparameters.values[NOTE]

    def heartbeats(self) -> _Heartbeats:
        """A context in which the chief is told that this worker is at work."""
        return _Heartbeats(self._beat)

    def _beat(self) -> None:
        if self._running is not None:
            request = protos.get_service().GetTrialRequest(trial_id=self._running)
            try:
                sent = self._sent_along("GetTrial")
                self._stub.GetTrial(request, timeout=HEARTBEAT, metadata=sent)
            except grpc.RpcError:
                pass  # What the worker reports in the end is repeated until it arrives.


class _Heartbeats:
    """Calls a function again and again in a thread of its own."""

    def __init__(self, beat: Callable[[], None]) -> None:
        self._beat, self._stopped = beat, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: Any) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(HEARTBEAT):
            self._beat()


class _Patient:
    """A gRPC stub that repeats calls while the chief is away, and gives up when it has left."""

    def __init__(
        self, stub: Any, store: Any, sent_along: Callable[[str], list[tuple[str, str]]]
    ) -> None:
        self._stub, self._store, self._sent_along = stub, store, sent_along

    def __getattr__(self, name: str) -> Callable[..., Any]:
        call = getattr(self._stub, name)

        def patient(request: Any, **_: Any) -> Any:
            until, checked = time.monotonic() + OUTAGE, 0.0
            while True:
                try:
                    return call(request, timeout=OUTAGE, metadata=self._sent_along(name))
                except grpc.RpcError as error:
                    if error.code() not in _AWAY:
                        raise _Away(
                            f"The chief at {address()} refuses: {clean(error.details())}"
                        ) from None
                now = time.monotonic()
                if now - checked > HEARTBEAT:
                    checked = now
                    self._store.reload()
                    if self._store.finished:
                        raise _Done
                if now > until:
                    raise _Away(
                        f"The chief at {address()} has not answered for {OUTAGE:.0f} s. Start it "
                        "first, and look whether KERASTUNER_ORACLE_IP and KERASTUNER_ORACLE_PORT "
                        "are its."
                    )
                time.sleep(_IDLE)

        return patient
