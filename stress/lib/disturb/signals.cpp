// Signals: each racer gets one with a handler (installed without SA_RESTART) wherever it is, and
// waiters time io_pgetevents() on contexts of their own, with the signal blocked, or let in by the
// call's mask alone.
#include "lib/disturb/disturb.h"

#include <cerrno>
#include <csignal>
#include <cstring>

#include <libaio.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/oracles/calls.h"
#include "lib/race.h"
#include "lib/racer.h"

namespace at {

namespace {

constexpr int the_signal = SIGUSR1;
constexpr std::uint64_t ns_per_s = 1000000000;
thread_local volatile std::sig_atomic_t handled = 0;

void signal_loop(Race& race, Random random) {
    while (!race.stopped()) {
        const auto& boards = race.shared().threads;
        for (const ThreadBoard& board : boards) {
            const Role role = board.role.load(std::memory_order_acquire);
            if (role == Role::none || role == Role::main || random.below(2))
                continue;
            const auto call = static_cast<Call>(board.call.load(std::memory_order_relaxed) & 0xff);
            const auto tid = static_cast<pid_t>(board.tid.load(std::memory_order_relaxed));
            if (syscall(SYS_tgkill, getpid(), tid, the_signal) == 0 && call != Call::none)
                race.disturbed(Counter::signals_met);
        }
        race.pause_drawn(random, 50, 2000);
    }
}

void wait_once(Race& race, io_context_t context, bool let_in, Random& random) {
    const std::uint64_t timeout_ns = random.logarithmic(1, 8000) * std::uint64_t{1000};
    timespec timeout{0, static_cast<long>(timeout_ns)};
    sigset_t inside;
    sigemptyset(&inside);
    if (!let_in)
        sigaddset(&inside, the_signal);
    // struct __aio_sigset of fs/aio.c
    struct {
        const sigset_t* mask;
        std::size_t bytes;
    } mask{&inside, 8};
    io_event event;
    handled = 0;
    const std::uint64_t began = monotonic_ns();
    long got = 0;
    {
        const Calling calling(Call::io_pgetevents);
        got = syscall(SYS_io_pgetevents, context, 1L, 1L, &event, &timeout, &mask);
        got = got < 0 ? -errno : got;
    }
    const std::uint64_t took = monotonic_ns() - began;
    const bool came = handled;
    sigset_t after;
    pthread_sigmask(SIG_SETMASK, nullptr, &after);
    SignalWait wait;
    wait.answer = got;
    wait.took_ns = took;
    wait.timeout_ns = timeout_ns;
    wait.let_in = let_in;
    wait.handled = came;
    wait.mask_kept = sigismember(&after, the_signal);
    for (const Finding& finding : judge_signal_wait(wait))
        race.shared().report(finding);
    race.shared().count(Counter::waits_timed);
}

void wait_loop(Race& race, Random random) {
    sigset_t blocked;
    sigemptyset(&blocked);
    sigaddset(&blocked, the_signal);
    pthread_sigmask(SIG_BLOCK, &blocked, nullptr);
    io_context_t context = nullptr;
    if (const int answer = io_setup(1, &context)) {
        race.harness_error("io_setup: " + errno_name(-answer));
        return;
    }
    while (!race.stopped())
        wait_once(race, context, random.below(2), random);
    const Calling calling(Call::io_destroy);
    io_destroy(context);
}

} // namespace

void start_signals(Race& race, std::uint32_t waiters) {
    struct sigaction action {};
    action.sa_handler = [](int) { handled = 1; };
    sigaction(the_signal, &action, nullptr);
    race.start_disturbers(1 + waiters, [&race](std::uint32_t index, Random random) {
        index ? wait_loop(race, random) : signal_loop(race, random);
    });
}

} // namespace at
