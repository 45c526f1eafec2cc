package ai.owl.spark.storage;

import java.io.EOFException;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.InterruptedIOException;
import java.io.UncheckedIOException;
import java.net.ConnectException;
import java.net.NoRouteToHostException;
import java.net.SocketTimeoutException;
import java.net.UnknownHostException;
import java.nio.file.AccessDeniedException;
import java.nio.file.FileSystemException;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.apache.hadoop.fs.ParentNotDirectoryException;
import org.apache.hadoop.fs.UnsupportedFileSystemException;
import org.apache.hadoop.ipc.RpcException;
import org.apache.hadoop.security.AccessControlException;
import org.apache.hadoop.util.VersionInfo;

/**
 * Says what went wrong with a location. File systems fail in words of their own, some with the name
 * of the request and the classes it went through; a user needs the location he gave and the reason.
 * What he can mend is a {@link FileNotFoundException} or a {@link FileSystemException}.
 */
final class StorageFailures {
  /** {@code scheme://user:password@}, but not {@code scheme://host:8020/name@}. */
  private static final Pattern PASSWORD =
      Pattern.compile("^([A-Za-z][A-Za-z0-9+.-]*://)[^/@:]*:(?![0-9]*(/|$))[^@]*@");

  /** What the AWS client makes of an answer: its text, its status, its code. */
  private static final Pattern AWS_ANSWER =
      Pattern.compile(
          "(?:Exception: )?([^:]*) \\(Service: [^)]*Status Code: (\\d+)[^)]*\\)(?::(\\w+))?");

  /** In place of what an answer does not say. */
  private static final String NOTHING = "null";

  // S3A's own exceptions are known by name: not everybody has S3A on the classpath.
  private static final Set<String> NO_BUCKET = Set.of("UnknownStoreException");
  private static final Set<String> NO_CREDENTIALS =
      Set.of("NoAuthWithAWSException", "NoAwsCredentialsException");
  private static final Set<String> NO_ANSWER = Set.of("ApiCallTimeoutException");

  /** An outdated token and the like. */
  private static final Set<String> REFUSED = Set.of("AWSBadRequestException");

  private static final Set<String> ELSEWHERE = Set.of("AWSRedirectException");
  private static final Set<String> BUSY = Set.of("AWSServiceThrottledException");

  /** What to do about an answer of S3, by its code. */
  private static final Map<String, String> REMEDIES =
      Map.of(
          "AccessDenied", Remedy.PERMISSIONS,
          "InvalidAccessKeyId", Remedy.CREDENTIALS,
          "SignatureDoesNotMatch", Remedy.CREDENTIALS,
          "InvalidToken", Remedy.CREDENTIALS,
          "ExpiredToken", "renew the credentials",
          "RequestTimeTooSkewed", "set this machine's clock",
          "AuthorizationHeaderMalformed", Remedy.REGION);

  private static final class Remedy {
    static final String PERMISSIONS =
        "its credentials need s3:ListBucket and s3:GetObject to read, s3:PutObject and"
            + " s3:DeleteObject to write";
    static final String CREDENTIALS = "check the credentials, and that they are this store's";
    static final String REGION = "set spark.hadoop.fs.s3a.endpoint.region to the bucket's region";
    static final String OUTDATED =
        "the credentials may be outdated, or spark.hadoop.fs.s3a.endpoint.region another than the"
            + " bucket's";
    static final String NO_CREDENTIALS =
        "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or run where a role gives"
            + " them";
  }

  private StorageFailures() {}

  /** Something that is done with a file system. */
  @FunctionalInterface
  interface Operation<T> {
    T run() throws IOException;
  }

  /** Does something at a location, which any failure will name. */
  static <T> T naming(String location, Operation<T> operation) throws IOException {
    try {
      return operation.run();
    } catch (UncheckedIOException e) {
      throw named(location, e.getCause());
    } catch (IOException | IllegalArgumentException | UnsupportedOperationException e) {
      throw named(location, e);
    }
  }

  /** Gets the file system of a location: what fails here is the location, or a setting. */
  static <T> T connecting(String location, Operation<T> operation) throws IOException {
    try {
      return operation.run();
    } catch (IOException | RuntimeException e) {
      if (e.getCause() instanceof ClassNotFoundException missing) {
        throw failure(location, e, missingClient(location, missing));
      }
      IOException named = named(location, e);
      throw named instanceof FileSystemException || named instanceof FileNotFoundException
          ? named
          : failure(location, e, reason(e));
    }
  }

  private static String missingClient(String location, ClassNotFoundException missing) {
    return location.startsWith("s3a:")
        ? "this Spark has no client for S3; submit with --preset hadoop-aws, or --packages"
            + " org.apache.hadoop:hadoop-aws:"
            + VersionInfo.getVersion()
        : "the client of its file system is not on the classpath (" + missing.getMessage() + ")";
  }

  /** Refuses a location that holds a password: locations are printed and kept. */
  static void refusePassword(String location) {
    Matcher secret = PASSWORD.matcher(location);
    if (secret.find()) {
      throw new IllegalArgumentException(
          "Cannot use "
              + secret.group(1)
              + "…@"
              + location.substring(secret.end())
              + ": there is a password in it; credentials are given by settings");
    }
  }

  private static IOException named(String location, Exception e) {
    if (e instanceof FileNotFoundException missing) {
      return isAbout(location, e)
          ? missing
          : caused(new FileNotFoundException(location + ": it does not exist"), e);
    }
    if (e instanceof UnsupportedFileSystemException) {
      return failure(location, e, unsupported(location));
    }
    if (e instanceof ParentNotDirectoryException) {
      return failure(location, e, "a part of its path is a file");
    }
    if (isCalled(NO_BUCKET, e)) {
      return caused(new FileNotFoundException(location + ": there is no such bucket"), e);
    }
    if (isCausedBy(NO_CREDENTIALS, e)) {
      return denied(location, e, "no credentials for it were found; " + Remedy.NO_CREDENTIALS);
    }
    if (e instanceof AccessDeniedException || e instanceof AccessControlException) {
      return denied(location, e, reason(e));
    }
    Optional<String> unreachable = unreachable(e);
    if (unreachable.isPresent()) {
      return failure(location, e, unreachable.get());
    }
    if (e instanceof EOFException) {
      return isAbout(location, e)
          ? (IOException) e
          : caused(new EOFException(location + ": " + reason(e)), e);
    }
    if (e instanceof InterruptedIOException interrupted) {
      return interrupted;
    }
    if (e instanceof FileSystemException file && isAbout(location, e)) {
      return file;
    }
    if (e instanceof RpcException) {
      return failure(location, e, "what answers there is no name node (" + reason(e) + ")");
    }
    if (e instanceof UnsupportedOperationException) {
      return failure(location, e, "its file system does not support that");
    }
    if (isCalled(ELSEWHERE, e)) {
      return failure(location, e, "its bucket is in another region; " + Remedy.REGION);
    }
    if (isCalled(BUSY, e)) {
      return caused(
          new IOException(
              location
                  + ": its store still asks for fewer requests after all retries; try again later,"
                  + " with fewer executors, or with a higher"
                  + " spark.hadoop.fs.s3a.retry.throttle.limit"),
          e);
    }
    if (e instanceof RuntimeException || isCalled(REFUSED, e)) {
      return failure(location, e, reason(e));
    }
    return isAbout(location, e) ? (IOException) e : new IOException(location + ": " + reason(e), e);
  }

  private static boolean isAbout(String location, Exception e) {
    return String.valueOf(e.getMessage()).startsWith(location);
  }

  private static String unsupported(String location) {
    int end = location.indexOf(':');
    String scheme = end < 0 ? "" : location.substring(0, end);
    return "no file system has the scheme "
        + scheme
        + (scheme.equals("s3") || scheme.equals("s3n") ? "; that of S3 is s3a" : "");
  }

  private static Optional<String> unreachable(Throwable failure) {
    Optional<String> found = Optional.empty();
    for (Throwable cause = failure; cause != null; cause = cause.getCause()) {
      if (cause instanceof UnknownHostException) {
        // The innermost one says which; some platforms add why.
        found = Optional.of("unknown host " + message(cause).replaceFirst(":.*", ""));
      } else if (cause instanceof ConnectException || cause instanceof NoRouteToHostException) {
        found = Optional.of("nobody answers there");
      } else if (cause instanceof SocketTimeoutException || isCalled(NO_ANSWER, cause)) {
        found = Optional.of("no answer in time");
      }
    }
    return found;
  }

  private static boolean isCausedBy(Set<String> names, Throwable failure) {
    return Stream.iterate(failure, Objects::nonNull, Throwable::getCause)
        .anyMatch(cause -> isCalled(names, cause));
  }

  private static boolean isCalled(Set<String> names, Throwable failure) {
    return names.contains(failure.getClass().getSimpleName());
  }

  private static String reason(Throwable failure) {
    String message =
        failure instanceof FileSystemException file && file.getReason() != null
            ? file.getReason()
            : message(failure);
    Matcher answer = AWS_ANSWER.matcher(message);
    if (!answer.find()) {
      return message;
    }
    String text = answer.group(1).strip();
    String code = answer.group(3) == null ? NOTHING : answer.group(3);
    if (code.equals(NOTHING)) {
      // The answer to a HEAD has no body that could tell.
      String status = answer.group(2);
      String said = text.isEmpty() || text.equals(NOTHING) ? "its store answers " + status : text;
      return said + "; " + (status.equals("403") ? Remedy.PERMISSIONS : Remedy.OUTDATED);
    }
    String said = text.isEmpty() || text.equals(NOTHING) ? code : text + " (" + code + ")";
    return REMEDIES.containsKey(code) ? said + "; " + REMEDIES.get(code) : said;
  }

  private static String message(Throwable failure) {
    String message = failure.getMessage();
    return message == null || message.isBlank()
        ? failure.getClass().getSimpleName()
        : message.lines().findFirst().orElse("");
  }

  private static FileSystemException failure(String location, Exception cause, String reason) {
    return caused(new FileSystemException(location, null, reason), cause);
  }

  private static AccessDeniedException denied(String location, Exception cause, String reason) {
    return caused(new AccessDeniedException(location, null, reason), cause);
  }

  private static <E extends Exception> E caused(E exception, Exception cause) {
    exception.initCause(cause);
    return exception;
  }
}
