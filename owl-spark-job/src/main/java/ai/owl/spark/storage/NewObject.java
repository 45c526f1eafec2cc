package ai.owl.spark.storage;

import java.io.IOException;
import java.util.Arrays;
import java.util.Optional;
import org.apache.hadoop.fs.FSDataInputStream;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.fs.s3a.S3AFileSystem;
import org.apache.hadoop.fs.s3a.impl.PutObjectOptions;
import org.apache.hadoop.fs.s3a.impl.StoreContext;
import software.amazon.awssdk.core.sync.RequestBody;
import software.amazon.awssdk.services.s3.S3Client;
import software.amazon.awssdk.services.s3.model.PutObjectRequest;
import software.amazon.awssdk.services.s3.model.S3Exception;

/**
 * Puts an object on S3 unless there is one of its name, which the store itself decides ({@code
 * If-None-Match: *}). S3A asks for that only from Hadoop 3.4.2 on; before, its {@code
 * create(overwrite=false)} looks first and puts then.
 *
 * <p>This goes to the client inside S3A, which is there in Hadoop 3.4 and not to be relied on:
 * where it is missing or different, nothing is put.
 */
final class NewObject {
  private static final String S3A = "org.apache.hadoop.fs.s3a.S3AFileSystem";
  private static final int EXISTS = 412;

  /** Another request for the same name was under way: S3 wants to be asked again. */
  private static final int CONFLICT = 409;

  private static final int NOT_IMPLEMENTED = 501;
  private static final int ATTEMPTS = 5;
  private static final long PAUSE_MILLIS = 100;

  private NewObject() {}

  /**
   * Puts {@code content} at a path that nothing was seen at. Stores that do not know the condition
   * and say so are told apart from those that do; s3proxy 2.7 ignores it in silence.
   *
   * @param content what no other writer would write: by it a put whose answer was lost is known
   * @return whether it was put; empty if the file system or its store cannot be asked
   */
  static Optional<Boolean> put(FileSystem files, Path path, byte[] content) throws IOException {
    // By name: not everybody has S3A on the class path.
    if (!files.getClass().getName().equals(S3A)) {
      return Optional.empty();
    }
    try {
      return Conditional.put(files, path, content);
    } catch (LinkageError otherHadoop) {
      return Optional.empty();
    }
  }

  /** In a class of its own, which is linked only where S3A is. */
  private static final class Conditional {
    static Optional<Boolean> put(FileSystem files, Path path, byte[] content) throws IOException {
      S3AFileSystem s3a = (S3AFileSystem) files;
      StoreContext context = s3a.createStoreContext();
      S3Client client = s3a.getS3AInternals().getAmazonS3Client("a put under a condition");
      PutObjectRequest request =
          context
              .getRequestFactory()
              .newPutObjectRequestBuilder(
                  context.pathToKey(path), PutObjectOptions.keepingDirs(), content.length, false)
              .overrideConfiguration(settings -> settings.putHeader("If-None-Match", "*"))
              .build();
      return context
          .getInvoker()
          .retry("put", path.toString(), true, () -> put(client, request, files, path, content, 1));
    }

    private static Optional<Boolean> put(
        S3Client client,
        PutObjectRequest request,
        FileSystem files,
        Path path,
        byte[] content,
        int attempt)
        throws IOException {
      try {
        client.putObject(request, RequestBody.fromBytes(content));
        return Optional.of(true);
      } catch (S3Exception e) {
        switch (e.statusCode()) {
          case EXISTS:
            // Perhaps an attempt of ours, whose answer did not arrive.
            return Optional.of(holds(files, path, content));
          case NOT_IMPLEMENTED:
            return Optional.empty();
          case CONFLICT:
            if (attempt < ATTEMPTS) {
              pause(attempt);
              return put(client, request, files, path, content, attempt + 1);
            }
            throw e;
          default:
            throw e;
        }
      }
    }

    private static boolean holds(FileSystem files, Path path, byte[] content) throws IOException {
      try (FSDataInputStream in = files.open(path)) {
        return Arrays.equals(in.readNBytes(content.length + 1), content);
      } catch (java.io.FileNotFoundException deletedSince) {
        return false;
      }
    }

    private static void pause(int attempt) throws IOException {
      try {
        Thread.sleep(attempt * PAUSE_MILLIS);
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
        throw new java.io.InterruptedIOException("Interrupted while waiting for a store");
      }
    }
  }
}
