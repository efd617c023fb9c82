#include "lib/window.h"

#include <algorithm>
#include <cmath>
#include <ctime>
#include <stdexcept>
#include <utility>

#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "lib/futex.h"

namespace at {

namespace {

constexpr std::uint64_t us = 1000;
constexpr std::uint64_t ms = 1000000;
constexpr char device[] = "/dev/fail_injector";

constexpr std::uint64_t enlist_ns = 1 * ms;
// From the naming to A: the ring ahead of the request, and what is held there.
constexpr std::uint64_t arrival_ns = 30 * ms;
// Assembled at irq, the request comes to A within a tick of the engine's timer.
// How long a submitter waits for a racer that it will not be held for.
constexpr std::uint64_t meeting_ns = 1 * ms;
constexpr std::uint64_t approach_ns = 3 * ms;
constexpr timespec nap{0, 30 * us};
// A device that is held an eighth of the time still does most of its work, and a request that times
// out has not done so because of holds (Race::stalled_during).
constexpr std::uint64_t held_share = 8;
constexpr std::uint64_t slept_share = 3;

template <typename T> T load(const T& word) {
    return __atomic_load_n(&word, __ATOMIC_ACQUIRE);
}
template <typename T> void store(T& word, T value) {
    __atomic_store_n(&word, value, __ATOMIC_RELEASE);
}

// At these the driver runs with interrupts off as a rule.
bool comes_with_interrupts_off(std::uint8_t phase) {
    return phase == AT_COMPLETE || phase == AT_UNMAP || phase == AT_UNPIN || phase == AT_FREE;
}

// Nobody holds a lock at irq: what enters behind a cancel waits there, not under ctx_lock.
std::uint32_t hold_phase(Stretch stretch) {
    return stretch.from == AT_CANCEL ? std::uint32_t{AT_IRQ} : stretch.from;
}

// What is seen of a request before it comes to `phase`; AT_NO_PHASE: only that it was named.
std::uint32_t phase_before(std::uint8_t phase) {
    switch (phase) {
    case AT_PIN:
        return AT_SUBMIT;
    case AT_MAP:
        return AT_PIN;
    case AT_QUEUE:
        return AT_MAP;
    case AT_START:
    case AT_CANCEL:
        return AT_QUEUE;
    case AT_IRQ:
        return AT_START;
    // From irq on all comes at once: too fast for a racer that waits for it.
    case AT_COMPLETE:
    case AT_UNMAP:
    case AT_UNPIN:
    case AT_FREE:
        return AT_START;
    default:
        return AT_NO_PHASE;
    }
}

} // namespace

// --- which windows -------------------------------------------------------------------------------

double aim_of(const Plan& plan, const KnobValues& knobs) {
    const double aim = knobs.integer("blind") ? 0 : knobs.real("aim");
    if (knobs.integer("blind") && !plan.windows.empty())
        throw PlanError("blind=1 places nobody: the plan has a window");
    return plan.windows.empty() ? aim : std::max(aim, 0.5);
}

void choose_windows(WindowBook& book, const std::vector<Window>& planned,
                    const bool (&racers)[racers_count], std::uint64_t timeout_ns) {
    // A request may wait for each hold ahead of it: all together far below the driver's time-out.
    book.hold_ns = std::min<std::uint64_t>(AT_HOLD_MAX_NS, timeout_ns / 8);
    auto phase_number = [](const std::string& name) {
        const auto& names = phase_names();
        return static_cast<std::uint8_t>(std::find(names.begin(), names.end(), name) -
                                         names.begin());
    };
    auto stretch_number = [&](Stretch stretch) {
        for (std::uint32_t i = 0; i < book.stretches; ++i)
            if (book.stretch[i] == stretch)
                return i;
        if (book.stretches == max_stretches)
            throw PlanError("a plan has at most 16 different windows");
        book.stretch[book.stretches] = stretch;
        return book.stretches++;
    };
    for (const Window& window : planned) {
        std::size_t racer = 0;
        while (racer < racers_count && window.racer != racer_name(static_cast<Racer>(racer)))
            ++racer;
        if (racer == racers_count)
            throw PlanError("window " + window.racer + ": no thread of a scenario is that racer");
        if (!racers[racer])
            throw PlanError("window " + window.racer + ": this scenario starts no " + window.racer);
        const std::uint32_t stretch =
            stretch_number({phase_number(window.from), phase_number(window.to)});
        book.pair[racer][stretch].wanted.store(1, std::memory_order_relaxed);
    }
    if (!planned.empty()) {
        book.hold_ns = 0;
        for (const Window& window : planned)
            if (!window.hold.empty())
                book.hold_ns = std::max(book.hold_ns,
                                        static_cast<std::uint64_t>(parse_duration_ns(window.hold)));
        book.hold_ns = std::min<std::uint64_t>(book.hold_ns, AT_HOLD_MAX_NS);
        book.planned = true;
        return;
    }
    static constexpr Stretch all[] = {
        {AT_SUBMIT, AT_PIN},      {AT_PIN, AT_MAP},     {AT_MAP, AT_QUEUE},
        {AT_QUEUE, AT_START},     {AT_START, AT_IRQ},   {AT_IRQ, AT_COMPLETE},
        {AT_COMPLETE, AT_UNMAP},  {AT_UNMAP, AT_UNPIN}, {AT_UNPIN, AT_FREE},
        {AT_CANCEL, AT_COMPLETE},
    };
    for (const Stretch stretch : all)
        for (std::size_t racer = 0; racer < racers_count; ++racer)
            if (racers[racer])
                book.pair[racer][stretch_number(stretch)].wanted.store(1,
                                                                       std::memory_order_relaxed);
}

// --- window control ------------------------------------------------------------------------------

std::unique_ptr<WindowControl> WindowControl::open(SharedRun& run, double aim, double stretch) {
    if (!run.windows.stretches)
        return nullptr;
    const Fd file(::open(device, O_RDWR | O_CLOEXEC));
    if (!file)
        return nullptr;
    at_header header;
    if (pread(file.get(), &header, sizeof header, AT_HEADER_OFFSET) != sizeof header ||
        header.magic != AT_MAGIC || header.version != AT_LAYOUT_VERSION ||
        header.holds_bytes < sizeof(at_holds))
        throw std::runtime_error(std::string(device) + ": not the injector of this agent");
    const auto map = [&](std::uint64_t from, std::uint64_t to, void* at, int protection) {
        void* memory = mmap(at, to - from, protection, MAP_SHARED | (at ? MAP_FIXED : 0),
                            file.get(), static_cast<off_t>(from));
        if (memory == MAP_FAILED)
            throw_errno(std::string("mmap of ") + device);
        return static_cast<std::byte*>(memory);
    };
    std::byte* memory = map(0, header.total_bytes, nullptr, PROT_READ);
    map(header.holds_offset, header.holds_offset + header.holds_bytes, memory + header.holds_offset,
        PROT_READ | PROT_WRITE);
    auto* holds = reinterpret_cast<at_holds*>(memory + header.holds_offset);
    store(holds->stretch_ns, std::uint32_t{AT_HOLD_SPIN_MAX_NS});
    store(holds->stretch_ppm, static_cast<std::uint32_t>(std::lround(stretch * 1e6)));
    return std::unique_ptr<WindowControl>(new WindowControl(run, aim, memory, header));
}

WindowControl::WindowControl(SharedRun& run, double aim, std::byte* memory, const at_header& header)
    : run_(run), book_(run.windows), aim_(aim), memory_(memory), bytes_(header.total_bytes),
      holds_(reinterpret_cast<at_holds*>(memory + header.holds_offset)), began_ns_(monotonic_ns()) {
}

WindowControl::~WindowControl() {
    munmap(memory_, bytes_);
}

bool WindowControl::is_tried(const Target& target) const {
    const std::uint8_t number = load(holds_->try_of_slot[target.slot]);
    return number &&
           load(holds_->tries[number - 1].cookie) == cookie_of(target.slot, target.generation);
}

bool WindowControl::started(std::uint32_t slot, std::uint64_t generation) const {
    const auto* words = reinterpret_cast<const std::uint64_t*>(memory_);
    return AT_WORD_COOKIE(load(words[slot * AT_NR_RACERS + AT_DEVICE])) ==
           cookie_of(slot, generation);
}

// Plans say what they want held; the search leaves the device most of its time.
bool WindowControl::holds_allowed(Stretch stretch) const {
    if (book_.planned)
        return true;
    const std::uint64_t elapsed = monotonic_ns() - began_ns_;
    if (stretch.from < AT_START)
        return book_.slept_ns.load(std::memory_order_relaxed) < 20 * ms + elapsed / slept_share;
    return book_.held_ns.load(std::memory_order_relaxed) < 20 * ms + elapsed / held_share;
}

WindowControl::Offer* WindowControl::take_offer(Random& random) {
    const std::uint32_t offers =
        std::min<std::uint32_t>(next_offer_.load(std::memory_order_acquire), max_offers);
    if (!offers)
        return nullptr;
    const std::uint32_t from = random.below(offers);
    for (std::uint32_t i = 0; i < offers; ++i) {
        Offer& offer = offers_[(from + i) % offers];
        auto expected = static_cast<std::uint32_t>(OfferState::open);
        if (offer.state.compare_exchange_strong(expected,
                                                static_cast<std::uint32_t>(OfferState::taken),
                                                std::memory_order_acq_rel)) {
            open_offers_.fetch_sub(1, std::memory_order_relaxed);
            return &offer;
        }
    }
    return nullptr;
}

void WindowControl::give_back(Offer& offer) {
    open_offers_.fetch_add(1, std::memory_order_relaxed);
    offer.state.store(static_cast<std::uint32_t>(OfferState::open), std::memory_order_release);
    wake(offer.state, 1);
}

// What the record's last use tells of the lengths: its marks came after the racers had gone.
void WindowControl::harvest(std::uint32_t record) {
    const at_try& last = holds_->tries[record];
    const Try& own = tries_[record];
    if (!own.number)
        return;
    const Stretch stretch = book_.stretch[own.stretch];
    HeatPair& pair = book_.pair[static_cast<std::size_t>(own.racer)][own.stretch];
    const std::uint64_t from = load(last.phase_ns[stretch.from]);
    const std::uint64_t to = load(last.phase_ns[stretch.to]);
    const std::uint64_t begin = std::max<std::uint64_t>(from, load(last.hold[1].released_ns));
    if (from && to > begin)
        take_median(pair.stretch_ns, to - begin);
    const std::uint32_t before = phase_before(stretch.from);
    const std::uint64_t ready_ns = own.ready_ns.load(std::memory_order_relaxed);
    if (ready_ns && from > ready_ns) {
        take_median(pair.lead_ns, from - ready_ns);
    } else if (own.named_ns && before != AT_NO_PHASE && from) {
        const std::uint64_t seen = load(last.phase_ns[before]);
        if (seen && from > seen && !load(last.hold[0].held_ns) && !load(last.hold[1].held_ns))
            take_median(pair.lead_ns, from - seen);
    }
    if (own.named_ns && load(last.phase_ns[AT_START]) > own.named_ns)
        take_median(book_.in_ring_ns, load(last.phase_ns[AT_START]) - own.named_ns);
    // The slot may name a later try by now.
    auto mine = static_cast<std::uint8_t>(record + 1);
    __atomic_compare_exchange_n(&holds_->try_of_slot[own.target.slot], &mine, std::uint8_t{0},
                                false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

// In turn, so that a mark that is late finds its own record and not the next try's.
bool WindowControl::take_record(std::uint32_t& record) {
    for (std::uint32_t i = 0; i < AT_NR_TRIES; ++i) {
        record = next_record_.fetch_add(1, std::memory_order_relaxed) % AT_NR_TRIES;
        bool unused = false;
        if (tries_[record].in_use.compare_exchange_strong(unused, true, std::memory_order_acq_rel))
            return true;
    }
    return false;
}

void WindowControl::fill(std::uint32_t record, const Target& target, const Offer& lead,
                         std::uint32_t racers, Random& random) {
    Try& own = tries_[record];
    at_try& shared = holds_->tries[record];
    const Placement& placement = lead.placement;
    const Stretch stretch = book_.stretch[placement.stretch];
    const HeatPair& pair = book_.pair[static_cast<std::size_t>(lead.racer)][placement.stretch];
    const bool held = is_held(placement.bin);
    own.stretch = placement.stretch;
    own.racer = lead.racer;
    own.bin = placement.bin;
    own.target = target;
    own.named_ns = stretch.from >= AT_START ? monotonic_ns() : 0;
    own.assembles = held && comes_with_interrupts_off(stretch.from);
    own.racers = racers;
    own.charged.store(false, std::memory_order_relaxed);
    own.ready_ns.store(0, std::memory_order_relaxed);
    own.assembled.store(0, std::memory_order_relaxed);
    own.inside.store(racers, std::memory_order_relaxed);
    ++own.number;
    store(shared.number, own.number); // a hold of the last use ends here
    store(shared.cookie, 0U);
    const std::uint32_t phases[AT_NR_HOLDS] = {own.assembles ? std::uint32_t{AT_IRQ} : AT_NO_PHASE,
                                               held ? hold_phase(stretch) : AT_NO_PHASE};
    for (std::size_t i = 0; i < AT_NR_HOLDS; ++i)
        shared.hold[i] = {phases[i], static_cast<std::uint32_t>(book_.hold_ns), 0, 0, 0, 0, 0};
    for (auto& phase_ns : shared.phase_ns)
        phase_ns = 0;
    // io_destroy() returns only after the request: what is waited for is its cancellation.
    const bool for_cancel = lead.racer == Racer::destroyer && placement.bin == Bin::inside;
    shared.release_phase = for_cancel ? std::uint32_t{AT_CANCEL} : AT_NO_PHASE;
    const std::uint64_t delay =
        held && !is_after(placement.bin) ? delay_of(placement, pair.call_ns.load()) : 0;
    shared.release_delay_ns =
        static_cast<std::uint32_t>(std::min<std::uint64_t>(delay, book_.hold_ns * 3 / 4));
    // Alone, there is no other way; else some are entered as interrupts are handled everywhere.
    shared.threaded = own.assembles && (run_.cpus < 2 || random.below(8));
    shared.arrivals_left = for_cancel ? 1 : static_cast<std::int32_t>(racers);
    store(shared.cookie, static_cast<std::uint32_t>(cookie_of(target.slot, target.generation)));
    store(holds_->try_of_slot[target.slot], static_cast<std::uint8_t>(record + 1));
    if (stretch.from == AT_CANCEL)
        wanted_cancel_.store(target.slot, std::memory_order_relaxed);
}

void WindowControl::name_request(const Target& target, Random& random) {
    Offer* lead = take_offer(random);
    if (!lead)
        return;
    std::uint32_t record = 0;
    if (!take_record(record)) {
        give_back(*lead);
        return;
    }
    harvest(record);
    Offer* second = random.below(3) ? nullptr : take_offer(random);
    fill(record, target, *lead, second ? 2 : 1, random);
    hand_out(record, target, *lead, second);
}

void WindowControl::hand_out(std::uint32_t record, const Target& target, Offer& lead,
                             Offer* second) {
    if (second) {
        book_.together.fetch_add(1, std::memory_order_relaxed);
        second->placement = lead.placement;
    }
    for (Offer* offer : {&lead, second}) {
        if (!offer)
            continue;
        offer->target = target;
        offer->record = record;
        offer->state.store(static_cast<std::uint32_t>(OfferState::named),
                           std::memory_order_release);
        wake(offer->state, 1);
    }
    // Not held: the submitter goes on when the racer has woken, as two threads of LTP's fuzzy sync
    // wait for each other before they race.
    if (tries_[record].bin != Bin::free || tries_[record].named_ns)
        return;
    const std::uint64_t until = monotonic_ns() + meeting_ns;
    while (!tries_[record].ready_ns.load(std::memory_order_acquire) && monotonic_ns() < until)
        sched_yield();
}

// --- a racer -------------------------------------------------------------------------------------

WindowRacer::WindowRacer(WindowControl* control, Racer racer) : control_(control), racer_(racer) {
    if (!control_)
        return;
    director_ = std::make_unique<WindowDirector>(control_->book_, racer);
    const std::uint32_t index = control_->next_offer_.fetch_add(1, std::memory_order_acq_rel);
    if (index >= WindowControl::max_offers)
        return;
    offer_ = &control_->offers_[index];
    offer_->racer = racer;
    offer_->state.store(static_cast<std::uint32_t>(OfferState::idle), std::memory_order_release);
    call_ = &control_->holds_->calls[static_cast<std::uint32_t>(gettid()) % AT_NR_CALLS];
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
    const std::optional<Target> target = choose(random);
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
    called_ = false;
    arrived_ = false;
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
                 approach_ns, false);
        return;
    }
    at_hold& assembly = try_->hold[0];
    wait([&] { return load(assembly.held_ns) != 0 || held(); }, arrival_ns, false);
    keep_off(load(assembly.cpu));
    if (own_->assembled.fetch_add(1, std::memory_order_acq_rel) + 1 == own_->racers)
        store(assembly.release_at_ns, __u64{1});
    else
        wait([&] { return load(assembly.release_at_ns) != 0 || held(); }, approach_ns, false);
    wait(held, approach_ns, true);
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

// Not held: A is expected after the phase before it, as long after as it used to come.
void WindowRacer::wait_unheld() {
    const Stretch stretch = control_->book_.stretch[placement_.stretch];
    const HeatPair& pair =
        control_->book_.pair[static_cast<std::size_t>(own_->racer)][placement_.stretch];
    if (const std::uint64_t ready_ns = own_->ready_ns.load(std::memory_order_acquire)) {
        const std::uint64_t call_at =
            ready_ns +
            delay_of(placement_, std::uint64_t{pair.lead_ns.load()} + pair.stretch_ns.load());
        wait([&] { return monotonic_ns() >= call_at; }, 5 * ms, true);
        return;
    }
    const std::uint32_t before = phase_before(stretch.from);
    const std::uint32_t seen = before == AT_NO_PHASE ? stretch.from : before;
    auto reached = [&](std::uint32_t phase) {
        return load(try_->phase_ns[phase]) != 0 || load(try_->phase_ns[stretch.from]) != 0 ||
               request_ended();
    };
    // A nap is longer than all of the way from start to the end, and the wait in the ring is longer
    // than naps: they end shortly before start is expected.
    if (seen == AT_START || seen == AT_IRQ) {
        const std::uint64_t wake_at =
            monotonic_ns() + control_->book_.in_ring_ns.load(std::memory_order_relaxed) / 2;
        wait([&] { return reached(AT_START) || monotonic_ns() >= wake_at; }, arrival_ns, false);
    }
    wait([&] { return reached(seen); }, approach_ns, true);
    if (before == AT_NO_PHASE)
        return;
    const std::uint64_t from = load(try_->phase_ns[before]);
    const std::uint64_t call_at =
        from + delay_of(placement_, std::uint64_t{pair.lead_ns.load()} + pair.stretch_ns.load());
    wait([&] { return !from || monotonic_ns() >= call_at; }, 5 * ms, true);
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

void WindowRacer::before_call() {
    const Bin bin = own_->bin;
    if (is_held(bin))
        wait_for_hold();
    else
        wait_unheld();
    std::uint32_t arrives = AT_ARRIVES_NEVER;
    HeatPair& pair =
        control_->book_.pair[static_cast<std::size_t>(own_->racer)][placement_.stretch];
    if (is_after(bin)) {
        // The call enters after its reaction; the release is set as much before that as was drawn.
        const std::uint64_t reaction = pair.reaction_ns.load();
        const std::uint64_t delay = delay_of(placement_, pair.stretch_ns.load());
        const std::uint64_t now = monotonic_ns();
        arrive(now + (reaction > delay ? reaction - delay : 0));
        decided_ns_ = now + (delay > reaction ? delay - reaction : 0);
        if (decided_ns_ > now)
            wait([&] { return monotonic_ns() >= decided_ns_; }, 5 * ms, true);
    } else if (is_held(bin) && load(try_->release_phase) == AT_NO_PHASE) {
        arrives = bin == Bin::inside && racer_ != Racer::destroyer ? AT_ARRIVES_AT_RETURN
                                                                   : AT_ARRIVES_AT_ENTRY;
    }
    decided_ns_ = is_after(bin) ? decided_ns_ : 0;
    // io_destroy() returns long after the hold, which is then no news to who judges a wait.
    if (racer_ == Racer::destroyer && is_held(bin) && load(try_->hold[1].phase) >= AT_START &&
        !own_->charged.exchange(true, std::memory_order_relaxed))
        control_->book_.held_ns.fetch_add(control_->book_.hold_ns, std::memory_order_relaxed);
    called_ = true;
    // Another thread may have the same index, if there are very many.
    timed_ = load(call_->tid) == 0;
    if (timed_) {
        call_->enter_ns = 0;
        call_->exit_ns = 0;
        call_->arrives = arrives;
        call_->try_index = offer_->record;
        call_->try_number = own_->number;
        store(call_->tid, static_cast<std::uint32_t>(gettid()));
    } else if (arrives == AT_ARRIVES_AT_ENTRY) {
        arrive();
    }
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
        return;
    }
    take_median(pair.call_ns, exit_ns_ - enter_ns_);
    if (decided_ns_ && enter_ns_ > decided_ns_)
        take_median(pair.reaction_ns, enter_ns_ - decided_ns_);
    const std::uint32_t flags = load(try_->hold[1].flags);
    const bool held = load(try_->hold[1].held_ns) && !(flags & AT_HOLD_NO_CPU);
    // One that could not be held was aimed without.
    HeatBin& bin = pair.bin[static_cast<std::size_t>(held ? own_->bin : Bin::free)];
    bin.tries.fetch_add(1, std::memory_order_relaxed);
    if (held)
        pair.held.fetch_add(1, std::memory_order_relaxed);
    if (held && (flags & AT_HOLD_EXPIRED))
        pair.expired.fetch_add(1, std::memory_order_relaxed);
    if (met == Met::yes) {
        bin.hits.fetch_add(1, std::memory_order_relaxed);
        if (held)
            pair.hits_held.fetch_add(1, std::memory_order_relaxed);
    }
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
    own_->in_use.store(false, std::memory_order_release);
}

} // namespace at
