/**
 * What a run has done so far, for whoever watches it from outside: named accumulators on Spark's
 * pages, and an optional plugin for Spark's metrics system.
 */
package ai.owl.spark.metrics;
