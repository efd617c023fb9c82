// Hang and ledger oracle of a gadget's requests, seen from outside: events that never come.
//
// A request on an endpoint may wait for ever, for the host.  It is due when io_cancel() gave an
// answer that ends it: EINPROGRESS; or EINVAL after io_submit() had returned and nobody had called
// before, which means that it is off the kioctx's list and in the driver's work queue
// (f_fs.c, ffs_epfile_async_io_complete()).  At the end, when all was cancelled and the gadget has
// left the bus, every request is.  Due for longer than the bound in healthy time, with its ring
// seen empty since, it is lost.
#pragma once

#include <cstdint>
#include <vector>

#include "lib/findings.h"
#include "lib/ledger.h"
#include "lib/usb/gadget_books.h"

namespace at {

class LostGadgetEvents {
public:
    LostGadgetEvents(SharedRun& run, const GadgetBooks& books, std::uint64_t bound_ns)
        : run_(run), books_(books), bound_ns_(bound_ns), watched_(max_slots) {}
    std::vector<Finding> scan(std::uint64_t healthy_ns);

private:
    enum class Due { no, cancelled, unknown_to_cancel, off_the_bus };
    struct Watched {
        std::uint64_t word = 0;
        Due due = Due::no;
        std::uint64_t since_healthy_ns = 0;
        std::uint64_t since_ns = 0;
    };
    Due due(std::uint32_t slot) const;

    SharedRun& run_;
    const GadgetBooks& books_;
    const std::uint64_t bound_ns_;
    std::vector<Watched> watched_;
};

} // namespace at
