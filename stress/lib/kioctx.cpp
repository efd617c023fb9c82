#include "lib/kioctx.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <ctime>

#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/oracles/calls.h"
#include "lib/oracles/contract.h"
#include "lib/system.h"

namespace at {

namespace {

io_context_t id_of(const ContextSlot& context) {
    return reinterpret_cast<io_context_t>(context.id.load(std::memory_order_relaxed));
}

void report_answer(SharedRun& run, const char* call, const std::string& tag, int answer,
                   const char* circumstance = "") {
    const std::string name = errno_name(-answer);
    run.report({"contract",
                std::string(call) + " answered " + name + circumstance,
                "contract/" + tag + "-" + name,
                {}});
}

// libaio's io_getevents() looks into the ring from user space when the time-out is zero, and the
// ring of a context that is being destroyed is unmapped under it; the system call copes.
long getevents(io_context_t context, long min_nr, std::span<io_event> room,
               std::uint64_t timeout_ns) {
    timespec timeout{static_cast<time_t>(timeout_ns / 1000000000),
                     static_cast<long>(timeout_ns % 1000000000)};
    const long got = syscall(SYS_io_getevents, context, min_nr, static_cast<long>(room.size()),
                             room.data(), &timeout);
    return got < 0 ? -errno : got;
}

int destroy_call(io_context_t id) {
    const Calling calling(Call::io_destroy);
    return io_destroy(id);
}

// Of SharedRun::destroy_meeting: the other one is there.
constexpr std::uint32_t has_come = 0x80000000;

} // namespace

bool open_context(SharedRun& run, std::uint32_t index, std::uint32_t requests, RingArena& rings,
                  std::string& why) {
    ContextSlot& context = run.contexts[index];
    io_context_t id = nullptr;
    int answer = 0;
    {
        const Calling calling(Call::io_setup);
        answer = io_setup(static_cast<int>(requests), &id);
    }
    if (answer) {
        why = "io_setup: " + errno_name(-answer);
        return false;
    }
    if (!rings.place(id, why))
        return false;
    context.id.store(reinterpret_cast<std::uint64_t>(id), std::memory_order_relaxed);
    if ((run.destroy_meeting.load(std::memory_order_relaxed) & ~has_come) == index + 1)
        run.destroy_meeting.store(0, std::memory_order_relaxed); // of a life that has ended
    context.in_flight.store(0, std::memory_order_relaxed);
    context.empty_ns.store(0, std::memory_order_relaxed);
    context.incarnation.fetch_add(1, std::memory_order_relaxed);
    context.state.store(ContextState::live, std::memory_order_seq_cst);
    return true;
}

std::uint32_t draw_context(const SharedRun& run, std::uint32_t contexts, Random& random) {
    std::uint32_t index = random.below(contexts);
    for (std::uint32_t i = random.below(8) ? contexts : 0; i > 0; --i) {
        if (run.contexts[index].state.load(std::memory_order_relaxed) == ContextState::live)
            break;
        index = (index + 1) % contexts;
    }
    return index;
}

long reap_events(SharedRun& run, ContextSlot& context, const Inside& inside, long min_nr,
                 std::uint64_t timeout_ns, std::span<io_event> room,
                 const std::function<void(const io_event& event, bool destroyed)>& book) {
    // Finer than a jiffy: an fsync that returned is told from an event that came after it.
    const std::uint64_t began = monotonic_ns();
    long got = 0;
    {
        const Calling calling(Call::io_getevents);
        got = getevents(inside.id(), min_nr, room, timeout_ns);
    }
    run.count(Counter::reap_calls);
    const bool live = context.state.load(std::memory_order_seq_cst) == ContextState::live;
    for (long i = 0; i < got; ++i)
        book(room[static_cast<std::size_t>(i)], !live);
    if (got >= 0 && got < static_cast<long>(room.size()))
        context.empty_ns.store(began, std::memory_order_release);
    if (got < 0 && got != -EINTR && !(got == -EINVAL && !live))
        report_answer(run, "io_getevents", "getevents", static_cast<int>(got));
    return std::max(got, 0L);
}

std::optional<std::uint32_t> claim_event(SharedRun& run, std::span<const iocb> iocbs,
                                         const io_event& event) {
    const auto user_data = reinterpret_cast<std::uint64_t>(event.data);
    const auto index = static_cast<std::uint32_t>(user_data & (max_slots - 1));
    const bool known = index < iocbs.size();
    const EventVerdict verdict =
        known ? book_event(run.slots[index], user_data >> 12) : EventVerdict::stranger;
    if (verdict != EventVerdict::first) {
        char text[160];
        std::snprintf(text, sizeof text, "event data=0x%llx obj=%p res=%lld res2=%lld",
                      static_cast<unsigned long long>(user_data), static_cast<void*>(event.obj),
                      static_cast<long long>(event.res), static_cast<long long>(event.res2));
        std::vector<std::string> evidence{text};
        if (known)
            evidence.push_back(describe_slot(run, index));
        if (verdict == EventVerdict::duplicate) {
            run.count(Counter::events_dup);
            run.report({"ledger", "two events for one request", "ledger/duplicate", evidence});
        } else {
            run.report({"ledger", "an event for a request that was never submitted",
                        "ledger/stranger", evidence});
        }
        return std::nullopt;
    }
    Slot& slot = run.slots[index];
    if (event.obj != &iocbs[index])
        run.report({"contract",
                    "event carries another iocb's address",
                    "contract/obj",
                    {describe_slot(run, index)}});
    slot.res = static_cast<std::int64_t>(event.res);
    slot.res2 = static_cast<std::int64_t>(event.res2);
    return index;
}

void book_refused(SharedRun& run, std::uint32_t index) {
    Slot& slot = run.slots[index];
    std::uint64_t expected = slot.word.load(std::memory_order_acquire);
    if (state_of(expected) == SlotState::prepared) {
        slot.res = INT64_MIN + 1;
        if (slot.word.compare_exchange_strong(
                expected, slot_word(generation_of(expected), SlotState::refused),
                std::memory_order_acq_rel)) {
            run.contexts[slot.context.load(std::memory_order_relaxed)].in_flight.fetch_sub(
                1, std::memory_order_acq_rel);
            run.count(Counter::refused);
            return;
        }
    }
    run.report({"contract",
                "an event came for an iocb that io_submit refused",
                "contract/refused-answered",
                {describe_slot(run, index)}});
}

void book_flying(SharedRun& run, std::uint32_t index) {
    Slot& slot = run.slots[index];
    std::uint64_t expected = slot.word.load(std::memory_order_acquire);
    if (state_of(expected) == SlotState::prepared)
        slot.word.compare_exchange_strong(expected,
                                          slot_word(generation_of(expected), SlotState::flying),
                                          std::memory_order_acq_rel);
}

bool recycle_slot(SharedRun& run, std::uint32_t index, const std::function<void()>& judge) {
    Slot& slot = run.slots[index];
    const std::uint64_t word = slot.word.load(std::memory_order_acquire);
    const std::uint64_t generation = generation_of(word);
    switch (state_of(word)) {
    case SlotState::idle:
        return true;
    case SlotState::answered:
    case SlotState::swept:
    case SlotState::refused:
        // Which of the three it was is needed below; res says it: INT64_MIN swept, +1 refused.
        slot.word.store(slot_word(generation, SlotState::retiring), std::memory_order_seq_cst);
        break;
    case SlotState::retiring:
        break;
    default:
        return false;
    }
    if (slot.holders.load(std::memory_order_seq_cst))
        return false;
    if (slot.res > INT64_MIN + 1)
        judge();
    slot.word.store(slot_word(generation, SlotState::idle), std::memory_order_release);
    return true;
}

void book_accepted(SharedRun& run, std::uint64_t count) {
    if (!count)
        return;
    run.count(Counter::submitted, count);
    std::uint64_t never = 0;
    if (!run.first_iocb_ns.load(std::memory_order_relaxed))
        run.first_iocb_ns.compare_exchange_strong(never, monotonic_ns(), std::memory_order_relaxed);
}

namespace {

constexpr std::uint64_t meeting_ns = 1000000;

bool passes(const std::atomic<std::uint32_t>& word, std::uint32_t value) {
    const std::uint64_t until = monotonic_ns() + meeting_ns;
    while (word.load(std::memory_order_acquire) == value) {
        if (monotonic_ns() > until)
            return false;
        sched_yield();
    }
    return true;
}

// Until another destroyer is about to call for the same context as well, or for a millisecond.
//
//   first    0 -> waiting ............................ sees has_come: 0, calls
//   second            waiting -> waiting|has_come ................. sees 0, calls
void await_destroyer(SharedRun& run, std::uint32_t index) {
    std::uint32_t nobody = 0;
    const std::uint32_t waiting = index + 1;
    if (!run.destroy_meeting.compare_exchange_strong(nobody, waiting, std::memory_order_seq_cst))
        return;
    passes(run.destroy_meeting, waiting);
    run.destroy_meeting.store(0, std::memory_order_seq_cst);
}

void meet_destroyer(SharedRun& run, std::uint32_t index) {
    std::uint32_t waiting = index + 1;
    if (run.destroy_meeting.compare_exchange_strong(waiting, waiting | has_come,
                                                    std::memory_order_seq_cst) &&
        passes(run.destroy_meeting, waiting | has_come))
        run.count(Counter::destroyers_met);
}

} // namespace

std::optional<std::uint32_t> context_to_meet_at(const SharedRun& run) {
    const std::uint32_t waiting = run.destroy_meeting.load(std::memory_order_relaxed);
    return waiting && !(waiting & has_come) ? std::optional<std::uint32_t>(waiting - 1)
                                            : std::nullopt;
}

Destruction destroy_context(SharedRun& run, std::uint32_t index, Random& random, bool aimed) {
    ContextSlot& context = run.contexts[index];
    ContextState expected = ContextState::live;
    if (!context.state.compare_exchange_strong(expected, ContextState::claimed,
                                               std::memory_order_seq_cst)) {
        // Somebody is at it: now and then two io_destroy() meet.  Which of them wins is open.
        const bool awaited = context_to_meet_at(run) == index;
        if (expected != ContextState::dying || (!awaited && random.below(4)))
            return Destruction::none;
        const Inside inside(context);
        if (!inside || context.state.load(std::memory_order_seq_cst) != ContextState::dying)
            return Destruction::none;
        meet_destroyer(run, index);
        const int answer = destroy_call(inside.id());
        if (answer == 0)
            context.destroy_wins.fetch_add(1, std::memory_order_acq_rel);
        else if (answer == -EINVAL)
            run.count(Counter::destroy_einval);
        else
            report_answer(run, "io_destroy", "destroy", answer);
        return Destruction::joined;
    }
    const io_context_t id = id_of(context);
    // Nobody else destroys a claimed context, so the ring is still mapped here.
    const auto* ring = reinterpret_cast<const volatile AioRing*>(id);
    const std::uint32_t nr = ring->nr ? ring->nr : 1;
    const std::uint32_t unreaped = (ring->tail % nr + nr - ring->head % nr) % nr;
    const bool loaded =
        context.in_flight.load(std::memory_order_acquire) > static_cast<std::int32_t>(unreaped);
    if (!loaded && aimed && random.below(8)) {
        context.state.store(ContextState::live, std::memory_order_seq_cst);
        return Destruction::none;
    }
    context.destroy_wins.store(0, std::memory_order_relaxed);
    context.state.store(ContextState::dying, std::memory_order_seq_cst);
    if (aimed && !random.below(4))
        await_destroyer(run, index);
    const int answer = destroy_call(id);
    context.state.store(ContextState::dead, std::memory_order_seq_cst);
    while (context.users.load(std::memory_order_seq_cst))
        sched_yield();
    const std::uint32_t wins =
        context.destroy_wins.load(std::memory_order_acquire) + (answer == 0 ? 1 : 0);
    if (answer && answer != -EINVAL)
        report_answer(run, "io_destroy", "destroy", answer);
    else if (const auto finding = judge_destroyers(wins))
        run.report(*finding);
    run.count(Counter::destroyed);
    if (answer == -EINVAL)
        run.count(Counter::destroy_einval);
    if (loaded)
        run.count(Counter::destroyed_inflight);
    return Destruction::ended;
}

void sweep_context(SharedRun& run, std::uint32_t index, std::uint32_t slots) {
    const std::uint32_t incarnation =
        run.contexts[index].incarnation.load(std::memory_order_relaxed);
    for (std::uint32_t i = 0; i < slots; ++i) {
        Slot& slot = run.slots[i];
        const std::uint64_t word = slot.word.load(std::memory_order_acquire);
        if (state_of(word) != SlotState::flying ||
            slot.context.load(std::memory_order_relaxed) != index ||
            slot.incarnation.load(std::memory_order_relaxed) != incarnation)
            continue;
        run.count(Counter::swept);
        slot.res = INT64_MIN; // unknown: its event went with the ring
        slot.word.store(slot_word(generation_of(word), SlotState::swept),
                        std::memory_order_release);
    }
}

void end_context(SharedRun& run, std::uint32_t index) {
    ContextSlot& context = run.contexts[index];
    if (context.state.load(std::memory_order_acquire) != ContextState::live)
        return;
    context.state.store(ContextState::dying, std::memory_order_seq_cst);
    if (const int answer = destroy_call(id_of(context)))
        report_answer(run, "io_destroy", "destroy", answer, " for a live context");
    context.state.store(ContextState::dead, std::memory_order_seq_cst);
}

void end_contexts(SharedRun& run, std::uint32_t contexts) {
    for (std::uint32_t i = 0; i < contexts; ++i)
        end_context(run, i);
}

} // namespace at
