// Invariant: a request that io_cancel() races with its completion has exactly one event, and the
// event agrees with io_cancel()'s answer.
//
// Racers: submitters, cancellers that address requests in flight by the submitter's iocb pointers
// (at once after the submit, after a seeded spin, or the oldest ones, which are about to end),
// reapers, and the device.  All share the contexts.
//
// Legal outcomes, for each request:
//   io_cancel() -EINPROGRESS   the event carries -ECANCELED, or the true result (device was faster)
//   io_cancel() -EALREADY      completion had begun: the event carries the true result
//   io_cancel() -EINVAL        not on the kioctx's list (fs/aio.c, io_cancel()): completed, not yet
//                              cancellable, or cancelled before; the event comes on its own terms
// and never two of -EINPROGRESS and -EALREADY together: the request leaves the list either way.

#include "lib/race.h"

namespace {

const at::Scenario scenario{
    "submit_cancel_race",
    "a cancelled request has exactly one event, which agrees with io_cancel's answer",
    at::common_knobs(
        at::with_all_shapes({{"cancellers", "2"}, {"reapers", "1"}, {"destroyers", "0"}})),
    {{"submitted", 10000}, {"cancel_won", 1000}, {"cancel_lost", 1000}},
    [](at::Race& race) {
        race.start_submitters();
        race.start_cancellers();
        race.start_reapers();
        race.start_destroyers();
        race.start_onlookers();
        race.until_contended();
    },
};

const at::Registration registered(scenario);

} // namespace
