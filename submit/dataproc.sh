#!/usr/bin/env bash
# Runs owl on Google Cloud's Dataproc (Managed Service for Apache Spark): as a job of a cluster, or as a serverless batch. Wants
# gcloud, with credentials by its own chain.
set -euo pipefail
me=dataproc.sh
# shellcheck source=submit/submission.bash
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/submission.bash"

usage() {
  cat <<'TEXT'
Usage: submit/dataproc.sh TARGET --region REGION --jar URI [OPTIONS] -- COMMAND [OPTIONS OF owl]

TARGET is one of
  --cluster NAME              a job of this cluster: image 2.3 with Java 17 (Spark 3.5), or 3.0 (Spark 4.1)
  --batch ID                  a serverless batch of this name: runtime 3.0 (Spark 4.0), which --version asks for

  --jar URI                   where owl-spark-job.jar was copied to, such as gs://bucket/owl-spark-job.jar
  --preset NAME               conf/presets/NAME.conf, such as 7b; may be given again
  --conf KEY=VALUE            one more setting of Spark; may be given again, and wins over presets
  --version V                 runtime of a batch (default: 3.0)
  --service-account EMAIL     that a batch runs as
  --subnet NAME               network of a batch
  --project ID                as of gcloud
  --async                     do not wait for the end
  --dry-run                   print the command, and do not run it
  --request                   print the request to Dataproc's API as JSON, and do not send it: for other clients, such as Airflow's operators
  --help

Example:
  submit/dataproc.sh --cluster owls --region europe-west4 --jar gs://bucket/owl-spark-job.jar --preset 7b -- \
    prune --model gs://bucket/llama-7b --calibration gs://bucket/c4.json.gz --output gs://bucket/llama-7b-owl70 --sparsity 0.7

A batch has 1 to 7.25 GiB of memory a core: what a preset needs less is added as overhead.
The command of owl is checked here, by owl itself, before anything is submitted; that needs Java 17 and a built jar, and is left
out with a word where there is none. Exit codes: 0 submitted (and done, without --async), 2 these arguments are wrong, else gcloud's.
TEXT
}

cluster="" batch="" uri="" version="" account="" subnet="" region="" project="" dry=false async=false request=false
presets=() confs=() command=()
while [ $# -gt 0 ]; do
  case "$1" in
    --help)
      usage
      exit 0
      ;;
    --dry-run)
      dry=true
      shift
      continue
      ;;
    --request)
      request=true
      shift
      continue
      ;;
    --async)
      async=true
      shift
      continue
      ;;
    --)
      shift
      command=("$@")
      break
      ;;
    --cluster | --batch | --jar | --preset | --conf | --version | --service-account | --subnet | --region | --project) ;;
    *) fail "Cannot use $1: it is no option of this script; the command of owl goes after --; see $me --help" ;;
  esac
  value="$(value_of "$1" $# "${2:-}")"
  case "$1" in
    --cluster) cluster="$value" ;;
    --batch) batch="$value" ;;
    --jar) uri="$value" ;;
    --preset) presets+=("$value") ;;
    --conf) confs+=("$value") ;;
    --version) version="$value" ;;
    --service-account) account="$value" ;;
    --subnet) subnet="$value" ;;
    --region) region="$value" ;;
    --project) project="$value" ;;
  esac
  shift 2
done

[ ${#command[@]} -gt 0 ] || fail "Cannot submit: no command of owl is given; add -- prune …"
refuse_help "${command[@]}"
[ -n "$cluster$batch" ] || fail "Cannot submit: give --cluster, or --batch"
[ -z "$cluster" ] || [ -z "$batch" ] || fail "Cannot submit to both --cluster and --batch: give one"
[ -z "$cluster" ] || [ -z "$version$account$subnet" ] || fail "Cannot use --version, --service-account or --subnet with --cluster: they are for a --batch"
[ -z "$batch" ] || [[ "$batch" =~ ^[a-z0-9][a-z0-9-]{2,61}[a-z0-9]$ ]] || fail "Cannot use --batch $batch: it is 4 to 63 of a-z, 0-9 and -"
[ -z "$cluster" ] || [[ "$cluster" =~ ^[a-z][a-z0-9-]*$ ]] || fail "Cannot use --cluster $cluster: it is of a-z, 0-9 and -"
[ -n "$region" ] || fail "Cannot submit: give --region"
[ -n "$uri" ] || fail "Cannot submit: give --jar, where owl-spark-job.jar was copied to"
[[ "$uri" =~ ^gs://[^/]+/.+\.jar$ ]] || fail "Cannot use --jar $uri: it is like gs://bucket/owl-spark-job.jar"
! $request || ! $async || fail "Cannot use --async with --request: it is for gcloud, and no part of what it sends"
take_settings
[ -z "$batch" ] || fill_memory 1024 # the least that a batch's machines have
check_command "${command[@]}"

if $request; then
  arguments="" properties=""
  for argument in "${command[@]}"; do
    arguments+="${arguments:+,}$(json_string "$argument")"
  done
  for setting in "${settings[@]}"; do
    properties+="${properties:+,}$(json_string "${setting%%=*}"):$(json_string "${setting#*=}")"
  done
  job="\"main_class\":\"ai.owl.spark.cli.Main\",\"jar_file_uris\":[$(json_string "$uri")],\"args\":[$arguments]"
  body="\"region\":$(json_string "$region")"
  [ -z "$project" ] || body+=",\"project_id\":$(json_string "$project")"
  if [ -n "$cluster" ]; then
    body+=",\"job\":{\"placement\":{\"cluster_name\":$(json_string "$cluster")},\"spark_job\":{$job,\"properties\":{$properties}}}"
  else
    machines=""
    [ -z "$account" ] || machines+="\"service_account\":$(json_string "$account")"
    [ -z "$subnet" ] || machines+="${machines:+,}\"subnetwork_uri\":$(json_string "$subnet")"
    body+=",\"batch_id\":$(json_string "$batch"),\"batch\":{\"spark_batch\":{$job}"
    body+=",\"runtime_config\":{\"version\":$(json_string "${version:-3.0}"),\"properties\":{$properties}}"
    [ -z "$machines" ] || body+=",\"environment_config\":{\"execution_config\":{$machines}}"
    body+="}"
  fi
  printf '{%s}\n' "$body"
  exit 0
fi

# gcloud splits properties at commas, or at what stands between two ^: one that no setting has.
separator=""
for candidate in ',' '#' '|' '~' '@'; do
  case "${settings[*]}" in
    *"$candidate"*) ;;
    *)
      separator="$candidate"
      break
      ;;
  esac
done
[ -n "$separator" ] || fail "Cannot hand on these settings: there is , # | ~ and @ in them, and nothing left to separate them"
properties="$(IFS="$separator" && printf '%s' "${settings[*]}")"
[ "$separator" = , ] || properties="^$separator^$properties"

if [ -n "$cluster" ]; then
  call=(gcloud dataproc jobs submit spark --cluster="$cluster")
else
  call=(gcloud dataproc batches submit spark --batch="$batch" --version="${version:-3.0}")
  [ -z "$account" ] || call+=(--service-account="$account")
  [ -z "$subnet" ] || call+=(--subnet="$subnet")
fi
call+=(--region="$region")
[ -z "$project" ] || call+=(--project="$project")
! $async || call+=(--async)
call+=(--class=ai.owl.spark.cli.Main --jars="$uri" --properties="$properties" -- "${command[@]}")
submit_by gcloud gcloud
