package ai.owl.allocation;

import java.util.Collections;
import java.util.List;

/** The same sparsity for every block. */
public record Uniform() implements SparsityAllocator {
  @Override
  public String name() {
    return "uniform";
  }

  @Override
  public boolean needsOutlierRatios() {
    return false;
  }

  @Override
  public SparsityAllocation allocate(List<LayerProfile> profiles, double target) {
    return new SparsityAllocation(
        target,
        Collections.nCopies(profiles.size(), target),
        profiles.stream().map(LayerProfile::weights).toList(),
        List.of());
  }
}
