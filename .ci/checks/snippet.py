"""The README's snippet for notebooks, run in PySpark as it stands there."""

import json
import re
import shutil
import subprocess
import sys

import demo
import product
from verdict import require

FOLDER = product.WORK / "snippet"
SNIPPET = re.compile(r"^## From a notebook.*?^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)


def checks(fixtures):
    yield "snippet: README.md's, in PySpark, finds what the demo found", check


def check():
    _, table = demo.run()
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    (FOLDER / "owl-demo").symlink_to(demo.FOLDER)
    (FOLDER / "owl-spark-job").symlink_to(product.ROOT / "owl-spark-job")
    code = SNIPPET.search((product.ROOT / "README.md").read_text())[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=FOLDER, capture_output=True, text=True, timeout=600)
    require(done.returncode == 0, f"exit code {done.returncode}: {done.stderr[-2000:]}")
    tried = {way: float(value) for way, value in re.findall(r"(\([\d.]+, [\d.]+\)): ([\d.]+)", done.stdout)}
    require(len(tried) == 4, f"perplexities {tried}")
    require(min(tried, key=tried.get) == "(3.0, 0.08)", f"another winner: {tried}")
    require(round(tried["(3.0, 0.08)"], 4) == table["wanda owl"], f"{tried}, the demo has {table['wanda owl']}")
    require(f"owl-pruned {tried['(3.0, 0.08)']}\n" in done.stdout, f"the pruned model has another: {done.stdout}")
    report = json.loads((FOLDER / "owl-pruned" / "_owl" / "report.json").read_text())
    require(report["sparsity"]["target"] == 0.7, f"sparsity {report['sparsity']}")
    return f"{len(tried)} ways, best {min(tried.values()):.4f}"
