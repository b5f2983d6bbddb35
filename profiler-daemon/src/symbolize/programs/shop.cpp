// Prints the addresses of its marked instructions by their numbers, and waits until its input ends.
#include <cstdio>

// A label without a name: the symbol table does not know it.
#define MARK(number) \
    asm volatile("1: nop\n.pushsection marks, \"aw\"\n.quad 1b, " #number "\n.popsection")
struct Mark { void *address; long number; };
extern "C" Mark __start_marks[], __stop_marks[];

namespace shop {
inline __attribute__((always_inline)) int discount(int amount) {
    MARK(1); // line 12
    return amount * 3;
}

template <typename T> struct Basket;

template <typename T> struct Basket<T *> {
    __attribute__((noinline)) static T price(T *amount) {
        MARK(0); // line 20
        return discount(*amount) + 1; // line 21
    }
};

__attribute__((noinline)) int apply(int amount) {
    auto taxed = [](int net) __attribute__((noinline)) {
        MARK(2); // line 27
        return net + 7;
    };
    return taxed(amount) + 1;
}
} // namespace shop

int main(int count, char **) {
    int total = shop::Basket<int *>::price(&count) + shop::apply(count);
    for (long number = 0; number < 3; number++)
        for (Mark *mark = __start_marks; mark < __stop_marks; mark++)
            if (mark->number == number) std::printf("%p ", mark->address);
    std::puts("");
    std::fflush(stdout);
    return std::getchar() == total;
}
