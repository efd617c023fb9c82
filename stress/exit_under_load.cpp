// Invariant: a process that ends with requests in flight ends in bounded time, and from its end on
// nothing of it is left: no request in the driver, no page pinned, no byte written.
//
// Racers: many lives, one after another, in one cell.  Each submits, cancels, reaps and destroys
// until a seeded moment, and then ends with its threads wherever they are (in io_submit,
// io_getevents, io_destroy, a synchronous read, fsync): by SIGKILL, by exit_group(2), or by
// execve(2) in one thread.  exit_aio() is the destroyer.  In one life of four another process
// shares the mm for a moment longer, so that the last user of the mm is not the one that ended. One
// life of three has no contexts, and synchronous transfers alone.
//
// Legal outcomes:
//   the process                gone within the driver's bounds (a synchronous transfer is
//                              cancelled at once and waited for, fsync(2) is left at once,
//                              exit_aio() waits for the others)
//   a request in flight        ended, its event unseen; the driver's books show none of it
//   its buffers                memory of the supervisor, seen from outside: not written any more
//   the next life              the same contract from the beginning

#include "lib/race.h"

namespace {

const at::Scenario scenario{
    "exit_under_load",
    "a process that ends with requests in flight ends in bounded time and leaves nothing behind",
    at::common_knobs({{"requests", "1"},
                      {"lives", "1000"},
                      {"depth", "16"},
                      {"contexts", "3"},
                      {"submitters", "4"},
                      {"cancellers", "1"},
                      {"destroyers", "1"},
                      {"sync_ratio", "0.3"},
                      {"fsync_ratio", "0.03"}}),
    {{"lives", 10}, {"killed_inflight", 40}},
    [](at::Race& race) {
        race.start_submitters();
        race.start_cancellers();
        race.start_reapers();
        race.start_destroyers();
        race.until_death();
    },
};

const at::Registration registered(scenario);

} // namespace
