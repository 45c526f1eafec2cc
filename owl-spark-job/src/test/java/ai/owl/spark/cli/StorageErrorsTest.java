package ai.owl.spark.cli;

import static org.assertj.core.api.Assertions.assertThat;

import ai.owl.spark.storage.S3Server;
import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import org.apache.hadoop.conf.Configuration;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** What a user is told of a location that cannot be used: one message, soon, and no secrets. */
@Timeout(60)
class StorageErrorsTest {
  private static final String WRONG_SECRET = "a-wrong-secret-that-nobody-may-print";
  private static final String SPARK_HADOOP = "spark.hadoop.";

  private static S3Server s3;

  private final ByteArrayOutputStream error = new ByteArrayOutputStream();

  @BeforeAll
  static void start() {
    s3 = S3Server.start();
  }

  @AfterAll
  static void stop() {
    s3.close();
  }

  @AfterEach
  void forgetSettings() {
    System.getProperties().keySet().removeIf(key -> key.toString().startsWith(SPARK_HADOOP));
  }

  @Test
  void namesTheBucketThatIsNotThere() {
    String model = "s3a://" + s3.freeName() + "/model";
    useS3(Map.of());
    assertRefused(model, "owl: Cannot read " + model + ": there is no such bucket");
  }

  @Test
  void namesTheFolderThatIsNotThere() {
    String model = "s3a://" + s3.newBucket() + "/model";
    useS3(Map.of());
    assertRefused(
        model,
        "owl: Cannot open model " + model + ": there is no such folder, or nothing is in it");
  }

  @ParameterizedTest
  @CsvSource({
    "fs.s3a.secret.key, Forbidden (SignatureDoesNotMatch)",
    "fs.s3a.access.key, Forbidden (InvalidAccessKeyId)"
  })
  void saysThatAccessIsDenied(String setting, String reason) {
    String model = "s3a://" + s3.newBucket() + "/model";
    useS3(Map.of(setting, WRONG_SECRET));
    assertRefused(
        model,
        "owl: Cannot access "
            + model
            + ": "
            + reason
            + "; check the credentials, and that they are this store's");
  }

  @Test
  void saysThatThereAreNoCredentials() {
    String model = "s3a://" + s3.newBucket() + "/model";
    useS3(
        Map.of(
            "fs.s3a.access.key",
            "",
            "fs.s3a.secret.key",
            "",
            "fs.s3a.aws.credentials.provider",
            "org.apache.hadoop.fs.s3a.SimpleAWSCredentialsProvider"));
    assertRefused(
        model,
        "owl: Cannot access "
            + model
            + ": no credentials for it were found; set AWS_ACCESS_KEY_ID and"
            + " AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or run where a role gives them");
  }

  @Test
  void printsNoSecretWithTheStackTraceEither() {
    useS3(Map.of("fs.s3a.secret.key", WRONG_SECRET));
    int code = run("inspect", "--verbose", "--model", "s3a://" + s3.newBucket() + "/model");
    assertThat(code).isEqualTo(Main.YOURS);
    assertThat(error())
        .contains("AccessDeniedException")
        .doesNotContain(WRONG_SECRET)
        .doesNotContain(S3Server.SECRET_KEY);
  }

  @ParameterizedTest
  @CsvSource({
    "s3a://key:" + WRONG_SECRET + "@bucket/model, s3a://…@bucket/model",
    "s3a://key:with/" + WRONG_SECRET + "@bucket/model, s3a://…@bucket/model",
    "ftp://me:" + WRONG_SECRET + "@host, ftp://…@host"
  })
  void doesNotRepeatAPassword(String model, String shown) {
    assertRefused(
        model,
        "owl: Cannot use "
            + shown
            + ": there is a password in it; credentials are given by settings");
  }

  @Test
  void saysThatNobodyAnswersAtAnEndpoint() {
    String model = "s3a://" + s3.newBucket() + "/model";
    useS3(
        Map.of(
            "fs.s3a.endpoint", "http://127.0.0.1:9",
            "fs.s3a.retry.limit", "1",
            "fs.s3a.retry.interval", "10ms"));
    assertRefused(model, "owl: Cannot use " + model + ": nobody answers there");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "foo://x          | Cannot use foo://x: no file system has the scheme foo",
        "s3://x/y         | Cannot use s3://x/y: no file system has the scheme s3; that of S3 is"
            + " s3a",
        "hdfs://no.invalid/x | Cannot use hdfs://no.invalid/x: unknown host no.invalid",
        "hdfs://127.0.0.1:9/x | Cannot use hdfs://127.0.0.1:9/x: nobody answers there",
        "hdfs:///x        | Cannot use hdfs:///x: Incomplete HDFS URI, no host: hdfs:///x",
        "a:b              | Cannot use a:b: it is neither a path nor a URI",
        "file://tmp/x     | Cannot use file://tmp/x: a file URI has one slash or three, as in"
            + " file:///folder"
      })
  void saysWhyALocationCannotBeUsed(String model, String message) {
    assertRefused(model, "owl: " + message);
  }

  @Test
  void saysWhatAnswersInPlaceOfANameNode() {
    String model = "hdfs://127.0.0.1:" + s3.endpoint().getPort() + "/x";
    assertThat(run("inspect", "--model", model)).isEqualTo(Main.YOURS);
    assertThat(error())
        .startsWith("owl: Cannot use " + model + ": what answers there is no name node");
  }

  @Test
  void refusesAnOutputThatCannotBeWritten() {
    String output = "s3a://" + s3.freeName() + "/pruned";
    useS3(Map.of());
    int code =
        run(
            "prune",
            "--model",
            "../owl-kernels/src/test/resources/golden/llama-f32/model",
            "--output",
            output,
            "--sparsity",
            "0.5",
            "--metric",
            "magnitude",
            "--allocation",
            "uniform");
    assertThat(error().lines())
        .contains("owl: Cannot read " + output + ": there is no such bucket");
    assertThat(code).isEqualTo(Main.YOURS);
  }

  private void assertRefused(String model, String message) {
    int code = run("inspect", "--model", model);
    assertThat(error()).isEqualTo(message + System.lineSeparator());
    assertThat(code).isEqualTo(Main.YOURS);
  }

  private static void useS3(Map<String, String> different) {
    Configuration settings = s3.settings();
    for (String name :
        new String[] {
          "endpoint", "endpoint.region", "path.style.access", "access.key", "secret.key"
        }) {
      set("fs.s3a." + name, settings.get("fs.s3a." + name));
    }
    different.forEach(StorageErrorsTest::set);
  }

  private static void set(String name, String value) {
    System.setProperty(SPARK_HADOOP + name, value);
  }

  private int run(String... arguments) {
    PrintStream before = System.err;
    try (PrintStream captured = new PrintStream(error, true, StandardCharsets.UTF_8)) {
      System.setErr(captured);
      return Main.run(arguments);
    } finally {
      System.setErr(before);
    }
  }

  private String error() {
    return error.toString(StandardCharsets.UTF_8);
  }
}
