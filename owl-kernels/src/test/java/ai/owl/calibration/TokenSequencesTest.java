package ai.owl.calibration;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.ObjectInputStream;
import java.io.ObjectOutputStream;
import java.util.List;
import org.junit.jupiter.api.Test;

class TokenSequencesTest {
  private final TokenSequences sequences =
      TokenSequences.of(List.of(new int[] {1, 2, 3}, new int[] {511}));

  @Test
  void holdsSequencesOfDifferentLengths() {
    assertThat(sequences.count()).isEqualTo(2);
    assertThat(sequences.tokens()).isEqualTo(4);
    assertThat(sequences.length(0)).isEqualTo(3);
    assertThat(sequences.sequence(0)).containsExactly(1, 2, 3);
    assertThat(sequences.sequence(1)).containsExactly(511);
  }

  @Test
  void isNotChangedThroughItsArrays() {
    int[] ids = {1, 2};
    TokenSequences one = TokenSequences.of(List.of(ids));
    ids[0] = 9;
    one.sequence(0)[1] = 9;
    assertThat(one.sequence(0)).containsExactly(1, 2);
  }

  /** hashlib.sha256(struct.pack("<6i", 3, 1, 2, 3, 1, 511)).hexdigest() */
  @Test
  void hasADigestOverLengthsAndIds() {
    assertThat(sequences.digest())
        .isEqualTo("57f05319a997c2b09315f352de47b77f9d9b960db4e4bc1be803fa1201e530c6");
    assertThat(sequences.digest())
        .isNotEqualTo(TokenSequences.of(List.of(new int[] {1, 2, 3, 511})).digest());
  }

  @Test
  void acceptsAVocabularyThatHasEveryToken() {
    sequences.requireVocabulary(512, "ids.safetensors");
  }

  @Test
  void namesTheTokenOutsideTheVocabulary() {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> sequences.requireVocabulary(511, "ids.safetensors"))
        .withMessage(
            "Cannot use ids.safetensors: token id 511 at sequence 1, position 0 is outside the"
                + " model's vocabulary of 511");
  }

  @Test
  void refusesToBeEmpty() {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> TokenSequences.of(List.of()))
        .withMessage("Cannot use token sequences: there are none");
    assertThatIllegalArgumentException()
        .isThrownBy(() -> TokenSequences.of(List.of(new int[] {1}, new int[0])))
        .withMessage("Cannot use token sequences: sequence 1 is empty");
  }

  @Test
  void refusesNegativeIds() {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> TokenSequences.of(List.of(new int[] {1}, new int[] {4, -100})))
        .withMessage(
            "Cannot use token sequences: token id -100 at sequence 1, position 1 is negative");
  }

  @Test
  void survivesSerialization() throws Exception {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    try (ObjectOutputStream out = new ObjectOutputStream(bytes)) {
      out.writeObject(sequences);
    }
    try (ObjectInputStream in =
        new ObjectInputStream(new ByteArrayInputStream(bytes.toByteArray()))) {
      assertThat(in.readObject()).isEqualTo(sequences).hasSameHashCodeAs(sequences);
    }
  }
}
