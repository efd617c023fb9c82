#include "lib/work_beats.h"

#include <algorithm>
#include <ctime>

#include <libaio.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/system.h"

namespace at {

namespace {

constexpr long period_ns = 20000000;
constexpr std::uint64_t credit_ns = 40000000;

} // namespace

WorkBeats::WorkBeats(SharedRun& run) : run_(run) {
    const std::uint64_t now = monotonic_ns();
    for (std::uint32_t cpu = 0; cpu < run_.cpus; ++cpu) {
        run_.work_beats[cpu].last_ns.store(now, std::memory_order_relaxed);
        threads_.emplace_back([this, cpu] { beat(cpu); });
    }
    run_.work_cpus = run_.cpus;
}

WorkBeats::~WorkBeats() {
    run_.work_cpus = 0;
    ending_.store(true, std::memory_order_relaxed);
    for (std::thread& thread : threads_)
        thread.join();
}

void WorkBeats::beat(std::uint32_t cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    pthread_setaffinity_np(pthread_self(), sizeof set, &set);
    io_context_t context = nullptr;
    const Fd never(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!never || io_setup(1, &context)) {
        // Nothing can be shown here; the run then has no bounds, and ends by its deadline.
        return;
    }
    Heartbeat& heart = run_.work_beats[cpu];
    bool waiting = false;
    iocb cb;
    iocb* pointer = &cb;
    while (!ending_.load(std::memory_order_relaxed)) {
        if (!waiting) {
            io_prep_poll(&cb, never.get(), POLLIN);
            waiting = io_submit(context, 1, &pointer) == 1;
            io_event result;
            if (waiting)
                io_cancel(context, &cb, &result);
        }
        io_event event;
        timespec bound{0, 200000000};
        if (waiting && syscall(SYS_io_getevents, context, 1, 1, &event, &bound) == 1) {
            waiting = false;
            const std::uint64_t now = monotonic_ns();
            const std::uint64_t elapsed = now - heart.last_ns.load(std::memory_order_relaxed);
            heart.last_ns.store(now, std::memory_order_relaxed);
            heart.healthy_ns.fetch_add(std::min(elapsed, credit_ns), std::memory_order_relaxed);
        }
        const timespec period{0, period_ns};
        if (!waiting)
            clock_nanosleep(CLOCK_MONOTONIC, 0, &period, nullptr);
    }
    io_destroy(context);
}

std::uint64_t WorkBeats::longest_silence_ns() const {
    const std::uint64_t now = monotonic_ns();
    std::uint64_t longest = 0;
    for (std::uint32_t cpu = 0; cpu < run_.cpus; ++cpu) {
        const std::uint64_t last = run_.work_beats[cpu].last_ns.load(std::memory_order_relaxed);
        longest = std::max(longest, now > last ? now - last : 0);
    }
    return longest;
}

} // namespace at
