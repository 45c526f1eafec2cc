"""Calls `submit/owl`."""

import collections
import json
import os
import pathlib
import shutil
import subprocess
import threading

from verdict import Failed

ROOT = pathlib.Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared"
WORK = ROOT / ".ci" / "work" / "checks"
GOLDEN = ROOT / "owl-kernels" / "src" / "test" / "resources" / "golden"
STORIES = SHARED / "data" / "models" / "stories260K"

ARCHIVE = ROOT / ".ci" / "work" / "classes.jsa"

Outcome = collections.namedtuple("Outcome", "code out err")


def path(name):
    return pathlib.Path(name).resolve()


def archive_classes():
    """Has one run leave the classes that it loaded in a file which later ones map: they start in two thirds of the time."""
    folder = WORK / "archive_classes"
    golden = GOLDEN / "llama-f32"
    outcome = owl(
        "prune", "--model", golden / "model", "--calibration", golden / "expected" / "tokens.safetensors", "--sparsity", 0.7,
        "--output", folder / "out", environment={"OWL_JAVA_OPTS": f"-XX:ArchiveClassesAtExit={ARCHIVE} -Xlog:cds*=off"},
    )
    if outcome.code != 0 or not ARCHIVE.is_file():
        print(f"no classes are archived, and all runs start as they are: {outcome.err}")


def owl(*arguments, environment=None, timeout=600):
    command = [str(ROOT / "submit" / "owl"), *map(str, arguments)]
    archived = {}
    if ARCHIVE.is_file() and "--" not in arguments and "OWL_JAVA_OPTS" not in os.environ:
        archived["OWL_JAVA_OPTS"] = f"-XX:SharedArchiveFile={ARCHIVE} -Xlog:cds*=off"
    try:
        done = subprocess.run(
            command, cwd=ROOT, env={**os.environ, **archived, **(environment or {})}, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, errors="replace", timeout=timeout,
        )
    except subprocess.TimeoutExpired:
        raise Failed(f"{' '.join(command)}: no end after {timeout} s") from None
    return Outcome(done.returncode, done.stdout, without_notices(done.stderr))


def without_notices(err):
    """What the program said: the virtual machine's own line about conf/jvm.options, which nothing can silence, is not."""
    return "".join(line for line in err.splitlines(keepends=True) if not line.startswith("WARNING: Using incubator modules:"))


def flags(options):
    """{"outlier_threshold": 5, "overwrite": True} → ["--outlier-threshold", "5", "--overwrite"]; None and False: left out."""
    arguments = []
    for name, value in options.items():
        if value is None or value is False:
            continue
        arguments.append("--" + name.replace("_", "-"))
        if value is not True:
            arguments.append(str(value))
    return arguments


def succeed(command, options, spark=(), environment=None):
    """Runs a sub-command that has to succeed, and returns what it wrote to its --json file."""
    arguments = [command, *flags(options), *(["--", *spark] if spark else [])]
    outcome = owl(*arguments, environment=environment)
    if outcome.code != 0:
        tail = "\n    ".join((outcome.out + outcome.err).splitlines()[-15:])
        raise Failed(f"owl {' '.join(arguments)}: exit code {outcome.code}\n    {tail}")
    return json.loads(pathlib.Path(options["json"]).read_text())


def prune(name, model, calibration, spark=(), environment=None, fresh=True, **options):
    """Prunes into WORK/<name>/out and returns that folder and the report; `fresh` starts without the folder."""
    folder = WORK / name
    if fresh:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    options = {"sparsity": 0.7, **options}
    report = succeed(
        "prune",
        dict(model=model, calibration=calibration, output=folder / "out", **options, json=folder / "report.json"),
        spark, environment,
    )
    return folder / "out", report


def evaluate(name, model, text, **options):
    (WORK / name).mkdir(parents=True, exist_ok=True)
    return succeed("evaluate", dict(model=model, text=text, **options, json=WORK / name / "evaluation.json"))


_guard = threading.Lock()
_locks = collections.defaultdict(threading.Lock)
_results = {}


def once(name, run):
    """What `run` returns; the checks that look at the same output share one run."""
    with _guard:
        lock = _locks[name]
    with lock:
        if name not in _results:
            _results[name] = run()
        return _results[name]


def pruned_once(name, *arguments, **options):
    """`prune`, `once`."""
    return once(name, lambda: prune(name, *arguments, **options))
