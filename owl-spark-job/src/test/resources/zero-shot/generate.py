"""Writes expected.json: what lm-evaluation-harness finds with the sample model on the items that lie here.

    .ci/venv/bin/python owl-spark-job/src/test/resources/zero-shot/generate.py
"""

import json
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[4] / ".ci" / "checks"))

import zero_shot

results, samples = zero_shot.judged(zero_shot.SAMPLE / "model", HERE)
expected = {
    task: {
        **{key.split(",")[0]: value for key, value in results[task].items() if key.startswith("acc")},
        "logLikelihoods": [samples[task][item] for item in sorted(samples[task])],
    }
    for task in zero_shot.DEFINITIONS
}
(HERE / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
