// Sleepers on the device's wait queues that come and go while requests end: what they are answered
// is judged, how long they slept is not (a race's requests keep the device busy; lulls judge that,
// and the driver tells whether anybody was not woken, ledger/ring/unwoken).
#include "lib/disturb/disturb.h"

#include <poll.h>
#include <sys/epoll.h>

#include "lib/oracles/calls.h"
#include "lib/race.h"
#include "lib/racer.h"

namespace at {

namespace {

constexpr short wanted[] = {POLLIN, POLLOUT, POLLIN | POLLOUT, 0};

void judge(Race& race, short asked, short answered) {
    if (const auto finding = judge_revents(asked, answered, race.permitted().removal))
        race.shared().report(*finding);
}

void poll_once(Race& race, Random& random) {
    pollfd polled{race.device_fd(0), wanted[random.below(4)], 0};
    const timespec timeout{0, static_cast<long>(random.logarithmic(1, 16000)) * 1000};
    int answer = 0;
    {
        const Calling calling(Call::poll);
        answer = ppoll(&polled, 1, &timeout, nullptr);
    }
    if (answer > 0)
        judge(race, polled.events, polled.revents);
}

// Its entry sits in the queue until the set is closed, and each wake-up calls it.
void epoll_some(Race& race, Random& random) {
    const Fd set(epoll_create1(EPOLL_CLOEXEC));
    epoll_event event{};
    event.events = EPOLLIN | EPOLLOUT | (random.below(2) ? EPOLLET : 0U);
    const auto asked = static_cast<short>(event.events & (EPOLLIN | EPOLLOUT));
    // The file may be replaced while it is added.
    if (!set || epoll_ctl(set.get(), EPOLL_CTL_ADD, race.device_fd(0), &event))
        return;
    for (std::uint32_t i = 1 + random.below(8); i > 0 && !race.stopped(); --i) {
        epoll_event got{};
        int answer = 0;
        {
            const Calling calling(Call::poll);
            answer = epoll_wait(set.get(), &got, 1, static_cast<int>(random.below(3)));
        }
        if (answer > 0)
            judge(race, asked, static_cast<short>(got.events));
    }
}

void poll_loop(Race& race, Random random) {
    while (!race.stopped()) {
        const bool loaded = race.requests_in_flight();
        if (random.below(3))
            poll_once(race, random);
        else
            epoll_some(race, random);
        if (loaded)
            race.disturbed(Counter::polled_inflight);
        race.pause_drawn(random, 10, 2000);
    }
}

} // namespace

void start_pollers(Race& race, std::uint32_t threads) {
    race.start_disturbers(threads,
                          [&race](std::uint32_t, Random random) { poll_loop(race, random); });
}

} // namespace at
