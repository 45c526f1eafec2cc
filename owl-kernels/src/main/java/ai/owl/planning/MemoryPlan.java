package ai.owl.planning;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;

/**
 * What an executor needs at its peak, in bytes, and the driver.
 *
 * @param blocks decoder blocks as float32, outside the heap
 * @param buffers forward buffers and the hidden states of the sequences that are worked on, of all
 *     tasks that run at once, outside the heap
 * @param grams Gram matrices of the tasks that gather them at once, outside the heap
 * @param solving Gram matrix, factor and weights of the inputs that are solved at once, outside
 * @param head slices of the language-model head and its logits, outside the heap
 * @param hiddenStates of the executor's sequences between two steps, before and after it, in the
 *     heap; what does not fit is kept on its disk
 * @param offHeap the most that is needed outside the heap at one time
 * @param heap of the executor's JVM ({@code spark.executor.memory})
 * @param overhead everything else of its process ({@code spark.executor.memoryOverhead})
 * @param driver heap of the driver's JVM ({@code spark.driver.memory})
 */
public record MemoryPlan(
    long blocks,
    long buffers,
    long grams,
    long solving,
    long head,
    long hiddenStates,
    long offHeap,
    long heap,
    long overhead,
    long driver) {

  /** What a machine or container has to have for an executor. */
  public long executor() {
    return heap + overhead;
  }

  ObjectNode toJson() {
    ObjectNode json = JsonNodeFactory.instance.objectNode();
    json.put("executor", executor());
    json.put("heap", heap);
    json.put("overhead", overhead);
    json.put("offHeap", offHeap);
    json.put("blocks", blocks);
    json.put("buffers", buffers);
    json.put("grams", grams);
    json.put("solving", solving);
    json.put("head", head);
    json.put("hiddenStates", hiddenStates);
    json.put("driver", driver);
    return json;
  }
}
