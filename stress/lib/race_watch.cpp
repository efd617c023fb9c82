// Another look, beside a race: at who sleeps in poll(2) and fsync(2), at what the driver keeps, and
// at whom it lets wait.
#include "lib/race_parts.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include <poll.h>

#include "lib/driver_state.h"
#include "lib/futex.h"
#include "lib/oracles/calls.h"
#include "lib/oracles/leak.h"
#include "lib/oracles/ring.h"

namespace at {

namespace {

bool is_ready(const PollSleeper::Seen& sleeper) {
    pollfd look{sleeper.fd, sleeper.events, 0};
    return poll(&look, 1, 0) > 0 && (look.revents & look.events);
}

} // namespace

// Looks at those who sleep in fsync(2).  On a device that others keep busy a wake-up that comes too
// late, or an end that moves, does not last for as long as a request may take.
class Race::FsyncWatch {
public:
    // Of one device, whose requests are those of all.
    explicit FsyncWatch(Race& race)
        : race_(race), offered_(race.geometry_.devices == 1 && requests_now()) {}

    // True while there is one.
    bool look() {
        if (!offered_)
            return false;
        sleeps_.resize(std::min(race_.boards_used_.load(std::memory_order_relaxed), max_threads));
        bool any = false;
        for (std::size_t i = 0; i < sleeps_.size(); ++i)
            any |= look_at(race_.shared_.threads[i], sleeps_[i]);
        return any;
    }

private:
    struct Sleep {
        std::uint64_t call = 0;      // ThreadBoard::call
        std::uint64_t seen_ns = 0;   // asleep in the driver, which has the number it waits for
        std::uint64_t looked_ns = 0; // at the driver's requests
        bool drained = false;        // no request is as old as that, since
        Since since{};
    };
    static constexpr std::uint64_t look_every_ns = 10 * ms; // it takes the driver's locks

    static bool is_drained(std::uint64_t since_ns) {
        const auto requests = requests_now();
        const std::uint64_t for_ns = monotonic_ns() - since_ns;
        return requests &&
               std::none_of(requests->begin(), requests->end(), [&](const auto& request) {
                   return request.age_us * 1000 + look_every_ns > for_ns;
               });
    }

    bool look_at(const ThreadBoard& board, Sleep& sleep) const {
        const std::uint64_t call = board.call.load(std::memory_order_acquire);
        if (board.role.load(std::memory_order_relaxed) != Role::submitter ||
            board.now_in() != Call::fsync) {
            sleep = {};
            return false;
        }
        const auto asleep = [&] {
            const auto thread = static_cast<pid_t>(board.tid.load(std::memory_order_relaxed));
            return sleeps_in(thread).find("fsync") != std::string::npos &&
                   board.call.load(std::memory_order_acquire) == call;
        };
        const std::uint64_t now = monotonic_ns();
        if (sleep.call != call) {
            sleep = {};
            if (asleep())
                sleep = {.call = call, .seen_ns = monotonic_ns(), .looked_ns = now};
        } else if (!sleep.drained) {
            if (now - sleep.looked_ns < look_every_ns)
                return true;
            sleep.looked_ns = now;
            sleep.drained = is_drained(sleep.seen_ns);
            sleep.since = race_.since_now();
        } else {
            if (const auto finding =
                    judge_fsync_overslept(asleep(), race_.undisturbed_ns(sleep.since)))
                race_.shared_.report(*finding);
        }
        return true;
    }

    Race& race_;
    const bool offered_;
    std::vector<Sleep> sleeps_;
};

// Looks at the driver's requests whose slots have seen their events, or gone on to their next
// requests.  At the end of a race whoever closes the file waits for such a one for as long as the
// driver is patient.
class Race::KeptWatch {
public:
    // Of one device, whose requests are those of all.
    explicit KeptWatch(Race& race)
        : race_(race), offered_(race.geometry_.devices == 1 && requests_now()) {}

    void look() {
        const std::uint64_t now = monotonic_ns();
        if (!offered_ || now - looked_ns_ < look_every_ns)
            return;
        looked_ns_ = now;
        const auto requests = requests_now();
        if (!requests)
            return;
        std::map<std::uint64_t, Kept> still;
        for (const DriverRequest& request : *requests) {
            if (!is_over(request.cookie))
                continue;
            const auto before = kept_.find(request.cookie);
            // A cookie comes again after a thousand requests of its slot.
            const bool same =
                before != kept_.end() && request.age_us * 1000 > now - before->second.seen_ns;
            const Kept kept = same ? before->second : Kept{now, race_.since_now()};
            if (const auto finding =
                    judge_kept(request, race_.undisturbed_ns(kept.since), kept_in_race_ns))
                race_.shared_.report(*finding);
            still[request.cookie] = kept;
        }
        kept_ = std::move(still);
    }

private:
    struct Kept {
        std::uint64_t seen_ns;
        Since since{};
    };
    static constexpr std::uint64_t look_every_ns = 50 * ms; // it takes the driver's locks

    bool is_over(std::uint64_t cookie) const {
        const auto index = static_cast<std::uint32_t>(cookie % max_slots);
        if (!cookie || index >= race_.geometry_.slots)
            return false;
        const std::uint64_t word = race_.shared_.slots[index].word.load(std::memory_order_acquire);
        return cookie_of(index, generation_of(word)) != cookie ||
               state_of(word) == SlotState::answered;
    }

    Race& race_;
    const bool offered_;
    std::uint64_t looked_ns_ = 0;
    std::map<std::uint64_t, Kept> kept_; // by cookie
};

// Looks at what the driver's lock guards, and at who waits in the driver for what will not come:
// the first for descriptors, although they are there, and anybody of a device that is gone. Whoever
// makes room begins him, and whoever finds the device gone answers all; only the work that reaps
// cancelled requests takes a moment for it.
class Race::WaitWatch {
public:
    explicit WaitWatch(Race& race) : race_(race), offered_(ring_now()) {}

    void look() {
        const std::uint64_t now = monotonic_ns();
        if (!offered_ || now - looked_ns_ < look_every_ns)
            return;
        looked_ns_ = now;
        const RingState ring = ring_now().value_or(RingState{});
        tell(judge_ring(ring));
        std::map<std::uint64_t, Since> still;
        if (ring.room_for)
            tell(judge_passed_over(waited(still, ring.room_for, passed_over_)));
        passed_over_ = std::exchange(still, {});
        if (ring.gone && race_.geometry_.devices == 1)
            for (const DriverRequest& request :
                 requests_now().value_or(std::vector<DriverRequest>{}))
                if (request.cookie && request.phase == "queue" && !request.result)
                    tell(judge_left_in_gone(waited(still, request.cookie, left_)));
        left_ = std::move(still);
    }

private:
    static constexpr std::uint64_t look_every_ns = 4 * ms; // it takes the driver's lock

    // Since when it has been there, in each look.
    std::uint64_t waited(std::map<std::uint64_t, Since>& still, std::uint64_t request,
                         const std::map<std::uint64_t, Since>& before) const {
        const auto seen = before.find(request);
        const Since since = seen == before.end() ? race_.since_now() : seen->second;
        still[request] = since;
        return race_.undisturbed_ns(since);
    }
    void tell(const std::optional<Finding>& finding) const {
        if (finding)
            race_.shared_.report(*finding);
    }

    Race& race_;
    const bool offered_;
    std::uint64_t looked_ns_ = 0;
    std::map<std::uint64_t, Since> passed_over_; // by number
    std::map<std::uint64_t, Since> left_;        // by cookie
};

// In a lull what is ready stays ready, and whoever sleeps in poll(2) has been woken: another look
// tells of one who was not, before the next completion makes good for it.
void Race::watch_sleepers() {
    // What another look at the device has said of one who sleeps in poll(2).
    struct Ready {
        PollSleeper::Seen sleeper;
        std::uint64_t begun_ns, outside; // while these stay, nobody has begun anything
        Since since{};
    };
    std::vector<std::optional<Ready>> ready(submitters_.size());
    FsyncWatch fsyncs(*this);
    KeptWatch kept(*this);
    WaitWatch waits(*this);
    while (!stopped()) {
        kept.look();
        waits.look();
        bool any = fsyncs.look();
        for (std::size_t i = 0; i < submitters_.size(); ++i) {
            const PollSleeper& sleeper = submitters_[i]->sleeper;
            const auto seen = sleeper.seen();
            any |= seen.has_value();
            if (!seen || !is_ready(*seen)) {
                ready[i].reset();
                continue;
            }
            const Ready now{*seen, begun_ns_.load(std::memory_order_relaxed),
                            shared_.value(Counter::outside), since_now()};
            if (!ready[i] || ready[i]->sleeper.number != now.sleeper.number ||
                ready[i]->begun_ns != now.begun_ns || ready[i]->outside != now.outside) {
                ready[i] = now;
                continue;
            }
            if (const auto finding =
                    judge_overslept(sleeper.is_asleep(*seen), undisturbed_ns(ready[i]->since))) {
                shared_.report(*finding);
                return;
            }
        }
        if (any)
            pause(2 * ms);
        else
            wait_for_change(sleeps_, sleeps_.load(std::memory_order_relaxed), 5 * ms);
    }
}

} // namespace at
