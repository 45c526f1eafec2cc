# What stands after "--" of submit/owl, which sources this after submission.bash: arguments of spark-submit, in the array $spark. What
# they say has to be known where Spark would drop settings of conf/, or would not do what it is told.

# Takes $spark apart: $options_of_spark has OPTION=VALUE, $confs KEY=VALUE, $properties what the file of properties says that spark-submit
# reads. An option and its value become two words, as which spark-submit takes them too.
options_of_spark=() confs=() properties=() properties_file=""
take_spark_arguments() {
  local i word value words=()
  for ((i = 0; i < ${#spark[@]}; i++)); do
    word="${spark[i]}"
    case "$word" in
      --dry-run | --preset | --preset=*) fail "Cannot use $word behind --: it is an option of $me itself, and goes before --" ;;
      --supervise | --verbose | -v | --help | -h | --version | --usage-error | --load-spark-defaults)
        words+=("$word")
        continue
        ;;
      --?*=*)
        value="$(value_of "${word%%=*}" 2 "${word#*=}")"
        word="${word%%=*}"
        ;;
      -?*)
        value="$(value_of "$word" $((${#spark[@]} - i)) "${spark[i + 1]:-}")"
        i=$((i + 1))
        ;;
      *) fail "Cannot use $word behind --: it is no option of spark-submit; the command of owl goes before --" ;;
    esac
    words+=("$word" "$value")
    options_of_spark+=("$word=$value")
    case "$word" in
      --conf | -c) confs+=("$value") ;;
      --properties-file) properties_file="$value" ;;
    esac
  done
  spark=(${words[@]+"${words[@]}"})
  [ -z "$properties_file" ] || [ -f "$properties_file" ] || fail "Cannot read --properties-file $properties_file: it is not there"
  read_properties
}

# Reads the user's file of properties, or else the installation's, as spark-submit does.
read_properties() {
  local file="${properties_file:-${SPARK_CONF_DIR:-${SPARK_HOME:-$(dirname "$(dirname "$(readlink -f "$launcher")")")}/conf}/spark-defaults.conf}" line
  [ -f "$file" ] || return 0
  while IFS= read -r line || [ -n "$line" ]; do
    [[ "$line" =~ ^[[:space:]]*([^[:space:]=:#!][^[:space:]=:]*)[[:space:]]*[=:]?[[:space:]]*((.*[^[:space:]])?)[[:space:]]*$ ]] || continue
    [[ "${BASH_REMATCH[1]}" != spark.*.extraJavaOptions || "${BASH_REMATCH[2]}" != *\\* ]] ||
      fail "Cannot add conf/'s flags to ${BASH_REMATCH[1]} of $file: there is a backslash in it; give it by --conf"
    properties+=("${BASH_REMATCH[1]}=${BASH_REMATCH[2]}")
  done <"$file"
}

# What spark-submit makes of an option and the key that it stands for; fails where nobody says it.
told() { # OPTION KEY
  last_of "$1" ${options_of_spark[@]+"${options_of_spark[@]}"} || last_of "$2" ${confs[@]+"${confs[@]}"} ||
    last_of "$2" ${properties[@]+"${properties[@]}"}
}

# Whether the driver runs on a standalone cluster.
drives_in_standalone_cluster() {
  local master mode
  master="$(told --master spark.master || printf '%s' "${MASTER:-}")"
  mode="$(told --deploy-mode spark.submit.deployMode || printf '%s' "${DEPLOY_MODE:-}")"
  [[ "$master" == spark://* && "$mode" == cluster ]]
}

# Tells such a driver what Spark leaves out there, and refuses what Spark would do by half.
prepare_standalone_cluster() {
  local flags
  # Spark gives these flags to every JVM that it starts, but for this driver. They go before what is there: set_setting would put them behind.
  flags="$(grep -v '^#' "$root/conf/jvm.options" | tr '\n' ' ')$(setting_of spark.driver.extraJavaOptions)"
  unset_setting spark.driver.extraJavaOptions
  set_setting spark.driver.extraJavaOptions "$flags"
  # Or spark-submit would end while the run begins.
  last_of spark.standalone.submit.waitAppCompletion "${settings[@]}" >/dev/null || set_setting spark.standalone.submit.waitAppCompletion true
  [[ "$jar" != local:* ]] ||
    fail "Cannot use OWL_JAR $jar in cluster deploy mode on a standalone cluster: its workers do not read local: there; give the path alone, if they all have it"
  if told --packages spark.jars.packages >/dev/null || last_of spark.jars.packages "${settings[@]}" >/dev/null; then
    fail "Cannot use spark.jars.packages (which --packages and --preset hadoop-aws set) in cluster deploy mode on a standalone cluster: Spark gives packages to the driver there, and to no executor; use --deploy-mode client, or get the jars and give them by --jars, at addresses that every machine reads"
  fi
}

unset_setting() { # KEY
  local each kept=()
  for each in "${settings[@]}"; do
    [ "${each%%=*}" = "$1" ] || kept+=("$each")
  done
  settings=(${kept[@]+"${kept[@]}"})
}

# Leaves to the user's properties file what it sets, since spark-submit would let --conf win. A JVM's options are conf/'s and the user's.
join_user_settings() {
  local key each i value
  for each in ${properties[@]+"${properties[@]}"}; do
    key="${each%%=*}"
    [ -z "$properties_file" ] || [[ "$key" == spark.*.extraJavaOptions ]] || unset_setting "$key"
  done
  for key in spark.driver.extraJavaOptions spark.executor.extraJavaOptions; do
    for ((i = 0; i < ${#spark[@]}; i++)); do
      case "$key ${spark[i]}" in
        "$key --conf" | "$key -c")
          i=$((i + 1))
          [[ "${spark[i]}" != "$key="* ]] || spark[i]="$key=$(setting_of $key) ${spark[i]#*=}"
          ;;
        "spark.driver.extraJavaOptions --driver-java-options")
          i=$((i + 1))
          spark[i]="$(setting_of $key) ${spark[i]}"
          ;;
      esac
    done
    ! value="$(last_of $key ${properties[@]+"${properties[@]}"})" || set_setting $key "$value"
  done
}
