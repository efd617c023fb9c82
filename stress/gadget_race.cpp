// Invariant: a request on a gadget's endpoint has exactly one event, its bytes are those of the
// other end, and whoever takes it away (io_cancel, io_destroy, exit, unbind, reset) takes it once.
//
// Racers: submitters on OUT and IN endpoints of functionfs or gadgetfs; the host, who transfers
// through usbfs, rests, discards its URBs, halts endpoints and resets the port; cancellers
// (usb_ep_dequeue() under ctx_lock); the driver's own kworker, which copies and completes; reapers;
// destroyers; and who takes the gadget off the bus.
//
// Legal outcomes, for each request:
//   bytes                what the host sent or took, packet by packet, each of them once
//   -ECONNRESET          io_cancel() said -EINPROGRESS, or the context was destroyed
//   -ESHUTDOWN           the endpoint was disabled: unbind, reset, pulled cable
//   -EAGAIN              the endpoint was disabled, or another submitter was in it
//   io_cancel() -EINVAL  not on the kioctx's list, or no longer on the endpoint: the event comes;
//                        or called while io_submit() had the request, which nobody can cancel then
//   io_cancel() -ESHUTDOWN  the controller had no driver at that moment
// A request that nobody cancels waits for the host as long as the host likes.

#include "lib/usb/gadget_race.h"

namespace {

const at::Scenario scenario{
    "gadget_race",
    "a request on a gadget's endpoint has one event and the other end's bytes, however it is ended",
    at::gadget_knobs({}),
    {{"submitted", 5000}, {"cancel_won", 300}, {"cancel_lost", 20}, {"urbs", 100}},
    nullptr,
    {"functionfs", "gadgetfs"},
    at::make_gadget_stressor,
};

const at::Registration registered(scenario);

} // namespace
