package ai.owl.planning;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.lang.reflect.Constructor;
import java.lang.reflect.RecordComponent;

/**
 * How fast machines are. Rates of arithmetic are those of one core while the executor's others are
 * as busy; those of storage are an executor's.
 *
 * @param source where the figures come from, for the reader of a plan
 * @param linearFlops flops a second in linear layers
 * @param prunedLinearFlops the same in pruned ones, products with zeros counted as if they were
 *     made; at the sparsity that was planned for when it was measured
 * @param attentionFlops flops a second in attention, softmax included
 * @param elementwiseValues values a second through norms, rotations and activation ({@link
 *     BlockCosts#elementwiseValues})
 * @param observedValues values a second into column norms
 * @param gramFlops flops a second into Gram matrices, of their upper triangles
 * @param profiledWeights weights a second that are measured for an allocator
 * @param selectedWeights weights a second that a metric decides on, and that are held without their
 *     zeros then, where products skip those
 * @param factorFlops flops a second of SparseGPT's factorization, {@code 2/3 · n³}
 * @param sweptWeights weights a second in SparseGPT's sweep, its matrix products left out
 * @param spectrumFlops {@code n² · m + n³} a second, n ≤ m, in singular values
 * @param decodedWeights weights a second from stored bytes into memory
 * @param encodedWeights weights a second from memory into stored bytes with their checksum
 * @param logits logits a second in a perplexity, their products left out
 * @param readBytes bytes a second from storage
 * @param writeBytes bytes a second to storage
 * @param shuffledBytes bytes a second that a core serializes, or takes in again
 * @param jobSeconds what a Spark job costs, whatever it does
 * @param taskSeconds what a task costs the driver
 * @param warmUpSeconds what an executor needs, once, until it is as fast as said
 */
public record MachineRates(
    String source,
    double linearFlops,
    double prunedLinearFlops,
    double attentionFlops,
    double elementwiseValues,
    double observedValues,
    double gramFlops,
    double profiledWeights,
    double selectedWeights,
    double factorFlops,
    double sweptWeights,
    double spectrumFlops,
    double decodedWeights,
    double encodedWeights,
    double logits,
    double readBytes,
    double writeBytes,
    double shuffledBytes,
    double jobSeconds,
    double taskSeconds,
    double warmUpSeconds) {

  /** As JSON, each figure under its name. */
  public ObjectNode toJson() {
    ObjectNode json = JsonNodeFactory.instance.objectNode();
    try {
      for (RecordComponent component : MachineRates.class.getRecordComponents()) {
        Object value = component.getAccessor().invoke(this);
        if (value instanceof Double number) {
          json.put(component.getName(), rounded(number));
        } else {
          json.put(component.getName(), (String) value);
        }
      }
    } catch (ReflectiveOperationException e) {
      throw new IllegalStateException(e);
    }
    return json;
  }

  /** Four digits: no rate is known better. */
  private static double rounded(double value) {
    return Double.parseDouble(String.format(java.util.Locale.ROOT, "%.3e", value));
  }

  /**
   * Reads what {@link #toJson} gave, or somebody wrote.
   *
   * @param location where it was read from, for messages
   * @throws IllegalArgumentException if a figure is missing, or is no positive number
   */
  public static MachineRates of(JsonNode json, String location) {
    RecordComponent[] components = MachineRates.class.getRecordComponents();
    Object[] values = new Object[components.length];
    Class<?>[] types = new Class<?>[components.length];
    for (int i = 0; i < components.length; i++) {
      String name = components[i].getName();
      types[i] = components[i].getType();
      if (types[i] == String.class) {
        values[i] = json.path(name).asText("rates of " + location);
        continue;
      }
      double value = json.path(name).asDouble(Double.NaN);
      boolean mayBeZero = name.endsWith("Seconds");
      if (!(value > 0 || mayBeZero && value == 0) || Double.isInfinite(value)) {
        throw new IllegalArgumentException(
            "Cannot use --rates "
                + location
                + ": "
                + (json.has(name)
                    ? name + " is " + json.get(name) + ", not a positive number"
                    : "it lacks " + name + "; owl plan --save-rates writes such a file whole"));
      }
      values[i] = value;
    }
    try {
      Constructor<MachineRates> constructor = MachineRates.class.getDeclaredConstructor(types);
      return constructor.newInstance(values);
    } catch (ReflectiveOperationException e) {
      throw new IllegalStateException(e);
    }
  }
}
