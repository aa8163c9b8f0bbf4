package ${package};

import java.io.BufferedInputStream;
import java.io.BufferedOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;

/**
 * What {@code java -jar} runs: the model's own test, and its answers for a program of another language.
 *
 * <pre>
 * --self-test   answers the ${rows} rows that are kept in the jar, and compares
 * --stream      answers rows from the standard input on the standard output
 * --bench       as --stream, but answers how long the model takes
 * </pre>
 *
 * <p>All numbers are big-endian. First come four integers: 0x4d4c4a31, how many values a row has, how many numbers an
 * answer has, how many columns are text. A request is the number of rows, their values as doubles, row by row, and then
 * for each column of text its texts: their length in bytes (-1: missing), and the bytes in UTF-8. The answer is the
 * number of rows, and their answers as doubles. Of --bench, a request ends with how often one row and how often all rows
 * are asked for; the answer is these two numbers, each before as many longs: the nanoseconds of each call. A request of
 * 0 rows ends the program. What goes wrong is answered with -1, and a text as above.
 */
public final class ${main} {
    private static final int GREETING = 0x4d4c4a31;
    private static final int[] TEXT_COLUMNS = {${text_columns}};

    public static void main(String[] arguments) throws IOException {
        String mode = arguments.length == 1 ? arguments[0] : "";
        if (mode.equals("--self-test")) {
            System.exit(selfTest() ? 0 : 1);
        }
        if (mode.equals("--stream") || mode.equals("--bench")) {
            System.exit(serve(mode.equals("--bench")) ? 0 : 1);
        }
        System.err.println("java -jar model.jar --self-test | --stream | --bench");
        System.exit(2);
    }

    // --- the test ---

    /** Whether the model answers the rows in the jar as it did where it was made; says so in a line. */
    private static boolean selfTest() throws IOException {
        InputStream stream = ${main}.class.getResourceAsStream("${simple}.rows");
        if (stream == null) {
            System.err.println("the resource ${simple}.rows is missing");
            return false;
        }
        DataInputStream in = new DataInputStream(stream);
        int count = in.readInt();
        double[] rows = doubles(in, count * ${simple}.FEATURES);
        double[] wanted = doubles(in, count * ${simple}.WIDTH);
        double[] answers = new double[wanted.length];
        new ${simple}().evaluate(rows, count, answers);
        int wrong = 0;
        double worst = 0;
        for (int i = 0; i < wanted.length; i++) {
            double difference = wanted[i] == answers[i] ? 0 : Math.abs(wanted[i] - answers[i]);
            boolean nan = wanted[i] != wanted[i] && answers[i] != answers[i];
            double allowed = i % ${simple}.WIDTH < ${exact} ? 0 : ${tolerance} * Math.max(1, Math.abs(wanted[i]));
            if (!nan && !(difference <= allowed)) {
                wrong++;
            }
            if (!nan) {
                worst = Math.max(worst, difference);
            }
        }
        String said = count + " rows, " + wrong + " of " + wanted.length + " numbers differ, at most by " + worst;
        if (wrong == 0) {
            System.out.println("ok: " + said);
        } else {
            System.err.println("FAILED: " + said);
        }
        return wrong == 0;
    }

    // --- the stream ---

    private static boolean serve(boolean bench) throws IOException {
        DataInputStream in = new DataInputStream(new BufferedInputStream(System.in, 65536));
        DataOutputStream out = new DataOutputStream(new BufferedOutputStream(System.out, 65536));
        try {
            out.writeInt(GREETING);
            out.writeInt(${simple}.FEATURES);
            out.writeInt(${simple}.WIDTH);
            out.writeInt(TEXT_COLUMNS.length);
            out.flush();
            ${simple} model = new ${simple}();
            int count = in.readInt();
            while (count != 0) {
                double[] rows = rows(model, in, count);
                if (bench) {
                    time(model, rows, count, in.readInt(), in.readInt(), out);
                } else {
                    double[] answers = new double[count * ${simple}.WIDTH];
                    model.evaluate(rows, count, answers);
                    out.writeInt(count);
                    write(out, answers);
                }
                out.flush();
                count = in.readInt();
            }
            return true;
        } catch (Throwable error) {
            byte[] message = error.toString().getBytes("UTF-8");
            out.writeInt(-1);
            out.writeInt(message.length);
            out.write(message);
            out.flush();
            return false;
        }
    }

    private static double[] rows(${simple} model, DataInputStream in, int count) throws IOException {
        double[] rows = doubles(in, count * ${simple}.FEATURES);
//#if texts
        for (int column = 0; column < TEXT_COLUMNS.length; column++) {
            for (int i = 0; i < count; i++) {
                int length = in.readInt();
                int place = i * ${simple}.FEATURES + TEXT_COLUMNS[column];
                if (length < 0) {
                    rows[place] = Double.NaN;
                } else {
                    byte[] text = new byte[length];
                    in.readFully(text);
                    rows[place] = model.code(TEXT_COLUMNS[column], new String(text, "UTF-8"));
                }
            }
        }
//#end
        return rows;
    }

    private static void time(${simple} model, double[] rows, int count, int calls, int batches, DataOutputStream out)
            throws IOException {
        double[][] each = new double[count][];
        for (int i = 0; i < count; i++) {
            each[i] = new double[${simple}.FEATURES];
            System.arraycopy(rows, i * ${simple}.FEATURES, each[i], 0, ${simple}.FEATURES);
        }
        long[] single = new long[calls];
        double kept = 0;
        int row = 0;
        for (int i = 0; i < calls; i++) {
            long start = System.nanoTime();
            kept += model.${apply}(each[row])[0];
            single[i] = System.nanoTime() - start;
            row = row + 1 < count ? row + 1 : 0;
        }
        long[] whole = new long[batches];
        double[] answers = new double[count * ${simple}.WIDTH];
        for (int i = 0; i < batches; i++) {
            long start = System.nanoTime();
            model.evaluate(rows, count, answers);
            whole[i] = System.nanoTime() - start;
            kept += answers[0];
        }
        if (kept == 0.12345) { // so that no call can be left out
            System.err.println("a rare sum");
        }
        out.writeInt(calls);
        for (int i = 0; i < calls; i++) {
            out.writeLong(single[i]);
        }
        out.writeInt(batches);
        for (int i = 0; i < batches; i++) {
            out.writeLong(whole[i]);
        }
    }

    private static double[] doubles(DataInputStream in, int count) throws IOException {
        byte[] bytes = new byte[8 * count];
        in.readFully(bytes);
        double[] found = new double[count];
        ByteBuffer.wrap(bytes).asDoubleBuffer().get(found, 0, count);
        return found;
    }

    private static void write(DataOutputStream out, double[] values) throws IOException {
        byte[] bytes = new byte[8 * values.length];
        ByteBuffer.wrap(bytes).asDoubleBuffer().put(values, 0, values.length);
        out.write(bytes);
    }
}
