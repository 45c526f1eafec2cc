package ai.owl.planning;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import ai.owl.model.ForwardBuffers;
import ai.owl.model.ModelLayout;
import ai.owl.pipeline.Propagation;
import ai.owl.pipeline.PruneOptions;
import ai.owl.planning.StagePlan.Cost;
import ai.owl.pruning.SparseGpt;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;

/** With round rates, so that what comes out can be worked out by hand. */
class RunPlannerTest {
  private static final double NEVER = 1e18; // a rate so high that it costs nothing

  private static final MachineRates PRODUCTS_ONLY = productsOnly(1e11);

  private static MachineRates productsOnly(double pruned) {
    return new MachineRates(
        "test", 1e11, pruned, NEVER, NEVER, NEVER, NEVER, NEVER, NEVER, NEVER, NEVER, NEVER, NEVER,
        NEVER, NEVER, NEVER, NEVER, NEVER, 0, 0, 0);
  }

  private static final PruneOptions WANDA = PruneOptions.defaults("in", "out");
  private static final PruneOptions DENSE = WANDA.withPropagation(Propagation.DENSE);
  private static final PruneOptions SPARSE_GPT = WANDA.withPruner(new SparseGpt());

  private static final ModelLayout MODEL = PlannedModels.llama65b();
  private static final Workload USUAL = new Workload(128, 2048, 0, false);

  private static RunPlan plan(PruneOptions options, Cluster cluster, MachineRates rates) {
    return RunPlanner.plan(MODEL, options, USUAL, cluster, rates);
  }

  private static StagePlan stage(RunPlan plan, String name) {
    return plan.stages().stream().filter(one -> one.name().equals(name)).findFirst().orElseThrow();
  }

  private static List<String> stages(RunPlan plan) {
    return plan.stages().stream().map(StagePlan::name).toList();
  }

  @Test
  void aSequenceASlotTakesOneWave() {
    RunPlan plan = plan(DENSE, new Cluster(16, 8, 1), PRODUCTS_ONLY);
    // 79 blocks whole, the last without down_proj; 33.157 s and 25.770 s at 100 Gflop/s
    double whole = 3_315_714_752_512.0 / 1e11;
    double last = 2.0 * (809_500_672 - 8192 * 22016) * 2048 / 1e11;
    assertThat(stage(plan, "calibrate").seconds()).isCloseTo(79 * whole + last, within(1e-3));
    assertThat(plan.shares().get(Cost.PRODUCTS)).isCloseTo(1, within(1e-3));
    assertThat(plan.bottleneck()).startsWith("arithmetic");
  }

  @Test
  void slotsWithoutSequencesAreIdleIfTheyCannotHelp() {
    RunPlan full = plan(DENSE, new Cluster(16, 8, 1), PRODUCTS_ONLY);
    // 8 sequences on 14 cores: one thread each, and six cores with nothing to do
    RunPlan idle = plan(DENSE, new Cluster(16, 14, 1), PRODUCTS_ONLY);
    assertThat(idle.seconds()).isCloseTo(full.seconds(), within(1e-3));
    assertThat(idle.shares().get(Cost.IDLE)).isCloseTo(6.0 / 14, within(1e-3));
    RunPlan alone =
        RunPlanner.plan(
            MODEL, DENSE, new Workload(4, 2048, 0, false), new Cluster(16, 1, 1), PRODUCTS_ONLY);
    assertThat(alone.bottleneck()).startsWith("idle slots: 4 sequences");
    // On 32 cores each has four.
    RunPlan helped = plan(DENSE, new Cluster(16, 32, 1), PRODUCTS_ONLY);
    assertThat(helped.seconds()).isCloseTo(full.seconds() / 4, within(1e-3));
    assertThat(helped.shares().get(Cost.IDLE)).isCloseTo(0, within(1e-3));
  }

  /** Two evaluations, of which the second is of the pruned model, and 79 passes through it. */
  @Test
  void prunedLayersHaveARateOfTheirOwn() {
    Workload workload = new Workload(128, 2048, 128, false);
    Cluster cluster = new Cluster(16, 8, 1);
    RunPlan plan = RunPlanner.plan(MODEL, WANDA, workload, cluster, PRODUCTS_ONLY);
    RunPlan faster = RunPlanner.plan(MODEL, WANDA, workload, cluster, productsOnly(2e11));
    double block = 3_315_714_752_512.0 / 1e11;
    for (int stage = 0; stage < plan.stages().size(); stage++) {
      double saved = plan.stages().get(stage).seconds() - faster.stages().get(stage).seconds();
      double expected =
          switch (stage) {
            case 3 -> 79 * block / 2; // propagate
            case 5 -> 80 * block / 2; // evaluate
            default -> 0;
          };
      assertThat(saved).as("stage " + stage).isCloseTo(expected, within(1e-3));
    }
    RunPlan solved = plan(SPARSE_GPT, cluster, PRODUCTS_ONLY);
    RunPlan solvedFaster = plan(SPARSE_GPT, cluster, productsOnly(2e11));
    // Eight sequences are a task: 16 of them, with eight cores each.
    assertThat(solved.seconds() - solvedFaster.seconds()).isCloseTo(79 * block / 2, within(1e-3));
  }

  @Test
  void unevenWavesWaitForTheLast() {
    // 128 sequences on 96 slots: two waves
    RunPlan plan = plan(DENSE, new Cluster(12, 8, 1), PRODUCTS_ONLY);
    RunPlan even = plan(DENSE, new Cluster(16, 8, 1), PRODUCTS_ONLY);
    assertThat(plan.seconds()).isCloseTo(2 * even.seconds(), within(1e-3));
    assertThat(RunPlanner.schedule(new double[] {1, 1, 1, 3}, 2)).isEqualTo(4);
    assertThat(RunPlanner.schedule(new double[] {3, 1, 1, 1}, 2)).isEqualTo(3);
  }

  @Test
  void theFastestGivesIdleCoresToTheTasks() {
    RunPlan plan =
        RunPlanner.fastest(
            MODEL, DENSE, USUAL, new Cluster(16, 16, 1), PRODUCTS_ONLY, Optional.empty());
    assertThat(plan.cluster().taskCpus()).isEqualTo(2);
    assertThat(plan.seconds())
        .isCloseTo(plan(DENSE, new Cluster(16, 8, 1), PRODUCTS_ONLY).seconds() / 2, within(1e-3));
  }

  @Test
  void jobsAreThoseOfThePipeline() {
    RunPlan wanda = plan(WANDA, new Cluster(16, 16, 1), PRODUCTS_ONLY);
    assertThat(stages(wanda)).containsExactly("calibrate", "profile", "propagate", "prune");
    assertThat(stage(wanda, "calibrate").jobs())
        .containsExactly(new StagePlan.Jobs("gather column norms of a block", 80, 128));
    assertThat(stage(wanda, "propagate").jobCount()).isEqualTo(79);
    assertThat(stage(wanda, "prune").taskCount()).isEqualTo(81);
    RunPlan sparseGpt = plan(SPARSE_GPT, new Cluster(16, 16, 1), PRODUCTS_ONLY);
    assertThat(stage(sparseGpt, "propagate").jobs().get(0).tasks()).isEqualTo(16 + 4);
    assertThat(stage(sparseGpt, "propagate").jobs().get(1).count()).isEqualTo(79);
    assertThat(stages(plan(DENSE, new Cluster(1, 1, 1), PRODUCTS_ONLY)))
        .containsExactly("calibrate", "profile", "prune");
    assertThat(
            stages(
                RunPlanner.plan(
                    MODEL,
                    WANDA,
                    new Workload(128, 2048, 40, true),
                    new Cluster(1, 1, 1),
                    PRODUCTS_ONLY)))
        .containsExactly("evaluate", "propagate", "prune", "evaluate");
  }

  @Test
  void everyExecutorReadsEveryBlockInEveryPass() {
    RunPlan plan = plan(WANDA, new Cluster(16, 16, 1), PRODUCTS_ONLY);
    long block = 2L * (809_500_672 + 2 * 8192); // and two norms
    assertThat(stage(plan, "calibrate").bytesRead()).isEqualTo(16 * 80 * block);
    assertThat(stage(plan, "profile").bytesRead()).isEqualTo(80 * block);
    assertThat(stage(plan, "propagate").bytesRead()).isEqualTo(16 * 80 * block);
    long outside = 2L * (2 * 32_000 * 8192 + 8192);
    assertThat(plan.bytesWritten()).isEqualTo(80 * block + outside);
    assertThat(plan.bytesShuffled()).isZero();
  }

  @Test
  void sparseGptSendsTheGramMatrixOfEveryInput() {
    RunPlan plan = plan(SPARSE_GPT, new Cluster(16, 16, 1), PRODUCTS_ONLY);
    long ofGroup = 3L * 2 * 8192 * 8193 + 2L * 22016 * 22017;
    assertThat(plan.bytesShuffled()).isEqualTo(80 * 16 * ofGroup);
  }

  @Test
  void readingThatTakesLongerThanArithmeticIsTheBottleneck() {
    MachineRates slow = withRead(1e6);
    RunPlan plan = plan(DENSE, new Cluster(16, 8, 1), slow);
    assertThat(plan.bottleneck()).startsWith("storage");
    // Every block once, one after the other, and the last one's arithmetic
    double block = 2.0 * (809_500_672 + 2 * 8192) / 1e6;
    assertThat(stage(plan, "calibrate").seconds()).isBetween(80 * block, 80 * block + 40);
    RunPlan fast = plan(DENSE, new Cluster(16, 8, 1), withRead(1e9));
    // 1.6 s a block are hidden behind 33 s of arithmetic, but for the first.
    assertThat(stage(fast, "calibrate").coreSeconds().get(Cost.STORAGE))
        .isCloseTo(128 * block / 1e3, within(1e-3));
  }

  private static MachineRates withRead(double bytes) {
    ObjectNode json = PRODUCTS_ONLY.toJson();
    json.put("readBytes", bytes);
    return MachineRates.of(json, "test");
  }

  @Test
  void memoryOfAnExecutor() {
    MemoryPlan memory = plan(WANDA, new Cluster(16, 16, 2), PRODUCTS_ONLY).memory();
    long block = 4L * 809_500_672;
    assertThat(memory.blocks()).isEqualTo(2 * block); // kept in a pass, or of a flat job after it
    // 8 sequences at once in each of 16 executors
    long buffers = ForwardBuffers.bytes(MODEL.config(), 2048) + (64L << 20);
    assertThat(memory.buffers()).isEqualTo(8 * buffers);
    assertThat(memory.hiddenStates()).isEqualTo(2 * 8 * (64L << 20));
    assertThat(memory.grams()).isZero();
    assertThat(memory.offHeap()).isEqualTo(2 * block + 8 * buffers);
    assertThat(memory.overhead()).isGreaterThan(memory.offHeap());
    assertThat(memory.driver()).isLessThanOrEqualTo(1L << 30);
  }

  @Test
  void memoryOfSparseGpt() {
    MemoryPlan memory = plan(SPARSE_GPT, new Cluster(16, 16, 1), PRODUCTS_ONLY).memory();
    // One group an executor at once: 3 · 8192² and 22016², in float32
    assertThat(memory.grams()).isEqualTo(4L * (3L * 8192 * 8192 + 22016L * 22016));
    // One input an executor, down_proj's: Gram and factor in float32, work in float64, weights
    long n = 22016;
    assertThat(memory.solving()).isEqualTo(8 * n * n + 8 * n * n + 4 * n * 8192);
  }

  @Test
  void whatDoesNotFitIsPlannedWithFewerTasksAtOnce() {
    Cluster cluster = new Cluster(16, 16, 1);
    RunPlan free =
        RunPlanner.fastest(MODEL, WANDA, USUAL, cluster, PRODUCTS_ONLY, Optional.empty());
    RunPlan tight =
        RunPlanner.fastest(
            MODEL,
            WANDA,
            USUAL,
            cluster,
            PRODUCTS_ONLY,
            Optional.of(free.memory().executor() - (2L << 30)));
    assertThat(tight.memory().executor())
        .isLessThanOrEqualTo(free.memory().executor() - (2L << 30));
    assertThat(tight.cluster().taskCpus()).isGreaterThan(free.cluster().taskCpus());
  }

  @Test
  void ratesComeBackFromJson() {
    assertThat(MachineRates.of(PRODUCTS_ONLY.toJson(), "test")).isEqualTo(PRODUCTS_ONLY);
    ObjectNode lacking = PRODUCTS_ONLY.toJson();
    lacking.remove("gramFlops");
    assertThatThrownBy(() -> MachineRates.of(lacking, "r.json"))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageStartingWith("Cannot use --rates r.json: it lacks gramFlops");
    ObjectNode negative = PRODUCTS_ONLY.toJson().put("readBytes", -1);
    assertThatThrownBy(() -> MachineRates.of(negative, "r.json"))
        .hasMessageContaining("readBytes is -1");
  }

  @Test
  void coresThatCannotBeAreRefused() {
    assertThatThrownBy(() -> new Cluster(0, 1, 1)).hasMessageStartingWith("Cannot plan for 0 ");
    assertThatThrownBy(() -> new Cluster(1, 2, 3)).hasMessageContaining("3 of the 2 cores");
    assertThatThrownBy(() -> new Workload(0, 2048, 0, false)).hasMessageContaining("0 sequences");
  }
}
