package ai.owl.spark.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import picocli.CommandLine.TypeConversionException;

class PatternNameTest {
  private final PrunerFlags.PatternName.Converter converter =
      new PrunerFlags.PatternName.Converter();

  @Test
  void readsWhatIsKept() {
    assertThat(converter.convert("2:4")).isEqualTo(new PrunerFlags.PatternName(2, 4));
    assertThat(converter.convert("unstructured")).hasToString("unstructured");
  }

  /** Anything but a TypeConversionException would be shown with the names of Java classes. */
  @ParameterizedTest
  @ValueSource(strings = {"4:2", "0:4", "1:1", "2:129"})
  void refusesImpossibleNumbersInItsOwnWords(String pattern) {
    assertThatThrownBy(() -> converter.convert(pattern))
        .isInstanceOf(TypeConversionException.class)
        .hasMessageStartingWith("Cannot use --pattern " + pattern + ": it keeps N of M");
  }
}
