// Memory in a shared mapping of a file under write-back, and what becomes of its pages.
//
//   fault, fill        the page is dirty, and its pte writable
//   pin                (a write to the file's page: a clean one is made dirty here)
//   clean              write-back: the page is clean (mm/page-writeback.c,
//                      folio_clear_dirty_for_io()), and the file has the bytes of before
//   device writes      no pte is used: nobody but the driver can say that the page is dirty
//   event, unpin       … which it must have done by now
//   drop               write-back, and then a page that is clean is given away; one that nobody has
//                      dirtied goes with the device's bytes
//   next look          is read from the file again
//
// The file is a block device's node, whose page cache needs no file system: brd, or loop over a
// file in memory, set up when the guest was made ready (orchestrate/aiotorture/targets.py).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "lib/system.h"

namespace at {

constexpr char written_back_file[] = "/run/at-written-back";

// `from` and `length` are multiples of a page.
class WrittenBack {
public:
    WrittenBack() = default;
    ~WrittenBack();
    WrittenBack(const WrittenBack&) = delete;
    WrittenBack& operator=(const WrittenBack&) = delete;
    // Maps `bytes` of the file from `file_at` on.  False, with the reason in `why`: the file is not
    // there, or too small.
    bool map(const char* path, std::uint64_t file_at, std::size_t bytes, std::string& why);
    std::byte* start() const { return start_; }
    // Begins the write-back of what is dirty, or, with `awaited`, ends it too.
    void clean(std::size_t from, std::size_t length, bool awaited) const;
    // Gives away the pages that nobody holds.  For each page: is it gone?
    std::vector<bool> drop(std::size_t from, std::size_t length) const;

private:
    void out_of_page_tables(std::size_t from, std::size_t length) const;
    std::byte* start_ = nullptr;
    std::size_t bytes_ = 0;
    std::uint64_t file_at_ = 0;
    Fd fd_;
};

} // namespace at
