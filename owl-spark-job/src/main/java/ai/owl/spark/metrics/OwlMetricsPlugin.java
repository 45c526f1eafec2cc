package ai.owl.spark.metrics;

import com.codahale.metrics.Gauge;
import com.codahale.metrics.Meter;
import com.codahale.metrics.MetricRegistry;
import java.util.Map;
import java.util.function.Supplier;
import org.apache.spark.SparkContext;
import org.apache.spark.api.plugin.DriverPlugin;
import org.apache.spark.api.plugin.ExecutorPlugin;
import org.apache.spark.api.plugin.PluginContext;
import org.apache.spark.api.plugin.SparkPlugin;
import org.bytedeco.javacpp.Pointer;

/**
 * Shows a run to Spark's metrics system, and so to every sink that it has: {@code
 * spark.plugins=ai.owl.spark.metrics.OwlMetricsPlugin}.
 *
 * <p>Gauges, by the names {@code plugin.ai.owl.spark.metrics.OwlMetricsPlugin.…}; those of an
 * executor are of what it did itself, the driver's of what the finished tasks of all of them
 * report:
 *
 * <ul>
 *   <li>{@code tokens}: tokens taken through a block, one count a block;
 *   <li>{@code tokensPerSecond}: the same, as a one-minute exponential average;
 *   <li>{@code blocksDone}: blocks done with, one count for each pass or job; a block that an
 *       executor shares with others counts on the driver only;
 *   <li>{@code weightsRemoved}: weights that pruning left at zero;
 *   <li>{@code nativeBytes}: what JavaCPP holds for weights and buffers outside of the heap, bytes;
 *   <li>{@code physicalBytes}: resident memory of the process, heap included, bytes: what {@code
 *       spark.executor.memoryOverhead} has to make room for.
 * </ul>
 */
public final class OwlMetricsPlugin implements SparkPlugin {
  @Override
  public DriverPlugin driverPlugin() {
    return new DriverPlugin() {
      @Override
      public Map<String, String> init(SparkContext context, PluginContext plugin) {
        // Sums come in as tasks end, and are looked at when somebody asks.
        Meter rate = new Meter();
        register(
            plugin.metricRegistry(),
            WorkCounters::allTokens,
            () -> {
              synchronized (rate) {
                rate.mark(Math.max(0, WorkCounters.allTokens() - rate.getCount()));
                return rate.getOneMinuteRate();
              }
            },
            WorkCounters::allBlocks,
            WorkCounters::allZeros);
        return Map.of();
      }
    };
  }

  @Override
  public ExecutorPlugin executorPlugin() {
    return new ExecutorPlugin() {
      @Override
      public void init(PluginContext plugin, Map<String, String> settings) {
        register(
            plugin.metricRegistry(),
            WorkCounters.PROCESS_TOKENS::getCount,
            WorkCounters.PROCESS_TOKENS::getOneMinuteRate,
            WorkCounters.PROCESS_BLOCKS::sum,
            WorkCounters.PROCESS_ZEROS::sum);
      }
    };
  }

  private static void register(
      MetricRegistry registry,
      Supplier<Long> tokens,
      Supplier<Double> tokensPerSecond,
      Supplier<Long> blocks,
      Supplier<Long> zeros) {
    registry.register("tokens", (Gauge<Long>) tokens::get);
    registry.register("tokensPerSecond", (Gauge<Double>) tokensPerSecond::get);
    registry.register("blocksDone", (Gauge<Long>) blocks::get);
    registry.register("weightsRemoved", (Gauge<Long>) zeros::get);
    registry.register("nativeBytes", (Gauge<Long>) Pointer::totalBytes);
    registry.register("physicalBytes", (Gauge<Long>) Pointer::physicalBytes);
  }
}
