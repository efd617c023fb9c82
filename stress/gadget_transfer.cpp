// Invariant: what one end of the cable sent is what the other end received, each packet once, and
// every request has one event.
//
// Racers: as in gadget_race, without anybody who cancels: for drivers that do not survive a cancel
// (docs/findings/gadgetfs-cancel-deadlock.md), and for what their transfers do nevertheless.
//
// Legal outcomes, for each request:
//   bytes        what the host sent or took, packet by packet
//   -EAGAIN      another submitter was in the endpoint
//   -ESHUTDOWN   the gadget left the bus at the end, and ended what still waited for the host

#include "lib/usb/gadget_race.h"

namespace {

const at::Scenario scenario{
    "gadget_transfer",
    "what one end of the cable sent is what the other end received, each packet once",
    at::gadget_knobs({{"cancellers", "0"}, {"passers_by", "0"}}),
    {{"submitted", 5000}, {"urbs", 500}},
    nullptr,
    {"functionfs", "gadgetfs"},
    at::make_gadget_stressor,
};

const at::Registration registered(scenario);

} // namespace
