package ai.owl.spark.report;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import org.junit.jupiter.api.Test;

class MarkupTest {
  @Test
  void escapesTextAndAttributes() {
    Markup out = new Markup().leaf("p", "a < b & \"c\" > 'd'", "title", "\"><script>");
    assertThat(out.document())
        .endsWith(
            "<p title=\"&quot;&gt;&lt;script&gt;\">a &lt; b &amp; &quot;c&quot; &gt; &#39;d&#39;"
                + "</p>\n");
  }

  @Test
  void replacesWhatNoDocumentMayHold() {
    Markup out = new Markup().leaf("p", "a\u0000b\ud800c\uffffd\u001be\ufdd0f λ 🦉");
    assertThat(out.document()).endsWith("<p>a\ufffdb\ufffdc\ufffdd\ufffde\ufffdf λ 🦉</p>\n");
  }

  @Test
  void refusesUnfinishedDocuments() {
    assertThatThrownBy(() -> new Markup().open("p").document())
        .isInstanceOf(IllegalStateException.class);
  }

  @Test
  void refusesMarkupInVerbatimContent() {
    assertThatThrownBy(() -> new Markup().verbatim("</style>"))
        .isInstanceOf(IllegalArgumentException.class);
  }

  @Test
  void writesCoordinatesShortly() {
    assertThat(Markup.px(10)).isEqualTo("10");
    assertThat(Markup.px(0.126)).isEqualTo("0.13");
    assertThat(Markup.px(-0.001)).isEqualTo("0");
    assertThat(Markup.px(1234.5)).isEqualTo("1234.5");
    assertThatThrownBy(() -> Markup.px(Double.NaN)).isInstanceOf(IllegalArgumentException.class);
  }
}
