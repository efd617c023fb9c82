#include "lib/request_shapes.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include <sys/mman.h>
#include <unistd.h>

#include "lib/oracles/residue.h"
#include "lib/pattern.h"

namespace at {

namespace {

constexpr std::uint32_t page_bytes = 4096;
constexpr std::uint32_t line_bytes = 64;
constexpr char dma_debug[] = "/sys/kernel/debug/dma-api";
constexpr char huge_switch[] = "/sys/kernel/mm/transparent_hugepage/shmem_enabled";

} // namespace

void PrivateBuffers::create(std::byte* buffers, std::uint32_t slots, std::uint32_t stride,
                            double share) {
    stride_ = stride;
    file_of_.assign(slots, none);
    const auto every = share > 0 ? static_cast<std::uint32_t>(1 / share + 0.5) : 0;
    std::uint32_t count = 0;
    for (std::uint32_t slot = 0; every && slot < slots; ++slot)
        if (slot % every == every / 2)
            file_of_[slot] = count++;
    if (!count)
        return;
    file_ = SharedMemory("aiotorture-private", std::size_t{count} * stride);
    for (std::uint32_t slot = 0; slot < slots; ++slot) {
        if (!covers(slot))
            continue;
        const std::size_t at = std::size_t{file_of_[slot]} * stride;
        pattern_fill(canary_of(slot), 0, file_.start() + at, stride);
        if (mmap(buffers + std::size_t{slot} * stride, stride, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_FIXED, file_.fd(), static_cast<off_t>(at)) == MAP_FAILED)
            throw_errno("mmap of a private buffer");
    }
}

void PrivateBuffers::renew(std::uint32_t slot, std::byte* buffer, Random& random) const {
    if (!covers(slot))
        return;
    if (madvise(buffer, stride_, MADV_DONTNEED))
        throw_errno("madvise");
    if (random.below(2))
        for (std::uint32_t at = 0; at < stride_; at += page_bytes)
            (void)*static_cast<volatile std::byte*>(buffer + at);
}

std::optional<Finding> PrivateBuffers::judge(const Slot& slot, std::uint32_t index) const {
    if (!covers(index) || !slot.is_read)
        return std::nullopt;
    const std::byte* file = file_.start() + std::size_t{file_of_[index]} * stride_;
    for (std::uint32_t s = 0; s < slot.segments; ++s) {
        const Segment& segment = slot.segment[s];
        if (pattern_check(canary_of(index), segment.at, file + segment.at, segment.length) !=
            pattern_matches) {
            pattern_fill(canary_of(index), 0, const_cast<std::byte*>(file), stride_);
            return Finding{"data",
                           "a read into a private mapping changed the file behind it",
                           "data/private",
                           {}};
        }
    }
    return std::nullopt;
}

BadMemory::BadMemory(std::uint32_t longest)
    : part_bytes_((longest + 2 * page_bytes - 1) / page_bytes * page_bytes + page_bytes) {
    void* mapped = mmap(nullptr, 2 * std::size_t{part_bytes_}, PROT_READ,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapped == MAP_FAILED)
        throw_errno("mmap of memory that cannot be used");
    start_ = static_cast<std::byte*>(mapped);
    for (std::byte* part : {start_, start_ + part_bytes_}) {
        if (mprotect(part, page_bytes, PROT_READ | PROT_WRITE))
            throw_errno("mprotect");
        pattern_fill(stamp(Stamp::canary, max_slots, 0), 0, part, page_bytes);
    }
    if (mprotect(start_ + page_bytes, part_bytes_ - page_bytes, PROT_NONE))
        throw_errno("mprotect");
}

BadMemory::~BadMemory() {
    if (start_)
        munmap(start_, 2 * std::size_t{part_bytes_});
}

std::byte* BadMemory::place(std::uint32_t length, bool is_read, Random& random) const {
    std::byte* bad = start_ + page_bytes + (is_read && random.below(2) ? part_bytes_ : 0);
    if (length < 2 || random.below(3) == 0)
        return bad + random.below(page_bytes);
    return bad - 1 - random.below(std::min(length - 1, page_bytes));
}

std::optional<Finding> BadMemory::judge() const {
    for (const std::byte* part : {start_, start_ + part_bytes_})
        if (pattern_check(stamp(Stamp::canary, max_slots, 0), 0, part, page_bytes) !=
            pattern_matches)
            return Finding{"data",
                           "a request that was refused for its memory had a part of it written",
                           "data/refused",
                           {}};
    return std::nullopt;
}

std::uint32_t segment_gap(Random& random, bool own_lines) {
    const std::uint32_t gap = random.below(line_bytes);
    return own_lines ? line_bytes - 1 : gap;
}

bool dma_debug_watches() {
    static const bool watches = access(dma_debug, F_OK) == 0;
    return watches;
}

// mremap(2) of no bytes maps the pages of a shared mapping a second time.
ReadOnlyTwin::ReadOnlyTwin(std::byte* shared, std::size_t bytes) : bytes_(bytes) {
    void* const twin = mremap(shared, 0, bytes, MREMAP_MAYMOVE);
    if (twin == MAP_FAILED)
        throw_errno("mremap of shared buffers");
    start_ = static_cast<std::byte*>(twin);
    if (mprotect(start_, bytes, PROT_READ))
        throw_errno("mprotect");
}

ReadOnlyTwin::~ReadOnlyTwin() {
    munmap(start_, bytes_);
}

bool in_huge_pages(std::byte* start, std::size_t bytes) {
    write_file(huge_switch, "advise\n");
    return madvise(start, bytes, MADV_HUGEPAGE) == 0;
}

void scatter_pages(std::byte* buffers, std::uint32_t slots, std::uint32_t stride, Random& random) {
    std::vector<std::byte*> pages;
    for (std::uint32_t slot = 1; slot < slots; slot += 2)
        for (std::uint32_t at = 0; at < stride; at += page_bytes)
            pages.push_back(buffers + std::size_t{slot} * stride + at);
    for (std::size_t left = pages.size(); left > 1; --left)
        std::swap(pages[left - 1], pages[random.below(static_cast<std::uint32_t>(left))]);
    for (std::byte* page : pages)
        (void)*static_cast<volatile std::byte*>(page);
}

std::uint32_t bytes_in_pages(const Slot& slot, const std::byte* buffer, std::uint32_t pages) {
    std::uint32_t total = 0;
    for (std::uint32_t s = 0; s < slot.segments; ++s) {
        const auto offset = static_cast<std::uint32_t>(
            reinterpret_cast<std::uintptr_t>(buffer + slot.segment[s].at) % page_bytes);
        const std::uint32_t want = (offset + slot.segment[s].length + page_bytes - 1) / page_bytes;
        if (want > pages)
            return total + (pages ? pages * page_bytes - offset : 0);
        total += slot.segment[s].length;
        pages -= want;
    }
    return total;
}

} // namespace at
