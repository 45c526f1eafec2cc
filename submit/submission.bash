# What the scripts that submit share; they source it. Sets $here, $root and $jar; expects $me, the script's name in its messages.

# Java reads arguments in the locale's encoding, and the C locale's is ASCII.
[ "$(locale charmap 2>/dev/null || echo UTF-8)" = "UTF-8" ] || export LC_ALL=C.UTF-8

here="$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd)"
root="$(dirname "$here")"
built="$root/owl-spark-job/target/owl-spark-job.jar"
jar="${OWL_JAR:-$built}"

fail() {
  echo "$me: $1" >&2
  exit 2
}

# Prints the value of an option that was given, or refuses.
value_of() { # OPTION COUNT-OF-ARGUMENTS [VALUE]
  [ "$2" -gt 1 ] && [ -n "${3:-}" ] || fail "Cannot use $1: it needs a value; see $me --help"
  printf '%s' "$3"
}

# The file of a preset: a name of conf/presets or conf, or a path.
preset_file() {
  local name
  for name in "$root/conf/presets/$1.conf" "$root/conf/$1.conf" "$1"; do
    if [ -f "$name" ]; then
      printf '%s' "$name"
      return
    fi
  done
  fail "Cannot find --preset $1: there are $(cd "$root/conf/presets" && printf '%s ' *.conf | sed 's/\.conf / /g')s3a and hadoop-aws; or give a file of Spark properties"
}

# The last value that a list of KEY=VALUE has for a key; fails where it has none.
last_of() { # KEY [KEY=VALUE ...]
  local key="$1" each value="" found=1
  shift
  for each in "$@"; do
    [ "${each%%=*}" != "$key" ] || { value="${each#*=}" && found=0; }
  done
  printf '%s' "$value"
  return $found
}

# Sets a key of the array $settings in place of what was there. A JVM's options come behind what was there, since conf/ has some
# that no run goes without.
settings=()
set_setting() { # KEY VALUE
  local each value="$2" kept=()
  for each in ${settings[@]+"${settings[@]}"}; do
    if [ "${each%%=*}" != "$1" ]; then
      kept+=("$each")
    elif [[ "$1" == spark.*.extraJavaOptions ]]; then
      value="${each#*=} $value"
    fi
  done
  settings=(${kept[@]+"${kept[@]}"} "$1=$value")
}

# Adds to the array $settings what the files given say, a later one's in place of an earlier one's.
read_settings() {
  local file line
  for file in "$@"; do
    while IFS= read -r line || [ -n "$line" ]; do
      [[ "$line" =~ ^[[:space:]]*(#.*)?$ ]] && continue
      [[ "$line" =~ ^[[:space:]]*([^[:space:]=:]+)[[:space:]]*[=:]?[[:space:]]*(.*[^[:space:]])[[:space:]]*$ ]] ||
        fail "Cannot read $file: no key and value: $line"
      set_setting "${BASH_REMATCH[1]}" "${BASH_REMATCH[2]}"
    done <"$file"
  done
}

# A secret on a command line can be read by everybody on the machine, and in the platform's pages.
refuse_secrets() {
  local argument
  for argument in "$@"; do
    if [[ "$argument" =~ (fs\.s3a\.(access|secret)\.key|fs\.s3a\.session\.token|[Aa][Ww][Ss]_(SECRET_ACCESS_KEY|SESSION_TOKEN|ACCESS_KEY_ID)|auth\.service\.account\.private\.key) ]]; then
      fail "Cannot submit ${BASH_REMATCH[1]} on a command line, where others can read it: let the machines' role, the environment or a credential provider say it"
    fi
  done
}

# A jar that Spark gets by its address, and that is no file here.
has_address() { # JAR
  [[ "$1" =~ ^[A-Za-z][A-Za-z0-9+.-]*:/ ]]
}

# Help is told here, not by a cluster.
refuse_help() { # COMMAND [OPTIONS]
  case "$1 ${2:-}" in
    "help "* | "--help "* | "-h "* | "--version "* | "-V "* | *" --help" | *" -h")
      fail "Cannot submit $1${2:+ $2}: it would be said on the cluster; ask submit/owl $1${2:+ $2} here"
      ;;
  esac
}

# Asks the command line itself whether it takes this command, before a cluster is kept waiting.
check_command() {
  local java="${JAVA_HOME:+$JAVA_HOME/bin/}java" classes="$root/owl-spark-job/target/spark.classpath" jar="$jar" path said status=0
  ! has_address "$jar" || jar="$built"
  if ! command -v "$java" >/dev/null; then
    echo "$me: the command is not checked before it is submitted: there is no java here" >&2
    return
  fi
  if [ ! -f "$jar" ]; then
    echo "$me: the command is not checked before it is submitted: there is no $jar here; build with mvn package, or set OWL_JAR" >&2
    return
  fi
  if [ -f "$classes" ]; then
    path="$(cat "$classes")"
  elif [ -n "${SPARK_HOME:-}" ]; then
    path="$SPARK_HOME/jars/*"
  else
    echo "$me: the command is not checked before it is submitted: neither $classes is here, nor SPARK_HOME set" >&2
    return
  fi
  said="$("$java" -XX:TieredStopAtLevel=1 -cp "$jar:$path" ai.owl.spark.cli.Main --check "$@" 2>&1)" || status=$?
  if [ "$status" -ne 0 ]; then
    printf '%s\n' "$said" >&2
    exit 2
  fi
}

# Settings of every run, of the array $presets, and of the array $confs.
take_settings() {
  local files=("$root/conf/spark-defaults.conf") preset file setting
  refuse_secrets "${command[@]}" ${confs[@]+"${confs[@]}"}
  for preset in ${presets[@]+"${presets[@]}"}; do
    # In a variable of its own: a failure in an assignment stops the script, one among arguments does not.
    file="$(preset_file "$preset")"
    files+=("$file")
  done
  read_settings "${files[@]}"
  for setting in ${confs[@]+"${confs[@]}"}; do
    [[ "$setting" == spark.*=* ]] || fail "Cannot use --conf $setting: it is spark.KEY=VALUE"
    set_setting "${setting%%=*}" "${setting#*=}"
  done
}

# The value of a key of $settings, or nothing.
setting_of() { # KEY
  last_of "$1" "${settings[@]}" || true
}

# MiB of a size of Spark's, such as 6g.
mebibytes() { # KEY SIZE
  [[ "$2" =~ ^([1-9][0-9]*)([mMgG])[bB]?$ ]] || fail "Cannot use $1=$2: it is a size such as 6g or 900m"
  case "${BASH_REMATCH[2]}" in
    m | M) printf '%d' "${BASH_REMATCH[1]}" ;;
    *) printf '%d' $((BASH_REMATCH[1] * 1024)) ;;
  esac
}

# Serverless machines have a least memory for each core: presets that need less get the rest as overhead.
fill_memory() { # MIB-PER-CORE
  local part heap cores overhead least other kept
  for part in driver executor; do
    heap="$(setting_of spark.$part.memory)"
    [ -n "$heap" ] || continue
    heap="$(mebibytes spark.$part.memory "$heap")"
    cores="$(setting_of spark.$part.cores)"
    [ -n "$cores" ] || cores=4
    [[ "$cores" =~ ^[1-9][0-9]{0,2}$ ]] || fail "Cannot use spark.$part.cores=$cores: it is a whole number"
    overhead="$(setting_of spark.$part.memoryOverhead)"
    [ -z "$overhead" ] || overhead="$(mebibytes spark.$part.memoryOverhead "$overhead")"
    least=$((cores * $1 - heap))
    [ "${overhead:-0}" -lt "$least" ] || continue
    kept=()
    for other in "${settings[@]}"; do
      case "${other%%=*}" in
        spark.$part.cores | spark.$part.memoryOverhead) ;;
        *) kept+=("$other") ;;
      esac
    done
    settings=("${kept[@]}" "spark.$part.cores=$cores" "spark.$part.memoryOverhead=${least}m")
  done
}

# A string as JSON writes it.
json_string() {
  local text="$1"
  [[ "$text" != *[[:cntrl:]]* ]] || fail "Cannot submit an argument with a line break or another control character"
  text="${text//\\/\\\\}"
  text="${text//\"/\\\"}"
  printf '"%s"' "$text"
}

# Runs the command of the array $call, or prints it if $dry.
submit_by() { # PROGRAM ITS-NAME
  if $dry; then
    local printed
    printed="$(printf '%q ' "${call[@]}")"
    printf '%s\n' "${printed% }"
    exit 0
  fi
  command -v "$1" >/dev/null || fail "Cannot submit: $2 is not installed; install it, or see the command by --dry-run"
  exec "${call[@]}"
}
