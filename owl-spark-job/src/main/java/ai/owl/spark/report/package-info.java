/** Reading: what a run did, for people. */
package ai.owl.spark.report;
