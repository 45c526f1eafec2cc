package ai.owl.allocation;

import java.util.Collections;
import java.util.List;
import java.util.Set;

/** The same sparsity for every block. */
public record Uniform() implements SparsityAllocator {
  @Override
  public String name() {
    return "uniform";
  }

  @Override
  public Set<Evidence> needs() {
    return Set.of();
  }

  @Override
  public SparsityAllocation allocate(List<LayerProfile> profiles, double target) {
    return SparsityAllocation.ofBlocks(
        target, Collections.nCopies(profiles.size(), target), profiles, List.of());
  }
}
