"""Real jobs: commands are killed, or find the files of their folder damaged, and are run again."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.attacks.damages import DAMAGES, REPLACEMENTS, absurd, generator
from tests.attacks.job import Job, check_told, end, log_of
from tests.attacks.tally import require
from tests.small_run import REPOSITORY, STAGES, arguments

_SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)


def _choice(random, job, folder, number):
    """A command, the stages that it ends with, and a folder in which it is to be run."""
    stage = STAGES[random.integers(len(STAGES))]
    command = stage if random.integers(3) else "prune"
    place = folder / f"run{number}"
    shutil.copytree(job.before[stage], place)
    # A job begins with the stages that stand, and ends with all.
    done = STAGES if command == "prune" else STAGES[: STAGES.index(stage) + 1]
    writes = sum(job.writes[s] for s in STAGES[STAGES.index(stage) :])
    seconds = sum(job.seconds[s] for s in STAGES[STAGES.index(stage) :])
    if command != "prune":
        writes, seconds = job.writes[stage], job.seconds[stage]
    return command, done, place, writes, seconds


def _strike(random, job, command, place, writes, seconds):
    """Runs a command and ends it at a random moment, by the clock or at a call that writes."""
    sent = int(_SIGNALS[random.integers(len(_SIGNALS))])
    log_of(place).unlink(missing_ok=True)
    if random.integers(2):
        moment = (int(random.integers(1, writes + 1)), sent, bool(random.integers(2)))
        status, log = job.run(command, place, moment)
    else:
        process, pause = job.start(command, place), random.uniform(0.0, 1.1 * seconds)
        ended, until = 0, time.monotonic() + pause
        while not ended and time.monotonic() < until:
            ended, found = os.waitpid(process, os.WNOHANG)
            time.sleep(0.005)
        if not ended:
            os.kill(process, sent)
            found = os.waitpid(process, 0)[1]
        status, log = os.waitstatus_to_exitcode(found), log_of(place).read_text(errors="replace")
    check_told(status, log, sent)


def kills(tally, seed, folder):
    """SIGKILL, SIGTERM or Ctrl-C in a command; then the same again, to its end."""
    job = Job(folder)
    for number in tally:
        random = generator(seed, number)
        command, done, place, *when = _choice(random, job, folder, number)

        def attempt(random=random, command=command, done=done, place=place, when=when):
            for _ in range(1 + int(random.integers(4) == 0)):
                _strike(random, job, command, place, *when)
            status, log = job.run(command, place)
            require(status == 0, f"ended with {status}: {log[-800:]}")
            check_told(status, log)
            job.check(place, done)

        tally.count(f"{command}, seed {seed}, number {number}", attempt)
        shutil.rmtree(place)


def processes(tally, seed, folder):
    """Processes of `bin/*.py` and of `tfrcp`, killed at any moment, importing included."""
    job, needed = Job(folder), 20.0
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    for number in tally:
        random = generator(seed, number)
        command, done, place, *_ = _choice(random, job, folder, number)
        program = [str(REPOSITORY / "bin" / f"{command}.py")]
        if random.integers(2):
            program = ["-m", "tfrcp", command]

        def attempt(
            random=random, command=command, done=done, place=place, program=program, needed=needed
        ):
            sent = int(_SIGNALS[random.integers(len(_SIGNALS))])
            with open(log_of(place), "w") as log:
                process = subprocess.Popen(
                    [sys.executable, *program, *arguments(job.inputs, place)],
                    env=environment,
                    stdout=log,
                    stderr=log,
                    preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
                )
                try:
                    process.wait(random.uniform(0.0, needed))
                except subprocess.TimeoutExpired:
                    process.send_signal(sent)
                status = process.wait(120)
            text = log_of(place).read_text(errors="replace")
            # Before the command itself begins, Python ends as it does for everybody.
            if status not in (-sent, 0) and "starts" in text:
                check_told(status, text, sent)
            status, text = job.run(command, place)
            require(status == 0, f"ended with {status}: {text[-800:]}")
            check_told(status, text)
            job.check(place, done)

        tally.count(f"{' '.join(program)}, seed {seed}, number {number}", attempt)
        shutil.rmtree(place)


def damages(tally, seed, folder):
    """A file of a folder, finished or left by a kill, is damaged; then the job again."""
    job = Job(folder)
    for number in tally:
        random, place = generator(seed, number), folder / f"damaged{number}"
        _left(random, job, place, finished=number % 2)
        path = _any(random, place, lambda p: p.is_file() and p.name != ".lock")
        damage = DAMAGES[random.integers(len(DAMAGES))]
        damage(path, random)
        _run_again(tally, job, place, path, f"{damage.__name__}, seed {seed}, number {number}")


def oddities(tally, seed, folder):
    """An absurd value in a JSON file, or something else in the place of a file or a folder."""
    job, names = Job(folder), list(REPLACEMENTS)
    for number in tally:
        random, place = generator(seed, number), folder / f"odd{number}"
        _left(random, job, place, finished=number % 4 == 0)
        if number % 2:
            path, what = _any(random, place, lambda p: p.suffix == ".json"), "absurd"
            absurd(path, random)
        else:
            path, what = _any(random, place, lambda p: True), names[random.integers(len(names))]
            REPLACEMENTS[what](path, random)
        _run_again(tally, job, place, path, f"{what}, seed {seed}, number {number}")


def _left(random, job, place, *, finished):
    """Makes a folder as a finished run, or one that was killed, leaves it."""
    if finished:
        shutil.copytree(job.finished, place)
        return
    stage = ("train", "search", "finetune")[random.integers(3)]
    shutil.copytree(job.before[stage], place)
    moment = int(random.integers(job.writes[stage] // 2, job.writes[stage] + 1))
    job.run(stage, place, (moment, int(signal.SIGKILL), True))


def _any(random, place, suits):
    paths = sorted(filter(suits, place.rglob("*")))
    return paths[random.integers(len(paths))]


def _run_again(tally, job, place, path, what):
    """The job on a folder in which something is wrong at a path: as it was, or told."""

    def attempt():
        status, log = job.run("prune", place)
        check_told(status, log)
        if status:  # told with a way out, which is taken
            require(path.name in log, f"{path.name} is not named: {log[-500:]}")
            return
        edited = path.name == "metrics.json" and "was edited" in log
        job.check(place, () if edited else STAGES)

    tally.count(f"{path.relative_to(place)}, {what}", attempt)
    shutil.rmtree(place)


def pairs(tally, seed, folder):
    """Two commands on one folder at a time: one of them is refused, or both end as alone."""
    job, commands = Job(folder), (*STAGES, "prune")
    every = list(itertools.combinations_with_replacement(commands, 2))
    for number in tally:
        random, place = generator(seed, number), folder / f"pair{number}"
        pair = every[number % len(every)]
        stage = next(s for s in STAGES if s in pair or "prune" in pair)
        shutil.copytree(job.before[stage], place)

        def attempt(random=random, place=place, pair=pair):
            first = job.start(pair[0], place)
            time.sleep(random.uniform(0.0, 1.0))
            second = job.start(pair[1], place)
            for process in (first, second):
                require(end(process) in (0, 1), f"{pair}: ended otherwise")
            log = log_of(place).read_text(errors="replace")
            require("Traceback" not in log, f"a traceback: {log[-800:]}")
            status, log = job.run("prune", place)
            require(status == 0, f"ended with {status}: {log[-800:]}")
            job.check(place, STAGES)

        tally.count(f"{' and '.join(pair)}, seed {seed}, number {number}", attempt)
        shutil.rmtree(place)


def limits(tally, seed, folder):
    """No file can be longer than so many bytes, as where the disk is full; then the same again."""
    job = Job(folder)
    for number in tally:
        random = generator(seed, number)
        command, done, place, *_ = _choice(random, job, folder, number)
        most = int(10 ** random.uniform(3.6, 5.3))  # what is printed is shorter

        def attempt(command=command, done=done, place=place, most=most):
            status, log = job.run(command, place, most=most)
            check_told(status, log)
            status, log = job.run(command, place)
            require(status == 0, f"ended with {status}: {log[-800:]}")
            check_told(status, log)
            job.check(place, done)

        tally.count(f"{command}, {most} bytes, seed {seed}, number {number}", attempt)
        shutil.rmtree(place)


def launches(tally, seed, folder):
    """The launcher of a chief and a worker is ended; nothing of it goes on; the search does."""
    job = Job(folder)
    for number in tally:
        random, place = generator(seed, number), folder / f"launch{number}"
        shutil.copytree(job.before["search"], place)

        def attempt(random=random, place=place):
            log_of(place).unlink(missing_ok=True)
            process = job.start("launch", place)
            time.sleep(random.uniform(0.0, 60.0))
            sent = int(_SIGNALS[random.integers(len(_SIGNALS))])
            os.kill(process, sent)
            status = end(process)
            until = time.monotonic() + 60
            while _of(place) and time.monotonic() < until:
                time.sleep(0.1)
            require(not _of(place), f"orphans: {_of(place)}")
            check_told(status, log_of(place).read_text(errors="replace"), sent)
            status, log = job.run("search", place)
            require(status == 0, f"ended with {status}: {log[-800:]}")
            job.check(place, ("train", "search"))

        tally.count(f"launch, seed {seed}, number {number}", attempt)
        shutil.rmtree(place)


def _of(place):
    """Processes whose command line names a folder."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if f"--workdir={place}\0".encode() in file.read_bytes() + b"\0":
                found.append(int(file.parent.name))
    return found
