// Invariant: a signal that does not kill interrupts waiting for events and nothing else, and a
// time-out is neither early nor lost.
//
// Racers: submitters with many synchronous transfers, cancellers and reapers, a signaller that
// sends each of them a signal with a handler (installed without SA_RESTART) wherever they are, and
// waiters that time io_pgetevents() on contexts of their own, with the signal blocked, or let in by
// the call's mask alone.
//
// Legal outcomes:
//   io_getevents               events; or -EINTR
//   io_pgetevents              0, not before its time-out; -EINTR when its mask lets the signal in;
//                              the thread's own mask is in force again
//   preadv, pwritev            their true result: the device moves memory of the caller, so a
//                              driver waits killably and a handler runs afterwards
//   io_submit, io_cancel,
//   io_destroy                 as without signals: they wait uninterruptibly or not at all

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

namespace {

constexpr int the_signal = SIGUSR1;
constexpr std::uint64_t ns_per_s = 1000000000;
thread_local volatile std::sig_atomic_t handled = 0;

void signal_loop(at::Race& race, at::Random random) {
    while (!race.stopped()) {
        const auto& boards = race.shared().threads;
        for (const at::ThreadBoard& board : boards) {
            const at::Role role = board.role.load(std::memory_order_acquire);
            if (role == at::Role::none || role == at::Role::main || random.below(2))
                continue;
            const auto call =
                static_cast<at::Call>(board.call.load(std::memory_order_relaxed) & 0xff);
            const auto tid = static_cast<pid_t>(board.tid.load(std::memory_order_relaxed));
            if (syscall(SYS_tgkill, getpid(), tid, the_signal) == 0 && call != at::Call::none)
                race.shared().count(at::Counter::signals_met);
        }
        race.pause_drawn(random, 50, 2000);
    }
}

void wait_once(at::Race& race, io_context_t context, bool let_in, at::Random& random) {
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
    const std::uint64_t began = at::monotonic_ns();
    long got = 0;
    {
        const at::Calling calling(at::Call::io_pgetevents);
        got = syscall(SYS_io_pgetevents, context, 1L, 1L, &event, &timeout, &mask);
        got = got < 0 ? -errno : got;
    }
    const std::uint64_t took = at::monotonic_ns() - began;
    const bool came = handled;
    sigset_t after;
    pthread_sigmask(SIG_SETMASK, nullptr, &after);
    at::SignalWait wait;
    wait.answer = got;
    wait.took_ns = took;
    wait.timeout_ns = timeout_ns;
    wait.let_in = let_in;
    wait.handled = came;
    wait.mask_kept = sigismember(&after, the_signal);
    for (const at::Finding& finding : at::judge_signal_wait(wait))
        race.shared().report(finding);
    race.shared().count(at::Counter::waits_timed);
}

void wait_loop(at::Race& race, at::Random random) {
    sigset_t blocked;
    sigemptyset(&blocked);
    sigaddset(&blocked, the_signal);
    pthread_sigmask(SIG_BLOCK, &blocked, nullptr);
    io_context_t context = nullptr;
    if (const int answer = io_setup(1, &context)) {
        race.harness_error("io_setup: " + at::errno_name(-answer));
        return;
    }
    while (!race.stopped())
        wait_once(race, context, random.below(2), random);
    const at::Calling calling(at::Call::io_destroy);
    io_destroy(context);
}

const at::Scenario scenario{
    "signal_timeout",
    "a signal interrupts waiting for events and nothing else; no time-out is early",
    at::common_knobs({{"requests", "4000"}, {"sync_ratio", "0.3"}, {"depth", "32"}}),
    {{"submitted", 1500}, {"sync_ios", 500}, {"signals_met", 500}, {"waits_timed", 200}},
    [](at::Race& race) {
        struct sigaction action {};
        action.sa_handler = [](int) { handled = 1; };
        sigaction(the_signal, &action, nullptr);
        race.start_submitters();
        race.start_cancellers();
        race.start_reapers();
        race.start_destroyers();
        race.start_disturbers(3, [&race](std::uint32_t index, at::Random random) {
            index ? wait_loop(race, random) : signal_loop(race, random);
        });
        race.until_contended();
    },
};

const at::Registration registered(scenario);

} // namespace
