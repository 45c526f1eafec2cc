package ai.owl.pipeline;

import ai.owl.calibration.Samples;
import ai.owl.calibration.TokenSequences;
import ai.owl.kernel.Compute;
import ai.owl.model.ModelLayout;
import java.io.IOException;
import java.io.Serializable;

/**
 * The calibration samples that something was measured on, by name and number.
 *
 * @param digest {@link Samples#digest}
 * @param sequences how many samples: sequences of tokens, or images
 * @param tokens how many tokens in all; of an image, its patches and the class token
 * @param compute what products they ran through the model with
 */
public record MeasuredSamples(String digest, int sequences, long tokens, Compute compute)
    implements Serializable {
  public static MeasuredSamples of(Samples samples, ModelLayout model) throws IOException {
    long tokens =
        samples instanceof TokenSequences sequences
            ? sequences.tokens()
            : (long) samples.count() * model.config().maxPositions();
    return new MeasuredSamples(samples.digest(), samples.count(), tokens, model.config().compute());
  }
}
