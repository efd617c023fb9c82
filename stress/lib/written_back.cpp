#include "lib/written_back.h"

#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

namespace at {

namespace {

constexpr std::size_t page_bytes = 4096;

} // namespace

WrittenBack::~WrittenBack() {
    if (start_)
        munmap(start_, bytes_);
}

bool WrittenBack::map(const char* path, std::uint64_t file_at, std::size_t bytes,
                      std::string& why) {
    Fd fd(open(path, O_RDWR | O_CLOEXEC));
    if (!fd) {
        why = std::string(path) + ": " + std::strerror(errno);
        return false;
    }
    const off_t there = lseek(fd.get(), 0, SEEK_END);
    if (there < 0 || static_cast<std::uint64_t>(there) < file_at + bytes) {
        why = std::string(path) + " is too small";
        return false;
    }
    void* const mapped = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(),
                              static_cast<off_t>(file_at));
    if (mapped == MAP_FAILED)
        throw_errno("mmap of memory under write-back");
    start_ = static_cast<std::byte*>(mapped);
    bytes_ = bytes;
    file_at_ = file_at;
    fd_ = std::move(fd);
    return true;
}

// Write-back takes each page's write access from it, and every other CPU has to forget that, page
// by page (mm/rmap.c, page_mkclean_one()); a guest's CPU that its host has set aside answers after
// milliseconds.  So they go all at once, before; what a pte knows of dirt goes to the page
// (mm/memory.c, zap_pte_range()).
void WrittenBack::out_of_page_tables(std::size_t from, std::size_t length) const {
    if (madvise(start_ + from, length, MADV_DONTNEED))
        throw_errno("madvise");
}

void WrittenBack::clean(std::size_t from, std::size_t length, bool awaited) const {
    constexpr unsigned waits = SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WAIT_AFTER;
    out_of_page_tables(from, length);
    if (sync_file_range(fd_.get(), static_cast<off_t>(file_at_ + from), static_cast<off_t>(length),
                        SYNC_FILE_RANGE_WRITE | (awaited ? waits : 0)))
        throw_errno("sync_file_range");
}

std::vector<bool> WrittenBack::drop(std::size_t from, std::size_t length) const {
    clean(from, length, true);
    // Passes over what is dirty, under write-back or held (mm/truncate.c,
    // mapping_try_invalidate()).
    posix_fadvise(fd_.get(), static_cast<off_t>(file_at_ + from), static_cast<off_t>(length),
                  POSIX_FADV_DONTNEED);
    std::vector<unsigned char> resident(length / page_bytes);
    if (mincore(start_ + from, length, resident.data()))
        throw_errno("mincore");
    std::vector<bool> gone;
    for (const unsigned char page : resident)
        gone.push_back(!(page & 1));
    return gone;
}

} // namespace at
