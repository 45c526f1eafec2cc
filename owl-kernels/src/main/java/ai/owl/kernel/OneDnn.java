package ai.owl.kernel;

import static org.bytedeco.dnnl.global.dnnl.DNNL_ARG_DST;
import static org.bytedeco.dnnl.global.dnnl.DNNL_ARG_FROM;
import static org.bytedeco.dnnl.global.dnnl.DNNL_ARG_SCRATCHPAD;
import static org.bytedeco.dnnl.global.dnnl.DNNL_ARG_SRC;
import static org.bytedeco.dnnl.global.dnnl.DNNL_ARG_TO;
import static org.bytedeco.dnnl.global.dnnl.DNNL_ARG_WEIGHTS;
import static org.bytedeco.dnnl.global.dnnl.dnnl_bf16;
import static org.bytedeco.dnnl.global.dnnl.dnnl_cpu;
import static org.bytedeco.dnnl.global.dnnl.dnnl_cpu_isa_avx512_core_amx;
import static org.bytedeco.dnnl.global.dnnl.dnnl_cpu_isa_avx512_core_bf16;
import static org.bytedeco.dnnl.global.dnnl.dnnl_data_type_undef;
import static org.bytedeco.dnnl.global.dnnl.dnnl_eltwise_linear;
import static org.bytedeco.dnnl.global.dnnl.dnnl_engine_create;
import static org.bytedeco.dnnl.global.dnnl.dnnl_f32;
import static org.bytedeco.dnnl.global.dnnl.dnnl_format_tag_any;
import static org.bytedeco.dnnl.global.dnnl.dnnl_get_effective_cpu_isa;
import static org.bytedeco.dnnl.global.dnnl.dnnl_matmul_primitive_desc_create;
import static org.bytedeco.dnnl.global.dnnl.dnnl_memory_create;
import static org.bytedeco.dnnl.global.dnnl.dnnl_memory_desc_create_with_strides;
import static org.bytedeco.dnnl.global.dnnl.dnnl_memory_desc_create_with_tag;
import static org.bytedeco.dnnl.global.dnnl.dnnl_memory_desc_destroy;
import static org.bytedeco.dnnl.global.dnnl.dnnl_memory_desc_get_size;
import static org.bytedeco.dnnl.global.dnnl.dnnl_memory_destroy;
import static org.bytedeco.dnnl.global.dnnl.dnnl_post_ops_append_eltwise;
import static org.bytedeco.dnnl.global.dnnl.dnnl_post_ops_append_sum;
import static org.bytedeco.dnnl.global.dnnl.dnnl_post_ops_create;
import static org.bytedeco.dnnl.global.dnnl.dnnl_post_ops_destroy;
import static org.bytedeco.dnnl.global.dnnl.dnnl_primitive_attr_create;
import static org.bytedeco.dnnl.global.dnnl.dnnl_primitive_attr_destroy;
import static org.bytedeco.dnnl.global.dnnl.dnnl_primitive_attr_set_post_ops;
import static org.bytedeco.dnnl.global.dnnl.dnnl_primitive_attr_set_scratchpad_mode;
import static org.bytedeco.dnnl.global.dnnl.dnnl_primitive_create;
import static org.bytedeco.dnnl.global.dnnl.dnnl_primitive_desc_destroy;
import static org.bytedeco.dnnl.global.dnnl.dnnl_primitive_desc_query_md;
import static org.bytedeco.dnnl.global.dnnl.dnnl_primitive_destroy;
import static org.bytedeco.dnnl.global.dnnl.dnnl_primitive_execute;
import static org.bytedeco.dnnl.global.dnnl.dnnl_query_scratchpad_md;
import static org.bytedeco.dnnl.global.dnnl.dnnl_query_weights_md;
import static org.bytedeco.dnnl.global.dnnl.dnnl_reorder_primitive_desc_create;
import static org.bytedeco.dnnl.global.dnnl.dnnl_scratchpad_mode_user;
import static org.bytedeco.dnnl.global.dnnl.dnnl_stream_create;
import static org.bytedeco.dnnl.global.dnnl.dnnl_stream_default_flags;
import static org.bytedeco.dnnl.global.dnnl.dnnl_stream_wait;
import static org.bytedeco.dnnl.global.dnnl.dnnl_version;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.bytedeco.dnnl.dnnl_engine;
import org.bytedeco.dnnl.dnnl_exec_arg_t;
import org.bytedeco.dnnl.dnnl_memory;
import org.bytedeco.dnnl.dnnl_memory_desc;
import org.bytedeco.dnnl.dnnl_post_ops;
import org.bytedeco.dnnl.dnnl_primitive;
import org.bytedeco.dnnl.dnnl_primitive_attr;
import org.bytedeco.dnnl.dnnl_primitive_desc;
import org.bytedeco.dnnl.dnnl_stream;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.Pointer;
import org.nd4j.nativeblas.NativeOpsHolder;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Products of bfloat16 matrices with float32 sums, by oneDNN: which of its instructions the
 * processor has, and the three things that are asked of it. All on the calling thread.
 */
final class OneDnn {
  /** Of products: {@code openblas} keeps away from oneDNN. */
  static final String PRODUCTS = "owl.products";

  /** Operands begin on cache lines: a row of a tile that lies across two costs two loads. */
  static final int ALIGNMENT = 64;

  /** Rows of x that a layout of weights is chosen for. */
  static final int ROWS = 256;

  private static final Logger LOG = LoggerFactory.getLogger(OneDnn.class);

  /** Shapes that are kept; sequences of ever new lengths must not fill the memory. */
  private static final int SHAPES = 2000;

  private static final int ISA = isa();

  private OneDnn() {}

  /** What oneDNN says of the processor; 0 if it is not there or not wanted. */
  private static int isa() {
    if (System.getProperty(PRODUCTS, "").equals("openblas")) {
      return 0;
    }
    try {
      return dnnl_get_effective_cpu_isa();
    } catch (LinkageError e) {
      LOG.warn("Cannot load oneDNN, products are OpenBLAS's: {}", e.toString());
      return 0;
    }
  }

  /** Whether bfloat16 products are faster than those of float32. */
  static boolean hasBfloat16() {
    return (ISA & dnnl_cpu_isa_avx512_core_bf16) == dnnl_cpu_isa_avx512_core_bf16;
  }

  /** Whether they are so by far: more than three times. */
  static boolean hasTiles() {
    return (ISA & dnnl_cpu_isa_avx512_core_amx) == dnnl_cpu_isa_avx512_core_amx;
  }

  static String name() {
    if (ISA == 0) {
      return "no oneDNN";
    }
    return "oneDNN "
        + dnnl_version().major()
        + "."
        + dnnl_version().minor()
        + ", "
        + (hasTiles() ? "AMX" : hasBfloat16() ? "AVX512-BF16" : "no bfloat16 instructions");
  }

  /** What only exists where oneDNN is. */
  private static final class Engine {
    static final dnnl_engine CPU = new dnnl_engine();

    static {
      check(dnnl_engine_create(CPU, dnnl_cpu, 0), "start");
    }
  }

  private static final ThreadLocal<Worker> WORKERS = ThreadLocal.withInitial(Worker::new);

  /** A thread's stream, and its working memory. */
  private static final class Worker {
    final dnnl_stream stream = new dnnl_stream();
    BytePointer scratchpad = new BytePointer();

    Worker() {
      Blas.threads(); // starts ND4J, without which there is no holder of its operations
      // oneDNN would start threads of its own; products are cut into tiles, a thread each.
      NativeOpsHolder.getInstance().getDeviceNativeOps().setOmpNumThreads(1);
      check(dnnl_stream_create(stream, Engine.CPU, dnnl_stream_default_flags), "start");
    }

    Pointer scratchpad(long bytes) {
      if (scratchpad.capacity() < bytes + ALIGNMENT) {
        scratchpad.close();
        scratchpad = new BytePointer(); // a closed one still tells its capacity
        scratchpad = new BytePointer(bytes + ALIGNMENT);
      }
      return aligned(scratchpad);
    }
  }

  /** The first address on a cache line. */
  static BytePointer aligned(BytePointer memory) {
    long beyond = memory.address() % ALIGNMENT;
    return memory.getPointer(beyond == 0 ? 0 : ALIGNMENT - beyond);
  }

  private static void check(int status, String verb) {
    if (status != 0) {
      throw new IllegalStateException(
          "Cannot "
              + verb
              + " with oneDNN: status "
              + status
              + "; -D"
              + PRODUCTS
              + "=openblas keeps away from it");
    }
  }

  private static dnnl_memory_desc strided(long rows, long cols, int type, long down, long across) {
    dnnl_memory_desc layout = new dnnl_memory_desc();
    check(
        dnnl_memory_desc_create_with_strides(
            layout, 2, new long[] {rows, cols}, type, new long[] {down, across}),
        "describe a matrix");
    return layout;
  }

  /** The shape of bfloat16 weights (n, k), in the layout that oneDNN multiplies by fastest. */
  record Packing(int n, int k) {
    private static final Map<Packing, dnnl_memory_desc> LAYOUTS = new ConcurrentHashMap<>();

    private dnnl_memory_desc layout() {
      return LAYOUTS.computeIfAbsent(this, Packing::choose);
    }

    private dnnl_memory_desc choose() {
      WORKERS.get();
      dnnl_memory_desc free = new dnnl_memory_desc();
      check(
          dnnl_memory_desc_create_with_tag(
              free, 2, new long[] {k, n}, dnnl_bf16, dnnl_format_tag_any),
          "describe weights");
      dnnl_primitive_desc product = new dnnl_primitive_desc();
      check(
          dnnl_matmul_primitive_desc_create(
              product,
              Engine.CPU,
              strided(ROWS, k, dnnl_bf16, k, 1),
              free,
              null,
              strided(ROWS, n, dnnl_f32, n, 1),
              null),
          "plan a product");
      return dnnl_primitive_desc_query_md(product, dnnl_query_weights_md, 0);
    }

    long bytes() {
      return dnnl_memory_desc_get_size(layout());
    }

    /**
     * Packs weights.
     *
     * @param weights (n, k) in float32, rounded to bfloat16
     */
    void pack(Pointer weights, Pointer packed) {
      dnnl_memory_desc rows = rows();
      try {
        move(new Move(n, k, true), rows, layout(), weights, packed);
      } finally {
        dnnl_memory_desc_destroy(rows);
      }
    }

    /** What {@link #pack} packed, as float32 (n, k). */
    void unpack(Pointer packed, Pointer weights) {
      dnnl_memory_desc rows = rows();
      try {
        move(new Move(n, k, false), layout(), rows, packed, weights);
      } finally {
        dnnl_memory_desc_destroy(rows);
      }
    }

    /** oneDNN takes weights as (k, n): theirs is the transpose of ours, in the same memory. */
    private dnnl_memory_desc rows() {
      return strided(k, n, dnnl_f32, 1, k);
    }
  }

  private record Move(int n, int k, boolean packs) {}

  private static final Map<Move, dnnl_primitive> MOVES = new ConcurrentHashMap<>();

  private static void move(
      Move key, dnnl_memory_desc source, dnnl_memory_desc target, Pointer from, Pointer to) {
    Worker worker = WORKERS.get();
    dnnl_primitive primitive =
        MOVES.computeIfAbsent(
            key,
            any -> {
              dnnl_primitive_desc plan = new dnnl_primitive_desc();
              check(
                  dnnl_reorder_primitive_desc_create(
                      plan, source, Engine.CPU, target, Engine.CPU, null),
                  "plan the packing of weights");
              dnnl_primitive made = new dnnl_primitive();
              check(dnnl_primitive_create(made, plan), "make the packing of weights");
              return made;
            });
    try (Operands operands = new Operands()) {
      operands.add(DNNL_ARG_FROM, source, from).add(DNNL_ARG_TO, target, to);
      operands.execute(worker, primitive);
    }
  }

  /**
   * The shape of a product. Plans are made when a shape is first met, and kept for {@link #SHAPES}
   * of them.
   */
  sealed interface Shape {
    Map<Shape, Plan> PLANS = new ConcurrentHashMap<>();

    Plan make();

    /**
     * Carries it out.
     *
     * @param x left factor, bfloat16
     * @param w right factor, bfloat16
     * @param c product, float32
     */
    default void multiply(Pointer x, Pointer w, Pointer c) {
      Worker worker = WORKERS.get();
      Plan plan = PLANS.get(this);
      boolean isKept = true;
      if (plan == null) {
        plan = make(); // oneDNN keeps what it has generated: a shape too many costs little
        isKept = PLANS.size() < SHAPES && PLANS.putIfAbsent(this, plan) == null;
      }
      try {
        plan.carryOut(worker, x, w, c);
      } finally {
        if (!isKept) {
          plan.destroy();
        }
      }
    }
  }

  /**
   * How a product is carried out.
   *
   * @param w not owned where it is the layout of packed weights
   */
  private record Plan(
      dnnl_primitive_desc description,
      dnnl_primitive primitive,
      dnnl_memory_desc x,
      dnnl_memory_desc w,
      dnnl_memory_desc c,
      boolean ownsW) {

    static Plan of(
        dnnl_memory_desc x,
        dnnl_memory_desc w,
        boolean ownsW,
        dnnl_memory_desc c,
        dnnl_post_ops after,
        Shape shape) {
      dnnl_primitive_attr attributes = new dnnl_primitive_attr();
      check(dnnl_primitive_attr_create(attributes), "plan a product");
      check(
          dnnl_primitive_attr_set_scratchpad_mode(attributes, dnnl_scratchpad_mode_user),
          "plan a product");
      check(dnnl_primitive_attr_set_post_ops(attributes, after), "plan what follows a product");
      dnnl_post_ops_destroy(after); // copied, as the attributes are
      dnnl_primitive_desc plan = new dnnl_primitive_desc();
      check(
          dnnl_matmul_primitive_desc_create(plan, Engine.CPU, x, w, null, c, attributes),
          "plan a product of " + shape);
      dnnl_primitive_attr_destroy(attributes);
      dnnl_primitive primitive = new dnnl_primitive();
      check(dnnl_primitive_create(primitive, plan), "make a product of " + shape);
      return new Plan(plan, primitive, x, w, c, ownsW);
    }

    private void carryOut(Worker worker, Pointer left, Pointer right, Pointer product) {
      // Which the description owns.
      dnnl_memory_desc scratchpad =
          dnnl_primitive_desc_query_md(description, dnnl_query_scratchpad_md, 0);
      try (Operands operands = new Operands()) {
        operands
            .add(DNNL_ARG_SRC, x, left)
            .add(DNNL_ARG_WEIGHTS, w, right)
            .add(DNNL_ARG_DST, c, product)
            .add(
                DNNL_ARG_SCRATCHPAD,
                scratchpad,
                worker.scratchpad(dnnl_memory_desc_get_size(scratchpad)));
        operands.execute(worker, primitive);
      }
    }

    private void destroy() {
      dnnl_primitive_destroy(primitive);
      dnnl_primitive_desc_destroy(description);
      dnnl_memory_desc_destroy(x);
      dnnl_memory_desc_destroy(c);
      if (ownsW) {
        dnnl_memory_desc_destroy(w);
      }
    }
  }

  private static dnnl_post_ops nothingAfter() {
    dnnl_post_ops after = new dnnl_post_ops();
    check(dnnl_post_ops_create(after), "plan what follows a product");
    return after;
  }

  /**
   * {@code c = x · wᵀ}, or {@code c += x · wᵀ}, for x (m, k), rows one behind the other, and packed
   * weights (n, k).
   *
   * @param m rows of x
   * @param weights shape and layout of w
   * @param strideC from row to row of c
   */
  record Product(int m, Packing weights, int strideC, boolean accumulates) implements Shape {
    @Override
    public Plan make() {
      dnnl_post_ops after = nothingAfter();
      if (accumulates) {
        check(dnnl_post_ops_append_sum(after, 1f, 0, dnnl_data_type_undef), "plan a sum");
      }
      return Plan.of(
          strided(m, weights.k(), dnnl_bf16, weights.k(), 1),
          weights.layout(),
          false,
          strided(m, weights.n(), dnnl_f32, strideC, 1),
          after,
          this);
    }
  }

  /**
   * {@code c = scale · x · w} for x (m, k) and w (k, n) which lie in larger matrices, as
   * attention's heads do.
   *
   * @param strideX from row to row of x
   * @param strideW from row to row of w; or, where it lies transposed, from column to column
   * @param strideC from row to row of c
   */
  record Part(
      int m, int n, int k, int strideX, boolean transposesW, int strideW, int strideC, float scale)
      implements Shape {
    @Override
    public Plan make() {
      dnnl_post_ops after = nothingAfter();
      if (scale != 1) {
        check(dnnl_post_ops_append_eltwise(after, dnnl_eltwise_linear, scale, 0), "plan a scale");
      }
      return Plan.of(
          strided(m, k, dnnl_bf16, strideX, 1),
          transposesW ? strided(k, n, dnnl_bf16, 1, strideW) : strided(k, n, dnnl_bf16, strideW, 1),
          true,
          strided(m, n, dnnl_f32, strideC, 1),
          after,
          this);
    }
  }

  /** What a primitive works on. */
  private static final class Operands implements AutoCloseable {
    private final List<Integer> roles = new ArrayList<>();
    private final List<dnnl_memory> memories = new ArrayList<>();

    Operands add(int role, dnnl_memory_desc layout, Pointer data) {
      dnnl_memory memory = new dnnl_memory();
      check(dnnl_memory_create(memory, layout, Engine.CPU, data), "use memory");
      roles.add(role);
      memories.add(memory);
      return this;
    }

    void execute(Worker worker, dnnl_primitive primitive) {
      int count = memories.size();
      try (dnnl_exec_arg_t arguments = new dnnl_exec_arg_t(count)) {
        for (int i = 0; i < count; i++) {
          arguments.position(i).arg(roles.get(i)).memory(memories.get(i));
        }
        check(
            dnnl_primitive_execute(primitive, worker.stream, count, arguments.position(0)),
            "multiply");
        check(dnnl_stream_wait(worker.stream), "multiply");
      }
    }

    @Override
    public void close() {
      memories.forEach(memory -> dnnl_memory_destroy(memory));
    }
  }
}
