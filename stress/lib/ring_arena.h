// Addresses for completion rings that no context of this run had before.
//
// A context's id is the address of its ring (fs/aio.c, ioctx_alloc(): ctx->user_id), and mmap()
// gives an address that io_destroy() has just freed to the next io_setup().  A racer that still
// uses the old id would then hit a context that it does not mean, and no ledger could be exact.
// So each ring is moved at once, which aio supports (aio_ring_mremap()).
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include <libaio.h>

namespace at {

// struct aio_ring of fs/aio.c: user space has it mapped, its layout is the same since 2.6.
struct AioRing {
    std::uint32_t id;
    std::uint32_t nr;
    std::uint32_t head;
    std::uint32_t tail;
    std::uint32_t magic;
    std::uint32_t compat_features;
    std::uint32_t incompat_features;
    std::uint32_t header_length;
};
constexpr std::uint32_t aio_ring_magic = 0xa10a10a1;

class RingArena {
public:
    // Finds a stretch that is free and stays so.  False, with the reason in `why`.
    bool reserve(std::string& why);
    // Moves the ring of a new context; `id` is its new name.  False, with the reason in `why`.
    bool place(io_context_t& id, std::string& why);

private:
    std::atomic<std::uintptr_t> next_{0};
    std::uintptr_t end_ = 0;
};

// In a child: mremap(2) of the first page of a ring that it has from its parent, whose contexts are
// not its own.  0 or -errno; -EFAULT when the ring was not there at the fork.
int move_inherited_ring(io_context_t id);

} // namespace at
