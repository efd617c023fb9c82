#include "lib/uring.h"

#include <atomic>
#include <cerrno>

#include <linux/io_uring.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace at {

Uring::Mapping Uring::map(std::size_t bytes, off_t offset) const {
    void* const at =
        mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd_.get(), offset);
    return at == MAP_FAILED ? Mapping{} : Mapping{static_cast<std::byte*>(at), bytes};
}

Uring::Uring() {
    io_uring_params params{};
    fd_ = Fd(static_cast<int>(syscall(SYS_io_uring_setup, 4, &params)));
    if (!fd_)
        return;
    sq_ = map(params.sq_off.array + params.sq_entries * sizeof(std::uint32_t), IORING_OFF_SQ_RING);
    cq_ = map(params.cq_off.cqes + params.cq_entries * sizeof(io_uring_cqe), IORING_OFF_CQ_RING);
    entries_ = map(params.sq_entries * sizeof(io_uring_sqe), IORING_OFF_SQES);
    if (!sq_.start || !cq_.start || !entries_.start) {
        fd_ = Fd();
        return;
    }
    const auto word = [](const Mapping& ring, std::uint32_t offset) {
        return reinterpret_cast<std::uint32_t*>(ring.start + offset);
    };
    sqes_ = reinterpret_cast<io_uring_sqe*>(entries_.start);
    sq_tail_ = word(sq_, params.sq_off.tail);
    sq_mask_ = *word(sq_, params.sq_off.ring_mask);
    sq_array_ = word(sq_, params.sq_off.array);
    cq_head_ = word(cq_, params.cq_off.head);
    cq_tail_ = word(cq_, params.cq_off.tail);
    cq_mask_ = *word(cq_, params.cq_off.ring_mask);
    cqes_ = reinterpret_cast<io_uring_cqe*>(cq_.start + params.cq_off.cqes);
}

Uring::~Uring() {
    for (const Mapping& mapping : {sq_, cq_, entries_})
        if (mapping.start)
            munmap(mapping.start, mapping.bytes);
}

long Uring::send(const io_uring_sqe& request) {
    const std::uint32_t tail = *sq_tail_;
    sqes_[tail & sq_mask_] = request;
    sq_array_[tail & sq_mask_] = tail & sq_mask_;
    std::atomic_ref(*sq_tail_).store(tail + 1, std::memory_order_release);
    const std::uint32_t head = *cq_head_;
    unsigned to_submit = 1;
    while (std::atomic_ref(*cq_tail_).load(std::memory_order_acquire) == head) {
        const long taken = syscall(SYS_io_uring_enter, fd_.get(), to_submit, 1,
                                   IORING_ENTER_GETEVENTS, nullptr, 0);
        if (taken < 0 && errno != EINTR && errno != EAGAIN)
            return -errno;
        if (taken > 0)
            to_submit = 0;
    }
    const long result = cqes_[head & cq_mask_].res;
    std::atomic_ref(*cq_head_).store(head + 1, std::memory_order_release);
    return result;
}

long Uring::transfer(bool is_read, int fd, const iovec* vector, unsigned segments, off_t at) {
    io_uring_sqe sqe{};
    sqe.opcode = is_read ? IORING_OP_READV : IORING_OP_WRITEV;
    sqe.fd = fd;
    sqe.addr = reinterpret_cast<std::uint64_t>(vector);
    sqe.len = segments;
    sqe.off = static_cast<std::uint64_t>(at);
    return send(sqe);
}

long Uring::read_fixed(int fd, std::byte* memory, std::size_t bytes, off_t at) {
    const iovec vector{memory, bytes};
    if (syscall(SYS_io_uring_register, fd_.get(), IORING_REGISTER_BUFFERS, &vector, 1))
        return -errno;
    io_uring_sqe sqe{};
    sqe.opcode = IORING_OP_READ_FIXED;
    sqe.fd = fd;
    sqe.addr = reinterpret_cast<std::uint64_t>(memory);
    sqe.len = static_cast<std::uint32_t>(bytes);
    sqe.off = static_cast<std::uint64_t>(at);
    const long result = send(sqe);
    syscall(SYS_io_uring_register, fd_.get(), IORING_UNREGISTER_BUFFERS, nullptr, 0);
    return result;
}

} // namespace at
