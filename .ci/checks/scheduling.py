"""`submit/airflow/owl_prune_dag.py` in a real Airflow, which has a virtual environment of its own (.ci/airflow-requirements.txt)."""

import functools
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

import product
import spark_cluster
import submitting
from verdict import Failed, require

CI = product.ROOT / ".ci"
PYTHON = CI / "airflow-venv" / "bin" / "python"
FOLDER = product.WORK / "airflow"
SAMPLE = product.ROOT / "owl-spark-job" / "src" / "main" / "resources" / "sample"
README = re.compile(r"^### Airflow.*? --conf '(\{.*?\})'$", re.DOTALL | re.MULTILINE)
COMMANDS = ["evaluate_dense", "prune", "evaluate_pruned"]
OPERATORS = {
    "spark_submit": "OwlOperator", "emr_step": "EmrAddStepsOperator", "emr_serverless": "EmrServerlessStartJobOperator",
    "dataproc_job": "DataprocSubmitJobOperator", "dataproc_batch": "DataprocCreateBatchOperator",
}


def on_cloud(scheme, **params):
    return {
        "model": f"{scheme}://models/llama-7b", "calibration": f"{scheme}://data/c4.json.gz", "evaluation": f"{scheme}://data/wikitext2.txt",
        "output": f"{scheme}://models/llama-7b-owl70", "jar": f"{scheme}://jars/owl-spark-job.jar", "max_perplexity_ratio": 5, **params,
    }


EMR = on_cloud("s3", platform="emr", emr_cluster_id="j-2AXXXXXXGAPLF", presets=["7b"])
# Golden file of submit/emr.sh or submit/dataproc.sh: the parameters that have to lead to the same settings.
REQUESTS = {
    "emr-step": EMR,
    "emr-serverless": on_cloud(
        "s3", platform="emr-serverless", emr_application_id="00f1r2example", emr_execution_role=submitting.ROLE, presets=["13b"]),
    "dataproc-job": on_cloud("gs", platform="dataproc", dataproc_cluster="owls", region="europe-west4", presets=["30b"]),
    "dataproc-job-with-commas": on_cloud(
        "gs", platform="dataproc", dataproc_cluster="owls", dataproc_project="research", region="europe-west4",
        spark_conf=["spark.jars.packages=a:b:1,c:d:2"]),
    "dataproc-batch": on_cloud(
        "gs", platform="dataproc-serverless", region="europe-west4", presets=["7b"],
        dataproc_service_account="owl@research.iam.gserviceaccount.com"),
}
LOCAL = {
    "model": str(SAMPLE / "model"), "calibration": str(SAMPLE / "calibration.jsonl"), "evaluation": str(SAMPLE / "evaluation.jsonl"),
    "length": 64, "sequences": 8, "prune_options": ["--sampling=packed", "--outlier-threshold=3"], "max_perplexity_ratio": 2.5,
}
# What is said to parameters that cannot work, before anything runs.
REFUSED = {
    "Cannot run this command: Unknown option: '--lenght": LOCAL | {"prune_options": ["--lenght=3"], "output": "/owl"},
    "Cannot use --overwrite in prune_options": LOCAL | {"prune_options": ["--overwrite"], "output": "/owl"},
    "Cannot use presets or spark_conf with platform local": LOCAL | {"presets": ["7b"], "output": "/owl"},
    "Cannot submit to platform spark: master is empty": LOCAL | {"platform": "spark", "output": "/owl"},
    "set the parameter reports to a folder": LOCAL | {"platform": "spark", "master": "yarn", "output": "hdfs:///owl"},
    "Cannot use deploy_mode cluster with master spark://head:7077": LOCAL | {
        "platform": "spark", "master": "spark://head:7077", "deploy_mode": "cluster", "output": "/owl"},
    "give the connection google_cloud_default credentials": REQUESTS["dataproc-batch"],
    "Cannot write and read hdfs:///owl/": REQUESTS["dataproc-batch"] | {"reports": "hdfs:///owl"},
    "Cannot write and read file:///proc/owl/": REQUESTS["emr-serverless"] | {"reports": "file:///proc/owl"},
    "Cannot submit: give --jar": EMR | {"jar": None},
    "Cannot submit: give --cluster-id": EMR | {"emr_cluster_id": None},
    "Cannot find --preset 8b": EMR | {"presets": ["8b"]},
    "Cannot submit fs.s3a.secret.key": EMR | {"spark_conf": ["spark.hadoop.fs.s3a.secret.key=x"]},
    "Cannot submit: give --region": REQUESTS["dataproc-batch"] | {"region": None},
    "Invalid input for param model": LOCAL | {"model": "here/llama-7b", "output": "/owl"},
    "Invalid input for param sparsity": LOCAL | {"sparsity": 1, "output": "/owl"},
    "Invalid input for param platform": LOCAL | {"platform": "databricks", "output": "/owl"},
    "Invalid input for param output: No value passed": LOCAL,
}


def checks(fixtures):
    yield "airflow: the DAG loads, and is what it should be", check_loads
    yield "airflow: what the gate says", check_gate
    yield "airflow: parameters that are refused, and README.md's that are not", check_refused
    for name in REQUESTS:
        yield f"airflow: the operators' requests, {name}", functools.partial(check_requests, name)
    yield "airflow: a run on EMR and S3 (moto), with a step that fails once", check_emr
    yield "airflow: a run on EMR whose reports Airflow may not write ends before the first step", check_no_access
    yield "airflow: a run here that is tried again, one by spark-submit that is killed, goes on, and is refused by the gate", check_runs


def environment(home):
    return {
        **os.environ,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(product.ROOT / "submit" / "airflow"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DEFAULT_TASK_RETRY_DELAY": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def installed():
    """A new Airflow's home, with an empty database."""
    require(sys.version_info >= (3, 11), "Airflow's providers want Python 3.11 or later")
    wanted, done = CI / "airflow-requirements.txt", PYTHON.parents[1] / "installed.txt"
    if not done.exists() or done.read_text() != wanted.read_text():
        shutil.rmtree(PYTHON.parents[1], ignore_errors=True)
        must(sys.executable, "-m", "venv", PYTHON.parents[1])
        must(PYTHON, "-m", "pip", "install", "--quiet", "--no-cache-dir", "--no-deps", "-r", wanted)
        must(PYTHON, "-m", "pip", "check")
        shutil.copy(wanted, done)
    home = FOLDER / "home"
    home.mkdir(parents=True)
    must(PYTHON, "-m", "airflow", "db", "migrate", env=environment(home))
    return home


def must(*command, env=None):
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=900)
    require(done.returncode == 0, f"{' '.join(map(str, command))}: exit code {done.returncode}: {done.stdout[-1000:]}{done.stderr[-2000:]}")


def home_of(name):
    """An Airflow's home for one check, since SQLite is for one process."""
    new = product.once("airflow", installed)
    home = FOLDER / name
    home.mkdir()
    shutil.copy(new / "airflow.db", home)
    return home


def ask(name, question, *arguments):
    """What .ci/airflow_judge.py answers."""
    done = subprocess.run(
        [PYTHON, CI / "airflow_judge.py", question, *map(json.dumps, arguments)], env=environment(home_of(name)), cwd=product.ROOT,
        capture_output=True, text=True, timeout=600,
    )
    require(done.returncode == 0, f"exit code {done.returncode}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1]), done.stderr


def check_loads():
    found, _ = ask("loads", "load")
    require(found["errors"] == {}, f"import errors {found['errors']}")
    require(found["dags"] == ["owl_prune"], f"DAGs {found['dags']}")
    require(found["stable"], "every parse makes another version of the DAG")
    tasks = found["tasks"]
    require(len(tasks) == 3 + 4 * len(OPERATORS), f"tasks {sorted(tasks)}")
    for group, operator in OPERATORS.items():
        first = f"{group}.{'check' if group == 'spark_submit' else 'request'}"
        require(first in tasks["route"]["downstream"], f"{first} does not follow route")
        chain = [first, *(f"{group}.{command}" for command in COMMANDS), "gate", "publish"]
        for one, following in zip(chain, chain[1:]):
            require(following in tasks[one]["downstream"], f"{following} does not follow {one}")
        for command in COMMANDS:
            one = tasks[f"{group}.{command}"]
            require(one["class"] == operator and one["retries"] >= 1, f"{group}.{command}: {one}")
            require(group == "spark_submit" or one["deferrable"], f"{group}.{command} does not defer")
    for name, param in found["params"].items():
        require(param["description"] and ("type" in param["schema"]), f"parameter {name}: {param}")
    return f"{len(tasks)} tasks, {len(found['params'])} parameters"


def check_gate():
    said, _ = ask("gate", "gate")
    for name, answer in said.items():
        if name.startswith("passes"):
            require(isinstance(answer, float), f"{name}: {answer}")
        else:
            require(isinstance(answer, str) and answer.startswith("Refused: ") and "nothing is published" in answer, f"{name}: {answer}")
    require("2.002 times" in said["too high"] and "perplexity is nan" in said["NaN"], f"{said}")
    return f"{len(said)} pairs of reports"


def parameters_of_readme():
    text = README.search((product.ROOT / "README.md").read_text())[1]
    return json.loads(text.replace("'$PWD'", str(product.ROOT)))


def check_refused():
    said, _ = ask("refused", "refuse", [*REFUSED.values(), parameters_of_readme()])
    require(said.pop() is None, "README.md's parameters are refused")
    for message, found in zip(REFUSED, said):
        require(message in (found or ""), f"{message!r} was not said, but {found}")
    return f"{len(said)} ways"


def check_requests(name):
    """Judged by the APIs' own models in there, and here by what the scripts are held to."""
    reports = FOLDER / f"reports-{name}"  # Airflow itself writes there, so that clouds that are not there need not answer
    answer, _ = ask(f"requests-{name}", "requests", REQUESTS[name] | {"reports": f"file://{reports}"})
    require(not answer["errors"], f"{answer['errors']}")
    golden = submitting.settings_of_command((submitting.GOLDEN / f"{name}.txt").read_text().splitlines())
    for command in COMMANDS:
        body = {
            field.removeprefix(f"{command}_"): value for field, value in answer["fields"].items() if field.startswith(f"{command}_")}
        found = submitting.settings_of(body)
        require(found == golden, f"{command}: settings {found}, {name}.txt has {golden}")
        arguments = submitting.arguments_of(body)
        require(arguments == answer["commands"][command], f"{command}: arguments {arguments}")
    require(not list(reports.iterdir()), "what access is tried with was left")
    return f"{len(golden)} settings"


def check_emr():
    reports = {
        "dense": {"perplexity": 5.68, "windows": 166, "length": 2048},
        "prune": {"fingerprint": "76d69d0c8e168f13", "sparsity": {"target": 0.7, "reached": 0.7}},
        "pruned": {"perplexity": 24.55, "windows": 166, "length": 2048},
    }
    answer, said = ask("emr", "emr", EMR, "prune", reports, "models")
    require(answer["state"] == "success", f"{answer}: {said[-2000:]}")
    deferred = said.count("Pausing task as DEFERRED")
    require(deferred == 4, f"{deferred} of 4 steps were waited for by a trigger")
    commands = answer["commands"]
    require([command[0] for command in commands] == ["evaluate", "prune", "prune", "evaluate"], f"{commands}")
    require(commands[1] == commands[2], f"the step that was tried again was another: {commands[1:3]}")
    output = commands[1][commands[1].index("--output") + 1]
    require(re.fullmatch(r"s3://models/llama-7b-owl70/[A-Za-z0-9._-]+/model", output), f"output {output}")
    latest = answer["latest"]
    require(latest["model"] == output and latest["fingerprint"] == "76d69d0c8e168f13", f"{latest}")
    require(abs(latest["perplexity"]["ratio"] - 24.55 / 5.68) < 1e-12, f"{latest}")
    folder = output.removeprefix("s3://models/").removesuffix("/model")
    expected = [f"{folder}/{name}.json" for name in reports] + ["llama-7b-owl70/latest.json"]
    require(sorted(answer["keys"]) == sorted(expected), f"objects {answer['keys']}")


def check_no_access():
    """There is no bucket to write to."""
    answer, said = ask("no-access", "emr", EMR, "", {}, "others")
    require(answer["state"] == "failed" and answer["commands"] == [], f"{answer}: {said[-2000:]}")
    require("Cannot write and read s3://models/llama-7b-owl70/" in said and "give the connection aws_default credentials" in said, said[-3000:])


class DagTest:
    """One `airflow dags test`."""

    def __init__(self, home, params, **variables):
        self.lines = []
        self.process = subprocess.Popen(
            [PYTHON, "-m", "airflow", "dags", "test", "owl_prune", "--conf", json.dumps(params)], env={**environment(home), **variables},
            cwd=FOLDER, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        )
        self.reader = threading.Thread(target=lambda: self.lines.extend(self.process.stdout), daemon=True)
        self.reader.start()

    def wait_for(self, text, seconds=300):
        end = time.monotonic() + seconds
        while text not in "".join(self.lines):
            if self.process.poll() is not None or time.monotonic() > end:
                self.process.kill()
                raise Failed(f"{text!r} was not said: {''.join(self.lines)[-3000:]}")
            time.sleep(0.2)

    def finish(self):
        try:
            self.process.wait(timeout=600)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise Failed(f"no end after 600 s: {''.join(self.lines)[-3000:]}") from None
        self.reader.join()
        said = "".join(self.lines)
        return re.search(r"DagRun Finished:.*? run_id=(\S+?),.*? state=(\w+)", said).groups(), said


def begun(output, but):
    """A checkpoint that is being made in one of the runs' folders, and of which something is done."""
    found = {work.parents[2] for work in output.glob("*/model/_owl/*/results")} - {but}
    return found.pop() if found else None


def driver_of(checkpoint):
    """The process id of the Java that makes it."""
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            continue  # ended meanwhile
        if words[0].endswith(b"java") and str(checkpoint).encode() in words:
            return int(process.name)
    raise Failed(f"no process makes {checkpoint}")


def check_runs():
    home, output, late = home_of("runs"), FOLDER / "models", FOLDER / "calibration.jsonl"
    params = LOCAL | {"output": str(output), "calibration": str(late)}

    run = DagTest(home, params)
    run.wait_for("owl prune ended with exit code 2: owl: Cannot read")
    require(not any(output.glob("*/model/*")), "the try that failed has written something")
    shutil.copy(SAMPLE / "calibration.jsonl", late)
    (run_id, state), said = run.finish()
    require(state == "success", said[-3000:])
    tries = re.findall(r"Running command: (\[[^\]]*'prune'[^\]]*\])", said)
    require(len(tries) >= 2 and len(set(tries)) == 1, f"tried by {tries}")
    published = (output / "latest.json").read_bytes()
    latest = json.loads(published)
    require(latest["run_id"] == run_id, f"{latest}, the run is {run_id}")
    model = pathlib.Path(latest["model"])
    require(model.parent.parent == output and (model / "model.safetensors.index.json").is_file(), f"{latest}")
    require(latest["fingerprint"] == json.loads((model / "_owl" / "report.json").read_text())["fingerprint"], f"{latest}")
    for name, judged in (("dense", LOCAL["model"]), ("pruned", model)):
        again = product.evaluate(f"airflow-{name}", judged, LOCAL["evaluation"], length=LOCAL["length"])["perplexity"]
        require(again == latest["perplexity"][name], f"{name}: {again}, published as {latest['perplexity']}")

    # The same, but for the platform and a gate that it cannot pass.
    import pyspark

    refused = DagTest(
        home, params | {"platform": "spark", "master": "local[2]", "spark_conf": ["spark.driver.memory=2g"], "max_perplexity_ratio": 1.1},
        SPARK_HOME=str(pathlib.Path(pyspark.__file__).parent))
    half = spark_cluster.wait_until("the other run's prune to be at work", lambda: begun(output, but=model))
    os.kill(driver_of(half), signal.SIGKILL)
    (other_id, state), said = refused.finish()
    require("going on with a run that was broken off" in said, f"the task that was tried again began again: {said[-3000:]}")
    require(state == "failed" and "and max_perplexity_ratio is 1.1; nothing is published" in said, said[-3000:])
    require("task_id=publish " not in said, "publish has run")
    require((output / "latest.json").read_bytes() == published, "the gate refused, and something was published")
    folders = sorted(folder.name for folder in output.iterdir() if folder.is_dir())
    require(other_id != run_id and len(folders) == 2, f"runs {run_id} and {other_id} have the folders {folders}")
    [other] = [output / folder / "model" for folder in folders if output / folder / "model" != model]
    for file in model.glob("*.safetensors"):
        require(file.read_bytes() == (other / file.name).read_bytes(), f"{file.name} differs between the two ways to run it")
    return f"ratio {latest['perplexity']['ratio']:.3f}"
