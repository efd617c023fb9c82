// Contract oracle of IOCB_CMD_POLL: may this request have had this event?
//
// Rules of fs/aio.c (5.10 to 7.3):
//   res2 is 0, and res is a poll mask: never an errno (aio_poll_complete_work(), aio_poll_wake()).
//   A request that somebody cancelled (io_cancel, io_destroy, exit) may have res 0; so may one
//   whose wait queue was freed under it (POLLFREE), and one of a file with several queues, which
//   aio_poll() cancels itself.  No other may: aio_poll_complete_work() waits on for mask 0.
//   res holds bits that were asked for, and POLLERR and POLLHUP, which are always (aio_poll():
//   req->events), and of these such as the file can show.
//   io_cancel() deletes the request from the list, so at most one call is answered EINPROGRESS.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "lib/findings.h"

namespace at {

struct PollAnswer {
    std::int64_t res = 0;
    std::int64_t res2 = 0;
    short asked = 0;
    short shows = 0;           // all that ->poll() of the file can say
    bool quiet = false;        // nobody ever made the file ready, and its other end is there
    bool zero_allowed = false; // freed wait queue, or several of them
    std::uint32_t einprogress = 0;
    bool destroyed = false;
};

// `kind` names the file in titles: a kind of file, which is the same in every run.
std::optional<Finding> judge_poll(const PollAnswer& answer, const std::string& kind);

std::string poll_mask_name(std::int64_t mask); // "POLLIN|POLLRDNORM|0x4000"

} // namespace at
