package ai.owl.spark.cluster;

import ai.owl.spark.storage.HdfsCluster;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.yarn.conf.YarnConfiguration;
import org.apache.hadoop.yarn.server.MiniYARNCluster;

/**
 * HDFS and YARN in one process of their own, for whoever submits to them: a name node and a data
 * node, a resource manager and two node managers, which start containers as real processes.
 *
 * <p>Its one argument is a folder. What a client needs to know comes into {@code conf} there, for
 * {@code HADOOP_CONF_DIR}; containers' logs come into the working folder. It says {@code ready},
 * and ends when its standard input does.
 */
public final class HadoopCluster {
  private static final int NODES = 2;

  private HadoopCluster() {}

  public static void main(String[] args) throws Exception {
    Path folder = Path.of(args[0]).toAbsolutePath();
    try (HdfsCluster hdfs = HdfsCluster.start(folder.resolve("hdfs"));
        MiniYARNCluster yarn = new MiniYARNCluster("owl", NODES, 1, 1)) {
      yarn.init(settings(hdfs.uri()));
      yarn.start();
      awaitNodes(yarn);
      writeForClients(
          yarn.getConfig(), hdfs.uri(), Files.createDirectories(folder.resolve("conf")));
      System.out.println("ready");
      System.in.transferTo(OutputStream.nullOutputStream());
    }
    System.exit(0); // threads of Hadoop's stay behind
  }

  private static YarnConfiguration settings(String hdfs) {
    YarnConfiguration settings = new YarnConfiguration();
    settings.set("fs.defaultFS", hdfs);
    // The file with these is not in the client's jar.
    String root = "yarn.scheduler.capacity.root.";
    settings.set(root + "queues", "default");
    settings.set(root + "default.capacity", "100");
    settings.set(root + "default.maximum-capacity", "100");
    settings.set(root + "default.state", "RUNNING");
    settings.set(root + "default.acl_submit_applications", "*");
    settings.set("yarn.scheduler.capacity.maximum-am-resource-percent", "0.9");
    settings.set("yarn.scheduler.capacity.node-locality-delay", "-1");
    settings.set("yarn.scheduler.minimum-allocation-mb", "256");
    settings.set("yarn.nodemanager.vmem-check-enabled", "false");
    settings.set(
        "yarn.nodemanager.disk-health-checker.max-disk-utilization-per-disk-percentage", "100.0");
    return settings;
  }

  private static void awaitNodes(MiniYARNCluster yarn) throws Exception {
    if (!yarn.waitForNodeManagersToConnect(60_000)) {
      throw new IllegalStateException("Node managers did not connect within a minute");
    }
  }

  private static void writeForClients(Configuration settings, String hdfs, Path folder)
      throws IOException {
    Configuration all = new Configuration(settings);
    all.set("fs.defaultFS", hdfs);
    // The mini cluster's own class for racks, which clients do not have.
    all.set("net.topology.node.switch.mapping.impl", "org.apache.hadoop.net.ScriptBasedMapping");
    for (String name : new String[] {"core-site.xml", "yarn-site.xml"}) {
      try (OutputStream out = Files.newOutputStream(folder.resolve(name))) {
        all.writeXml(out);
      }
    }
  }
}
