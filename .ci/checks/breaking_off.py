"""Runs that cannot come to their end, and what they say: a full disk, executors without memory, two runs at once."""

import json
import os
import shutil
import signal
import subprocess
import time

import product
import spark_cluster
from checkpoint import digests, require_same_folder
from safetensors.torch import load_file, save_file
from verdict import require

FOLDER = product.WORK / "breaking-off"
MODEL = product.GOLDEN / "mistral-bf16" / "model"
TOKENS = product.GOLDEN / "mistral-bf16" / "expected" / "tokens.safetensors"
OPTIONS = dict(model=MODEL, calibration=TOKENS, evaluate=TOKENS, sparsity=0.7, checkpoint_interval=1)
CLUSTER = ("--executor-memory", "512m", "--executor-cores", "1", "--total-executor-cores", "2", "--driver-memory", "512m")


def checks(fixtures):
    yield "breaking off: a disk that is full, and then is not", check_full_disk
    yield "breaking off: executors without memory", check_dying_executors
    yield "breaking off: a task that has no memory", check_no_memory
    yield "breaking off: two runs at once into one output", check_two_at_once
    yield "breaking off: another run's output", check_another_run


def fresh(name):
    folder = FOLDER / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def command(out, **more):
    return [str(product.ROOT / "submit" / "owl"), "prune", *product.flags(OPTIONS | dict(output=out) | more)]


def undisturbed():
    return product.pruned_once("breaking-off-undisturbed", MODEL, TOKENS, evaluate=TOKENS, checkpoint_interval=1)[0]


def require_clean(out):
    left = [str(file.relative_to(out)) for file in out.rglob("*") if file.name == "lock.json" or file.suffix in (".started", ".part")]
    require(not left, f"left behind: {left}")


def require_told(outcome, words, code=1):
    """One message, with all of these words, and no stack trace."""
    message = outcome.stderr
    require(outcome.returncode == code, f"exit code {outcome.returncode}: {outcome.stdout[-500:]}{message[-1500:]}")
    told = [line for line in message.splitlines() if line.startswith("owl: Cannot ")]
    require(len(told) == 1 and all(word in told[0] for word in words), f"told {told}, expected {words}: {message[-1500:]}")
    require("\tat " not in message, f"a stack trace: {message[-1500:]}")
    return told[0]


def run(arguments, **more):
    return subprocess.run(arguments, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=600, **more)


def check_full_disk():
    """In a file system of its own, in a mount namespace of its own, which root or a user namespace gives."""
    folder = fresh("full")
    disk = folder / "disk"
    disk.mkdir()
    quoted = " ".join(f"'{word}'" for word in command(disk / "out"))
    script = f"""
        mount -t tmpfs -o size=160k tmpfs '{disk}' || exit 99
        {quoted} >'{folder}/first.out' 2>'{folder}/first.err'; echo $? >'{folder}/first.code'
        ls '{disk}/out' >'{folder}/first.left'
        mount -o remount,size=64m '{disk}'
        {quoted} >'{folder}/second.out' 2>'{folder}/second.err'; echo $? >'{folder}/second.code'
        cp -r '{disk}/out' '{folder}/out'
    """
    privileges = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    done = run(["unshare", *privileges, "--mount", "bash", "-c", script])
    require(done.returncode == 0, f"no file system of its own: {done.returncode}: {done.stderr[-800:]}")
    first = subprocess.CompletedProcess(
        [], int((folder / "first.code").read_text()), (folder / "first.out").read_text(), (folder / "first.err").read_text())
    told = require_told(first, ["no space is left", "--output", "spark.local.dir"])
    require("the same command goes on from there" in first.stdout + first.stderr, f"not told that it can go on: {first.stderr[-800:]}")
    require("model.safetensors.index.json" not in (folder / "first.left").read_text(), "an index")
    second = (folder / "second.out").read_text() + (folder / "second.err").read_text()
    require((folder / "second.code").read_text().strip() == "0", f"with more room: {second[-1500:]}")
    require("going on with a run that was broken off" in second, f"it began again: {second[-1500:]}")
    require_same_folder(folder / "out", undisturbed(), "after a full disk and undisturbed")
    require_clean(folder / "out")
    return told


def check_dying_executors():
    """Executors without memory for a block: each ends itself with its first task, and so do those that take its place."""
    folder = fresh("dying")
    out = folder / "out"
    options = "--add-modules=jdk.incubator.vector -Dorg.bytedeco.javacpp.maxBytes=64k"
    with spark_cluster.Standalone(folder / "cluster") as cluster:
        arguments = [*command(out), "--", "--master", cluster.master, *CLUSTER]
        outcome = run([*arguments, "--conf", f"spark.executor.extraJavaOptions={options}"], env=cluster.variables)
        outcome.stderr = "".join(line for line in outcome.stderr.splitlines(keepends=True) if "\tat " not in line)  # Spark's own log
        told = require_told(outcome, ["memory", "--executor-memory", "spark.executor.memoryOverhead"])
        ended = list(cluster.folder.glob("work-*/app-*/*/stderr"))
        require(len(ended) > 3, f"{len(ended)} executors")
        again = run(arguments, env=cluster.variables)
        require(again.returncode == 0, f"again: {again.stderr[-1500:]}")
    require_same_folder(out, undisturbed(), "after executors without memory and undisturbed")
    require_clean(out)
    return told


def check_no_memory():
    out = fresh("memory") / "out"
    outcome = run(command(out), env=os.environ | {"OWL_JAVA_OPTS": "-Dorg.bytedeco.javacpp.maxBytes=64k"})
    told = require_told(outcome, ["not enough memory", "OWL_MEMORY", "spark.executor.memoryOverhead"], code=52)  # Spark's own, for this
    again = run(command(out))
    require(again.returncode == 0, f"with enough: {again.stderr[-1500:]}")
    require_same_folder(out, undisturbed(), "after a task without memory and undisturbed")
    require_clean(out)
    return told


def check_two_at_once():
    folder = fresh("two")
    out = folder / "out"
    first = subprocess.Popen(command(out), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        spark_cluster.wait_until("the first run to lock its output", lambda: (out / "_owl" / "lock.json").exists())
        first.send_signal(signal.SIGSTOP)  # it stays where it is, and alive
        told = require_told(run(command(out)), ["another run is at work there", f"process {first.pid}", "--output"], code=2)
        require_told(run(command(out, overwrite=True)), ["another run is at work there"], code=2)
        first.send_signal(signal.SIGCONT)
        said, _ = first.communicate(timeout=300)
        require(first.returncode == 0, f"the first run: {said[-1500:]}")
    finally:
        first.kill()
        first.wait()
    require_same_folder(out, undisturbed(), "with another run that was refused, and undisturbed")
    # The lock of a process that is gone is taken over at once, with a word.
    locked = {"run": "x", "host": os.uname().nodename, "process": first.pid, "processStarted": 1,
                                    "started": "2026-01-01T00:00:00Z", "beat": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
    (out / "_owl" / "lock.json").write_text(json.dumps(locked))
    before = digests(out)
    again = run(command(out))
    require(again.returncode == 0, f"after a dead run: {again.stderr[-1500:]}")
    require("taking over" in again.stdout + again.stderr, f"no word of a dead run: {again.stderr[-1500:]}")
    require(digests(out) == before, "the output was changed")
    require_clean(out)
    return told


def check_another_run():
    folder = fresh("another")
    out = folder / "out"
    process = subprocess.Popen(command(out), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    spark_cluster.wait_until("the dense model to be measured", lambda: any(out.glob("_owl/*/results/*")))
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    told = require_told(run(command(out, metric="sparsegpt")), ["a run with other options was broken off there", "metric wanda", "--overwrite"], code=2)
    others = folder / "others.safetensors"
    tensors = load_file(TOKENS)
    save_file({"calibration": tensors["calibration"].flip(1).contiguous(), "evaluation": tensors["evaluation"]}, others)
    require_told(run(command(out, calibration=others)), ["with other calibration tokens was broken off there", "--overwrite"], code=2)
    status = run([str(product.ROOT / "submit" / "owl"), "status", "--output", str(out), "--json", str(folder / "status.json")])
    require(status.returncode == 0 and "Broken off" in status.stdout or "dead" in status.stdout, f"status: {status.stdout}{status.stderr[-800:]}")
    found = json.loads((folder / "status.json").read_text())
    require(not found["done"] and not found["whole"] and len(found["runs"]) == 1, f"status: {found}")
    finished = run(command(out))
    require(finished.returncode == 0, f"its own command: {finished.stderr[-1500:]}")
    require_same_folder(out, undisturbed(), "after a run that was broken off and undisturbed")
    nothing = run([str(product.ROOT / "submit" / "owl"), "status", "--output", str(folder)])
    require(nothing.returncode == 2 and "owl: Cannot tell the status of" in nothing.stderr, f"status of nothing: {nothing.stderr[-500:]}")
    return told
