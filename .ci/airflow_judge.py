"""What only Airflow's own Python can tell of submit/airflow/owl_prune_dag.py, as JSON; .ci/checks/scheduling.py judges them.

    .ci/airflow-venv/bin/python .ci/airflow_judge.py load
    .ci/airflow-venv/bin/python .ci/airflow_judge.py requests PARAMS-AS-JSON
    .ci/airflow-venv/bin/python .ci/airflow_judge.py gate
    .ci/airflow-venv/bin/python .ci/airflow_judge.py refuse LIST-OF-PARAMS-AS-JSON
    .ci/airflow-venv/bin/python .ci/airflow_judge.py emr PARAMS-AS-JSON COMMAND-THAT-FAILS-ONCE REPORTS-AS-JSON BUCKET
"""

import contextlib
import json
import math
import os
import sys
import threading
import time

FOLDER = os.environ["AIRFLOW__CORE__DAGS_FOLDER"]
RUN_ID = "manual__2026-01-02T03:04:05.678901+00:00"


def bag():
    from airflow.dag_processing.dagbag import DagBag

    return DagBag(dag_folder=FOLDER)


def module():
    sys.path.insert(0, FOLDER)
    import owl_prune_dag

    return owl_prune_dag


def load():
    from airflow.serialization.serialized_objects import DagSerialization

    found = bag()
    dag = found.dags.get("owl_prune")
    if dag is None:
        return {"errors": found.import_errors, "dags": sorted(found.dags)}
    serialized = [json.dumps(DagSerialization.to_dict(one), sort_keys=True) for one in (dag, bag().dags["owl_prune"])]
    return {
        "errors": found.import_errors,
        "dags": sorted(found.dags),
        "stable": serialized[0] == serialized[1],
        "tasks": {
            one.task_id: {
                "class": type(one).__name__, "downstream": sorted(one.downstream_task_ids), "retries": one.retries,
                "deferrable": getattr(one, "deferrable", None),
            } for one in dag.tasks
        },
        "params": {name: {"description": param.description, "schema": param.schema} for name, param in dag.params.items()},
    }


def filled(params):
    """The parameters of a run as Airflow hands them to tasks: with defaults, and judged by their schemas."""
    merged = bag().dags["owl_prune"].params
    merged.update(params)
    return merged.validate()


def requests(params):
    """What the task "request" hands to the operators, after the APIs' own models have judged it."""
    import botocore.session
    from botocore.validate import ParamValidator
    from google.cloud import dataproc_v1

    owl = module()
    params = filled(params)
    with contextlib.redirect_stdout(sys.stderr):
        fields = owl.request.function(params=params, run_id=RUN_ID)

    def judge_by_aws(service, operation, body):
        shape = botocore.session.get_session().get_service_model(service).operation_model(operation).input_shape
        report = ParamValidator().validate(body, shape)
        return report.generate_report()

    errors = []
    for command in owl.COMMANDS:
        body = {name.removeprefix(f"{command}_"): value for name, value in fields.items() if name.startswith(f"{command}_")}
        if params["platform"] == "emr":
            errors.append(judge_by_aws("emr", "AddJobFlowSteps", body))
        elif params["platform"] == "emr-serverless":
            errors.append(judge_by_aws("emr-serverless", "StartJobRun", body | {"clientToken": "x"}))
        elif params["platform"] == "dataproc":
            dataproc_v1.Job(body["job"])  # raises on a field that there is not
        else:
            dataproc_v1.Batch(body["batch"])
    return {"fields": fields, "errors": [error for error in errors if error], "commands": owl.commands(params, RUN_ID)}


def gate():
    """Reports that the gate is asked about: what it says to each."""
    from airflow.sdk.exceptions import AirflowFailException

    owl = module()

    def report(perplexity, **others):
        return {"perplexity": perplexity, "windows": 10, "length": 64, **others}

    asked = {
        "passes": (report(5.0), report(7.5), 2.0),
        "passes at the limit": (report(5.0), report(10.0), 2.0),
        "passes, better than dense": (report(5.0), report(4.9), 0.99),
        "too high": (report(5.0), report(10.01), 2.0),
        "NaN": (report(5.0), report(math.nan), 2.0),
        "NaN as JSON has it": (report(5.0), json.loads('{"perplexity": NaN, "windows": 10, "length": 64}'), 2.0),
        "infinite": (report(5.0), report(math.inf), math.inf),
        "dense is NaN": (report(math.nan), report(7.5), 2.0),
        "dense is infinite": (report(math.inf), report(7.5), 2.0),
        "none": (report(5.0), {"windows": 10, "length": 64}, 2.0),
        "text": (report(5.0), report("7.5"), 2.0),
        "below 1": (report(5.0), report(0.5), 2.0),
        "other windows": (report(5.0), report(7.5, windows=9), 2.0),
        "other length": (report(5.0), report(7.5, length=128), 2.0),
    }
    said = {}
    for name, arguments in asked.items():
        try:
            said[name] = owl.judge(*arguments)
        except AirflowFailException as refused:
            said[name] = str(refused)
    return said


def refuse(cases):
    """What is said to each case's parameters by their schemas, or else by the task that comes first."""
    from airflow.sdk.exceptions import AirflowException, ParamValidationError

    owl = module()
    said = []
    for params in cases:
        try:
            params = filled(params)
            first = owl.check if params["platform"] in ("local", "spark") else owl.request
            first.function(params=params, run_id=RUN_ID)
            said.append(None)
        except (AirflowException, ParamValidationError) as refused:
            said.append(str(refused))
    return said


def emr(params, fails_once, reports, bucket):
    """A run of the DAG against moto's EMR and S3, whose steps end at once; the reports that owl would have written are put there.

    Keys are in the connection only: nobody else finds any, and S3 lets nobody read without.
    """
    import boto3
    from moto.emr.models import emr_backends
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ.update(AWS_EC2_METADATA_DISABLED="true", AWS_SHARED_CREDENTIALS_FILE=os.devnull, AWS_CONFIG_FILE=os.devnull)
    place = {"endpoint_url": f"http://127.0.0.1:{port}", "region_name": "eu-west-1"}
    os.environ["AIRFLOW_CONN_AWS_DEFAULT"] = json.dumps({"conn_type": "aws", "login": "key", "password": "secret", "extra": place})
    clusters, storage = (boto3.client(name, aws_access_key_id="key", aws_secret_access_key="secret", **place) for name in ("emr", "s3"))
    storage.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    cluster = clusters.run_job_flow(
        Name="owls", ReleaseLabel="emr-7.10.0", JobFlowRole="role", ServiceRole="role",
        Instances={"MasterInstanceType": "m5.xlarge", "SlaveInstanceType": "m5.xlarge", "InstanceCount": 2, "KeepJobFlowAliveWhenNoSteps": True},
    )["JobFlowId"]
    fails, seen = [fails_once], []

    def play_cluster():
        while True:
            for flow in [flow for regions in emr_backends.values() for backend in regions.values() for flow in backend.clusters.values()]:
                for step in flow.steps:
                    if step.state in ("PENDING", "RUNNING"):
                        command = step.args[step.args.index(params["jar"]) + 1:]
                        seen.append(command)
                        if command[0] in fails:
                            fails.remove(command[0])
                            step.state = "FAILED"
                            continue
                        address = command[command.index("--json") + 1]
                        name = address.rsplit("/", 1)[1].removesuffix(".json")
                        storage.put_object(
                            Bucket=bucket, Key=address.removeprefix(f"s3://{bucket}/"), Body=json.dumps(reports[name]).encode())
                        step.state = "COMPLETED"
            time.sleep(0.2)

    threading.Thread(target=play_cluster, daemon=True).start()
    dag = bag().dags["owl_prune"]
    with contextlib.redirect_stdout(sys.stderr):
        run = dag.test(run_conf={**params, "emr_cluster_id": cluster})
    found = {entry["Key"] for entry in storage.list_objects_v2(Bucket=bucket).get("Contents", [])}
    latest_key = params["output"].removeprefix(f"s3://{bucket}/") + "/latest.json"
    latest = json.loads(storage.get_object(Bucket=bucket, Key=latest_key)["Body"].read()) if latest_key in found else None
    server.stop()
    return {"state": str(run.state), "run_id": run.run_id, "commands": seen, "keys": sorted(found), "latest": latest}


if __name__ == "__main__":
    answer = globals()[sys.argv[1]](*(json.loads(argument) for argument in sys.argv[2:]))
    print(json.dumps(answer))
