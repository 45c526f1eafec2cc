/**
 * Files: a model as it lies in storage. {@link ai.owl.checkpoint.Checkpoint} opens a folder in the
 * Hugging Face layout and knows where every tensor is ({@link ai.owl.checkpoint.TensorRef}); {@link
 * ai.owl.checkpoint.Storage} is the seam behind which local disks, HDFS and object stores lie.
 * Nothing in a file is trusted: what a header claims is checked before a tensor is read.
 */
package ai.owl.checkpoint;
