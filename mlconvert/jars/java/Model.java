package ${package};

import java.io.IOException;
import java.io.InputStream;
//#if texts
import java.util.Arrays;
//#end
import java.util.function.Function;

/**
 * ${title}
 *
 * <p>A row holds ${features} numbers, in the order of {@link #featureNames}; NaN is a missing value.
//#if texts
 * Columns of text take the numbers that {@link #row} and {@link #code} make of them.
//#end
 * What the class knows stands in the resource {@code ${simple}.bin} beside it, and is read once, when the class is first
 * used. Nothing changes after that: any number of threads may use one model, or several.
 *
 * <p>As a {@code Function} it takes a {@code double[]} and gives {@link ${function}}: a program
 * that loads several models, each from a jar of its own, needs no other type.
 */
public final class ${simple} implements Function<Object, Object> {
    /** How many numbers a row holds. */
    public static final int FEATURES = ${features};
    /** How many numbers {@link #evaluate} gives for a row: ${columns}. */
    public static final int WIDTH = ${width};

    private static final int SUMS = ${sums};
    private static final String[] NAMES;
//#if label
    private static final String[] CLASSES;
    private static final double[] LABELS;
//#end
//#if texts
    private static final String[][] TEXTS;
    private static final int[][] CODES;
//#end
    private static final double[] BASE;
//#if steps

    // What is done to a row before the model sees it. Each operation makes one more column.
    private static final int[] OPERATION, COLUMN;
    private static final double[] FIRST, SECOND;
    private static final int[] TABLE_START;
    private static final double[] TABLE_KEY, TABLE_VALUE, TABLE_MISSING;
//#end
//#if zeros or truncates
    private static final int[] ZERO_IS_MISSING, WHOLE;
//#end
//#if arrays

    // A node is one number: how far on its left child is, above the rank of its threshold, above its slot. The right
    // child is the next. A leaf is a node whose left child is 0 further on, so that a walk stays there.
    private static final int SLOT_BITS = ${slot_bits};
    private static final int SLOT_MASK = ${slot_mask};
    private static final int RANK_MASK = ${rank_mask};
    private static final int CHILD = ${child_bits};
    private static final int TREES = ${trees};
    private static final ${node}[] NODES;
    private static final int[] ROOTS;
    private static final ${real}[] VALUES;
//#if many
    private static final int[] OUTPUT;
//#end
//#if vector or linear
    private static final int[] LEAF;
//#end

    // A list holds the thresholds of a feature, rising; the rank of a value is the number of those below it, and a
    // node compares ranks. NaN has the highest rank in a list's first slot, and the lowest in its second.
    private static final int LISTS = ${lists};
    private static final int SLOTS = ${slots};
    private static final int[] FEATURE, START;
    private static final double[] THRESHOLD;
//#end
//#if arrays sets

    // Of a list of categories, the rank is a category's place, then that of any other value, then that of NaN. A set
    // is a bit for each rank: 1 goes right.
    private static final int NUMERIC = ${numeric};
    private static final int[] SET_START, SET_BITS;
//#end
//#if code

    // The trees are methods of the classes beside this one.
    private static final int[] SEEN;
//#if vector or linear
    private static final ${real}[] VALUES;
//#end
//#if sets
    private static final int[] SET_START;
    private static final double[] SET_VALUE;
//#end
//#end
//#if linear

    // Leaves that are sums of features.
    private static final int[] TERM_START, TERM_FEATURE;
    private static final double[] TERM_COEFFICIENT, CONSTANT;
//#end

    static {
        byte[] bytes = resource();
        int[] at = new int[1];
        NAMES = texts(bytes, at);
//#if label
        CLASSES = texts(bytes, at);
        LABELS = doubles(bytes, at);
//#end
//#if texts
        TEXTS = new String[FEATURES][];
        CODES = new int[FEATURES][];
        for (int column = 0; column < FEATURES; column++) {
            TEXTS[column] = texts(bytes, at);
            CODES[column] = integers(bytes, at);
        }
//#end
        BASE = doubles(bytes, at);
//#if steps
        OPERATION = integers(bytes, at);
        COLUMN = integers(bytes, at);
        FIRST = doubles(bytes, at);
        SECOND = doubles(bytes, at);
        TABLE_START = integers(bytes, at);
        TABLE_KEY = doubles(bytes, at);
        TABLE_VALUE = doubles(bytes, at);
        TABLE_MISSING = doubles(bytes, at);
//#end
//#if zeros or truncates
        ZERO_IS_MISSING = integers(bytes, at);
        WHOLE = integers(bytes, at);
//#end
//#if arrays
        FEATURE = integers(bytes, at);
        START = integers(bytes, at);
        THRESHOLD = doubles(bytes, at);
//#if many
        OUTPUT = integers(bytes, at);
//#end
        ROOTS = new int[TREES];
        int[] inner = integers(bytes, at);
        int[] slots = integers(bytes, at);
        int[] ranks = integers(bytes, at);
        double[] leaves = doubles(bytes, at);
        NODES = new ${node}[inner.length];
//#if vector or linear
        LEAF = new int[inner.length];
//#end
//#if vector
        VALUES = new ${real}[leaves.length];
        for (int i = 0; i < leaves.length; i++) {
            VALUES[i] = ${as_real}leaves[i];
        }
//#end
//#if !vector
        VALUES = new ${real}[inner.length];
//#end
        int split = 0;
        int leaf = 0;
        int node = 0;
        for (int tree = 0; tree < TREES; tree++) {
            ROOTS[tree] = node;
            // The nodes of a tree come level by level, so the next pair of children is where the last one ended.
            for (int free = node + 1; node < free; node++) {
                if (inner[node] == 1) {
                    NODES[node] = ${as_node}(free - node) << CHILD | ${as_node}ranks[split] << SLOT_BITS | slots[split];
                    split++;
                    free += 2;
                } else {
                    NODES[node] = ${as_node}RANK_MASK << SLOT_BITS;
//#if vector or linear
                    LEAF[node] = leaf;
//#end
//#if !vector
                    VALUES[node] = ${as_real}leaves[leaf];
//#end
                    leaf++;
                }
            }
        }
//#end
//#if code
        SEEN = integers(bytes, at);
//#if vector or linear
        double[] leaves = doubles(bytes, at);
        VALUES = new ${real}[leaves.length];
        for (int i = 0; i < leaves.length; i++) {
            VALUES[i] = ${as_real}leaves[i];
        }
//#end
//#end
//#if sets
        SET_START = integers(bytes, at);
//#if arrays
        SET_BITS = integers(bytes, at);
//#end
//#if code
        SET_VALUE = doubles(bytes, at);
//#end
//#end
//#if linear
        TERM_START = integers(bytes, at);
        TERM_FEATURE = integers(bytes, at);
        TERM_COEFFICIENT = doubles(bytes, at);
        CONSTANT = doubles(bytes, at);
//#end
    }

    // --- what a program uses ---

    /** The names of the features, in the order of a row. */
    public String[] featureNames() {
        return copy(NAMES);
    }

//#if label
    /** The classes, as text, in the order of their probabilities. */
    public String[] classes() {
        return copy(CLASSES);
    }

    /** The class of a row, as text. */
    public String label(double[] row) {
        return CLASSES[(int) answer(row)[0]];
    }

//#end
    /**
     * ${predict_doc}
     *
     * @throws IllegalArgumentException for a row of another length than {@link #FEATURES}
     */
    public double[] predict(double[] row) {
//#if label
        return new double[] {LABELS[(int) answer(row)[0]]};
//#end
//#if outlier
        return new double[] {answer(row)[0]};
//#end
//#if value
        return answer(row);
//#end
    }

    /** {@link #predict(double[])} for each row. */
    public double[][] predict(double[][] rows) {
        double[][] answers = new double[rows.length][];
        for (int i = 0; i < rows.length; i++) {
            answers[i] = predict(rows[i]);
        }
        return answers;
    }

    /**
     * The probability of each class, in the order of the classes.
     *
     * @throws IllegalArgumentException for a row of another length than {@link #FEATURES}
     * @throws UnsupportedOperationException by a model that gives none
     */
    public double[] predictProba(double[] row) {
//#if probabilities
        return after(answer(row));
//#end
//#if !probabilities
        throw new UnsupportedOperationException("this model gives no probabilities");
//#end
    }

    /** {@link #predictProba(double[])} for each row. */
    public double[][] predictProba(double[][] rows) {
        double[][] answers = new double[rows.length][];
        for (int i = 0; i < rows.length; i++) {
            answers[i] = predictProba(rows[i]);
        }
        return answers;
    }

//#if scores
    /** The decision function: of two classes, or an outlier, one number; otherwise one for each class. */
    public double[] scores(double[] row) {
        return after(answer(row));
    }

//#end
    /**
     * The answers to many rows, without an object for each: {@code rows} holds {@code count} rows one after the other,
     * and {@code answers} is given {@link #WIDTH} numbers for each.
     */
    public void evaluate(double[] rows, int count, double[] answers) {
        if (rows.length < (long) count * FEATURES || answers.length < (long) count * WIDTH) {
            throw new IllegalArgumentException(
                    count + " rows take " + (long) count * FEATURES + " numbers and give " + (long) count * WIDTH);
        }
        for (int i = 0; i < count; i++) {
            answer(rows, i * FEATURES, answers, i * WIDTH);
        }
    }

    /** {@link ${function}}, so that a model can be used by its interface alone. */
    public Object apply(Object row) {
        return ${apply}((double[]) row);
    }

    /**
     * A row made of values of other types: numbers, booleans${text_doc}; null is a missing value.
     *
     * @throws IllegalArgumentException for another number of values than {@link #FEATURES}, or a value of another type
     */
    public double[] row(Object[] values) {
        if (values.length != FEATURES) {
            throw new IllegalArgumentException("a row has " + FEATURES + " values, not " + values.length);
        }
        double[] row = new double[FEATURES];
        for (int i = 0; i < FEATURES; i++) {
            Object value = values[i];
            if (value == null) {
                row[i] = Double.NaN;
            } else if (value instanceof Number) {
                row[i] = ((Number) value).doubleValue();
            } else if (value instanceof Boolean) {
                row[i] = ((Boolean) value).booleanValue() ? 1.0 : 0.0;
//#if texts
            } else if (value instanceof String) {
                row[i] = code(i, (String) value);
//#end
            } else {
                throw new IllegalArgumentException("the feature " + NAMES[i] + " cannot be " + value);
            }
        }
        return row;
    }

//#if texts
    /**
     * The number that stands for a text in a row; a text that the model has not met is -1.
     *
     * @throws IllegalArgumentException for a column of numbers
     */
    public double code(int column, String text) {
        if (TEXTS[column].length == 0) {
            throw new IllegalArgumentException("the feature " + NAMES[column] + " is a number, not text: " + text);
        }
        int place = Arrays.binarySearch(TEXTS[column], text);
        return place < 0 ? -1.0 : CODES[column][place];
    }

//#end
    private static String[] copy(String[] texts) {
        String[] copied = new String[texts.length];
        System.arraycopy(texts, 0, copied, 0, texts.length);
        return copied;
    }

    // --- how an answer is found ---

    private static double[] answer(double[] row) {
        if (row.length != FEATURES) {
            throw new IllegalArgumentException("a row has " + FEATURES + " values, not " + row.length);
        }
        double[] answer = new double[WIDTH];
        answer(row, 0, answer, 0);
        return answer;
    }

//#if probabilities or scores
    private static double[] after(double[] answer) {
        double[] rest = new double[WIDTH - 1];
        System.arraycopy(answer, 1, rest, 0, WIDTH - 1);
        return rest;
    }

//#end
    /** The answer to the row that begins at a place in {@code rows}: {@link #WIDTH} numbers, from {@code to} on. */
    private static void answer(double[] rows, int at, double[] answer, int to) {
        ${real}[] sums = new ${real}[SUMS];
//#if steps
        sums(prepared(rows, at), 0, sums);
//#end
//#if !steps
        sums(rows, at, sums);
//#end
//#if divided
        for (int k = 0; k < SUMS; k++) {
            sums[k] /= ${as_real}${divisor};
        }
//#end
//#if binary
        answer[to] = sums[0] > ${as_real}${cut} ? 1.0 : 0.0;
//#if probabilities
        double likely = link(sums[0]);
        answer[to + 1] = ${one_minus};
        answer[to + 2] = ${as_real}likely;
//#end
//#if scores
        answer[to + 1] = sums[0];
//#end
//#end
//#if outlier
        answer[to] = sums[0] > ${as_real}${cut} ? 1.0 : -1.0;
        answer[to + 1] = ${as_real}link(sums[0]);
//#end
//#if value
        for (int k = 0; k < SUMS; k++) {
            answer[to + k] = ${as_real}link(sums[k]);
        }
//#end
//#if multiclass
//#if softmax
        double top = sums[0];
        for (int k = 1; k < SUMS; k++) {
            top = Math.max(top, sums[k]);
        }
        double total = 0;
        for (int k = 0; k < SUMS; k++) {
            double power = Math.exp(${scale} * (sums[k] - top));
            answer[to + 1 + k] = power;
            total += power;
        }
        for (int k = 0; k < SUMS; k++) {
            answer[to + 1 + k] = ${as_real}(answer[to + 1 + k] / total);
        }
//#end
//#if !softmax
        for (int k = 0; k < SUMS; k++) {
            answer[to + 1 + k] = ${as_real}link(sums[k]);
        }
//#end
        int best = 0;
        for (int k = 1; k < SUMS; k++) {
            double value = ${largest};
            double highest = ${largest_best};
            if (value > highest || (value != value && highest == highest)) {
                best = k;
            }
        }
        answer[to] = best;
//#end
    }

//#if link
    private static double link(double x) {
//#if identity
        return x;
//#end
//#if sigmoid
        return 1 / (1 + Math.exp(${minus_scale} * x));
//#end
//#if exp
        return Math.exp(x);
//#end
//#if log1p-exp
        return x > 0 ? x + Math.log1p(Math.exp(-x)) : Math.log1p(Math.exp(x));
//#end
//#if signed-square
        return Math.signum(x) * x * x;
//#end
//#if step
        return x > 0 ? 1.0 : 0.0;
//#end
//#if isolation
        return -Math.pow(2, -x / ${scale}) - ${offset};
//#end
    }

//#end
//#if steps
    /** The row and the columns that the steps before the model make of it. */
    private static double[] prepared(double[] rows, int at) {
        double[] x = new double[FEATURES + OPERATION.length];
        System.arraycopy(rows, at, x, 0, FEATURES);
        for (int i = 0; i < OPERATION.length; i++) {
            x[FEATURES + i] = made(OPERATION[i], x[COLUMN[i]], FIRST[i], SECOND[i], x);
        }
        return x;
    }

    private static double made(int operation, double x, double a, double b, double[] columns) {
        if (operation == 0) {
            return (x - a) / b;
        }
        if (operation == 1) {
            return x * a + b;
        }
        if (operation == 2) {
            return x < a ? a : x > b ? b : x;
        }
        if (operation == 3) {
            return x != x ? a : x;
        }
        if (operation == 4) {
            return x == a ? b : x;
        }
        if (operation == 5) {
            return x != x ? 1.0 : 0.0;
        }
        if (operation == 6) {
            return x == a ? 1.0 : 0.0;
        }
        if (operation == 7) {
            return x > a ? 1.0 : 0.0;
        }
        if (operation == 8) {
            return x * columns[(int) a];
        }
        if (operation == 9) {
            return looked(x, (int) a, b);
        }
        int low = TABLE_START[(int) a];
        return keysBelow(Math.nextUp(x), low, TABLE_START[(int) a + 1]) - low; // 10
    }

    /** What a table has for a value, or {@code otherwise}, of which Infinity says: refuse the row. */
    private static double looked(double x, int table, double otherwise) {
        double found = x != x ? TABLE_MISSING[table] : listed(x, table, otherwise);
        if (found == 1 / 0.0) {
            throw new IllegalArgumentException("a category that the model has not met: " + x);
        }
        return found;
    }

    private static double listed(double x, int table, double otherwise) {
        int end = TABLE_START[table + 1];
        int place = keysBelow(x, TABLE_START[table], end);
        return place < end && TABLE_KEY[place] == x ? TABLE_VALUE[place] : otherwise;
    }

    /** The place in a table behind the keys that are smaller than a value. */
    private static int keysBelow(double x, int start, int end) {
        int low = start;
        int high = end;
        while (low < high) {
            int middle = (low + high) >>> 1;
            if (TABLE_KEY[middle] < x) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        return low;
    }

//#end
    /** The value of a feature as the nodes see it. */
    private static double seen(double x, int feature) {
//#if float32
        x = (float) x;
//#end
//#if zeros
        if (ZERO_IS_MISSING[feature] == 1 && Math.abs(x) <= ${zero}) {
            x = Double.NaN;
        }
//#end
//#if truncates
        if (WHOLE[feature] == 1) {
            x = x < 0 ? ${whole_below} : Math.floor(x);
        }
//#end
        return x;
    }

//#if code
    /** The base, and what the trees add to it, from the first to the last. */
    private static void sums(double[] rows, int at, ${real}[] sums) {
        double[] x = new double[${columns_seen}];
        for (int i = 0; i < SEEN.length; i++) {
            x[SEEN[i]] = seen(rows[at + SEEN[i]], SEEN[i]);
        }
        for (int k = 0; k < SUMS; k++) {
            sums[k] = ${as_real}BASE[k];
        }
${calls}
    }

//#if sets
    /** Whether a value is in a set. */
    static boolean in(int set, double x) {
        int low = SET_START[set];
        int high = SET_START[set + 1];
        while (low < high) {
            int middle = (low + high) >>> 1;
            if (SET_VALUE[middle] < x) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        return low < SET_START[set + 1] && SET_VALUE[low] == x;
    }

//#end
//#if linear
    static ${real} value(int leaf, double[] x) {
        return linear(leaf, VALUES[leaf], x, 0);
    }

//#end
//#end
//#if vector
    static void add(int leaf, ${real}[] sums) {
        for (int k = 0; k < SUMS; k++) {
            sums[k] += VALUES[leaf * SUMS + k];
        }
    }

//#end
//#if linear
    /** What a leaf that is a sum of features gives; the {@code plain} value where one of them is missing. */
    static ${real} linear(int leaf, ${real} plain, double[] rows, int at) {
        double total = CONSTANT[leaf];
        for (int i = TERM_START[leaf]; i < TERM_START[leaf + 1]; i++) {
            double x = seen(rows[at + TERM_FEATURE[i]], TERM_FEATURE[i]);
            if (x != x) {
                return plain;
            }
            total += TERM_COEFFICIENT[i] * x;
        }
        return ${as_real}total;
    }

//#end
//#if arrays
    /** The base, and what the trees add to it, from the first to the last; four of them are walked at a time. */
    private static void sums(double[] rows, int at, ${real}[] sums) {
        int[] ranks = ranks(rows, at);
        ${node}[] nodes = NODES;
//#if !many
        ${real} total = ${as_real}BASE[0];
//#end
//#if many
        for (int k = 0; k < SUMS; k++) {
            sums[k] = ${as_real}BASE[k];
        }
//#end
        for (int tree = 0; tree < TREES; tree += 4) {
            int a = ROOTS[tree];
            int b = ROOTS[tree + 1];
            int c = ROOTS[tree + 2];
            int d = ROOTS[tree + 3];
            ${node} p, q, r, s;
            do {
                p = nodes[a];
                q = nodes[b];
                r = nodes[c];
                s = nodes[d];
                a += step(p, ranks);
                b += step(q, ranks);
                c += step(r, ranks);
                d += step(s, ranks);
            } while ((p | q | r | s) >>> CHILD != 0);
//#if !many
            total += value(a, rows, at);
            total += value(b, rows, at);
            total += value(c, rows, at);
            total += value(d, rows, at);
//#end
//#if many !vector
            sums[OUTPUT[tree]] += value(a, rows, at);
            sums[OUTPUT[tree + 1]] += value(b, rows, at);
            sums[OUTPUT[tree + 2]] += value(c, rows, at);
            sums[OUTPUT[tree + 3]] += value(d, rows, at);
//#end
//#if vector
            add(LEAF[a], sums);
            add(LEAF[b], sums);
            add(LEAF[c], sums);
            add(LEAF[d], sums);
//#end
        }
//#if !many
        sums[0] = total;
//#end
    }

    /** How far on the child is that a row goes to. */
    private static int step(${node} node, int[] ranks) {
        int rank = ranks[${as_int}node & SLOT_MASK];
        int limit = ${as_int}(node >>> SLOT_BITS) & RANK_MASK;
//#if sets
        if ((${as_int}node & SLOT_MASK) >= NUMERIC) {
            return ${as_int}(node >>> CHILD) + (SET_BITS[SET_START[limit] + (rank >>> 5)] >>> rank & 1);
        }
//#end
        return ${as_int}(node >>> CHILD) + (limit - rank >>> 31);
    }

//#if !vector
    private static ${real} value(int node, double[] rows, int at) {
//#if linear
        return linear(LEAF[node], VALUES[node], rows, at);
//#end
//#if !linear
        return VALUES[node];
//#end
    }

//#end
    /** The rank of the row's values in the slots. */
    private static int[] ranks(double[] rows, int at) {
        int[] ranks = new int[SLOTS];
        for (int list = 0; list < LISTS; list++) {
            double x = seen(rows[at + FEATURE[list]], FEATURE[list]);
            int start = START[list];
            int size = START[list + 1] - start;
            if (x != x) {
                ranks[list] = RANK_MASK;
                continue;
            }
            int rank = below(x, start, size);
            ranks[list] = rank;
//#if two_sided
            ranks[LISTS + list] = rank;
//#end
        }
//#if sets
        for (int list = LISTS; list < FEATURE.length; list++) {
            double x = seen(rows[at + FEATURE[list]], FEATURE[list]);
            int start = START[list];
            int size = START[list + 1] - start;
            int rank = x != x ? size + 1 : place(x, start, size);
            ranks[NUMERIC + list - LISTS] = rank;
        }
//#end
        return ranks;
    }

    /** How many thresholds of a list a value lies above; without a jump that depends on the value. */
    private static int below(double x, int start, int size) {
        int low = start;
        int left = size;
        while (left > 1) {
            int half = left >>> 1;
            low = THRESHOLD[low + half - 1] ${below} x ? low + half : low;
            left -= half;
        }
        return low - start + (left == 1 && THRESHOLD[low] ${below} x ? 1 : 0);
    }

//#if sets
    /** The place of a category in its list, which is the list's length for one that is not there. */
    private static int place(double x, int start, int size) {
        int low = start;
        int high = start + size;
        while (low < high) {
            int middle = (low + high) >>> 1;
            if (THRESHOLD[middle] < x) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        return low < start + size && THRESHOLD[low] == x ? low - start : size;
    }

//#end

//#end
    // --- reading ---

    private static byte[] resource() {
        try {
            InputStream stream = ${simple}.class.getResourceAsStream("${simple}.bin");
            if (stream == null) {
                throw new IllegalStateException("the resource ${simple}.bin is missing beside the class");
            }
            byte[] bytes = new byte[${bytes}];
            int held = 0;
            while (held < bytes.length) {
                int count = stream.read(bytes, held, bytes.length - held);
                if (count < 0) {
                    throw new IllegalStateException("the resource ${simple}.bin is cut off");
                }
                held += count;
            }
            stream.close();
            return bytes;
        } catch (IOException error) {
            throw new IllegalStateException("the resource ${simple}.bin cannot be read", error);
        }
    }

    private static int integer(byte[] bytes, int[] at) {
        int start = at[0];
        at[0] = start + 4;
        return bytes[start] << 24 | (bytes[start + 1] & 255) << 16 | (bytes[start + 2] & 255) << 8
                | bytes[start + 3] & 255;
    }

    /** Numbers by their bytes: all first bytes, then all second ones; {@code width} of them to a number. */
    private static long[] planes(byte[] bytes, int[] at, int width) {
        long[] numbers = new long[integer(bytes, at)];
        int next = at[0];
        for (int plane = 0; plane < width; plane++) {
            for (int i = 0; i < numbers.length; i++) {
                numbers[i] = numbers[i] << 8 | bytes[next + i] & 255;
            }
            next += numbers.length;
        }
        at[0] = next;
        return numbers;
    }

    private static int[] integers(byte[] bytes, int[] at) {
        long[] numbers = planes(bytes, at, integer(bytes, at));
        int[] found = new int[numbers.length];
        for (int i = 0; i < found.length; i++) {
            found[i] = (int) numbers[i];
        }
        return found;
    }

    private static double[] doubles(byte[] bytes, int[] at) {
        int width = integer(bytes, at);
        long[] numbers = planes(bytes, at, width);
        double[] found = new double[numbers.length];
        for (int i = 0; i < found.length; i++) {
            found[i] = width == 4 ? Float.intBitsToFloat((int) numbers[i]) : Double.longBitsToDouble(numbers[i]);
        }
        return found;
    }

    private static String[] texts(byte[] bytes, int[] at) {
        String[] found = new String[integer(bytes, at)];
        try {
            for (int i = 0; i < found.length; i++) {
                int length = integer(bytes, at);
                found[i] = new String(bytes, at[0], length, "UTF-8");
                at[0] += length;
            }
        } catch (IOException error) {
            throw new IllegalStateException("no UTF-8", error);
        }
        return found;
    }
}
