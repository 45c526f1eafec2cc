package ai.owl.checkpoint;

/**
 * A checkpoint, or another input file, is not what it claims to be. The message names the file, the
 * tensor where there is one, what was expected and what was found.
 */
public class MalformedCheckpointException extends RuntimeException {
  public MalformedCheckpointException(String message) {
    super(message);
  }

  public MalformedCheckpointException(String message, Throwable cause) {
    super(message, cause);
  }
}
