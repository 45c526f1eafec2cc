package ai.owl.kernel;

import java.util.concurrent.atomic.LongAdder;

/**
 * Finds the key with a given rank among many, by counting how many are below a guess: a count costs
 * a fraction of a histogram. It guesses where the last search ended, which among the rows of a
 * matrix is close, and interpolates from there; what is found does not depend on it. Holds scratch
 * memory and is not for several threads.
 */
final class RankSearch {
  /** So few are looked at one by one. */
  private static final int FEW = 48;

  /** Guesses after which the rest is looked at one by one, however many. */
  private static final int GUESSES = 12;

  private static final int PIECE = 1 << 16;
  private static final int WORTHWHILE = 1 << 18; // keys below which threads cost more

  private int[] found = new int[0];
  private int key = -1;
  private int below;
  private int equal;
  private double density; // keys per unit, around the last result

  /**
   * Searches {@code keys[0..length)}.
   *
   * @param rank 0-based, in ascending order, below {@code length}
   */
  void search(int[] keys, int length, int rank) {
    int low = 0; // the key is in [low, high] …
    int high = Integer.MAX_VALUE;
    int under = 0; // … and so many are below low, and not above high
    int upTo = length;
    for (int guess = 0; upTo - under > FEW && low < high && guess < GUESSES; guess++) {
      int pivot = guess(rank, low, high, under, upTo, guess);
      int count = countBelow(keys, length, pivot);
      if (count <= rank) {
        low = pivot;
        under = count;
      } else {
        high = pivot - 1;
        upTo = count;
      }
    }
    if (low > 0 && high < Integer.MAX_VALUE && high > low) {
      density = (upTo - under) / ((double) high - low + 1);
    }
    if (low == high) {
      key = low;
      below = under;
      equal = upTo - under;
      return;
    }
    if (found.length < upTo - under) {
      found = new int[upTo - under];
    }
    int size = RowCode.selection().collect(keys, 0, length, low, high, found, 0);
    key = quickselect(found, size, rank - under);
    below = under;
    equal = 0;
    for (int i = 0; i < size; i++) {
      below += found[i] < key ? 1 : 0;
      equal += found[i] == key ? 1 : 0;
    }
  }

  private static int countBelow(int[] keys, int length, int pivot) {
    if (length < WORTHWHILE) {
      return RowCode.selection().countBelow(keys, 0, length, pivot);
    }
    LongAdder count = new LongAdder();
    Blas.forEachTile(
        (length + PIECE - 1) / PIECE,
        piece ->
            count.add(
                RowCode.selection()
                    .countBelow(
                        keys, piece * PIECE, Math.min(length, (piece + 1) * PIECE), pivot)));
    return count.intValue();
  }

  /** A pivot in (low, high], beyond the key by a margin on the side that is closer. */
  private int guess(int rank, int low, int high, int under, int upTo, int guess) {
    double at;
    if (guess == 0 && key > low) {
      at = key;
    } else if (low > 0 && high < Integer.MAX_VALUE && guess % 4 != 3) {
      double perUnit = (upTo - under) / ((double) high - low + 1);
      int before = rank - under;
      int behind = upTo - rank;
      double margin = 4 + 0.03 * (upTo - under);
      at = before < behind ? low + (before + margin) / perUnit : high - (behind + margin) / perUnit;
    } else if (density > 0 && guess < 3 && low > 0) {
      at = low + (1.05 * (rank - under) + FEW / 4) / density;
    } else if (density > 0 && guess < 3 && high < Integer.MAX_VALUE) {
      at = high - (1.05 * (upTo - rank) + FEW / 4) / density;
    } else {
      at = ((double) low + high) / 2;
    }
    return (int) Math.min(high, Math.max(low + 1.0, at));
  }

  /** The key of the rank that was searched for. */
  int key() {
    return key;
  }

  /** How many keys are below it. */
  int below() {
    return below;
  }

  /** How many keys equal it, itself included. */
  int equal() {
    return equal;
  }

  /** Hoare's selection with the median of three as pivot; reorders {@code keys}. */
  private static int quickselect(int[] keys, int length, int rank) {
    int low = 0;
    int high = length - 1;
    while (low < high) {
      int middle = low + high >>> 1;
      int pivot =
          Math.max(
              Math.min(keys[low], keys[high]),
              Math.min(Math.max(keys[low], keys[high]), keys[middle]));
      int i = low;
      int j = high;
      while (i <= j) {
        while (keys[i] < pivot) {
          i++;
        }
        while (keys[j] > pivot) {
          j--;
        }
        if (i <= j) {
          int swap = keys[i];
          keys[i++] = keys[j];
          keys[j--] = swap;
        }
      }
      if (rank <= j) {
        high = j;
      } else if (rank >= i) {
        low = i;
      } else {
        return pivot;
      }
    }
    return keys[low];
  }
}
