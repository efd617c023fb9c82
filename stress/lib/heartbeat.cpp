#include "lib/heartbeat.h"

#include <algorithm>
#include <ctime>

#include <pthread.h>
#include <sched.h>

#include "lib/system.h"

namespace at {

namespace {

constexpr std::uint64_t period_ns = 2000000;
constexpr std::uint64_t credit_ns = 4000000;

} // namespace

Heartbeats::Heartbeats(SharedRun& run) : run_(run) {
    const std::uint64_t now = monotonic_ns();
    for (std::uint32_t cpu = 0; cpu < run_.cpus; ++cpu) {
        run_.heartbeats[cpu].last_ns.store(now, std::memory_order_relaxed);
        threads_.emplace_back([this, cpu] { beat(cpu); });
    }
}

Heartbeats::~Heartbeats() {
    ending_.store(true, std::memory_order_relaxed);
    for (std::thread& thread : threads_)
        thread.join();
}

void Heartbeats::beat(std::uint32_t cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    pthread_setaffinity_np(pthread_self(), sizeof set, &set);
    // Above the racers, so that their load is not taken for a stall; refused without privilege,
    // and then healthy time only passes more slowly.
    const sched_param priority{1};
    pthread_setschedparam(pthread_self(), SCHED_FIFO, &priority);
    Heartbeat& heart = run_.heartbeats[cpu];
    while (!ending_.load(std::memory_order_relaxed)) {
        const timespec period{0, period_ns};
        clock_nanosleep(CLOCK_MONOTONIC, 0, &period, nullptr);
        const std::uint64_t now = monotonic_ns();
        const std::uint64_t elapsed = now - heart.last_ns.load(std::memory_order_relaxed);
        if (elapsed > stall_ns) {
            const std::uint32_t index =
                heart.stalls.fetch_add(1, std::memory_order_relaxed) % stalls_kept;
            heart.stall[index].length_ns.store(elapsed, std::memory_order_relaxed);
            heart.stall[index].end_ns.store(now, std::memory_order_release);
        }
        heart.last_ns.store(now, std::memory_order_relaxed);
        heart.healthy_ns.fetch_add(std::min(elapsed, credit_ns), std::memory_order_relaxed);
    }
}

std::uint64_t Heartbeats::healthy_ns() const {
    return run_.healthy_ns();
}

std::uint64_t Heartbeats::longest_silence_ns(std::uint32_t& cpu) const {
    const std::uint64_t now = monotonic_ns();
    std::uint64_t longest = 0;
    for (std::uint32_t i = 0; i < run_.cpus; ++i) {
        const std::uint64_t last = run_.heartbeats[i].last_ns.load(std::memory_order_relaxed);
        if (now > last && now - last > longest) {
            longest = now - last;
            cpu = i;
        }
    }
    return longest;
}

} // namespace at
