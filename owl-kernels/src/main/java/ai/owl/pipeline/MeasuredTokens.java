package ai.owl.pipeline;

import ai.owl.calibration.TokenSequences;
import java.io.Serializable;

/**
 * The calibration tokens that something was measured on, by name and number.
 *
 * @param digest {@link TokenSequences#digest}
 * @param sequences how many sequences
 * @param tokens how many tokens in all
 */
public record MeasuredTokens(String digest, int sequences, long tokens) implements Serializable {
  public static MeasuredTokens of(TokenSequences sequences) {
    return new MeasuredTokens(sequences.digest(), sequences.count(), sequences.tokens());
  }
}
