"""Makes README.md's table of methods and allocations with `owl sweep`, or checks it.

    python .ci/methods_table.py [--check] [--folder FOLDER]

Two models at 70 % sparsity: the sample that the demo unpacks (M = 3, the demo's) and stories260K of the folder "shared"
beside the clone (M = 5). With --check the table in README.md is compared with what comes out, within 0.5 %: the last
digits may depend on the processor. A sweep that was interrupted goes on where it was.
"""

import argparse
import json
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
README = ROOT / "README.md"
BEGIN, END = "<!-- methods: begin -->\n", "<!-- methods: end -->\n"
METRICS = ["magnitude", "ria", "wanda", "sparsegpt"]
ALLOCATIONS = ["uniform", "owl", "owl-bounded", "owl-linear", "owl-inverse", "dlp", "alpha", "er", "lamp", "global"]


def owl(*arguments):
    subprocess.run([ROOT / "submit" / "owl", *map(str, arguments)], cwd=ROOT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def sweep(folder, *arguments):
    owl(
        "sweep", "--output", folder, "--sparsity", 0.7, "--metric", ",".join(METRICS),
        "--allocation", ",".join(ALLOCATIONS), "--lambda", 0.08, "--epsilon", 0.2, *arguments,
    )
    report = json.loads((folder / "sweep.json").read_text())
    return report["perplexity"]["dense"], {(row["metric"], row["allocation"]): row["perplexity"] for row in report["rows"]}


def sample(folder):
    resources = ROOT / "owl-spark-job" / "src" / "main" / "resources" / "sample"
    return sweep(
        folder / "sample", "--model", resources / "model", "--calibration", resources / "calibration.jsonl", "--sampling",
        "packed", "--sequences", 48, "--length", 256, "--evaluate", resources / "evaluation.jsonl", "--outlier-threshold", 3,
    )


def stories(folder):
    tokens = SHARED / "oracle" / "fixtures" / "stories260K" / "expected" / "tokens.safetensors"
    return sweep(
        folder / "stories260K", "--model", SHARED / "data" / "models" / "stories260K", "--calibration", tokens, "--evaluate",
        tokens, "--outlier-threshold", 5,
    )


def table(models):
    lines = []
    for name, (dense, rows) in models.items():
        lines += [f"{name}, dense {dense:.4g}:", "", "| allocation | " + " | ".join(METRICS) + " |", "|---|" + "---|" * len(METRICS)]
        for allocation in ALLOCATIONS:
            cells = []
            for metric in METRICS:
                value = rows.get((metric, allocation))
                best = value is not None and value == min(v for (m, _), v in rows.items() if m == metric)
                cells.append("refused" if value is None else f"**{value:.4g}**" if best else f"{value:.4g}")
            lines.append(f"| {allocation} | " + " | ".join(cells) + " |")
        lines.append("")
    return "\n".join(lines) + "\n"


def numbers(text):
    return [None if cell == "refused" else float(cell) for cell in re.findall(r"refused|\d+(?:\.\d+)?(?:e[+-]?\d+)?", text)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--folder", type=pathlib.Path, default=ROOT / ".ci" / "work" / "methods")
    arguments = parser.parse_args()
    made = table({"The sample": sample(arguments.folder), "stories260K": stories(arguments.folder)})
    readme = README.read_text("utf-8")
    before, rest = readme.split(BEGIN)
    written, after = rest.split(END)
    if not arguments.check:
        README.write_text(before + BEGIN + made + END + after, "utf-8")
        return
    found, expected = numbers(written), numbers(made)
    same = len(found) == len(expected) and all(
        a == b or None not in (a, b) and abs(a - b) <= 0.005 * abs(b) for a, b in zip(found, expected)
    )
    if not same:
        sys.exit(f"README.md's table of methods is not what owl sweep gives:\n{made}")


if __name__ == "__main__":
    main()
