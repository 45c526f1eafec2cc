"""`submit/owl`, `submit/emr.sh` and `submit/dataproc.sh`: the commands they would run, held against golden files.

    python .ci/checks/submitting.py        writes the golden files anew: look at what git says has changed
"""

import functools
import json
import os
import pathlib
import shlex
import subprocess
import tempfile

import product
from verdict import require

GOLDEN = product.ROOT / "owl-spark-job" / "src" / "test" / "resources" / "submissions"
ROLE = "arn:aws:iam::123456789012:role/owl"
PRUNE = ("prune", "--model", "{0}://models/llama 7b", "--calibration", "{0}://data/it's \"c4\" $HOME, `id`;.json.gz", "--output",
         "{0}://models/llama-7b-owl70", "--sparsity", "0.7")
EVALUATE = ("evaluate", "--model", "{0}://models/llama-7b", "--text", "{0}://data/wikitext2.txt", "--json", "{0}://runs/dense.json")
S3_JAR = ("--jar", "s3://jars/owl-spark-job.jar")
GS_JAR = ("--region", "europe-west4", "--jar", "gs://jars/owl-spark-job.jar")


def command(arguments, scheme):
    return tuple(argument.format(scheme) for argument in arguments)


# Golden file: script, and its arguments but for --dry-run.
CASES = {
    "standalone": ("owl", (*command(PRUNE, "hdfs"), "--preset", "7b", "--dry-run", "--", "--master", "spark://head:7077")),
    "standalone-cluster-s3": (
        "owl",
        (*command(PRUNE, "s3a"), "--preset=65b", "--preset=s3a", "--dry-run", "--", "--master", "spark://head:7077", "--deploy-mode", "cluster",
         "--conf", "spark.executor.instances=20"),
    ),
    "yarn": ("owl", (*command(EVALUATE, "hdfs"), "--preset", "30b", "--dry-run", "--", "--master", "yarn", "--deploy-mode", "cluster")),
    "emr-step": ("emr.sh", ("--cluster-id", "j-2AXXXXXXGAPLF", *S3_JAR, "--preset", "7b", "--dry-run", "--", *command(PRUNE, "s3"))),
    "emr-step-of-a-profile": (
        "emr.sh",
        ("--cluster-id", "j-2AXXXXXXGAPLF", *S3_JAR, "--preset", "65b-sparsegpt", "--conf", "spark.executor.instances=20", "--name",
         "65B, \"at night\"", "--region", "eu-west-1", "--profile", "research", "--dry-run", "--", *command(EVALUATE, "s3")),
    ),
    "emr-serverless": (
        "emr.sh",
        ("--application-id", "00f1r2example", "--execution-role", ROLE, *S3_JAR, "--preset", "13b", "--dry-run", "--", *command(PRUNE, "s3")),
    ),
    "dataproc-job": ("dataproc.sh", ("--cluster", "owls", *GS_JAR, "--preset", "30b", "--dry-run", "--", *command(PRUNE, "gs"))),
    "dataproc-job-with-commas": (
        "dataproc.sh",
        ("--cluster", "owls", *GS_JAR, "--project", "research", "--async", "--conf", "spark.jars.packages=a:b:1,c:d:2", "--dry-run", "--",
         *command(EVALUATE, "gs")),
    ),
    "dataproc-batch": (
        "dataproc.sh",
        ("--batch", "owl-7b-1", *GS_JAR, "--preset", "7b", "--service-account", "owl@research.iam.gserviceaccount.com", "--dry-run", "--",
         *command(PRUNE, "gs")),
    ),
}

# What other clients than the AWS CLI and gcloud send, Airflow's operators among them. Golden file: --request in place of --dry-run of these.
REQUESTS = ("emr-step", "emr-serverless", "dataproc-job", "dataproc-job-with-commas", "dataproc-batch")
CLI_ONLY = ("--async",)  # told to gcloud, and no part of a request

EMR = ("--cluster-id", "j-2AXXXXXXGAPLF", *S3_JAR)
SOUND = command(EVALUATE, "s3")
# What is said: script and arguments.
REFUSED = {
    "Cannot submit: no command of owl is given": ("emr.sh", EMR),
    "Cannot submit: give --cluster-id": ("emr.sh", (*S3_JAR, "--", *SOUND)),
    "Cannot submit to both --cluster-id": ("emr.sh", (*EMR, "--application-id", "00f1", "--execution-role", ROLE, "--", *SOUND)),
    "Cannot submit to EMR Serverless: give --execution-role": ("emr.sh", ("--application-id", "00f1", *S3_JAR, "--", *SOUND)),
    "Cannot use --execution-role owl: it is like arn:": (
        "emr.sh", ("--application-id", "00f1", "--execution-role", "owl", *S3_JAR, "--", *SOUND)),
    "Cannot use --cluster-id owls: it is like": ("emr.sh", ("--cluster-id", "owls", *S3_JAR, "--", *SOUND)),
    "Cannot use --jar owl.jar: it is like s3:": ("emr.sh", ("--cluster-id", "j-2AX", "--jar", "owl.jar", "--", *SOUND)),
    "Cannot use --verbose: it is no option of this script": ("emr.sh", ("--verbose", *EMR, "--", *SOUND)),
    "Cannot use --jar: it needs a value": ("emr.sh", ("--jar",)),
    "Cannot use --conf executor.memory=1g: it is spark.KEY=VALUE": ("emr.sh", (*EMR, "--conf", "executor.memory=1g", "--", *SOUND)),
    "Cannot find --preset 8b": ("emr.sh", (*EMR, "--preset", "8b", "--", *SOUND)),
    "Cannot submit fs.s3a.secret.key on a command line": ("emr.sh", (*EMR, "--conf", "spark.hadoop.fs.s3a.secret.key=x", "--", *SOUND)),
    "owl: Cannot run prun: the commands are": ("emr.sh", (*EMR, "--", "prun", *SOUND[1:])),
    "owl: Cannot run this command: Unknown option: '--lenght": ("emr.sh", (*EMR, "--", *SOUND, "--lenght=2")),
    "owl: Cannot run this command: Missing required option: '--model": ("dataproc.sh", ("--cluster", "owls", *GS_JAR, "--", "evaluate")),
    "Cannot submit: give --cluster, or --batch": ("dataproc.sh", (*GS_JAR, "--", *SOUND)),
    "Cannot submit: give --region": ("dataproc.sh", ("--cluster", "owls", *GS_JAR[2:], "--", *SOUND)),
    "Cannot use --batch Owl: it is 4 to 63": ("dataproc.sh", ("--batch", "Owl", *GS_JAR, "--", *SOUND)),
    "Cannot use --version, --service-account or --subnet with --cluster": (
        "dataproc.sh", ("--cluster", "owls", "--version", "3.0", *GS_JAR, "--", *SOUND)),
    "Cannot use --preset 7b in an embedded run": ("owl", (*SOUND, "--preset", "7b")),
    "Cannot use --region or --profile with --request": ("emr.sh", (*EMR, "--region", "eu-west-1", "--request", "--", *SOUND)),
    "Cannot use --async with --request": ("dataproc.sh", ("--cluster", "owls", *GS_JAR, "--async", "--request", "--", *SOUND)),
    "Cannot read --properties-file mine.conf": ("owl", (*SOUND, "--dry-run", "--", "--properties-file", "mine.conf")),
}


def checks(fixtures):
    for name in CASES:
        yield f"submit: --dry-run, {name}", functools.partial(check_golden, name)
    for name in REQUESTS:
        yield f"submit: --request, {name}", functools.partial(check_request, name)
    for message in REFUSED:
        yield f"submit: refuses: {message}", functools.partial(check_refused, message)
    yield "submit: what --dry-run prints is what runs", check_arguments_arrive
    yield "submit: a properties file of the user's wins", check_properties_file
    yield "submit: without java nothing is checked, and that is said", check_without_java
    yield "submit: shellcheck", check_shell


def run(script, arguments, **environment):
    """The outcome, with a spark-submit that is only a name."""
    with tempfile.TemporaryDirectory() as folder:
        spark = pathlib.Path(folder) / "bin" / "spark-submit"
        spark.parent.mkdir()
        spark.write_text("#!/bin/sh\nexit 9\n")
        spark.chmod(0o755)
        done = subprocess.run(
            [product.ROOT / "submit" / script, *arguments], env={**os.environ, "SPARK_HOME": folder, **environment},
            capture_output=True, text=True, timeout=120,
        )
        out = done.stdout.replace(folder, "SPARK_HOME").replace(str(product.ROOT), "OWL_HOME")
        return product.Outcome(done.returncode, out, done.stderr)


def printed(name):
    """The command, an argument a line, so that a change can be read."""
    outcome = run(*CASES[name])
    require(outcome.code == 0, f"exit code {outcome.code}: {outcome.err}")
    require(outcome.out.count("\n") == 1, f"not one line: {outcome.out}")
    return "".join(argument + "\n" for argument in shlex.split(outcome.out))


def requested(name):
    """The request, written so that a change can be read."""
    script, arguments = CASES[name]
    outcome = run(script, ["--request" if argument == "--dry-run" else argument for argument in arguments if argument not in CLI_ONLY])
    require(outcome.code == 0, f"exit code {outcome.code}: {outcome.err}")
    return json.dumps(json.loads(outcome.out), indent=2) + "\n"


def settings_of(request):
    """Spark's settings in a request."""
    if "Steps" in request:
        [step] = request["Steps"]
        arguments = step["HadoopJarStep"]["Args"]
    elif "jobDriver" in request:
        arguments = shlex.split(request["jobDriver"]["sparkSubmit"]["sparkSubmitParameters"])
    else:
        return (request["job"]["spark_job"] if "job" in request else request["batch"]["runtime_config"])["properties"]
    return dict(value.split("=", 1) for flag, value in zip(arguments, arguments[1:]) if flag == "--conf")


def arguments_of(request):
    """The command of owl in a request."""
    if "Steps" in request:
        arguments = request["Steps"][0]["HadoopJarStep"]["Args"]
        return arguments[next(place for place, argument in enumerate(arguments) if argument.endswith(".jar") and "://" in argument) + 1:]
    if "jobDriver" in request:
        return request["jobDriver"]["sparkSubmit"]["entryPointArguments"]
    return (request["job"]["spark_job"] if "job" in request else request["batch"]["spark_batch"])["args"]


def settings_of_command(lines):
    """Spark's settings in a command of the AWS CLI or gcloud, an argument a line."""
    for line in lines:
        if line.startswith("--properties="):
            _, separator, pairs = line.split("^", 2) if "=^" in line else ("", ",", line.split("=", 1)[1])
            return dict(pair.split("=", 1) for pair in pairs.split(separator))
        if line.startswith("[{"):
            [step] = json.loads(line)
            return settings_of({"Steps": [{"HadoopJarStep": step}]})
        if line.startswith("{"):
            return settings_of({"jobDriver": json.loads(line)})


def check_request(name):
    golden = (GOLDEN / f"{name}.json").read_text()
    found = requested(name)
    require(found == golden, f"differs from {name}.json; if it should, run python .ci/checks/submitting.py\n{found}")
    settings = settings_of_command((GOLDEN / f"{name}.txt").read_text().splitlines())
    arguments = command(EVALUATE if name == "dataproc-job-with-commas" else PRUNE, "s3" if name.startswith("emr") else "gs")
    require(arguments_of(json.loads(golden)) == list(arguments), f"arguments {arguments_of(json.loads(golden))}")
    require(len(settings) >= 11 and settings_of(json.loads(golden)) == settings, f"the request has other settings than the command: {settings}")


def check_golden(name):
    golden = (GOLDEN / f"{name}.txt").read_text()
    found = printed(name)
    require(found == golden, f"differs from {name}.txt; if it should, run python .ci/checks/submitting.py\n{found}")
    if name == "emr-step":
        [step] = json.loads(golden.splitlines()[-1])
        require(step["Args"][-len(PRUNE):] == list(command(PRUNE, "s3")), f"arguments {step['Args']}")
    if name == "emr-serverless":
        job = json.loads(golden.splitlines()[-1])["sparkSubmit"]
        require(job["entryPointArguments"] == list(command(PRUNE, "s3")), f"arguments {job}")
        settings = shlex.split(job["sparkSubmitParameters"])[3::2]
        require("spark.executor.instances=8" in settings, f"settings {settings}")


def check_refused(message):
    outcome = run(*REFUSED[message])
    require(outcome.code == 2, f"exit code {outcome.code}: {outcome.out}{outcome.err}")
    require(message in outcome.err, f"said: {outcome.err}")
    require("\tat " not in outcome.err, f"a stack trace: {outcome.err}")


def check_arguments_arrive():
    """aws and gcloud are programs here that print their arguments."""
    with tempfile.TemporaryDirectory() as folder:
        for program in "aws", "gcloud":
            path = pathlib.Path(folder) / program
            path.write_text('#!/bin/sh\nfor argument in "$0" "$@"; do printf "%s\\n" "${argument##*/bin-here/}"; done\n')
            path.chmod(0o755)
        for name, (script, arguments) in CASES.items():
            if script != "owl":
                arguments = [argument for argument in arguments if argument != "--dry-run"]
                outcome = run(script, arguments, PATH=f"{folder}:{os.environ['PATH']}")
                require(outcome.code == 0, f"{name}: exit code {outcome.code}: {outcome.err}")
                golden = (GOLDEN / f"{name}.txt").read_text()
                require(outcome.out.split("\n", 1)[1] == golden.split("\n", 1)[1], f"{name}: {outcome.out}")


def check_properties_file():
    with tempfile.TemporaryDirectory() as folder:
        mine = pathlib.Path(folder) / "mine.conf"
        mine.write_text("spark.speculation true\nspark.executor.memory=9g\n")
        outcome = run("owl", (*SOUND, "--preset", "7b", "--dry-run", "--", "--properties-file", str(mine)))
    require(outcome.code == 0, outcome.err)
    require("spark.speculation" not in outcome.out and "spark.executor.memory=" not in outcome.out, outcome.out)
    require("spark.executor.memoryOverhead=" in outcome.out, outcome.out)


def check_without_java():
    outcome = run(*CASES["emr-step"], JAVA_HOME="/nowhere")
    require(outcome.code == 0, f"exit code {outcome.code}: {outcome.err}")
    require("the command is not checked before it is submitted: there is no java here" in outcome.err, outcome.err)


def check_shell():
    scripts = ("owl", "emr.sh", "dataproc.sh", "benchmark")  # and what they source
    program = pathlib.Path(os.sys.executable).parent / "shellcheck"
    done = subprocess.run(
        [program, "--shell=bash", "--external-sources", *(f"submit/{script}" for script in scripts)], cwd=product.ROOT,
        capture_output=True, text=True,
    )
    require(done.returncode == 0, done.stdout[:3000])


if __name__ == "__main__":
    GOLDEN.mkdir(parents=True, exist_ok=True)
    for old in GOLDEN.iterdir():
        old.unlink()
    for case in CASES:
        (GOLDEN / f"{case}.txt").write_text(printed(case))
    for case in REQUESTS:
        (GOLDEN / f"{case}.json").write_text(requested(case))
