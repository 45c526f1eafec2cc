#!/usr/bin/env bash
# Runs owl on Amazon EMR: as a step of a cluster (EMR on EC2), or as a job run of EMR Serverless. Wants the AWS CLI, with credentials
# by its own chain.
set -euo pipefail
me=emr.sh
# shellcheck source=submit/submission.bash
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/submission.bash"

usage() {
  cat <<'TEXT'
Usage: submit/emr.sh TARGET --jar URI [OPTIONS] -- COMMAND [OPTIONS OF owl]

TARGET is one of
  --cluster-id ID             a step of this cluster (EMR on EC2): release emr-7.x (Spark 3.5) or emr-spark-8.x (Spark 4.0)
  --application-id ID --execution-role ARN
                              a job run of this EMR Serverless application, with this role

  --jar URI                   where owl-spark-job.jar was copied to, such as s3://bucket/owl-spark-job.jar
  --preset NAME               conf/presets/NAME.conf, such as 7b; may be given again
  --conf KEY=VALUE            one more setting of Spark; may be given again, and wins over presets
  --name NAME                 of the step or job run (default: owl COMMAND)
  --region REGION             as of the AWS CLI
  --profile NAME              as of the AWS CLI: a profile of yours, never its secrets
  --dry-run                   print the command, and do not run it
  --request                   print the request to EMR's API as JSON, and do not send it: for other clients, such as Airflow's operators
  --help

Example:
  submit/emr.sh --cluster-id j-2AXXXXXXGAPLF --jar s3://bucket/owl-spark-job.jar --preset 7b -- \
    prune --model s3://bucket/llama-7b --calibration s3://bucket/c4.json.gz --output s3://bucket/llama-7b-owl70 --sparsity 0.7

The command of owl is checked here, by owl itself, before anything is submitted; that needs Java 17 and a built jar, and is left
out with a word where there is none. Exit codes: 0 submitted, 2 these arguments are wrong, else the AWS CLI's.
TEXT
}

cluster="" application="" role="" uri="" name="" region="" profile="" dry=false request=false
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
    --)
      shift
      command=("$@")
      break
      ;;
    --cluster-id | --application-id | --execution-role | --jar | --preset | --conf | --name | --region | --profile) ;;
    *) fail "Cannot use $1: it is no option of this script; the command of owl goes after --; see $me --help" ;;
  esac
  value="$(value_of "$1" $# "${2:-}")"
  case "$1" in
    --cluster-id) cluster="$value" ;;
    --application-id) application="$value" ;;
    --execution-role) role="$value" ;;
    --jar) uri="$value" ;;
    --preset) presets+=("$value") ;;
    --conf) confs+=("$value") ;;
    --name) name="$value" ;;
    --region) region="$value" ;;
    --profile) profile="$value" ;;
  esac
  shift 2
done

[ ${#command[@]} -gt 0 ] || fail "Cannot submit: no command of owl is given; add -- prune …"
refuse_help "${command[@]}"
[ -n "$cluster$application" ] || fail "Cannot submit: give --cluster-id, or --application-id and --execution-role"
[ -z "$cluster" ] || [ -z "$application" ] || fail "Cannot submit to both --cluster-id and --application-id: give one"
[ -z "$cluster" ] || [ -z "$role" ] || fail "Cannot use --execution-role with --cluster-id: it is for EMR Serverless"
[ -z "$cluster" ] || [[ "$cluster" =~ ^j-[A-Z0-9]+$ ]] || fail "Cannot use --cluster-id $cluster: it is like j-2AXXXXXXGAPLF"
[ -z "$application" ] || [[ "$application" =~ ^[0-9a-z]+$ ]] || fail "Cannot use --application-id $application: it is like 00f1r2example"
[ -z "$application" ] || [ -n "$role" ] || fail "Cannot submit to EMR Serverless: give --execution-role"
[ -z "$role" ] || [[ "$role" =~ ^arn:aws[a-z-]*:iam::[0-9]{12}:role/.+$ ]] || fail "Cannot use --execution-role $role: it is like arn:aws:iam::123456789012:role/NAME"
[ -n "$uri" ] || fail "Cannot submit: give --jar, where owl-spark-job.jar was copied to"
[[ "$uri" =~ ^s3a?://[^/]+/.+\.jar$ ]] || fail "Cannot use --jar $uri: it is like s3://bucket/owl-spark-job.jar"
! $request || [ -z "$region$profile" ] || fail "Cannot use --region or --profile with --request: they are for the AWS CLI, and no part of what it sends"
for preset in ${presets[@]+"${presets[@]}"}; do
  file="$(preset_file "$preset")"
  for own in s3a hadoop-aws; do
    [ ! "$file" -ef "$root/conf/$own.conf" ] || fail "Cannot use --preset $preset on EMR: its Spark has S3, with settings of its own; leave it out, and write s3://"
  done
done
take_settings
[ -z "$application" ] || fill_memory 2048 # the least that a worker of EMR Serverless has
check_command "${command[@]}"
[ -n "$name" ] || name="owl ${command[0]}"

if [ -n "$cluster" ]; then
  arguments='"spark-submit","--deploy-mode","cluster","--class","ai.owl.spark.cli.Main"'
  for setting in "${settings[@]}"; do
    arguments+=",\"--conf\",$(json_string "$setting")"
  done
  arguments+=",$(json_string "$uri")"
  for argument in "${command[@]}"; do
    arguments+=",$(json_string "$argument")"
  done
  step="\"Name\":$(json_string "$name"),\"ActionOnFailure\":\"CONTINUE\""
  program="\"Jar\":\"command-runner.jar\",\"Args\":[$arguments]"
  # The AWS CLI spells a step its own way.
  steps="[{\"Type\":\"CUSTOM_JAR\",$step,$program}]"
  body="{\"JobFlowId\":$(json_string "$cluster"),\"Steps\":[{$step,\"HadoopJarStep\":{$program}}]}"
  call=(aws emr add-steps --cluster-id "$cluster" --steps "$steps")
else
  arguments=""
  for argument in "${command[@]}"; do
    arguments+="${arguments:+,}$(json_string "$argument")"
  done
  # EMR Serverless splits this string at spaces, quotes taken into account.
  parameters="--class ai.owl.spark.cli.Main"
  for setting in "${settings[@]}"; do
    [[ "$setting" != *\"* ]] || fail "Cannot hand on to EMR Serverless a setting with a quotation mark: $setting"
    case "$setting" in
      *[[:space:]]*) parameters+=" --conf \"$setting\"" ;;
      *) parameters+=" --conf $setting" ;;
    esac
  done
  driver="{\"sparkSubmit\":{\"entryPoint\":$(json_string "$uri"),\"entryPointArguments\":[$arguments],\"sparkSubmitParameters\":$(json_string "$parameters")}}"
  body="{\"applicationId\":$(json_string "$application"),\"executionRoleArn\":$(json_string "$role"),\"name\":$(json_string "$name"),\"jobDriver\":$driver}"
  call=(aws emr-serverless start-job-run --application-id "$application" --execution-role-arn "$role" --name "$name" --job-driver "$driver")
fi
if $request; then
  printf '%s\n' "$body"
  exit 0
fi
[ -z "$region" ] || call+=(--region "$region")
[ -z "$profile" ] || call+=(--profile "$profile")
submit_by aws "AWS CLI"
