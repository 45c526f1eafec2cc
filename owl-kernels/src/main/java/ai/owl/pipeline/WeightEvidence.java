package ai.owl.pipeline;

import ai.owl.allocation.Evidence;
import ai.owl.allocation.LayerProfile;
import ai.owl.allocation.LinearProfile;
import ai.owl.allocation.ProfileMeasurement;
import ai.owl.calibration.BlockStatistics;
import ai.owl.checkpoint.TensorReader;
import ai.owl.kernel.Spectrum;
import ai.owl.model.BlockLayout;
import ai.owl.model.DecoderBlock;
import ai.owl.model.LinearLayer;
import ai.owl.tensor.Matrix;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;

/** What the local pipeline measures of weights alone, one block or one matrix in memory. */
final class WeightEvidence {
  private WeightEvidence() {}

  /**
   * Measures what the run's allocator asks for.
   *
   * @param profiles what is known already, one a block
   */
  static List<LayerProfile> add(PruneRun run, TensorReader reader, List<LayerProfile> profiles)
      throws IOException {
    Set<Evidence> asked = run.options().allocator().needs();
    boolean magnitudes =
        asked.contains(Evidence.MAGNITUDES) && !run.options().allocator().needsActivations();
    boolean spectra = asked.contains(Evidence.SPECTRA);
    if (!magnitudes && !spectra) {
      return profiles;
    }
    run.clock().begin(PruneRun.PROFILE, profiles.size());
    List<LayerProfile> measured = new ArrayList<>();
    for (BlockLayout layout : run.model().blocks()) {
      LayerProfile profile = profiles.get(layout.index());
      if (magnitudes) {
        try (DecoderBlock block = DecoderBlock.loadWeights(run.model().config(), layout, reader)) {
          profile = ProfileMeasurement.of(block, new BlockStatistics(), run.thresholds(), asked);
        }
      }
      measured.add(spectra ? withSpectra(profile, layout, reader) : profile);
      run.clock().step("block " + layout.index());
    }
    return measured;
  }

  private static LayerProfile withSpectra(
      LayerProfile profile, BlockLayout layout, TensorReader reader) throws IOException {
    List<LinearProfile> linears = new ArrayList<>();
    for (int i = 0; i < layout.linears().size(); i++) {
      LinearLayer linear = layout.linears().get(i);
      try (Matrix weight = reader.readMatrix(linear.weight())) {
        linears.add(profile.linears().get(i).withSpectrum(Spectrum.of(weight)));
      }
    }
    return profile.withLinears(linears);
  }
}
