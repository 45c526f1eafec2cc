package ai.owl.spark.pipeline;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatCode;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import ai.owl.calibration.BlockStatistics;
import ai.owl.calibration.ColumnNorms;
import ai.owl.model.LinearInput;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.ObjectInputStream;
import java.io.ObjectOutputStream;
import org.apache.spark.SparkConf;
import org.junit.jupiter.api.Test;

/** The sessions that the pipeline finds itself in when it did not make them. */
class SessionSerializerTest {
  @Test
  void javasOwnSerializationWillDo() throws Exception {
    assertThatCode(() -> OwlKryoRegistrator.requireUsable(new SparkConf(false)))
        .doesNotThrowAnyException();
    BlockStatistics statistics = new BlockStatistics();
    statistics.put(LinearInput.MLP, new ColumnNorms(new double[] {1.5, 2}));
    SliceState state = new SliceState(3, 2, new float[] {1, 2, 3, 4}, statistics);
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    try (ObjectOutputStream out = new ObjectOutputStream(bytes)) {
      out.writeObject(state); // as when hidden states do not fit into memory
    }
    SliceState read =
        (SliceState)
            new ObjectInputStream(new ByteArrayInputStream(bytes.toByteArray())).readObject();
    assertThat(read.index()).isEqualTo(3);
    assertThat(read.hidden()).containsExactly(1, 2, 3, 4);
    assertThat(read.statistics().at(LinearInput.MLP).sumsOfSquares()).containsExactly(1.5, 2);
  }

  @Test
  void kryoNeedsTheRegistrator() {
    SparkConf kryo =
        new SparkConf(false).set("spark.serializer", "org.apache.spark.serializer.KryoSerializer");
    assertThatThrownBy(() -> OwlKryoRegistrator.requireUsable(kryo))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("Cannot prune in this Spark session")
        .hasMessageContaining(
            "spark.kryo.registrator=ai.owl.spark.pipeline.OwlKryoRegistrator, or");
    kryo.set("spark.kryo.registrator", "org.example.Theirs");
    assertThatThrownBy(() -> OwlKryoRegistrator.requireUsable(kryo))
        .hasMessageContaining("added to [org.example.Theirs]");
    kryo.set(
        "spark.kryo.registrator", "org.example.Theirs, ai.owl.spark.pipeline.OwlKryoRegistrator");
    assertThatCode(() -> OwlKryoRegistrator.requireUsable(kryo)).doesNotThrowAnyException();
    OwlKryoRegistrator.configure(kryo);
    assertThatCode(() -> OwlKryoRegistrator.requireUsable(kryo)).doesNotThrowAnyException();
  }
}
