"""`owl sweep`: its rows are what `owl prune` gives; a sweep that was killed goes on where it was."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import time

import pyarrow.parquet

import product
import stories
from verdict import require, require_close

GRID = ("--sparsity", "0.5,0.7", "--metric", "wanda,magnitude", "--outlier-threshold", "5", "--lambda", "0.08")
ROWS = 8


def checks(fixtures):
    yield "sweep: rows equal prune's", check_rows
    yield "sweep: killed and started again", check_again
    yield "sweep: refusals", check_refusals
    yield "sweep: a folder that cannot be written", check_unwritable


def command(output, *grid):
    return ("sweep", "--model", product.STORIES, "--calibration", stories.TOKENS, "--evaluate", stories.TOKENS,
            "--output", output, *(grid or GRID))


def swept():
    """One finished sweep, shared."""
    return product.once("sweep", lambda: sweep(product.WORK / "sweep"))


def sweep(folder):
    outcome = product.owl(*command(folder))
    require(outcome.code == 0, f"exit code {outcome.code}: {outcome.err[-1000:]}")
    return folder, outcome.out


def rows(folder):
    report = json.loads((folder / "sweep.json").read_text())
    return report, {label(row): row["perplexity"] for row in report["rows"]}


def label(row):
    words = [str(row["sparsity"]), row["metric"], row["allocation"]]
    return " ".join(words + ([row["propagation"]] if row["metric"] == "wanda" else []))


def check_rows():
    folder, out = swept()
    report, found = rows(folder)
    require(len(found) == ROWS, f"{len(found)} rows, expected {ROWS}")
    expected = json.loads((stories.EXPECTED / "expected.json").read_text())["perplexity"]
    for name in found.keys() & expected.keys():
        require_close(name, found[name], expected[name], 0.005)
    for name in ("0.7 wanda owl sequential", "0.7 magnitude uniform"):
        _, pruned = stories.run_row(name)
        require(pruned["perplexity"]["pruned"] == found[name], f"{name}: sweep {found[name]}, prune {pruned['perplexity']}")
    for sparsity in (0.5, 0.7):
        candidates = [row for row in report["rows"] if row["sparsity"] == sparsity]
        best = [row for row in candidates if row["best"]]
        require(len(best) == 1 and best[0]["perplexity"] == min(row["perplexity"] for row in candidates), f"best: {best}")
    table = pyarrow.parquet.read_table(folder / "sweep.parquet").to_pylist()
    require([row["perplexity"] for row in table] == [row["perplexity"] for row in report["rows"]], f"Parquet: {table}")
    require((folder / "report.html").exists(), "no report.html")
    return f"{len(found.keys() & expected.keys())} of {len(found)} rows by the oracle"


def check_again():
    folder = product.WORK / "sweep-killed"
    shutil.rmtree(folder, ignore_errors=True)
    process = subprocess.Popen(
        [str(product.ROOT / "submit" / "owl"), *map(str, command(folder))], cwd=product.ROOT,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL)
    seen = 0
    for line in process.stderr:  # killed in the middle of the fourth row
        seen += "perplexity" in line
        if seen == 3:
            time.sleep(0.5)
            os.kill(process.pid, signal.SIGKILL)
            break
    process.wait()
    require(not (folder / "sweep.json").exists(), "a killed sweep looks finished")
    outcome = product.owl(*command(folder))
    require(outcome.code == 0, f"exit code {outcome.code}: {outcome.err[-1000:]}")
    computed = sum("perplexity" in line for line in outcome.err.splitlines())
    require(0 < computed < ROWS - 2 + 1, f"{computed} rows were computed the second time, of {ROWS}")
    expected_folder, _ = swept()
    require(rows(folder)[1] == rows(expected_folder)[1], "other numbers than an undisturbed sweep")
    return f"{computed} rows left for the second run"


def check_refusals():
    for grid, word in (
        (("--sparsity", ""), "sparsity"),
        (("--sparsity", ","), "Cannot sweep an empty grid"),
        (("--sparsity", "0.7,1.5"), "1.5"),
        (("--metric", "wanda,wonder"), "wonder"),
        (("--outlier-threshold", "0"), "outlier-threshold"),
    ):
        folder = product.WORK / "sweep-refused"
        outcome = product.owl(*command(folder, *grid))
        require(outcome.code == 2 and word in outcome.err, f"{grid}: exit code {outcome.code}: {outcome.err}")
        require(not pathlib.Path(folder).exists(), f"{grid}: something was written")


def check_unwritable():
    """Found out before anything is computed, and the file is left alone."""
    file = product.WORK / "sweep-unwritable.txt"
    file.write_text("mine")
    for output, message in ((file, "it is a file; --output must be a folder"), (file / "sweep", "Cannot use")):
        outcome = product.owl(*command(output))
        require(outcome.code == 2 and message in outcome.err, f"{output}: exit code {outcome.code}: {outcome.err}")
        require("calibrate" not in outcome.err, f"{output}: refused only after calibrating: {outcome.err}")
    require(file.read_text() == "mine", "the file was changed")
