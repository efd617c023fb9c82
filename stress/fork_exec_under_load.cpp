// Invariant: a fork neither takes a request's pages from its process nor gives them to the child:
// what the device writes lands in the parent's memory and in no other.
//
// Racers: submitters, cancellers and reapers on private memory, and forkers.  fork(2) makes all
// memory copy-on-write, but pages that may be pinned for DMA are copied for the child at once
// (mm/memory.c, copy_present_pte(), page_needs_cow_for_dma()), so the parent keeps those that the
// device knows.  Children look at their memory twice, scribble over it, call with the parent's
// context, move its ring, read from the inherited file, and end by exit or execve(2); others are
// spawned by vfork(2) and execve(2).
//
// Legal outcomes:
//   the parent's requests      as if there were no fork
//   the child's memory         changes by the child's hand alone
//   io_getevents, io_cancel,
//   io_destroy in the child    -EINVAL: contexts belong to the mm that made them (fs/aio.c,
//                              lookup_ioctx(), mm_struct.ioctx_table)
//   mremap of the ring in it   -EINVAL for the same reason (aio_ring_mremap()), -EFAULT where the
//                              ring was not mapped at the fork

#include <cerrno>
#include <csignal>
#include <cstring>

#include <libaio.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/oracles/calls.h"
#include "lib/race.h"
#include "lib/racer.h"
#include "lib/ring_arena.h"

namespace {

std::uint64_t checksum(const std::byte* bytes, std::size_t length) {
    std::uint64_t sum = 0xcbf29ce484222325;
    for (std::size_t i = 0; i + 8 <= length; i += 8) {
        std::uint64_t word;
        std::memcpy(&word, bytes + i, 8);
        sum = (sum ^ word) * 0x100000001b3;
    }
    return sum;
}

void check_context(at::Race& race, const char* call, long answer) {
    if (const auto finding = at::judge_child_call(call, answer))
        race.shared().report(*finding);
}

[[noreturn]] void child(at::Race& race, at::Random& random) {
    const std::size_t bytes = race.geometry().buffer_stride;
    const std::uint32_t first = random.below(race.geometry().slots);
    constexpr std::uint32_t looked_at = 8;
    std::uint64_t before[looked_at];
    auto place = [&](std::uint32_t i) { return race.buffer((first + i) % race.geometry().slots); };
    for (std::uint32_t i = 0; i < looked_at; ++i)
        before[i] = checksum(place(i), bytes);
    usleep(random.logarithmic(100, 3000));
    for (std::uint32_t i = 0; i < looked_at; ++i)
        if (const auto finding = at::judge_child_memory(before[i], checksum(place(i), bytes),
                                                        (first + i) % race.geometry().slots)) {
            race.shared().count(at::Counter::late_writes);
            race.shared().report(*finding);
            break;
        }
    for (std::uint32_t i = 0; i < looked_at; ++i)
        std::memset(place(i), 0x5a, bytes);
    const auto id = reinterpret_cast<io_context_t>(
        race.shared().contexts[0].id.load(std::memory_order_relaxed));
    timespec none{0, 0};
    io_event event;
    iocb cb{};
    check_context(race, "io_getevents",
                  syscall(SYS_io_getevents, id, 0L, 1L, &event, &none) < 0 ? -errno : 0);
    check_context(race, "io_cancel", io_cancel(id, &cb, &event));
    check_context(race, "io_destroy", io_destroy(id));
    if (const int answer = at::move_inherited_ring(id); answer != -EFAULT)
        check_context(race, "mremap", answer);
    race.shared().count(at::Counter::outside);
    // A request of its own to the parent's file, in memory of its own.
    const ssize_t got = pread(race.device_fd(0), place(0), 512, 0);
    if (const auto finding = at::judge_child_read(got < 0 ? -errno : got))
        race.shared().report(*finding);
    if (random.below(2)) {
        char name[] = "aiotorture-agent";
        char verb[] = "leave";
        char* const arguments[] = {name, verb, nullptr};
        execv("/proc/self/exe", arguments);
    }
    _exit(0);
}

void await(at::Race& race, pid_t pid) {
    const at::Calling calling(at::Call::waitpid);
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (WIFSIGNALED(status) && !race.stopped())
        race.harness_error("a forked child ended by signal " + std::to_string(WTERMSIG(status)));
}

void fork_loop(at::Race& race, at::Random random) {
    while (!race.stopped()) {
        race.pause_drawn(random, 1, 3000);
        const bool loaded = race.requests_in_flight();
        pid_t pid = 0;
        if (random.below(5) == 0) {
            char name[] = "aiotorture-agent";
            char verb[] = "leave";
            char* const arguments[] = {name, verb, nullptr};
            const at::Calling calling(at::Call::fork);
            if (posix_spawn(&pid, "/proc/self/exe", nullptr, nullptr, arguments, nullptr))
                pid = -1;
        } else {
            const at::Calling calling(at::Call::fork);
            pid = fork();
            if (pid == 0)
                child(race, random);
        }
        if (pid < 0) {
            race.harness_error(std::string("fork: ") + std::strerror(errno));
            return;
        }
        race.shared().count(at::Counter::forks);
        if (loaded)
            race.shared().count(at::Counter::forked_inflight);
        await(race, pid);
    }
}

const at::Scenario scenario{
    "fork_exec_under_load",
    "a fork neither takes a request's pages from its process nor gives them to the child",
    at::common_knobs({{"requests", "4000"}, {"read_ratio", "0.8"}, {"depth", "32"}}),
    {{"submitted", 1500}, {"forked_inflight", 30}},
    [](at::Race& race) {
        race.use_private_buffers();
        race.start_submitters();
        race.start_cancellers();
        race.start_reapers();
        race.start_destroyers();
        race.start_disturbers(
            1, [&race](std::uint32_t, at::Random random) { fork_loop(race, random); });
        race.until_contended();
    },
};

const at::Registration registered(scenario);

} // namespace
