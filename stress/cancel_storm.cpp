// Invariant: of any number of io_cancel() calls that meet on one request at most one reaches it;
// the others find it off the list, and the request has one event.
//
// Racers: storms.  Their threads agree on one request in flight and cancel it at the same moment,
// again and again, against its completion, submitters and reapers.
//
// Legal outcomes, for each request:
//   one call                   -EINPROGRESS or -EALREADY, as in submit_cancel_race
//   all others                 -EINVAL: fs/aio.c, io_cancel() takes the request off the list under
//                              ctx_lock before it lets the lock go
//   all of them                -EINVAL, when the completion was faster

#include "lib/disturb/disturb.h"
#include "lib/race.h"

namespace {

constexpr std::uint32_t storm_threads = 4;

const at::Scenario scenario{
    "cancel_storm",
    "of many io_cancel calls that meet on one request at most one reaches it",
    at::common_knobs(
        {{"requests", "6000"}, {"cancellers", "0"}, {"spin_max", "30"}, {"cancel_newest", "0.9"}}),
    {{"submitted", 2000}, {"storms", 10}},
    [](at::Race& race) {
        race.start_submitters();
        race.start_reapers();
        race.start_destroyers();
        at::start_storm(race, storm_threads);
        race.until_contended();
    },
};

const at::Registration registered(scenario);

} // namespace
