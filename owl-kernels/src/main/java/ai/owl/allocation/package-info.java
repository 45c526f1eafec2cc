/**
 * How much goes from where: from what is known of the blocks ({@link
 * ai.owl.allocation.LayerProfile}) and a target to one sparsity a block or linear layer ({@link
 * ai.owl.allocation.SparsityAllocation}), by a pure function ({@link
 * ai.owl.allocation.SparsityAllocator}).
 */
package ai.owl.allocation;
