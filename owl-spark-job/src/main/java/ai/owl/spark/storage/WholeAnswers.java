package ai.owl.spark.storage;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.util.Optional;
import software.amazon.awssdk.core.exception.RetryableException;
import software.amazon.awssdk.core.interceptor.Context;
import software.amazon.awssdk.core.interceptor.ExecutionAttributes;
import software.amazon.awssdk.core.interceptor.ExecutionInterceptor;
import software.amazon.awssdk.services.s3.model.GetObjectRequest;

/**
 * Reads what S3 answers whole before it is parsed, but for objects. A connection that breaks in the
 * middle of a list or of the start of an upload is an {@link java.io.UncheckedIOException} of the
 * parser otherwise, which neither the AWS client nor S3A repeats.
 */
public final class WholeAnswers implements ExecutionInterceptor {
  /** Made by S3A. */
  public WholeAnswers() {}

  @Override
  public Optional<InputStream> modifyHttpResponseContent(
      Context.ModifyHttpResponse context, ExecutionAttributes attributes) {
    if (context.responseBody().isEmpty() || context.request() instanceof GetObjectRequest) {
      return context.responseBody();
    }
    try (InputStream body = context.responseBody().get()) {
      return Optional.of(new ByteArrayInputStream(body.readAllBytes()));
    } catch (IOException e) {
      throw RetryableException.create("The connection broke within an answer of S3", e);
    }
  }
}
