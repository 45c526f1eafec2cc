package ai.owl.spark.metrics;

import static org.assertj.core.api.Assertions.assertThat;

import java.lang.reflect.Field;
import java.lang.reflect.Modifier;
import org.junit.jupiter.api.Test;

class ProductsAccumulatorTest {
  private static ProductsAccumulator of(String products, String... machines) {
    ProductsAccumulator accumulator = new ProductsAccumulator();
    for (String machine : machines) {
      accumulator.add(new ProductsAccumulator.Seen(products, machine));
    }
    return accumulator;
  }

  @Test
  void mergesWhatTasksSawOnTheirMachines() {
    ProductsAccumulator all = of("float32", "b");
    all.merge(of("float32", "a", "b"));
    all.merge(of("bfloat16", "c"));
    assertThat(all.value()).hasToString("{bfloat16=[c], float32=[a, b]}");
    ProductsAccumulator copy = all.copy();
    all.add(new ProductsAccumulator.Seen("float32", "z"));
    assertThat(copy.value()).as("not shared").hasToString("{bfloat16=[c], float32=[a, b]}");
    all.reset();
    assertThat(all.isZero()).isTrue();
    assertThat(copy.isZero()).isFalse();
  }

  /** As a heartbeat finds it that comes while Spark reads it from a task's bytes. */
  @Test
  void answersBeforeItsFieldsAreRead() throws Exception {
    ProductsAccumulator unread = of("float32", "a");
    for (Field field : ProductsAccumulator.class.getDeclaredFields()) {
      if (!Modifier.isStatic(field.getModifiers())) {
        field.setAccessible(true);
        field.set(unread, null);
      }
    }
    assertThat(unread.isZero()).isTrue();
    assertThat(unread.value()).isEmpty();
    assertThat(unread.copy().isZero()).isTrue();
  }
}
