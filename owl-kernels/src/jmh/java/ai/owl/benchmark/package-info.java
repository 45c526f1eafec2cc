/**
 * What the kernels' hot operations cost, measured with JMH, and next to it what the machine could
 * do at most. Every benchmark checks its result against plain Java in float64 before it is timed,
 * and says how much work one call is, so that its speed has a unit. {@link
 * ai.owl.benchmark.KernelBenchmarks} runs them. Compiled in the Maven profile {@code benchmark}
 * only.
 */
package ai.owl.benchmark;
