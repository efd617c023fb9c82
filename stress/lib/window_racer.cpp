#include "lib/window_parts.h"

#include <algorithm>
#include <ctime>
#include <utility>

#include <sched.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "lib/futex.h"

namespace at {

using namespace windows;

namespace {

constexpr std::uint64_t enlist_ns = 1 * ms;
// From the naming to A: the ring ahead of the request, and what is held there.
constexpr std::uint64_t arrival_ns = 60 * ms;
// Assembled at irq, the request comes to A within a tick of the engine's timer, or when the thread
// that handles the interrupt gets a CPU.
constexpr std::uint64_t approach_ns = 10 * ms;
constexpr timespec nap{0, 30 * us};
constexpr std::uint32_t most_drawn = 64;

} // namespace

WindowRacer::WindowRacer(WindowControl* control, Racer racer)
    : control_(control), racer_(racer), tid_(static_cast<std::uint32_t>(gettid())) {
    if (!control_)
        return;
    director_ = std::make_unique<WindowDirector>(control_->book_, racer);
    waits_director_ = std::make_unique<WindowDirector>(control_->book_, racer);
    const std::uint32_t index = control_->next_offer_.fetch_add(1, std::memory_order_acq_rel);
    if (index >= WindowControl::max_offers)
        return;
    offer_ = &control_->offers_[index];
    offer_->racer = racer;
    offer_->state.store(static_cast<std::uint32_t>(OfferState::idle), std::memory_order_release);
    call_ = &control_->holds_->calls[tid_ % AT_NR_CALLS];
    prctl(PR_SET_TIMERSLACK, 1UL); // naps are as short as they are asked for
}

WindowRacer::~WindowRacer() = default;

template <typename Ready> bool WindowRacer::wait(Ready ready, std::uint64_t bound_ns, bool spins) {
    const bool alone = control_->run_.cpus < 2;
    std::uint64_t until = 0;
    for (std::uint32_t turn = 0; !ready(); ++turn) {
        if (turn % 64 == 63 || (!spins && turn > 16)) {
            const std::uint64_t now = monotonic_ns();
            until = until ? until : now + bound_ns;
            if (now >= until)
                return false;
        }
        if (!spins && turn > 16)
            clock_nanosleep(CLOCK_MONOTONIC, 0, &nap, nullptr);
        else if (alone)
            sched_yield();
        else
            std::atomic_signal_fence(std::memory_order_seq_cst);
    }
    return true;
}

// Without a submitter: a request in flight, on its way through the ring.
bool WindowRacer::name_oneself(Random& random, const WindowControl::Chooser& choose) {
    // Not held, it is the next: who spins for long is away when it comes.
    const std::optional<Target> target = choose(random, !is_held(offer_->placement.bin));
    std::uint32_t record = 0;
    if (!target || control_->is_tried(*target) || !control_->take_record(record))
        return false;
    control_->harvest(record);
    Offer* second = random.below(3) ? nullptr : control_->take_offer(random);
    control_->fill(record, *target, *offer_, second ? 2 : 1, random);
    control_->hand_out(record, *target, *offer_, second);
    take_part();
    return true;
}

void WindowRacer::take_part() {
    offer_->state.store(static_cast<std::uint32_t>(OfferState::idle), std::memory_order_relaxed);
    placement_ = offer_->placement;
    target_ = offer_->target;
    try_ = &control_->holds_->tries[offer_->record];
    own_ = &control_->tries_[offer_->record];
    waits_ = false;
    called_ = false;
    arrived_ = false;
    decided_ns_ = 0;
    std::uint64_t never = 0;
    if (own_->bin == Bin::free && !own_->named_ns)
        own_->ready_ns.compare_exchange_strong(never, monotonic_ns(), std::memory_order_acq_rel);
}

bool WindowRacer::enlist(Random& random, const WindowControl::Chooser& choose, double share) {
    if (!offer_ || !random.chance(share * control_->aim_) ||
        !director_->next(random, offer_->placement))
        return false;
    const Stretch stretch = control_->book_.stretch[offer_->placement.stretch];
    if (is_held(offer_->placement.bin) && !control_->holds_allowed(stretch))
        offer_->placement.bin = Bin::free;
    if (stretch.from >= AT_START)
        return name_oneself(random, choose);
    control_->open_offers_.fetch_add(1, std::memory_order_relaxed);
    offer_->state.store(static_cast<std::uint32_t>(OfferState::open), std::memory_order_release);
    const std::uint64_t until = monotonic_ns() + enlist_ns;
    for (;;) {
        auto state = offer_->state.load(std::memory_order_acquire);
        if (state == static_cast<std::uint32_t>(OfferState::named))
            break;
        const std::uint64_t now = monotonic_ns();
        const bool over = now >= until || control_->run_.stop.load(std::memory_order_relaxed);
        if (over && state == static_cast<std::uint32_t>(OfferState::open) &&
            offer_->state.compare_exchange_strong(
                state, static_cast<std::uint32_t>(OfferState::idle), std::memory_order_acq_rel)) {
            control_->open_offers_.fetch_sub(1, std::memory_order_relaxed);
            return false;
        }
        wait_for_change(offer_->state, state, over ? 50 * us : until - now);
    }
    take_part();
    return true;
}

bool WindowRacer::enlist_to_wait(Random& random, const WindowControl::Chooser& choose) {
    if (!offer_ || control_->aim_ <= 0)
        return false;
    Stretch stretch{};
    // Mostly where the request has its answer and is still counted: there nobody else comes.
    const auto suits = [&] {
        return stretch.from >= AT_UNMAP ||
               (stretch.from >= AT_IRQ && stretch.from != AT_CANCEL && random.below(4) == 0);
    };
    for (std::uint32_t drawn = 0; drawn == 0 || !suits(); ++drawn) {
        if (drawn == most_drawn || !waits_director_->next(random, offer_->placement))
            return false;
        stretch = control_->book_.stretch[offer_->placement.stretch];
    }
    if (is_held(offer_->placement.bin) && !control_->holds_allowed(stretch))
        offer_->placement.bin = Bin::free;
    waits_ = name_oneself(random, choose);
    return waits_;
}

// By the ledger or by the marks: A will not come any more, but for what follows an answer.
bool WindowRacer::request_ended() const {
    if (load(try_->phase_ns[AT_FREE]))
        return true;
    const std::uint64_t word =
        control_->run_.slots[target_.slot].word.load(std::memory_order_relaxed);
    return control_->run_.stop.load(std::memory_order_relaxed) != 0 ||
           generation_of(word) != target_.generation ||
           (!in_flight(state_of(word)) && state_of(word) != SlotState::idle);
}

void WindowRacer::wait_for_hold() {
    at_hold& hold = try_->hold[1];
    auto held = [&] { return load(hold.held_ns) != 0 || request_ended(); };
    if (!own_->assembles) {
        const Stretch stretch = control_->book_.stretch[placement_.stretch];
        wait(held, arrival_ns, false);
        if (stretch.from == AT_CANCEL)
            wait([&] { return load(try_->phase_ns[AT_CANCEL]) != 0 || request_ended(); },
                 approach_ns, true);
        return;
    }
    at_hold& assembly = try_->hold[0];
    wait([&] { return load(assembly.held_ns) != 0 || held(); }, arrival_ns, false);
    keep_off(load(assembly.cpu));
    if (own_->assembled.fetch_add(1, std::memory_order_acq_rel) + 1 == own_->racers)
        store(assembly.release_at_ns, __u64{1});
    else
        wait([&] { return load(assembly.release_at_ns) != 0 || held(); }, approach_ns, false);
    // What sleeps is held for long: a racer that spun would have used up its share of a CPU by
    // then.
    wait(held, approach_ns, !load(try_->threaded));
}

// The interrupt that spins for this racer must not come on the racer's own CPU.
void WindowRacer::keep_off(std::uint32_t cpu) {
    if (control_->run_.cpus < 2 || sched_getcpu() != static_cast<int>(cpu))
        return;
    cpu_set_t others;
    CPU_ZERO(&others);
    for (std::uint32_t i = 0; i < control_->run_.cpus; ++i)
        if (i != cpu)
            CPU_SET(i, &others);
    confined_ = sched_setaffinity(0, sizeof others, &others) == 0;
}

void WindowRacer::go_anywhere() {
    if (!std::exchange(confined_, false))
        return;
    cpu_set_t all;
    CPU_ZERO(&all);
    for (std::uint32_t i = 0; i < control_->run_.cpus; ++i)
        CPU_SET(i, &all);
    sched_setaffinity(0, sizeof all, &all);
}

FreeAim WindowRacer::aim_now() const {
    const Lengths& lengths = control_->book_.lengths;
    const HeatPair& pair =
        control_->book_.pair[static_cast<std::size_t>(racer_)][placement_.stretch];
    const Stretch stretch = control_->book_.stretch[placement_.stretch];
    const std::int64_t open_ns = lengths.stretch_ns[placement_.stretch].load();
    return {stretch.from == AT_CANCEL ? 0 : std::int64_t{lengths.lead_ns[stretch.from].load()},
            open_ns ? open_ns : std::int64_t{pair.stretch_ns.load()},
            lengths.call_ns[static_cast<std::size_t>(racer_)].load(), lengths.reaction_ns.load(),
            pair.shift_ns.load()};
}

std::uint32_t WindowRacer::choose_anchor(FreeAim& aim) const {
    const Lengths& lengths = control_->book_.lengths;
    const Stretch stretch = control_->book_.stretch[placement_.stretch];
    std::uint32_t anchor = seen_before(stretch.from);
    // Alone, a racer looks only when the others are not running: before the submitter's part.
    const bool alone = control_->run_.cpus < 2 && stretch.from <= AT_QUEUE;
    // Of a request that was named in flight nothing is seen before its start.
    const std::uint32_t first = own_->named_ns ? std::uint32_t{AT_START} : AT_NO_PHASE;
    if (own_->named_ns && anchor == AT_QUEUE) {
        aim.lead = 0;
        return first;
    }
    while (anchor != first && anchor != AT_CANCEL && anchor != AT_NO_PHASE &&
           (alone || aim.lead + aim.shift < aim.reaction + std::min(aim.call, aim.reaction) / 2)) {
        aim.lead += lengths.lead_ns[anchor].load(std::memory_order_relaxed);
        anchor = seen_before(anchor);
    }
    return anchor;
}

// Not held: A is expected after what is seen before it, as long after as it used to come.
void WindowRacer::wait_unheld() {
    const Stretch stretch = control_->book_.stretch[placement_.stretch];
    FreeAim aim = aim_now();
    const std::uint32_t before = choose_anchor(aim);
    const std::uint64_t delay = free_delay_of(placement_.part, aim);
    auto there = [&](std::uint32_t phase) {
        return load(try_->phase_ns[phase]) != 0 || load(try_->phase_ns[stretch.from]) != 0 ||
               request_ended();
    };
    std::uint64_t seen_ns = own_->ready_ns.load(std::memory_order_acquire);
    if (before != AT_NO_PHASE) {
        if (before == AT_START || before == AT_IRQ) {
            // The interrupt must not come on the racer's own CPU.
            if (const std::uint32_t cpu = control_->book_.lengths.device_cpu.load())
                keep_off(cpu - 1);
            // A nap is longer than all of the way from start to the end, and the wait in the ring
            // is longer than naps: they end shortly before start is expected.
            const std::uint64_t wake_at = monotonic_ns() + control_->book_.lengths.in_ring_ns / 2;
            wait([&] { return there(AT_START) || monotonic_ns() >= wake_at; }, arrival_ns, false);
        }
        if (!wait([&] { return there(before); }, approach_ns, true))
            wait([&] { return there(before); }, arrival_ns, false);
        seen_ns = load(try_->phase_ns[before]);
    }
    decided_ns_ = seen_ns ? seen_ns + delay : 0;
    if (!seen_ns)
        return;
    // What was to come behind A is as far behind it when A is early.
    const std::uint64_t behind = delay > static_cast<std::uint64_t>(aim.lead)
                                     ? delay - static_cast<std::uint64_t>(aim.lead)
                                     : 0;
    const auto& from_ns = try_->phase_ns[stretch.from];
    wait(
        [&] {
            const std::uint64_t now = monotonic_ns();
            const std::uint64_t from = load(from_ns);
            return now >= decided_ns_ || (from && now >= from + behind);
        },
        5 * ms, true);
    decided_ns_ = monotonic_ns();
}

// The next of its kind comes sooner, or later.
void WindowRacer::correct(HeatPair& pair, Miss why) const {
    const FreeAim aim = aim_now();
    const std::int64_t step = (std::min<std::int64_t>(aim.call, 50 * us) + aim.stretch) / 4 + 500;
    const std::int64_t bound = aim.lead + std::int64_t{1 * ms};
    const std::int64_t moved = aim.shift + (why == Miss::early ? step : -step);
    if (why == Miss::early || why == Miss::outrun)
        pair.shift_ns.store(static_cast<std::int32_t>(std::clamp(moved, -bound, bound)),
                            std::memory_order_relaxed);
}

void WindowRacer::arrive(std::uint64_t release_at_ns) {
    if (arrived_)
        return;
    arrived_ = true;
    if (load(try_->release_phase) != AT_NO_PHASE)
        return;
    const std::uint64_t at =
        release_at_ns ? release_at_ns : monotonic_ns() + load(try_->release_delay_ns);
    if (__atomic_sub_fetch(&try_->arrivals_left, 1, __ATOMIC_ACQ_REL) == 0) {
        __u64 never = 0;
        __atomic_compare_exchange_n(&try_->hold[1].release_at_ns, &never, __u64{at}, false,
                                    __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
    }
}

// What the probe on the system call reads; nothing that is probed comes before the call.
void WindowRacer::expect_call(std::uint32_t arrives, std::uint64_t delay_ns) {
    call_->enter_ns = 0;
    call_->exit_ns = 0;
    call_->arrives = arrives;
    call_->delay_ns = delay_ns;
    call_->try_index = offer_->record;
    call_->try_number = own_->number;
    store(call_->tid, tid_);
}

void WindowRacer::before_call() {
    const Bin bin = own_->bin;
    // Another thread may have the same index, if there are very many.
    timed_ = !waits_ && load(call_->tid) == 0;
    called_ = true;
    if (!is_held(bin)) {
        // Nothing is left to do between the wait and the call.
        if (timed_)
            expect_call(AT_ARRIVES_NEVER, 0);
        wait_unheld();
        enter_ns_ = timed_ ? 0 : monotonic_ns();
        return;
    }
    wait_for_hold();
    std::uint32_t arrives = AT_ARRIVES_NEVER;
    const HeatPair& pair =
        control_->book_.pair[static_cast<std::size_t>(own_->racer)][placement_.stretch];
    const std::uint64_t delay = is_after(bin) ? delay_of(placement_, pair.stretch_ns.load()) : 0;
    if (is_after(bin) && timed_ && delay <= AT_HOLD_SPIN_MAX_NS) {
        arrives = AT_ARRIVES_BEFORE_ENTRY;
    } else if (is_after(bin)) {
        // The call enters after its reaction; the release is set as much before that as was drawn.
        const std::uint64_t reaction = control_->book_.lengths.reaction_ns.load();
        const std::uint64_t now = monotonic_ns();
        arrive(now + (reaction > delay ? reaction - delay : 0));
        decided_ns_ = now + (delay > reaction ? delay - reaction : 0);
        if (decided_ns_ > now)
            wait([&] { return monotonic_ns() >= decided_ns_; }, 5 * ms, true);
    } else if (load(try_->release_phase) == AT_NO_PHASE) {
        const bool returns = bin == Bin::inside && racer_ != Racer::destroyer && !waits_;
        arrives = returns ? AT_ARRIVES_AT_RETURN : AT_ARRIVES_AT_ENTRY;
    }
    // io_destroy() returns long after the hold, which is then no news to who judges a wait.
    if (racer_ == Racer::destroyer && load(try_->hold[1].phase) >= AT_START &&
        !own_->charged.exchange(true, std::memory_order_relaxed))
        control_->book_.held_ns.fetch_add(control_->book_.hold_ns, std::memory_order_relaxed);
    if (timed_)
        expect_call(arrives, delay);
    else if (arrives == AT_ARRIVES_AT_ENTRY)
        arrive();
    // Only where the kernel does not time it; a system call here would shift the racer.
    enter_ns_ = timed_ ? 0 : monotonic_ns();
}

void WindowRacer::after_call() {
    if (timed_) {
        store(call_->tid, 0U);
        enter_ns_ = load(call_->enter_ns);
        exit_ns_ = load(call_->exit_ns);
        arrived_ |= enter_ns_ && exit_ns_ && call_->arrives != AT_ARRIVES_NEVER;
    }
    if (!enter_ns_ || (timed_ && !exit_ns_)) {
        control_->book_.untimed.fetch_add(1, std::memory_order_relaxed);
        timed_ = false;
    }
    if (!timed_) {
        exit_ns_ = monotonic_ns();
        enter_ns_ = enter_ns_ ? enter_ns_ : exit_ns_;
    }
    arrive();
}

// By the kernel's clock, while the submitter was kept in front of the queue.
void WindowRacer::cancel_accepted() {
    const at_hold& hold = try_->hold[1];
    const std::uint64_t held_ns = load(hold.held_ns);
    const std::uint64_t released_ns = load(hold.released_ns);
    if (control_->refuses_cancelled_ && timed_ && held_ns && load(hold.phase) <= AT_QUEUE &&
        exit_ns_ > held_ns && (!released_ns || exit_ns_ < released_ns))
        own_->cancelled_early.store(true, std::memory_order_release);
}

void WindowRacer::account() {
    const Stretch stretch = control_->book_.stretch[placement_.stretch];
    HeatPair& pair = control_->book_.pair[static_cast<std::size_t>(racer_)][placement_.stretch];
    Meeting meeting{};
    for (std::size_t phase = 0; phase < phases_count; ++phase)
        meeting.phase_ns[phase] = load(try_->phase_ns[phase]);
    meeting.enter_ns = called_ ? enter_ns_ : 0;
    meeting.exit_ns = exit_ns_;
    const Met met = judge_meeting(meeting, stretch);
    if (met == Met::never_there) {
        pair.voids.fetch_add(1, std::memory_order_relaxed);
        if (!called_)
            pair.uncalled.fetch_add(1, std::memory_order_relaxed);
        return;
    }
    if (!waits_) {
        take_median(pair.call_ns, exit_ns_ - enter_ns_);
        Lengths& lengths = control_->book_.lengths;
        take_median(lengths.call_ns[static_cast<std::size_t>(racer_)], exit_ns_ - enter_ns_);
        if (decided_ns_ && enter_ns_ > decided_ns_)
            take_median(lengths.reaction_ns, enter_ns_ - decided_ns_);
    }
    const std::uint32_t flags = load(try_->hold[1].flags);
    const bool held = load(try_->hold[1].held_ns) && !(flags & AT_HOLD_NO_CPU);
    // One that could not be held was aimed without.
    HeatBin& bin = pair.bin[static_cast<std::size_t>(held ? own_->bin : Bin::free)];
    bin.tries.fetch_add(1, std::memory_order_relaxed);
    if (held)
        pair.held.fetch_add(1, std::memory_order_relaxed);
    const bool expired = held && (flags & AT_HOLD_EXPIRED);
    if (expired)
        pair.expired.fetch_add(1, std::memory_order_relaxed);
    if (met == Met::yes) {
        bin.hits.fetch_add(1, std::memory_order_relaxed);
        if (held)
            pair.hits_held.fetch_add(1, std::memory_order_relaxed);
        return;
    }
    const Miss why = why_missed(meeting, stretch, expired);
    (held ? pair.missed_held : pair.missed_free)[static_cast<std::size_t>(why)].fetch_add(
        1, std::memory_order_relaxed);
    if (!is_held(own_->bin) && !waits_)
        correct(pair, why);
}

void WindowRacer::finish() {
    go_anywhere();
    account();
    arrive();
    if (own_->inside.fetch_sub(1, std::memory_order_acq_rel) != 1)
        return;
    // The last one: nothing is held for this try any more.
    const std::uint64_t now = monotonic_ns();
    for (at_hold& hold : try_->hold) {
        const std::uint64_t held_ns = load(hold.held_ns);
        const std::uint64_t released_ns = load(hold.released_ns);
        const std::uint32_t flags = load(hold.flags);
        const std::uint64_t length = held_ns ? (released_ns ? released_ns : now) - held_ns : 0;
        // Behind the device, a thread that sleeps keeps what it has gathered with it.
        const bool answers_wait = flags & AT_HOLD_DEFERRED || load(hold.phase) >= AT_START;
        if (answers_wait && !own_->charged.load(std::memory_order_relaxed))
            control_->book_.held_ns.fetch_add(length, std::memory_order_relaxed);
        else if (!answers_wait && (flags & AT_HOLD_SLEPT))
            control_->book_.slept_ns.fetch_add(length, std::memory_order_relaxed);
    }
    store(try_->hold[0].release_at_ns, __u64{1});
    if (!load(try_->hold[1].release_at_ns))
        store(try_->hold[1].release_at_ns, __u64{1});
    // The lengths of a request that is gone are known; those of others when the record is taken.
    if (load(try_->phase_ns[AT_FREE]))
        control_->harvest(offer_->record);
    own_->in_use.store(false, std::memory_order_release);
}

} // namespace at
