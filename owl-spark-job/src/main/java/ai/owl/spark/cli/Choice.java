package ai.owl.spark.cli;

import java.util.Arrays;
import java.util.Locale;
import java.util.stream.Collectors;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.TypeConversionException;

/** Reads one of an enum's values, in lower case as the help shows them, and names them if not. */
record Choice<E extends Enum<E>>(Class<E> type) implements ITypeConverter<E> {
  @Override
  public E convert(String value) {
    return Arrays.stream(type.getEnumConstants())
        .filter(choice -> label(choice).equalsIgnoreCase(value))
        .findFirst()
        .orElseThrow(
            () ->
                new TypeConversionException(
                    "expected "
                        + Arrays.stream(type.getEnumConstants())
                            .map(Choice::label)
                            .collect(Collectors.joining(" or "))
                        + ", not '"
                        + value
                        + "'"));
  }

  private static String label(Enum<?> choice) {
    return choice.name().toLowerCase(Locale.ROOT).replace('_', '-');
  }
}
