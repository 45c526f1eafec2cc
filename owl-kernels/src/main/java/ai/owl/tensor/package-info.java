/**
 * Numbers: element types as they stand in checkpoints ({@link ai.owl.tensor.DType}) and the one
 * array type the arithmetic works on ({@link ai.owl.tensor.Matrix}, row-major float32 outside the
 * Java heap).
 */
package ai.owl.tensor;
