/** Doors: the command line, one class a command. */
package ai.owl.spark.cli;
