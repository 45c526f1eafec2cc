package ai.owl.spark.cli;

import ai.owl.checkpoint.Storage;
import ai.owl.pipeline.RunStatus;
import ai.owl.spark.storage.HadoopStorage;
import com.fasterxml.jackson.databind.JsonNode;
import java.util.Locale;
import java.util.concurrent.Callable;
import org.apache.spark.SparkConf;
import org.apache.spark.deploy.SparkHadoopUtil;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** {@code owl status}: how far a run is, or was when it was broken off. */
@Command(
    name = "status",
    description =
        "Tells how far owl prune is with an output, what a run that was broken off has left, and"
            + " what is to be done.",
    mixinStandardHelpOptions = true,
    sortOptions = false)
final class StatusCommand implements Callable<Integer> {
  @Option(
      names = "--output",
      required = true,
      paramLabel = "URI",
      description = "Folder that owl prune writes to.")
  private String output;

  @Option(
      names = "--json",
      paramLabel = "FILE",
      description = "Also write the status as JSON to FILE.")
  private String json;

  @Override
  public Integer call() throws Exception {
    Storage storage = new HadoopStorage(SparkHadoopUtil.get().newConfiguration(new SparkConf()));
    JsonFile.requireWritable(storage, "--json", json);
    RunStatus status = RunStatus.of(storage, output);
    line("checkpoint    %s", status.whole() ? "whole" : "not there yet");
    line(
        "at work       %s",
        status
            .holder()
            .map(holder -> (status.gone() ? "nobody any more: dead is " : "") + holder)
            .orElse("nobody"));
    for (RunStatus.Run run : status.runs()) {
      JsonNode options = run.description().path("options");
      line("");
      line(
          "run           %s: %s %s to %s, allocation %s",
          run.fingerprint(),
          options.path("metric").asText(),
          options.path("pattern").asText(),
          options.path("sparsity").asText(),
          options.path("allocation").asText());
      line("model         %s", run.description().path("model").asText());
      line("dense model   %s", run.denseModel() ? "measured" : "not measured yet");
      for (RunStatus.Pass pass : run.passes()) {
        line(
            "%-13s %d of %d blocks%s",
            pass.name() + " pass",
            pass.results(),
            run.blocks(),
            pass.states() == 0 ? "" : ", hidden states kept before block " + pass.states());
      }
      line("shards        %d of %d written", run.shards(), run.blocks() + 1);
    }
    line("");
    line("%s", next(status));
    if (json != null) {
      JsonFile.write(storage, json, status.toJson());
    }
    return Main.DONE;
  }

  private static String next(RunStatus status) {
    if (status.isDone()) {
      return "Done.";
    }
    if (status.isAtWork()) {
      return "Under way: a sign of life " + status.silence().orElseThrow().toSeconds() + " s ago.";
    }
    if (status.holder().isPresent() && !status.gone()) {
      return "Without a sign of life"
          + status.silence().map(age -> " for " + age.toSeconds() + " s, by this clock").orElse("")
          + ". The same command, run again, finds out whether it is dead, and goes on.";
    }
    return status.whole()
        ? "The checkpoint is whole. The command that made it, run again, does what is left of it."
        : "Broken off. The same command, run again, goes on from here.";
  }

  private static void line(String format, Object... values) {
    System.out.println(String.format(Locale.ROOT, format, values));
  }
}
