package ai.owl.spark.storage;

import java.net.URI;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.hadoop.conf.Configuration;
import org.gaul.s3proxy.AuthenticationType;
import org.gaul.s3proxy.S3Proxy;
import org.jclouds.ContextBuilder;
import org.jclouds.blobstore.BlobStore;
import org.jclouds.blobstore.BlobStoreContext;
import org.jclouds.blobstore.domain.Blob;
import org.jclouds.blobstore.domain.MultipartPart;
import org.jclouds.blobstore.domain.MultipartUpload;
import org.jclouds.blobstore.options.CopyOptions;
import org.jclouds.blobstore.options.GetOptions;
import org.jclouds.blobstore.util.ForwardingBlobStore;
import org.jclouds.io.Payload;

/** An S3 server in this process that keeps its objects in memory and checks credentials. */
public final class S3Server implements AutoCloseable {
  public static final String ACCESS_KEY = "the-access-key";
  public static final String SECRET_KEY = "the-secret-key-that-nobody-may-print";

  // Hadoop caches file systems by bucket, whatever their settings: no two tests share one.
  private static final AtomicInteger BUCKETS = new AtomicInteger();

  private final BlobStoreContext context;
  private final BlobStore blobs;
  private final S3Proxy proxy;
  private final AtomicInteger copies = new AtomicInteger();
  private final AtomicInteger parts = new AtomicInteger();
  private final AtomicLong asked = new AtomicLong();

  private S3Server() throws Exception {
    context = ContextBuilder.newBuilder("transient").build(BlobStoreContext.class);
    blobs = context.getBlobStore();
    proxy =
        S3Proxy.builder()
            .blobStore(
                new ForwardingBlobStore(blobs) {
                  @Override
                  public Blob getBlob(String container, String name, GetOptions options) {
                    options.getRanges().forEach(range -> asked.addAndGet(length(range)));
                    return super.getBlob(container, name, options);
                  }

                  @Override
                  public String copyBlob(
                      String container,
                      String name,
                      String toContainer,
                      String toName,
                      CopyOptions options) {
                    copies.incrementAndGet();
                    return super.copyBlob(container, name, toContainer, toName, options);
                  }

                  @Override
                  public MultipartPart uploadMultipartPart(
                      MultipartUpload upload, int number, Payload payload) {
                    MultipartPart part = super.uploadMultipartPart(upload, number, payload);
                    parts.incrementAndGet();
                    return part;
                  }
                })
            .awsAuthentication(AuthenticationType.AWS_V2_OR_V4, ACCESS_KEY, SECRET_KEY)
            .endpoint(URI.create("http://127.0.0.1:0"))
            .build();
    proxy.start();
  }

  public static S3Server start() {
    try {
      return new S3Server();
    } catch (Exception e) {
      throw new IllegalStateException(e);
    }
  }

  /** Makes a bucket whose name no other has. */
  public String newBucket() {
    String bucket = freeName();
    blobs.createContainerInLocation(null, bucket);
    return bucket;
  }

  /** A name that no bucket has. */
  public String freeName() {
    return "bucket-" + BUCKETS.incrementAndGet();
  }

  public URI endpoint() {
    return URI.create("http://127.0.0.1:" + proxy.getPort());
  }

  /** How many objects were copied so far, which is what a rename is on S3. */
  public int copies() {
    return copies.get();
  }

  /** How many parts of objects arrived so far. */
  public int parts() {
    return parts.get();
  }

  /**
   * How many uploads of several parts were begun in a bucket, and neither finished nor given up.
   */
  public int unfinishedUploads(String bucket) {
    return blobs.listMultipartUploads(bucket).size();
  }

  /** How many bytes were asked for so far in ranges of objects. */
  long asked() {
    return asked.get();
  }

  private static long length(String range) {
    String[] ends = range.split("-", 2);
    return Long.parseLong(ends[1]) - Long.parseLong(ends[0]) + 1;
  }

  /** Hadoop settings that lead here. */
  public Configuration settings() {
    Configuration settings = new Configuration();
    settings.set("fs.s3a.endpoint", endpoint().toString());
    settings.set("fs.s3a.endpoint.region", "us-east-1");
    settings.set("fs.s3a.path.style.access", "true");
    settings.set("fs.s3a.access.key", ACCESS_KEY);
    settings.set("fs.s3a.secret.key", SECRET_KEY);
    settings.set("fs.s3a.multipart.size", "5M");
    return settings;
  }

  @Override
  public void close() {
    try {
      proxy.stop();
    } catch (Exception e) {
      throw new IllegalStateException(e);
    }
    context.close();
  }
}
