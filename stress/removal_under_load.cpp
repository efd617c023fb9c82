// Invariant: a device may go at any moment.  Each request then in flight is answered once, later
// ones get -ENODEV, open files stay safe to use, and the module stays while one is open.
//
// Racers: submitters, cancellers and reapers; an opener of the node; a remover that unbinds the
// device through sysfs, or removes it by surprise first (debugfs `remove`), and binds it again;
// sleepers in poll(2), whom the removal must wake; one who waits in fsync(2) for reads of his own,
// and is told if the removal ended them; and an unloader that asks for the module's
// removal all the time.  Of the devices that go by surprise most are unbound once their open files
// say that they are gone, which the last interrupt has told the driver; some go while they are
// being stopped, or while somebody submits.  Before each binding that counts, others are made in
// which one allocation fails (fault/allocations.c), another one each time: whatever a probe had
// taken by then it gives back.  With lives=N and reload=1 the module is unloaded and loaded again
// after each life, and at the end it is loaded so too.
//
// Legal outcomes:
//   a request in flight        its true result, -ECANCELED if cancelled, -ETIMEDOUT or -ENODEV
//   a request to a device that
//   is gone                    -ENODEV, through files that were open before too; fsync(2) as well,
//                              and poll(2) says POLLHUP, to sleepers too
//   its debugfs files, held    -EIO
//   delete_module              -EWOULDBLOCK: fs/char_dev.c, chrdev_open() and misc_open() hold
//                              the owner of the file operations while a file is open
//   binding without memory     an error, or success where the core needs less
//   the device after binding   a new one: its memory holds other bytes

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

#include <fcntl.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/disturb/disturb.h"
#include "lib/disturb/own_reads.h"
#include "lib/driver_state.h"
#include "lib/modules.h"
#include "lib/oracles/calls.h"
#include "lib/race.h"
#include "lib/racer.h"
#include "lib/starving.h"

namespace {

constexpr std::uint64_t life_ns = 3000000000;
// What the kernel takes to unbind beside what the driver waits for: grace periods, above all on a
// kernel with lockdep.
constexpr std::uint64_t unbind_work_ns = 1500000000;
// Longer than a request may be left in a device that is gone (oracles/calls.h), at the rate of
// looks.
constexpr std::uint64_t left_ns = 70000000;
// How long it is waited for the moment at which a card is pulled.
constexpr std::uint64_t moment_bound_ns = 30000000;
// About as many as the driver core and the probe make.
constexpr std::uint32_t allocations_of_a_binding = 64;
constexpr std::uint32_t page_bytes = 4096;
constexpr char device[] = "zcdma.0";
constexpr char books[] = "/sys/kernel/debug/zcdma/zcdma0/";
constexpr char surprise[] = "/sys/kernel/debug/zcdma/zcdma0/remove";
constexpr char unbind[] = "/sys/bus/platform/drivers/zcdma/unbind";
constexpr char rebind[] = "/sys/bus/platform/drivers/zcdma/bind";

bool tell(at::Race& race, const char* path, const char* what) {
    const at::Calling calling(at::Call::removal);
    if (at::write_file(path, what))
        return true;
    race.harness_error(std::string(path) + ": " + std::strerror(errno));
    return false;
}

// What debugfs has of a device, open across its removal.
class HeldBooks {
public:
    HeldBooks() {
        for (const char* name : names)
            files_.emplace_back(
                open((std::string(books) + name).c_str(),
                     (std::strcmp(name, "remove") ? O_RDONLY : O_WRONLY) | O_CLOEXEC));
    }

    void ask_the_dead(at::Race& race) const {
        char text[64] = "1\n";
        for (std::size_t i = 0; i < files_.size(); ++i) {
            if (!files_[i])
                continue;
            const at::Calling calling(at::Call::removal);
            const bool writes = !std::strcmp(names[i], "remove");
            const ssize_t answer =
                writes ? write(files_[i].get(), text, 2) : read(files_[i].get(), text, sizeof text);
            if (const auto finding =
                    at::judge_books_of_removed(names[i], answer < 0 ? -errno : answer))
                race.shared().report(*finding);
        }
    }

private:
    static constexpr const char* names[] = {"books", "requests", "engine", "ring", "remove"};
    std::vector<at::Fd> files_;
};

// The old file is of a device that is gone for good.
void ask_the_dead(at::Race& race, int fd) {
    char byte = 0;
    const auto tell = [&](std::optional<at::Finding> finding) {
        if (finding)
            race.shared().report(*finding);
    };
    const auto ask = [&](at::Call of, const char* call, auto body) {
        std::int64_t answer = 0;
        {
            const at::Calling calling(of);
            answer = body();
        }
        tell(at::judge_call_of_removed(call, answer < 0 ? -errno : answer));
    };
    ask(at::Call::pread, "pread", [&] { return pread(fd, &byte, 1, 0); });
    ask(at::Call::pwrite, "pwrite", [&] { return pwrite(fd, &byte, 1, 0); });
    ask(at::Call::fsync, "fsync", [&] { return fsync(fd); });
    pollfd polled{fd, POLLIN, 0};
    {
        const at::Calling calling(at::Call::poll);
        poll(&polled, 1, 0);
    }
    tell(at::judge_poll_of_removed(polled.revents, 0));
}

// Who sleeps in poll(2) on a device is woken when it goes, at the latest by the unbinding's end.
class Sleepers {
public:
    // The device that is there now has been unbound.
    void removed(at::Race& race) {
        const std::uint32_t device = device_.load(std::memory_order_relaxed);
        Removal& removal = removals_[device % kept];
        removal.at_ns.store(at::monotonic_ns(), std::memory_order_relaxed);
        removal.healthy_ns.store(race.shared().healthy_ns(), std::memory_order_relaxed);
        device_.store(device + 1, std::memory_order_release);
    }

    void sleep_loop(at::Race& race, at::Random random) {
        while (!race.stopped()) {
            if (!race.blind() && random.below(2))
                await_removal(race);
            const std::uint32_t device = device_.load(std::memory_order_acquire);
            const at::Fd fd(fcntl(race.device_fd(0), F_DUPFD_CLOEXEC, 0));
            // Between an unbinding and the next binding it is the file of a dead device.
            if (!fd || device_.load(std::memory_order_acquire) != device) {
                race.pause_drawn(random, 100, 2000);
                continue;
            }
            sleep_once(race, fd.get(), device);
            race.pause_drawn(random, 10, 500);
        }
    }

private:
    static constexpr std::uint32_t kept = 64; // devices, far more than come and go in one sleep
    static constexpr std::uint64_t sleep_ms = 800;
    struct Removal {
        std::atomic<std::uint64_t> at_ns;
        std::atomic<std::uint64_t> healthy_ns;
    };

    // Until the device begins to go, if it does so soon: who falls asleep meanwhile may be missed.
    static void await_removal(at::Race& race) {
        const std::uint64_t until_ns = at::monotonic_ns() + sleep_ms * 1000000 / 4;
        while (!race.stopped() && !race.being_replaced() && at::monotonic_ns() < until_ns)
            race.pause(100000);
    }

    void sleep_once(at::Race& race, int fd, std::uint32_t device) {
        pollfd polled{fd, 0, 0}; // that it is gone, and nothing else
        // When its time is over it looks once more (fs/select.c, do_poll()).
        const std::uint64_t looks_ns = at::monotonic_ns() + sleep_ms * 1000000;
        {
            const at::Calling calling(at::Call::poll);
            poll(&polled, 1, sleep_ms);
        }
        const std::uint64_t now_ns = race.shared().healthy_ns();
        race.shared().count(at::Counter::polls);
        if (device_.load(std::memory_order_acquire) == device)
            return; // it is there, or its unbinding is not over
        const Removal& removal = removals_[device % kept];
        if (removal.at_ns.load(std::memory_order_relaxed) >= looks_ns)
            return;
        const std::uint64_t removed_ns = removal.healthy_ns.load(std::memory_order_relaxed);
        if (const auto finding = at::judge_poll_of_removed(
                polled.revents, now_ns > removed_ns ? now_ns - removed_ns : 0))
            race.shared().report(*finding);
    }

    std::atomic<std::uint32_t> device_{0}; // of how many that were unbound this is the next
    Removal removals_[kept] = {};
};

// Who waits in fsync(2) while the device goes is told so, if anything that it waited for was.
void sync_loop(at::Race& race, std::uint32_t index, at::Random random) {
    constexpr std::uint32_t most_reads = 2;
    constexpr std::uint32_t most_pages = 4;
    std::vector<std::byte> memory(std::size_t{most_reads} * most_pages * page_bytes);
    at::OwnReads reads(race, index, most_reads, most_pages);
    while (!race.stopped()) {
        const at::Fd fd(fcntl(race.device_fd(0), F_DUPFD_CLOEXEC, 0));
        reads.draw(memory.data(), random, fd.get());
        if (!fd || !reads.submit()) {
            race.pause_drawn(random, 100, 2000);
            continue;
        }
        int answer = 0;
        {
            const at::Calling calling(at::Call::fsync);
            answer = fsync(fd.get());
        }
        race.shared().count(at::Counter::fsyncs);
        if (!reads.await_all())
            return;
        for (const at::OwnReads::Read& read : reads.all())
            if (const auto finding = at::judge_fsynced(read.res, answer == 0))
                race.shared().report(*finding);
        race.pause_drawn(random, 10, 500);
    }
}

// Each allocation of an open fails once.
void open_without_memory(at::Race& race) {
    constexpr std::uint32_t most = 12;
    bool failed = true;
    for (std::uint32_t nth = 1; failed && nth <= most; ++nth) {
        const at::Starving starving(nth);
        if (!starving)
            return;
        const at::Calling calling(at::Call::open);
        const at::Fd opened(open(race.device_path().c_str(), O_RDWR | O_CLOEXEC));
        failed = starving.over();
    }
}

// In each binding one allocation fails, each time another one, spread evenly, so that few bindings
// take each way out of a probe.  Each that succeeds all the same is undone, so that the one that
// counts finds no device.  `tried`: bindings so far, of this life.
bool bind_without_memory(at::Race& race, at::Random& random, std::uint64_t& tried) {
    constexpr std::uint32_t most_in_a_row = 8; // each takes up to 0.15 s under emulation
    constexpr std::uint64_t stride = 23; // of no common divisor with the number of allocations
    const at::Fd binding(open(rebind, O_WRONLY | O_CLOEXEC));
    for (std::uint32_t i = random.below(most_in_a_row); binding && i > 0; --i) {
        const at::Starving starving(1 +
                                    static_cast<std::uint32_t>((race.seed() + tried++ * stride) %
                                                               allocations_of_a_binding));
        if (!starving)
            return true;
        ssize_t bound = 0;
        {
            const at::Calling calling(at::Call::removal);
            bound = pwrite(binding.get(), device, sizeof device - 1, 0);
        }
        if (starving.over())
            race.shared().count(at::Counter::binds_starved);
        if (bound <= 0)
            continue;
        open_without_memory(race);
        if (!tell(race, unbind, device))
            return false;
    }
    return true;
}

// The card is pulled: the last interrupt says so, whether or not anybody has a request in it.
void await_noticed(at::Race& race) {
    const std::uint64_t healthy_ns = race.shared().healthy_ns();
    while (!race.stopped()) {
        pollfd polled{race.device_fd(0), POLLIN, 0};
        const std::uint64_t waited_ns = race.shared().healthy_ns() - healthy_ns;
        {
            const at::Calling calling(at::Call::poll);
            poll(&polled, 1, 0);
        }
        if (polled.revents & POLLHUP)
            return;
        if (const auto finding = at::judge_unnoticed(waited_ns)) {
            race.shared().report(*finding);
            return;
        }
        race.pause(200000);
    }
}

// Until the driver is stopping the device, or has stopped it, if it comes to that soon.
void await_halt(at::Race& race) {
    const std::uint64_t until_ns = at::monotonic_ns() + moment_bound_ns;
    while (!race.stopped() && at::monotonic_ns() < until_ns) {
        const auto ring = at::ring_now();
        if (!ring || ring->halted)
            return;
    }
}

bool replace_device(at::Race& race, Sleepers& sleepers, at::Random& random, std::uint64_t& tried) {
    at::SharedRun& run = race.shared();
    const bool loaded = race.requests_in_flight();
    race.begin_replacement();
    run.count(at::Counter::removals);
    if (random.below(2)) {
        // One that was waited for until it was idle goes so.
        const std::uint32_t moment = race.blind() || !loaded ? 0 : random.below(4);
        if (moment == 1)
            await_halt(race);
        else if (moment > 1)
            race.until_somebody_is_in(at::Call::io_submit, moment_bound_ns);
        if (!tell(race, surprise, "1\n"))
            return false;
        if (random.below(4)) {
            await_noticed(race);
            if (random.below(2))
                race.pause(left_ns);
        } else {
            race.pause_drawn(random, 1, 3000);
        }
    } else if (loaded && !race.blind() && random.below(2)) {
        await_halt(race); // removal halts it too
    }
    const HeldBooks held;
    bool unbound = false;
    race.within_bounds("unbind", unbind_work_ns, [&] { unbound = tell(race, unbind, device); });
    if (!unbound)
        return false;
    sleepers.removed(race);
    held.ask_the_dead(race);
    if (loaded)
        run.count(at::Counter::removed_inflight);
    const int fd = race.device_fd(0);
    const at::Fd old(fcntl(fd, F_DUPFD_CLOEXEC, 0));
    ask_the_dead(race, fd);
    race.pause_drawn(random, 1, 2000);
    if (!bind_without_memory(race, random, tried))
        return false;
    if (!tell(race, rebind, device) || !at::wait_for_node(race.device_path()))
        return false;
    const at::Fd fresh(open(race.device_path().c_str(), O_RDWR | O_CLOEXEC));
    race.begin_file_replacement();
    if (!fresh || dup3(fresh.get(), fd, O_CLOEXEC) < 0) {
        race.harness_error(std::string("open after bind: ") + std::strerror(errno));
        return false;
    }
    race.end_replacement();
    ask_the_dead(race, old.get());
    return true;
}

void remove_loop(at::Race& race, Sleepers& sleepers, at::Random random) {
    std::uint64_t tried = 0;
    while (!race.stopped()) {
        race.pause_drawn(random, 8000, 80000); // a device that has just come has no requests
        // Two in five are of a device that has nothing to do, where there are lulls.
        const bool idle = random.below(5) < 2;
        for (int i = race.blind() ? 50 : 0;
             i < 50 && !race.stopped() && race.requests_in_flight() == idle; ++i)
            race.pause(200000);
        if (!race.stopped() && !replace_device(race, sleepers, random, tried))
            return;
    }
}

void unload_loop(at::Race& race, at::Random random) {
    while (!race.stopped()) {
        race.pause_drawn(random, 100, 20000);
        long answer = 0;
        {
            const at::Calling calling(at::Call::delete_module);
            answer = syscall(SYS_delete_module, "zcdma", O_NONBLOCK) ? -errno : 0;
        }
        if (const auto finding = at::judge_unload_in_use(static_cast<int>(answer))) {
            race.shared().report(*finding);
            return;
        }
        race.shared().count(at::Counter::unloads_refused);
    }
}

const at::Scenario scenario{
    "removal_under_load",
    "a device may go at any moment: each request is answered once, and open files stay safe",
    at::common_knobs({{"requests", "1"},
                      {"lives", "1000"},
                      {"reload", "1"},
                      {"contexts", "2"},
                      {"depth", "32"},
                      {"sync_ratio", "0.1"},
                      {"onlookers", "1"}}),
    {{"removed_inflight", 10}, {"unloads_refused", 20}, {"reloads", 3}},
    [](at::Race& race) {
        // The probe that it needs is placed before there are racers: a function that all of them
        // run through is patched (fault/allocations.c).
        if (const at::Starving ready(1U << 30); ready)
            ready.over();
        race.expect_removal();
        race.start_submitters();
        race.start_cancellers();
        race.start_reapers();
        race.start_destroyers();
        race.start_onlookers();
        at::start_openers(race, 1);
        at::start_pollers(race, 1);
        // Until the race's threads have ended.
        static Sleepers sleepers;
        race.start_disturbers(4, [&race](std::uint32_t index, at::Random random) {
            switch (index) {
            case 0:
                return remove_loop(race, sleepers, random);
            case 1:
                return unload_loop(race, random);
            case 2:
                return sync_loop(race, index, random);
            default:
                return sleepers.sleep_loop(race, random);
            }
        });
        // A life is some replacements long, and ends in order: then its module is unloaded.  One
        // of 3 s that began at the end of a cell of 2 s would take longer than all others of it.
        at::SharedRun& run = race.shared();
        at::Random random(race.seed(), 0, 0);
        const std::uint64_t enough = run.value(at::Counter::removals) + 1 + random.below(8);
        const std::uint64_t until = std::min(at::monotonic_ns() + life_ns, run.lives_until_ns);
        while (!race.stopped() && run.value(at::Counter::removals) < enough &&
               at::monotonic_ns() < until)
            race.pause(1000000);
    },
};

const at::Registration registered(scenario);

} // namespace
