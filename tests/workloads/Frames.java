import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.RandomAccessFile;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ForkJoinPool;
import java.util.concurrent.ForkJoinWorkerThread;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.ThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import java.util.concurrent.locks.ReentrantLock;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.zip.CRC32;
import java.util.zip.Deflater;

/**
 * Threads in known chains of calls. Each goes over and over along a {@link Route} to a {@link Leaf}, where it computes or
 * waits; the first time it notes its own stack there. Routes and leaves are run until they are compiled, if anything is.
 *
 * Takes the folder for a file. Prints {@code ready PID}; for each line of its input prints a line of JSON: of each thread what
 * it noted, leaf first, and where it is now. Ends with its input. Needs nothing newer than Java 8.
 *
 * Methods named {@code interp...} are there to be excluded from compilation; {@link #hugeLoop} is too large for it.
 */
public final class Frames {
    /** How often each thread wakes that waits. */
    private static final long PAUSE_MS = 10;
    private static final int WARM_UP_PASSES = 2;
    private static final int WARM_UP_ROUNDS = 8_000;
    private static final long WARM_UP_NS = 40_000_000L;
    private static final int MEGABYTE = 1 << 20;

    /** The innermost place of a chain: does so many rounds of what it is there for. */
    private interface Leaf {
        long run(Probe probe, int rounds) throws Exception;
    }

    /** What calls a leaf, through several methods. */
    private interface Route {
        long enter(Leaf leaf, Probe probe, int rounds) throws Exception;
    }

    /** Told by a leaf that it has been reached. */
    private interface Probe {
        void at();
    }

    /** Probes of the warm-up: several, so that no compiler takes one of them for the only one. */
    private static final class FirstQuiet implements Probe {
        @Override
        public void at() {
            reached++;
        }
    }

    private static final class SecondQuiet implements Probe {
        @Override
        public void at() {
            reached += 2;
        }
    }

    private static final class ThirdQuiet implements Probe {
        @Override
        public void at() {
            reached += 3;
        }
    }

    /** Notes the stack of the first thread that reaches it. */
    private static final class Teller implements Probe {
        volatile StackTraceElement[] told;

        @Override
        public void at() {
            if (told == null) {
                StackTraceElement[] all = Thread.currentThread().getStackTrace();
                int own = 0;
                while (!all[own].getMethodName().equals("at")) {
                    own++;
                }
                told = Arrays.copyOfRange(all, own + 1, all.length);
                TOLD.countDown();
            }
        }
    }

    /** One thread. */
    private static final class Task {
        final String name;
        /** Whether it waits at one line of its leaf. */
        final boolean stays;
        final Route route;
        final Leaf leaf;
        final int rounds;
        final Teller teller = new Teller();
        Thread thread;

        Task(String name, boolean stays, Route route, Leaf leaf, int rounds) {
            this.name = name;
            this.stays = stays;
            this.route = route;
            this.leaf = leaf;
            this.rounds = rounds;
        }

        static Task computes(String name, Route route, Leaf leaf, int rounds) {
            return new Task(name, false, route, leaf, rounds);
        }

        static Task waits(String name, Route route, Leaf leaf) {
            return new Task(name, true, route, leaf, 20);
        }
    }

    private static long reached;
    private static volatile long sink;
    /** Bytes that a round works on, and how long it sleeps: little during the warm-up. */
    private static int size = 64;
    private static long pauseMs = 0;

    // Routes: static methods.

    private static long outerStatic(Leaf leaf, Probe probe, int rounds) throws Exception {
        return 1 + middleStatic(leaf, probe, rounds);
    }

    private static long middleStatic(Leaf leaf, Probe probe, int rounds) throws Exception {
        return 1 + innerStatic(leaf, probe, rounds);
    }

    private static long innerStatic(Leaf leaf, Probe probe, int rounds) throws Exception {
        return 1 + leaf.run(probe, rounds);
    }

    // An interface with four implementations, as filters of a web server are called.

    private interface Filter {
        long filter(Request request, int at) throws Exception;
    }

    private static final class Request {
        final Leaf leaf;
        final Probe probe;
        final int rounds;

        Request(Leaf leaf, Probe probe, int rounds) {
            this.leaf = leaf;
            this.probe = probe;
            this.rounds = rounds;
        }

        long next(int at) throws Exception {
            if (at < FILTERS.length) {
                return 1 + FILTERS[at].filter(this, at);
            }
            return 2 + leaf.run(probe, rounds);
        }
    }

    private static final class Authorizing implements Filter {
        @Override
        public long filter(Request request, int at) throws Exception {
            return 3 * request.next(at + 1);
        }
    }

    private static final class Logging implements Filter {
        @Override
        public long filter(Request request, int at) throws Exception {
            long result = request.next(at + 1);
            return result ^ at;
        }
    }

    private static final class Compressing implements Filter {
        private final byte[] buffer = new byte[64];

        @Override
        public long filter(Request request, int at) throws Exception {
            buffer[at] = (byte) request.rounds;
            return request.next(at + 1) + buffer[at];
        }
    }

    private static final class Tracing implements Filter {
        @Override
        public long filter(Request request, int at) throws Exception {
            try {
                return request.next(at + 1);
            } finally {
                reached++;
            }
        }
    }

    private static final Filter[] FILTERS = {
        new Authorizing(), new Logging(), new Compressing(), new Tracing(), new Logging(), new Authorizing(), new Tracing(),
    };

    private static long filters(Leaf leaf, Probe probe, int rounds) throws Exception {
        return new Request(leaf, probe, rounds).next(0);
    }

    // Virtual methods of three classes.

    private abstract static class Layer {
        final Layer below;

        Layer(Layer below) {
            this.below = below;
        }

        abstract long through(Leaf leaf, Probe probe, int rounds) throws Exception;

        long down(Leaf leaf, Probe probe, int rounds) throws Exception {
            if (below == null) {
                return leaf.run(probe, rounds);
            }
            return 1 + below.through(leaf, probe, rounds);
        }
    }

    private static final class Glass extends Layer {
        Glass(Layer below) {
            super(below);
        }

        @Override
        long through(Leaf leaf, Probe probe, int rounds) throws Exception {
            return 5 + down(leaf, probe, rounds);
        }
    }

    private static final class Wood extends Layer {
        Wood(Layer below) {
            super(below);
        }

        @Override
        long through(Leaf leaf, Probe probe, int rounds) throws Exception {
            return down(leaf, probe, rounds) >>> 1;
        }
    }

    private static final class Steel extends Layer {
        private int passed;

        Steel(Layer below) {
            super(below);
        }

        @Override
        synchronized long through(Leaf leaf, Probe probe, int rounds) throws Exception {
            passed++;
            return passed + down(leaf, probe, rounds);
        }
    }

    private static long layers(Leaf leaf, Probe probe, int rounds) throws Exception {
        Layer layers = new Glass(new Wood(new Steel(new Glass(new Steel(new Wood(null))))));
        return layers.through(leaf, probe, rounds);
    }

    // Lambdas around lambdas.

    private static Leaf wrap(Leaf leaf) {
        Leaf first = (probe, rounds) -> 1 + leaf.run(probe, rounds);
        Leaf second = (probe, rounds) -> 2 + first.run(probe, rounds);
        return (probe, rounds) -> 3 + second.run(probe, rounds);
    }

    private static long lambdas(Leaf leaf, Probe probe, int rounds) throws Exception {
        return wrap(leaf).run(probe, rounds);
    }

    // Recursion.

    private static long descend(int depth, Leaf leaf, Probe probe, int rounds) throws Exception {
        if (depth == 0) {
            return leaf.run(probe, rounds);
        }
        return depth + descend(depth - 1, leaf, probe, rounds);
    }

    private static Route recursion(int depth) {
        return (leaf, probe, rounds) -> descend(depth, leaf, probe, rounds);
    }

    // Inner classes.

    private final class Room {
        private final int number;

        Room(int number) {
            this.number = number;
        }

        private final class Desk {
            long sit(Leaf leaf, Probe probe, int rounds) throws Exception {
                Leaf writing = new Leaf() {
                    @Override
                    public long run(Probe probe, int rounds) throws Exception {
                        return number + leaf.run(probe, rounds);
                    }
                };
                return writing.run(probe, rounds) + number;
            }
        }

        long walkIn(Leaf leaf, Probe probe, int rounds) throws Exception {
            return new Desk().sit(leaf, probe, rounds) - 1;
        }
    }

    private long visit(Leaf leaf, Probe probe, int rounds) throws Exception {
        return new Room(rounds).walkIn(leaf, probe, rounds);
    }

    // Interpreted methods with a compiled one between them.

    private static long interpOuter(Leaf leaf, Probe probe, int rounds) throws Exception {
        return 1 + between(leaf, probe, rounds);
    }

    private static long between(Leaf leaf, Probe probe, int rounds) throws Exception {
        return 1 + interpInner(leaf, probe, rounds);
    }

    private static long interpInner(Leaf leaf, Probe probe, int rounds) throws Exception {
        return 1 + lastStatic(leaf, probe, rounds);
    }

    private static long lastStatic(Leaf leaf, Probe probe, int rounds) throws Exception {
        return 1 + leaf.run(probe, rounds);
    }

    // Leaves that compute.

    private static long mix(long value) {
        long mixed = value ^ value << 13;
        mixed ^= mixed >>> 7;
        return mixed ^ mixed << 17;
    }

    private static long spin(Probe probe, int rounds) {
        probe.at();
        long value = 88172645463325252L;
        for (int turn = 0; turn < rounds * 1000; turn++) {
            value = mix(value);
        }
        return value;
    }

    private static long interpLoop(Probe probe, int rounds) {
        probe.at();
        long value = 88172645463325252L;
        for (int turn = 0; turn < rounds * 100; turn++) {
            value = mix(value);
        }
        return value;
    }

    /** Each {@code finally} is there twice for all that is within it: more than 8000 bytes, which HotSpot never compiles. */
    private static long hugeLoop(Probe probe, int rounds) {
        long value = 88172645463325252L;
        probe.at();
        try {
            value++;
        } finally {
            try {
                value++;
            } finally {
                try {
                    value++;
                } finally {
                    try {
                        value++;
                    } finally {
                        try {
                            value++;
                        } finally {
                            try {
                                value++;
                            } finally {
                                try {
                                    value++;
                                } finally {
                                    try {
                                        value++;
                                    } finally {
                                        for (int turn = 0; turn < rounds * 100; turn++) {
                                            value ^= value << 13;
                                            value ^= value >>> 7;
                                            value ^= value << 17;
                                        }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
        return value;
    }

    /** Trees of operators: which of their methods is called is known only when it is. */
    private interface Node {
        long eval(long[] variables);
    }

    private static Node tree(int depth, int kind) {
        if (depth == 0) {
            return new Node() {
                @Override
                public long eval(long[] variables) {
                    return variables[kind];
                }
            };
        }
        Node left = tree(depth - 1, (kind + 1) % 4);
        Node right = tree(depth - 1, (kind * 3 + 2) % 4);
        switch (kind) {
            case 0: return new Add(left, right);
            case 1: return new Multiply(left, right);
            case 2: return new Xor(left, right);
            default: return new Negate(left);
        }
    }

    private static final class Add implements Node {
        private final Node left;
        private final Node right;

        Add(Node left, Node right) {
            this.left = left;
            this.right = right;
        }

        @Override
        public long eval(long[] variables) {
            return left.eval(variables) + right.eval(variables);
        }
    }

    private static final class Multiply implements Node {
        private final Node left;
        private final Node right;

        Multiply(Node left, Node right) {
            this.left = left;
            this.right = right;
        }

        @Override
        public long eval(long[] variables) {
            return left.eval(variables) * right.eval(variables);
        }
    }

    private static final class Xor implements Node {
        private final Node left;
        private final Node right;

        Xor(Node left, Node right) {
            this.left = left;
            this.right = right;
        }

        @Override
        public long eval(long[] variables) {
            return left.eval(variables) ^ right.eval(variables);
        }
    }

    private static final class Negate implements Node {
        private final Node inner;

        Negate(Node inner) {
            this.inner = inner;
        }

        @Override
        public long eval(long[] variables) {
            return -inner.eval(variables);
        }
    }

    private static final Node TREE = tree(10, 0);

    private static long evaluate(Probe probe, int rounds) {
        probe.at();
        long[] variables = {rounds, 7, 11, 13};
        long value = 0;
        for (int turn = 0; turn < rounds; turn++) {
            variables[turn & 3] = value;
            value += TREE.eval(variables);
        }
        return value;
    }

    private static final byte[] BYTES = new byte[MEGABYTE];
    private static final byte[] COPY = new byte[MEGABYTE];

    private static long checksum(Probe probe, int rounds) {
        probe.at();
        CRC32 crc = new CRC32();
        for (int turn = 0; turn < rounds; turn++) {
            crc.update(BYTES, 0, size);
        }
        return crc.getValue();
    }

    private static long copyArrays(Probe probe, int rounds) {
        probe.at();
        for (int turn = 0; turn < rounds; turn++) {
            System.arraycopy(BYTES, 0, COPY, 0, size);
        }
        return COPY[1];
    }

    private static long deflate(Probe probe, int rounds) {
        probe.at();
        Deflater deflater = new Deflater();
        byte[] output = new byte[1 << 16];
        for (int turn = 0; turn < rounds; turn++) {
            deflater.reset();
            deflater.setInput(BYTES, 0, size / 8);
            deflater.finish();
            while (!deflater.finished()) {
                sink += deflater.deflate(output);
            }
        }
        deflater.end();
        return output[0];
    }

    private static final Pattern PATTERN = Pattern.compile("([a-z]+)-(\\d+)[^0-9]*(\\d+)?");
    private static final String TEXT = "order-1234, item-77; a parcel-9 of 12, and no-digits here; last-4711 (of 4712)";

    private static long match(Probe probe, int rounds) {
        probe.at();
        long ends = 0;
        for (int turn = 0; turn < rounds; turn++) {
            Matcher matcher = PATTERN.matcher(TEXT);
            while (matcher.find()) {
                ends += matcher.end() + matcher.group(1).length();
            }
        }
        return ends;
    }

    private static long concatenate(Probe probe, int rounds) {
        probe.at();
        List<String> kept = new ArrayList<>();
        for (int turn = 0; turn < rounds; turn++) {
            String text = "";
            for (int part = 0; part < 10; part++) {
                text = text + part + "-" + turn;
            }
            kept.add(text);
            if (kept.size() > 5_000) {
                kept.clear();
            }
        }
        return kept.size();
    }

    private static RandomAccessFile file;
    private static final byte[] BLOCK = new byte[4096];

    private static long writeAndSync(Probe probe, int rounds) throws IOException {
        probe.at();
        for (int turn = 0; turn < rounds; turn++) {
            file.seek(0);
            file.write(BLOCK);
            file.getFD().sync();
        }
        return file.length();
    }

    // Leaves that wait. Each tells where it is on the line at which it waits.

    private static final Object NOTIFIED = new Object();
    private static final Object NEVER_NOTIFIED = new Object();

    private static long waitUntilNotified(Probe probe, int rounds) throws InterruptedException {
        synchronized (NOTIFIED) {
            for (int turn = 0; turn < rounds; turn++) {
                probe.at(); NOTIFIED.wait();
            }
        }
        return rounds;
    }

    private static long waitWithTimeout(Probe probe, int rounds) throws InterruptedException {
        synchronized (NEVER_NOTIFIED) {
            for (int turn = 0; turn < rounds; turn++) {
                probe.at(); NEVER_NOTIFIED.wait(PAUSE_MS);
            }
        }
        return rounds;
    }

    private static final Object[] MONITORS = {new Object(), new Object()};

    /** Another thread holds one of both at any time. */
    private static long enterMonitors(Probe probe, int rounds) {
        long entered = 0;
        for (int turn = 0; turn < rounds; turn++) {
            for (Object monitor : MONITORS) {
                probe.at(); synchronized (monitor) { entered++; }
            }
        }
        return entered;
    }

    private static void holdMonitors() throws InterruptedException {
        synchronized (MONITORS[0]) {
            while (true) {
                Thread.sleep(PAUSE_MS);
                synchronized (MONITORS[1]) {
                    // Lets the first go and takes it again when the other side has had it.
                    MONITORS[0].wait(PAUSE_MS);
                }
            }
        }
    }

    private static final ReentrantLock[] LOCKS = {new ReentrantLock(), new ReentrantLock()};

    /** Another thread holds one of both at any time. */
    private static long takeLocks(Probe probe, int rounds) {
        for (int turn = 0; turn < rounds; turn++) {
            for (ReentrantLock lock : LOCKS) {
                probe.at(); lock.lock();
                lock.unlock();
            }
        }
        return rounds;
    }

    private static void holdLocks() throws InterruptedException {
        LOCKS[0].lock();
        while (true) {
            Thread.sleep(PAUSE_MS);
            LOCKS[1].lock();
            LOCKS[0].unlock();
            Thread.sleep(PAUSE_MS);
            LOCKS[0].lock();
            LOCKS[1].unlock();
        }
    }

    private static long park(Probe probe, int rounds) {
        for (int turn = 0; turn < rounds; turn++) {
            probe.at(); LockSupport.park();
        }
        return rounds;
    }

    private static long sleep(Probe probe, int rounds) throws InterruptedException {
        for (int turn = 0; turn < rounds; turn++) {
            probe.at(); Thread.sleep(pauseMs);
        }
        return rounds;
    }

    private static InputStream incoming;
    private static OutputStream outgoing;

    private static long receive(Probe probe, int rounds) throws IOException {
        long received = 0;
        for (int turn = 0; turn < rounds; turn++) {
            probe.at(); received += incoming.read();
        }
        return received;
    }

    private static final LinkedBlockingQueue<Runnable> NOTHING = new LinkedBlockingQueue<>();

    /** Waits for ever. */
    private static long takeNothing(Probe probe, int rounds) throws InterruptedException {
        for (int turn = 0; turn < rounds; turn++) {
            probe.at(); NOTHING.take();
        }
        return rounds;
    }

    private static final Frames FRAMES = new Frames();

    private static final Task[] TASKS = {
        Task.computes("spin", Frames::outerStatic, Frames::spin, 4_000),
        Task.computes("spin-filters", Frames::filters, Frames::spin, 4_000),
        Task.computes("spin-lambdas", Frames::lambdas, Frames::spin, 4_000),
        Task.computes("spin-deep", recursion(150), Frames::spin, 4_000),
        Task.computes("spin-excluded", Frames::interpOuter, Frames::spin, 4_000),
        Task.computes("excluded", Frames::layers, Frames::interpLoop, 4_000),
        Task.computes("huge", Frames::filters, Frames::hugeLoop, 4_000),
        Task.computes("tree", recursion(20), Frames::evaluate, 4_000),
        Task.computes("checksum", FRAMES::visit, Frames::checksum, 100),
        Task.computes("copy", Frames::layers, Frames::copyArrays, 100),
        Task.computes("deflate", Frames::filters, Frames::deflate, 5),
        Task.computes("match", Frames::lambdas, Frames::match, 4_000),
        Task.computes("concatenate", FRAMES::visit, Frames::concatenate, 10_000),
        Task.computes("sync", Frames::outerStatic, Frames::writeAndSync, 20),
        Task.waits("wait", Frames::filters, Frames::waitUntilNotified),
        Task.waits("wait-timeout", Frames::layers, Frames::waitWithTimeout),
        Task.waits("monitor", Frames::lambdas, Frames::enterMonitors),
        Task.waits("lock", recursion(20), Frames::takeLocks),
        Task.waits("park", FRAMES::visit, Frames::park),
        Task.waits("sleep", recursion(150), Frames::sleep),
        Task.waits("receive", Frames::interpOuter, Frames::receive),
        Task.waits("forever", Frames::outerStatic, Frames::takeNothing),
    };

    private static final CountDownLatch TOLD = new CountDownLatch(TASKS.length);

    private static long pass(Task task, Probe probe, int rounds) throws Exception {
        return task.route.enter(task.leaf, probe, rounds);
    }

    private static void live(Task task) {
        try {
            while (true) {
                sink += pass(task, task.teller, task.rounds);
            }
        } catch (Exception error) {
            throw new IllegalStateException(error);
        }
    }

    // The warm-up: on the main thread, whose waits end at once.

    /** Not what would wait for another thread. */
    private static boolean isWarmedUp(Task task) {
        return !task.name.equals("wait") && !task.name.equals("forever");
    }

    private static void warmUp(Task task) throws Exception {
        Probe[] probes = {new FirstQuiet(), new SecondQuiet(), new ThirdQuiet()};
        boolean parks = task.name.equals("park");
        long begun = System.nanoTime();
        for (int round = 0; round < WARM_UP_ROUNDS && System.nanoTime() - begun < WARM_UP_NS; round++) {
            if (parks) {
                LockSupport.unpark(Thread.currentThread());
            }
            sink += pass(task, probes[round % probes.length], 1);
        }
    }

    private static void warmUp() throws Exception {
        for (int round = 0; round < WARM_UP_PASSES; round++) {
            outgoing.write(new byte[WARM_UP_ROUNDS]);
            for (Task task : TASKS) {
                if (isWarmedUp(task)) {
                    warmUp(task);
                }
            }
            // What is left of the bytes.
            while (incoming.available() > 0) {
                incoming.read(BLOCK);
            }
        }
        size = MEGABYTE;
        pauseMs = PAUSE_MS;
    }

    // Those who end waits.

    private interface Step {
        void run() throws Exception;
    }

    private static Thread start(String name, Step step) {
        Thread thread = new Thread(() -> {
            try {
                step.run();
            } catch (Exception error) {
                throw new IllegalStateException(error);
            }
        }, name);
        thread.setDaemon(true);
        thread.start();
        return thread;
    }

    /** Threads of pools, which have nothing to do most of the time: only where they are now is told. */
    private static final List<Thread> WORKERS = new ArrayList<>();

    private static Thread named(String name, Thread worker) {
        worker.setName(name);
        worker.setDaemon(true);
        synchronized (WORKERS) {
            WORKERS.add(worker);
        }
        return worker;
    }

    private static ForkJoinPool forkJoinPool() {
        ForkJoinPool.ForkJoinWorkerThreadFactory factory = pool -> (ForkJoinWorkerThread) named("fork-join",
                ForkJoinPool.defaultForkJoinWorkerThreadFactory.newThread(pool));
        return new ForkJoinPool(1, factory, null, false);
    }

    private static ThreadPoolExecutor threadPool() {
        return new ThreadPoolExecutor(1, 1, 1, TimeUnit.HOURS, new LinkedBlockingQueue<>(),
                work -> named("pool", new Thread(work)));
    }

    private static void wake(Thread parked) throws Exception {
        ForkJoinPool forkJoin = forkJoinPool();
        ThreadPoolExecutor pool = threadPool();
        while (true) {
            Thread.sleep(PAUSE_MS);
            synchronized (NOTIFIED) {
                NOTIFIED.notify();
            }
            LockSupport.unpark(parked);
            outgoing.write('!');
            forkJoin.execute(() -> reached++);
            pool.execute(() -> reached++);
        }
    }

    private static void openSocket() throws IOException {
        ServerSocket server = new ServerSocket(0, 1, InetAddress.getLoopbackAddress());
        Socket peer = new Socket(server.getInetAddress(), server.getLocalPort());
        peer.setTcpNoDelay(true);
        outgoing = peer.getOutputStream();
        incoming = server.accept().getInputStream();
    }

    private static void openFile(File folder) throws IOException {
        File path = new File(folder, "frames.data");
        file = new RandomAccessFile(path, "rw");
        path.delete();
    }

    // What is told.

    private static void append(StringBuilder text, StackTraceElement[] frames) {
        text.append('[');
        for (int at = 0; at < frames.length; at++) {
            StackTraceElement frame = frames[at];
            String name = frame.getClassName();
            // Of a class without a source file there is nothing to compare.
            String file = frame.getFileName() == null ? "" : name.substring(0, name.lastIndexOf('.') + 1).replace('.', '/')
                    + frame.getFileName();
            text.append(at == 0 ? "[\"" : ",[\"").append(name).append('.').append(frame.getMethodName()).append("\",\"")
                    .append(file).append("\",").append(Math.max(frame.getLineNumber(), 0)).append(']');
        }
        text.append(']');
    }

    private static void append(StringBuilder text, String name, boolean stays, StackTraceElement[] told,
            StackTraceElement[] now) {
        text.append(text.length() == 0 ? "{\"threads\":[" : ",").append("{\"name\":\"").append(name);
        text.append("\",\"stays\":").append(stays).append(",\"told\":");
        append(text, told);
        text.append(",\"now\":");
        append(text, now);
        text.append('}');
    }

    /** All threads are stopped once, not each by itself. */
    private static String look() {
        StackTraceElement[] nothing = {};
        Map<Thread, StackTraceElement[]> now = Thread.getAllStackTraces();
        StringBuilder text = new StringBuilder();
        for (Task task : TASKS) {
            append(text, task.name, task.stays, task.teller.told, now.getOrDefault(task.thread, nothing));
        }
        synchronized (WORKERS) {
            for (Thread worker : WORKERS) {
                append(text, worker.getName(), true, nothing, now.getOrDefault(worker, nothing));
            }
        }
        return text.append("]}").toString();
    }

    public static void main(String[] arguments) throws Exception {
        for (int at = 0; at < BYTES.length; at++) {
            BYTES[at] = (byte) (mix(at + 1) >>> 3 & 15);
        }
        openSocket();
        openFile(new File(arguments[0]));
        warmUp();
        start("hold-monitors", Frames::holdMonitors);
        start("hold-locks", Frames::holdLocks);
        Thread parked = null;
        for (Task task : TASKS) {
            task.thread = start(task.name, () -> live(task));
            parked = task.name.equals("park") ? task.thread : parked;
        }
        Thread waking = parked;
        start("wake", () -> wake(waking));
        TOLD.await();
        System.out.println("ready " + new File("/proc/self").getCanonicalFile().getName());
        while (System.in.read() >= 0) {
            System.out.println(look());
        }
        System.exit(0);
    }
}
