// Memory that a request may meet beside ordinary buffers: private mappings that nobody has
// written, huge pages, and memory that cannot be used.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "lib/findings.h"
#include "lib/ledger.h"
#include "lib/random.h"
#include "lib/system.h"

namespace at {

// Slots whose buffer is a private mapping of a file that carries the slot's canary.  Until it is
// written the file's own pages lie there, so a read into it must break the sharing first (mm/gup.c,
// FOLL_WRITE): else the device writes into the file.
class PrivateBuffers {
public:
    // Replaces the buffers of a share of the slots.
    void create(std::byte* buffers, std::uint32_t slots, std::uint32_t stride, double share);
    bool covers(std::uint32_t slot) const {
        return slot < file_of_.size() && file_of_[slot] != none;
    }
    // Gives the slot's own pages back; half of the time the file's are looked at, and so mapped.
    void renew(std::uint32_t slot, std::byte* buffer, Random& random) const;
    // The file behind must be what it was.
    std::optional<Finding> judge(const Slot& slot, std::uint32_t index) const;

private:
    static constexpr std::uint32_t none = ~std::uint32_t{0};
    std::vector<std::uint32_t> file_of_; // position of the slot's buffer in the file
    std::uint32_t stride_ = 0;
    SharedMemory file_;
};

// [a page to write][nothing] and [a page to write][pages to read only]: a segment that lies in the
// second part, or begins in the first and ends in the second, cannot be used.
class BadMemory {
public:
    explicit BadMemory(std::uint32_t longest);
    ~BadMemory();
    BadMemory(const BadMemory&) = delete;
    BadMemory& operator=(const BadMemory&) = delete;
    // Where a segment of `length` bytes lies that is bad for a read (`writes` false) or a write.
    std::byte* place(std::uint32_t length, bool is_read, Random& random) const;
    // The pages to write belong to requests that are refused as a whole: nobody writes there.
    std::optional<Finding> judge() const;

private:
    std::byte* start_ = nullptr;
    std::uint32_t part_bytes_;
};

// Bytes between two segments of one request, below 64.  A user may let two segments that a device
// writes share a cache line, and a device whose DMA is coherent does no harm by it; dma-debug
// reports it all the same (kernel/dma/debug.c, active_cacheline_insert()), and its first report is
// its last. Where it watches, segments lie in lines of their own, so that what it reports is the
// driver's.
std::uint32_t segment_gap(Random& random, bool own_lines);
bool dma_debug_watches();

// The same pages as a shared mapping's, to read only: a write's source needs no more.
class ReadOnlyTwin {
public:
    ReadOnlyTwin(std::byte* shared, std::size_t bytes);
    ~ReadOnlyTwin();
    ReadOnlyTwin(const ReadOnlyTwin&) = delete;
    ReadOnlyTwin& operator=(const ReadOnlyTwin&) = delete;
    std::byte* at(std::size_t offset) const { return start_ + offset; }

private:
    std::byte* start_;
    std::size_t bytes_;
};

// All of a target's pages in huge ones, where the kernel gives them; false: it does not.
bool in_huge_pages(std::byte* start, std::size_t bytes);
// Takes the pages of every other slot in a drawn order, before anybody has touched them, so that
// they do not lie together: a transfer of many pages is then one of many descriptors.
void scatter_pages(std::byte* buffers, std::uint32_t slots, std::uint32_t stride, Random& random);

// Bytes of these segments that lie in the first `pages` pages, counted a segment at a time as the
// driver must: no descriptor spans two of them.
std::uint32_t bytes_in_pages(const Slot& slot, const std::byte* buffer, std::uint32_t pages);

} // namespace at
