"""Compares owl-spark with the same procedure in PyTorch on the same cores: whole processes, in turn, and checks the results first.

    submit/benchmark [--rounds 3] [--cases REGEX] [--quick] [--no-scaling] [--no-large] [--no-kernels] [--folder FOLDER]
    submit/benchmark --readme            puts the tables of the last run into README.md

Makes a random LLaMA checkpoint in bfloat16 and random tokens, then runs PyTorch (.ci/pytorch_owl.py) and submit/owl one after
the other, in every round in the other order, and prints medians. A run whose sparsities or masks are not the other side's is
an error, and no figure. Two ratios are given:

  stages    PyTorch's phases without loading the model and without saving it, against all of our stages, which
            read and decode the weights (several times over) and write the output
  process   the whole of both processes, with the start of Python or of Java and Spark, loading and writing

Writes FOLDER/results.json, and the tables to FOLDER/results.md. --quick takes a tiny model: that everything works, not how fast.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import platform
import re
import shutil
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
BEGIN, END = "<!-- benchmark:begin -->\n", "<!-- benchmark:end -->\n"
PYTORCH = [sys.executable, str(ROOT / ".ci" / "pytorch_owl.py")]
OWL = [str(ROOT / "submit" / "owl")]


@dataclasses.dataclass(frozen=True)
class Case:
    """One way to prune.

    `first` and `masks` are the shares of weights that may be removed on one side only, by rounding: of the first block, which
    both sides see on the same inputs, and of all. SparseGPT carries a flipped weight on into what it makes of all others: with its
    Cholesky factor in float64 instead of float32, PyTorch's own masks differ by 0.03 % in the first block of this
    checkpoint, and by 3 to 5 % in the other three.
    """

    name: str
    metric: str
    propagation: str
    compute: str
    first: float
    masks: float


CASES = [
    Case("OWL-Wanda, sequential", "wanda", "sequential", "float32", 0.001, 0.002),
    Case("OWL-Wanda, dense", "wanda", "dense", "float32", 0.001, 0.002),
    Case("OWL-SparseGPT, sequential", "sparsegpt", "sequential", "float32", 0.001, 0.06),
    Case("OWL-Wanda, sequential, bfloat16", "wanda", "sequential", "bfloat16", 0.02, 0.02),
    Case("OWL-Wanda, dense, bfloat16", "wanda", "dense", "bfloat16", 0.02, 0.02),
    Case("OWL-SparseGPT, sequential, bfloat16", "sparsegpt", "sequential", "bfloat16", 0.05, 0.1),
]

# Comparisons beyond a case's own row: what, (case, side), divided by (case, side).
ACROSS = [
    ("ours dense against PyTorch sequential", ("OWL-Wanda, sequential", "pytorch"), ("OWL-Wanda, dense", "ours")),
    ("ours in bfloat16 against ours in float32", ("OWL-Wanda, sequential", "ours"), ("OWL-Wanda, sequential, bfloat16", "ours")),
    ("ours dense in bfloat16 against PyTorch dense in float32", ("OWL-Wanda, dense", "pytorch"), ("OWL-Wanda, dense, bfloat16", "ours")),
    ("ours dense in bfloat16 against PyTorch sequential in float32", ("OWL-Wanda, sequential", "pytorch"), ("OWL-Wanda, dense, bfloat16", "ours")),
]


class Failed(Exception):
    pass


@dataclasses.dataclass(frozen=True)
class Size:
    hidden: int
    intermediate: int
    blocks: int
    heads: int
    sequences: int
    length: int

    def __str__(self):
        return (
            f"{self.blocks} blocks, hidden {self.hidden}, intermediate {self.intermediate}, "
            f"{self.sequences} x {self.length} tokens"
        )


FULL = Size(hidden=2048, intermediate=5504, blocks=4, heads=16, sequences=8, length=1024)
LARGE = Size(hidden=4096, intermediate=11008, blocks=2, heads=32, sequences=4, length=2048)  # LLaMA-7B, but for its depth
QUICK = Size(hidden=256, intermediate=640, blocks=2, heads=4, sequences=4, length=128)


def process(command, environment=None, cores=None):
    """Runs a command on some of the cores; returns seconds, the largest memory it held in bytes, and its output."""
    pin = (lambda: os.sched_setaffinity(0, cores)) if cores else None
    start = time.perf_counter()
    child = subprocess.Popen(
        list(map(str, command)), cwd=ROOT, env={**os.environ, **(environment or {})}, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", preexec_fn=pin,
    )
    output = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - start
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        tail = "\n    ".join(output.splitlines()[-15:])
        raise Failed(f"{' '.join(map(str, command))}: exit code {child.returncode}\n    {tail}")
    return seconds, usage.ru_maxrss * 1024, output


def pytorch(case, folder, cores):
    out = folder / "pytorch"
    shutil.rmtree(out, ignore_errors=True)
    seconds, memory, output = process(
        [*PYTORCH, "prune", folder / "model", "--tokens", folder / "tokens.safetensors", "--metric", case.metric, "--dtype",
         case.compute, "--propagation", case.propagation, "--threads", len(cores), "--save", out],
        {"OMP_NUM_THREADS": str(len(cores)), "HF_HUB_OFFLINE": "1"}, cores,
    )
    report = json.loads(output.splitlines()[-1])
    phases = {name: s for name, s in report["seconds"].items() if name not in ("load", "save")}
    return {"process": seconds, "stages": sum(phases.values()), "memory": memory, "sparsities": report["sparsities"], "seconds": report["seconds"]}


def ours(case, folder, cores, spark=(), environment=None):
    out = folder / "ours"
    shutil.rmtree(out, ignore_errors=True)
    compute = [] if case.compute == "float32" else ["--compute", case.compute]
    seconds, memory, _ = process(
        [*OWL, "prune", "--model", folder / "model", "--calibration", folder / "tokens.safetensors", "--output", out, "--sparsity",
         "0.7", "--metric", case.metric, "--propagation", case.propagation, *compute, "--json", folder / "ours.json", *spark],
        environment, cores,
    )
    report = json.loads((folder / "ours.json").read_text())
    return {
        "process": seconds, "stages": sum(report["seconds"].values()), "memory": memory,
        "sparsities": [block["sparsity"] for block in report["blocks"]], "seconds": report["seconds"],
    }


def check(case, mine, theirs, folder):
    """That both sides did the same: the sparsity of each block, and the very weights that went."""
    from safetensors import safe_open

    for block, (a, b) in enumerate(zip(mine["sparsities"], theirs["sparsities"], strict=True)):
        if abs(a - b) > 0.005:
            raise Failed(f"{case.name}: block {block} has sparsity {a:.4f}, and {b:.4f} in PyTorch")

    def tensors(out):
        files = {}
        for file in out.glob("*.safetensors"):
            opened = safe_open(file, "pt")
            files.update({name: opened for name in opened.keys()})
        return files

    a, b = tensors(folder / "ours"), tensors(folder / "pytorch")
    names = [name for name in a if re.search(r"layers\.\d+\..*_proj\.weight$", name)]
    for limit, scope in ((case.first, [name for name in names if ".layers.0." in name]), (case.masks, names)):
        different = total = 0
        for name in scope:
            gone = a[name].get_tensor(name) == 0
            different += (gone != (b[name].get_tensor(name) == 0)).sum().item()
            total += gone.numel()
        if not scope or different > limit * total:
            raise Failed(f"{case.name}: {different} of {total} weights went on one side only, more than {limit:.1%}")
    return different / total


def compare(case, folder, cores, rounds):
    """All rounds of a case; results are checked before the first figure is said."""
    result = {"pytorch": [], "ours": []}
    for number in range(rounds):
        order = [("pytorch", pytorch), ("ours", ours)]
        for side, run in order if number % 2 == 0 else reversed(order):
            result[side].append(run(case, folder, cores))
        differing = check(case, result["ours"][-1], result["pytorch"][-1], folder)
        result["differing"] = max(result.get("differing", 0), differing)
        line = ", ".join(f"{s} {result[s][-1]['stages']:.1f} s stages {result[s][-1]['process']:.1f} s process" for s in ("pytorch", "ours"))
        print(f"{case.name}, round {number + 1}: {line}; {differing:.4%} of the weights differ", flush=True)
    return result


def scale(folder, cores, rounds, quick):
    """Ours by itself: one core against all, and executors of one core each, where there is a spark-submit."""
    case = CASES[0]
    ways = {f"{len(cores)} cores" if len(cores) > 1 else "1 core": dict(cores=cores)}
    if len(cores) > 1:
        ways["1 core"] = dict(cores={min(cores)})
    try:
        import pyspark

        home = {"SPARK_HOME": os.environ.get("SPARK_HOME", str(pathlib.Path(pyspark.__file__).parent))}
        heap = 1024 if quick else 2048
        for executors in range(1, min(len(cores), 2) + 1):
            # A local-cluster's executors are processes of their own; each is told that it has one core, or it would take more.
            ways[f"{executors} executor{'s' * (executors > 1)} of 1 core"] = dict(
                cores=cores, environment=home,
                spark=["--", "--master", f"local-cluster[{executors},1,{heap}]", "--conf", f"spark.executor.memory={heap}m",
                       "--conf", "spark.executor.extraJavaOptions=-XX:ActiveProcessorCount=1", "--conf", "spark.ui.enabled=false"],
            )
    except ImportError:
        print("no pyspark: executors are not measured")
    result = {}
    for number in range(rounds):
        for way, options in ways.items():
            run = ours(case, folder, **options)
            result.setdefault(way, []).append(run)
            print(f"{case.name}, {way}, round {number + 1}: {run['stages']:.1f} s stages {run['process']:.1f} s process", flush=True)
    return result


def prepare(folder, size):
    """Makes a model and tokens."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(folder / "model", ignore_errors=True)
    process([*PYTORCH, "make", folder / "model", "--hidden", size.hidden, "--intermediate", size.intermediate, "--blocks", size.blocks, "--heads", size.heads])
    process([*PYTORCH, "tokens", folder / "tokens.safetensors", "--sequences", size.sequences, "--length", size.length])


def large(folder, cores):
    """How much memory large blocks take, with the settings that a user gets who gives none."""
    folder = folder / "large"
    prepare(folder, LARGE)
    run = ours(CASES[0], folder, cores)
    shutil.rmtree(folder)
    print(f"{LARGE}: {run['memory'] / 1e9:.1f} GB, {run['process']:.1f} s", flush=True)
    return run


def kernels(folder, cores, quick):
    """What JMH measures in owl-kernels, as its JSON."""
    file = folder / "kernels.json"
    arguments = f"{'--smoke ' if quick else ''}--json {file}"
    process(["mvn", "-B", "-ntp", "-q", "-Pbenchmark", "-pl", "owl-kernels", f"-Dbenchmark.arguments={arguments}"], cores=cores)
    return json.loads(file.read_text())


def machine(cores):
    import torch

    info = pathlib.Path("/proc/cpuinfo").read_text()
    model = re.search(r"^model name\s*:\s*(.*)", info, re.M)
    java = subprocess.run(["java", "-version"], capture_output=True, text=True).stderr.splitlines()
    java = re.search(r'"(.*)"', java[0]).group(1) if java else "?"
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": model.group(1) if model else platform.machine(), "cores": len(cores), "memory": f"{memory:.0f} GiB",
        "system": f"{platform.system()} {platform.machine()}", "Java": java, "torch": torch.__version__,
        "load": round(os.getloadavg()[0], 1),
    }


def median(runs, key):
    return statistics.median(run[key] for run in runs)


def span(runs, key):
    """The median, and how far the runs lie apart."""
    values = [run[key] for run in runs]
    apart = f" ({min(values):.1f}–{max(values):.1f})" if len(values) > 1 else ""
    return f"{statistics.median(values):.1f}{apart}"


def tables(results):
    """The Markdown of a run."""
    here, measured = results["machine"], results.get("kernels", {}).get("measured", {})
    peak = f", {measured['multiplyAdd']['rate']} of float32 multiply-adds and {measured['read']['rate']} of reading measured" if measured else ""
    lines = [
        f"Made by `{results['command']}` on {here['processor']}, {here['cores']} cores, {here['memory']}{peak}; Java {here['Java']}, PyTorch "
        f"{here['torch']}. {results['size']}; medians of {results['rounds']}"
        + (", and the range" if results["rounds"] > 1 else "") + f"; load average before: {here['load']}.", "",
        "| | PyTorch, s | owl-spark, s | ratio | PyTorch, process, s | owl-spark, process, s | ratio | PyTorch, GB | owl-spark, GB | weights that differ |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, case in results["cases"].items():
        cells = [name]
        for key in ("stages", "process"):
            ratio = median(case["pytorch"], key) / median(case["ours"], key)
            cells += [span(case["pytorch"], key), span(case["ours"], key), f"**{ratio:.2f}**"]
        cells += [f"{max(run['memory'] for run in case[side]) / 1e9:.1f}" for side in ("pytorch", "ours")]
        cells.append(f"{case['differing']:.3%}")
        lines.append("| " + " | ".join(cells) + " |")
    across = [
        f"{what}: {median(results['cases'][a][side_a], 'stages') / median(results['cases'][b][side_b], 'stages'):.2f}"
        for what, (a, side_a), (b, side_b) in ACROSS if a in results["cases"] and b in results["cases"]
    ]
    if across:
        lines += ["", "Across rows, stages: " + "; ".join(across) + "."]
    if results.get("scaling"):
        lines += ["", f"Scaling, {CASES[0].name}:", "", "| | stages, s | process, s |", "|---|---|---|"]
        lines += [f"| {way} | {span(runs, 'stages')} | {span(runs, 'process')} |" for way, runs in results["scaling"].items()]
    if "large" in results:
        run = results["large"]
        lines += ["", f"Memory at LLaMA-7B's sizes ({LARGE}), {CASES[0].name}: {run['memory'] / 1e9:.1f} GB at most, {run['process']:.0f} s."]
    if measured:
        sizes = "sizes that say nothing" if results["quick"] else "LLaMA-7B's sizes (2048 tokens, hidden 4096, intermediate 11008)"
        lines += ["", f"Kernels at {sizes}, by JMH:", "", "| | ms | |", "|---|---|---|"]
        lines += [f"| {name} | {m['milliseconds']:.2f} | {m['rate']} |" for name, m in measured.items()]
        lines += ["", "; ".join(results["kernels"]["shares"]) + "."]
    return "\n".join(lines) + "\n"


def readme(text, body):
    start, end = text.index(BEGIN) + len(BEGIN), text.index(END)
    return text[:start] + "\n" + body + "\n" + text[end:]


def has_compute():
    return "--compute" in process([*OWL, "prune", "--help"])[2]


def main():
    parser = argparse.ArgumentParser(
        prog="submit/benchmark", description=__doc__.splitlines()[0],
        epilog="Wants Python 3.10 or later, and installs PyTorch, transformers and Spark (several GB) into .ci/venv, once; or takes OWL_PYTHON.")
    parser.add_argument("--rounds", type=int, help="runs of each side (default 3; 1 with --quick)")
    parser.add_argument("--cases", type=re.compile, default=re.compile(""), metavar="REGEX", help="only cases whose names have it")
    parser.add_argument("--threads", type=int, help="cores for both sides (default: all)")
    parser.add_argument("--quick", action="store_true", help="a tiny model: that everything works, not how fast")
    parser.add_argument("--no-scaling", action="store_true", help="leave out one core against all, and executors")
    parser.add_argument("--no-large", action="store_true", help="leave out the memory that blocks of LLaMA-7B's size take")
    parser.add_argument("--no-kernels", action="store_true", help="leave out the kernels' own benchmarks")
    parser.add_argument("--folder", type=pathlib.Path, default=ROOT / "target" / "benchmark", help="for models and results")
    parser.add_argument("--readme", action="store_true", help="put the tables of the last run into README.md")
    arguments = parser.parse_args()
    folder = arguments.folder.resolve()

    if arguments.readme:
        results = json.loads((folder / "results.json").read_text())
        if results["quick"]:
            raise Failed("Cannot put a --quick run into README.md: its figures say nothing about speed")
        README.write_text(readme(README.read_text(), tables(results)))
        return

    cores = sorted(os.sched_getaffinity(0))[: arguments.threads]
    size, rounds = (QUICK, arguments.rounds or 1) if arguments.quick else (FULL, arguments.rounds or 3)
    prepare(folder, size)

    words = ["submit/benchmark", *(a for a in sys.argv[1:] if a != str(arguments.folder) and a != "--folder")]
    results = {"command": " ".join(words), "machine": machine(cores), "size": str(size), "rounds": rounds, "quick": arguments.quick, "cases": {}}

    def keep():
        """After every part, so that an hour's work outlives a failure of the last one."""
        (folder / "results.json").write_text(json.dumps(results, indent=1))
        (folder / "results.md").write_text(tables(results))

    compute = has_compute()
    for case in CASES:
        if not arguments.cases.search(case.name):
            continue
        if case.compute != "float32" and not compute:
            print(f"{case.name}: left out, this owl-spark has no --compute")
            continue
        results["cases"][case.name] = compare(case, folder, cores, rounds)
        keep()
    if not arguments.no_scaling:
        results["scaling"] = scale(folder, cores, rounds, arguments.quick)
        keep()
    if not arguments.no_large and not arguments.quick:
        results["large"] = large(folder, cores)
        keep()
    if not arguments.no_kernels:
        print("the kernels' own benchmarks" + ("" if arguments.quick else ": about ten minutes"), flush=True)
        results["kernels"] = kernels(folder, cores, arguments.quick)
        keep()
    print("\n" + tables(results))
    for rest in ("pytorch", "ours"):
        shutil.rmtree(folder / rest, ignore_errors=True)


if __name__ == "__main__":
    try:
        main()
    except Failed as failed:
        print(f"benchmark: {failed}", file=sys.stderr)
        sys.exit(1)
