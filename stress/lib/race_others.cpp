// What submitters ask for beside transfers: polls, fsyncs, reads at the file's position, lulls; and
// what their events must say of time.
#include "lib/race_parts.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include "lib/driver_state.h"
#include "lib/futex.h"
#include "lib/oracles/calls.h"
#include "lib/oracles/leak.h"
#include "lib/uring.h"

namespace at {

namespace {

// Beyond the driver's bounds, for the kworker that calls fsync for an iocb (fs/aio.c, aio_fsync()).
constexpr std::uint64_t kworker_ns = 200 * ms;
constexpr double frequent_lulls = 0.01;            // of the batches
constexpr std::uint64_t nowait_looks_ns = 50 * ms; // apart: they take the driver's locks
constexpr std::uint64_t halt_looks_ns = 4 * ms;
// Of a poll that slept through a lull, before it is said that nothing kept it from being woken.
constexpr std::uint64_t ended_for_ns = 100 * ms;
// More than oracles/calls.cpp asks of an overslept poll, with the looks at it.
constexpr std::uint64_t told_of_sleeper_ns = 70 * ms;

} // namespace

void Race::draw_other(std::uint32_t index, Random& random) {
    Slot& slot = shared_.slots[index];
    if (slot.is_sync)
        return;
    const double fsyncs = knobs_.real("fsync_ratio");
    const double polls = setup_.cookie_in_offset ? knobs_.real("poll_ratio") : 0;
    const double drawn = static_cast<double>(random.below(1U << 20)) / (1U << 20);
    Op op = Op::transfer;
    if (drawn < fsyncs)
        op = random.below(2) ? Op::fsync : Op::fdsync;
    else if (drawn < fsyncs + polls)
        op = Op::poll;
    slot.op.store(op, std::memory_order_relaxed);
    if (op == Op::transfer)
        return;
    slot.nowait = false;
    slot.edge = false;
    slot.length = 0;
    slot.segments = 0;
    slot.device_at = 0;
    if (op == Op::poll) {
        constexpr short wanted[] = {POLLIN, POLLOUT, POLLIN | POLLOUT, POLLIN | POLLRDNORM};
        slot.poll_events = wanted[random.below(4)];
        shared_.count(Counter::polls);
    } else {
        const std::uint32_t submitter = index / geometry_.depth;
        submitters_[submitter]->before_fsync[index] = flying_of(submitter);
        if (keep_load())
            load_keeper_.store(index, std::memory_order_relaxed);
        shared_.count(Counter::fsyncs);
    }
}

bool Race::keep_load() {
    Load found = Load::free;
    return load_.compare_exchange_strong(found, Load::kept, std::memory_order_relaxed);
}

void Race::release_load() {
    // Where lulls are rare, none is waited for.
    load_.store(knobs_.real("lull") >= frequent_lulls ? Load::lull_due : Load::free,
                std::memory_order_relaxed);
}

std::vector<std::pair<std::uint32_t, std::uint64_t>>
Race::flying_of(std::uint32_t submitter) const {
    std::vector<std::pair<std::uint32_t, std::uint64_t>> flying;
    const std::uint32_t from = submitter * geometry_.depth;
    for (std::uint32_t index = from; index < from + geometry_.depth; ++index) {
        const Slot& slot = shared_.slots[index];
        const std::uint64_t word = slot.word.load(std::memory_order_acquire);
        if (state_of(word) == SlotState::flying &&
            slot.op.load(std::memory_order_relaxed) == Op::transfer)
            flying.emplace_back(index, word);
    }
    return flying;
}

std::int64_t Race::under_way(bool reads) const {
    std::int64_t count = 0;
    for (std::uint32_t index = 0; index < geometry_.slots; ++index) {
        const Slot& slot = shared_.slots[index];
        const SlotState state = state_of(slot.word.load(std::memory_order_acquire));
        count += (state == SlotState::flying || state == SlotState::sync) &&
                 slot.op.load(std::memory_order_relaxed) == Op::transfer && slot.is_read == reads;
    }
    return count;
}

// The submitter alone begins generations of its slots, so those named here are what they were.
void Race::overtaken_by_fsync(const std::vector<std::pair<std::uint32_t, std::uint64_t>>& before,
                              std::uint64_t returned_ns, bool own_file) {
    const std::uint32_t replaced = files_replaced_.load(std::memory_order_seq_cst);
    for (const auto& [index, word] : before) {
        Slot& slot = shared_.slots[index];
        const std::uint64_t now = slot.word.load(std::memory_order_acquire);
        const SlotState state = state_of(now);
        if (generation_of(now) != generation_of(word))
            continue;
        const bool same_file = own_file && slot.files_replaced == replaced;
        if (state != SlotState::flying && state != SlotState::answered) {
            if (const auto finding = judge_fsynced(slot.res, same_file))
                shared_.report(*finding);
            continue;
        }
        std::uint64_t never = 0;
        slot.fsynced_ns.compare_exchange_strong(never, returned_ns, std::memory_order_relaxed);
        if (same_file)
            slot.file_fsynced.store(true, std::memory_order_relaxed);
        // A look into the ring, from which on it is known what came later.
        if (state == SlotState::flying)
            reap(slot.context.load(std::memory_order_relaxed), 0, 0);
    }
}

// Each request ends by its time-out and the stop that this takes; who waits for requests alone
// waits no longer.  While nobody submits, a wait that was not woken does not end with a request
// after it; beside others (Load::kept), one for too many does not end at all.
class Race::BoundedWait {
public:
    // `last_ns` as in judge_call_wait().
    BoundedWait(Race& race, const char* call, std::uint64_t last_ns)
        : race_(race), call_(call), last_ns_(last_ns), healthy_ns_(race.shared_.healthy_ns()),
          held_ns_(race.held_ns()) {}
    void judge() const {
        const std::uint64_t waited_ns = race_.shared_.healthy_ns() - healthy_ns_;
        const std::uint64_t held_ns = race_.held_ns() - held_ns_;
        if (const auto finding = judge_call_wait(call_, waited_ns, held_ns, last_ns_))
            race_.shared_.report(*finding);
    }

private:
    Race& race_;
    const char* call_;
    std::uint64_t last_ns_;
    std::uint64_t healthy_ns_;
    std::uint64_t held_ns_;
};

void Race::within_bounds(const char* call, std::uint64_t work_ns,
                         const std::function<void()>& body) {
    const BoundedWait wait(*this, call, wait_bounds_.last_ns + work_ns);
    body();
    wait.judge();
}

void Race::within_wake_up(const char* call, const std::function<void()>& body) {
    const BoundedWait wait(*this, call, 0);
    body();
    wait.judge();
}

// fsync(2): the device's requests that were submitted before have ended when it returns
// (driver/zcdma.c, zcdma_fsync()).
void Race::sync_file(std::uint32_t submitter, Random& random) {
    // Through another open file of the device as well: it is the device that is synchronised.
    const Fd& other = submitters_[submitter]->positioned;
    const int own = devices_[submitter % geometry_.devices].get();
    const int fd = other && random.below(2) ? other.get() : own;
    const auto before = flying_of(submitter);
    const bool keeps_load = keep_load();
    std::optional<BoundedWait> wait;
    int answer = 0;
    sleeps_.fetch_add(1, std::memory_order_relaxed);
    wake(sleeps_, 1);
    {
        const Calling calling(Call::fsync);
        wait.emplace(*this, "fsync", wait_bounds_.last_ns); // one that is placed has its moment now
        answer = random.below(2) ? fsync(fd) : fdatasync(fd);
    }
    const int error = answer ? errno : 0;
    const std::uint64_t returned_ns = monotonic_ns();
    wait->judge();
    if (keeps_load)
        release_load();
    shared_.count(Counter::fsyncs);
    if (error == 0)
        overtaken_by_fsync(before, returned_ns, fd == own);
    else if (const auto finding = judge_fsync(error, permitted_.removal); finding && !stopped())
        shared_.report(*finding);
}

// The position of an open file advances by what read(2) returned (fs/read_write.c, ksys_read());
// the driver's lseek() answers it and moves nothing.
void Race::read_at_position(std::uint32_t index, Random& random) {
    SubmitterState& submitter = *submitters_[index];
    if (!submitter.positioned) {
        std::string path = setup_.device;
        if (const std::uint32_t device = index % geometry_.devices)
            path.back() = static_cast<char>('0' + device);
        submitter.positioned = Fd(open(path.c_str(), O_RDWR | O_CLOEXEC));
        if (!submitter.positioned)
            return; // removed
        submitter.scratch.resize(geometry_.max_length);
    }
    const int fd = submitter.positioned.get();
    const off_t before = lseek(fd, 0, SEEK_CUR);
    ssize_t got = 0;
    int error = 0;
    {
        const Calling calling(Call::read);
        got = read(fd, submitter.scratch.data(), random.logarithmic(1, geometry_.max_length));
        error = got < 0 ? errno : 0;
        // Inside the call: a death before this leaves it unseen (left_at_death()).
        if (error == ETIMEDOUT)
            shared_.count(Counter::timeouts);
    }
    begun_ns_.store(monotonic_ns(), std::memory_order_relaxed);
    const off_t after = lseek(fd, 0, SEEK_CUR);
    shared_.count(Counter::sync_ios);
    if (const auto finding = judge_position(before, got, after))
        shared_.report(*finding);
    // At once after the answer: what the request still holds, the close must wait for.
    if (got == 0 || error == ENODEV || random.below(4) == 0) {
        const BoundedWait wait(*this, "close", 0);
        const Calling calling(Call::close);
        submitter.positioned.reset();
        wait.judge();
    }
}

// poll(2) while nobody submits: the driver's requests end, and with them a sleeper's wait.
void Race::poll_until_idle(std::uint32_t submitter, Random& random, std::optional<bool> reads) {
    // By then every request has been answered; poll(2) looks once more when its time is over
    // (fs/select.c, do_poll()), so a wake-up that was lost shows in how long it took.
    const std::uint64_t bound_ns = wait_bounds_.last_ns + 250 * ms;
    const std::int64_t limit = knobs_.integer("ring") / 2;
    // It sleeps only where a direction has no room; and where that ends while it is about to, who
    // looks before he joins the queue is not woken.
    if (!reads) {
        const bool full[] = {under_way(false) >= limit, under_way(true) >= limit};
        if ((full[0] || full[1]) && random.below(2))
            pause(random.logarithmic(1, 4000) * 1000ULL);
        reads = full[0] == full[1] ? random.below(2) == 0 : full[1];
    }
    const bool readable = *reads;
    // By either name, where the driver is known to say both.
    const bool other_name = setup_.cookie_in_offset && random.below(2);
    const int asked =
        readable ? (other_name ? POLLRDNORM : POLLIN) : (other_name ? POLLWRNORM : POLLOUT);
    pollfd polled{devices_[submitter % geometry_.devices].get(), static_cast<short>(asked), 0};
    const std::uint64_t healthy_ns = shared_.healthy_ns();
    const std::uint64_t stretched_ns = stretched_ ? stretched_->ns() : 0;
    const std::uint64_t began_ns = monotonic_ns();
    const std::uint64_t held_before_ns = held_ns();
    const std::uint64_t outside = shared_.value(Counter::outside);
    int answer = 0;
    {
        const Calling calling(Call::poll);
        const PollSleeper::Sleeping sleeping(submitters_[submitter]->sleeper, polled);
        sleeps_.fetch_add(1, std::memory_order_relaxed);
        wake(sleeps_, 1);
        answer = poll(&polled, 1, static_cast<int>(bound_ns / ms));
    }
    shared_.count(Counter::polls);
    const bool slept_on = answer >= 0 && monotonic_ns() - began_ns >= bound_ns / ms * ms;
    // What was begun last, maybe while it slept, is over for long.
    bool idle = shared_.value(Counter::outside) == outside &&
                monotonic_ns() >= begun_ns_.load(std::memory_order_relaxed) + wait_bounds_.last_ns +
                                      held_ns() - held_before_ns + ended_for_ns;
    for (std::uint32_t i = 0; i < geometry_.submitters; ++i)
        idle &= flying_of(i).empty();
    const std::uint64_t drawn_out_ns = stretched_ ? stretched_->ns() - stretched_ns : 0;
    const std::uint64_t slept_ns = shared_.healthy_ns() - healthy_ns;
    if (const auto finding = judge_sleeper(
            slept_on, idle, slept_ns - std::min(slept_ns, drawn_out_ns), wait_bounds_.last_ns))
        shared_.report(*finding);
    if (const auto finding = judge_revents(polled.events, polled.revents, permitted_.removal);
        finding && answer > 0)
        shared_.report(*finding);
    if (answer > 0 && (polled.revents & polled.events) && geometry_.devices == 1 &&
        !permitted_.removal && !slept_on)
        ready_claim_.make(readable, static_cast<std::uint32_t>(limit), began_ns, monotonic_ns());
}

// The driver's requests whose events this submitter has seen; its slots are its own to look at.
std::vector<DriverRequest> Race::kept_requests(std::uint32_t submitter) const {
    std::vector<DriverRequest> kept = requests_now().value_or(std::vector<DriverRequest>{});
    std::erase_if(kept, [&](const DriverRequest& request) {
        const auto index = static_cast<std::uint32_t>(request.cookie % max_slots);
        if (!request.cookie || index / geometry_.depth != submitter)
            return true;
        const Slot& slot = shared_.slots[index];
        const std::uint64_t word = slot.word.load(std::memory_order_acquire);
        return state_of(word) != SlotState::answered || slot.destroyed ||
               cookie_of(index, generation_of(word)) != request.cookie;
    });
    return kept;
}

void Race::await_given_back(std::uint32_t submitter) {
    const Since since = since_now();
    while (!stopped()) {
        const std::vector<DriverRequest> kept = kept_requests(submitter);
        if (kept.empty())
            return;
        if (const auto finding = judge_kept(kept.front(), undisturbed_ns(since))) {
            shared_.report(*finding);
            return;
        }
        pause(2 * ms);
    }
}

// Nobody submits until all of this submitter's requests were answered: its last interrupt is
// followed by none that would make good for it.
void Race::offer_registered_buffer() {
    if (permitted_.removal || !requests_now())
        return;
    Uring ring;
    alignas(page_bytes) static std::byte page[page_bytes];
    if (!ring)
        return;
    const Calling calling(Call::pread);
    if (const auto finding =
            judge_registered_buffer(ring.read_fixed(devices_[0].get(), page, sizeof page, 0)))
        shared_.report(*finding);
}

Race::BesideNowait Race::beside_nowait(const std::vector<std::uint32_t>& batch) {
    BesideNowait beside;
    const auto ring = static_cast<std::size_t>(knobs_.integer("ring"));
    const auto nowait = [&](std::uint32_t index) { return shared_.slots[index].nowait; };
    if (geometry_.devices != 1 || std::none_of(batch.begin(), batch.end(), nowait))
        return beside;
    if (geometry_.slots > ring &&
        coarse_ns() >= next_nowait_look_ns_.load(std::memory_order_relaxed)) {
        for (std::uint32_t i = 0; i < geometry_.slots; ++i) {
            const Slot& slot = shared_.slots[i];
            const std::uint64_t word = slot.word.load(std::memory_order_acquire);
            if (state_of(word) == SlotState::flying &&
                slot.op.load(std::memory_order_relaxed) == Op::transfer)
                beside.others.push_back(cookie_of(i, generation_of(word)));
        }
        if (beside.others.size() < ring)
            beside.others.clear();
    }
    if (coarse_ns() >= next_halt_look_ns_.load(std::memory_order_relaxed)) {
        next_halt_look_ns_.store(coarse_ns() + halt_looks_ns, std::memory_order_relaxed);
        beside.halted = ring_now();
        if (beside.halted && !beside.halted->halted)
            beside.halted.reset();
    }
    return beside;
}

// A request of the list that nobody has taken off to answer it was there during the whole call.
void Race::judge_nowaits(const std::vector<std::uint32_t>& batch, const BesideNowait& beside) {
    const auto requests = requests_now();
    if (!beside.others.empty())
        next_nowait_look_ns_.store(coarse_ns() + nowait_looks_ns, std::memory_order_relaxed);
    if (!requests)
        return;
    const auto ring = beside.halted ? ring_now() : std::nullopt;
    const bool halted = ring && ring->halted && ring->starts == beside.halted->starts;
    shared_.count(Counter::nowaits_looked_for);
    std::vector<std::uint64_t> waiting;
    for (const DriverRequest& request : *requests)
        if (request.phase == "queue" && !request.result)
            waiting.push_back(request.cookie);
    const auto waits = [&](std::uint64_t cookie) {
        return std::find(waiting.begin(), waiting.end(), cookie) != waiting.end();
    };
    const auto still =
        static_cast<std::size_t>(std::count_if(beside.others.begin(), beside.others.end(), waits));
    for (const std::uint32_t index : batch) {
        const Slot& slot = shared_.slots[index];
        if (!slot.nowait ||
            !waits(cookie_of(index, generation_of(slot.word.load(std::memory_order_relaxed)))))
            continue;
        auto finding = judge_nowait_taken(still, static_cast<std::size_t>(knobs_.integer("ring")));
        if (!finding && halted)
            finding = taken_while_halted();
        if (finding) {
            finding->evidence.push_back(describe_slot(shared_, index));
            finding->evidence.push_back(std::to_string(still) + " others were in the lists");
            shared_.report(*finding);
            return;
        }
    }
}

// What ends last in a lull, if a slot is free for it.
void Race::synchronous_last(std::uint32_t submitter, Random& random) {
    const std::uint32_t from = submitter * geometry_.depth;
    for (std::uint32_t slot = from; slot < from + geometry_.depth; ++slot)
        if (prepare_next(slot, random, 1))
            return synchronous(slot);
}

// The lull goes on while another submitter sleeps in poll(2), for as long as who watches them
// (watch_sleepers()) needs to tell that nobody wakes it.
void Race::await_sleepers(std::uint32_t submitter) {
    const std::uint64_t until_ns = monotonic_ns() + told_of_sleeper_ns;
    const auto anybody_sleeps = [&] {
        for (std::uint32_t i = 0; i < geometry_.submitters; ++i)
            if (i != submitter && submitters_[i]->sleeper.seen())
                return true;
        return false;
    };
    while (!stopped() && monotonic_ns() < until_ns && anybody_sleeps())
        pause(ms);
}

void Race::lull(std::uint32_t index, Random& random, WindowRacer& racer) {
    SubmitterState& submitter = *submitters_[index];
    const std::uint32_t own = 1U << (index % 32);
    const bool joined = lulls_.load(std::memory_order_relaxed) != 0;
    if (!joined && load_.load(std::memory_order_relaxed) == Load::kept)
        return;
    if (!joined) {
        lulls_.fetch_or(own, std::memory_order_relaxed);
        shared_.count(Counter::lulls);
    }
    // A cancel, or what it makes the driver do, would wake whom the driver forgot.
    if (!joined && !blind_ && random.below(2))
        still_.fetch_or(own, std::memory_order_relaxed);
    auto waits = [&] {
        if (joined)
            return lulls_.load(std::memory_order_relaxed) != 0;
        const std::uint32_t from = index * geometry_.depth;
        for (std::uint32_t i = from; i < from + geometry_.depth; ++i)
            if (in_flight(state_of(shared_.slots[i].word.load(std::memory_order_acquire))))
                return true;
        return false;
    };
    const auto sleep_in_poll = [&] {
        if (!placed_poll(racer, index, random))
            poll_until_idle(index, random);
    };
    if (joined && setup_.cookie_in_offset && random.below(2)) {
        sleep_in_poll();
    } else if (!joined && setup_.cookie_in_offset) {
        switch (random.below(8)) {
        case 0:
        case 1:
            synchronous_last(index, random);
            break;
        case 2:
        case 3:
        case 4:
            if (!placed_fsync(racer, index, random))
                sync_file(index, random);
            break;
        default:
            sleep_in_poll();
        }
    }
    while (!stopped()) {
        const std::uint32_t seen = submitter.answered.load(std::memory_order_acquire);
        if (!waits())
            break;
        submitter.waiting.store(1, std::memory_order_relaxed);
        wait_for_change(submitter.answered, seen, ms);
        submitter.waiting.store(0, std::memory_order_relaxed);
    }
    if (joined)
        return;
    if (setup_.cookie_in_offset) {
        await_given_back(index);
        await_sleepers(index);
    }
    still_.fetch_and(~own, std::memory_order_relaxed);
    submitter.after_lull = true;
    if (setup_.cookie_in_offset && knobs_.real("position_ratio") > 0 && random.below(2))
        read_at_position(index, random);
    lulls_.fetch_and(~own, std::memory_order_relaxed);
    Load due = Load::lull_due;
    load_.compare_exchange_strong(due, Load::free, std::memory_order_relaxed);
}

bool Race::keeps_still() {
    if (!still_.load(std::memory_order_relaxed))
        return false;
    wait_for_change(submissions_, submissions_.load(std::memory_order_relaxed), ms);
    return true;
}

void Race::note_late(LateKind kind, std::uint32_t index, std::uint64_t begin_ns,
                     std::uint64_t end_ns) {
    if (!removal_expected_)
        shared_.late_waits.note(
            {kind, index, generation_of(shared_.slots[index].word.load(std::memory_order_relaxed)),
             begin_ns, end_ns});
}

// The slot is answered, and no canceller holds it any more.
void Race::judge_timing(Slot& slot, std::uint32_t index) {
    const Op op = slot.op.load(std::memory_order_relaxed);
    if (op == Op::fsync || op == Op::fdsync) {
        auto& before = submitters_[index / geometry_.depth]->before_fsync;
        if (const auto found = before.find(index); found != before.end()) {
            if (slot.res == 0)
                overtaken_by_fsync(found->second, slot.answered_exact_ns, true);
            before.erase(found);
        }
    }
    if (!setup_.cookie_in_offset || slot.is_sync || slot.destroyed ||
        !knobs_.integer("time_to_answer"))
        return;
    if (const auto finding = judge_fsynced(slot.res, slot.file_fsynced.load()))
        shared_.report(*finding);
    Waits waits;
    waits.flying_ns = slot.flying_ns.load(std::memory_order_relaxed);
    waits.cancel_ns = slot.cancel_ns.load(std::memory_order_relaxed);
    waits.fsynced_ns = slot.fsynced_ns.load(std::memory_order_relaxed);
    waits.ring_empty_ns = slot.ring_empty_ns;
    if (!waits.flying_ns || waits.ring_empty_ns <= waits.flying_ns)
        return;
    if (op == Op::transfer)
        if (const auto finding =
                ready_claim_.meet(slot.is_read, waits.flying_ns, waits.ring_empty_ns))
            shared_.report(*finding);
    // A second call after one that was accepted finds the request off the list.
    if (!waits.cancel_ns)
        waits.einval_ns = slot.einval_ns.load(std::memory_order_relaxed);
    if (op == Op::poll)
        waits.flying_ns = 0; // it may wait for long
    const std::uint64_t healthy_ns =
        slot.answered_healthy_ns - slot.flying_healthy_ns.load(std::memory_order_relaxed);
    const std::uint64_t wall_ns =
        slot.answered_exact_ns - slot.flying_ns.load(std::memory_order_relaxed);
    waits.unhealthy_ns = wall_ns > healthy_ns ? wall_ns - healthy_ns : 0;
    // Nor is it late for what the device was held at meanwhile, for a racer to come.
    waits.unhealthy_ns += held_ns() - slot.submitted_held_ns;
    auto longest = [&](Counter counter, std::uint64_t from) {
        if (from && waits.ring_empty_ns > from + waits.unhealthy_ns)
            shared_.at_least(counter, (waits.ring_empty_ns - from - waits.unhealthy_ns) / 1000);
    };
    if (op == Op::fsync || op == Op::fdsync) {
        // It waits for others, each of which has its own bounds.
        const auto finding = judge_call_wait("fsync", waits.ring_empty_ns - waits.flying_ns,
                                             waits.unhealthy_ns, wait_bounds_.last_ns + kworker_ns);
        if (finding && !stood_still_since(slot.submitted_ns.load(std::memory_order_relaxed)))
            shared_.report(*finding);
        return;
    }
    longest(Counter::longest_wait_us, waits.flying_ns);
    longest(Counter::longest_cancel_us, waits.cancel_ns);
    const WaitVerdict verdict = judge_waits(waits, wait_bounds_);
    if (!verdict.finding && !verdict.waited && !verdict.cancel_waited)
        return;
    if (stood_still_since(slot.submitted_ns.load(std::memory_order_relaxed)))
        return;
    if (verdict.waited)
        shared_.count(Counter::waited);
    if (verdict.waited)
        note_late(LateKind::waited, index, waits.flying_ns, waits.ring_empty_ns);
    else if (verdict.cancel_waited)
        note_late(LateKind::cancel, index, waits.cancel_ns, waits.ring_empty_ns);
    if (verdict.finding) {
        Finding finding = *verdict.finding;
        finding.evidence.push_back(describe_slot(shared_, index));
        shared_.report(finding);
    }
}

} // namespace at
