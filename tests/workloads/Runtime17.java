import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;

/** Computes, sleeps and reads from a slow peer, one method each, until its input ends. Prints `ready PID` when compiled. */
public final class Runtime17 {
    private static volatile long sink;

    static long computePrimes(int rounds) {
        long found = 0;
        for (int round = 0; round < rounds; round++) {
            for (int number = 3; number < 3000; number += 2) {
                boolean prime = true;
                for (int divisor = 3; divisor * divisor <= number && prime; divisor += 2) {
                    prime = number % divisor != 0;
                }
                found += prime ? 1 : 0;
            }
        }
        return found;
    }

    static void sleepAWhile(long millis) throws InterruptedException {
        Thread.sleep(millis);
    }

    static int readReply(Socket peer) throws IOException {
        peer.getOutputStream().write('?');
        return peer.getInputStream().read();
    }

    static void serveSlowly(Socket connection) {
        try {
            while (connection.getInputStream().read() >= 0) {
                Thread.sleep(delay);
                connection.getOutputStream().write('!');
            }
        } catch (IOException | InterruptedException end) {
            throw new IllegalStateException(end);
        }
    }

    private static volatile long delay = 0;

    static void workOnce(Socket peer, int rounds, long millis) throws Exception {
        sink += computePrimes(rounds);
        sleepAWhile(millis);
        readReply(peer);
    }

    public static void main(String[] arguments) throws Exception {
        ServerSocket server = new ServerSocket(0, 1, InetAddress.getLoopbackAddress());
        Socket peer = new Socket(server.getInetAddress(), server.getLocalPort());
        Socket accepted = server.accept();
        Thread slow = new Thread(() -> serveSlowly(accepted));
        slow.setDaemon(true);
        slow.start();
        for (int i = 0; i < 20_000; i++) {
            workOnce(peer, 1, 0);
        }
        delay = 200;
        Thread worker = new Thread(() -> {
            try {
                while (true) {
                    workOnce(peer, 3000, 200);
                }
            } catch (Exception end) {
                throw new IllegalStateException(end);
            }
        });
        worker.setDaemon(true);
        worker.start();
        System.out.println("ready " + ProcessHandle.current().pid());
        while (System.in.read() >= 0) {
            Thread.onSpinWait();
        }
    }
}
