// What racers do with contexts and their events, whatever the target: the ledger's side of
// io_setup, io_getevents, io_destroy and of a refused io_submit.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>

#include <libaio.h>

#include "lib/ledger.h"
#include "lib/racer.h"
#include "lib/random.h"
#include "lib/ring_arena.h"

namespace at {

// A new context with room for `requests`, its ring at an address that none had before.  False, with
// the reason in `why`.
bool open_context(SharedRun& run, std::uint32_t context, std::uint32_t requests, RingArena& rings,
                  std::string& why);

// One of `contexts`, mostly live: a dying one is hit too, but takes no more requests.
std::uint32_t draw_context(const SharedRun& run, std::uint32_t contexts, Random& random);

// io_getevents() into `room`; each event goes to `book`, with whether its context is being
// destroyed.  Answers the number of events.
long reap_events(SharedRun& run, ContextSlot& context, const Inside& inside, long min_nr,
                 std::uint64_t timeout_ns, std::span<io_event> room,
                 const std::function<void(const io_event& event, bool destroyed)>& book);

// The slot whose first event this is, with its result; nothing, after a report, for an event that
// is a second one or nobody's.
std::optional<std::uint32_t> claim_event(SharedRun& run, std::span<const iocb> iocbs,
                                         const io_event& event);

// A slot that io_submit() did not take; reports when an event came for it nevertheless.
void book_refused(SharedRun& run, std::uint32_t slot);

// A slot that io_submit() took.  One whose event was faster is the reaper's, and stays Answered.
void book_flying(SharedRun& run, std::uint32_t slot);

// For slots that nobody watches after their answer: true when the slot can be used for a new
// request.  `judge` is asked once about an answered one, when its last holder has left.
bool recycle_slot(SharedRun& run, std::uint32_t slot, const std::function<void()>& judge);

// `count` requests that io_submit() took.
void book_accepted(SharedRun& run, std::uint64_t count);

enum class Destruction {
    none,   // the context was left alone
    joined, // another racer destroys it, and this one called too
    ended,  // it is gone, and nobody uses its id: sweep, and make the next
};
// `aimed`: few contexts are destroyed whose requests have all ended, since that is no race; and one
// destroyer in four waits, for a millisecond at most, until another one is about to call as well.
Destruction destroy_context(SharedRun& run, std::uint32_t context, Random& random, bool aimed);
// The context at which a destroyer waits for another one.
std::optional<std::uint32_t> context_to_meet_at(const SharedRun& run);

// After Destruction::ended: the first `slots` slots' requests whose events went with the ring.
void sweep_context(SharedRun& run, std::uint32_t context, std::uint32_t slots);

// Destroys a live context; nothing is in flight.
void end_context(SharedRun& run, std::uint32_t index);
// All of them, one after another.
void end_contexts(SharedRun& run, std::uint32_t contexts);

} // namespace at
