import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.util.concurrent.LinkedBlockingQueue;

/** Threads that wait for ever, each in a method of its own. Prints `ready PID` once they do; ends with its input. */
public final class Sleepers {
    static void takeFromQueue() throws Exception {
        new LinkedBlockingQueue<Object>().take();
    }

    static void sleepLong() throws Exception {
        Thread.sleep(1_000_000_000L);
    }

    static void enterMonitor() {
        synchronized (Sleepers.class) {
            throw new IllegalStateException();
        }
    }

    static void receive(Socket peer) throws Exception {
        peer.getInputStream().read();
    }

    interface Work {
        void run() throws Exception;
    }

    static Thread start(String name, Work work) {
        Thread thread = new Thread(() -> {
            try {
                work.run();
            } catch (Exception end) {
                throw new IllegalStateException(end);
            }
        }, name);
        thread.setDaemon(true);
        thread.start();
        return thread;
    }

    public static void main(String[] arguments) throws Exception {
        ServerSocket server = new ServerSocket(0, 1, InetAddress.getLoopbackAddress());
        Socket peer = new Socket(server.getInetAddress(), server.getLocalPort());
        synchronized (Sleepers.class) {
            Thread[] threads = {
                start("taker", Sleepers::takeFromQueue), start("sleeper", Sleepers::sleepLong),
                start("monitor", Sleepers::enterMonitor), start("receiver", () -> receive(peer)),
            };
            while (threads[0].getState() != Thread.State.WAITING || threads[1].getState() != Thread.State.TIMED_WAITING
                || threads[2].getState() != Thread.State.BLOCKED || threads[3].getStackTrace().length < 5) {
                Thread.onSpinWait();
            }
            System.out.println("ready " + ProcessHandle.current().pid());
            while (System.in.read() >= 0) {
            }
        }
    }
}
