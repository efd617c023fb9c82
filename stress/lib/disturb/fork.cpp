// Forks.  The process of the race forks beside its requests; children look at their memory twice,
// scribble over it, call with the parent's context, read from the inherited file, and end by exit
// or execve(2); others are spawned by vfork(2) and execve(2).
//
// Such a fork copies page tables for so long that the device is done with most of what flew before.
// So a helper, a process with little memory, forks with long reads of its own in flight, and writes
// to their pages at once: one that it shares with its child is copied for it then, and the device's
// bytes go to the child's.
//
//   helper     submit ── fork ── write to each page ──── await ── arrived?
//   device         └ DMA ─────────────────────────────── ┘
//   child                └ look ──── sleep ──── look ──┘
#include "lib/disturb/disturb.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <vector>

#include <libaio.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/disturb/children.h"
#include "lib/disturb/own_reads.h"
#include "lib/oracles/calls.h"
#include "lib/pattern.h"
#include "lib/race.h"
#include "lib/racer.h"
#include "lib/ring_arena.h"

namespace at {

namespace {

void check_context(Race& race, const char* call, long answer) {
    if (const auto finding = judge_child_call(call, answer))
        race.shared().report(*finding);
}

constexpr std::uint32_t page_bytes = 4096;
constexpr std::uint32_t most_looked_at = 8;
constexpr std::uint32_t most_bytes = 16384; // whoever looks for long keeps others from the CPU

// Of the forker's own, long enough that a fork is over before the device is.
constexpr std::uint32_t own_reads = 24;
constexpr std::uint32_t own_pages = 16; // nearly every ring takes them at once
constexpr int helpers_nice = -15;       // it must be done before the device is
constexpr std::size_t own_bytes = std::size_t{own_reads} * own_pages * page_bytes;

class PrivatePages {
public:
    PrivatePages()
        : start_(mmap(nullptr, own_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
                      0)) {
        if (start_ == MAP_FAILED)
            throw_errno("mmap of private pages");
    }
    ~PrivatePages() { munmap(start_, own_bytes); }
    PrivatePages(const PrivatePages&) = delete;
    PrivatePages& operator=(const PrivatePages&) = delete;
    std::byte* start() const { return static_cast<std::byte*>(start_); }

private:
    void* const start_;
};

struct Look {
    std::uint32_t slot;
    std::byte* start;
    std::uint32_t bytes;
    std::uint64_t before;
};

// Buffers that the device is going to write to, or any.
std::vector<Look> places(Race& race, Random& random) {
    std::vector<Look> all;
    if (!race.buffers_are_private())
        return all;
    const std::uint32_t stride = race.geometry().buffer_stride;
    for (const std::uint32_t slot : race.reads_not_begun(most_looked_at)) {
        const std::uint32_t from =
            race.shared().slots[slot].segment[0].at / page_bytes * page_bytes;
        if (from < stride) // the slot may have been drawn anew
            all.push_back({slot, race.buffer(slot) + from, std::min(stride - from, most_bytes), 0});
    }
    while (all.size() < most_looked_at) {
        const std::uint32_t slot = random.below(race.geometry().slots);
        const std::uint32_t bytes = std::min(stride, most_bytes);
        const std::uint32_t from = random.below(stride - bytes + 1) / page_bytes * page_bytes;
        all.push_back({slot, race.buffer(slot) + from, bytes, 0});
    }
    return all;
}

void look_twice(Race& race, std::vector<Look>& looks, std::uint64_t sleep_us) {
    for (Look& look : looks)
        look.before = checksum(look.start, look.bytes);
    usleep(static_cast<useconds_t>(sleep_us));
    for (const Look& look : looks)
        if (const auto finding =
                judge_child_memory(look.before, checksum(look.start, look.bytes), look.slot)) {
            race.shared().count(Counter::late_writes);
            race.shared().report(*finding);
            break;
        }
}

[[noreturn]] void child(Race& race, Random& random) {
    std::vector<Look> looks = places(race, random);
    look_twice(race, looks, random.logarithmic(100, 3000));
    for (const Look& look : looks)
        std::memset(look.start, 0x5a, look.bytes);
    const auto id = reinterpret_cast<io_context_t>(
        race.shared().contexts[0].id.load(std::memory_order_relaxed));
    timespec none{0, 0};
    io_event event;
    iocb cb{};
    check_context(race, "io_getevents",
                  syscall(SYS_io_getevents, id, 0L, 1L, &event, &none) < 0 ? -errno : 0);
    check_context(race, "io_cancel", io_cancel(id, &cb, &event));
    check_context(race, "io_destroy", io_destroy(id));
    if (const int answer = move_inherited_ring(id); answer != -EFAULT)
        check_context(race, "mremap", answer);
    race.shared().count(Counter::outside);
    // A request of its own to the parent's file, in memory of its own.
    char bytes[512];
    const ssize_t got = pread(race.device_fd(0), bytes, sizeof bytes, 0);
    if (const auto finding = judge_child_read(got < 0 ? -errno : got))
        race.shared().report(*finding);
    if (random.below(4) == 0) {
        char name[] = "aiotorture-agent";
        char verb[] = "leave";
        char* const arguments[] = {name, verb, nullptr};
        execv("/proc/self/exe", arguments);
    }
    _exit(0);
}

void await(Race& race, pid_t pid) {
    const int status = await_child(pid);
    if (WIFSIGNALED(status) && !race.stopped())
        race.harness_error("a forked child ended by signal " + std::to_string(WTERMSIG(status)));
}

pid_t spawn() {
    char name[] = "aiotorture-agent";
    char verb[] = "leave";
    char* const arguments[] = {name, verb, nullptr};
    pid_t pid = 0;
    const Calling calling(Call::fork);
    return posix_spawn(&pid, "/proc/self/exe", nullptr, nullptr, arguments, nullptr) ? -1 : pid;
}

void fork_loop(Race& race, Random random) {
    while (!race.stopped()) {
        race.pause_drawn(random, 1, 3000);
        const bool loaded = race.requests_in_flight();
        pid_t pid = 0;
        if (random.below(8) == 0) {
            pid = spawn();
        } else {
            const Calling calling(Call::fork);
            pid = fork();
            if (pid == 0)
                child(race, random);
        }
        if (pid < 0)
            return race.harness_error(std::string("fork: ") + std::strerror(errno));
        race.shared().count(Counter::forks);
        if (loaded)
            race.disturbed(Counter::forked_inflight);
        await(race, pid);
    }
}

// --- the helper ----------------------------------------------------------------------------------

// A byte of each page, and none changes: the device may be writing there.
void write_to_pages(std::byte* memory) {
    for (std::size_t at = 0; at < own_bytes; at += page_bytes)
        __atomic_fetch_or(reinterpret_cast<unsigned char*>(memory + at), 0, __ATOMIC_RELAXED);
}

[[noreturn]] void child_of_helper(Race& race, const OwnReads& own, std::byte* memory,
                                  Random& random) {
    std::vector<Look> looks;
    // The device comes to the last pages last.
    for (const OwnReads::Read& read : own.all()) {
        const std::uint32_t bytes = std::min(static_cast<std::uint32_t>(read.bytes), most_bytes);
        looks.push_back({max_slots, memory + read.from + read.bytes - bytes, bytes, 0});
    }
    look_twice(race, looks, random.logarithmic(50, 1000));
    _exit(0);
}

void help_once(Race& race, OwnReads& own, std::byte* memory, Random& random) {
    own.draw(memory, random);
    if (!own.submit())
        return race.pause_drawn(random, 100, 5000);
    pid_t pid = 0;
    {
        const Calling calling(Call::fork);
        pid = fork();
        if (pid == 0)
            child_of_helper(race, own, memory, random);
    }
    write_to_pages(memory);
    if (pid < 0)
        return race.harness_error(std::string("fork: ") + std::strerror(errno));
    race.shared().count(Counter::forks);
    race.disturbed(Counter::forked_inflight);
    const bool all = own.await_all();
    await(race, pid);
    if (all)
        own.judge_arrival(memory);
}

void helper(Race& race, Random& random) {
    setpriority(PRIO_PROCESS, 0, helpers_nice);
    if (race.buffers_are_private())
        munmap(race.buffer(0), race.geometry().buffers_bytes());
    try {
        const PrivatePages memory;
        OwnReads own(race, 0, own_reads, own_pages);
        while (!race.stopped()) {
            race.pause_drawn(random, 1, 3000);
            help_once(race, own, memory.start(), random);
        }
    } catch (const std::exception& error) {
        race.harness_error(std::string("forker: ") + error.what());
    }
}

} // namespace

void start_forkers(Race& race, std::uint32_t threads) {
    race.expect_children();
    race.start_disturbers(1 + threads, [&race](std::uint32_t index, Random random) {
        index ? fork_loop(race, random)
              : keep_process(race, random, "a forked child",
                             [&race](Random& own) { helper(race, own); });
    });
}

} // namespace at
