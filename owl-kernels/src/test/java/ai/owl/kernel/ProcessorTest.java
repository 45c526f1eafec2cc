package ai.owl.kernel;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.List;
import org.junit.jupiter.api.Test;

class ProcessorTest {
  @Test
  void tellsTheWidestInstructions() {
    assertThat(of("flags\t\t: fpu avx avx2 avx512f avx512_bf16 fma")).isEqualTo("AVX512-BF16");
    assertThat(of("flags : avx512_bf16 amx_tile avx512f")).isEqualTo("AMX");
    assertThat(of("flags : avx2 avx")).isEqualTo("AVX2");
    assertThat(of("Features : fp asimd sve")).isEqualTo("SVE");
    assertThat(of("model name : avx2")).isEqualTo(System.getProperty("os.arch"));
    assertThat(Processor.instructions(List.of())).isEqualTo(System.getProperty("os.arch"));
    assertThat(Processor.instructions()).isNotEmpty();
  }

  private static String of(String line) {
    return Processor.instructions(List.of("processor : 0", line));
  }

  @Test
  void tellsTheFirstOfAName() {
    List<String> lines = List.of("cpu family\t: 25", "no value", "cpu family\t: 6");
    assertThat(Processor.value(lines, "cpu family")).isEqualTo("25");
    assertThat(Processor.value(lines, "no value")).isEmpty();
  }
}
