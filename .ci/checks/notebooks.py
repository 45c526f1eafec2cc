"""The notebooks run, on the outputs of a real demo and a real sweep."""

import functools
import os
import shutil

import nbclient
import nbformat

import demo
import product
from verdict import require

FOLDER = product.ROOT / "notebooks"


def checks(fixtures):
    yield "notebook: reading_a_run, demo", functools.partial(check, "reading_a_run", runs_of_demo)
    yield "notebook: choosing_lambda_and_m", functools.partial(check, "choosing_lambda_and_m", sweep)
    yield "notebook: training_the_sample, 20 steps", functools.partial(
        check, "training_the_sample", lambda: {"OWL_SAMPLE_STEPS": "20"})


def runs_of_demo():
    demo.run()
    return {"OWL_RUNS": ",".join(str(demo.FOLDER / way.replace(" ", "-")) for way in demo.WAYS)}


def sweep():
    """The notebook's own command, with a smaller grid."""
    demo.run()
    folder = product.WORK / "notebook-sweep"
    shutil.rmtree(folder, ignore_errors=True)
    outcome = product.owl(
        "sweep", "--model", demo.FOLDER / "model", "--calibration", demo.FOLDER / "calibration.jsonl",
        "--evaluate", demo.FOLDER / "evaluation.jsonl", "--sampling", "packed", "--sequences", 16, "--length", 256,
        "--metric", "magnitude,wanda", "--outlier-threshold", "3,5", "--lambda", "0.05,0.08", "--output", folder)
    require(outcome.code == 0, f"exit code {outcome.code}: {outcome.err[-1000:]}")
    return {"OWL_SWEEP": str(folder)}


def check(name, prepare):
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    require(not any(cell.outputs or cell.execution_count for cell in code), "it is committed with output")
    environment = {**os.environ, **prepare()}
    client = nbclient.NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(FOLDER)}})
    client.execute(env=environment)  # raises on the first error
    pictures = sum("image/png" in output.get("data", {}) for cell in code for output in cell.outputs)
    require(pictures > 0, "it drew nothing")
    return f"{pictures} pictures"
