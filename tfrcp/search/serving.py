"""The chief's side of a search on several processes: what it answers, and to whom."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import grpc
from keras_tuner.src import protos
from keras_tuner.src.distribute import oracle_chief
from keras_tuner.src.engine import hyperparameters as hp_module
from keras_tuner.src.engine import oracle as oracle_module
from keras_tuner.src.engine import trial as trial_module

from tfrcp.search import access, reports
from tfrcp.search.access import Refused, clean

_TOLD = 5  # refusals of which the chief tells


class Servicer(oracle_chief.OracleServicer):
    """Answers workers of this search; tells of each trial that ends.

    Nothing that is sent raises behind keras-tuner's lock, which it would not let go of.
    """

    def __init__(
        self,
        oracle: Any,
        on_trial_end: Callable[[], None],
        identity: Mapping[str, str],
        secret: bytes | None,
    ) -> None:
        super().__init__(oracle)
        self._on_trial_end, self._identity, self._secret = on_trial_end, identity, secret
        self._refusals = 0

    def _answer(
        self, method: str, request: Any, context: Any, check: Callable[[str], bool] | None = None
    ) -> Any:
        """Answers a request as keras-tuner does, if it comes from a worker and is sound.

        Args:
            method: Its name.
            request: The request.
            context: Of gRPC.
            check: Looks at it, given the worker's name; tells whether there is anything to do.
        """
        try:
            sent = dict(context.invocation_metadata())
            worker = access.admit(method, sent, self._identity, self._secret)
            if check is not None and not check(worker):
                return getattr(protos.get_service(), f"{method}Response")()
        except Refused as error:
            self._tell(error)
            context.abort(error.code, clean(str(error)))
        except Exception as error:  # whatever a malformed message leads to
            self._tell(error)
            code = grpc.StatusCode.INVALID_ARGUMENT
            context.abort(code, f"{method} cannot be read: {clean(str(error))[:200]}")
        try:
            return getattr(super(), method)(request, context)
        except Exception as error:
            oracle_module.THREADS[self.oracle] = None
            if oracle_module.LOCKS[self.oracle].locked():
                oracle_module.LOCKS[self.oracle].release()
            if isinstance(error, OSError):  # such as a full disk: the trial can be run again
                self.oracle.failure = clean(str(error))
            self._tell(error)
            message = f"{method} failed: {type(error).__name__}: {clean(str(error))[:200]}"
            context.abort(grpc.StatusCode.INTERNAL, message)

    def _tell(self, error: Exception) -> None:
        self._refusals += 1
        if self._refusals <= _TOLD:
            more = "; more are not told of" if self._refusals == _TOLD else ""
            text = " ".join((clean(str(error)) or type(error).__name__).split())[:300]
            print(f"search: a request was refused: {text}{more}", flush=True)

    def GetSpace(self, request: Any, context: Any) -> Any:  # noqa: N802
        """The hyperparameters of the search."""
        return self._answer("GetSpace", request, context)

    def GetBestTrials(self, request: Any, context: Any) -> Any:  # noqa: N802
        """The best trials so far."""
        return self._answer("GetBestTrials", request, context)

    def UpdateSpace(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Takes further hyperparameters; those of the search stay."""

        def check(worker: str) -> bool:
            space = hp_module.HyperParameters.from_proto(request.hyperparameters)
            reports.check_space(self.oracle, space)
            return True

        return self._answer("UpdateSpace", request, context, check)

    def CreateTrial(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Hands out a trial."""

        def check(worker: str) -> bool:
            if request.tuner_id != worker:
                raise Refused(
                    grpc.StatusCode.INVALID_ARGUMENT, f"'{worker}' asks for a trial of another."
                )
            return True

        return self._answer("CreateTrial", request, context, check)

    def GetTrial(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Tells of a trial; from its worker it is a sign of life."""

        def check(worker: str) -> bool:
            reports.known(self.oracle, request.trial_id)
            if reports.holds(self.oracle, worker, request.trial_id):
                self.oracle.renew(request.trial_id)
            return True

        return self._answer("GetTrial", request, context, check)

    def UpdateTrial(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Takes the scores of a trial."""

        def check(worker: str) -> bool:
            reports.known(self.oracle, request.trial_id)
            reports.check_metrics(self.oracle, request.metrics)
            return True

        return self._answer("UpdateTrial", request, context, check)

    def EndTrial(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Takes the end of a trial; a failure of all only from the worker that runs it."""

        def check(worker: str) -> bool:
            trial = trial_module.Trial.from_proto(request.trial)
            text = trial.hyperparameters.values.get(reports.NOTE, "{}")
            note = reports.parse_note(text)
            if note["failure"] is None:
                reports.check_end(self.oracle, trial, note)
                return True
            reports.known(self.oracle, trial.trial_id)
            return reports.holds(self.oracle, worker, trial.trial_id)

        ended = len(self.oracle.end_order)
        response = self._answer("EndTrial", request, context, check)
        if len(self.oracle.end_order) > ended:
            self._on_trial_end()
        return response
