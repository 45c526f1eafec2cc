package ai.owl.spark.storage;

import java.util.Arrays;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.apache.hadoop.conf.Configuration;

/**
 * How S3A uses its AWS client, of the second generation, which Hadoop has from 3.4 on. Names of
 * classes only: not everybody has that client on the class path.
 */
final class AwsClient {
  private static final String PROVIDERS = "fs.s3a.aws.credentials.provider";
  private static final String STANDARD_CHAIN =
      "software.amazon.awssdk.auth.credentials.DefaultCredentialsProvider";

  private static final String INTERCEPTORS = "fs.s3a.audit.execution.interceptors";
  private static final String WHOLE_ANSWERS = "ai.owl.spark.storage.WholeAnswers";

  /** What {@link #WHOLE_ANSWERS} is linked with: without it, loading it would be an error. */
  private static final String[] LINKED = {
    "software.amazon.awssdk.core.interceptor.ExecutionInterceptor",
    "software.amazon.awssdk.services.s3.model.GetObjectRequest"
  };

  private AwsClient() {}

  /** Sets what nobody else has set, as far as the classes are there; changes what is given. */
  static Configuration completed(Configuration configuration) {
    findCredentials(configuration);
    readWholeAnswers(configuration);
    return configuration;
  }

  /**
   * Asks the whole standard chain, behind keys in Hadoop's settings. Hadoop's default asks the
   * environment and the machine's role, but neither the files that {@code aws configure} writes nor
   * the web identity of a Kubernetes pod; users take all of these for granted.
   */
  private static void findCredentials(Configuration configuration) {
    if (Patience.isDefault(configuration, PROVIDERS) && isThere(configuration, STANDARD_CHAIN)) {
      configuration.set(
          PROVIDERS,
          "org.apache.hadoop.fs.s3a.TemporaryAWSCredentialsProvider,"
              + "org.apache.hadoop.fs.s3a.SimpleAWSCredentialsProvider,"
              + STANDARD_CHAIN,
          "ai.owl.spark.storage");
    }
  }

  /** Settings travel to machines where classes may be missing: takes out as well as puts in. */
  private static void readWholeAnswers(Configuration configuration) {
    boolean there =
        Arrays.stream(LINKED).allMatch(name -> isThere(configuration, name))
            && isThere(configuration, WHOLE_ANSWERS);
    String interceptors =
        Stream.concat(
                Arrays.stream(configuration.getTrimmedStrings(INTERCEPTORS))
                    .filter(name -> !name.equals(WHOLE_ANSWERS)),
                there ? Stream.of(WHOLE_ANSWERS) : Stream.empty())
            .collect(Collectors.joining(","));
    configuration.set(INTERCEPTORS, interceptors, "ai.owl.spark.storage");
  }

  private static boolean isThere(Configuration configuration, String name) {
    return configuration.getClassByNameOrNull(name) != null;
  }
}
