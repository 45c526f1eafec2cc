package ai.owl.allocation;

import ai.owl.checkpoint.Storage;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.TreeSet;

/**
 * Somebody's own sparsities: the share of its weights that each block or linear layer loses (not
 * the density, the share that it keeps). A file of one of
 *
 * <pre>
 * [0.62, 0.71, …]                                     JSON, one a block, in order
 * {"0": 0.62, "1": 0.71, …}                           JSON, by number of the block
 * {"model.layers.0.self_attn.q_proj": 0.5, …}         JSON, by name of the linear layer
 * 0.62                                                text, one a line, one a block
 * </pre>
 *
 * A linear layer that is not named has its block's sparsity. Nothing may be missing, and nothing
 * may be there that the model has not.
 *
 * <p>The list decides how much goes. A target that its mean misses by more than 0.001 is refused,
 * so that nobody compares it with another allocation at another sparsity.
 *
 * @param source where they were read
 * @param ratios by number of a block or name of a linear layer
 */
public record GivenRatios(String source, SortedMap<String, Double> ratios)
    implements SparsityAllocator {
  private static final int MAX_FILE = 16 << 20;

  /** How far the mean may be from the target: lists are written with a few decimals. */
  private static final double CLOSE = 1e-3;

  public GivenRatios {
    ratios = new TreeMap<>(ratios);
    if (ratios.isEmpty()) {
      throw new IllegalArgumentException("Cannot use the ratios of " + source + ": there are none");
    }
    ratios.forEach(
        (key, ratio) -> {
          if (!(ratio >= 0 && ratio < 1)) {
            throw new IllegalArgumentException(
                "Cannot use the ratios of "
                    + source
                    + ": that of "
                    + key
                    + " is "
                    + ratio
                    + "; the share of weights to remove must be in [0, 1)");
          }
        });
  }

  /** Reads a file. */
  public static GivenRatios read(Storage storage, String location) throws IOException {
    String text = new String(storage.readAll(location, MAX_FILE), StandardCharsets.UTF_8).strip();
    return new GivenRatios(
        location,
        text.startsWith("[") || text.startsWith("{")
            ? fromJson(location, text)
            : fromLines(location, text));
  }

  private static SortedMap<String, Double> fromJson(String location, String text) {
    JsonNode json;
    try {
      json =
          JsonMapper.builder()
              .enable(JsonParser.Feature.STRICT_DUPLICATE_DETECTION)
              .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
              .build()
              .readTree(text);
    } catch (JsonProcessingException e) {
      throw new IllegalArgumentException(
          "Cannot use the ratios of "
              + location
              + ": it is no JSON, "
              + e.getOriginalMessage().lines().findFirst().orElse("")
              + (e.getLocation() == null ? "" : " (line " + e.getLocation().getLineNr() + ")"),
          e);
    }
    Map<String, JsonNode> entries = new LinkedHashMap<>();
    if (json.isArray()) {
      for (JsonNode entry : json) {
        entries.put(Integer.toString(entries.size()), entry);
      }
    } else {
      json.fields().forEachRemaining(field -> entries.put(field.getKey(), field.getValue()));
    }
    SortedMap<String, Double> ratios = new TreeMap<>();
    entries.forEach(
        (key, value) -> {
          if (!value.isNumber()) {
            throw new IllegalArgumentException(
                "Cannot use the ratios of "
                    + location
                    + ": that of "
                    + key
                    + " is no number but "
                    + value);
          }
          ratios.put(key, value.doubleValue());
        });
    return ratios;
  }

  private static SortedMap<String, Double> fromLines(String location, String text) {
    SortedMap<String, Double> ratios = new TreeMap<>();
    int number = 0;
    for (String line : text.lines().toList()) {
      number++;
      if (line.isBlank()) {
        continue;
      }
      try {
        ratios.put(Integer.toString(ratios.size()), Double.parseDouble(line.strip()));
      } catch (NumberFormatException e) {
        throw new IllegalArgumentException(
            "Cannot use the ratios of "
                + location
                + ": line "
                + number
                + " is no number but '"
                + line.strip()
                + "'; give a JSON array, a JSON object or one number a line",
            e);
      }
    }
    return ratios;
  }

  @Override
  public String name() {
    return "ratios";
  }

  @Override
  public String label() {
    return "ratios " + Storage.name(source);
  }

  @Override
  public Map<String, Object> settings() {
    return Map.of("ratios", source);
  }

  @Override
  public Set<Evidence> needs() {
    return Set.of();
  }

  @Override
  public boolean perLinear() {
    return !ratios.keySet().stream().allMatch(GivenRatios::isNumber);
  }

  /** The share of all weights that goes, if every layer meets its ratio. */
  public double mean(List<LayerProfile> profiles) {
    LinearUnits units = new LinearUnits(name(), profiles);
    return units.weightedMean(byLinear(profiles));
  }

  @Override
  public SparsityAllocation allocate(List<LayerProfile> profiles, double target) {
    LinearUnits units = new LinearUnits(name(), profiles);
    double[] sparsities = byLinear(profiles);
    double mean = units.weightedMean(sparsities);
    double plain = 0;
    for (double sparsity : sparsities) {
      plain += sparsity / sparsities.length;
    }
    if (!perLinear()) {
      plain = ratios.values().stream().mapToDouble(ratio -> ratio).average().orElseThrow();
    }
    if (Math.abs(mean - target) > CLOSE && Math.abs(plain - target) > CLOSE) {
      throw new IllegalArgumentException(
          String.format(
              Locale.ROOT,
              "Cannot use the ratios of %s for sparsity %s: their mean is %.4f, weighted by size"
                  + " %.4f%s; leave --sparsity out, or give %.4f; an N:M"
                  + " --pattern wants ratios of its own mean",
              source,
              target,
              plain,
              mean,
              Math.abs(1 - plain - target) <= CLOSE || Math.abs(1 - mean - target) <= CLOSE
                  ? " (are they what stays? the share that goes is asked for)"
                  : "",
              mean));
    }
    List<String> notes = new ArrayList<>();
    notes.add(
        String.format(
            Locale.ROOT,
            "the mean of the %d ratios of %s is %.6f, weighted by size %.6f",
            ratios.size(),
            source,
            plain,
            mean));
    if (!perLinear()) {
      List<Double> blocks = new ArrayList<>();
      for (LayerProfile profile : profiles) {
        blocks.add(ratios.get(Integer.toString(profile.block())));
      }
      return SparsityAllocation.ofBlocks(mean, blocks, profiles, notes);
    }
    return units.allocation(mean, sparsities, notes);
  }

  private static boolean isNumber(String key) {
    return !key.isEmpty() && key.chars().allMatch(c -> c >= '0' && c <= '9');
  }

  /** The ratio of every linear layer. */
  private double[] byLinear(List<LayerProfile> profiles) {
    Set<String> unused = new TreeSet<>(ratios.keySet());
    List<Double> found = new ArrayList<>();
    String missing = null;
    for (LayerProfile profile : profiles) {
      String block = Integer.toString(profile.block());
      unused.remove(block);
      for (LinearProfile linear : profile.linears()) {
        unused.remove(linear.name());
        Double ratio = ratios.getOrDefault(linear.name(), ratios.get(block));
        if (ratio == null && missing == null) {
          missing = "block " + block + " (" + linear.name() + ")";
        }
        found.add(ratio);
      }
    }
    if (missing != null || !unused.isEmpty()) {
      throw new IllegalArgumentException(
          "Cannot use the "
              + ratios.size()
              + " ratios of "
              + source
              + " for a model of "
              + profiles.size()
              + " blocks: "
              + (missing != null
                  ? "there is none for " + missing
                  : "the model has no '" + unused.iterator().next() + "'")
              + "; give one for each block 0.."
              + (profiles.size() - 1)
              + " or for each linear layer by its name");
    }
    return found.stream().mapToDouble(ratio -> ratio).toArray();
  }
}
