// Buffers in a shared mapping of a file under write-back.
//
//   fault, fill        the page is dirty, and its pte writable
//   pin                (a write to the file's page: a clean one is made dirty here)
//   write-back         the page is clean, its pte read-only (mm/page-writeback.c,
//                      folio_clear_dirty_for_io()); the file has the bytes of before
//   device writes      no pte is used: nobody but the driver can say that the page is dirty
//   event, unpin       … which it must have done by now
//   write-back, drop   a page that nobody dirtied is given away with the device's bytes
//   next look          is read from the file again
//
// The file is a block device's (the page cache of its node), which needs no file system: loop over
// a file in memory, set up when the guest was made ready (orchestrate/aiotorture/targets.py).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "lib/system.h"

namespace at {

constexpr char written_back_file[] = "/run/at-written-back";

class WrittenBack {
public:
    // Replaces the buffers of the slots for which `chosen` is true.  False, with the reason in
    // `why`: the file is not there, or too small.
    bool create(const char* path, std::byte* buffers, std::uint32_t stride,
                const std::vector<bool>& chosen, std::string& why);
    bool covers(std::uint32_t slot) const {
        return slot < place_of_.size() && place_of_[slot] != none;
    }
    // Begins the write-back of these bytes of a slot's buffer, or, with `awaited`, ends it too.
    bool clean(std::uint32_t slot, std::uint32_t from, std::uint32_t length, bool awaited) const;
    bool clean_all(bool awaited) const;
    // Gives away the pages under these bytes that are clean and that nobody holds; the number of
    // those that are gone.
    std::uint32_t drop(std::uint32_t slot, std::byte* buffer, std::uint32_t from,
                       std::uint32_t length) const;

private:
    static constexpr std::uint32_t none = ~std::uint32_t{0};
    std::vector<std::uint32_t> place_of_; // of the slot's buffer in the file, in strides
    std::uint32_t stride_ = 0;
    std::uint64_t bytes_ = 0;
    Fd fd_;
};

} // namespace at
