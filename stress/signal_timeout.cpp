// Invariant: a signal that does not kill interrupts waiting for events and nothing else, and a
// time-out is neither early nor lost.
//
// Racers: submitters with many synchronous transfers, cancellers and reapers, a signaller that
// sends each of them a signal with a handler (installed without SA_RESTART) wherever they are, and
// waiters that time io_pgetevents() on contexts of their own, with the signal blocked, or let in by
// the call's mask alone.
//
// Legal outcomes:
//   io_getevents               events; or -EINTR
//   io_pgetevents              0, not before its time-out; -EINTR when its mask lets the signal in;
//                              the thread's own mask is in force again
//   preadv, pwritev            their true result: the device moves memory of the caller, so a
//                              driver waits killably and a handler runs afterwards
//   io_submit, io_cancel,
//   io_destroy                 as without signals: they wait uninterruptibly or not at all

#include "lib/disturb/disturb.h"
#include "lib/race.h"

namespace {

const at::Scenario scenario{
    "signal_timeout",
    "a signal interrupts waiting for events and nothing else; no time-out is early",
    at::common_knobs({{"requests", "4000"}, {"sync_ratio", "0.3"}, {"depth", "32"}}),
    {{"submitted", 1500}, {"sync_ios", 500}, {"signals_met", 500}, {"waits_timed", 200}},
    [](at::Race& race) {
        race.start_submitters();
        race.start_cancellers();
        race.start_reapers();
        race.start_destroyers();
        at::start_signals(race, 2);
        race.until_contended();
    },
};

const at::Registration registered(scenario);

} // namespace
