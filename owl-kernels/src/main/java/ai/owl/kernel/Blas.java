package ai.owl.kernel;

import static org.bytedeco.openblas.global.openblas.CblasNoTrans;
import static org.bytedeco.openblas.global.openblas.CblasRowMajor;
import static org.bytedeco.openblas.global.openblas.CblasTrans;
import static org.bytedeco.openblas.global.openblas.blas_get_num_threads;
import static org.bytedeco.openblas.global.openblas.blas_set_num_threads;
import static org.bytedeco.openblas.global.openblas.cblas_sgemm;
import static org.bytedeco.openblas.global.openblas.cblas_sgemv;

import ai.owl.tensor.Matrix;
import org.bytedeco.javacpp.FloatPointer;

/** Matrix products in float32, on the OpenBLAS that ND4J runs on. */
public final class Blas {
  private Blas() {}

  /**
   * Sets how many threads one product uses; process-wide. Products of several tasks at once want
   * {@code cores / tasks}.
   */
  public static void setThreads(int threads) {
    blas_set_num_threads(threads);
  }

  public static int threads() {
    return blas_get_num_threads();
  }

  /**
   * The product of a linear layer without bias: {@code out = x · wᵀ + beta · out}.
   *
   * @param x (rows, in_features)
   * @param w (out_features, in_features), as checkpoints store it
   * @param out (rows, out_features)
   */
  public static void linear(Matrix x, Matrix w, float beta, Matrix out) {
    if (x.rows() == 1) { // a product with one row would spend its time on packing w
      cblas_sgemv(
          CblasRowMajor,
          CblasNoTrans,
          (int) w.rows(),
          w.cols(),
          1f,
          w.pointer(0, 0),
          w.cols(),
          x.pointer(0, 0),
          1,
          beta,
          out.pointer(0, 0),
          1);
      return;
    }
    gemm(
        false,
        true,
        (int) x.rows(),
        (int) w.rows(),
        x.cols(),
        1f,
        x.pointer(0, 0),
        x.cols(),
        w.pointer(0, 0),
        w.cols(),
        beta,
        out.pointer(0, 0),
        out.cols());
  }

  /**
   * {@code c = alpha · op(a) · op(b) + beta · c}, with op(a) m × k and op(b) k × n, all row-major
   * with their row strides.
   */
  static void gemm(
      boolean transposeA,
      boolean transposeB,
      int m,
      int n,
      int k,
      float alpha,
      FloatPointer a,
      int strideA,
      FloatPointer b,
      int strideB,
      float beta,
      FloatPointer c,
      int strideC) {
    cblas_sgemm(
        CblasRowMajor,
        transposeA ? CblasTrans : CblasNoTrans,
        transposeB ? CblasTrans : CblasNoTrans,
        m,
        n,
        k,
        alpha,
        a,
        strideA,
        b,
        strideB,
        beta,
        c,
        strideC);
  }
}
