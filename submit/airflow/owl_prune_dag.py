"""Prunes a language model, measures it, and publishes it if it is good enough.

```
route → check   → evaluate_dense → prune → evaluate_pruned → gate → publish
        request
```

The three commands are `owl evaluate` of the dense model, `owl prune`, and `owl evaluate` of the checkpoint that lies in storage. The
parameter `platform` says where they run; what they are told, and with which settings of Spark, is what `submit/owl`, `submit/emr.sh` and
`submit/dataproc.sh` say, which this DAG asks. Each run has a folder of its own:

```
OUTPUT/RUN/model/            the pruned checkpoint
REPORTS/RUN/dense.json       what owl evaluate measured of the dense model
REPORTS/RUN/prune.json       the report of owl prune
REPORTS/RUN/pruned.json      what owl evaluate measured of the pruned checkpoint
REPORTS/latest.json          which run was published last: the address of its checkpoint, and what is known of it
```

REPORTS is OUTPUT unless the parameter says otherwise. RUN comes from the run's id: a task that is tried again runs the same command into
the same folder, and `owl` goes on with what is there. Another run of the DAG writes another folder. Publishing replaces `latest.json` and
moves no weights: who deploys reads `model` in it. Folders of runs that were refused, or replaced, are left for whoever keeps the storage.

For a schedule, copy the values that the trigger form would ask for into `default=` of the parameters, and say for example
`schedule="@weekly"`; Airflow takes a schedule only if no parameter is left without a value.

Credentials are those of the workers (`platform` local and spark) or of the connections `aws_default` and `google_cloud_default`, with which
this DAG reads and writes REPORTS too; none stands in a parameter. That they suffice for it is tried before the first command runs.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import re
import subprocess
from datetime import datetime, timedelta, timezone
from pathlib import Path

from airflow.providers.amazon.aws.operators.emr import EmrAddStepsOperator, EmrServerlessStartJobOperator
from airflow.providers.google.cloud.operators.dataproc import DataprocCreateBatchOperator, DataprocSubmitJobOperator
from airflow.providers.standard.hooks.subprocess import SubprocessHook
from airflow.sdk import DAG, BaseOperator, ObjectStoragePath, Param, TaskGroup, TriggerRule, chain, task
from airflow.sdk.exceptions import AirflowException, AirflowFailException

# The clone, which this file is part of, or linked from.
OWL_HOME = Path(os.environ.get("OWL_HOME") or Path(__file__).resolve().parents[2])

# platform: its group of tasks, and the first one of it
FIRST_TASKS = {
    "local": "spark_submit.check",
    "spark": "spark_submit.check",
    "emr": "emr_step.request",
    "emr-serverless": "emr_serverless.request",
    "dataproc": "dataproc_job.request",
    "dataproc-serverless": "dataproc_batch.request",
}
COMMANDS = ("evaluate_dense", "prune", "evaluate_pruned")

# The operators' connections, by scheme of what is in their clouds.
CONNECTIONS = {"s3": "aws_default", "s3a": "aws_default", "gs": "google_cloud_default"}

# A run of a large model takes hours, and the operators of EMR would give up after 25 and 30 minutes.
POLL_SECONDS = 60
POLLS = 4 * 24 * 60

ADDRESS = r"(/|[a-z][a-z0-9+.-]*://)[^,]+"
ONE_ADDRESS, ADDRESSES = f"^{ADDRESS}$", f"^{ADDRESS}(,{ADDRESS})*$"


def optional(description, *, section, **schema):
    return Param(None, type=["null", "string"], description=description, section=section, **schema)


PARAMS = {
    "platform": Param(
        "local", type="string", enum=list(FIRST_TASKS), description="Where owl runs. local: on the Airflow worker itself, without a Spark"
        " installation; spark: by spark-submit of the worker, on the master below; the others: on a cluster, or serverless.",
        values_display={
            "local": "this worker", "spark": "a Spark cluster (standalone, YARN)", "emr": "EMR on EC2", "emr-serverless": "EMR Serverless",
            "dataproc": "a Dataproc cluster", "dataproc-serverless": "Dataproc Serverless",
        }),
    "model": Param(
        type="string", pattern=ONE_ADDRESS, description="Folder of the dense checkpoint: an absolute path, or a URI such as s3://bucket/llama-7b."
        " (platform local and spark: s3a://)", section="Model"),
    "calibration": Param(
        type="string", pattern=ADDRESSES, description="Text to calibrate on: one address, or several with commas between them.", section="Model"),
    "evaluation": Param(
        type="string", pattern=ADDRESSES, description="Text to measure perplexity on, of the dense and of the pruned model.", section="Model"),
    "output": Param(
        type="string", pattern=ONE_ADDRESS, description="Folder of this model's pruned versions: a run writes OUTPUT/RUN/model.", section="Model"),
    "reports": optional(
        "Folder of what is measured, and of latest.json; empty: the same. Airflow reads and writes it: for an output on HDFS, which Airflow has no"
        " file system for, say one that worker and driver share, such as file:///mnt/shared/llama-7b.", pattern=ONE_ADDRESS, section="Model"),
    "sparsity": Param(0.7, type="number", minimum=0, exclusiveMaximum=1, description="Share of the weights to remove.", section="Pruning"),
    "metric": Param(
        "wanda", type="string", examples=["wanda", "sparsegpt", "magnitude", "ria"], description="owl prune --metric: which weights go.",
        section="Pruning"),
    "allocation": Param(
        "owl", type="string", examples=["owl", "uniform"], description="owl prune --allocation: how much goes from where.", section="Pruning"),
    "sequences": Param(128, type="integer", minimum=1, description="owl prune --sequences: calibration windows to draw.", section="Pruning"),
    "length": Param(2048, type="integer", minimum=1, description="Tokens of a window, for calibration and perplexity.", section="Pruning"),
    "prune_options": Param(
        [], type="array", items={"type": "string"}, description="More arguments of owl prune, one a line, such as --outlier-threshold=3.",
        section="Pruning"),
    "max_perplexity_ratio": Param(
        type="number", exclusiveMinimum=0, description="The gate: the pruned model is published if its perplexity is at most this many times the"
        " dense one's. At 70 % of LLaMA-7B, the OWL paper's numbers make 4.3.", section="Gate"),
    "presets": Param(
        [], type="array", items={"type": "string"}, description="conf/presets by name, such as 7b, one a line. Not for platform local.",
        section="Spark"),
    "spark_conf": Param(
        [], type="array", items={"type": "string", "pattern": r"^spark\.[^=]+=.*$"}, description="More settings, spark.KEY=VALUE, one a line; they"
        " win over presets. Never credentials. Not for platform local.", section="Spark"),
    "master": optional("platform spark: such as yarn, or spark://head:7077.", section="Spark"),
    "deploy_mode": Param("client", type="string", enum=["client", "cluster"], description="platform spark: where the driver runs.", section="Spark"),
    "jar": optional(
        "EMR and Dataproc: where owl-spark-job.jar was copied to, such as s3://bucket/owl-spark-job.jar.", section="EMR and Dataproc"),
    "region": optional("Dataproc: its region. EMR: empty takes the connection's.", section="EMR and Dataproc"),
    "emr_cluster_id": optional("platform emr: such as j-2AXXXXXXGAPLF.", section="EMR and Dataproc"),
    "emr_application_id": optional("platform emr-serverless: the application, such as 00f1r2example.", section="EMR and Dataproc"),
    "emr_execution_role": optional("platform emr-serverless: ARN of the role that the job has.", section="EMR and Dataproc"),
    "dataproc_cluster": optional("platform dataproc: name of the cluster.", section="EMR and Dataproc"),
    "dataproc_project": optional("Dataproc: its project; empty takes the connection's.", section="EMR and Dataproc"),
    "dataproc_service_account": optional("platform dataproc-serverless: that the batch runs as.", section="EMR and Dataproc"),
    "dataproc_subnet": optional("platform dataproc-serverless: network of the batch.", section="EMR and Dataproc"),
}


def folder_of(run_id):
    """The name of a run's folder: its id without what storages do not take in a name (HDFS: colons), kept apart from similar ones by a digest."""
    return f"{re.sub(r'[^A-Za-z0-9._-]', '-', run_id)}-{hashlib.sha256(run_id.encode()).hexdigest()[:8]}"


def checkpoint_of(params, run_id):
    return f"{params['output'].rstrip('/')}/{folder_of(run_id)}/model"


def reports_of(params):
    return (params["reports"] or params["output"]).rstrip("/")


def report_of(params, run_id, name):
    return f"{reports_of(params)}/{folder_of(run_id)}/{name}.json"


def commands(params, run_id):
    """The three commands of owl, by name. They depend on the run and its parameters only, so that trying again is resuming."""

    def evaluate(model, name):
        return [
            "evaluate", "--model", model, "--text", params["evaluation"], "--length", str(params["length"]),
            "--json", report_of(params, run_id, name),
        ]

    return {
        "evaluate_dense": evaluate(params["model"], "dense"),
        "prune": [
            "prune", "--model", params["model"], "--calibration", params["calibration"], "--output", checkpoint_of(params, run_id),
            "--sparsity", str(params["sparsity"]), "--metric", params["metric"], "--allocation", params["allocation"],
            "--sequences", str(params["sequences"]), "--length", str(params["length"]), *params["prune_options"],
            "--json", report_of(params, run_id, "prune"),
        ],
        "evaluate_pruned": evaluate(checkpoint_of(params, run_id), "pruned"),
    }


def flags(values):
    """{"--name": "value", "--conf": ["a", "b"]} → ["--name", "value", "--conf", "a", "--conf", "b"]; None is left out."""
    return [
        part for flag, value in values.items() for one in (value if isinstance(value, list) else [value]) if one is not None
        for part in (flag, str(one))
    ]


def spark_arguments(params):
    """What stands after the command of owl for submit/owl: nothing for a run in the worker's own process."""
    if params["platform"] == "local":
        if params["presets"] or params["spark_conf"]:
            raise AirflowFailException("Cannot use presets or spark_conf with platform local: they are for a cluster; leave them empty")
        return []
    if not params["master"]:
        raise AirflowFailException("Cannot submit to platform spark: master is empty; give one such as yarn or spark://head:7077")
    if params["deploy_mode"] == "cluster" and params["master"].startswith("spark://"):
        raise AirflowFailException(
            f"Cannot use deploy_mode cluster with master {params['master']}: the exit code of spark-submit tells nothing of the run there, so that"
            " one that failed would pass for one that is done; use deploy_mode client")
    return [
        *flags({"--preset": params["presets"]}),
        "--", *flags({"--master": params["master"], "--deploy-mode": params["deploy_mode"], "--conf": params["spark_conf"]}),
    ]


def request_arguments(params, run_id, command):
    """The script that knows the platform's request, and its arguments."""
    platform, region = params["platform"], params["region"]
    common = {"--jar": params["jar"], "--preset": params["presets"], "--conf": params["spark_conf"]}
    if platform == "emr":
        script, target = "emr.sh", {"--cluster-id": params["emr_cluster_id"], "--name": f"owl {command}"}
    elif platform == "emr-serverless":
        script, target = "emr.sh", {
            "--application-id": params["emr_application_id"], "--execution-role": params["emr_execution_role"], "--name": f"owl {command}"}
    elif platform == "dataproc":
        script, target = "dataproc.sh", {"--cluster": params["dataproc_cluster"], "--region": region, "--project": params["dataproc_project"]}
    else:
        script, target = "dataproc.sh", {
            "--batch": f"owl-{command.replace('_', '-')}-{hashlib.sha256(run_id.encode()).hexdigest()[:8]}", "--region": region,
            "--project": params["dataproc_project"], "--service-account": params["dataproc_service_account"],
            "--subnet": params["dataproc_subnet"]}
    return [script, *flags(target), *flags(common), "--request", "--", *commands(params, run_id)[command]]


def ask(script, *arguments):
    """What a script of submit/ prints; what it refuses would be refused every time, so that nothing is tried again."""
    done = subprocess.run([OWL_HOME / "submit" / script, *arguments], capture_output=True, text=True)
    said = done.stderr.strip()
    if done.returncode == 2:
        raise AirflowFailException(said)
    if done.returncode != 0:
        raise AirflowException(f"{script} ended with exit code {done.returncode}: {said}")
    if said:
        print(said)
    return done.stdout


def require_sound(params):
    """Refuses what would only be found when the expensive part is done, or would spoil a retry."""
    if any(option.split("=")[0] == "--overwrite" for option in params["prune_options"]):
        raise AirflowFailException(
            "Cannot use --overwrite in prune_options: a task that is tried again would delete what it is to go on with; every run has a folder"
            " of its own")
    if params["platform"] in ("local", "spark"):
        try:
            stored(params, reports_of(params))
        except (ValueError, ImportError) as unknown:
            raise AirflowFailException(
                f"Cannot read reports in {reports_of(params)}: {unknown}; install the provider of that storage, or set the parameter reports to a"
                " folder that Airflow can read") from None


def stored(params, address):
    """A file of a storage, by the connection that the platform's operators have; fails if there is no such storage or connection."""
    cloud = params["platform"] not in ("local", "spark")
    path = ObjectStoragePath(address, conn_id=CONNECTIONS.get(address.split("://")[0]) if cloud else None)
    _ = path.fs  # the path by itself would say nothing, and go on without the connection
    return path


def require_access(params, run_id):
    """Writes and reads a small file where gate and publish will: credentials that do not suffice should not be found after hours."""
    address = f"{reports_of(params)}/.{folder_of(run_id)}.access"
    try:
        path = stored(params, address)
        if path.protocol in ("", "file"):
            Path(path.path).parent.mkdir(parents=True, exist_ok=True)
        path.write_text(run_id)
        if path.read_text() != run_id:
            raise OSError("what was written is not what is read")
        with contextlib.suppress(PermissionError):  # nothing else is ever deleted
            path.unlink()
    except Exception as failed:
        # Whoever may not, or has no such bucket, will not the next time.
        kind = AirflowFailException if isinstance(failed, (PermissionError, FileNotFoundError, ValueError, ImportError)) else AirflowException
        name = CONNECTIONS.get(address.split("://")[0])
        raise kind(
            f"Cannot write and read {address}: {failed or type(failed).__name__}; "
            + (f"give the connection {name} credentials for it" if name else "install the provider of that storage")
            + ", or set the parameter reports to a folder that Airflow can read and write") from failed


def read_report(params, address):
    path = stored(params, address)
    try:
        return json.loads(path.read_text())
    except ValueError as malformed:
        raise AirflowFailException(f"Cannot read {address}: {malformed}") from None


def judge(dense, pruned, max_ratio):
    """The ratio of two perplexities that owl evaluate measured, or a refusal."""
    for name, report in (("dense", dense), ("pruned", pruned)):
        perplexity = report.get("perplexity")
        # Of a distribution over tokens it is at least 1; NaN is no perplexity, and compares as false with everything.
        if isinstance(perplexity, bool) or not isinstance(perplexity, (int, float)) or not (math.isfinite(perplexity) and perplexity >= 1):
            raise AirflowFailException(f"Refused: the {name} model's perplexity is {perplexity}, which is none; nothing is published")
    for what in "windows", "length":
        if dense.get(what) != pruned.get(what):
            raise AirflowFailException(
                f"Refused: the perplexities do not compare, {what} is {dense.get(what)} for the dense model and {pruned.get(what)} for the"
                " pruned; nothing is published")
    ratio = pruned["perplexity"] / dense["perplexity"]
    if ratio > max_ratio:
        raise AirflowFailException(
            f"Refused: perplexity {pruned['perplexity']:.4f} is {ratio:.3f} times the dense model's {dense['perplexity']:.4f}, and"
            f" max_perplexity_ratio is {max_ratio:g}; nothing is published")
    return ratio


def replace_text(params, address, text):
    """Writes a file at once: readers see the old one or the new one. A put to an object store is that by itself."""
    path = stored(params, address)
    if path.protocol not in ("", "file"):
        path.write_text(text)
        return
    target = Path(path.path)
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    draft.write_text(text)
    os.replace(draft, target)


class OwlOperator(BaseOperator):
    """Runs one of the commands by submit/owl: in a process on this worker, or by its spark-submit."""

    def __init__(self, *, command, **kwargs):
        super().__init__(**kwargs)
        self.command = command
        self.process = None

    def execute(self, context):
        params = context["params"]
        self.process = SubprocessHook()
        result = self.process.run_command(
            [str(OWL_HOME / "submit" / "owl"), *commands(params, context["run_id"])[self.command], *spark_arguments(params)])
        if result.exit_code != 0:
            raise AirflowException(f"owl {self.command} ended with exit code {result.exit_code}: {result.output}")

    def on_kill(self):
        if self.process:
            self.process.send_sigterm()


@task.branch
def route(params=None):
    return FIRST_TASKS[params["platform"]]


@task
def check(params=None, run_id=None):
    """Finds a misspelt option of any of the three commands before the first one runs."""
    require_sound(params)
    spark_arguments(params)
    for command in commands(params, run_id).values():
        ask("owl", "--check", *command)


@task(multiple_outputs=True)
def request(params=None, run_id=None):
    """The requests of the three commands as the platform's API takes them: COMMAND_FIELD for every field of each."""
    require_sound(params)
    fields = {"region": params["region"], "project": params["dataproc_project"]}
    for command in COMMANDS:
        body = json.loads(ask(*request_arguments(params, run_id, command)))
        fields |= {f"{command}_{field}": value for field, value in body.items()}
    require_access(params, run_id)
    return fields


@task(trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS)
def gate(params=None, run_id=None):
    dense, pruned = (read_report(params, report_of(params, run_id, name)) for name in ("dense", "pruned"))
    ratio = judge(dense, pruned, params["max_perplexity_ratio"])
    print(f"passed: perplexity {pruned['perplexity']:.4f}, {ratio:.3f} times the dense model's {dense['perplexity']:.4f}")
    return {"dense": dense["perplexity"], "pruned": pruned["perplexity"], "ratio": ratio, "max_ratio": params["max_perplexity_ratio"]}


@task
def publish(perplexity, params=None, run_id=None, dag=None):
    """Points latest.json to this run's checkpoint, as the last thing that is written."""
    report = read_report(params, report_of(params, run_id, "prune"))
    published = {
        "model": checkpoint_of(params, run_id),
        "dense_model": params["model"],
        "fingerprint": report["fingerprint"],
        "sparsity": report["sparsity"],
        "perplexity": perplexity,
        "evaluation": {"text": params["evaluation"], "length": params["length"]},
        "reports": {name: report_of(params, run_id, name) for name in ("dense", "prune", "pruned")},
        "dag_id": dag.dag_id,
        "run_id": run_id,
        "published": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    replace_text(params, f"{reports_of(params)}/latest.json", json.dumps(published, indent=2) + "\n")
    return published


with DAG(
    "owl_prune",
    description="Prunes a language model with owl-spark, and publishes it if its perplexity is good enough",
    doc_md=__doc__,
    schedule=None,
    catchup=False,
    params=PARAMS,
    # A try that failed is tried again after core.default_task_retry_delay (5 minutes).
    default_args={"retries": 2},
    dagrun_timeout=timedelta(days=7),
    tags=["owl-spark"],
):
    routed, judged = route(), gate()
    judged >> publish(judged)

    with TaskGroup("spark_submit"):
        chain(routed, check(), *(OwlOperator(task_id=command, command=command) for command in COMMANDS), judged)

    with TaskGroup("emr_step"):
        asked = request()
        chain(routed, asked, *(
            EmrAddStepsOperator(
                task_id=command, job_flow_id=asked[f"{command}_JobFlowId"], steps=asked[f"{command}_Steps"], region_name=asked["region"],
                deferrable=True, waiter_delay=POLL_SECONDS, waiter_max_attempts=POLLS)
            for command in COMMANDS), judged)

    with TaskGroup("emr_serverless"):
        asked = request()
        chain(routed, asked, *(
            EmrServerlessStartJobOperator(
                task_id=command, application_id=asked[f"{command}_applicationId"], execution_role_arn=asked[f"{command}_executionRoleArn"],
                job_driver=asked[f"{command}_jobDriver"], name=asked[f"{command}_name"], region_name=asked["region"],
                deferrable=True, waiter_delay=POLL_SECONDS, waiter_max_attempts=POLLS)
            for command in COMMANDS), judged)

    with TaskGroup("dataproc_job"):
        asked = request()
        chain(routed, asked, *(
            DataprocSubmitJobOperator(
                task_id=command, job=asked[f"{command}_job"], region=asked["region"], project_id=asked["project"],
                deferrable=True, polling_interval_seconds=POLL_SECONDS)
            for command in COMMANDS), judged)

    with TaskGroup("dataproc_batch"):
        asked = request()
        chain(routed, asked, *(
            # Another try is another batch, which needs another name: of the prefix, and a number of its own.
            DataprocCreateBatchOperator(
                task_id=command, batch=asked[f"{command}_batch"], batch_id_prefix=asked[f"{command}_batch_id"], region=asked["region"],
                project_id=asked["project"], deferrable=True, polling_interval_seconds=POLL_SECONDS)
            for command in COMMANDS), judged)
