"""Compares what `owl plan` foretells with what `owl prune` then takes on this machine: OWL-Wanda sequential and dense and
OWL-SparseGPT sequential, on one core and on two. Not part of .ci/run: it takes ten minutes, and a machine that is otherwise idle.

    python .ci/plan_check.py MODEL_DIR TOKENS.safetensors [--tolerance 0.25] [--cores 1 2] [--only wanda-sequential ...]

MODEL_DIR and TOKENS are what `reference_bench.py make` and `reference_bench.py tokens` make; any others do as well. The plan is made
anew before each run, in a process of its own, as a user would. Prints a table, and fails if a prediction is off by more.
"""

import argparse
import json
import os
import pathlib
import struct
import subprocess
import sys
import tempfile

OWL = pathlib.Path(__file__).resolve().parent.parent / "submit" / "owl"
WAYS = [("wanda", "sequential"), ("wanda", "dense"), ("sparsegpt", "sequential")]


def shape_of(tokens):
    with open(tokens, "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
    return header["calibration"]["shape"]


def owl(cores, *arguments):
    settings = {"spark.master": f"local[{cores}]", "spark.ui.enabled": "false",
                "spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}
    options = " ".join(f"-D{name}={value}" for name, value in settings.items())
    done = subprocess.run([OWL, *map(str, arguments)], env={**os.environ, "OWL_JAVA_OPTS": options}, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"owl {arguments[0]} failed:\n{done.stderr}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("tokens")
    parser.add_argument("--tolerance", type=float, default=0.25, help="largest error that passes, as a share of the run's time")
    parser.add_argument("--cores", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--only", nargs="+", default=[], help="such as wanda-dense")
    args = parser.parse_args()
    sequences, length = shape_of(args.tokens)
    failed = 0
    print(f"{'run':22} {'cores':>5} {'load':>5} {'planned':>9} {'taken':>9} {'off by':>7}   stages, planned/taken")
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        for cores in args.cores:
            for metric, propagation in WAYS:
                name = f"{metric}-{propagation}"
                if args.only and name not in args.only:
                    continue
                common = ["--model", args.model, "--metric", metric, "--propagation", propagation]
                load = os.getloadavg()[0]
                owl(cores, "plan", *common, "--cores", cores, "--task-cpus", 1, "--sequences", sequences, "--length", length,
                    "--json", work / "plan.json")
                owl(cores, "prune", *common, "--sparsity", 0.7, "--calibration", args.tokens, "--output", work / "out", "--overwrite",
                    "--json", work / "run.json")
                plan = json.loads((work / "plan.json").read_text())
                taken = json.loads((work / "run.json").read_text())["seconds"]
                total = sum(taken.values())
                error = plan["seconds"] / total - 1
                failed += abs(error) > args.tolerance
                stages = ", ".join(f"{stage['stage']} {stage['seconds']:.1f}/{taken[stage['stage']]:.1f}" for stage in plan["stages"])
                print(f"{name:22} {cores:5} {load:5.1f} {plan['seconds']:7.1f} s {total:7.1f} s {error:+7.0%}   {stages}", flush=True)
    print("all within tolerance" if failed == 0 else f"{failed} off by more than {args.tolerance:.0%}")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
