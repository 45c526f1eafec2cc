/**
 * Pictures as vision transformers take them: folders of labelled images ({@link
 * ai.owl.image.ImageFolder}), and what {@code preprocessor_config.json} makes of each ({@link
 * ai.owl.image.ImagePreprocessor}). Nothing here knows a model.
 */
package ai.owl.image;
