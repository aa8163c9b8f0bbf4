import com.example.Loans;
import java.util.Arrays;
import java.util.Random;
import java.util.function.Function;
import java.util.stream.IntStream;

/** What a program does with a model: a test compares what this prints. */
public class UseModel {
    public static void main(String[] arguments) {
        Loans model = new Loans();
        System.out.println(String.join(",", model.featureNames()) + " " + String.join(",", model.classes()));
        double[] row = model.row(new Object[] {1.5, null, "Ely", true});
        System.out.println(Arrays.toString(row));
        System.out.println(model.label(row) + " " + model.classes()[(int) model.predict(row)[0]]);
        System.out.println(Arrays.toString(model.predictProba(row)));
        double[] other = model.row(new Object[] {-1, 2.0f, "Oslo", 0L});
        double[][] both = {row, other};
        System.out.println(Arrays.deepEquals(model.predict(both), new double[][] {model.predict(row), model.predict(other)}));
        System.out.println(Arrays.toString(model.predictProba(both)[1]));
        Function<Object, Object> function = model;
        System.out.println(Arrays.equals((double[]) function.apply(row), model.predictProba(row)));
        model.featureNames()[0] = "changed";
        System.out.println(model.featureNames()[0]);
        refused(() -> model.predict(new double[3]));
        refused(() -> model.row(new Object[2]));
        refused(() -> model.row(new Object[] {"text", 1, "Ely", false}));
        refused(() -> model.row(new Object[] {1, 1, "Ely", 'c'}));
        refused(() -> model.evaluate(new double[3], 1, new double[9]));
        System.out.println(threads(model));
    }

    private static void refused(Runnable call) {
        try {
            call.run();
            System.out.println("not refused");
        } catch (IllegalArgumentException error) {
            System.out.println(error.getMessage());
        }
    }

    /** Whether many threads get the answers that one gets. */
    private static boolean threads(Loans model) {
        double[] rows = new Random(1).doubles(20_000L * Loans.FEATURES, -2, 3).map(x -> Math.rint(x * 4) / 4).toArray();
        double[] alone = new double[20_000 * Loans.WIDTH];
        model.evaluate(rows, 20_000, alone);
        return IntStream.range(0, 20_000).parallel().allMatch(i -> {
            double[] one = Arrays.copyOfRange(rows, i * Loans.FEATURES, (i + 1) * Loans.FEATURES);
            double[] wanted = Arrays.copyOfRange(alone, i * Loans.WIDTH + 1, (i + 1) * Loans.WIDTH);
            return Arrays.equals(new Loans().predictProba(one), wanted);
        });
    }
}
