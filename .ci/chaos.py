"""Kills runs of `owl prune` at random moments, and looks at what is left.

    submit/chaos [--rounds N] [--seed S] [--faults REGEX] [--folder FOLDER]

Each round starts a command, breaks something at a moment that a seeded generator chooses, between the first word of the run and the
time that it takes undisturbed. Then what lies in the output must not look like a whole checkpoint unless it is one: transformers
refuses the folder, or its bytes are the undisturbed run's. Then the same command is run again; it must go on, and write those bytes.

Prints a line a round, and at the end a table by fault; the exit code is 1 if anything was not as it must be.
"""

import argparse
import collections
import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

os.environ.update(HF_HUB_OFFLINE="1", HF_HUB_DISABLE_PROGRESS_BARS="1", TRANSFORMERS_VERBOSITY="error")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "checks"))

import product


def options():
    parser = argparse.ArgumentParser(
        prog="submit/chaos", description="Breaks runs of owl prune, and looks at what is left.",
        epilog="Wants Python 3.10 or later, and installs PyTorch, transformers and Spark (several GB) into .ci/venv, once; or takes OWL_PYTHON.")
    parser.add_argument("--rounds", type=int, default=60, help="how many in all (default 60)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default 0)")
    parser.add_argument("--faults", metavar="REGEX", default="", help="only faults whose names have it")
    parser.add_argument("--folder", type=pathlib.Path, default=product.ROOT / "target" / "chaos", help="for models and results")
    return parser


if __name__ == "__main__":
    # Before what follows, which needs packages: --help does not.
    ASKED = options().parse_args()

import spark_cluster
import torch
from checkpoint import digests
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM
from verdict import Failed, require

MODEL = product.GOLDEN / "mistral-bf16" / "model"
TOKENS = product.GOLDEN / "mistral-bf16" / "expected" / "tokens.safetensors"
SEQUENCES = 24  # enough that passes take a while
STAGES = ("calibrate", "profile", "allocate", "propagate", "prune", "commit", "evaluate")
WAYS = {
    "wanda, sequential": dict(metric="wanda", propagation="sequential"),
    "wanda, dense": dict(metric="wanda", propagation="dense"),
    "sparsegpt, sequential": dict(metric="sparsegpt", propagation="sequential"),
}
CLUSTER = ("--executor-memory", "512m", "--executor-cores", "1", "--total-executor-cores", "2", "--driver-memory", "512m")

Round = collections.namedtuple("Round", "fault way stage seconds left resumed failure")


class Run:
    """A command under way, and what it says."""

    def __init__(self, arguments, variables):
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            [str(product.ROOT / "submit" / "owl"), *map(str, arguments)], env=variables, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, errors="replace", start_new_session=True,
        )
        self.lines, self.at_work = [], threading.Event()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line)
            if self.stage() != "start":
                self.at_work.set()
        self.at_work.set()

    def stage(self):
        """The stage that was named last."""
        for line in reversed(self.lines):
            found = re.match(r"(?:owl: )?(\w+)", line.strip())
            if found and found[1] in STAGES:
                return found[1]
        return "start"

    def signal(self, which):
        try:
            os.killpg(self.process.pid, which)
        except ProcessLookupError:
            pass

    def wait(self, timeout=300):
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGKILL)
            self.process.wait()
            raise Failed(f"no end after {timeout} s: {self.said()[-1500:]}") from None
        self.reader.join(30)
        return self.process.returncode

    def said(self):
        return "".join(self.lines)


class Bench:
    """The model, the tokens, and what undisturbed runs write."""

    def __init__(self, folder):
        self.folder = folder
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        tensors = load_file(TOKENS)
        ids = tensors["calibration"]
        shuffled = torch.Generator().manual_seed(7)
        rows = [ids[i % len(ids)][torch.randperm(ids.shape[1], generator=shuffled)] for i in range(SEQUENCES)]
        save_file({"calibration": torch.stack(rows), "evaluation": tensors["evaluation"]}, folder / "tokens.safetensors")
        self.undisturbed = {}

    def command(self, way, out):
        tokens = self.folder / "tokens.safetensors"
        options = dict(model=MODEL, calibration=tokens, output=out, sparsity=0.7, evaluate=tokens, checkpoint_interval=1, **WAYS[way])
        return ["prune", *product.flags(options)]

    def reference(self, way):
        """Digests of an undisturbed run's files, and the seconds from its first stage to its end."""
        if way not in self.undisturbed:
            out = self.folder / f"undisturbed-{len(self.undisturbed)}"
            run = Run(self.command(way, out), dict(os.environ))
            run.at_work.wait(120)
            at_work = time.monotonic()
            require(run.wait() == 0, f"undisturbed: {run.said()[-2000:]}")
            self.undisturbed[way] = digests(out), time.monotonic() - at_work
        return self.undisturbed[way]


def require_no_half_checkpoint(out, expected):
    """What is left is refused by transformers, or is the whole checkpoint. Returns which."""
    if not out.exists():
        return "nothing"
    if (out / "model.safetensors.index.json").exists():
        require(digests(out) == expected, "the index is there, and the bytes are not those of an undisturbed run")
        AutoModelForCausalLM.from_pretrained(out)
        return "the whole checkpoint"
    try:
        AutoModelForCausalLM.from_pretrained(out)
    except (OSError, ValueError):
        shards = len(list(out.glob("model-*.safetensors")))
        return f"{shards} shards" if shards else "work"
    raise Failed("transformers takes what is left for a model")


def require_clean(out):
    """No lock, no mark, nothing large, no file that was not finished."""
    left = [str(file.relative_to(out)) for file in out.rglob("*") if re.search(r"lock\.json|\.started|\.part$|/parts/|/passes/", str(file))]
    require(not left, f"left behind: {left}")


def driver(bench, way, out, moment, which):
    """Kills the embedded run with everything in it."""
    run = Run(bench.command(way, out), dict(os.environ))
    run.at_work.wait(120)
    time.sleep(moment)
    run.signal(which)
    code = run.wait()
    return run, code


def round_of_driver(bench, fault, way, generator, out, which):
    expected, duration = bench.reference(way)
    moment = generator.uniform(0, 1.05 * duration)
    run, code = driver(bench, way, out, moment, which)
    stage, left = run.stage(), require_no_half_checkpoint(out, expected)
    if which == signal.SIGTERM:
        require("\tat " not in run.said(), f"a stack trace: {run.said()[-1500:]}")
    status = subprocess.run(
        [str(product.ROOT / "submit" / "owl"), "status", "--output", str(out)], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    require(status.returncode in (0, 2) and "\tat " not in status.stderr, f"status: {status.returncode}: {status.stderr[-800:]}")
    again = Run(bench.command(way, out), dict(os.environ))
    require(again.wait() == 0, f"the same command again: {again.said()[-2000:]}")
    require(digests(out) == expected, "the bytes are not those of an undisturbed run")
    require_clean(out)
    resumed = "goes on" if "going on with" in again.said() or "is not made again" in again.said() else "from the beginning"
    return Round(fault, way, stage if code else "the end", moment, left, resumed, None)


def round_of_executor(bench, fault, way, generator, out, cluster, settings=()):
    """Kills one of two executors; the run must come to its end all by itself."""
    expected, duration = bench.reference(way)
    run = Run([*bench.command(way, out), "--", "--master", cluster.master, *CLUSTER, *settings], cluster.variables)
    run.at_work.wait(120)
    moment = generator.uniform(0, 1.5 * duration)
    time.sleep(moment)
    stage = run.stage()
    victims = cluster.executors()
    if victims:
        os.kill(generator.choice(victims), signal.SIGKILL)
    require(run.wait() == 0, f"{run.said()[-2500:]}")
    require(digests(out) == expected, "the bytes are not those of an undisturbed run")
    require_clean(out)
    return Round(fault, way, stage if victims else "the end", moment, "-", "by itself", None)


def round_of_cluster_driver(bench, fault, way, generator, out, cluster):
    """Kills the driver of a run on a cluster: its executors find out by themselves, and may still be at work."""
    expected, duration = bench.reference(way)
    arguments = [*bench.command(way, out), "--", "--master", cluster.master, *CLUSTER]
    run = Run(arguments, cluster.variables)
    run.at_work.wait(120)
    moment = generator.uniform(0, 1.5 * duration)
    time.sleep(moment)
    run.signal(signal.SIGKILL)
    code = run.wait()
    stage, left = run.stage(), require_no_half_checkpoint(out, expected)
    again = Run(arguments, cluster.variables)
    require(again.wait() == 0, f"the same command again: {again.said()[-2000:]}")
    require(digests(out) == expected, "the bytes are not those of an undisturbed run")
    require_clean(out)
    return Round(fault, way, stage if code else "the end", moment, left, "goes on", None)


FAULTS = {
    "driver, kill -9": (lambda *a: round_of_driver(*a, signal.SIGKILL), False),
    "driver, SIGTERM": (lambda *a: round_of_driver(*a, signal.SIGTERM), False),
    "executor, kill -9": (round_of_executor, True),
    "executor, kill -9, with speculation": (
        lambda *a: round_of_executor(
            *a, ("--conf", "spark.speculation=true", "--conf", "spark.speculation.interval=50ms", "--conf", "spark.speculation.multiplier=1.1",
                 "--conf", "spark.speculation.quantile=0.3")), True),
    "driver of a cluster, kill -9": (round_of_cluster_driver, True),
}


def attempt(bench, fault, way, generator, out, cluster):
    carry_out, on_cluster = FAULTS[fault]
    try:
        return carry_out(bench, fault, way, generator, out, *([cluster] if on_cluster else []))
    except Failed as failed:
        return Round(fault, way, "?", 0, "?", "?", failed)
    finally:
        if on_cluster:
            cluster.tidy()


def table(rounds):
    lines = ["| what was broken | where | rounds | in the stages | the same bytes |", "|---|---|---|---|---|"]
    groups = collections.defaultdict(list)
    for each in rounds:
        groups[each.fault, each.way].append(each)
    for (fault, way), members in groups.items():
        stages = collections.Counter(each.stage for each in members)
        named = ", ".join(f"{stage} {stages[stage]}" for stage in ("start", *STAGES, "the end", "?") if stages[stage])
        good = sum(each.failure is None for each in members)
        lines.append(f"| {fault} | {way} | {len(members)} | {named} | {good} of {len(members)} |")
    return "\n".join(lines)


def main(asked):
    faults = [fault for fault in FAULTS if re.search(asked.faults, fault)]
    if not faults:
        options().error(f"no fault has {asked.faults} in its name: there are {', '.join(FAULTS)}")
    if not (product.ROOT / "owl-spark-job" / "target" / "owl-spark-job.jar").exists():
        subprocess.run([str(product.ROOT / "submit" / "owl"), "--help"], check=True, stdout=subprocess.DEVNULL)
    bench, generator, rounds = Bench(asked.folder.resolve()), random.Random(asked.seed), []
    cluster = spark_cluster.Standalone(bench.folder / "cluster")
    with cluster if any(FAULTS[fault][1] for fault in faults) else open(os.devnull):
        for number in range(asked.rounds):
            fault = faults[number % len(faults)]
            way = list(WAYS)[number // len(faults) % len(WAYS)]
            out = bench.folder / f"round-{number}"
            done = attempt(bench, fault, way, generator, out, cluster)
            rounds.append(done)
            if done.failure is None:
                shutil.rmtree(out)
                print(f"{number + 1}: {fault}, {way}: in {done.stage} after {done.seconds:.1f} s, left {done.left}; {done.resumed}: the same bytes")
            else:
                print(f"{number + 1}: {fault}, {way}: FAILED ({out}): {done.failure}")
            sys.stdout.flush()
    failed = sum(each.failure is not None for each in rounds)
    print(f"\nMade by `submit/chaos --rounds {asked.rounds} --seed {asked.seed}`.\n\n{table(rounds)}\n")
    (bench.folder / "rounds.json").write_text(json.dumps([each._asdict() | {"failure": str(each.failure or "")} for each in rounds], indent=1))
    print(f"{len(rounds) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(ASKED))
