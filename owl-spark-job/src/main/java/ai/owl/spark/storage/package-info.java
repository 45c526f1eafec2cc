/**
 * HDFS, S3 and every other file system that Hadoop has a client for, as {@link
 * ai.owl.checkpoint.Storage}; and what lies there and is no checkpoint: text and token ids to
 * calibrate and to evaluate with, and tables.
 */
package ai.owl.spark.storage;
