/**
 * Arithmetic: the operations a decoder block and a pruner are made of, on {@link
 * ai.owl.tensor.Matrix}. Matrix products run on ND4J's native BLAS; everything else works on rows
 * copied to heap arrays, in loops the JIT turns into vector code. Kernels trust their arguments:
 * shapes are checked where they enter, not here.
 */
package ai.owl.kernel;
