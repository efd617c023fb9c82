// Invariant: a fork neither takes a request's pages from its process nor gives them to the child:
// what the device writes lands in the parent's memory and in no other.
//
// Racers: submitters, cancellers and reapers on private memory, and forkers.  fork(2) makes all
// memory copy-on-write, but pages that may be pinned for DMA are copied for the child at once
// (mm/memory.c, copy_present_pte(), page_needs_cow_for_dma()), so the parent keeps those that the
// device knows.  Children look at their memory twice, scribble over it, call with the parent's
// context, move its ring, read from the inherited file, and end by exit or execve(2); others are
// spawned by vfork(2) and execve(2).
//
// Legal outcomes:
//   the parent's requests      as if there were no fork
//   the child's memory         changes by the child's hand alone
//   io_getevents, io_cancel,
//   io_destroy in the child    -EINVAL: contexts belong to the mm that made them (fs/aio.c,
//                              lookup_ioctx(), mm_struct.ioctx_table)
//   mremap of the ring in it   -EINVAL for the same reason (aio_ring_mremap()), -EFAULT where the
//                              ring was not mapped at the fork

#include "lib/disturb/disturb.h"
#include "lib/race.h"

namespace {

const at::Scenario scenario{
    "fork_exec_under_load",
    "a fork neither takes a request's pages from its process nor gives them to the child",
    at::common_knobs({{"requests", "4000"}, {"read_ratio", "0.8"}, {"depth", "32"}}),
    {{"submitted", 1500}, {"forked_inflight", 30}},
    [](at::Race& race) {
        race.use_private_buffers();
        race.start_submitters();
        race.start_cancellers();
        race.start_reapers();
        race.start_destroyers();
        at::start_forkers(race, 1);
        race.until_contended();
    },
};

const at::Registration registered(scenario);

} // namespace
