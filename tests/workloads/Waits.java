import java.io.IOException;
import java.io.RandomAccessFile;
import java.io.UncheckedIOException;
import java.lang.management.ManagementFactory;
import java.lang.management.ThreadMXBean;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.FutureTask;
import java.util.concurrent.locks.LockSupport;
import java.util.concurrent.locks.ReentrantLock;

/**
 * Waits of a JVM: one case per run, in a thread of its own that keeps the books of its waits. Prints {@code ready PID}, waits
 * for a line, runs the case and prints a line of JSON. {@code done} follows. It ends with its input.
 */
public final class Waits {
    private static final long CASE_NS = 1_200_000_000L;
    /** How long the other side of a wait lets it wait. */
    private static final long PAUSE_MS = 15;

    private interface Step {
        void run() throws Exception;
    }

    private interface Case {
        /** What it waited for. */
        String run(Books books) throws Exception;
    }

    /** What a thread measures of its waits: the time in which it neither computes nor queues. */
    private static final class Books {
        private static final ThreadMXBean THREADS = ManagementFactory.getThreadMXBean();
        private final RandomAccessFile schedstat = new RandomAccessFile("/proc/thread-self/schedstat", "r");
        private final byte[] text = new byte[128];
        final long thread = Long.parseLong(Files.readSymbolicLink(Path.of("/proc/thread-self")).getFileName().toString());
        final long begun = System.nanoTime();
        private final long lengthNs;
        long waitNs;
        long waits;

        Books(long lengthNs) throws IOException {
            this.lengthNs = lengthNs;
        }

        boolean runs() {
            return System.nanoTime() - begun < lengthNs;
        }

        private long runDelayNs() {
            try {
                schedstat.seek(0);
                int length = schedstat.read(text);
                return Long.parseLong(new String(text, 0, length).split(" ")[1]);
            } catch (IOException error) {
                throw new UncheckedIOException(error);
            }
        }

        /** Read again if the thread lost its CPU in between. */
        private long blockedNs() {
            while (true) {
                long before = runDelayNs();
                long blocked = System.nanoTime() - THREADS.getCurrentThreadCpuTime() - before;
                if (runDelayNs() == before) {
                    return blocked;
                }
            }
        }

        void begin() {
            waitNs -= blockedNs();
        }

        void end() {
            waitNs += blockedNs();
            waits++;
        }

        String report(String subject) {
            long life = System.nanoTime() - begun;
            return String.format("{\"thread\":%d,\"life_ns\":%d,\"wait_ns\":%d,\"waits\":%d,\"subject\":\"%s\"}%n", thread,
                    life, waitNs, waits, subject);
        }
    }

    private static void startThread(Step step) {
        Thread thread = new Thread(() -> {
            try {
                while (true) {
                    step.run();
                }
            } catch (Exception error) {
                throw new IllegalStateException(error);
            }
        });
        thread.setDaemon(true);
        thread.start();
    }

    /** Two monitors, of which the other thread holds one at any time: whoever asks for both in turn always waits. */
    private static String enterMonitor(Books books) throws Exception {
        Object first = new Object();
        Object second = new Object();
        CountDownLatch held = new CountDownLatch(1);
        startThread(() -> {
            synchronized (first) {
                held.countDown();
                while (true) {
                    Thread.sleep(PAUSE_MS);
                    synchronized (second) {
                        // Lets the first go and takes it again when the other side has had it.
                        first.wait(PAUSE_MS);
                    }
                }
            }
        });
        held.await();
        while (books.runs()) {
            books.begin();
            synchronized (first) {
                books.end();
            }
            books.begin();
            synchronized (second) {
                books.end();
            }
        }
        return "";
    }

    private static String enterLock(Books books) throws Exception {
        ReentrantLock[] locks = {new ReentrantLock(), new ReentrantLock()};
        CountDownLatch held = new CountDownLatch(1);
        startThread(() -> {
            if (!locks[0].isHeldByCurrentThread()) {
                locks[0].lock();
                held.countDown();
            }
            Thread.sleep(PAUSE_MS);
            locks[1].lock();
            locks[0].unlock();
            Thread.sleep(PAUSE_MS);
            locks[0].lock();
            locks[1].unlock();
        });
        held.await();
        while (books.runs()) {
            for (ReentrantLock lock : locks) {
                books.begin();
                lock.lock();
                books.end();
                lock.unlock();
            }
        }
        return "";
    }

    private static String waitForObject(Books books) throws Exception {
        Object told = new Object();
        startThread(() -> {
            Thread.sleep(PAUSE_MS);
            synchronized (told) {
                told.notify();
            }
        });
        synchronized (told) {
            while (books.runs()) {
                books.begin();
                told.wait();
                books.end();
            }
        }
        return "";
    }

    private static String park(Books books) {
        Thread parked = Thread.currentThread();
        startThread(() -> {
            Thread.sleep(PAUSE_MS);
            LockSupport.unpark(parked);
        });
        while (books.runs()) {
            books.begin();
            LockSupport.park();
            books.end();
        }
        return "";
    }

    private static String sleep(Books books) throws Exception {
        while (books.runs()) {
            books.begin();
            Thread.sleep(PAUSE_MS);
            books.end();
        }
        return "";
    }

    private static String takeFromQueue(Books books) throws Exception {
        ArrayBlockingQueue<String> queue = new ArrayBlockingQueue<>(1);
        startThread(() -> {
            Thread.sleep(PAUSE_MS);
            queue.put("x");
        });
        while (books.runs()) {
            books.begin();
            queue.take();
            books.end();
        }
        return "";
    }

    private static String readSocket(Books books) throws Exception {
        ServerSocket server = new ServerSocket(0, 1, InetAddress.getLoopbackAddress());
        Socket peer = new Socket(server.getInetAddress(), server.getLocalPort());
        Socket accepted = server.accept();
        server.close();
        startThread(() -> {
            if (accepted.getInputStream().read() >= 0) {
                Thread.sleep(PAUSE_MS);
                accepted.getOutputStream().write('!');
            }
        });
        while (books.runs()) {
            peer.getOutputStream().write('?');
            books.begin();
            peer.getInputStream().read();
            books.end();
        }
        return "127.0.0.1:" + peer.getPort();
    }

    /** The only worker of a pool: it waits from the end of a task to the begin of the next. */
    private static String runPool(long lengthNs) throws Exception {
        ExecutorService pool = Executors.newFixedThreadPool(1);
        Books books = pool.submit(() -> {
            Books opened = new Books(lengthNs);
            opened.begin();
            return opened;
        }).get();
        while (books.runs()) {
            Thread.sleep(PAUSE_MS);
            pool.submit(() -> {
                books.end();
                books.begin();
            }).get();
        }
        Future<String> report = pool.submit(() -> {
            books.end();
            return books.report("");
        });
        pool.shutdown();
        return report.get();
    }

    private static final Map<String, Case> CASES = Map.of("java_monitor", Waits::enterMonitor, "java_lock", Waits::enterLock,
            "java_wait", Waits::waitForObject, "java_park", Waits::park, "java_sleep", Waits::sleep, "java_queue",
            Waits::takeFromQueue, "java_socket", Waits::readSocket);

    private static String runThread(Case one, long lengthNs) throws Exception {
        FutureTask<String> task = new FutureTask<>(() -> {
            Books books = new Books(lengthNs);
            return books.report(one.run(books));
        });
        new Thread(task).start();
        return task.get();
    }

    private static String run(String name, long lengthNs) throws Exception {
        return name.equals("java_worker") ? runPool(lengthNs) : runThread(CASES.get(name), lengthNs);
    }

    public static void main(String[] arguments) throws Exception {
        // Loads another queue, for whose sake methods that were compiled before would be compiled again.
        long pid = ProcessHandle.current().pid();
        // Before it counts: loading classes waits for files and locks.
        run(arguments[0], CASE_NS / 10);
        System.out.println("ready " + pid);
        if (System.in.read() < 0) {
            return;
        }
        System.out.print(run(arguments[0], CASE_NS));
        System.out.println("done");
        System.exit(System.in.read());
    }
}
