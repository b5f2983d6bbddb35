package named;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.IntSupplier;
import java.util.function.LongUnaryOperator;

/** Warms up methods of many shapes until the compilers have had enough of them, says so, and waits. */
public class Named {
    interface Shape {
        long area(long scale);
    }

    static class Square implements Shape {
        final long side;

        Square(long side) {
            this.side = side;
        }

        @Override
        public long area(long scale) {
            return multiply(side, side)
                + scale;
        }
    }

    class Inner implements Shape {
        @Override
        public long area(long scale) {
            long sum = 0;
            for (int i = 0; i < 5; i++) {
                sum += multiply(scale, i);
            }
            return sum;
        }
    }

    static volatile long sink;

    static long multiply(long a, long b) {
        if (a == 7919) {
            return
                helper(a);
        }
        return a * b;
    }

    static long helper(long a) {
        return a + 1;
    }

    static long recurse(int depth) {
        if (depth == 0) {
            return 1;
        }
        return recurse(depth - 1) + multiply(depth, depth);
    }

    static long lambdas(long value) {
        LongUnaryOperator add = x -> x + value;
        IntSupplier number = () -> (int) value;
        return add.applyAsLong(number.getAsInt());
    }

    static long collections(int round) {
        Map<String, Integer> counts = new HashMap<>();
        List<String> keys = new ArrayList<>();
        for (int i = 0; i < 20; i++) {
            String key = "key" + (i + round) % 7;
            counts.merge(key, i, Integer::sum);
            keys.add(key);
        }
        keys.sort(String::compareTo);
        return keys.stream().mapToInt(String::length).sum() + counts.size();
    }

    static long größe(long 値) {
        return 値 * 3;
    }

    /** Lines of which most are far apart, so that their table has long entries. */
    static long far(long x) {




















        long y = x
            + 1;










































        return y * 5;
    }

    static void failing(int i) {
        try {
            if (i % 3 == 0) {
                throw new IllegalStateException();
            }
            sink += System.nanoTime() & 1;
        } catch (IllegalStateException expected) {
            sink++;
        } finally {
            sink += 2;
        }
    }

    public static void main(String[] arguments) throws Exception {
        Shape[] shapes = {new Square(3), new Named().new Inner()};
        for (int i = 0; i < 30_000; i++) {
            sink += shapes[i & 1].area(i) + recurse(8) + lambdas(i) + collections(i) + größe(i) + far(i);
            failing(i);
        }
        Thread.sleep(500);
        System.out.println("ready " + System.getProperty("java.vm.version"));
        System.in.read();
    }
}
