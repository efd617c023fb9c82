// Data and late-write oracles: whose bytes are in a buffer, and on the device?
//
// A slot owns a region of the device's memory and nobody else touches it, so what the last
// completed write left is known exactly.  A write that was cancelled, failed, fell short or was
// swept leaves its range unknown until it is written again.
//
//   read, res bytes     [0, res) of the payload: the device's bytes
//                       [res, len): untouched, or the device's bytes
//                       all else in the slot's buffer: untouched
//   after the event     the payload is re-patterned with the canary; from then on nobody writes
//   write               after its event the source is re-patterned; the canary must not turn up
//                       on the device
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "lib/findings.h"
#include "lib/ledger.h"

namespace at {

// The slot's part of the device's memory, as the ledger knows it.  Offsets are in the region.
class Region {
public:
    explicit Region(std::uint64_t bytes = 0) : content_(bytes) {}

    std::uint64_t bytes() const { return content_.size(); }
    std::uint64_t known_from() const { return from_; }
    std::uint64_t known_to() const { return to_; }
    bool known(std::uint64_t at) const { return at >= from_ && at < to_; }
    std::byte at(std::uint64_t offset) const { return content_[offset]; }
    std::byte* content(std::uint64_t at) { return content_.data() + at; }

    void wrote(std::uint64_t at, std::uint64_t length);   // content() holds the bytes
    void unknown(std::uint64_t at, std::uint64_t length); // may or may not have been written

    // Where the last write's source lay in the buffer: a device that reads it again after its
    // event finds the canary there.
    std::uint64_t source_device_at = 0;
    std::uint32_t source_buffer_at = 0;
    std::uint32_t source_length = 0; // 0: no write, or not in one piece

    // The slot's last writes, for evidence: which of them left a byte that is wrong?
    struct Past {
        std::uint64_t generation = 0; // 0: none
        std::uint64_t device_at = 0;
        std::uint32_t length = 0;
        std::uint32_t segments = 0;
        std::int64_t res = 0;
    };
    void remember(const Past& write) { past_[remembered_++ % past_.size()] = write; }
    const auto& past() const { return past_; }

private:
    std::array<Past, 8> past_;
    std::size_t remembered_ = 0;
    std::vector<std::byte> content_;
    std::uint64_t from_ = 0; // one known interval is kept, the longest
    std::uint64_t to_ = 0;
};

std::uint64_t canary_of(std::uint32_t slot);

// A read of the slot that ended with slot.res, judged against its region.
std::optional<Finding> judge_read(const Slot& slot, std::uint32_t index, const std::byte* buffer,
                                  const Region& region, std::uint64_t region_at);

// A write reads its source, the pattern of `payload`, and leaves it as it is.
std::optional<Finding> judge_source(const Slot& slot, std::uint64_t payload,
                                    const std::byte* buffer);

// The canary must be whole around the segments (guards), over `margin` bytes on either side and
// in the gaps.
std::optional<Finding> judge_guards(const Slot& slot, std::uint32_t index, const std::byte* buffer,
                                    std::uint32_t stride, std::uint32_t margin);

// From its event on nobody may write to the request's buffer.
std::optional<Finding> judge_quiet(const Slot& slot, std::uint32_t index, const std::byte* buffer,
                                   const char* when);
// The same for the slot's whole buffer.
std::optional<Finding> judge_quiet_all(std::uint32_t index, const std::byte* buffer,
                                       std::uint32_t stride, const char* when);

// Of a read into memory that was filled with the pattern of `fill`, its payload from `into` on: a
// whole page, or a piece of one that no chance makes alike, that was reported as read and still is
// what it was.  `res` of 0 and less reports nothing.
std::optional<Finding> judge_arrived(std::uint64_t fill, std::size_t into, const std::byte* memory,
                                     std::int64_t res);

// Checksums of the pages of a read that has ended, before they were given away by whoever had
// cleaned them, and as they were read from their file again (written_back.h): a page that the
// device has written must have been dirtied by then (Documentation/core-api/pin_user_pages.rst).
std::optional<Finding> judge_given_away(const std::vector<std::uint64_t>& before,
                                        const std::vector<std::uint64_t>& after);

void fill_canary(const Slot& slot, std::uint32_t index, std::byte* buffer);

} // namespace at
