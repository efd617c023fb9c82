// Invariant: a request's pages are the request's until its answer, whatever becomes of the mapping
// that they were pinned through, and no other page is ever written.
//
// Racers: submitters, cancellers and reapers, and mappers that, for a request in flight, replace
// its buffer by fresh pages (munmap(2) and mmap(2) in one step), discard it (MADV_DONTNEED), move
// it (mremap(2)) or take its access rights (mprotect(2)); and that move the ring of a context with
// requests in flight.  Pages that lose their mapping go back to the allocator at their last
// unpin, and the fresh ones come from there: a driver that unpins too early writes into them.
//
// Legal outcomes:
//   a read                     its bytes in its own pages: seen where they were moved to, seen by
//                              nobody when the mapping is gone
//   a write                    the bytes that the pages held when it was submitted
//   the fresh pages            hold what was put there
//   a moved ring               the same context by its new address, and no event lost

#include "lib/disturb/disturb.h"
#include "lib/race.h"

namespace {

const at::Scenario scenario{
    "unmap_under_load",
    "a request's pages are its own until its answer, whatever becomes of their mapping",
    at::common_knobs({{"requests", "5000"}, {"cancellers", "1"}, {"cancel_newest", "0.6"}}),
    {{"submitted", 2000}, {"remapped_inflight", 80}, {"rings_moved", 20}},
    [](at::Race& race) {
        race.use_private_buffers();
        race.start_submitters();
        race.start_cancellers();
        race.start_reapers();
        race.start_destroyers();
        at::start_ring_movers(race, 1);
        at::start_remappers(race, 3);
        race.until_contended();
    },
};

const at::Registration registered(scenario);

} // namespace
