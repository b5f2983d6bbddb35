import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.LongUnaryOperator;

/**
 * Keeps the native threads of a JVM busy: garbage for the collector's workers, and classes that are new again and again,
 * so that both compilers never run out of methods. Prints `ready PID`, waits for a line, works until its input ends,
 * prints `done`.
 */
public class Stacks {
    private static volatile boolean ended;
    private static volatile long sink;

    /** What is loaded anew in each round, so that its methods are compiled anew. */
    public static class Round implements LongUnaryOperator {
        private final Map<Long, List<String>> kept = new HashMap<>();

        private long mix(long value, int turns) {
            for (int turn = 0; turn < turns; turn++) {
                value ^= value << 13;
                value ^= value >>> 7;
                value ^= value << 17;
            }
            return value;
        }

        private long text(long value) {
            StringBuilder text = new StringBuilder();
            for (int at = 0; at < 20; at++) {
                text.append(value % (at + 1)).append(' ').append(Long.toHexString(value));
            }
            kept.computeIfAbsent(value % 500, key -> new ArrayList<>()).add(text.toString());
            return text.toString().hashCode();
        }

        private double matrix(long value) {
            double[][] left = new double[16][16];
            double sum = 0;
            for (int row = 0; row < 16; row++) {
                for (int column = 0; column < 16; column++) {
                    left[row][column] = (value >>> (row ^ column)) & 7;
                    sum += left[row][column] * left[column][row];
                }
            }
            return sum;
        }

        private long branches(long value) {
            switch ((int) (value & 7)) {
                case 0: return mix(value, 3);
                case 1: return text(value);
                case 2: return (long) matrix(value);
                case 3: return Long.toString(value).chars().map(letter -> letter * 7).sum();
                case 4: return kept.size() > 400 ? clear() : mix(value, 9);
                default: return value ^ Long.bitCount(value);
            }
        }

        private long clear() {
            kept.clear();
            return 1;
        }

        @Override
        public long applyAsLong(long value) {
            long result = value;
            for (int turn = 0; turn < 20_000; turn++) {
                result = branches(mix(result + turn, 2)) + result;
            }
            return result;
        }
    }

    /** Defines the class from its bytes instead of asking its parent. */
    private static final class Loader extends ClassLoader {
        private final byte[] bytes;

        Loader(byte[] bytes) {
            this.bytes = bytes;
        }

        LongUnaryOperator fresh() throws ReflectiveOperationException {
            Class<?> type = defineClass("Stacks$Round", bytes, 0, bytes.length);
            return (LongUnaryOperator) type.getDeclaredConstructor().newInstance();
        }
    }

    private static void compute(byte[] bytes, long seed) {
        try {
            long value = seed;
            while (!ended) {
                value = new Loader(bytes).fresh().applyAsLong(value);
            }
            sink = value;
        } catch (ReflectiveOperationException error) {
            throw new IllegalStateException(error);
        }
    }

    public static void main(String[] arguments) throws Exception {
        byte[] bytes = Stacks.class.getResourceAsStream("Stacks$Round.class").readAllBytes();
        System.out.println("ready " + ProcessHandle.current().pid());
        System.in.read();
        List<Thread> threads = new ArrayList<>();
        for (long seed = 1; seed <= 2; seed++) {
            final long own = seed;
            threads.add(new Thread(() -> compute(bytes, 88172645463325252L + own)));
        }
        for (Thread thread : threads) {
            thread.start();
        }
        while (System.in.read() >= 0) {
        }
        ended = true;
        for (Thread thread : threads) {
            thread.join();
        }
        System.out.println("done");
    }
}
