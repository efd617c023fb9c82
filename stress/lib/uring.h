// io_uring, one request at a time, without a library: a ring is two mappings and a system call.
#pragma once

#include <cstddef>
#include <cstdint>

#include <sys/types.h>
#include <sys/uio.h>

#include "lib/system.h"

struct io_uring_cqe;
struct io_uring_sqe;

namespace at {

class Uring {
public:
    Uring();
    ~Uring();
    Uring(const Uring&) = delete;
    Uring& operator=(const Uring&) = delete;
    // False: this kernel has none, or forbids it.
    explicit operator bool() const { return static_cast<bool>(fd_); }

    // READV or WRITEV: bytes, or -errno.
    long transfer(bool is_read, int fd, const iovec* vector, unsigned segments, off_t at);
    // READ_FIXED into a buffer registered for it, which the file sees as pages and not as a user's
    // memory: bytes, or -errno.
    long read_fixed(int fd, std::byte* memory, std::size_t bytes, off_t at);

private:
    struct Mapping {
        std::byte* start = nullptr;
        std::size_t bytes = 0;
    };
    Mapping map(std::size_t bytes, off_t offset) const;
    long send(const io_uring_sqe& request);

    Fd fd_;
    Mapping sq_, cq_, entries_;
    io_uring_sqe* sqes_ = nullptr;
    std::uint32_t* sq_tail_ = nullptr;
    std::uint32_t* sq_array_ = nullptr;
    std::uint32_t* cq_head_ = nullptr;
    std::uint32_t* cq_tail_ = nullptr;
    io_uring_cqe* cqes_ = nullptr;
    std::uint32_t sq_mask_ = 0;
    std::uint32_t cq_mask_ = 0;
};

} // namespace at
