/**
 * The network: what a {@code config.json} describes ({@link ai.owl.model.ModelConfig}), where the
 * weights of each decoder block are ({@link ai.owl.model.ModelLayout}, {@link
 * ai.owl.model.BlockLayout}), and the forward pass of one loaded block ({@link
 * ai.owl.model.DecoderBlock}), which shows what enters its linear layers to an {@link
 * ai.owl.model.ActivationObserver}.
 */
package ai.owl.model;
