package ai.owl.spark.storage;

import java.io.ByteArrayOutputStream;
import java.io.Closeable;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.util.Locale;
import java.util.Queue;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.function.Function;

/**
 * A proxy in front of an HTTP server that answers in its place, breaks connections off, or dawdles,
 * as a rule says. Requests go on as they are, for their signatures cover them.
 */
final class BadNetwork implements AutoCloseable {

  /**
   * A request.
   *
   * @param number how many with this line came before
   */
  record Request(String method, String target, int number) {}

  /** What happens to a request. */
  sealed interface Fault permits Answer, CutRequest, CutResponse, Slow {}

  /** The answer in place of the server's. */
  record Answer(int status, String code) implements Fault {}

  /** The connection breaks after so many bytes of the request's body. */
  record CutRequest(int after) implements Fault {}

  /** The connection breaks after so many bytes of the response, its head among them. */
  record CutResponse(int after) implements Fault {}

  /** After so many bytes of the response, its head among them, nothing more comes for a while. */
  record Slow(int after, int millis) implements Fault {}

  private final URI server;
  private final ServerSocket door;
  private final ExecutorService threads = Executors.newCachedThreadPool();
  private final ConcurrentHashMap<String, Integer> seen = new ConcurrentHashMap<>();
  private final Queue<Socket> open = new ConcurrentLinkedQueue<>();

  /** All requests that came. */
  final Queue<Request> requests = new ConcurrentLinkedQueue<>();

  /** All faults that happened. */
  final Queue<Fault> faults = new ConcurrentLinkedQueue<>();

  private volatile Function<Request, Fault> rule = request -> null;

  private BadNetwork(URI server) throws IOException {
    this.server = server;
    door = new ServerSocket(0, 50, InetAddress.getLoopbackAddress());
    threads.execute(this::accept);
  }

  static BadNetwork before(URI server) {
    try {
      return new BadNetwork(server);
    } catch (IOException e) {
      throw new IllegalStateException(e);
    }
  }

  URI endpoint() {
    return URI.create("http://127.0.0.1:" + door.getLocalPort());
  }

  /** From now on, what the function returns happens to requests; nothing, if it is null. */
  void follow(Function<Request, Fault> rule) {
    seen.clear();
    requests.clear();
    faults.clear();
    this.rule = rule;
  }

  private void accept() {
    try {
      while (true) {
        Socket client = door.accept();
        open.add(client);
        threads.execute(() -> serve(client));
      }
    } catch (IOException closed) {
      // The end.
    }
  }

  private void serve(Socket client) {
    try (client;
        Socket server = new Socket(this.server.getHost(), this.server.getPort())) {
      open.add(server);
      Answers answers = new Answers(server.getInputStream(), client);
      threads.execute(answers);
      InputStream in = client.getInputStream();
      OutputStream out = server.getOutputStream();
      for (byte[] head = head(in); head != null; head = head(in)) {
        String text = new String(head, StandardCharsets.ISO_8859_1);
        String[] line = text.lines().findFirst().orElse("").split(" ");
        int number = seen.merge(line[0] + " " + line[1], 1, Integer::sum) - 1;
        Request request = new Request(line[0], line[1], number);
        requests.add(request);
        Fault fault = rule.apply(request);
        if (fault != null) {
          faults.add(fault);
        }
        long length = length(text);
        if (fault instanceof Answer answer) {
          client.getOutputStream().write(answer(answer, request));
          client.shutdownOutput();
          in.transferTo(OutputStream.nullOutputStream());
          return;
        }
        answers.next = fault;
        out.write(head);
        out.flush();
        if (fault instanceof CutRequest cut) {
          copy(in, out, Math.min(length, cut.after));
          return;
        }
        copy(in, out, length);
      }
    } catch (IOException broken) {
      // One of the two ends has gone, or this end.
    }
  }

  /** What comes back, of one connection; one request is under way at a time. */
  private static final class Answers implements Runnable {
    private final InputStream from;
    private final Socket client;
    private volatile Fault next;

    Answers(InputStream from, Socket client) {
      this.from = from;
      this.client = client;
    }

    @Override
    public void run() {
      byte[] buffer = new byte[8192];
      Fault fault = null;
      long left = 0;
      try (client) {
        OutputStream to = client.getOutputStream();
        for (int count = from.read(buffer); count > 0; count = from.read(buffer)) {
          Fault now = next;
          if (now != fault) {
            fault = now;
            left =
                now instanceof CutResponse cut
                    ? cut.after
                    : now instanceof Slow slow ? slow.after : 0;
          }
          if (fault instanceof CutResponse && count >= left) {
            to.write(buffer, 0, (int) left);
            return;
          }
          if (fault instanceof Slow slow && left >= 0 && count >= left) {
            to.write(buffer, 0, (int) left);
            pause(slow.millis);
            to.write(buffer, (int) left, count - (int) left);
            left = -1;
          } else {
            to.write(buffer, 0, count);
            left = left < 0 ? left : left - count;
          }
        }
      } catch (IOException broken) {
        // One of the two ends has gone.
      }
    }

    private static void pause(int millis) throws IOException {
      try {
        Thread.sleep(millis);
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
        throw new IOException(e);
      }
    }
  }

  private static byte[] answer(Answer answer, Request request) {
    String body =
        request.method().equals("HEAD")
            ? ""
            : "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>"
                + answer.code
                + "</Code><Message>as the test says</Message></Error>";
    return ("HTTP/1.1 "
            + answer.status
            + " No\r\nConnection: close\r\nContent-Type: application/xml\r\nContent-Length: "
            + body.length()
            + "\r\n\r\n"
            + body)
        .getBytes(StandardCharsets.ISO_8859_1);
  }

  /** Up to the empty line; null where there is no request any more. */
  private static byte[] head(InputStream in) throws IOException {
    ByteArrayOutputStream head = new ByteArrayOutputStream();
    for (int state = 0; state < 4; ) {
      int next = in.read();
      if (next < 0) {
        return null;
      }
      head.write(next);
      state = next == (state % 2 == 0 ? '\r' : '\n') ? state + 1 : next == '\r' ? 1 : 0;
    }
    return head.toByteArray();
  }

  private static long length(String head) {
    return head.lines()
        .map(line -> line.toLowerCase(Locale.ROOT))
        .filter(line -> line.startsWith("content-length:"))
        .mapToLong(line -> Long.parseLong(line.substring(line.indexOf(':') + 1).strip()))
        .findFirst()
        .orElse(0);
  }

  private static void copy(InputStream in, OutputStream out, long length) throws IOException {
    byte[] buffer = new byte[8192];
    for (long left = length; left > 0; ) {
      int count = in.read(buffer, 0, (int) Math.min(left, buffer.length));
      if (count < 0) {
        throw new EOFException();
      }
      out.write(buffer, 0, count);
      left -= count;
    }
    out.flush();
  }

  @Override
  public void close() throws IOException {
    door.close();
    for (Closeable socket : open) {
      socket.close();
    }
    threads.shutdownNow();
  }
}
