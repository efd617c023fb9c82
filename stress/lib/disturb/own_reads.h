// Reads that a disturber makes for itself, long and several at once: they are in the ring for as
// long as it takes to do something to their memory, and end together.  The ledger knows none of
// them; the disturber says what is wrong with their bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include <libaio.h>

#include "lib/random.h"

namespace at {

class Race;

class OwnReads {
public:
    struct Read {
        iocb cb;
        std::size_t from;  // of its pages, in the memory
        std::size_t bytes; // of its pages
        std::size_t into;  // its first page, until the payload
        std::size_t cut;   // off its last page, behind the payload
        std::uint64_t fill;
        std::int64_t res;
        bool ended;
    };

    // Of at most so many reads of so many pages each.
    OwnReads(Race& race, std::uint32_t index, std::uint32_t most_reads, std::uint32_t most_pages);
    ~OwnReads() { end_context(); }
    OwnReads(const OwnReads&) = delete;
    OwnReads& operator=(const OwnReads&) = delete;

    // Fills the memory of other reads with a pattern of their own.  `fd`: the race's file, unless
    // another one is given.
    void draw(std::byte* memory, Random& random, int fd = -1);
    // False: none was taken.
    bool submit();
    // Each of them as likely as not, in io_cancel(), whatever it answers.
    void cancel_some(Random& random);
    // Books what has ended, or what ends before the time-out.
    void take_events(long timeout_ns);
    // False when the race is over before.
    bool await_all();
    // io_destroy(), with whatever is in flight; the next submit() makes another one.
    void end_context();
    // Of all that have ended: a page of the payload that still holds the fill is reported.
    void judge_arrival(const std::byte* memory) const;

    const std::vector<Read>& all() const { return reads_; }

private:
    long long device_at(std::size_t bytes, Random& random) const;

    Race& race_;
    const std::uint32_t index_;
    const std::uint32_t most_reads_;
    const std::uint32_t most_pages_;
    io_context_t context_ = nullptr;
    std::vector<Read> reads_;
    std::uint64_t fills_ = 0;
};

} // namespace at
