package android.util;

/** What our sources name of Android's own class, to compile against. Never shipped: every Android has the real one. */
public final class Log {
  private Log() {}

  public static int i(String tag, String message) {
    throw new UnsupportedOperationException("a stub");
  }

  public static int e(String tag, String message) {
    throw new UnsupportedOperationException("a stub");
  }
}
