package ai.owl.spark.cli;

import ai.owl.allocation.AlphaFit;
import ai.owl.allocation.Rounding;
import ai.owl.calibration.WindowSampling;
import ai.owl.checkpoint.MalformedCheckpointException;
import ai.owl.kernel.Compute;
import ai.owl.pipeline.Propagation;
import ai.owl.pruning.ComparisonGroup;
import ai.owl.zeroshot.Scoring;
import java.io.EOFException;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.AccessDeniedException;
import java.nio.file.FileSystemException;
import java.nio.file.NoSuchFileException;
import java.util.Arrays;
import java.util.Optional;
import java.util.function.Function;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.ScopeType;

/**
 * {@code owl}: prunes, measures and inspects checkpoints on Spark.
 *
 * <p>Exit codes: 0 done; 2 the command or its input is wrong, said in one message; 1 anything else.
 */
@Command(
    name = "owl",
    description = "Prunes large language models on Spark: OWL with Wanda, SparseGPT and others.",
    footer = {
      "",
      "submit/owl COMMAND --help tells more. submit/owl itself takes",
      "  --dry-run               print the command that would run, and do not run it",
      "  --preset NAME           on a cluster: settings of conf/presets/NAME.conf, such as 7b,",
      "                          of conf/NAME.conf, such as s3a, or of a file; may be repeated",
      "  -- SPARK-SUBMIT-ARGS    run on a cluster, such as: -- --master yarn",
      "and from the environment",
      "  OWL_MEMORY              heap of an embedded run, such as 8g",
      "  OWL_JAVA_OPTS           more options of an embedded run's Java",
      "  OWL_JAR                 the job's jar, if not the one that is built here",
      "  SPARK_HOME, JAVA_HOME, HADOOP_CONF_DIR"
    },
    mixinStandardHelpOptions = true,
    versionProvider = Main.Version.class,
    synopsisSubcommandLabel = "COMMAND",
    subcommands = {
      PruneCommand.class,
      PlanCommand.class,
      EvaluateCommand.class,
      StatusCommand.class,
      InspectCommand.class,
      GenerateCommand.class,
      SweepCommand.class,
      CalibrateCommand.class,
      AllocateCommand.class,
      DemoCommand.class,
      CommandLine.HelpCommand.class
    })
public final class Main {
  static final int DONE = 0;
  static final int OURS = 1;
  static final int YOURS = 2;

  /**
   * Before a command: parse it as if to run it, and do not. What submits it elsewhere asks this.
   */
  static final String CHECK = "--check";

  @Option(
      names = "--verbose",
      scope = ScopeType.INHERIT,
      description = "Show Spark's log, and stack traces of failures.")
  private boolean verbose;

  /** Runs a command and ends the process unless all went well, which Spark on YARN prefers. */
  public static void main(String[] args) {
    int code = run(args);
    if (code != DONE) {
      System.exit(code);
    }
  }

  /** Runs a command and returns its exit code. */
  static int run(String... args) {
    if (args.length > 1 && args[0].equals(CHECK)) {
      return run(parsed -> DONE, Arrays.copyOfRange(args, 1, args.length));
    }
    Invocation.begin(args);
    return run(new CommandLine.RunLast(), args);
  }

  private static int run(CommandLine.IExecutionStrategy strategy, String... args) {
    Main main = new Main();
    CommandLine commandLine = new CommandLine(main);
    register(commandLine, PrunerFlags.Metric.class);
    register(commandLine, ComparisonGroup.class);
    register(commandLine, Rounding.class);
    register(commandLine, AlphaFit.class);
    commandLine.registerConverter(AllocationChoice.class, new AllocationChoice.Converter());
    register(commandLine, Propagation.class);
    register(commandLine, Compute.class);
    register(commandLine, WindowSampling.class);
    register(commandLine, Scoring.class);
    register(commandLine, Double.class, Double::valueOf, "a number");
    register(commandLine, double.class, Double::valueOf, "a number");
    register(commandLine, int.class, Integer::valueOf, "a whole number");
    register(commandLine, long.class, Long::valueOf, "a whole number");
    commandLine.setExpandAtFiles(false);
    commandLine.setUsageHelpAutoWidth(true);
    commandLine.setParameterExceptionHandler(Main::refuse);
    commandLine.setExecutionExceptionHandler(
        (failure, command, parsed) -> main.report(failure, command));
    commandLine.setExecutionStrategy(
        parsed -> {
          Logging.configure(main.verbose);
          return strategy.execute(parsed);
        });
    if (args.length == 0) {
      commandLine.usage(System.err);
      return YOURS;
    }
    if (!args[0].startsWith("-") && !commandLine.getSubcommands().containsKey(args[0])) {
      // picocli would show the general help for "prun --help".
      System.err.println(
          problem(
              "Cannot run "
                  + args[0]
                  + ": the commands are "
                  + String.join(", ", commandLine.getSubcommands().keySet())));
      return YOURS;
    }
    Interruption.watch();
    try {
      return commandLine.execute(args);
    } catch (OutOfMemoryError e) {
      System.err.println(problem(outOfMemory(" (" + e.getMessage() + ")")));
      return OURS;
    }
  }

  static String outOfMemory(String what) {
    return "Cannot go on: not enough memory"
        + what
        + "; give more with OWL_MEMORY=…g, or on a cluster with --driver-memory,"
        + " --executor-memory and spark.executor.memoryOverhead, or use fewer --sequences or a"
        + " shorter --length";
  }

  private static <E extends Enum<E>> void register(CommandLine commandLine, Class<E> type) {
    commandLine.registerConverter(type, new Choice<>(type));
  }

  /** Instead of picocli's "is not a double". */
  private static <T> void register(
      CommandLine commandLine, Class<T> type, Function<String, T> parser, String what) {
    commandLine.registerConverter(
        type,
        value -> {
          try {
            return parser.apply(value);
          } catch (NumberFormatException e) {
            throw new CommandLine.TypeConversionException("'" + value + "' is not " + what);
          }
        });
  }

  private static int refuse(CommandLine.ParameterException failure, String[] args) {
    CommandLine command = failure.getCommandLine();
    String message = failure.getMessage();
    System.err.println(
        problem(message.startsWith("Cannot ") ? message : "Cannot run this command: " + message));
    CommandLine.UnmatchedArgumentException.printSuggestions(
        failure, new java.io.PrintWriter(System.err, true));
    System.err.println("See: " + command.getCommandSpec().qualifiedName() + " --help");
    return YOURS;
  }

  private int report(Exception failure, CommandLine command) {
    if (Interruption.isUnderWay()) {
      Interruption.say(
          problem(
              "interrupted"
                  + (command.getCommand() instanceof SweepCommand
                      ? "; the same command goes on behind the rows it has"
                      : command.getCommand() instanceof PruneCommand
                          ? "; the same command goes on from what is done"
                          : "")));
      return OURS;
    }
    Optional<String> yours = inputProblem(failure);
    System.err.println(problem(yours.orElseGet(() -> describe(failure))));
    if (verbose) {
      failure.printStackTrace();
    } else if (yours.isEmpty()) {
      System.err.println("Run again with --verbose to see where it happened.");
    }
    return yours.isPresent() ? YOURS : OURS;
  }

  /** What the user can mend, if that is what went wrong. */
  private static Optional<String> inputProblem(Throwable failure) {
    if (failure instanceof UncheckedIOException unchecked) {
      return inputProblem(unchecked.getCause());
    }
    if (failure instanceof MalformedCheckpointException) {
      return Optional.of(failure.getMessage());
    }
    if (failure instanceof IllegalArgumentException
        && failure.getMessage() != null
        && failure.getMessage().startsWith("Cannot ")) {
      return Optional.of(failure.getMessage());
    }
    if (failure instanceof EOFException) {
      return Optional.empty();
    }
    if (failure instanceof FileNotFoundException || failure instanceof NoSuchFileException) {
      return Optional.of("Cannot read " + failure.getMessage());
    }
    if (failure instanceof AccessDeniedException denied) {
      return Optional.of(
          "Cannot access " + denied.getFile() + ": " + reason(denied, "permission denied"));
    }
    if (failure instanceof FileSystemException file) {
      return Optional.of(
          "Cannot use " + file.getFile() + ": " + reason(file, file.getClass().getSimpleName()));
    }
    return Optional.empty();
  }

  private static String reason(FileSystemException failure, String otherwise) {
    return failure.getReason() == null ? otherwise : failure.getReason();
  }

  /** What ended executors, if that is what ended the run. */
  private static Optional<String> lostExecutors(Throwable failure) {
    for (Throwable cause = failure; cause != null; cause = cause.getCause()) {
      String message = String.valueOf(cause.getMessage());
      if (message.contains("ExecutorLostFailure")
          || message.contains("Master removed our application")) {
        int reason = message.indexOf("Reason: ");
        return Optional.of(
            reason < 0 ? "" : message.substring(reason + 8).lines().findFirst().orElse("").strip());
      }
    }
    return Optional.empty();
  }

  private static boolean isStopped(Throwable failure) {
    for (Throwable cause = failure; cause != null; cause = cause.getCause()) {
      String message = String.valueOf(cause.getMessage());
      if (message.contains("on a stopped SparkContext")
          || message.contains("All masters are unresponsive")) {
        return true;
      }
    }
    return false;
  }

  private static boolean isOutOfMemory(Throwable failure) {
    for (Throwable cause = failure; cause != null; cause = cause.getCause()) {
      if (cause.toString().contains("OutOfMemoryError")) { // a task's is told of in the message
        return true;
      }
    }
    return false;
  }

  private static String describe(Throwable failure) {
    if (isOutOfMemory(failure)) {
      return outOfMemory(" for a task");
    }
    Optional<String> lost = lostExecutors(failure);
    if (lost.isPresent()) {
      return "Cannot go on: executors were lost again and again"
          + (lost.get().isEmpty() ? "" : " (" + lost.get() + ")")
          + "; if they ran out of memory (code 52 or 137), give them more with --executor-memory and"
          + " spark.executor.memoryOverhead, of which owl plan says how much, or fewer tasks at a"
          + " time with spark.task.cpus";
    }
    if (isStopped(failure)) {
      return "Cannot go on: Spark has stopped: the master "
          + System.getProperty("spark.master", "")
          + " did not answer, or ended this application; its log and Spark's, above, tell why";
    }
    String message = failure.getMessage();
    String first = message == null ? "" : message.lines().findFirst().orElse("");
    if (first.contains("INVALID_DRIVER_MEMORY")) {
      return "Cannot run with so little memory: "
          + first.replaceAll("^\\[[^]]*\\] ", "")
          + " With submit/owl, OWL_MEMORY=1g or more.";
    }
    if (failure instanceof IOException && first.startsWith("No space left on device")) {
      return "Cannot go on: no space is left where the output or Spark's local files go;"
          + " free some, or give another --output or spark.local.dir";
    }
    if (failure instanceof IOException) {
      return "Cannot go on: " + (first.isEmpty() ? failure.getClass().getSimpleName() : first);
    }
    return failure.getClass().getSimpleName() + (first.isEmpty() ? "" : ": " + first);
  }

  static String problem(String message) {
    return "owl: " + message;
  }

  /** Version of the jar. */
  static final class Version implements CommandLine.IVersionProvider {
    @Override
    public String[] getVersion() {
      String version = Main.class.getPackage().getImplementationVersion();
      return new String[] {"owl-spark " + (version == null ? "(not packaged)" : version)};
    }
  }
}
