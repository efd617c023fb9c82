#include "lib/usb/gadget_race.h"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstring>

#include <sched.h>
#include <unistd.h>

#include "lib/futex.h"
#include "lib/kioctx.h"
#include "lib/oracles/calls.h"
#include "lib/oracles/contract.h"
#include "lib/oracles/gadget_contract.h"
#include "lib/oracles/gadget_data.h"
#include "lib/racer.h"
#include "lib/usb/gadget_parts.h"
#include "lib/usb/packets.h"

namespace at {

namespace {

constexpr std::uint64_t ms = 1000000;
// From bind to configured: debounce and reset of a port take a quarter of a second by the standard.
constexpr std::uint64_t configure_bound_ns = 20000 * ms;
constexpr std::uint32_t batch_max = 8;

std::uint32_t number(const KnobValues& knobs, const char* name) {
    return static_cast<std::uint32_t>(knobs.integer(name));
}

} // namespace

GadgetRace::GadgetRace(const RaceSetup& setup, SharedRun& shared, GadgetBooks& books)
    : setup_(setup), knobs_(setup.bound.knobs), shared_(shared), books_(books),
      endpoints_(2 * number(knobs_, "pairs")), slots_(endpoints_ * number(knobs_, "depth")),
      contexts_(number(knobs_, "contexts")), submitters_(number(knobs_, "submitters")),
      max_bytes_(number(knobs_, "max_len")), iocbs_(slots_), vectors_(slots_),
      buffers_(std::size_t{slots_} * max_bytes_, gadget_canary), owed_(slots_), received_(slots_) {
    for (std::uint32_t i = 0; i < endpoints_; ++i)
        if (is_out(i))
            delivered_[i] = std::vector<std::atomic<std::uint64_t>>(delivered_kept);
}

GadgetRace::~GadgetRace() = default;

void GadgetRace::harness_error(const std::string& text) {
    if (shared_.harness_errors.fetch_add(1, std::memory_order_acq_rel) == 0)
        std::snprintf(shared_.harness_error, sizeof shared_.harness_error, "%s", text.c_str());
    shared_.stop.store(1, std::memory_order_release);
}

void GadgetRace::start(Role role, std::uint32_t count,
                       void (GadgetRace::*body)(std::uint32_t index, Random& random)) {
    for (std::uint32_t i = 0; i < count; ++i) {
        const std::uint32_t board = boards_used_.fetch_add(1, std::memory_order_relaxed);
        auto thread = std::thread([this, role, i, board, body] {
            Calling::attach(shared_.threads[board], role);
            try {
                Random random(setup_.plan.seed, static_cast<std::uint64_t>(role), board << 8 | i);
                (this->*body)(i, random);
            } catch (const std::exception& error) {
                harness_error(std::string(role_name(role)) + ": " + error.what());
            }
            Calling::detach();
        });
        (role == Role::reaper   ? reapers_
         : role == Role::tender ? hosts_
                                : threads_)
            .push_back(std::move(thread));
    }
}

bool GadgetRace::contended() const {
    if (shared_.value(Counter::submitted) < static_cast<std::uint64_t>(knobs_.integer("requests")))
        return false;
    for (const auto& [name, minimum] : setup_.bound.scenario->contention)
        for (std::uint32_t i = 0; i < counters_count; ++i)
            if (name == counter_name(static_cast<Counter>(i)) &&
                shared_.value(static_cast<Counter>(i)) < minimum)
                return false;
    return true;
}

// --- the stressor's main -------------------------------------------------------------------------

bool GadgetRace::set_up() {
    std::string why;
    if (!rings_.reserve(why)) {
        harness_error(why);
        return false;
    }
    gadget_ = make_gadget(setup_.device, endpoints_);
    gadget_->open();
    gadget_->bind();
    make_urbs();
    for (std::uint32_t i = 0; i < contexts_; ++i)
        if (!make_context(i))
            return false;
    start(Role::tender, 1, &GadgetRace::host_loop);
    if (until_configured(configure_bound_ns)) {
        send_passers_by(number(knobs_, "passers_by"));
        return true;
    }
    harness_error("the host does not configure the device; the controller is " + gadget_->state());
    return false;
}

bool GadgetRace::until_configured(std::uint64_t bound_ns) {
    const std::uint64_t until = monotonic_ns() + bound_ns;
    while (!stopped() && !configured_.load(std::memory_order_acquire) && monotonic_ns() < until)
        wait_for_change(configured_, 0, 5 * ms);
    return configured_.load(std::memory_order_acquire) != 0;
}

bool GadgetRace::run() {
    Calling::attach(shared_.threads[boards_used_.fetch_add(1, std::memory_order_relaxed)],
                    Role::main);
    if (set_up()) {
        shared_.stage.store(Stage::running, std::memory_order_release);
        start(Role::reaper, number(knobs_, "reapers"), &GadgetRace::reap_loop);
        start(Role::submitter, submitters_, &GadgetRace::submit_loop);
        start(Role::canceller, number(knobs_, "cancellers"), &GadgetRace::cancel_loop);
        start(Role::destroyer, number(knobs_, "destroyers"), &GadgetRace::destroy_loop);
        start(Role::disturber, 1, &GadgetRace::molest_loop);
        start(Role::disturber, number(knobs_, "binders"), &GadgetRace::bind_loop);
        const std::uint64_t until =
            coarse_ns() + static_cast<std::uint64_t>(knobs_.nanoseconds("time"));
        while (!stopped() && !contended() && coarse_ns() < until)
            wait_for_change(shared_.stop, 0, 5 * ms);
        if (knobs_.integer("exit_kill") && !stopped()) {
            // The racers go on; the supervisor's SIGKILL ends them and this process.
            shared_.stage.store(Stage::kill_me, std::memory_order_release);
            while (!stopped())
                wait_for_change(shared_.stop, 0, 100 * ms);
        }
    }
    drain();
    Calling::detach();
    return shared_.harness_errors.load(std::memory_order_acquire) == 0;
}

void GadgetRace::drain() {
    shared_.stage.store(Stage::draining, std::memory_order_release);
    shared_.stop.store(1, std::memory_order_release);
    hurry_.store(1, std::memory_order_release);
    wake(submissions_, INT_MAX);
    wake(answered_, INT_MAX);
    for (std::thread& thread : threads_)
        thread.join();
    end_what_waits();
    quiet_.store(1, std::memory_order_release);
    for (std::thread& thread : reapers_)
        thread.join();
    for (std::thread& thread : hosts_)
        thread.join();
    if (abandoned())
        return;
    // Two events for one request may be apart: what is still in a ring now is one too many.
    for (std::uint32_t i = 0; i < contexts_; ++i)
        while (reap(i, 0, 0) > 0) {
        }
    for (std::uint32_t slot = 0; slot < slots_; ++slot)
        recycle(slot);
    end_contexts(shared_, contexts_);
    gadget_->close(false);
    shared_.stage.store(Stage::done, std::memory_order_release);
}

// Cancels what waits, then leaves the bus, which answers what could not be cancelled.  Bounded by
// the supervisor, which abandons the run.
void GadgetRace::end_what_waits() {
    Random random(setup_.plan.seed, 97, 0);
    auto waits = [this] {
        for (std::uint32_t slot = 0; slot < slots_; ++slot)
            if (in_flight(state_of(shared_.slots[slot].word.load(std::memory_order_acquire))))
                return true;
        return false;
    };
    // A race without cancellers is about a driver that does not survive a cancel.
    const std::uint32_t cancelled = number(knobs_, "cancellers") ? slots_ : 0;
    for (std::uint32_t slot = 0; slot < cancelled; ++slot)
        if (in_flight(state_of(shared_.slots[slot].word.load(std::memory_order_acquire))) &&
            !shared_.slots[slot].einprogress.load(std::memory_order_relaxed))
            cancel(slot, random);
    // What was in the driver's work queue may take a moment; the rest takes the host or an unbind.
    for (int i = 0; i < 50 && waits() && !abandoned(); ++i)
        wait_for_change(shared_.abandon, 0, 2 * ms);
    if (gadget_)
        disable_endpoints(false, [this] {
            const Calling calling(Call::removal);
            gadget_->unbind();
        });
    books_.final.store(1, std::memory_order_release);
    while (waits() && !abandoned())
        wait_for_change(shared_.abandon, 0, 1 * ms);
}

// --- submitters ----------------------------------------------------------------------------------

void GadgetRace::check_read(std::uint32_t index) {
    const Slot& slot = shared_.slots[index];
    const std::byte* bytes = &buffers_[std::size_t{index} * max_bytes_];
    const auto got = static_cast<std::size_t>(std::max<std::int64_t>(slot.res, 0));
    const auto report = [&](std::optional<Finding> finding) {
        if (!finding)
            return false;
        finding->evidence.insert(finding->evidence.begin(), describe_slot(shared_, index));
        shared_.report(*finding);
        return true;
    };
    const std::uint32_t endpoint = endpoint_of(index);
    if (report(judge_gadget_read({bytes, got}, endpoint, gadget_->driver(), delivered_[endpoint])))
        return;
    shared_.count(Counter::bytes_verified, got);
    report(judge_behind_result({bytes, max_bytes_}, got));
}

void GadgetRace::judge_slot(std::uint32_t index) {
    Slot& slot = shared_.slots[index];
    const GadgetSlotBook& book = books_.slots[index];
    GadgetAnswer answer;
    answer.res = slot.res;
    answer.res2 = slot.res2;
    answer.is_read = slot.is_read;
    answer.length = slot.length;
    answer.einprogress = slot.einprogress.load(std::memory_order_relaxed);
    answer.destroyed = slot.destroyed;
    answer.partial = gadget_->cancelled_with_bytes();
    const std::uint32_t disablings = books_.disablings_begun.load(std::memory_order_acquire);
    answer.disabled = disablings != book.disablings.load(std::memory_order_relaxed);
    if (auto finding = judge_gadget(answer)) {
        finding->evidence.push_back(describe_slot(shared_, index));
        shared_.report(*finding);
    }
    if (slot.is_read)
        check_read(index);
    else if (answer.res > 0)
        owed_[index][generation_of(slot.word.load(std::memory_order_relaxed)) % owed_kept].store(
            std::uint64_t{disablings} << 8 |
                (static_cast<std::uint64_t>(answer.res) + usb_packet_bytes - 1) / usb_packet_bytes,
            std::memory_order_release);
    if (answer.res == -ECONNRESET) {
        shared_.count(Counter::cancelled);
        if (answer.einprogress)
            shared_.count(Counter::cancel_won);
    } else {
        shared_.count(Counter::cancel_lost,
                      slot.lost_cancels.load(std::memory_order_relaxed) ? 1 : 0);
    }
    if (answer.res < 0 && answer.res != -ECONNRESET)
        shared_.count(answer.res == -ESHUTDOWN ? Counter::nodev : Counter::errors);
}

// True when the slot can be used for a new request.
bool GadgetRace::recycle(std::uint32_t index) {
    return recycle_slot(shared_, index, [this, index] { judge_slot(index); });
}

namespace {

// Whole packets but for the last one, which has a header at least.
std::uint32_t draw_length(Random& random, std::uint32_t max_bytes, bool whole) {
    const std::uint32_t packets = random.logarithmic(1, max_bytes / usb_packet_bytes);
    const std::uint32_t length = packets * static_cast<std::uint32_t>(usb_packet_bytes);
    if (whole || random.below(3) == 0)
        return length;
    return length - random.below(usb_packet_bytes - usb_header_bytes + 1);
}

} // namespace

void GadgetRace::draw(std::uint32_t index, Random& random) {
    Slot& slot = shared_.slots[index];
    const std::uint32_t endpoint = endpoint_of(index);
    std::byte* buffer = &buffers_[std::size_t{index} * max_bytes_];
    const std::uint64_t generation = generation_of(slot.word.load(std::memory_order_relaxed)) + 1;
    slot.is_read = is_out(endpoint);
    // A read that ends within a packet is EOVERFLOW when the host sends more (dummy_hcd.c,
    // transfer()), so reads are of whole packets.
    slot.length = draw_length(random, max_bytes_, slot.is_read);
    slot.segments = 1;
    slot.device_at = 0;
    slot.op.store(Op::transfer, std::memory_order_relaxed);
    if (slot.is_read)
        std::fill_n(buffer, max_bytes_, gadget_canary);
    else
        fill_transfer(endpoint, user_data_of(index, generation), buffer, slot.length);
    for (auto* count : {&slot.einprogress, &slot.ealready, &slot.einval, &slot.lost_cancels})
        count->store(0, std::memory_order_relaxed);
    slot.reported.store(0, std::memory_order_relaxed);
    owed_[index][generation % owed_kept].store(0, std::memory_order_relaxed);
    iocb& cb = iocbs_[index];
    const int fd = gadget_->endpoint_fd(endpoint);
    if (random.chance(knobs_.real("vectored"))) {
        auto& vector = vectors_[index];
        const std::uint32_t cut = random.below(slot.length + 1);
        vector[0] = {buffer, cut};
        vector[1] = {buffer + cut, slot.length - cut};
        slot.segments = 2;
        (slot.is_read ? io_prep_preadv : io_prep_pwritev)(&cb, fd, vector.data(), 2, 0);
    } else {
        (slot.is_read ? io_prep_pread : io_prep_pwrite)(&cb, fd, buffer, slot.length, 0);
    }
    cb.data = reinterpret_cast<void*>(user_data_of(index, generation));
    GadgetSlotBook& book = books_.slots[index];
    book.early_cancel.store(0, std::memory_order_relaxed);
    book.disablings.store(books_.disablings_ended.load(std::memory_order_acquire),
                          std::memory_order_relaxed);
    slot.word.store(slot_word(generation, SlotState::idle), std::memory_order_release);
}

void GadgetRace::submit(std::vector<std::uint32_t>& slots, Random& random) {
    iocb* pointers[batch_max];
    const std::uint32_t context_index = draw_context(shared_, contexts_, random);
    ContextSlot& context = shared_.contexts[context_index];
    const Inside inside(context);
    if (!inside)
        return;
    const std::uint32_t incarnation = context.incarnation.load(std::memory_order_relaxed);
    const std::uint64_t now = coarse_ns();
    long count = 0;
    for (const std::uint32_t index : slots) {
        draw(index, random);
        Slot& slot = shared_.slots[index];
        const std::uint64_t generation = generation_of(slot.word.load(std::memory_order_relaxed));
        slot.context.store(context_index, std::memory_order_relaxed);
        slot.incarnation.store(incarnation, std::memory_order_relaxed);
        slot.submitted_ns.store(now, std::memory_order_relaxed);
        slot.events.store(generation << 8, std::memory_order_release);
        slot.word.store(slot_word(generation, SlotState::prepared), std::memory_order_seq_cst);
        shared_.count(slot.is_read ? Counter::reads : Counter::writes);
        if (slot.segments > 1)
            shared_.count(Counter::vectored);
        pointers[count++] = &iocbs_[index];
    }
    context.in_flight.fetch_add(static_cast<std::int32_t>(count), std::memory_order_acq_rel);
    last_submitted_.store(slots.back(), std::memory_order_relaxed);
    int answer = 0;
    {
        const Calling calling(Call::io_submit);
        answer = io_submit(inside.id(), count, pointers);
    }
    shared_.count(Counter::submit_calls);
    const long accepted = std::max(answer, 0);
    for (long i = 0; i < count; ++i) {
        const std::uint32_t index = slots[static_cast<std::size_t>(i)];
        if (i >= accepted)
            book_refused(shared_, index);
        else
            book_flying(shared_, index);
    }
    book_accepted(shared_, static_cast<std::uint64_t>(accepted));
    submissions_.fetch_add(1, std::memory_order_release);
    wake(submissions_, 1);
    const bool live = context.state.load(std::memory_order_seq_cst) == ContextState::live;
    const bool closed = knobs_.integer("binders") != 0; // its number stands for another file then
    if (const auto finding = judge_submit(answer, !live || closed))
        shared_.report(*finding);
}

// An endpoint that is disabled answers at once: not in loops that starve the host's enumeration.
void GadgetRace::rest_off_the_bus() {
    if (!configured_.load(std::memory_order_relaxed))
        wait_for_change(shared_.stop, 0, 20 * ms);
}

void GadgetRace::submit_loop(std::uint32_t index, Random& random) {
    std::uint32_t cursor = index;
    std::vector<std::uint32_t> batch;
    while (!stopped()) {
        const std::uint32_t seen = answered_.load(std::memory_order_acquire);
        batch.clear();
        const std::uint32_t wanted = random.logarithmic(1, batch_max);
        for (std::uint32_t i = index; i < slots_ && batch.size() < wanted; i += submitters_) {
            cursor = cursor + submitters_ < slots_ ? cursor + submitters_ : index;
            if (recycle(cursor))
                batch.push_back(cursor);
        }
        if (!batch.empty())
            submit(batch, random);
        if (batch.empty())
            wait_for_change(answered_, seen, ms);
        rest_off_the_bus();
    }
}

// --- reapers -------------------------------------------------------------------------------------

void GadgetRace::on_event(const io_event& event, bool destroyed) {
    const auto claimed = claim_event(shared_, iocbs_, event);
    if (!claimed)
        return;
    Slot& slot = shared_.slots[*claimed];
    const std::uint64_t generation = generation_of(slot.word.load(std::memory_order_relaxed));
    slot.destroyed = destroyed;
    shared_.count(Counter::completed);
    shared_.contexts[slot.context.load(std::memory_order_relaxed)].in_flight.fetch_sub(
        1, std::memory_order_acq_rel);
    slot.word.store(slot_word(generation, SlotState::answered), std::memory_order_release);
}

long GadgetRace::reap(std::uint32_t index, long min_nr, std::uint64_t timeout_ns) {
    ContextSlot& context = shared_.contexts[index];
    const Inside inside(context);
    if (!inside)
        return 0;
    io_event events[64];
    const long got =
        reap_events(shared_, context, inside, min_nr, timeout_ns, events,
                    [this](const io_event& event, bool destroyed) { on_event(event, destroyed); });
    if (got > 0) {
        answered_.fetch_add(1, std::memory_order_release);
        wake(answered_, INT_MAX);
    }
    return got;
}

void GadgetRace::reap_loop(std::uint32_t index, Random& random) {
    std::uint32_t at = index % contexts_;
    std::uint32_t fruitless = 0;
    while (!quiet_.load(std::memory_order_acquire) && !abandoned()) {
        at = (at + 1) % contexts_;
        const bool wait = contexts_ == 1 || ++fruitless > contexts_;
        if (reap(at, wait ? 1 + random.below(4) : 0, wait ? ms : 0) > 0)
            fruitless = 0;
    }
}

// --- cancellers ----------------------------------------------------------------------------------

std::uint32_t GadgetRace::choose(Random& random) const {
    // In io_submit() now: a race too, but such a request may be uncancellable afterwards.
    const bool early = random.chance(knobs_.real("early"));
    const std::uint32_t newest = last_submitted_.load(std::memory_order_relaxed);
    for (std::uint32_t i = 0; early && i < slots_; ++i) {
        const std::uint32_t slot = (newest + slots_ - i) % slots_;
        if (state_of(shared_.slots[slot].word.load(std::memory_order_relaxed)) ==
            SlotState::prepared)
            return slot;
    }
    auto fits = [&](std::uint32_t index) {
        const Slot& slot = shared_.slots[index];
        const SlotState state = state_of(slot.word.load(std::memory_order_relaxed));
        if (!in_flight(state) || state == SlotState::prepared)
            return false;
        // Once in a while a request is cancelled again.
        return slot.lost_cancels.load(std::memory_order_relaxed) == 0 || random.below(128) == 0;
    };
    // The newest is likely to be won, the oldest to be lost to the host.
    const std::uint32_t first = random.below(4) == 0 ? newest : random.below(slots_);
    for (std::uint32_t i = 0; i < slots_; ++i) {
        const std::uint32_t slot = (first + i) % slots_;
        if (fits(slot))
            return slot;
    }
    return max_slots;
}

void GadgetRace::cancel(std::uint32_t index, Random& random) {
    Slot& slot = shared_.slots[index];
    const Holding holding(slot);
    if (!in_flight(state_of(slot.word.load(std::memory_order_seq_cst))))
        return;
    ContextSlot& context = shared_.contexts[slot.context.load(std::memory_order_relaxed)];
    const Inside inside(context);
    if (!inside || context.incarnation.load(std::memory_order_relaxed) !=
                       slot.incarnation.load(std::memory_order_relaxed))
        return;
    for (std::uint32_t spin = random.logarithmic(1, number(knobs_, "spin_max")); spin; --spin)
        __asm__ __volatile__("" ::: "memory");
    GadgetSlotBook& book = books_.slots[index];
    const bool flying = state_of(slot.word.load(std::memory_order_acquire)) == SlotState::flying;
    if (!flying)
        book.early_cancel.store(1, std::memory_order_seq_cst);
    const std::uint32_t disablings = books_.disablings_ended.load(std::memory_order_acquire);
    io_event result;
    std::memset(&result, 0xa5, sizeof result);
    const io_event untouched = result;
    int answer = 0;
    {
        const Calling calling(Call::io_cancel);
        answer = io_cancel(inside.id(), &iocbs_[index], &result);
    }
    shared_.count(Counter::cancel_calls);
    if (auto finding = judge_gadget_cancel(
            answer, std::memcmp(&result, &untouched, sizeof result) != 0,
            books_.disablings_begun.load(std::memory_order_acquire) != disablings)) {
        finding->evidence.push_back(describe_slot(shared_, index));
        shared_.report(*finding);
    }
    const bool live = context.state.load(std::memory_order_relaxed) == ContextState::live;
    // relaxed: the judge reads them after holders fell to 0, which orders them.
    if (answer == -EINPROGRESS) {
        slot.einprogress.fetch_add(1, std::memory_order_relaxed);
        shared_.count(Counter::cancel_einprogress);
    } else {
        shared_.count(Counter::cancel_einval);
        if (flying && live && !book.early_cancel.load(std::memory_order_seq_cst))
            slot.einval.fetch_add(1, std::memory_order_relaxed);
    }
    if (flying && live)
        shared_.count(Counter::cancelled_flying);
    if (flying && (answer == -EINPROGRESS || live))
        slot.lost_cancels.fetch_add(1, std::memory_order_relaxed);
}

void GadgetRace::cancel_loop(std::uint32_t, Random& random) {
    while (!stopped()) {
        const std::uint32_t seen = submissions_.load(std::memory_order_acquire);
        bool missed = false;
        for (std::uint32_t i = 1 + random.below(8); i > 0 && !missed; --i) {
            const std::uint32_t target = choose(random);
            missed = target >= max_slots;
            if (!missed)
                cancel(target, random);
        }
        if (missed || random.below(4) == 0)
            wait_for_change(submissions_, seen, ms / 2);
        rest_off_the_bus();
    }
}

// --- contexts ------------------------------------------------------------------------------------

bool GadgetRace::make_context(std::uint32_t index) {
    std::string why;
    if (open_context(shared_, index, slots_ + 8, rings_, why))
        return true;
    harness_error(why);
    return false;
}

void GadgetRace::destroy_loop(std::uint32_t, Random& random) {
    while (!stopped()) {
        const std::uint32_t seen = submissions_.load(std::memory_order_acquire);
        const auto meeting = context_to_meet_at(shared_);
        const std::uint32_t index = meeting.value_or(random.below(contexts_));
        if (meeting || shared_.contexts[index].in_flight.load(std::memory_order_relaxed) >=
                           static_cast<std::int32_t>(1 + random.below(8))) {
            if (destroy_context(shared_, index, random, true) == Destruction::ended) {
                sweep_context(shared_, index, slots_);
                answered_.fetch_add(1, std::memory_order_release);
                wake(answered_, INT_MAX);
                make_context(index);
            }
        }
        wait_for_change(submissions_, seen, ms);
    }
}

} // namespace at
