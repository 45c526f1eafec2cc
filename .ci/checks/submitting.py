"""`submit/owl`, `submit/emr.sh` and `submit/dataproc.sh`: the commands they would run, held against golden files.

    python .ci/checks/submitting.py        writes the golden files anew: look at what git says has changed
"""

import functools
import json
import os
import pathlib
import shlex
import shutil
import subprocess
import sys
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
CLUSTER_MODE = ("--", "--master", "spark://head:7077", "--deploy-mode", "cluster")
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
    "Cannot read --properties-file mine.conf": ("owl", (*SOUND, "--dry-run", "--", "--properties-file=mine.conf")),
    "Cannot use --dry-run behind --": ("owl", (*SOUND, *CLUSTER_MODE, "--dry-run")),
    "Cannot use --preset behind --": ("owl", (*SOUND, *CLUSTER_MODE, "--preset", "7b")),
    "Cannot use mine.jar behind --": ("owl", (*SOUND, *CLUSTER_MODE, "mine.jar")),
    "Cannot use --num-executors: it needs a value": ("owl", (*SOUND, *CLUSTER_MODE, "--num-executors")),
    "Unknown option: '--lenght": ("owl", (*SOUND, "--lenght=2", "--dry-run")),
    "Unknown option: '--widnows": ("owl", (*SOUND, "--widnows=2", "--dry-run", *CLUSTER_MODE)),
    "Cannot print a command: no command of owl is given": ("owl", ("--dry-run",)),
    "Cannot submit --help: it would be said on the cluster": ("emr.sh", (*EMR, "--", "--help")),
    "Cannot submit help prune: it would be said on the cluster": ("dataproc.sh", ("--cluster", "owls", *GS_JAR, "--", "help", "prune")),
    "Cannot use --preset s3a on EMR": ("emr.sh", (*EMR, "--preset", "s3a", "--", *SOUND)),
    "conf/s3a.conf on EMR": ("emr.sh", (*EMR, "--preset", str(product.ROOT / "conf" / "s3a.conf"), "--", *SOUND)),
    "Cannot use --preset hadoop-aws on EMR": ("emr.sh", (*EMR, "--preset", "hadoop-aws", "--", *SOUND)),
}
# Ways to say spark.jars.packages, of which Spark tells the executors nothing there.
PACKAGES = {
    "preset": (*SOUND, "--preset", "hadoop-aws", *CLUSTER_MODE),
    "packages": (*SOUND, *CLUSTER_MODE, "--packages", "a:b:1"),
    "packages=": (*SOUND, *CLUSTER_MODE, "--packages=a:b:1"),
    "conf": (*SOUND, *CLUSTER_MODE, "--conf", "spark.jars.packages=a:b:1"),
    "deploy mode by --conf": (
        *SOUND, "--", "--master=spark://head:7077", "--conf=spark.submit.deployMode=cluster", "-c", "spark.jars.packages=a:b:1"),
}


def checks(fixtures):
    for name in CASES:
        yield f"submit: --dry-run, {name}", functools.partial(check_golden, name)
    for name in REQUESTS:
        yield f"submit: --request, {name}", functools.partial(check_request, name)
    for message in REFUSED:
        yield f"submit: refuses: {message}", functools.partial(check_refused, message)
    yield "submit: what --dry-run prints is what runs", check_arguments_arrive
    for form in "--properties-file FILE", "--properties-file=FILE":
        yield f"submit: a properties file of the user's wins, {form}", functools.partial(check_properties_file, form)
    yield "submit: the installation's spark-defaults.conf stays in force, and says what master there is", check_installation
    yield "submit: flags of JVMs are conf/'s and the user's", check_flags
    for way in PACKAGES:
        yield f"submit: packages are refused in a standalone cluster's drivers, {way}", functools.partial(check_packages, way)
    yield "submit: an embedded command that is printed can be read, and run", check_printed_embedded
    yield "submit: Hadoop's settings in an embedded run that names HDFS", check_hadoop_settings
    yield "submit: a jar at an address", check_jar_address
    yield "submit: --help", check_help
    yield "submit: --help of chaos and benchmark installs nothing", check_help_of_checks
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


def settings_for_spark(arguments, **environment):
    """Spark's settings by submit/owl, a later one's in place of an earlier one's; and the options that are none."""
    outcome = run("owl", arguments, **environment)
    require(outcome.code == 0, f"{arguments}: exit code {outcome.code}: {outcome.err}")
    words, settings, options = shlex.split(outcome.out), {}, {}
    for flag, value in zip(words[3::2], words[4::2]):
        if flag.endswith(".jar"):
            break
        if flag in ("--conf", "-c"):
            settings.update([value.split("=", 1)])
        else:
            options[flag] = value
    return settings, options


def check_properties_file(form):
    with tempfile.TemporaryDirectory() as folder:
        mine = pathlib.Path(folder) / "mine.conf"
        mine.write_text("! mine\nspark.speculation true\nspark.executor.memory=9g\n\tspark.executor.extraJavaOptions : -Dmine=1 -Dx=y \n")
        settings, options = settings_for_spark(
            (*SOUND, "--preset", "7b", "--dry-run", "--", "--master", "yarn", *form.replace("FILE", str(mine)).split(" ")))
        require(options["--properties-file"] == str(mine), f"{options}")
        require("spark.speculation" not in settings and "spark.executor.memory" not in settings, f"{settings}")
        require("spark.executor.memoryOverhead" in settings, f"{settings}")
        flags = settings["spark.executor.extraJavaOptions"]
        require(flags == f"{default_of('spark.executor.extraJavaOptions')} -Dmine=1 -Dx=y", f"{flags}")
        mine.write_text("spark.driver.extraJavaOptions -Dmine=1 \\\n  -Dx=y\n")
        outcome = run("owl", (*SOUND, "--dry-run", "--", *form.replace("FILE", str(mine)).split(" ")))
        require(outcome.code == 2 and "there is a backslash in it; give it by --conf" in outcome.err, f"{outcome}")


def default_of(key):
    [value] = [line.split(None, 1)[1] for line in (product.ROOT / "conf" / "spark-defaults.conf").read_text().splitlines() if line.startswith(key)]
    return value


def check_installation():
    with tempfile.TemporaryDirectory() as folder:
        (pathlib.Path(folder) / "spark-defaults.conf").write_text(
            "spark.master spark://head:7077\nspark.speculation true\nspark.executor.extraJavaOptions -Dtheirs=1\n")
        settings, _ = settings_for_spark((*SOUND, "--dry-run", "--", "--deploy-mode", "cluster"), SPARK_CONF_DIR=folder)
        require(settings["spark.speculation"] == "false", f"{settings}")
        require(settings["spark.executor.extraJavaOptions"] == f"{default_of('spark.executor.extraJavaOptions')} -Dtheirs=1", f"{settings}")
        require(settings["spark.standalone.submit.waitAppCompletion"] == "true", f"{settings}")
        settings, _ = settings_for_spark((*SOUND, "--dry-run", "--", "--master", "yarn", "--deploy-mode", "cluster"), SPARK_CONF_DIR=folder)
        require("spark.standalone.submit.waitAppCompletion" not in settings, f"{settings}")
        mine = pathlib.Path(folder) / "mine.conf"
        mine.write_text("spark.standalone.submit.waitAppCompletion false\n")
        for own in ("--properties-file", str(mine)), ("--conf", "spark.standalone.submit.waitAppCompletion=false"):
            settings, _ = settings_for_spark((*SOUND, "--dry-run", *CLUSTER_MODE, *own))
            require(settings.get("spark.standalone.submit.waitAppCompletion", "false") == "false", f"{own}: {settings}")


def check_flags():
    driver, executor = (f"spark.{part}.extraJavaOptions" for part in ("driver", "executor"))
    client = ("--", "--master", "spark://head:7077")
    for form in ("--conf", "{}"), ("-c", "{}"), ("--conf={}",):
        for key in driver, executor:
            settings, _ = settings_for_spark((*SOUND, "--dry-run", *client, *(part.format(f"{key}=-Dmine=1 -Xlog:gc") for part in form)))
            require(settings[key] == f"{default_of(key)} -Dmine=1 -Xlog:gc", f"{form}: {settings[key]}")
    for form in ("--driver-java-options", "-Dmine=1"), ("--driver-java-options=-Dmine=1",):
        _, options = settings_for_spark((*SOUND, "--dry-run", *client, *form))
        require(options["--driver-java-options"] == f"{default_of(driver)} -Dmine=1", f"{options}")
    settings, _ = settings_for_spark((*SOUND, "--dry-run", *CLUSTER_MODE, "--conf", f"{driver}=-Dmine=1"))
    modules = [line for line in (product.ROOT / "conf" / "jvm.options").read_text().splitlines() if not line.startswith("#")]
    require(settings[driver] == f"{' '.join(modules)} {default_of(driver)} -Dmine=1", f"{settings[driver]}")
    for name in "emr-step", "emr-serverless":
        script, arguments = CASES[name]
        arguments = [*arguments[:2], "--conf", f"{executor}=-Dmine=1", *("--request" if each == "--dry-run" else each for each in arguments[2:])]
        outcome = run(script, arguments)
        require(outcome.code == 0, outcome.err)
        flags = settings_of(json.loads(outcome.out))[executor]
        require(flags == f"{default_of(executor)} -Dmine=1", f"{name}: {flags}")


def check_packages(way):
    outcome = run("owl", PACKAGES[way])
    require(outcome.code == 2, f"exit code {outcome.code}: {outcome.out}{outcome.err}")
    for part in "Cannot use spark.jars.packages", "--deploy-mode client", "--jars":
        require(part in outcome.err, f"{part} was not said, but {outcome.err}")
    # Elsewhere Spark gives them to all.
    if way == "preset":
        for elsewhere in ("--master", "spark://head:7077"), ("--master", "yarn", "--deploy-mode", "cluster"):
            settings, _ = settings_for_spark((*SOUND, "--preset", "hadoop-aws", "--dry-run", "--", *elsewhere))
            require("spark.jars.packages" in settings, f"{settings}")


def check_printed_embedded():
    outcome = product.owl("evaluate", "--help", "--dry-run")
    require(outcome.code == 0 and len(outcome.out) < 1000 + 4 * len(str(product.ROOT)), f"{outcome}")
    done = subprocess.run(["bash", "-c", outcome.out], capture_output=True, text=True, timeout=120)
    require(done.returncode == 0 and done.stdout == product.owl("evaluate", "--help").out, f"{outcome.out}: {done}")


def check_hadoop_settings():
    with tempfile.TemporaryDirectory() as folder:
        values = {"fs.defaultFS": "hdfs://127.0.0.1:9", "ipc.client.connect.max.retries": "0"}
        properties = "".join(f"<property><name>{name}</name><value>{value}</value></property>" for name, value in values.items())
        (pathlib.Path(folder) / "core-site.xml").write_text(f"<configuration>{properties}</configuration>")
        outcome = product.owl("status", "--output", "hdfs:///models/llama", environment={"HADOOP_CONF_DIR": folder})
        require("nobody answers there" in outcome.err, f"{outcome}")
        outcome = product.owl("status", "--output", f"{folder}/nothing", environment={"HADOOP_CONF_DIR": folder})
        require("no run of owl prune has left anything there" in outcome.err, f"a plain path is asked for on HDFS: {outcome}")


def check_jar_address():
    outcome = run("owl", (*SOUND, *CLUSTER_MODE), OWL_JAR="local:/opt/owl.jar")
    require(outcome.code == 2 and "Cannot use OWL_JAR local:/opt/owl.jar in cluster deploy mode" in outcome.err, f"{outcome}")
    for jar in "hdfs:///jars/owl.jar", "s3a://jars/owl.jar", "https://host/owl.jar", "local:/opt/owl.jar":
        outcome = run("owl", (*SOUND, "--dry-run", *(CLUSTER_MODE[:3] if jar.startswith("local:") else CLUSTER_MODE)), OWL_JAR=jar)
        require(outcome.code == 0 and f" {jar} evaluate " in outcome.out, f"{jar}: {outcome}")
        outcome = run("owl", SOUND, OWL_JAR=jar)
        require(outcome.code == 2 and f"Cannot use OWL_JAR {jar} in an embedded run" in outcome.err, f"{jar}: {outcome}")
    outcome = run("owl", (*SOUND, "--dry-run", *CLUSTER_MODE), OWL_JAR="/nowhere/owl.jar")
    require(outcome.code == 2 and "Cannot find OWL_JAR /nowhere/owl.jar" in outcome.err, f"{outcome}")
    # The jar that is built here checks the command, wherever the other lies.
    outcome = run("owl", (*SOUND, "--lenght=2", "--dry-run", *CLUSTER_MODE), OWL_JAR="hdfs:///jars/owl.jar")
    require(outcome.code == 2 and "Unknown option: '--lenght" in outcome.err, f"{outcome}")


def check_help():
    outcome = product.owl("--help")
    for part in "--preset NAME", "--dry-run", "-- SPARK-SUBMIT-ARGS":
        require(outcome.code == 0 and f"\n  {part}" in outcome.out, f"{part} is not in {outcome.out}{outcome.err}")


def check_help_of_checks():
    """With a Python that has no packages, and a folder .ci without an environment."""
    with tempfile.TemporaryDirectory() as folder:
        copy = pathlib.Path(folder)
        shutil.copytree(product.ROOT / "submit", copy / "submit")
        shutil.copytree(product.ROOT / ".ci", copy / ".ci", ignore=shutil.ignore_patterns("venv", "airflow-venv", "work", "spark"))
        (copy / "python3").write_text(f'#!/bin/sh\nexec "{sys.base_prefix}/bin/python3" -I -S "$@"\n')
        (copy / "python3").chmod(0o755)
        variables = {name: value for name, value in os.environ.items() if name != "OWL_PYTHON"} | {"PATH": f"{folder}:{os.environ['PATH']}"}
        for script in "chaos", "benchmark":
            for arguments in ("--help",), ("--rounds", "3", "-h"):
                done = subprocess.run([copy / "submit" / script, *arguments], env=variables, capture_output=True, text=True, timeout=60)
                require(done.returncode == 0 and f"usage: submit/{script}" in done.stdout, f"{script}: {done}")
                require("OWL_PYTHON" in done.stdout, f"{script} does not say what it needs: {done.stdout}")
        require(not (copy / ".ci" / "venv").exists(), "an environment was made")


def check_without_java():
    outcome = run(*CASES["emr-step"], JAVA_HOME="/nowhere")
    require(outcome.code == 0, f"exit code {outcome.code}: {outcome.err}")
    require("the command is not checked before it is submitted: there is no java here" in outcome.err, outcome.err)


def check_shell():
    scripts = ("owl", "emr.sh", "dataproc.sh", "benchmark", "chaos")  # and what they source
    program = pathlib.Path(sys.executable).parent / "shellcheck"
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
