package ai.owl.spark.report;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.Random;
import org.junit.jupiter.api.Test;

class AxisTest {
  @Test
  void linearTicksAreRoundNumbers() {
    Axis axis = Axis.linear(59.8, 75.8, 6);
    assertThat(axis.ticks()).containsExactly(55.0, 60.0, 65.0, 70.0, 75.0, 80.0);
    assertThat(axis.ticks().stream().map(axis::name)).startsWith("55", "60");
    assertThat(Axis.linear(0, 1.29, 6).name(0.5)).isEqualTo("0.5");
  }

  @Test
  void logarithmicTicksAreEquallyFarApartByFactors() {
    Axis axis = Axis.logarithmic(5.68, 48419, 9);
    assertThat(axis.ticks()).contains(10.0, 100.0, 1000.0, 10000.0);
    double decade = axis.at(100, 0, 300) - axis.at(10, 0, 300);
    assertThat(axis.at(1000, 0, 300) - axis.at(100, 0, 300)).isCloseTo(decade, within(1e-9));
    assertThat(axis.name(10_000)).isEqualTo("10,000");
  }

  @Test
  void hugeRangesHaveShortNames() {
    Axis axis = Axis.logarithmic(5, 1e300, 9);
    assertThat(axis.ticks()).hasSizeBetween(2, 9);
    assertThat(axis.name(1e40)).isEqualTo("1e40");
    assertThat(axis.name(1.5e7)).isEqualTo("1.5e7");
    assertThat(Axis.logarithmic(1e-9, 1e-6, 9).name(2e-9)).isEqualTo("2e-9");
  }

  @Test
  void anyRangeHasATickAndEveryTickIsInside() {
    Random random = new Random(1);
    for (int i = 0; i < 20_000; i++) {
      double low = Math.pow(10, random.nextInt(40) - 20) * random.nextDouble();
      double high = low * (random.nextBoolean() ? 1 : 1 + Math.pow(10, random.nextInt(24) - 12));
      int most = 3 + random.nextInt(8);
      check(Axis.linear(low, high, most), low, high);
      if (low > 0) {
        check(Axis.logarithmic(low, high, most), low, high);
      }
    }
    check(Axis.linear(0, 0, 5), 0, 0);
    check(Axis.linear(70, 70, 5), 70, 70);
    check(Axis.logarithmic(5e-324, 1e308, 9), 5e-324, 1e308);
    check(Axis.logarithmic(1, 1, 9), 1, 1);
  }

  private static void check(Axis axis, double low, double high) {
    assertThat(axis.ticks()).as("%s to %s", low, high).isNotEmpty().hasSizeLessThan(16);
    for (double tick : axis.ticks()) {
      assertThat(axis.at(tick, 0, 100)).isBetween(-1e-6, 100 + 1e-6);
      assertThat(axis.name(tick)).hasSizeLessThan(16);
    }
    assertThat(axis.at(low, 0, 100)).isBetween(-1e-6, 100 + 1e-6);
    assertThat(axis.at(high, 0, 100)).isBetween(-1e-6, 100 + 1e-6);
  }
}
