// Files of the device beside the submitters': each carries some requests, synchronous ones or some
// at once of which a few are cancelled, and is closed the moment that they are answered, while the
// driver still holds what it must not (the release waits for the file's last request, and the
// ledger of the race knows none of them).  A signal comes in the midst of some closes, whose answer
// nobody takes for more than that the descriptor is gone.  A node that comes anew is opened and
// used at once: whatever a probe does behind the node's registration is too late.
#include "lib/disturb/disturb.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <ctime>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

#include "lib/disturb/own_reads.h"
#include "lib/driver_state.h"
#include "lib/oracles/calls.h"
#include "lib/oracles/leak.h"
#include "lib/race.h"
#include "lib/racer.h"

namespace at {

namespace {

constexpr std::uint32_t most_requests = 4;
constexpr std::uint32_t most_pages = 4;
constexpr std::uint32_t page_bytes = 4096;

constexpr int late_signal = SIGUSR2;
thread_local volatile std::sig_atomic_t signalled = 0;

// One signal for the thread that made it, some time from now.
class LateSignal {
public:
    LateSignal() {
        sigevent event{};
        event.sigev_notify = SIGEV_THREAD_ID;
        event.sigev_signo = late_signal;
        event._sigev_un._tid = gettid();
        made_ = timer_create(CLOCK_MONOTONIC, &event, &timer_) == 0;
    }
    ~LateSignal() {
        if (made_)
            timer_delete(timer_);
    }
    LateSignal(const LateSignal&) = delete;
    LateSignal& operator=(const LateSignal&) = delete;

    // 0: none, and none that was to come.
    void in_us(std::uint32_t us) {
        signalled = 0;
        const itimerspec when{{}, {0, static_cast<long>(us) * 1000}};
        if (made_)
            timer_settime(timer_, 0, &when, nullptr);
    }

private:
    timer_t timer_{};
    bool made_ = false;
};

void read_some(Race& race, int fd, std::vector<std::byte>& memory, Random& random) {
    for (std::uint32_t i = random.below(most_requests); i > 0 && !race.stopped(); --i) {
        race.shared().count(Counter::outside);
        ssize_t got = 0;
        int error = 0;
        {
            const Calling calling(Call::pread);
            got = pread(fd, memory.data(), random.logarithmic(1, race.geometry().max_length), 0);
            error = got < 0 ? errno : 0;
        }
        if (race.bytes_stored())
            if (const auto finding = judge_read_at_start(got < 0 ? -error : got))
                race.shared().report(*finding);
        if (error == ENODEV)
            break;
    }
}

// An asynchronous request holds its file beyond its event (fs/aio.c, iocb_destroy()): of others
// alone this thread's close() is the file's last.
void look_for_left(Race& race, const RequestsLook& look) {
    for (const DriverRequest& request : look.now().value_or(std::vector<DriverRequest>{}))
        if (request.sync && request.thread == gettid())
            race.shared().report(left_by_close(request));
}

void read_and_cancel(int fd, OwnReads& reads, std::vector<std::byte>& memory, Random& random) {
    reads.draw(memory.data(), random, fd);
    if (!reads.submit())
        return;
    reads.cancel_some(random);
    if (reads.await_all())
        reads.judge_arrival(memory.data());
}

void open_loop(Race& race, std::uint32_t index, Random random) {
    std::vector<std::byte> memory(std::max<std::size_t>(
        race.geometry().max_length, std::size_t{most_requests} * most_pages * page_bytes));
    OwnReads reads(race, index, most_requests, most_pages);
    LateSignal late;
    bool absent = false;
    while (!race.stopped()) {
        // Whoever waits for a device opens it the moment that its node is there.
        race.pause_drawn(random, 10, absent ? 100 : 4000);
        const bool loaded = race.requests_in_flight();
        Fd fd;
        {
            const Calling calling(Call::open);
            fd = Fd(open(race.device_path().c_str(), O_RDWR | O_CLOEXEC));
        }
        absent = !fd;
        if (!fd) {
            const int error = errno;
            if (race.permitted().removal)
                continue; // it may come back
            if (const auto finding = judge_file_call("open", error))
                race.shared().report(*finding);
            continue;
        }
        const bool synchronous = random.below(2);
        if (synchronous)
            read_some(race, fd.get(), memory, random);
        else
            read_and_cancel(fd.get(), reads, memory, random);
        const RequestsLook look;
        late.in_us(random.below(2) ? random.logarithmic(20, 1000) : 0);
        race.within_wake_up("close", [&] {
            const Calling calling(Call::close);
            fd.reset();
        });
        if (signalled)
            race.shared().count(Counter::signals_met);
        late.in_us(0);
        if (synchronous)
            look_for_left(race, look);
        if (loaded)
            race.disturbed(Counter::opened_inflight);
    }
}

} // namespace

void start_openers(Race& race, std::uint32_t threads) {
    struct sigaction action {};
    action.sa_handler = [](int) { signalled = 1; };
    sigaction(late_signal, &action, nullptr);
    race.start_disturbers(
        threads, [&race](std::uint32_t index, Random random) { open_loop(race, index, random); });
}

} // namespace at
