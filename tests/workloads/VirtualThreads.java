import java.io.File;
import java.util.Arrays;
import java.util.concurrent.CountDownLatch;

/**
 * Virtual threads in known chains of calls: one computes and never leaves its carrier, one computes and sleeps in turn and so
 * is mounted anew each time, one only sleeps. Prints {@code ready PID}; for each line of its input prints a line of JSON:
 * the stack each noted when it was at its innermost method, leaf first. Ends with its input.
 *
 * They start one after the other, and the one that computes last: whoever waits for another to load a class, or for a lock, leaves its
 * carrier.
 *
 * Needs Java 21 to run; is compiled for Java 8, so that any compiler will do, and starts its threads by reflection.
 */
public final class VirtualThreads {
    private static final String[] NAMES = {"computes", "alternates", "sleeps"};
    private static final StackTraceElement[][] TOLD = new StackTraceElement[NAMES.length][];
    private static final CountDownLatch[] HAS_TOLD = {new CountDownLatch(1), new CountDownLatch(1), new CountDownLatch(1)};
    private static volatile long sink;

    private interface Leaf {
        void run() throws InterruptedException;
    }

    /** Notes the stack of whoever calls. */
    private static void tell(int thread) {
        if (TOLD[thread] == null) {
            StackTraceElement[] all = Thread.currentThread().getStackTrace();
            int own = 0;
            while (!all[own].getMethodName().equals("tell")) {
                own++;
            }
            TOLD[thread] = Arrays.copyOfRange(all, own + 1, all.length);
            HAS_TOLD[thread].countDown();
        }
    }

    private static long mix(long seed, int turns) {
        long value = seed;
        for (int turn = 0; turn < turns; turn++) {
            value ^= value << 13;
            value ^= value >>> 7;
            value ^= value << 17;
        }
        return value;
    }

    private static void compute() {
        tell(0);
        for (int turn = 0; turn < 1_000; turn++) {
            sink = mix(sink + 1, 10_000);
        }
    }

    private static void alternate() throws InterruptedException {
        tell(1);
        for (int turn = 0; turn < 100; turn++) {
            sink = mix(sink + 1, 1_000_000);
            Thread.sleep(1);
        }
    }

    private static void sleep() throws InterruptedException {
        for (int turn = 0; turn < 100; turn++) {
            tell(2); Thread.sleep(10);
        }
    }

    private static int outermost(Leaf leaf) throws InterruptedException {
        return 1 + outer(leaf);
    }

    private static int outer(Leaf leaf) throws InterruptedException {
        return 1 + middle(leaf, 5);
    }

    private static int middle(Leaf leaf, int depth) throws InterruptedException {
        if (depth > 0) {
            return 1 + middle(leaf, depth - 1);
        }
        return 1 + inner(leaf);
    }

    private static int inner(Leaf leaf) throws InterruptedException {
        leaf.run();
        return 1;
    }

    private static void live(Leaf leaf) {
        try {
            while (true) {
                sink += outermost(leaf);
            }
        } catch (InterruptedException error) {
            throw new IllegalStateException(error);
        }
    }

    private static void start(Leaf leaf) throws ReflectiveOperationException {
        Runnable work = () -> live(leaf);
        Thread.class.getMethod("startVirtualThread", Runnable.class).invoke(null, work);
    }

    private static void append(StringBuilder text, StackTraceElement[] frames) {
        for (int at = 0; at < frames.length; at++) {
            String name = frames[at].getClassName();
            String folder = name.substring(0, name.lastIndexOf('.') + 1).replace('.', '/');
            String file = frames[at].getFileName() == null ? "" : folder + frames[at].getFileName();
            text.append(at == 0 ? "[\"" : ",[\"").append(name).append('.').append(frames[at].getMethodName());
            text.append("\",\"").append(file).append("\",").append(Math.max(frames[at].getLineNumber(), 0)).append(']');
        }
    }

    private static String look() {
        StringBuilder text = new StringBuilder("{\"threads\":[");
        for (int thread = 0; thread < NAMES.length; thread++) {
            text.append(thread == 0 ? "{\"name\":\"" : ",{\"name\":\"").append(NAMES[thread]);
            text.append("\",\"stays\":").append(thread == 2).append(",\"told\":[");
            append(text, TOLD[thread]);
            text.append("],\"now\":[]}");
        }
        return text.append("]}").toString();
    }

    public static void main(String[] arguments) throws Exception {
        Leaf[] leaves = {VirtualThreads::compute, VirtualThreads::alternate, VirtualThreads::sleep};
        for (int thread = NAMES.length - 1; thread >= 0; thread--) {
            start(leaves[thread]);
            HAS_TOLD[thread].await();
        }
        System.out.println("ready " + new File("/proc/self").getCanonicalFile().getName());
        while (System.in.read() >= 0) {
            System.out.println(look());
        }
        System.exit(0);
    }
}
