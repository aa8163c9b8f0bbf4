import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.ref.Cleaner;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.FileTime;
import java.security.MessageDigest;
import java.util.Arrays;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.function.Function;
import java.util.jar.JarFile;

/**
 * A web service around a jar that mlconvert made, which takes a newer jar in without stopping.
 *
 * <pre>
 * java ModelService.java model.jar 8080      (Java 11 or later; with a JRE alone: compile it first, with javac)
 * curl -d $'5.1,3.5,1.4,0.2\n6.2,2.8,,1.8' localhost:8080/predict
 * mv newer.jar model.jar                     (a rename: a jar that is written over would be read half-written)
 * </pre>
 *
 * <p>A request is a row a line, numbers with commas between; nothing between two commas is a missing value. The answer is
 * a line of JSON: the digest of the jar that answered, and an answer a row. {@code GET /health} tells the digest alone.
 */
public final class ModelService {
    private static final long POLL_MILLISECONDS = 200;
    private static final long SELF_TEST_SECONDS = 60;

    /** A loaded jar. A request that has it keeps it, whatever is loaded meanwhile. */
    private static final class Loaded {
        final String digest;
        final int features;
        final Function<Object, Object> model;

        Loaded(String digest, int features, Function<Object, Object> model) {
            this.digest = digest;
            this.features = features;
            this.model = model;
        }
    }

    private static final Cleaner CLEANER = Cleaner.create();
    private static volatile Loaded current; // the one line of the swap is a write to this

    public static void main(String[] arguments) throws Exception {
        if (arguments.length != 2) {
            System.err.println("java ModelService.java model.jar 8080");
            System.exit(2);
        }
        Path jar = Paths.get(arguments[0]);
        FileTime seen = Files.getLastModifiedTime(jar);
        current = load(jar);
        HttpServer server = HttpServer.create(
                new InetSocketAddress(InetAddress.getLoopbackAddress(), Integer.parseInt(arguments[1])), 0);
        server.setExecutor(Executors.newFixedThreadPool(Runtime.getRuntime().availableProcessors() * 2));
        server.createContext("/predict", ModelService::predict);
        server.createContext("/health", exchange -> answer(exchange, 200, "{\"jar\": \"" + current.digest + "\"}\n"));
        server.start();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> server.stop(1))); // SIGTERM: what is under way is answered
        System.out.println("port " + server.getAddress().getPort() + ", jar " + current.digest);
        watch(jar, seen);
    }

    // --- requests ---

    private static void predict(HttpExchange exchange) throws IOException {
        Loaded mine = current; // read once: the whole request is answered by one jar
        String body = new String(exchange.getRequestBody().readAllBytes(), StandardCharsets.UTF_8);
        StringBuilder text = new StringBuilder("{\"jar\": \"" + mine.digest + "\", \"answers\": [");
        try {
            String separator = "";
            for (String line : body.split("\n")) {
                double[] answers = (double[]) mine.model.apply(row(line.trim(), mine.features));
                text.append(separator).append(Arrays.toString(answers).replace("NaN", "null"));
                separator = ", ";
            }
        } catch (IllegalArgumentException error) { // of which NumberFormatException is one
            answer(exchange, 400, "{\"error\": \"" + String.valueOf(error.getMessage()).replaceAll("[\"\\\\]", "'") + "\"}\n");
            return;
        }
        answer(exchange, 200, text.append("]}\n").toString());
    }

    private static double[] row(String line, int features) {
        String[] words = line.split(",", -1);
        if (words.length != features) {
            throw new IllegalArgumentException("a row of " + words.length + " values, and the model takes " + features);
        }
        double[] row = new double[features];
        for (int i = 0; i < features; i++) {
            row[i] = words[i].trim().isEmpty() ? Double.NaN : Double.parseDouble(words[i]);
        }
        return row;
    }

    private static void answer(HttpExchange exchange, int status, String text) throws IOException {
        byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
        exchange.getResponseHeaders().set("Content-Type", "application/json");
        exchange.sendResponseHeaders(status, bytes.length);
        exchange.getResponseBody().write(bytes);
        exchange.close();
    }

    // --- the jar ---

    /** Take in each newer jar; keep the old one where the new one is broken. */
    private static void watch(Path jar, FileTime seen) throws InterruptedException {
        while (true) {
            Thread.sleep(POLL_MILLISECONDS);
            try {
                FileTime now = Files.getLastModifiedTime(jar);
                if (now.equals(seen)) {
                    continue;
                }
                seen = now;
                Loaded next = load(jar);
                next.model.apply(new double[next.features]); // its class is ready before the first request comes
                current = next;
                System.out.println("now " + next.digest);
            } catch (Exception | LinkageError error) {
                System.err.println("kept " + current.digest + ": " + error);
            }
        }
    }

    /** A jar in a class loader of its own, from a copy: nobody can change it underneath. It has tested itself before. */
    @SuppressWarnings("unchecked")
    private static Loaded load(Path jar) throws Exception {
        Path copy = Files.createTempFile("model-", ".jar");
        copy.toFile().deleteOnExit();
        Files.copy(jar, copy, StandardCopyOption.REPLACE_EXISTING);
        selfTest(copy);
        String name;
        try (JarFile file = new JarFile(copy.toFile())) {
            name = file.getManifest().getMainAttributes().getValue("Implementation-Title");
        }
        // Without a parent of ours: two jars may hold classes of the same name, and each finds its own.
        URLClassLoader loader = new URLClassLoader(new URL[] {copy.toUri().toURL()}, null);
        Class<?> type = Class.forName(name, true, loader);
        Function<Object, Object> model = (Function<Object, Object>) type.getDeclaredConstructor().newInstance();
        CLEANER.register(model, () -> close(loader, copy)); // when the last request that has it is answered
        return new Loaded(digest(copy), type.getField("FEATURES").getInt(null), model);
    }

    private static void close(URLClassLoader loader, Path copy) {
        try {
            loader.close();
            Files.deleteIfExists(copy);
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }

    private static void selfTest(Path jar) throws Exception {
        String java = Paths.get(System.getProperty("java.home"), "bin", "java").toString();
        Process test = new ProcessBuilder(java, "-jar", jar.toString(), "--self-test").inheritIO().start();
        if (!test.waitFor(SELF_TEST_SECONDS, TimeUnit.SECONDS)) {
            test.destroyForcibly();
            throw new IOException("the jar's self-test does not end");
        }
        if (test.exitValue() != 0) {
            throw new IOException("the jar fails its own test");
        }
    }

    private static String digest(Path file) throws Exception {
        StringBuilder text = new StringBuilder();
        for (byte one : MessageDigest.getInstance("SHA-256").digest(Files.readAllBytes(file))) {
            text.append(String.format("%02x", one));
        }
        return text.toString();
    }
}
