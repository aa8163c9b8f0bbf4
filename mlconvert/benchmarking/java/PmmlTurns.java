import java.io.BufferedInputStream;
import java.io.BufferedOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.File;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jpmml.evaluator.Evaluator;
import org.jpmml.evaluator.EvaluatorUtil;
import org.jpmml.evaluator.LoadingModelEvaluatorBuilder;
import org.jpmml.evaluator.OutputField;
import org.jpmml.evaluator.ServiceLoadingModelEvaluatorBuilder;
import org.jpmml.evaluator.TargetField;

/**
 * How long JPMML-Evaluator takes for a row, measured inside its JVM; asked as a jar of mlconvert is by --bench.
 *
 * <p>Arguments: the file, document or transpiled, --bench or --stream, the names of the columns. Answers are the
 * probabilities, else the targets. Big endian: a greeting of four integers (0x4d4c4a31, columns, answers, 0); a request is
 * the number of rows, their doubles (NaN is missing) and of --bench how often one row and how often all rows are to be
 * evaluated; the answer of --bench is these two numbers, each before as many longs, nanoseconds, that of --stream the
 * number of rows and their answers as doubles. 0 rows end it. The map that a row comes in is made before the clock is
 * read, and what is lazy in its answer is left so: no service gets it for less.
 */
public final class PmmlTurns {
    private static Object kept;

    public static void main(String[] arguments) throws Exception {
        boolean timed = arguments[2].equals("--bench");
        List<String> names = Arrays.asList(arguments).subList(3, arguments.length);
        DataInputStream in = new DataInputStream(new BufferedInputStream(System.in, 65536));
        DataOutputStream out = new DataOutputStream(new BufferedOutputStream(System.out, 65536));
        System.setOut(System.err); // what a library says is no answer
        Evaluator evaluator = open(new File(arguments[0]), arguments[1].equals("transpiled"));
        out.writeInt(0x4d4c4a31);
        List<String> outputs = outputs(evaluator);
        out.writeInt(names.size());
        out.writeInt(outputs.size());
        out.writeInt(0);
        out.flush();
        for (int count = in.readInt(); count != 0; count = in.readInt()) {
            List<Map<String, Object>> rows = rows(in, count, names);
            if (timed) {
                time(evaluator, rows, in.readInt(), in.readInt(), out);
            } else {
                answer(evaluator, rows, outputs, out);
            }
            out.flush();
        }
    }

    private static Evaluator open(File file, boolean transpiled) throws Exception {
        if (transpiled) {
            return new ServiceLoadingModelEvaluatorBuilder().loadService(file.toURI().toURL()).build();
        }
        return new LoadingModelEvaluatorBuilder().load(file).build();
    }

    private static List<String> outputs(Evaluator evaluator) {
        List<String> probabilities = new ArrayList<String>();
        for (OutputField field : evaluator.getOutputFields()) {
            if (field.getName().startsWith("probability")) {
                probabilities.add(field.getName());
            }
        }
        if (probabilities.isEmpty()) {
            for (TargetField field : evaluator.getTargetFields()) {
                probabilities.add(field.getName());
            }
        }
        return probabilities;
    }

    private static List<Map<String, Object>> rows(DataInputStream in, int count, List<String> names)
            throws IOException {
        @SuppressWarnings("unchecked")
        Map<String, Object>[] rows = new Map[count];
        for (int i = 0; i < count; i++) {
            rows[i] = new LinkedHashMap<String, Object>();
            for (String name : names) {
                double value = in.readDouble();
                rows[i].put(name, value != value ? null : (Object) value);
            }
        }
        return Arrays.asList(rows);
    }

    private static void answer(
            Evaluator evaluator, List<Map<String, Object>> rows, List<String> outputs, DataOutputStream out)
            throws IOException {
        out.writeInt(rows.size());
        for (Map<String, Object> row : rows) {
            Map<String, ?> told = EvaluatorUtil.decodeAll(evaluator.evaluate(row));
            for (String output : outputs) {
                out.writeDouble(((Number) told.get(output)).doubleValue());
            }
        }
    }

    private static void time(
            Evaluator evaluator, List<Map<String, Object>> rows, int calls, int batches, DataOutputStream out)
            throws IOException {
        out.writeInt(calls);
        for (int i = 0; i < calls; i++) {
            Map<String, Object> row = rows.get(i % rows.size());
            long began = System.nanoTime();
            kept = evaluator.evaluate(row);
            out.writeLong(System.nanoTime() - began);
        }
        out.writeInt(batches);
        for (int i = 0; i < batches; i++) {
            long began = System.nanoTime();
            for (Map<String, Object> row : rows) {
                kept = evaluator.evaluate(row);
            }
            out.writeLong(System.nanoTime() - began);
        }
    }
}
