// Stacks of a C++ program: exceptions thrown deep and caught far, destructors, virtual calls, the library's algorithms.
//
//   stacks
//
// Prints `ready PID`, waits for a line, and lets three threads compute until the end of its input. Then it prints
// `done`.
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <numeric>
#include <regex>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <unistd.h>
#include <vector>

#define NOINLINE __attribute__((noinline, noclone))

namespace {

std::atomic<bool> ended;
std::atomic<uint64_t> sink;
std::mutex gate;

uint64_t churn(uint64_t value, int turns) {
    for (int turn = 0; turn < turns; turn++) {
        value ^= value << 13;
        value ^= value >> 7;
        value ^= value << 17;
    }
    return value;
}

NOINLINE uint64_t leaf(uint64_t value) { return churn(value, 200); }

struct failure : std::runtime_error {
    uint64_t value;
    explicit failure(uint64_t value) : std::runtime_error("a failure on purpose"), value(value) {}
};

// Its destructor runs while an exception passes, called by the unwinder's landing pads.
struct guard {
    uint64_t value;
    NOINLINE explicit guard(uint64_t value) : value(value) {}
    NOINLINE ~guard() { sink += leaf(value); }
};

NOINLINE uint64_t throw_below(uint64_t value, unsigned depth) {
    guard here(value);
    if (depth == 0)
        throw failure(leaf(value));
    std::string text(depth % 40 + 1, static_cast<char>('a' + depth % 26));
    return throw_below(leaf(value) ^ text.size(), depth - 1) + text.size();
}

// Catches, computes in the handler, and throws on.
NOINLINE uint64_t rethrow(uint64_t value, unsigned depth) {
    try {
        return throw_below(value, depth);
    } catch (const failure &caught) {
        sink += leaf(caught.value);
        throw;
    }
}

NOINLINE uint64_t catch_all(uint64_t value) {
    try {
        return rethrow(value, value % 30);
    } catch (const std::exception &caught) {
        return leaf(value) + caught.what()[0];
    }
}

struct shape {
    virtual ~shape() = default;
    virtual uint64_t measure(uint64_t value, unsigned depth) const = 0;
};

std::unique_ptr<shape> make(uint64_t value);

struct plain : shape {
    uint64_t measure(uint64_t value, unsigned depth) const override {
        return depth ? make(value)->measure(leaf(value), depth - 1) + 1 : leaf(value);
    }
};

struct left {
    virtual ~left() = default;
    virtual uint64_t weigh(uint64_t value) const { return leaf(value); }
};

// With two bases, calls through the second go by a thunk.
struct both : left, shape {
    uint64_t extra = 3;
    uint64_t weigh(uint64_t value) const override { return leaf(value) * extra; }
    uint64_t measure(uint64_t value, unsigned depth) const override {
        uint64_t weight = weigh(value);
        return depth ? make(weight)->measure(value + extra, depth - 1) : weight;
    }
};

struct listed : shape {
    std::vector<uint64_t> items = std::vector<uint64_t>(20, 7);
    uint64_t measure(uint64_t value, unsigned depth) const override {
        const auto add = [](uint64_t a, uint64_t b) { return leaf(a ^ b); };
        uint64_t sum = std::accumulate(items.begin(), items.end(), value, add);
        return depth ? make(sum)->measure(value, depth - 1) + sum : sum;
    }
};

NOINLINE std::unique_ptr<shape> make(uint64_t value) {
    switch (value % 3) {
    case 0: return std::make_unique<plain>();
    case 1: return std::make_unique<both>();
    default: return std::make_unique<listed>();
    }
}

NOINLINE bool is_less(const std::string &a, const std::string &b) {
    uint64_t left = leaf(a.size()) % 3, right = leaf(b.size()) % 3;
    return left == right ? a < b : left < right;
}

NOINLINE uint64_t sort_strings(uint64_t value) {
    std::vector<std::string> items;
    for (unsigned at = 0; at < 60; at++) {
        value = churn(value, 3);
        items.push_back(std::to_string(value).substr(0, value % 15 + 1));
    }
    std::sort(items.begin(), items.end(), is_less);
    std::stable_sort(items.begin(), items.end(), [](const auto &a, const auto &b) { return a.size() < b.size(); });
    return items[7].size();
}

NOINLINE uint64_t through_functions(uint64_t value) {
    std::function<uint64_t(uint64_t)> step = leaf;
    for (unsigned at = 0; at < 12; at++)
        step = [step, at](uint64_t value) { return step(leaf(value + at)) + at; };
    return step(value);
}

NOINLINE uint64_t with_containers(uint64_t value) {
    std::map<std::string, uint64_t> counts;
    for (unsigned at = 0; at < 100; at++)
        counts[std::to_string((value = churn(value, 2)) % 50)] += at;
    std::ostringstream text;
    for (const auto &[key, count] : counts)
        text << key << '=' << count << ' ';
    static const std::regex pattern("([0-9]+)=([1-9]5+) ");
    const std::string all = text.str();
    return value + std::distance(std::sregex_iterator(all.begin(), all.end(), pattern), std::sregex_iterator());
}

NOINLINE uint64_t with_a_future(uint64_t value) {
    auto later = std::async(std::launch::deferred, [value] { return catch_all(value) + leaf(value); });
    std::lock_guard<std::mutex> held(gate);
    return later.get();
}

void compute(uint64_t value) {
    while (!ended) {
        value = catch_all(value) ^ make(value)->measure(value, value % 60);
        value += sort_strings(value) + through_functions(value) + with_containers(value) + with_a_future(value);
    }
    sink += value;
}

} // namespace

int main() {
    std::printf("ready %d\n", static_cast<int>(getpid()));
    std::fflush(stdout);
    std::getchar();
    std::vector<std::thread> threads;
    for (uint64_t at = 0; at < 3; at++)
        threads.emplace_back(compute, 88172645463325252ULL + at);
    while (std::getchar() != EOF) {
    }
    ended = true;
    for (auto &thread : threads)
        thread.join();
    std::printf("done\n");
}
