// Invariant: a poll request has exactly one event, and has it as soon as its file is ready or
// somebody cancels it, in whatever order wake-up, io_cancel(), close and io_destroy() come.
//
// Racers: submitters; tenders, who make files ready, take that away again, close the other end, or
// replace the polled descriptor while a submitter is using it; cancellers; reapers; destroyers;
// the kernel's own interrupts (timerfd) and kworkers (aio_poll_complete_work()).
//
// The orders of the 2019 message (Al Viro, "aio: make sure file is pinned"), and who makes them:
//   ready before vfs_poll() looks                 submit on a file that is ready
//   woken between vfs_poll() and the list         flicker while a submitter is announced
//   wake-up scheduled work, then the poll result  files woken without a mask: inotify, signalfd
//   two wait queues: the result is unreliable     pty, which is refused, or answered once
//   cancelled before it is on the list            cancels of requests that io_submit() still has
//   cancel and wake-up together                   cancels aimed at the file that is being woken
//   the last reference to the file is the iocb's  the descriptor is replaced and closed
//   the wait queue dies first (POLLFREE)          signalfd polled by a process that ends
//
// Legal outcomes, for each request:
//   event with a mask     of bits that were asked for, POLLERR or POLLHUP, that the file can show
//   event with mask 0     io_cancel() said -EINPROGRESS, the context was destroyed, the wait queue
//                         was freed, or there are several
//   io_cancel() -EINVAL   not on the kioctx's list: completed, not yet cancellable, or cancelled
//                         before; if io_submit() had returned, the event is on its way
//   io_submit() -EINVAL   a file with several wait queues, and then no event
// and a request whose file is ready and stays so, or that was cancelled, ends within the bound.

#include "lib/poll/poll_race.h"

namespace {

const at::Scenario scenario{
    "poll_race",
    "a poll request has exactly one event, and has it when its file is ready or it is cancelled",
    at::poll_knobs({}),
    {{"submitted", 20000}, {"cancel_won", 2000}, {"cancel_lost", 200}, {"wakes", 500}},
    nullptr,
    {"poll"},
    at::make_poll_stressor,
};

const at::Registration registered(scenario);

} // namespace
