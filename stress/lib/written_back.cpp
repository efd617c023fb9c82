#include "lib/written_back.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/oracles/residue.h"
#include "lib/pattern.h"

namespace at {

namespace {

constexpr std::uint32_t page_bytes = 4096;

// Whole pages around [from, from + length).
struct Pages {
    std::uint32_t from;
    std::uint32_t bytes;
    Pages(std::uint32_t first, std::uint32_t length) : from(first / page_bytes * page_bytes) {
        bytes = (first + length - from + page_bytes - 1) / page_bytes * page_bytes;
    }
};

} // namespace

bool WrittenBack::create(const char* path, std::byte* buffers, std::uint32_t stride,
                         const std::vector<bool>& chosen, std::string& why) {
    Fd fd(open(path, O_RDWR | O_CLOEXEC));
    if (!fd) {
        why = std::string(path) + ": " + std::strerror(errno);
        return false;
    }
    std::vector<std::uint32_t> places(chosen.size(), none);
    std::uint32_t count = 0;
    for (std::size_t slot = 0; slot < chosen.size(); ++slot)
        if (chosen[slot])
            places[slot] = count++;
    const off_t there = lseek(fd.get(), 0, SEEK_END);
    const std::uint64_t bytes = std::uint64_t{count} * stride;
    if (there < 0 || static_cast<std::uint64_t>(there) < bytes) {
        why = std::string(path) + " is too small for these buffers";
        return false;
    }
    for (std::uint32_t slot = 0; slot < chosen.size(); ++slot) {
        if (places[slot] == none)
            continue;
        std::byte* const buffer = buffers + std::size_t{slot} * stride;
        if (mmap(buffer, stride, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd.get(),
                 static_cast<off_t>(std::uint64_t{places[slot]} * stride)) == MAP_FAILED)
            throw_errno("mmap of a buffer under write-back");
        pattern_fill(canary_of(slot), 0, buffer, stride);
    }
    place_of_ = std::move(places);
    stride_ = stride;
    bytes_ = bytes;
    fd_ = std::move(fd);
    return true;
}

bool WrittenBack::clean(std::uint32_t slot, std::uint32_t from, std::uint32_t length,
                        bool awaited) const {
    const Pages pages(from, length);
    const auto at = static_cast<off_t>(std::uint64_t{place_of_[slot]} * stride_ + pages.from);
    return sync_file_range(
               fd_.get(), at, pages.bytes,
               SYNC_FILE_RANGE_WRITE |
                   (awaited ? SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WAIT_AFTER : 0)) == 0;
}

bool WrittenBack::clean_all(bool awaited) const {
    if (awaited)
        return fdatasync(fd_.get()) == 0;
    return sync_file_range(fd_.get(), 0, static_cast<off_t>(bytes_), SYNC_FILE_RANGE_WRITE) == 0;
}

std::uint32_t WrittenBack::drop(std::uint32_t slot, std::byte* buffer, std::uint32_t from,
                                std::uint32_t length) const {
    const Pages pages(from, length);
    const auto at = static_cast<off_t>(std::uint64_t{place_of_[slot]} * stride_ + pages.from);
    // A page that is mapped stays; what a pte knows of dirt goes to the page (mm/memory.c,
    // zap_pte_range()).
    if (madvise(buffer + pages.from, pages.bytes, MADV_DONTNEED))
        throw_errno("madvise");
    if (!clean(slot, from, length, true))
        throw_errno("sync_file_range");
    // Passes over what is dirty, under write-back or held (mm/truncate.c,
    // mapping_try_invalidate()).
    posix_fadvise(fd_.get(), at, pages.bytes, POSIX_FADV_DONTNEED);
    std::vector<unsigned char> resident(pages.bytes / page_bytes);
    if (mincore(buffer + pages.from, pages.bytes, resident.data()))
        throw_errno("mincore");
    return static_cast<std::uint32_t>(std::count_if(
        resident.begin(), resident.end(), [](unsigned char page) { return !(page & 1); }));
}

} // namespace at
