package ai.owl.calibration;

import ai.owl.checkpoint.TensorReader;
import ai.owl.model.ModelLayout;
import ai.owl.model.SequencePacking;
import ai.owl.model.SequencePacking.Segment;
import ai.owl.model.TokenEmbedding;
import ai.owl.tensor.Matrix;
import java.io.IOException;
import java.io.Serializable;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * Token sequences whose ends are to be predicted, in batches: each sample is a batch, whose
 * sequences are packed into one matrix without padding. Sequences come in groups, such as the
 * choices that a question has; what all sequences of a group begin with is in the batch once.
 *
 * <p>Batches are made from the groups in their order and from the tokens that a batch may have, and
 * from nothing else, so that results do not depend on who computes them. Immutable.
 */
public final class PackedSequences implements Samples {
  private static final long serialVersionUID = 1L;

  private final List<Batch> batches;
  private final String digest;

  private PackedSequences(List<Batch> batches, String digest) {
    this.batches = batches;
    this.digest = digest;
  }

  /**
   * A sequence whose last tokens are to be predicted, each from all before it.
   *
   * @param tokens ids
   * @param scored how many at the end: at least one, and not all
   */
  public record ScoredSequence(int[] tokens, int scored) {
    public ScoredSequence {
      if (scored < 1 || scored >= tokens.length) {
        throw new IllegalArgumentException(
            "Cannot predict the last " + scored + " tokens of a sequence of " + tokens.length);
      }
    }
  }

  /**
   * Sequences that run through the model together.
   *
   * @param ids tokens of the packing's rows
   * @param predicting the rows that something is predicted from, each once
   * @param sources of each prediction, sequence after sequence: its place in {@code predicting}
   * @param targets of each prediction: the token
   * @param scored of each sequence: how many predictions it has
   */
  record Batch(
      int[] ids,
      SequencePacking packing,
      int[] predicting,
      int[] sources,
      int[] targets,
      int[] scored)
      implements Serializable {}

  /**
   * Packs groups of sequences.
   *
   * @param batchTokens how many rows a batch has at most; a larger group is a batch of its own
   */
  public static PackedSequences of(List<List<ScoredSequence>> groups, int batchTokens) {
    if (batchTokens < 1) {
      throw new IllegalArgumentException(
          "Cannot make batches of " + batchTokens + " tokens: a batch has at least 1");
    }
    List<Batch> batches = new ArrayList<>();
    List<int[]> all = new ArrayList<>();
    Packer packer = new Packer();
    for (List<ScoredSequence> group : groups) {
      if (packer.rows > 0 && packer.rows + rows(group) > batchTokens) {
        batches.add(packer.batch());
        packer = new Packer();
      }
      packer.add(group);
      group.forEach(sequence -> all.add(sequence.tokens()));
    }
    if (packer.rows > 0) {
      batches.add(packer.batch());
    }
    return new PackedSequences(List.copyOf(batches), TokenSequences.of(all).digest());
  }

  /** How many rows a group takes. */
  private static int rows(List<ScoredSequence> group) {
    int shared = shared(group);
    return shared + group.stream().mapToInt(each -> each.tokens().length - 1 - shared).sum();
  }

  /** How many tokens all sequences begin with, among those that go into the model. */
  private static int shared(List<ScoredSequence> group) {
    int[] first = group.get(0).tokens();
    int shared = first.length - 1;
    for (ScoredSequence other : group) {
      int[] ids = other.tokens();
      int same = Arrays.mismatch(first, 0, shared, ids, 0, Math.min(shared, ids.length - 1));
      shared = same < 0 ? Math.min(shared, ids.length - 1) : same;
    }
    return shared;
  }

  /** A batch in the making. */
  private static final class Packer {
    private final List<Segment> segments = new ArrayList<>();
    private final List<int[]> parts = new ArrayList<>();
    private final List<Integer> sourceRows = new ArrayList<>();
    private final List<Integer> targets = new ArrayList<>();
    private final List<Integer> scored = new ArrayList<>();
    private int rows;

    void add(List<ScoredSequence> group) {
      int shared = shared(group);
      int prefix = SequencePacking.NO_PREFIX;
      int prefixRow = rows;
      if (shared > 0) {
        prefix = segments.size();
        append(group.get(0).tokens(), 0, shared, SequencePacking.NO_PREFIX);
      }
      for (ScoredSequence sequence : group) {
        int[] ids = sequence.tokens();
        int ownRow = rows;
        if (ids.length - 1 > shared) {
          append(ids, shared, ids.length - 1, prefix);
        }
        for (int t = ids.length - sequence.scored(); t < ids.length; t++) {
          int from = t - 1;
          sourceRows.add(from < shared ? prefixRow + from : ownRow + from - shared);
          targets.add(ids[t]);
        }
        scored.add(sequence.scored());
      }
    }

    private void append(int[] ids, int from, int to, int prefix) {
      segments.add(new Segment(rows, to - from, prefix));
      parts.add(Arrays.copyOfRange(ids, from, to));
      rows += to - from;
    }

    Batch batch() {
      int[] sources = ints(sourceRows);
      int[] predicting = Arrays.stream(sources).sorted().distinct().toArray();
      return new Batch(
          parts.stream().flatMapToInt(Arrays::stream).toArray(),
          new SequencePacking(segments),
          predicting,
          Arrays.stream(sources).map(row -> Arrays.binarySearch(predicting, row)).toArray(),
          ints(targets),
          ints(scored));
    }

    private static int[] ints(List<Integer> numbers) {
      return numbers.stream().mapToInt(Integer::intValue).toArray();
    }
  }

  /** Number of batches. */
  @Override
  public int count() {
    return batches.size();
  }

  /** Number of sequences in all batches. */
  public int sequences() {
    return batches.stream().mapToInt(batch -> batch.scored().length).sum();
  }

  /** Rows of all batches: the tokens that really go through the model. */
  public long rows() {
    return batches.stream().mapToLong(batch -> batch.ids().length).sum();
  }

  /** Names the sequences, and not how they are packed. */
  @Override
  public String digest() {
    return digest;
  }

  /** How batch {@code i} is packed. */
  public SequencePacking packing(int i) {
    return batches.get(i).packing();
  }

  @Override
  public List<Matrix> embed(ModelLayout model, int first, int end, TensorReader reader)
      throws IOException {
    List<Batch> chosen = batches.subList(first, end);
    return TokenEmbedding.embed(
        model,
        chosen.stream().map(Batch::ids).toList(),
        chosen.stream().map(Batch::packing).toList(),
        reader);
  }

  /**
   * The states of batch {@code i} that something is predicted from: all that is needed of it after
   * the last block.
   *
   * @param hidden (rows of the batch, hidden)
   * @return (predicting rows, hidden), the caller's to close
   */
  public Matrix predicting(int i, Matrix hidden) {
    int[] rows = batches.get(i).predicting();
    Matrix chosen = new Matrix(rows.length, hidden.cols());
    float[] row = new float[hidden.cols()];
    for (int t = 0; t < rows.length; t++) {
      hidden.row(rows[t], row);
      chosen.setRow(t, row);
    }
    return chosen;
  }

  /** Of every prediction of batch {@code i} the row of {@link #predicting} it is made from. */
  public int[] sources(int i) {
    return batches.get(i).sources().clone();
  }

  /** Of every prediction of batch {@code i} the token. */
  public int[] targets(int i) {
    return batches.get(i).targets().clone();
  }

  /**
   * Cuts what was found out of the batches into sequences.
   *
   * @param found for every batch, something of each of its predictions
   * @return for every sequence, in the order in which they were given
   */
  public List<double[]> bySequence(List<double[]> found) {
    List<double[]> sequences = new ArrayList<>();
    for (int i = 0; i < batches.size(); i++) {
      int at = 0;
      for (int scored : batches.get(i).scored()) {
        sequences.add(Arrays.copyOfRange(found.get(i), at, at += scored));
      }
    }
    return sequences;
  }

  @Override
  public String toString() {
    return sequences() + " sequences in " + count() + " batches";
  }
}
