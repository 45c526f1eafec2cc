package ai.owl.spark.storage;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.ByteArrayInputStream;
import java.nio.charset.StandardCharsets;
import org.apache.hadoop.conf.Configuration;
import org.junit.jupiter.api.Test;

class PatienceTest {
  private static final String LIMIT = "fs.s3a.retry.limit";

  @Test
  void boundsWhatNobodyConfigured() {
    Configuration given = new Configuration();
    Configuration bounded = Patience.bounded(given);
    assertThat(bounded.get(LIMIT)).isEqualTo("4");
    assertThat(bounded.get("fs.s3a.attempts.maximum")).isEqualTo("1");
    assertThat(bounded.get("ipc.client.connect.max.retries.on.timeouts")).isEqualTo("2");
    assertThat(given.get(LIMIT)).isEqualTo("7");
  }

  @Test
  void leavesWhatIsSetEvenToTheDefault() {
    Configuration given = new Configuration();
    given.set(LIMIT, "7");
    assertThat(Patience.bounded(given).get(LIMIT)).isEqualTo("7");
  }

  @Test
  void leavesWhatAFileSays() {
    Configuration given = new Configuration();
    given.addResource(
        new ByteArrayInputStream(
            ("<configuration><property><name>"
                    + LIMIT
                    + "</name><value>9</value></property></configuration>")
                .getBytes(StandardCharsets.UTF_8)),
        "core-site.xml");
    assertThat(Patience.bounded(given).get(LIMIT)).isEqualTo("9");
  }

  @Test
  void keepsEverythingElse() {
    Configuration given = new Configuration(false);
    given.set("a", "b");
    assertThat(Patience.bounded(given).get("a")).isEqualTo("b");
  }
}
