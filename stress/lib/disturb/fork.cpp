// Forks: children that look at their memory twice, scribble over it, call with the parent's
// context, read from the inherited file, and end by exit or execve(2); others are spawned by
// vfork(2) and execve(2).
#include "lib/disturb/disturb.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>

#include <libaio.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

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

constexpr std::uint32_t looked_at_bytes = 16384;

[[noreturn]] void child(Race& race, Random& random) {
    // Of large buffers a stretch: whoever looks for long keeps others from the CPU.
    const std::uint32_t stride = race.geometry().buffer_stride;
    const std::uint32_t bytes = std::min(stride, looked_at_bytes);
    const std::uint32_t from = random.below(stride - bytes + 1) / 8 * 8;
    const std::uint32_t first = random.below(race.geometry().slots);
    constexpr std::uint32_t looked_at = 8;
    std::uint64_t before[looked_at];
    auto place = [&](std::uint32_t i) {
        return race.buffer((first + i) % race.geometry().slots) + from;
    };
    for (std::uint32_t i = 0; i < looked_at; ++i)
        before[i] = checksum(place(i), bytes);
    usleep(random.logarithmic(100, 3000));
    for (std::uint32_t i = 0; i < looked_at; ++i)
        if (const auto finding = judge_child_memory(before[i], checksum(place(i), bytes),
                                                    (first + i) % race.geometry().slots)) {
            race.shared().count(Counter::late_writes);
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
    if (const int answer = move_inherited_ring(id); answer != -EFAULT)
        check_context(race, "mremap", answer);
    race.shared().count(Counter::outside);
    // A request of its own to the parent's file, in memory of its own.
    const ssize_t got = pread(race.device_fd(0), place(0), 512, 0);
    if (const auto finding = judge_child_read(got < 0 ? -errno : got))
        race.shared().report(*finding);
    if (random.below(2)) {
        char name[] = "aiotorture-agent";
        char verb[] = "leave";
        char* const arguments[] = {name, verb, nullptr};
        execv("/proc/self/exe", arguments);
    }
    _exit(0);
}

void await(Race& race, pid_t pid) {
    const Calling calling(Call::waitpid);
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (WIFSIGNALED(status) && !race.stopped())
        race.harness_error("a forked child ended by signal " + std::to_string(WTERMSIG(status)));
}

void fork_loop(Race& race, Random random) {
    while (!race.stopped()) {
        race.pause_drawn(random, 1, 3000);
        const bool loaded = race.requests_in_flight();
        pid_t pid = 0;
        if (random.below(5) == 0) {
            char name[] = "aiotorture-agent";
            char verb[] = "leave";
            char* const arguments[] = {name, verb, nullptr};
            const Calling calling(Call::fork);
            if (posix_spawn(&pid, "/proc/self/exe", nullptr, nullptr, arguments, nullptr))
                pid = -1;
        } else {
            const Calling calling(Call::fork);
            pid = fork();
            if (pid == 0)
                child(race, random);
        }
        if (pid < 0) {
            race.harness_error(std::string("fork: ") + std::strerror(errno));
            return;
        }
        race.shared().count(Counter::forks);
        if (loaded)
            race.disturbed(Counter::forked_inflight);
        await(race, pid);
    }
}

} // namespace

void start_forkers(Race& race, std::uint32_t threads) {
    race.children_look();
    race.start_disturbers(threads,
                          [&race](std::uint32_t, Random random) { fork_loop(race, random); });
}

} // namespace at
