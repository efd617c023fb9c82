// Invariant: io_destroy() of a context with requests in flight returns when, and only when, every
// one of them has ended: none is lost, none is left in the driver, and none writes afterwards.
//
// Racers: destroyers, several side by side (each io_destroy() waits for RCU grace periods),
// against submitters, cancellers and reapers that go on using the dying context, and the device.
// With exit_kill=1 the whole process is killed in mid-flight, and exit_aio() is the destroyer.
//
// Legal outcomes:
//   io_destroy()               0 once; the loser of two gets -EINVAL at once
//   calls on the dying context an answer as before, or -EINVAL once it left the table
//   a request in flight        one event that is reaped before the ring is unmapped, or it is
//                              "swept by destroy": ended, its event unseen with the ring

#include "lib/race.h"

namespace {

const at::Scenario scenario{
    "destroy_under_load",
    "io_destroy returns once every request in flight has ended, and nothing is written afterwards",
    at::common_knobs(at::with_all_shapes({{"requests", "6000"},
                                          {"contexts", "12"},
                                          {"cancellers", "1"},
                                          {"reapers", "1"},
                                          {"destroyers", "8"}})),
    {{"destroyed_inflight", 100}},
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
