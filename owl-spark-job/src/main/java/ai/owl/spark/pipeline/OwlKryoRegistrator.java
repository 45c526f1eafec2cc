package ai.owl.spark.pipeline;

import ai.owl.allocation.LayerProfile;
import ai.owl.calibration.BlockStatistics;
import ai.owl.calibration.ColumnNorms;
import ai.owl.kernel.Spectrum;
import ai.owl.model.LinearInput;
import com.esotericsoftware.kryo.Kryo;
import com.esotericsoftware.kryo.Serializer;
import com.esotericsoftware.kryo.io.Input;
import com.esotericsoftware.kryo.io.Output;
import com.esotericsoftware.kryo.serializers.JavaSerializer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.apache.spark.SparkConf;
import org.apache.spark.serializer.KryoRegistrator;
import org.apache.spark.serializer.KryoSerializer;

/**
 * All that crosses between machines, and how: what is large as raw arrays, the rest by Java's own
 * serialization, since Kryo 4 cannot make records. Nothing else gets through in a session of ours,
 * because registration is required there; native arrays in particular would arrive broken.
 */
public final class OwlKryoRegistrator implements KryoRegistrator {
  /** One 65B sequence is 64 MiB of hidden states, as large as Spark's default limit. */
  private static final String BUFFER_MAX = "1g";

  /** Sets what the pipeline needs of Spark's serializer. */
  public static void configure(SparkConf conf) {
    conf.set("spark.serializer", KryoSerializer.class.getName());
    conf.set("spark.kryo.registrator", OwlKryoRegistrator.class.getName());
    conf.set("spark.kryo.registrationRequired", "true");
    conf.setIfMissing("spark.kryoserializer.buffer.max", BUFFER_MAX);
  }

  /**
   * Refuses a session whose serializer would break what crosses. Spark's default, Java's own
   * serialization, is slower, but right.
   */
  static void requireUsable(SparkConf conf) {
    String serializer = conf.get("spark.serializer", "");
    List<String> registrators =
        Arrays.stream(conf.get("spark.kryo.registrator", "").split(","))
            .map(String::strip)
            .toList();
    if (serializer.equals(KryoSerializer.class.getName())
        && !registrators.contains(OwlKryoRegistrator.class.getName())) {
      throw new IllegalArgumentException(
          "Cannot prune in this Spark session: its spark.serializer is Kryo, which cannot carry"
              + " owl-spark's records by itself; start the session with spark.kryo.registrator="
              + OwlKryoRegistrator.class.getName()
              + (registrators.equals(List.of("")) ? "" : " added to " + registrators)
              + ", or without spark.serializer");
    }
  }

  @Override
  public void registerClasses(Kryo kryo) {
    kryo.register(GramKey.class, new GramKeySerializer());
    kryo.register(SliceState.class, new SliceStateSerializer());
    kryo.register(BlockStatistics.class, new BlockStatisticsSerializer());
    for (Class<?> record :
        List.of(
            LayerProfile.class,
            ProfileTask.class,
            SpectrumTask.class,
            Spectrum.class,
            ShardTask.Prune.class,
            ShardTask.Count.class,
            ShardTask.Copy.class,
            ShardTask.Done.class,
            Step.Work.class,
            SolveTask.class,
            SolveTask.Solved.class,
            ExecutorBlocks.Source.class,
            HiddenStates.ModelWork.class)) {
      kryo.register(record, new JavaSerializer());
    }
    kryo.register(Object[].class);
    kryo.register(float[].class);
    kryo.register(double[].class);
    kryo.register(SolveTask[].class);
    kryo.register(ArrayList.class);
  }

  private static final class GramKeySerializer extends Serializer<GramKey> {
    @Override
    public void write(Kryo kryo, Output out, GramKey key) {
      out.writeInt(key.input());
      out.writeInt(key.firstRow());
      out.writeInt(key.group());
    }

    @Override
    public GramKey read(Kryo kryo, Input in, Class<GramKey> type) {
      return new GramKey(in.readInt(), in.readInt(), in.readInt());
    }
  }

  private static final class SliceStateSerializer extends Serializer<SliceState> {
    @Override
    public void write(Kryo kryo, Output out, SliceState state) {
      out.writeInt(state.index());
      out.writeInt(state.cols());
      out.writeInt(state.hidden().length);
      out.writeFloats(state.hidden());
      kryo.writeObject(out, state.statistics());
    }

    @Override
    public SliceState read(Kryo kryo, Input in, Class<SliceState> type) {
      int index = in.readInt();
      int cols = in.readInt();
      float[] hidden = in.readFloats(in.readInt());
      return new SliceState(index, cols, hidden, kryo.readObject(in, BlockStatistics.class));
    }
  }

  private static final class BlockStatisticsSerializer extends Serializer<BlockStatistics> {
    @Override
    public void write(Kryo kryo, Output out, BlockStatistics statistics) {
      out.writeInt(statistics.inputs().size());
      for (LinearInput input : statistics.inputs()) {
        double[] sums = statistics.at(input).sumsOfSquares();
        out.writeInt(input.ordinal());
        out.writeInt(sums.length);
        out.writeDoubles(sums);
      }
    }

    @Override
    public BlockStatistics read(Kryo kryo, Input in, Class<BlockStatistics> type) {
      BlockStatistics statistics = new BlockStatistics();
      for (int left = in.readInt(); left > 0; left--) {
        LinearInput input = LinearInput.values()[in.readInt()];
        statistics.put(input, new ColumnNorms(in.readDoubles(in.readInt())));
      }
      return statistics;
    }
  }
}
