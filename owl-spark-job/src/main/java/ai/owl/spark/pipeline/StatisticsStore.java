package ai.owl.spark.pipeline;

import ai.owl.allocation.Evidence;
import ai.owl.allocation.LayerProfile;
import ai.owl.allocation.LinearProfile;
import ai.owl.calibration.BlockStatistics;
import ai.owl.calibration.ColumnNorms;
import ai.owl.checkpoint.MalformedCheckpointException;
import ai.owl.checkpoint.Storage;
import ai.owl.kernel.Compute;
import ai.owl.kernel.ScoreHistogram;
import ai.owl.kernel.Spectrum;
import ai.owl.model.BlockLayout;
import ai.owl.model.LinearInput;
import ai.owl.pipeline.MeasuredSamples;
import ai.owl.spark.storage.ParquetTable;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.Set;
import java.util.SortedMap;
import java.util.SortedSet;
import java.util.TreeMap;
import java.util.TreeSet;
import org.apache.parquet.example.data.Group;
import org.apache.parquet.example.data.simple.SimpleGroup;
import org.apache.parquet.schema.MessageType;
import org.apache.parquet.schema.MessageTypeParser;

/**
 * What was measured of a dense model, kept in a folder, so that another sparsity, λ, M, allocation
 * or metric costs no pass through it.
 *
 * <p>{@code statistics.json}, written last, says of which checkpoint and which tokens; {@code
 * norms.parquet} has the sums of squares of every block's inputs, {@code linears.parquet} what
 * allocators know of every linear layer, for notebooks too. Gram matrices, if they were to be kept,
 * lie in {@code grams}. Immutable: what is added makes another.
 */
public final class StatisticsStore {
  /** Outliers are counted at all of these, so that a store answers for most values of M. */
  static final List<Double> THRESHOLDS =
      List.of(2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 12.0, 15.0, 20.0);

  private static final int FORMAT = 1;
  private static final String INDEX = "statistics.json";
  private static final String NORMS = "norms.parquet";
  private static final String LINEARS = "linears.parquet";
  private static final String GRAMS = "grams";
  private static final int MAX_INDEX = 16 << 20;

  private static final MessageType NORMS_SCHEMA =
      MessageTypeParser.parseMessageType(
          """
          message norms {
            required int32 block;
            required binary input (STRING);
            required group sums_of_squares (LIST) {
              repeated group list {
                required double element;
              }
            }
          }
          """);

  private static final MessageType LINEARS_SCHEMA =
      MessageTypeParser.parseMessageType(
          """
          message linears {
            required int32 block;
            required binary linear (STRING);
            required int64 rows;
            required int32 columns;
            optional double score_sum;
            required group outliers (LIST) {
              repeated group list {
                required int64 element;
              }
            }
            required group outliers_by_block_mean (LIST) {
              repeated group list {
                required int64 element;
              }
            }
            optional group scores {
              required boolean exact;
              repeated group bucket {
                required int32 bits;
                required int64 count;
              }
            }
            optional group magnitudes {
              required boolean exact;
              repeated group bucket {
                required int32 bits;
                required int64 count;
              }
            }
            required group spectrum (LIST) {
              repeated group list {
                required double element;
              }
            }
          }
          """);

  private final Storage storage;
  private final String location;
  private final String model; // digest; empty in an empty store
  private final String modelLocation;
  private final Optional<MeasuredSamples> tokens;
  private final List<BlockStatistics> norms; // by block, or none
  private final List<LayerProfile> profiles; // by block, or none
  private final boolean hasGrams;

  private StatisticsStore(
      Storage storage,
      String location,
      String model,
      String modelLocation,
      Optional<MeasuredSamples> tokens,
      List<BlockStatistics> norms,
      List<LayerProfile> profiles,
      boolean hasGrams) {
    this.storage = storage;
    this.location = location;
    this.model = model;
    this.modelLocation = modelLocation;
    this.tokens = tokens;
    this.norms = List.copyOf(norms);
    this.profiles = List.copyOf(profiles);
    this.hasGrams = hasGrams;
  }

  /**
   * Reads the store at a location; an empty one if there is nothing yet.
   *
   * @throws MalformedCheckpointException if there is something that is none, or a damaged one
   */
  public static StatisticsStore open(Storage storage, String location) throws IOException {
    String index = Storage.resolve(location, INDEX);
    if (!storage.exists(index)) {
      if (storage.exists(location)
          && (!storage.isFolder(location) || !storage.list(location).isEmpty())
          && !isLeftover(storage, location)) {
        throw new IllegalArgumentException(
            "Cannot use --statistics "
                + location
                + ": there is something in it that is no statistics; give another folder");
      }
      return new StatisticsStore(
          storage, location, "", "", Optional.empty(), List.of(), List.of(), false);
    }
    try {
      JsonNode json = new JsonMapper().readTree(storage.readAll(index, MAX_INDEX));
      if (json.path("format").asInt() != FORMAT) {
        throw malformed(location, "its format is " + json.path("format") + ", not " + FORMAT, null);
      }
      JsonNode measured = json.path("calibration");
      Optional<MeasuredSamples> tokens =
          measured.isObject()
              ? Optional.of(
                  new MeasuredSamples(
                      measured.path("digest").asText(),
                      measured.path("sequences").asInt(),
                      measured.path("tokens").asLong(),
                      Compute.parse(measured.path("compute").asText()).orElse(Compute.FLOAT32)))
              : Optional.empty();
      List<Double> thresholds = new ArrayList<>();
      json.path("outlierThresholds").forEach(m -> thresholds.add(m.asDouble()));
      List<BlockStatistics> norms =
          json.path("norms").asBoolean()
              ? norms(ParquetTable.read(storage, Storage.resolve(location, NORMS), NORMS_SCHEMA))
              : List.of();
      List<LayerProfile> profiles =
          profiles(
              ParquetTable.read(storage, Storage.resolve(location, LINEARS), LINEARS_SCHEMA),
              thresholds);
      int blocks = json.path("blocks").asInt();
      if (profiles.size() != blocks || !norms.isEmpty() && norms.size() != blocks) {
        throw malformed(
            location, "it is of " + blocks + " blocks, but has rows of " + profiles.size(), null);
      }
      return new StatisticsStore(
          storage,
          location,
          json.path("model").path("digest").asText(),
          json.path("model").path("location").asText(),
          tokens,
          norms,
          profiles,
          json.path("grams").asBoolean());
    } catch (JsonProcessingException e) {
      throw malformed(location, e.getOriginalMessage(), e);
    } catch (MalformedCheckpointException e) {
      throw e;
    } catch (RuntimeException e) {
      throw malformed(location, String.valueOf(e.getMessage()), e);
    }
  }

  /** Of a run that broke off before it wrote the index. */
  private static boolean isLeftover(Storage storage, String location) throws IOException {
    return storage.isFolder(location)
        && Set.of(NORMS, LINEARS, GRAMS).containsAll(storage.list(location));
  }

  private static MalformedCheckpointException malformed(
      String location, String why, Exception cause) {
    return new MalformedCheckpointException(
        "Cannot use --statistics " + location + ": " + why + "; delete the folder, or give another",
        cause);
  }

  /** Whether nothing was measured yet. */
  public boolean isEmpty() {
    return profiles.isEmpty();
  }

  /** Where the checkpoint lay that was measured. */
  public String modelLocation() {
    return modelLocation;
  }

  /** The tokens that its activations are of, if there are any. */
  public Optional<MeasuredSamples> tokens() {
    return tokens;
  }

  /** The norms of every block's inputs; none if nobody measured them. */
  public List<BlockStatistics> norms() {
    return norms;
  }

  /** What is known of the blocks; none if nothing is. */
  public List<LayerProfile> profiles() {
    return profiles;
  }

  /** Which of these are not known of all blocks. */
  public Set<Evidence> lacks(Set<Evidence> asked, SortedSet<Double> thresholds) {
    Set<Evidence> missing = EnumSet.noneOf(Evidence.class);
    for (Evidence evidence : asked) {
      if (isEmpty()
          || !profiles.stream().allMatch(profile -> profile.knows(evidence, thresholds))) {
        missing.add(evidence);
      }
    }
    return missing;
  }

  /** The thresholds M at which outliers were counted. */
  public SortedSet<Double> thresholds() {
    return isEmpty() ? new TreeSet<>() : new TreeSet<>(profiles.get(0).outliers().keySet());
  }

  /**
   * Refuses statistics of something else.
   *
   * @param digest of the checkpoint at work
   * @param calibration the samples at work, if they are known
   */
  public void requireOf(String digest, Optional<MeasuredSamples> calibration) {
    if (!isEmpty() && !model.equals(digest)) {
      throw new IllegalArgumentException(
          "Cannot use --statistics "
              + location
              + ": they were made for another checkpoint, "
              + modelLocation
              + "; give another folder");
    }
    if (tokens.isPresent() && calibration.isPresent()) {
      MeasuredSamples ours = calibration.get();
      if (tokens.get().compute() != ours.compute()) {
        throw new IllegalArgumentException(
            "Cannot use --statistics "
                + location
                + ": they were measured with --compute "
                + tokens.get().compute()
                + ", this run has "
                + ours.compute()
                + "; give --compute "
                + tokens.get().compute()
                + ", or another folder");
      }
      if (!tokens.get().equals(ours)) {
        throw new IllegalArgumentException(
            String.format(
                Locale.ROOT,
                "Cannot use --statistics %s: they were made with other calibration tokens (%s)"
                    + " than these (%s); give the same --calibration, --sampling, --sequences,"
                    + " --length and --seed, or another folder",
                location,
                named(tokens.get()),
                named(ours)));
      }
    }
  }

  private static String named(MeasuredSamples tokens) {
    return String.format(
        Locale.ROOT,
        "%d sequences, %,d tokens, %s…",
        tokens.sequences(),
        tokens.tokens(),
        tokens.digest().substring(0, Math.min(8, tokens.digest().length())));
  }

  /**
   * Adds what was measured and writes all of it.
   *
   * @param newTokens the tokens that activations were measured on; if absent, none were
   * @param newNorms of every block, or none
   * @param measured of every block
   */
  StatisticsStore add(
      String digest,
      String at,
      Optional<MeasuredSamples> newTokens,
      List<BlockStatistics> newNorms,
      List<LayerProfile> measured)
      throws IOException {
    return add(digest, at, newTokens, newNorms, measured, hasGrams);
  }

  private StatisticsStore add(
      String digest,
      String at,
      Optional<MeasuredSamples> newTokens,
      List<BlockStatistics> newNorms,
      List<LayerProfile> measured,
      boolean grams)
      throws IOException {
    List<LayerProfile> all = new ArrayList<>();
    for (int i = 0; i < measured.size(); i++) {
      all.add(isEmpty() ? measured.get(i) : profiles.get(i).with(measured.get(i)));
    }
    StatisticsStore whole =
        new StatisticsStore(
            storage,
            location,
            digest,
            at,
            newTokens.or(() -> tokens),
            newNorms.isEmpty() ? norms : newNorms,
            all,
            grams);
    whole.write();
    return whole;
  }

  private void write() throws IOException {
    // While files are exchanged there is no index, and nobody takes the folder for whole.
    storage.delete(Storage.resolve(location, INDEX));
    if (!norms.isEmpty()) {
      storage.writeAll(Storage.resolve(location, NORMS), ParquetTable.bytes(NORMS_SCHEMA, rows()));
    }
    storage.writeAll(
        Storage.resolve(location, LINEARS), ParquetTable.bytes(LINEARS_SCHEMA, linearRows()));
    ObjectNode json = JsonNodeFactory.instance.objectNode();
    json.put("format", FORMAT);
    json.putObject("model").put("location", modelLocation).put("digest", model);
    tokens.ifPresent(
        of ->
            json.putObject("calibration")
                .put("sequences", of.sequences())
                .put("tokens", of.tokens())
                .put("digest", of.digest())
                .put("compute", of.compute().toString()));
    json.put("blocks", profiles.size());
    json.put("norms", !norms.isEmpty());
    json.put("grams", hasGrams);
    thresholds().forEach(json.putArray("outlierThresholds")::add);
    Set<Evidence> known = EnumSet.allOf(Evidence.class);
    known.removeAll(lacks(known, new TreeSet<>()));
    known.forEach(evidence -> json.withArray("evidence").add(label(evidence)));
    storage.writeAll(
        Storage.resolve(location, INDEX),
        (json.toPrettyString() + "\n").getBytes(StandardCharsets.UTF_8));
  }

  private static String label(Evidence evidence) {
    return evidence.name().toLowerCase(Locale.ROOT).replace('_', ' ');
  }

  /** Where the Gram matrices of a block's linear layers are kept: one for each input. */
  List<String> grams(BlockLayout block) {
    return block.linears().stream()
        .map(
            linear ->
                Storage.resolve(
                    location,
                    String.format(
                        Locale.ROOT,
                        "%s/block-%05d-%s.safetensors",
                        GRAMS,
                        block.index(),
                        linear.role().input().name().toLowerCase(Locale.ROOT).replace('_', '-'))))
        .toList();
  }

  /** Whether the Gram matrices of all blocks are kept. */
  boolean hasGrams() {
    return hasGrams;
  }

  /** Says that the Gram matrices of all blocks, made with these tokens, are kept. */
  StatisticsStore addGrams(String digest, String at, MeasuredSamples of, List<LayerProfile> shapes)
      throws IOException {
    return add(digest, at, Optional.of(of), List.of(), shapes, true);
  }

  private List<Group> rows() {
    List<Group> rows = new ArrayList<>();
    for (int block = 0; block < norms.size(); block++) {
      BlockStatistics statistics = norms.get(block);
      for (LinearInput input : statistics.inputs()) {
        Group row = new SimpleGroup(NORMS_SCHEMA);
        row.add("block", block);
        row.add("input", input.name());
        Group list = row.addGroup("sums_of_squares");
        for (double sum : statistics.at(input).sumsOfSquares()) {
          list.addGroup("list").add("element", sum);
        }
        rows.add(row);
      }
    }
    return rows;
  }

  private static List<BlockStatistics> norms(List<Group> rows) {
    List<BlockStatistics> norms = new ArrayList<>();
    for (Group row : rows) {
      int block = row.getInteger("block", 0);
      if (block == norms.size()) {
        norms.add(new BlockStatistics());
      }
      norms
          .get(block)
          .put(
              LinearInput.valueOf(row.getString("input", 0)),
              new ColumnNorms(doubles(row, "sums_of_squares")));
    }
    return norms;
  }

  private List<Group> linearRows() {
    List<Group> rows = new ArrayList<>();
    for (LayerProfile profile : profiles) {
      for (LinearProfile linear : profile.linears()) {
        Group row = new SimpleGroup(LINEARS_SCHEMA);
        row.add("block", profile.block());
        row.add("linear", linear.name());
        row.add("rows", linear.rows());
        row.add("columns", linear.cols());
        if (!Double.isNaN(linear.scoreSum())) {
          row.add("score_sum", linear.scoreSum());
        }
        add(row.addGroup("outliers"), linear.outliers());
        // The same in every row of a block: counted over all its layers together.
        add(row.addGroup("outliers_by_block_mean"), profile.outliers());
        add(row, "scores", linear.scores());
        add(row, "magnitudes", linear.magnitudes());
        Group spectrum = row.addGroup("spectrum");
        for (double value : linear.spectrum().eigenvalues()) {
          spectrum.addGroup("list").add("element", value);
        }
        rows.add(row);
      }
    }
    return rows;
  }

  private static void add(Group list, SortedMap<Double, Long> counts) {
    counts.values().forEach(count -> list.addGroup("list").add("element", count));
  }

  private static void add(Group row, String column, ScoreHistogram histogram) {
    if (!histogram.isEmpty()) {
      Group group = row.addGroup(column);
      group.add("exact", histogram.isExact());
      histogram.forEach(
          (bits, count) -> {
            Group bucket = group.addGroup("bucket");
            bucket.add("bits", bits);
            bucket.add("count", count);
          });
    }
  }

  private static List<LayerProfile> profiles(List<Group> rows, List<Double> thresholds) {
    List<List<LinearProfile>> linears = new ArrayList<>();
    List<SortedMap<Double, Long>> outliers = new ArrayList<>();
    for (Group row : rows) {
      int block = row.getInteger("block", 0);
      if (block == linears.size()) {
        linears.add(new ArrayList<>());
        outliers.add(counts(row, "outliers_by_block_mean", thresholds));
      }
      linears
          .get(block)
          .add(
              new LinearProfile(
                  row.getString("linear", 0),
                  row.getLong("rows", 0),
                  row.getInteger("columns", 0),
                  row.getFieldRepetitionCount("score_sum") == 0
                      ? Double.NaN
                      : row.getDouble("score_sum", 0),
                  counts(row, "outliers", thresholds),
                  histogram(row, "scores"),
                  histogram(row, "magnitudes"),
                  Spectrum.ofEigenvalues(doubles(row, "spectrum"))));
    }
    List<LayerProfile> profiles = new ArrayList<>();
    for (int i = 0; i < linears.size(); i++) {
      long weights = linears.get(i).stream().mapToLong(LinearProfile::weights).sum();
      profiles.add(new LayerProfile(i, weights, outliers.get(i), linears.get(i)));
    }
    return profiles;
  }

  private static SortedMap<Double, Long> counts(Group row, String column, List<Double> thresholds) {
    Group list = row.getGroup(column, 0);
    SortedMap<Double, Long> counts = new TreeMap<>();
    for (int i = 0; i < list.getFieldRepetitionCount("list"); i++) {
      counts.put(thresholds.get(i), list.getGroup("list", i).getLong("element", 0));
    }
    return counts;
  }

  private static ScoreHistogram histogram(Group row, String column) {
    if (row.getFieldRepetitionCount(column) == 0) {
      return ScoreHistogram.EMPTY;
    }
    Group group = row.getGroup(column, 0);
    int[] buckets = new int[group.getFieldRepetitionCount("bucket")];
    long[] counts = new long[buckets.length];
    for (int i = 0; i < buckets.length; i++) {
      Group bucket = group.getGroup("bucket", i);
      buckets[i] = bucket.getInteger("bits", 0);
      counts[i] = bucket.getLong("count", 0);
    }
    return ScoreHistogram.of(buckets, counts, group.getBoolean("exact", 0));
  }

  private static double[] doubles(Group row, String column) {
    Group list = row.getGroup(column, 0);
    double[] values = new double[list.getFieldRepetitionCount("list")];
    for (int i = 0; i < values.length; i++) {
      values[i] = list.getGroup("list", i).getDouble("element", 0);
    }
    return values;
  }
}
