package ai.owl.calibration;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import ai.owl.calibration.PackedSequences.ScoredSequence;
import ai.owl.checkpoint.MemoryStorage;
import ai.owl.checkpoint.TensorReader;
import ai.owl.model.ActivationObserver;
import ai.owl.model.BlockLayout;
import ai.owl.model.DecoderBlock;
import ai.owl.model.ForwardBuffers;
import ai.owl.model.LanguageModelHead;
import ai.owl.model.ModelLayout;
import ai.owl.model.SampleModel;
import ai.owl.model.SequencePacking;
import ai.owl.model.SequencePacking.Segment;
import ai.owl.model.TokenEmbedding;
import ai.owl.tensor.Matrix;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;

class PackedSequencesTest {
  @Test
  void keepsWhatAGroupBeginsWithOnce() {
    PackedSequences packed =
        PackedSequences.of(
            List.of(
                List.of(
                    sequence(2, 5, 6, 7, 8, 9), sequence(1, 5, 6, 7, 1), sequence(2, 5, 6, 3, 2)),
                List.of(sequence(1, 4, 4))),
            100);
    assertThat(packed.count()).isEqualTo(1);
    assertThat(packed.sequences()).isEqualTo(4);
    assertThat(packed.rows()).isEqualTo(2 + 2 + 1 + 1 + 1);
    // The last token of a sequence is predicted and does not go in.
    assertThat(packed.packing(0).segments())
        .containsExactly(
            new Segment(0, 2, SequencePacking.NO_PREFIX),
            new Segment(2, 2, 0),
            new Segment(4, 1, 0),
            new Segment(5, 1, 0),
            new Segment(6, 1, SequencePacking.NO_PREFIX));
    assertThat(packed.packing(0).positions()).containsExactly(0, 1, 2, 3, 2, 2, 0);
    assertThat(packed.targets(0)).containsExactly(8, 9, 1, 3, 2, 4);
    // 8 after the first 7, 9 after 8, 1 after the second 7, 3 after the shared 6, 2 after 3.
    assertThat(packed.sources(0)).containsExactly(1, 2, 3, 0, 4, 5);
  }

  @Test
  void computesNothingTwiceForAlternativesOfOneToken() {
    PackedSequences packed =
        PackedSequences.of(List.of(List.of(sequence(1, 5, 6, 7), sequence(1, 5, 6, 8))), 100);
    assertThat(packed.rows()).isEqualTo(2);
    assertThat(packed.sources(0)).containsExactly(0, 0);
    assertThat(packed.targets(0)).containsExactly(7, 8);
  }

  @Test
  void fillsBatchesInOrderAndCutsNoGroup() {
    List<List<ScoredSequence>> groups = new ArrayList<>();
    for (int length : new int[] {3, 3, 2, 9, 1}) {
      int[] ids = new int[length + 1];
      groups.add(List.of(new ScoredSequence(ids, 1)));
    }
    PackedSequences packed = PackedSequences.of(groups, 6);
    assertThat(packed.count()).isEqualTo(4);
    assertThat(packed.packing(0).rows()).isEqualTo(6);
    assertThat(packed.packing(1).rows()).isEqualTo(2);
    assertThat(packed.packing(2).rows()).isEqualTo(9);
    assertThat(packed.packing(3).rows()).isEqualTo(1);
    assertThat(packed.digest()).isEqualTo(PackedSequences.of(groups, 1).digest());
    assertThat(packed.bySequence(List.of(new double[] {1, 2}, of(3), of(4), of(5))))
        .containsExactly(of(1), of(2), of(3), of(4), of(5));
    assertThatThrownBy(() -> PackedSequences.of(groups, 0))
        .hasMessage("Cannot make batches of 0 tokens: a batch has at least 1");
  }

  @Test
  void refusesASequenceThatIsPredictedFromNothing() {
    assertThatThrownBy(() -> sequence(2, 1, 2))
        .hasMessage("Cannot predict the last 2 tokens of a sequence of 2");
    assertThatThrownBy(() -> sequence(0, 1, 2)).isInstanceOf(IllegalArgumentException.class);
  }

  /** Whatever tells positions: rotations, learned embeddings, windows. */
  @Test
  void predictsWhatEverySequencePredictsAlone() throws IOException {
    SampleModel window = new SampleModel();
    window.config.putArray("architectures").add("MistralForCausalLM");
    window.config.put("sliding_window", 5);
    for (SampleModel sample :
        List.of(
            new SampleModel(3, 5),
            window,
            SampleModel.opt(false),
            SampleModel.opt(true),
            new SampleModel().gemma2())) {
      ModelLayout model = sample.layout(new MemoryStorage());
      check(sample, 1);
      check(sample, 40);
      check(sample, 10_000);
      assertThat(model.config().vocabSize()).isEqualTo(40);
    }
  }

  private static void check(SampleModel sample, int batchTokens) throws IOException {
    MemoryStorage storage = new MemoryStorage();
    ModelLayout model = sample.layout(storage);
    Random random = new Random(4);
    List<List<ScoredSequence>> groups = new ArrayList<>();
    for (int g = 0; g < 6; g++) {
      int[] context = random.ints(1 + random.nextInt(12), 0, 40).toArray();
      List<ScoredSequence> group = new ArrayList<>();
      for (int choice = 0; choice < 1 + g % 4; choice++) {
        int[] ids = java.util.Arrays.copyOf(context, context.length + 1 + random.nextInt(4));
        for (int t = context.length; t < ids.length; t++) {
          ids[t] = random.nextInt(40);
        }
        group.add(new ScoredSequence(ids, ids.length - context.length));
      }
      groups.add(group);
    }
    PackedSequences packed = PackedSequences.of(groups, batchTokens);
    try (TensorReader reader = new TensorReader(storage);
        ForwardBuffers buffers = new ForwardBuffers(model.config())) {
      List<Matrix> hidden = packed.embed(model, 0, packed.count(), reader);
      for (BlockLayout layout : model.blocks()) {
        try (DecoderBlock block = DecoderBlock.load(model.config(), layout, reader)) {
          for (int i = 0; i < hidden.size(); i++) {
            block.advance(hidden.get(i), packed.packing(i), buffers, ActivationObserver.NONE);
          }
        }
      }
      List<double[]> found = new ArrayList<>();
      for (int i = 0; i < hidden.size(); i++) {
        try (Matrix rows = packed.predicting(i, hidden.get(i))) {
          found.addAll(
              LanguageModelHead.logProbabilities(
                  model,
                  List.of(rows),
                  List.of(packed.sources(i)),
                  List.of(packed.targets(i)),
                  reader));
        }
      }
      hidden.forEach(Matrix::close);
      List<double[]> bySequence = packed.bySequence(found);
      int at = 0;
      for (List<ScoredSequence> group : groups) {
        for (ScoredSequence sequence : group) {
          double[] alone = alone(model, sequence, reader, buffers);
          assertThat(bySequence.get(at++))
              .as("sequence %d", at - 1)
              .containsExactly(alone, within(2e-5));
        }
      }
    }
  }

  /** Through {@link DecoderBlock#advance} without a packing, and the mean losses of prefixes. */
  private static double[] alone(
      ModelLayout model, ScoredSequence sequence, TensorReader reader, ForwardBuffers buffers)
      throws IOException {
    int[] ids = sequence.tokens();
    double[] found = new double[sequence.scored()];
    for (int i = 0; i < found.length; i++) {
      int end = ids.length - sequence.scored() + i + 1;
      found[i] = -loss(model, ids, end, reader, buffers);
    }
    return found;
  }

  /** Of predicting token {@code end − 1}: the sum of losses up to it less that before it. */
  private static double loss(
      ModelLayout model, int[] ids, int end, TensorReader reader, ForwardBuffers buffers)
      throws IOException {
    double total = 0;
    for (int length : new int[] {end, end - 1}) {
      if (length < 2) {
        continue;
      }
      int[] prefix = java.util.Arrays.copyOf(ids, length);
      List<Matrix> hidden = TokenEmbedding.embed(model, List.of(prefix), reader);
      for (BlockLayout layout : model.blocks()) {
        try (DecoderBlock block = DecoderBlock.load(model.config(), layout, reader)) {
          block.advance(hidden.get(0), buffers, ActivationObserver.NONE);
        }
      }
      double mean = LanguageModelHead.losses(model, hidden, List.of(prefix), reader)[0];
      total += (length == end ? 1 : -1) * mean * (length - 1);
      hidden.get(0).close();
    }
    return total;
  }

  private static ScoredSequence sequence(int scored, int... ids) {
    return new ScoredSequence(ids, scored);
  }

  private static double[] of(double value) {
    return new double[] {value};
  }
}
