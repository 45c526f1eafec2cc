/**
 * Before the run: what it will cost. {@link ai.owl.planning.RunPlanner} says steps, time, memory
 * and bytes from the shapes of a model ({@link ai.owl.planning.BlockCosts}), the machines ({@link
 * ai.owl.planning.Cluster}) and how fast they are ({@link ai.owl.planning.MachineRates}), which
 * {@link ai.owl.planning.RateMeasurement} finds out with the kernels themselves. No weight is read.
 */
package ai.owl.planning;
