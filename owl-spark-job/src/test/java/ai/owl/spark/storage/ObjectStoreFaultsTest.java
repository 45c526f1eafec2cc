package ai.owl.spark.storage;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import ai.owl.checkpoint.Storage;
import ai.owl.spark.storage.BadNetwork.Answer;
import ai.owl.spark.storage.BadNetwork.CutRequest;
import ai.owl.spark.storage.BadNetwork.CutResponse;
import ai.owl.spark.storage.BadNetwork.Fault;
import ai.owl.spark.storage.BadNetwork.Request;
import ai.owl.spark.storage.BadNetwork.Slow;
import java.io.IOException;
import java.nio.file.AccessDeniedException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.Random;
import java.util.function.Function;
import java.util.function.Predicate;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.s3a.impl.AWSClientConfig;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** S3 that throttles, and a network that breaks off and stalls: the same bytes, or nothing. */
@Timeout(120)
class ObjectStoreFaultsTest {
  /** Three parts, the last one shorter. */
  private static final byte[] CONTENT = new byte[12 << 20];

  /** A place in the body of a short answer; their heads have about 200 bytes. */
  private static final int AFTER_THE_HEAD = 350;

  @TempDir static Path temporary;
  private static S3Server s3;
  private static BadNetwork network;

  private String bucket;
  private Storage storage;
  private String location;

  @BeforeAll
  static void start() {
    new Random(1).nextBytes(CONTENT);
    s3 = S3Server.start();
    network = BadNetwork.before(s3.endpoint());
  }

  @AfterAll
  static void stop() throws IOException {
    network.close();
    s3.close();
  }

  @BeforeEach
  void begin() {
    network.follow(request -> null);
    bucket = s3.newBucket();
    location = "s3a://" + bucket + "/a/b";
    storage = new HadoopStorage(settings());
  }

  private static Configuration settings() {
    Configuration settings = s3.settings();
    settings.set("fs.s3a.endpoint", network.endpoint().toString());
    settings.set("fs.s3a.buffer.dir", temporary.toString());
    // The waits are Hadoop's; how often it tries is ours.
    settings.set("fs.s3a.retry.interval", "10ms");
    settings.set("fs.s3a.retry.throttle.interval", "10ms");
    return settings;
  }

  private static Function<Request, Fault> every(int times, Predicate<Request> which, Fault fault) {
    return request -> which.test(request) && request.number() < times ? fault : null;
  }

  private static boolean isPart(Request request) {
    return request.method().equals("PUT") && request.target().contains("partNumber=");
  }

  private static boolean isRead(Request request) {
    return request.method().equals("GET") && !request.target().contains("list-type");
  }

  @Test
  void goesOnWhenItIsThrottled() throws IOException {
    network.follow(every(2, request -> true, new Answer(503, "SlowDown")));
    write();
    assertThatItIsRead();
    assertThat(storage.list("s3a://" + bucket + "/a")).containsExactly("b");
    storage.delete(location);
    assertThat(storage.exists(location)).isFalse();
    // Start, three parts and end of the upload; look at, read; list; delete.
    assertThat(network.faults).hasSizeGreaterThan(16);
  }

  @Test
  void goesOnWhenTheStoreFails() throws IOException {
    network.follow(every(2, request -> true, new Answer(500, "InternalError")));
    write();
    assertThatItIsRead();
    assertThat(network.faults).hasSizeGreaterThan(12);
  }

  @Test
  void readsOnWhereAReadBrokeOff() throws IOException {
    write();
    network.follow(every(3, ObjectStoreFaultsTest::isRead, new CutResponse(1 << 20)));
    assertThatItIsRead();
    assertThat(network.faults).hasSizeGreaterThanOrEqualTo(3);
  }

  @Test
  void putsPartsAgainThatBrokeOff() throws IOException {
    network.follow(every(2, ObjectStoreFaultsTest::isPart, new CutRequest(1 << 20)));
    write();
    assertThat(network.faults).hasSize(6);
    assertThatItIsRead();
    assertThat(s3.unfinishedUploads(bucket)).isZero();
  }

  @Test
  void putsPartsAgainWhoseAnswersAreLost() throws IOException {
    network.follow(every(1, ObjectStoreFaultsTest::isPart, new CutResponse(0)));
    write();
    assertThat(network.faults).hasSize(3);
    assertThatItIsRead();
  }

  /** The head of the answer arrives, its body does not. */
  @Test
  void beginsAnUploadAgainWhoseAnswerBrokeOff() throws IOException {
    network.follow(
        every(
            3, request -> request.target().endsWith("?uploads"), new CutResponse(AFTER_THE_HEAD)));
    write();
    assertThat(network.faults).hasSize(3);
    assertThatItIsRead();
  }

  @Test
  void listsAgainWhereAListBrokeOff() throws IOException {
    storage.writeAll(location, new byte[1]);
    network.follow(
        every(
            3, request -> request.target().contains("list-type"), new CutResponse(AFTER_THE_HEAD)));
    assertThat(storage.list("s3a://" + bucket + "/a")).containsExactly("b");
    assertThat(network.faults).hasSize(3);
  }

  @Test
  void putsASmallFileAgain() throws IOException {
    network.follow(every(2, request -> request.method().equals("PUT"), new CutRequest(100)));
    storage.writeAll(location, Arrays.copyOf(CONTENT, 10_000));
    assertThat(network.faults).hasSize(2);
    assertThat(storage.readAll(location, 10_000)).isEqualTo(Arrays.copyOf(CONTENT, 10_000));
  }

  @Test
  void waitsForASlowRead() throws IOException {
    write();
    network.follow(every(1, ObjectStoreFaultsTest::isRead, new Slow(1 << 20, 3000)));
    long asked = s3.asked();
    assertThatItIsRead();
    assertThat(network.faults).hasSize(1);
    assertThat(s3.asked() - asked).as("bytes asked for").isEqualTo(CONTENT.length);
  }

  @Test
  void asksAgainWhereAReadStalls() throws IOException {
    write();
    AWSClientConfig.setMinimumOperationDuration(Duration.ofSeconds(1));
    try {
      Configuration settings = settings();
      settings.set("fs.s3a.connection.timeout", "2s");
      settings.set("fs.s3a.impl.disable.cache", "true");
      network.follow(every(1, ObjectStoreFaultsTest::isRead, new Slow(1 << 20, 600_000)));
      storage = new HadoopStorage(settings);
      assertThatItIsRead();
      assertThat(network.faults).hasSize(1);
    } finally {
      AWSClientConfig.resetMinimumOperationDuration();
    }
  }

  @Test
  void leavesNothingOfAFileWhosePartsAreRefused() throws IOException {
    network.follow(every(100, ObjectStoreFaultsTest::isPart, new Answer(403, "AccessDenied")));
    assertThatThrownBy(this::write)
        .isInstanceOf(AccessDeniedException.class)
        .hasMessageStartingWith(location + ": as the test says (AccessDenied); ")
        .hasMessageContaining("s3:PutObject");
    assertThat(storage.exists(location)).isFalse();
    assertThat(s3.unfinishedUploads(bucket)).isZero();
  }

  @Test
  void leavesNothingOfAFileThatCannotBeEnded() throws IOException {
    network.follow(
        every(
            100,
            request -> request.method().equals("POST") && request.target().contains("uploadId="),
            new Answer(403, "AccessDenied")));
    assertThatThrownBy(this::write).isInstanceOf(AccessDeniedException.class);
    assertThat(storage.exists(location)).isFalse();
    assertThat(s3.unfinishedUploads(bucket)).isZero();
  }

  @Test
  void givesUpWhenItIsThrottledForGood() {
    network.follow(request -> new Answer(503, "SlowDown"));
    assertThatThrownBy(() -> storage.open(location))
        .isInstanceOf(IOException.class)
        .hasMessageStartingWith(location + ": its store still asks for fewer requests");
    assertThat(network.requests)
        .as("once, eight times again, each twice by the client")
        .hasSize(18);
  }

  @Test
  void saysWhoRefusesToBeLookedAt() {
    network.follow(request -> new Answer(403, "AccessDenied"));
    assertThatThrownBy(() -> storage.open(location))
        .isInstanceOf(AccessDeniedException.class)
        .hasMessageStartingWith(location + ": its store answers 403; its credentials need s3:");
    assertThat(network.requests).as("not repeated").hasSize(1);
  }

  @Test
  void saysWhoRefusesToBeRead() throws IOException {
    write();
    network.follow(every(1, ObjectStoreFaultsTest::isRead, new Answer(403, "AccessDenied")));
    try (Storage.Reader reader = storage.open(location)) {
      assertThatThrownBy(() -> reader.read(0, new byte[10], 0, 10))
          .isInstanceOf(AccessDeniedException.class)
          .hasMessageStartingWith(location + ": as the test says (AccessDenied); ");
    }
  }

  private void write() throws IOException {
    Storage.FileStream out = storage.create(location);
    try {
      for (int from = 0; from < CONTENT.length; from += 1 << 20) {
        out.write(CONTENT, from, 1 << 20);
      }
      out.close();
    } catch (IOException e) {
      out.abort();
      throw e;
    }
  }

  private void assertThatItIsRead() throws IOException {
    assertThat(Arrays.equals(storage.readAll(location, CONTENT.length), CONTENT))
        .as("the bytes that were written")
        .isTrue();
  }
}
