// What Quartz 2.3.2 says about random cron expressions; see tools/make-cron-vectors.
import java.io.PrintWriter;
import java.util.Date;
import java.util.LinkedHashSet;
import java.util.Random;
import java.util.Set;
import java.util.StringJoiner;
import java.util.TimeZone;
import org.quartz.CronExpression;

public class CronVectors {
  static final Random random = new Random(20261124);
  static final String[] months = {"JAN", "FEB", "MAR", "APR", "MAY", "JUN",
                                  "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"};
  static final String[] days = {"SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"};
  static final String[] zones = {"UTC", "Europe/Berlin", "America/New_York",
      "Australia/Lord_Howe", "Asia/Kathmandu", "America/Sao_Paulo", "Asia/Tokyo", "Europe/London"};
  // Time zone databases agree up to here.
  static final long end = 2114380800L;  // 2037-01-01

  static int from(int low, int high) { return low + random.nextInt(high - low + 1); }
  static boolean one(int in) { return random.nextInt(in) == 0; }

  static String value(int low, int high, String[] names) {
    int n = from(low, high);
    if (names == null || one(2)) return String.valueOf(n);
    return one(3) ? names[n - low].toLowerCase() : names[n - low];
  }

  static String field(int low, int high, String[] names) {
    switch (random.nextInt(9)) {
      case 0: case 1: return "*";
      case 2: case 3: return value(low, high, names);
      case 4: {
        StringJoiner list = new StringJoiner(",");
        for (int i = from(2, 4); i > 0; --i) {
          list.add(one(4) ? range(low, high, null) : value(low, high, names));
        }
        return list.toString();
      }
      case 5: return range(low, high, names);
      case 6: return range(low, high, null) + "/" + from(1, 7);
      case 7: return (one(2) ? "*" : String.valueOf(from(low, high))) + "/" + from(1, 7);
      default: return "/" + from(1, 7);
    }
  }

  static String range(int low, int high, String[] names) {
    boolean named = names != null && one(2);
    return value(low, high, named ? names : null) + "-" + value(low, high, named ? names : null);
  }

  static String dayOfMonth() {
    switch (random.nextInt(8)) {
      case 0: return "L";
      case 1: return "L-" + from(0, 27);
      case 2: return "LW";
      case 3: return "L-" + from(1, 27) + "W";
      case 4: return from(1, 28) + "W";
      default: return field(1, 31, null);
    }
  }

  static String dayOfWeek() {
    switch (random.nextInt(6)) {
      case 0: return one(3) ? "L" : value(1, 7, days) + "L";
      case 1: return value(1, 7, days) + "#" + from(1, 5);
      default: return field(1, 7, days);
    }
  }

  static String year() {
    switch (random.nextInt(4)) {
      case 0: return "*";
      case 1: return String.valueOf(from(2000, 2036));
      case 2: { int a = from(1999, 2020); return a + "-" + from(a, 2036); }
      default: return from(1990, 2010) + "/" + from(1, 5);
    }
  }

  static String calm(int high) { return one(3) ? field(0, high, null) : String.valueOf(from(0, high)); }

  static String[] fields() {
    boolean byWeek = one(2);
    String[] all = {calm(59), calm(59), one(2) ? calm(23) : field(0, 23, null),
                    byWeek ? "?" : dayOfMonth(), one(2) ? "*" : field(1, 12, months),
                    byWeek ? dayOfWeek() : "?", one(5) ? year() : null};
    return all;
  }

  static String text(String[] fields) {
    StringJoiner all = new StringJoiner(one(20) ? "  " : " ");
    for (String each : fields) if (each != null) all.add(each);
    return all.toString();
  }

  static String spoiled(String[] fields) {
    int at = random.nextInt(6);
    String[] bad = {"60", "99", "-1", "?", "x", "5-", "-5", "1,", ",1", "1//2", "5/", "*/0", "*/99",
                    "L-99", "32", "0", "13", "8", "MON#6", "MON#0", "MON#", "FEBR", "W", "1W,2", "L,3",
                    "5#2#3", "1-99", "JAN-", "FRI-", "%", "10.5", "1;2", "24", "L-", "#3", "??", "3L,4"};
    fields[at] = bad[random.nextInt(bad.length)];
    if (one(12)) { fields[3] = "?"; fields[5] = "?"; }
    if (one(12)) { fields[3] = "1"; fields[5] = "2"; }
    if (one(12)) fields[5] = null;
    return text(fields);
  }

  public static void main(String[] arguments) throws Exception {
    try (PrintWriter out = new PrintWriter(arguments[0] + "/valid.txt")) {
      for (int count = 0; count < 5000;) {
        String expression = text(fields());
        CronExpression cron;
        try { cron = new CronExpression(expression); } catch (Exception refused) { continue; }
        String zone = zones[random.nextInt(zones.length)];
        cron.setTimeZone(TimeZone.getTimeZone(zone));
        long start = 915148800L + (long) (random.nextDouble() * (2051222400L - 915148800L));
        StringBuilder times = new StringBuilder();
        Date at = new Date(start * 1000);
        for (int i = 0; i < 20; ++i) {
          Date next = cron.getNextValidTimeAfter(at);
          if (next == null) { times.append(" never"); break; }
          if (next.getTime() / 1000 >= end) { times.append(" later"); break; }
          times.append(' ').append((next.getTime() - at.getTime()) / 1000);
          at = next;
        }
        out.println(zone + "|" + start + "|" + expression + "|" + times.substring(Math.min(1, times.length())));
        ++count;
      }
    }
    Set<String> invalid = new LinkedHashSet<>();
    while (invalid.size() < 2000) {
      String expression = spoiled(fields());
      try { new CronExpression(expression); } catch (Exception refused) { invalid.add(expression); }
    }
    try (PrintWriter out = new PrintWriter(arguments[0] + "/invalid.txt")) {
      for (String each : invalid) out.println(each);
    }
  }
}
