package ai.owl.spark.storage;

import org.apache.hadoop.conf.Configuration;

/**
 * Where credentials for S3 come from. Hadoop's default asks its own settings, the environment and
 * the machine's role, but neither the files that {@code aws configure} writes nor the web identity
 * of a Kubernetes pod; users take all of these for granted. What anybody configured is left alone.
 */
final class CredentialChain {
  private static final String PROVIDERS = "fs.s3a.aws.credentials.provider";

  /** Of the second AWS client library, which Hadoop has from 3.4 on. */
  private static final String STANDARD =
      "software.amazon.awssdk.auth.credentials.DefaultCredentialsProvider";

  private CredentialChain() {}

  /** Sets the whole standard chain, behind keys in Hadoop's settings, where it is to be had. */
  static Configuration completed(Configuration configuration) {
    if (Patience.isDefault(configuration, PROVIDERS) && isThere(configuration, STANDARD)) {
      configuration.set(
          PROVIDERS,
          "org.apache.hadoop.fs.s3a.TemporaryAWSCredentialsProvider,"
              + "org.apache.hadoop.fs.s3a.SimpleAWSCredentialsProvider,"
              + STANDARD,
          "ai.owl.spark.storage");
    }
    return configuration;
  }

  private static boolean isThere(Configuration configuration, String name) {
    return configuration.getClassByNameOrNull(name) != null;
  }
}
