package ai.owl.pipeline;

/** Is told how far a run is. */
public interface Progress {
  /** Says nothing. */
  Progress NONE =
      new Progress() {
        @Override
        public void begin(String stage, int steps) {}

        @Override
        public void step(String what) {}

        @Override
        public void say(String message) {}

        @Override
        public void warn(String message) {}
      };

  /** A stage of {@code steps} steps begins; the one before it is over. */
  void begin(String stage, int steps);

  /** One more step of the stage is done. */
  void step(String what);

  /** Something that went as it should. */
  void say(String message);

  /** Something the user should know although the run goes on. */
  void warn(String message);
}
