package ai.owl.spark.ml;

import org.apache.spark.ml.param.Param;
import org.apache.spark.ml.param.Params;

/** The column of a dataset that holds text or token ids. */
public interface TokenColumnParams extends Params {
  /** Column of text, a document a row. */
  default Param<String> textCol() {
    return new Param<>(
        uid(), "textCol", "column of text, a document a row; not looked at if tokensCol is set");
  }

  /** Column of token ids, a sequence a row; has no default. */
  default Param<String> tokensCol() {
    return new Param<>(
        uid(),
        "tokensCol",
        "column of token ids (array of int or bigint), a sequence a row, used as they are;"
            + " undefined: textCol is tokenized");
  }

  default String getTextCol() {
    return getOrDefault(textCol());
  }

  default String getTokensCol() {
    return getOrDefault(tokensCol());
  }
}
