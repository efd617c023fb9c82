// Invariant: closing a file descriptor ends nothing but the descriptor.  A request holds its file;
// the file's release runs when the last request and the last descriptor are gone, and by then no
// request of it is left.
//
// Racers: submitters, cancellers and reapers, and closers that replace the submitters' descriptor
// by one of a newly opened file while requests and synchronous transfers of the old file are in
// flight (dup3(2) closes the old one in the same step, so that no submitter ever meets EBADF), and
// that dup and close numbers of one file.
//
// Legal outcomes:
//   open, dup, close           succeed, and return while requests are in flight
//   a request in flight        its event, as if nothing had been closed
//   the old file               released after its last request; its books are empty

#include "lib/disturb/disturb.h"
#include "lib/race.h"

namespace {

const at::Scenario scenario{
    "close_dup_under_load",
    "closing a descriptor ends no request; the file is released after its last request",
    at::common_knobs({{"requests", "6000"}, {"sync_ratio", "0.1"}}),
    {{"submitted", 3000}, {"closed_inflight", 300}},
    [](at::Race& race) {
        race.start_submitters();
        race.start_cancellers();
        race.start_reapers();
        race.start_destroyers();
        at::start_closers(race, 2);
        race.until_contended();
    },
};

const at::Registration registered(scenario);

} // namespace
