package ai.owl.spark.ml;

import java.io.Serializable;
import java.util.List;
import java.util.function.Consumer;
import org.apache.spark.ml.param.Param;
import org.apache.spark.ml.param.Params;
import scala.Function1;

/**
 * A {@code Param}'s check of its values, which says itself what is wrong with one; Spark's own say
 * no more than that it is invalid.
 */
final class ParamCheck {
  private ParamCheck() {}

  /** A consumer that Spark may serialize with the Param. */
  @FunctionalInterface
  interface Check<T> extends Consumer<T>, Serializable {}

  /**
   * A check by something that throws what is wrong.
   *
   * @param <T> as Scala has it: {@code Object} for numbers
   */
  static <T> Function1<T, Object> by(Check<T> check) {
    return (Function1<T, Object> & Serializable)
        value -> {
          check.accept(value);
          return true;
        };
  }

  /** One of some names. */
  static Function1<String, Object> oneOf(String param, List<String> names) {
    return by(
        value -> {
          if (!names.contains(value)) {
            throw new IllegalArgumentException(
                "Cannot use "
                    + param
                    + " '"
                    + value
                    + "': it is one of "
                    + String.join(", ", names));
          }
        });
  }

  /** A value without which nothing can be done. */
  static <T> T required(Params owner, Param<T> param, String what, String setter) {
    if (!owner.isDefined(param)) {
      throw new IllegalArgumentException(
          "Cannot use "
              + owner.uid()
              + " without its "
              + param.name()
              + ": give "
              + what
              + " with "
              + setter);
    }
    return owner.getOrDefault(param);
  }

  /** A whole number from {@code least} on. */
  static Function1<Object, Object> atLeast(String param, int least) {
    return by(
        value -> {
          if ((Integer) value < least) {
            throw new IllegalArgumentException(
                "Cannot use " + param + " " + value + ": it is at least " + least);
          }
        });
  }
}
