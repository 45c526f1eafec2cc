package ai.owl.spark.storage;

import java.io.IOException;
import java.nio.file.Path;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.hdfs.MiniDFSCluster;

/** HDFS in this process, with one data node. */
public final class HdfsCluster implements AutoCloseable {
  private final MiniDFSCluster cluster;

  private HdfsCluster(Path folder) throws IOException {
    Configuration settings = new Configuration();
    settings.set(MiniDFSCluster.HDFS_MINIDFS_BASEDIR, folder.toString());
    settings.setBoolean("dfs.namenode.edits.noeditlogchannelflush", true); // faster
    cluster = new MiniDFSCluster.Builder(settings).numDataNodes(1).build();
    cluster.waitActive();
  }

  /** Starts one that keeps its data in a folder. */
  public static HdfsCluster start(Path folder) {
    try {
      return new HdfsCluster(folder);
    } catch (IOException e) {
      throw new IllegalStateException(e);
    }
  }

  /** {@code hdfs://host:port}. */
  public String uri() {
    return cluster.getURI().toString();
  }

  FileSystem files() throws IOException {
    return cluster.getFileSystem();
  }

  @Override
  public void close() {
    cluster.shutdown();
  }
}
