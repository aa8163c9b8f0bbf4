package probe;

import java.io.IOException;
import java.util.Arrays;
import java.util.function.Function;

/** All that the compiler knows, and what comes of it as a text. */
public final class Everything implements Function<Object, Object> {
    public static final int SEVEN = 7;
    public static final long FAR = 0x7fffffffffffffffL;
    public static final double MINUS_ZERO = -0.0;
    public static final float HALF = 0.5f;
    public static final String WORD = "quote \" back \\ tab \t \u00e9\u20ac\ud83d\ude00 \0 end";
    private static final char LETTER = 'x';
    private static final boolean YES = true;
    private static final int[] SQUARES = {0, 1, 4, 9, 16};
    private static int counted = 3;
    private static long[] shared;
    private int held, other;
    private double[] row;

    static {
        shared = new long[] {1L, -1L, 1L << 40};
    }

    public Everything(int start) {
        held = start;
        other = 5;
        row = new double[3];
    }

    public Everything() {
        this(SEVEN);
    }

    @Override
    public Object apply(Object given) {
        return given == null ? "nothing" : given instanceof String ? "text " + (String) given : given.toString();
    }

    private static int loops(int n) {
        int total = 0;
        for (int i = 0; i < n; i++) {
            if (i == 3) {
                continue;
            }
            if (i > 8) {
                break;
            }
            total += i;
        }
        int down = n;
        while (down > 0) {
            down -= 2;
            total ^= down;
        }
        do {
            total++;
        } while (total % 7 != 0);
        for (;;) {
            if (total-- < 10) {
                break;
            }
        }
        for (int i = 0, j = 10; i < j; i++, j--) {
            total += i * j;
        }
        while (true) {
            total += 100;
            if (total > 500) {
                return total;
            }
        }
    }

    private static String compare(double a, double b) {
        StringBuilder found = new StringBuilder();
        found.append(a < b).append(a <= b).append(a > b).append(a >= b).append(a == b).append(a != b);
        found.append(!(a < b)).append(!(a <= b)).append(!(a > b)).append(!(a >= b));
        found.append(a < b ? 1 : 2).append(a >= b || a != a ? 'y' : 'n');
        float x = (float) a;
        float y = (float) b;
        found.append(x < y).append(x >= y).append(x == y);
        return found.toString();
    }

    private static String integers(int a, long b) {
        String found = a + " " + (a << 3) + " " + (a >> 2) + " " + (a >>> 28) + " " + (a & 12 | 3 ^ a) + " " + ~a;
        found += " " + a / 3 + " " + a % 3 + " " + -a + " " + (b >>> 60) + " " + (b << a) + " " + (b & 255) + (b | a);
        found += " " + (int) b + " " + (byte) a + " " + (short) b + " " + (char) (a & 31 | 64) + " " + (double) b;
        found += " " + (a < b) + (a == b) + (b != 0) + (b >= a ? a : b);
        byte[] bytes = new byte[4];
        bytes[1] = (byte) 200;
        bytes[2] += 130;
        bytes[3]++;
        found += " " + bytes[1] + " " + (bytes[1] & 255) + " " + bytes[2] + bytes[3];
        short[] shorts = new short[2];
        shorts[0] = (short) 70000;
        char[] letters = new char[] {'a', LETTER, '\n'};
        boolean[] flags = new boolean[2];
        flags[1] = YES;
        float[] floats = new float[] {1, 2, HALF};
        floats[2] *= 3;
        return found + shorts[0] + letters[1] + flags[1] + flags[0] + floats[2] + floats.length;
    }

    private static String conversions(double a) {
        int truncated = (int) a;
        long longer = (long) a;
        float narrow = (float) a;
        int counting = 5;
        counting *= 1.5;
        counting += 'a';
        long wide = counting;
        wide <<= 35;
        wide >>>= 3;
        double sum = wide + narrow;
        sum -= 1;
        sum /= 4;
        double both = sum = a + 1;
        return truncated + " " + longer + " " + narrow + " " + counting + " " + wide + " " + sum + " " + both
                + " " + (float) longer + " " + 1 / 3 + " " + 1 / 3.0 + " " + 5 % 3.5 + " " + (1.0f + 2);
    }

    private String fields() {
        held += 4;
        held <<= 2;
        int before = held++;
        int after = ++held;
        this.other -= held;
        row[held % 3] = before;
        row[1] += 0.5;
        double kept = row[2] = 8;
        counted += held;
        int index = 0;
        int[] numbers = {5, 6, 7};
        numbers[index++] += 10;
        numbers[index]++;
        int old = numbers[2]--;
        long[] copy = shared;
        copy[1] |= 6;
        return before + " " + after + " " + other + " " + row[0] + row[1] + row[2] + kept + counted + index + numbers[0]
                + numbers[1] + numbers[2] + old + copy[1] + SQUARES[4] + SQUARES.length;
    }

    private static int fails(String text) throws IOException {
        if (text.length() == 0) {
            throw new IOException("empty");
        }
        return Integer.parseInt(text);
    }

    private static String tries(String text) {
        int reached = 0;
        try {
            reached = 1;
            int value = fails(text);
            reached = 2;
            if (value > 100) {
                return "large " + value;
            }
        } catch (IOException error) {
            return "caught " + error.getMessage() + reached;
        } catch (RuntimeException error) {
            String said = error.getMessage();
            reached += 10;
            return reached + (said == null ? "?" : "number: " + said);
        }
        return "small" + reached;
    }

    private static boolean both(boolean a, boolean b) {
        boolean found = a && b || !a && !b;
        found &= a | b;
        found ^= YES;
        return found == (a != b) ? !found : found;
    }

    private static String nested(int n) {
        String[][] table = new String[2][];
        table[0] = new String[] {"a", null, n > 0 ? "c" + n : null};
        double[][] matrix = new double[n + 1][];
        for (int i = 0; i <= n; i++) {
            matrix[i] = new double[i];
            Arrays.fill(matrix[i], 0.25 * i);
        }
        Object any = matrix[n];
        double[] back = (double[]) any;
        return table[0][2] + (table[1] == null) + (table[0][1] != null) + back.length + matrix[n][0] + Math.max(n, 2)
                + Math.max(1.5, n) + Math.abs(-2.5) + new Everything(n > 1 ? n : 9).held + String.valueOf(any == back ? "same" : null);
    }

    public static void main(String[] arguments) {
        System.out.println(loops(12) + " " + loops(0));
        double[] values = {1.5, -2.25, 0.0, -0.0, Double.NaN, 1 / 0.0, 1e300, 4.9e-324};
        for (int i = 0; i < values.length; i++) {
            System.out.println(conversions(values[i]));
            for (int j = 0; j < values.length; j++) {
                System.out.println(compare(values[i], values[j]));
            }
        }
        System.out.println(integers(-77, 123456789012L) + integers(2147483647, -1L));
        System.out.println(new Everything().fields() + new Everything(2).fields());
        System.out.println(tries("") + tries("12") + tries("1200") + tries("x"));
        System.out.println(both(true, false) + " " + both(true, true) + both(false, false));
        System.out.println(nested(3) + nested(1));
        Everything one = new Everything();
        System.out.println(one.apply("t") + " " + one.apply(null) + one.apply(new StringBuilder()));
        System.out.println(WORD.length() + WORD + MINUS_ZERO + FAR + HALF + SEVEN + (WORD == null));
        Function function = one;
        System.out.println(function.apply("by its interface") + " " + Everything.class.getName());
    }
}
