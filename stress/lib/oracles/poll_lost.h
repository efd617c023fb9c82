// Hang and ledger oracle of polls, seen from outside: wake-ups and events that never come.
//
// A poll request may wait for ever.  It is due when its file is ready and stays so (the tender
// says that it takes nothing away), when its file's other end is gone, or when io_cancel() gave an
// answer that ends it: EINPROGRESS, or EINVAL after io_submit() had returned, which means that it
// is off the list and so on its way (fs/aio.c, aio_poll_wake(), aio_poll_complete_work()).  Due
// for longer than the bound in healthy time, with its ring seen empty since, it is lost.
#pragma once

#include <cstdint>
#include <vector>

#include "lib/findings.h"
#include "lib/ledger.h"
#include "lib/poll/poll_books.h"

namespace at {

class LostWakeups {
public:
    LostWakeups(SharedRun& run, const PollBooks& books, std::uint64_t bound_ns)
        : run_(run), books_(books), bound_ns_(bound_ns), watched_(max_slots) {}
    std::vector<Finding> scan(std::uint64_t healthy_ns);

private:
    enum class Due { no, ready, cancelled, unknown_to_cancel };
    struct Watched {
        std::uint64_t word = 0;
        std::uint64_t station_word = 0;
        Due due = Due::no;
        std::uint64_t since_healthy_ns = 0;
        std::uint64_t since_ns = 0;
    };
    Due due(std::uint32_t slot, std::uint64_t station_word) const;
    Finding finding(std::uint32_t slot, Due due) const;

    SharedRun& run_;
    const PollBooks& books_;
    const std::uint64_t bound_ns_;
    std::vector<Watched> watched_;
};

} // namespace at
