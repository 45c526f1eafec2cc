package ai.owl.spark.storage;

import static org.assertj.core.api.Assertions.assertThat;

import ai.owl.checkpoint.Storage;
import ai.owl.spark.storage.BadNetwork.Answer;
import ai.owl.spark.storage.BadNetwork.CutResponse;
import java.io.IOException;
import java.net.URI;
import java.util.UUID;
import org.apache.hadoop.conf.Configuration;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledIfSystemProperty;

/**
 * New files on a store that keeps to {@code If-None-Match}, which s3proxy does not: {@code
 * -Dowl.s3.bucket=http://HOST:PORT/BUCKET} says where one is.
 */
@EnabledIfSystemProperty(named = "owl.s3.bucket", matches = "http://.+/.+")
class ConditionalWriteTest {
  private BadNetwork network;
  private Storage storage;
  private String folder;

  @BeforeEach
  void connect() {
    URI bucket = URI.create(System.getProperty("owl.s3.bucket"));
    network = BadNetwork.before(bucket);
    Configuration settings = new Configuration();
    settings.set("fs.s3a.endpoint", network.endpoint().toString());
    settings.set("fs.s3a.path.style.access", "true");
    settings.set("fs.s3a.access.key", "somebody");
    settings.set("fs.s3a.secret.key", "something");
    settings.set("fs.s3a.impl.disable.cache", "true"); // the next test's proxy is another
    settings.set("fs.s3a.retry.interval", "10ms");
    storage = new HadoopStorage(settings);
    folder = "s3a:/" + bucket.getPath() + "/" + UUID.randomUUID();
  }

  @AfterEach
  void disconnect() throws IOException {
    network.close();
  }

  @Test
  void letsOneOfSeveralWritersHaveANewFile() throws Exception {
    StorageContract.assertThatOneOfSeveralWritersWins(storage, folder);
  }

  @Test
  void leavesAFileThatCameAfterItLooked() throws IOException {
    String location = Storage.resolve(folder, "a");
    storage.writeAll(location, new byte[] {1});
    network.follow(
        request -> request.method().equals("HEAD") ? new Answer(404, "NoSuchKey") : null);
    assertThat(storage.writeNew(location, new byte[] {2})).isFalse();
    assertThat(network.requests).anyMatch(request -> request.method().equals("PUT"));
    network.follow(request -> null);
    assertThat(storage.readAll(location, 10)).containsExactly(1);
  }

  @Test
  void knowsItsFileThoughTheAnswerWasLost() throws IOException {
    String location = Storage.resolve(folder, "a");
    network.follow(
        request ->
            request.method().equals("PUT") && request.number() == 0 ? new CutResponse(0) : null);
    assertThat(storage.writeNew(location, new byte[] {3})).isTrue();
    assertThat(network.requests.stream().filter(request -> request.method().equals("PUT")))
        .as("puts")
        .hasSize(2);
    assertThat(storage.readAll(location, 10)).containsExactly(3);
    assertThat(storage.writeNew(location, new byte[] {4})).isFalse();
  }
}
