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
#include "lib/oracles/calls.h"
#include "lib/window_parts.h"

namespace at {

using namespace windows;

namespace {

constexpr char device[] = "/dev/fail_injector";

// A device that is held an eighth of the time still does most of its work, and a request that times
// out has not done so because of holds (Race::stalled_during).
constexpr std::uint64_t held_share = 8;
constexpr std::uint64_t slept_share = 3;
// How long a submitter waits for a racer that it will not be held for.
constexpr std::uint64_t meeting_ns = 1 * ms;
constexpr std::uint64_t spun_ns = 200 * us; // of it

// At these the driver runs with interrupts off as a rule.
bool comes_with_interrupts_off(std::uint8_t phase) {
    return phase == AT_COMPLETE || phase == AT_UNMAP || phase == AT_UNPIN || phase == AT_FREE;
}

// Nobody holds a lock at irq: what enters behind a cancel waits there, not under ctx_lock.
std::uint32_t hold_phase(Stretch stretch) {
    return stretch.from == AT_CANCEL ? std::uint32_t{AT_IRQ} : stretch.from;
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
    book.hold_ns = std::min<std::uint64_t>(AT_HOLD_MAX_NS, timeout_ns / 6);
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

std::unique_ptr<WindowControl> WindowControl::open(SharedRun& run, double aim, double stretch,
                                                   bool refuses_cancelled) {
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
    return std::unique_ptr<WindowControl>(
        new WindowControl(run, aim, refuses_cancelled, memory, header));
}

WindowControl::WindowControl(SharedRun& run, double aim, bool refuses_cancelled, std::byte* memory,
                             const at_header& header)
    : run_(run), book_(run.windows), aim_(aim), refuses_cancelled_(refuses_cancelled),
      memory_(memory), bytes_(header.total_bytes),
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

bool WindowControl::is_awaited(std::uint32_t slot) const {
    const std::uint8_t number = load(holds_->try_of_slot[slot]);
    return number && number <= AT_NR_TRIES && tries_[number - 1].target.slot == slot &&
           tries_[number - 1].in_use.load(std::memory_order_relaxed);
}

bool WindowControl::device_held() const {
    for (std::uint32_t record = 0; record < AT_NR_TRIES; ++record) {
        if (!tries_[record].in_use.load(std::memory_order_relaxed))
            continue;
        for (const at_hold& hold : holds_->tries[record].hold)
            if (load(hold.phase) >= AT_START && load(hold.held_ns) && !load(hold.released_ns))
                return true;
    }
    return false;
}

bool WindowControl::being_submitted(std::uint32_t slot, std::uint64_t generation) const {
    const auto* words = reinterpret_cast<const std::uint64_t*>(memory_);
    const std::uint64_t word = load(words[slot * AT_NR_RACERS + AT_SUBMITTER]);
    return AT_WORD_COOKIE(word) == cookie_of(slot, generation) && AT_WORD_PHASE(word) < AT_QUEUE;
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

// How long a request takes from what is seen before a phase to that phase, where nothing held it.
void WindowControl::harvest_leads(const at_try& last, const Try& own) {
    for (std::uint32_t phase = 0; phase < phases_count; ++phase) {
        const std::uint32_t before = seen_before(phase);
        const std::uint64_t at = load(last.phase_ns[phase]);
        const std::uint64_t seen = before == AT_NO_PHASE
                                       ? own.ready_ns.load(std::memory_order_relaxed)
                                       : load(last.phase_ns[before]);
        const bool in_thread = load(last.threaded) && phase >= AT_COMPLETE;
        bool held = false;
        for (const at_hold& hold : last.hold)
            held |= load(hold.held_ns) >= seen && load(hold.held_ns) < at;
        if (seen && at > seen && !held && !in_thread)
            take_median(book_.lengths.lead_ns[phase], at - seen);
    }
}

void WindowControl::judge_start(const at_try& last, Try& own) const {
    if (!own.cancelled_early.exchange(false, std::memory_order_acq_rel))
        return;
    if (auto finding = judge_cancelled_early(load(last.phase_ns[AT_START]) != 0)) {
        finding->evidence.push_back("slot " + std::to_string(own.target.slot) + ", generation " +
                                    std::to_string(own.target.generation));
        run_.report(*finding);
    }
}

// What a record's use tells of the lengths; its last marks may come after the racers have gone.
void WindowControl::harvest(std::uint32_t record) {
    const at_try& last = holds_->tries[record];
    Try& own = tries_[record];
    if (!own.number || std::exchange(own.harvested, true))
        return;
    judge_start(last, own);
    const Stretch stretch = book_.stretch[own.stretch];
    HeatPair& pair = book_.pair[static_cast<std::size_t>(own.racer)][own.stretch];
    const std::uint64_t from = load(last.phase_ns[stretch.from]);
    const std::uint64_t to = load(last.phase_ns[stretch.to]);
    const std::uint64_t released = load(last.hold[1].released_ns);
    if (from && to > from && !load(last.hold[1].held_ns))
        take_median(book_.lengths.stretch_ns[own.stretch], to - from);
    else if (from && released && to > released)
        take_short(pair.stretch_ns, to - released);
    harvest_leads(last, own);
    if (own.named_ns && !is_held(own.bin) && load(last.phase_ns[AT_START]) > own.named_ns)
        take_median(book_.lengths.in_ring_ns, load(last.phase_ns[AT_START]) - own.named_ns);
    if (const std::uint32_t cpu = load(last.start_cpu))
        book_.lengths.device_cpu.store(cpu, std::memory_order_relaxed);
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
    own.harvested = false;
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
    // Alone, there is no other way; else some are entered as interrupts are handled everywhere. One
    // that is held at its interrupt is not taken by another's there.
    const bool alone = run_.cpus < 2;
    const bool at_irq = stretch.from == AT_IRQ && (held ? random.below(4) != 0 : alone);
    shared.threaded = (own.assembles && (alone || random.below(64))) || at_irq;
    shared.start_cpu = 0;
    shared.arrivals_left = for_cancel ? 1 : static_cast<std::int32_t>(racers);
    store(shared.cookie, static_cast<std::uint32_t>(cookie_of(target.slot, target.generation)));
    store(holds_->try_of_slot[target.slot], static_cast<std::uint8_t>(record + 1));
    if (stretch.from == AT_CANCEL)
        wanted_cancel_.store(target.slot, std::memory_order_relaxed);
}

void WindowControl::name_request(const Target& drawn, const Target& first, Random& random) {
    Offer* lead = take_offer(random);
    if (!lead)
        return;
    std::uint32_t record = 0;
    if (!take_record(record)) {
        give_back(*lead);
        return;
    }
    harvest(record);
    // Not held, it is the first of the batch: its phases come soonest after the two have met.
    const Target& target = is_held(lead->placement.bin) || is_tried(first) ? drawn : first;
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
    // Two that are awake on two CPUs meet; who yields may be away when the other wakes.
    const std::uint64_t yields_at = monotonic_ns() + (run_.cpus < 2 ? 0 : spun_ns);
    while (!tries_[record].ready_ns.load(std::memory_order_acquire) && monotonic_ns() < until)
        if (monotonic_ns() >= yields_at)
            sched_yield();
}

} // namespace at
