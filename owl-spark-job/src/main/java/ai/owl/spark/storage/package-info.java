/**
 * HDFS, S3 and every other file system that Hadoop has a client for, as {@link
 * ai.owl.checkpoint.Storage}.
 */
package ai.owl.spark.storage;
