// Contract oracle of requests on a gadget's endpoint: may this request have had this event?
//
// Rules of f_fs.c and of the legacy inode.c, on dummy_hcd (5.10 to 7.3):
//   res2 is 0.
//   bytes         of a read at most its length; of a write all of it: bulk, and the host's buffers
//                 are whole packets, so nothing is cut short, but by gadgetfs for one that was
//                 cancelled or disabled in mid-transfer (inode.c, ep_aio_complete())
//   -ECONNRESET   io_cancel() said -EINPROGRESS, or the context was being destroyed
//                 (dummy_hcd.c, dummy_dequeue())
//   -ESHUTDOWN    the endpoint was disabled since the submit (dummy_hcd.c, nuke(), dummy_queue())
//   -EAGAIN       the endpoint was disabled, or another submitter was in it (O_NONBLOCK)
//   io_cancel() asks the driver at most once, whatever it answers (fs/aio.c, io_cancel()).
//   io_cancel() answers -EINPROGRESS, -EINVAL, or what usb_ep_dequeue() said: -ESHUTDOWN of a
//                 controller without a driver.
#pragma once

#include <cstdint>
#include <optional>

#include "lib/findings.h"

namespace at {

struct GadgetAnswer {
    std::int64_t res = 0;
    std::int64_t res2 = 0;
    bool is_read = true;
    std::uint32_t length = 0;
    std::uint32_t einprogress = 0;
    bool destroyed = false; // the context was being destroyed when the event was seen
    bool partial = false;   // the driver answers a cancelled write with the bytes that went
    bool disabled = false;  // the endpoint may have been disabled while the request lived
};
std::optional<Finding> judge_gadget(const GadgetAnswer& answer);

std::optional<Finding> judge_gadget_cancel(int answer, bool result_written, bool may_be_unbound);

} // namespace at
