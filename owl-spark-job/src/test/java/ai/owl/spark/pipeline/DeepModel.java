package ai.owl.spark.pipeline;

import ai.owl.checkpoint.Checkpoint;
import ai.owl.checkpoint.LocalStorage;
import ai.owl.checkpoint.SafetensorsWriter;
import ai.owl.checkpoint.TensorReader;
import ai.owl.checkpoint.TensorRef;
import ai.owl.model.BlockLayout;
import ai.owl.model.ModelLayout;
import ai.owl.oracle.Fixture;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/** Makes a deeper model by repeating the blocks of a shallow one. */
final class DeepModel {
  private static final LocalStorage STORAGE = new LocalStorage();

  private DeepModel() {}

  static Path repeatBlocks(Fixture fixture, int count, Path folder) throws Exception {
    Checkpoint shallow = Checkpoint.open(STORAGE, fixture.model());
    ModelLayout model = ModelLayout.of(shallow);
    Files.createDirectories(folder);
    ObjectNode config = (ObjectNode) shallow.config();
    config.put("num_hidden_layers", count);
    Files.writeString(folder.resolve("config.json"), config.toString());
    try (TensorReader reader = new TensorReader(STORAGE)) {
      List<SafetensorsWriter.Entry> entries = new ArrayList<>();
      for (TensorRef tensor : model.outside()) {
        entries.add(SafetensorsWriter.Entry.copy(tensor, reader));
      }
      for (int i = 0; i < count; i++) {
        BlockLayout block = model.blocks().get(i % model.blocks().size());
        for (TensorRef tensor : block.tensors()) {
          String name = tensor.name().replace("layers." + block.index() + ".", "layers." + i + ".");
          entries.add(
              new SafetensorsWriter.Entry(
                  name, tensor.type(), tensor.shape(), out -> reader.copy(tensor, out)));
        }
      }
      SafetensorsWriter.write(STORAGE, folder.resolve("model.safetensors").toString(), entries);
    }
    return folder;
  }
}
