// The ledger: what became of every request.  It lies in shared memory, so that the supervisor
// reads it while the stressor runs, hangs, or is dead.
//
// A request is (slot, generation).  One submitter owns a slot and alone begins a generation:
//
//      submitter        Idle -> Prepared --io_submit accepts--> Flying
//                                   \--io_submit refuses-----> Refused
//      reaper                     (first event)  Prepared|Flying -> Answered
//      destroyer        (io_destroy returned, ring gone)  Flying -> Swept
//      submitter        Answered|Swept|Refused -> Retiring -> (no canceller holds it) -> Idle
//
// A reaper may come before io_submit() has returned, so Prepared -> Flying is a
// compare-and-exchange and Prepared -> Answered is ordinary.  A canceller holds a slot while it
// uses the iocb's address; the slot is judged and reused only when nobody holds it, so that every
// answer of io_cancel() is booked to the generation that it hit.
//
// Memory order: `word` is stored with release by whoever ends an ownership and loaded with
// acquire by whoever begins one; the plain fields are handed over by it.  `word` and `holders`
// together are a Dekker pair (store one, load the other), which needs seq_cst.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "lib/findings.h"
#include "lib/oracles/late_waits.h"
#include "lib/window_book.h"

namespace at {

// --- names of requests -------------------------------------------------------------------------

constexpr std::uint32_t max_slots = 4096; // 12 bits of the cookie
constexpr std::uint32_t max_segments = 4;

// The generation in aio_data never wraps; that of the cookie has 10 bits and is never 0.
constexpr std::uint64_t user_data_of(std::uint32_t slot, std::uint64_t generation) {
    return generation << 12 | slot;
}
constexpr std::uint64_t cookie_of(std::uint32_t slot, std::uint64_t generation) {
    return (1 + generation % 1023) << 12 | slot;
}
constexpr int cookie_shift = 40; // bits 40..61 of the file offset

// --- a slot ------------------------------------------------------------------------------------

enum class SlotState : std::uint8_t {
    idle,
    prepared,
    flying,
    answered,
    swept,
    refused,
    retiring,
    sync, // inside pread or pwrite
};

constexpr std::uint64_t slot_word(std::uint64_t generation, SlotState state) {
    return generation << 8 | static_cast<std::uint8_t>(state);
}
constexpr SlotState state_of(std::uint64_t word) {
    return static_cast<SlotState>(word & 0xff);
}
constexpr std::uint64_t generation_of(std::uint64_t word) {
    return word >> 8;
}
constexpr bool in_flight(SlotState state) {
    return state == SlotState::prepared || state == SlotState::flying;
}

// What is asked for.  A poll waits for room in the driver's ring; an fsync for what was submitted
// before it.
enum class Op : std::uint8_t { transfer, fsync, fdsync, poll };

struct Segment {
    std::uint32_t at; // offset in the slot's buffer
    std::uint32_t length;
};

struct alignas(64) Slot {
    std::atomic<std::uint64_t> word;
    std::atomic<std::uint32_t> holders;     // cancellers that use the iocb's address now
    std::atomic<std::uint64_t> events;      // generation << 8 | events seen for it
    std::atomic<std::uint32_t> einprogress; // answers of io_cancel for this generation
    std::atomic<std::uint32_t> ealready;
    std::atomic<std::uint32_t> einval;
    std::atomic<std::uint32_t> lost_cancels; // cancels of the request while it was Flying
    std::atomic<std::uint32_t> reported;     // the lost event was told
    // generation << 8 | who verifies and re-patterns the buffer: whoever took it first, the reaper
    // or a disturber that changes the mapping under the request.
    std::atomic<std::uint64_t> settler;

    // Written by the owner before Prepared, constant until Idle.  The first two are atomic because
    // a destroyer that sweeps looks at the slots of other contexts too, and those move on under
    // it.  relaxed: such a slot cannot come to name the dead context, whatever mix it sees.
    std::atomic<std::uint32_t> context;
    std::atomic<std::uint32_t> incarnation;
    std::uint64_t device_at; // offset in the device's memory
    std::uint32_t length;
    std::uint32_t segments;
    Segment segment[max_segments];
    std::uint32_t device_epoch;   // SharedRun::device_epoch when it was drawn
    std::uint32_t files_replaced; // Race::begin_file_replacement() until then
    bool is_read;
    bool is_sync;
    bool nowait;
    bool edge; // reaches beyond the end of the device's memory
    bool bad;  // its last segment lies, or ends, in memory that cannot be used for it
    std::atomic<Op> op;
    std::uint32_t limit; // bytes that the target can take at once, of these segments
    short poll_events;
    // A loose bound of when it was submitted, for the supervisor while the slot is Flying.
    std::atomic<std::uint64_t> submitted_ns;
    std::uint64_t submitted_healthy_ns; // SharedRun::healthy_ns() then
    std::uint64_t submitted_held_ns;    // Race::held_ns() then
    // When it was seen flying, cancelled, denied and overtaken by an fsync; 0: was not.
    std::atomic<std::uint64_t> flying_ns;
    std::atomic<std::uint64_t> flying_healthy_ns;
    std::atomic<std::uint64_t> cancel_ns;
    std::atomic<std::uint64_t> einval_ns;
    std::atomic<std::uint64_t> fsynced_ns;
    std::atomic<bool> file_fsynced; // by one that succeeded, of the same open file

    // Written by the reaper before Answered.
    std::int64_t res;
    std::int64_t res2;
    bool destroyed; // the context was being destroyed when the event was seen
    std::uint64_t answered_ns;
    std::uint64_t answered_exact_ns; // as answered_ns, finer than a jiffy
    std::uint64_t answered_healthy_ns;
    std::uint64_t ring_empty_ns; // the ring was seen empty after this, so the event came later
};

// --- a context ---------------------------------------------------------------------------------

enum class ContextState : std::uint32_t { empty, live, claimed, dying, dead, moving };

// Racers enter a context before they use its id and leave it afterwards.  The destroyer marks it
// dead after io_destroy() returned and waits until nobody is inside; only then are its unanswered
// requests swept.  `state` and `users` are a Dekker pair (seq_cst).
struct alignas(64) ContextSlot {
    std::atomic<ContextState> state;
    std::atomic<std::uint32_t> users;
    std::atomic<std::uint32_t> incarnation;
    std::atomic<std::uint32_t>
        destroy_wins;                    // calls of io_destroy() that answered 0, but the owner's
    std::atomic<std::int32_t> in_flight; // submitted and not reaped
    std::atomic<std::uint64_t> id;       // io_context_t
    // Begin of the last io_getevents() that found the ring empty: a request submitted long
    // before it has no event waiting there.
    std::atomic<std::uint64_t> empty_ns;
};

// --- what each thread is doing -----------------------------------------------------------------

enum class Call : std::uint32_t {
    none,
    io_setup,
    io_submit,
    io_cancel,
    io_getevents,
    io_destroy,
    pread,
    pwrite,
    // Of the disturbers: what a scenario has beside the four racers.
    open,
    close,
    fork,
    waitpid,
    remap,
    removal,
    delete_module,
    io_pgetevents,
    hotplug,
    reclaim,
    read,
    fsync,
    poll,
    ioctl,
    write_back,
    count
};
const char* call_name(Call call);

enum class Role : std::uint32_t {
    none,
    submitter,
    canceller,
    reaper,
    destroyer,
    main,
    tender,
    disturber
};
const char* role_name(Role role);

struct alignas(64) ThreadBoard {
    std::atomic<Role> role;
    std::atomic<std::uint32_t> tid;
    // sequence << 8 | call: a supervisor that sees the same word twice sees the same call.
    std::atomic<std::uint64_t> call;

    Call now_in() const { return static_cast<Call>(call.load(std::memory_order_relaxed) & 0xff); }
};

// --- counters ----------------------------------------------------------------------------------

enum class Counter : std::uint32_t {
    submitted,
    completed,
    cancelled,
    cancel_calls,
    cancel_einprogress,
    cancel_einval,
    cancel_ealready,
    cancel_won,
    cancel_lost,
    destroyed,
    destroyed_inflight,
    destroy_einval,
    destroyers_met,
    swept,
    refused,
    killed_inflight,
    events_lost,
    events_dup,
    late_writes,
    reads,
    writes,
    vectored,
    sync_ios,
    short_results, // of less than the device and its limits allow
    whole_results,
    timeouts,
    timeouts_stalled,
    errors,
    nodev,
    bytes_verified,
    watched_again,
    submit_calls,
    reap_calls,
    wakes,        // times that a polled file was made ready
    closes,       // polled files closed with requests in flight
    hangups,      // polled files whose other end was closed
    freed_queues, // submits whose wait queue was freed at once
    lives,        // processes that were ended in mid-flight, one after another
    outside,      // requests that a disturber made beside the ledger; the driver's books show them
    // Of the disturbers.
    disturbed, // times that any of them did its part with requests in flight
    closed_inflight,
    opened_inflight,
    polled_inflight,
    cleaned_inflight, // reads whose pages were written back while they were in flight
    pages_dropped,    // … and were given away after it
    unloads_refused,
    removals,
    binds_starved, // whose allocation failed
    removed_inflight,
    reloads,
    loads_starved,
    signals_met,
    killed_inside, // processes that ended by SIGKILL with the device open
    waits_timed,
    forks,
    forked_inflight,
    remapped_inflight,
    rings_moved,
    limit_reached,
    storms,
    hotplugs,
    reclaims,
    compared,
    compared_uring,
    polls,
    fsyncs,
    bad_buffers,
    lulls,
    nowaits_looked_for, // in the driver's lists, after calls beside a full ring
    waited,             // answered after most of their time-out
    timeouts_bare,      // ETIMEDOUT that no stall of a CPU explains
    longest_wait_us,    // of any request, while every CPU scheduled: not a sum
    longest_cancel_us,  // from an accepted cancel to the event
    // Of the host at the other end of a gadget's cable.
    cancelled_flying, // calls of io_cancel() on requests that were in flight
    urbs,
    urbs_discarded,
    halts,
    port_resets,
    unbinds,
    disconnects,
    reopens, // all files closed, and the gadget set up anew
    count
};
const char* counter_name(Counter counter);
constexpr auto counters_count = static_cast<std::uint32_t>(Counter::count);

// --- heartbeats --------------------------------------------------------------------------------

constexpr std::uint32_t max_cpus = 64;
constexpr std::uint32_t stalls_kept = 16;
constexpr std::uint64_t stall_ns = 25000000; // a CPU that shows nothing for so long has stood still

struct Stall {
    std::atomic<std::uint64_t> end_ns;
    std::atomic<std::uint64_t> length_ns;
};

struct alignas(64) Heartbeat {
    std::atomic<std::uint64_t> healthy_ns; // time in which this CPU was seen to schedule
    std::atomic<std::uint64_t> last_ns;
    std::atomic<std::uint32_t> stalls; // of more than stall_ns
    Stall stall[stalls_kept];
};

// --- all of it ---------------------------------------------------------------------------------

enum class Stage : std::uint32_t { starting, running, draining, kill_me, done };

constexpr std::uint32_t max_threads = 128;
constexpr std::uint32_t max_contexts = 64;

struct SharedRun {
    std::atomic<std::uint32_t> stop; // racers end; reapers go on
    // Odd while the device is being replaced; what it held before is forgotten then.
    std::atomic<std::uint32_t> device_epoch;
    // 1 + the context at which a destroyer waits for another one (kioctx.cpp); 0: none does.
    std::atomic<std::uint32_t> destroy_meeting;
    std::atomic<std::uint32_t> abandon; // nothing more will come: reapers end too
    std::atomic<Stage> stage;
    std::atomic<std::uint64_t> first_iocb_ns;
    std::atomic<std::uint64_t> first_finding_ns;
    std::atomic<std::uint64_t> first_finding_submitted;
    std::atomic<std::uint32_t> harness_errors; // the stressor could not do its work
    char harness_error[256];
    char drawn[160];                       // what a race drew for itself
    std::atomic<std::uint32_t> drawn_told; // … stands there
    std::uint32_t slots_used;
    std::uint32_t buffer_stride;
    std::uint32_t cpus;
    std::uint64_t timeout_ns;
    std::uint64_t lives_until_ns; // none begins later
    std::atomic<std::uint64_t> counters[counters_count];
    FindingsRing findings;
    Heartbeat heartbeats[max_cpus];
    std::uint32_t work_cpus; // of work_beats; 0: requests do not end by a kworker
    Heartbeat work_beats[max_cpus];
    ThreadBoard threads[max_threads];
    WindowBook windows;
    LateWaits late_waits;
    ContextSlot contexts[max_contexts];
    Slot slots[max_slots];

    // relaxed: counters order nothing, and are read exactly only when their writers have ended.
    void count(Counter counter, std::uint64_t by = 1) {
        counters[static_cast<std::uint32_t>(counter)].fetch_add(by, std::memory_order_relaxed);
    }
    std::uint64_t value(Counter counter) const {
        return counters[static_cast<std::uint32_t>(counter)].load(std::memory_order_relaxed);
    }
    // relaxed: a gauge that orders nothing.
    void at_least(Counter counter, std::uint64_t value) {
        auto& gauge = counters[static_cast<std::uint32_t>(counter)];
        std::uint64_t seen = gauge.load(std::memory_order_relaxed);
        while (seen < value &&
               !gauge.compare_exchange_weak(seen, value, std::memory_order_relaxed)) {
        }
    }
    void report(const Finding& finding);
    // Never faster than the wall clock; stands still while a CPU does not schedule, and, where
    // requests need them, while its kworkers do not run.
    std::uint64_t healthy_ns() const;
};

// What an event does to the books of its slot.
enum class EventVerdict { first, duplicate, stranger };
EventVerdict book_event(Slot& slot, std::uint64_t generation);

// Takes the right to settle this generation of the slot; false when somebody has it.
bool take_settling(Slot& slot, std::uint64_t generation);

// Does the slot's context owe its event still, and has its ring been empty since `since_ns`?  A
// context that is being destroyed answers no more; StuckCalls watches its destroyer.
bool event_is_owed(const SharedRun& run, const Slot& slot, std::uint64_t since_ns);

// Of a run whose process was killed, with no thread of it left.
struct LeftAtDeath {
    std::int64_t in_flight = 0; // slots
    std::int64_t unseen = 0;    // those; what was answered and not judged; reads of no slot
};
LeftAtDeath left_at_death(const SharedRun& run);

// The slot's name and geometry, for evidence.
std::string describe_slot(const SharedRun& run, std::uint32_t slot);

} // namespace at
